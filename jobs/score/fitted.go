package score

import (
	"context"
	"fmt"
	"strings"

	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
)

// maxFitted bounds the bytes of statistics and fitted functions: 64 MiB hold the
// covariance of 2,900 dimensions, 2,000 rows of it, or 10,000 anchors of 1,600.
const maxFitted = 256 << 20

// Statistics returns the corpus statistics of an embedding: the newest version
// in stats/, or a first one, which is made and kept. Functions stay pinned to it
// while the corpus grows, until somebody makes a new one on purpose.
func Statistics(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	st, err := newestStatistics(ctx, w, l)
	if st != nil || err != nil {
		return st, err
	}
	if st, err = sample(ctx, w, l); err != nil {
		return nil, err
	}
	data, err := st.Encode()
	if err != nil {
		return nil, err
	}
	key := statsKey(workspace.StatsDir(l.Embedding.Name, l.Fingerprint), 1)
	created, err := w.Store.CreateAll(ctx, key, data)
	if err != nil {
		return nil, err
	}
	if !created { // another run was faster: its statistics count
		return readStatistics(ctx, w, key)
	}
	return st, nil
}

// LookStatistics is Statistics for those who only look: a first version is made
// and not kept.
func LookStatistics(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	st, err := newestStatistics(ctx, w, l)
	if st != nil || err != nil {
		return st, err
	}
	return sample(ctx, w, l)
}

// newestStatistics returns nil where there are none yet.
func newestStatistics(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	have, err := StatisticsVersions(ctx, w, l)
	if err != nil || len(have) == 0 {
		return nil, err
	}
	return StatisticsAt(ctx, w, l, len(have))
}

func statsKey(dir string, n int) string { return fmt.Sprintf("%s/%08d.safetensors", dir, n) }

func readStatistics(ctx context.Context, w *workspace.Workspace, key string) (*function.Statistics, error) {
	data, err := w.Store.Read(ctx, key, maxFitted)
	if err != nil {
		return nil, err
	}
	st, err := function.DecodeStatistics(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return st, nil
}

// sample makes statistics from a seeded sample. It reads the ids of all rows,
// and the vectors of those only that the sample may want.
func sample(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	l, err := w.LiveIn(ctx, l.Space)
	if err != nil {
		return nil, err
	}
	o := function.SampleOptions{Embedding: l.Embedding.Name, Fingerprint: l.Fingerprint, Dim: l.Dim, Seed: w.Config.Seed}
	sampler := function.NewSampler(o)
	type candidate struct {
		file int
		row  int64
		id   string
	}
	var candidates []candidate // whatever is wanted in the end was wanted when it came
	err = l.IDs(ctx, func(file int, row int64, id string) error {
		if sampler.Add(id); sampler.Wants(id) {
			candidates = append(candidates, candidate{file, row, strings.Clone(id)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	wanted := make([][]int64, len(l.Files))
	var n int64
	for _, c := range candidates {
		if sampler.Wants(c.id) {
			wanted[c.file] = append(wanted[c.file], c.row)
			n++
		}
	}
	b, err := function.NewBuilder(o)
	if err != nil {
		return nil, err
	}
	for i := range l.Files {
		if len(wanted[i]) == 0 {
			continue
		}
		if err := l.RowsOf(ctx, i, wanted[i], func(ids []string, vectors []float32) error { return b.Add(ids, vectors) }); err != nil {
			return nil, err
		}
	}
	b.AddTotal(l.Rows - n)
	return b.Finish()
}

func scorerKey(l *workspace.Live, name, version string) string {
	return workspace.StatsDir(l.Embedding.Name, l.Fingerprint) + "/functions/" + name + "-" + version + ".safetensors"
}

// LoadScorer reads a fitted function.
func LoadScorer(ctx context.Context, w *workspace.Workspace, l *workspace.Live, name, version string) (*function.Scorer, error) {
	key := scorerKey(l, name, version)
	data, err := w.Store.Read(ctx, key, maxFitted)
	if err != nil {
		return nil, err
	}
	list, err := function.DecodeScorers(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(list) != 1 || list[0].Version != version || list[0].Name != name {
		return nil, fmt.Errorf("%s holds another function; delete it and score again", key)
	}
	return list[0], nil
}

func saveScorer(ctx context.Context, w *workspace.Workspace, l *workspace.Live, s *function.Scorer) error {
	data, err := function.EncodeScorers([]*function.Scorer{s})
	if err != nil {
		return err
	}
	_, err = w.Store.CreateAll(ctx, scorerKey(l, s.Name, s.Version), data)
	return err
}
