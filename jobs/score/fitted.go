package score

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/models"
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

// NeedsStatistics reports whether fitting functions takes the corpus statistics of
// their embedding: for lda, classifier, and texts among pictures.
func NeedsStatistics(l *workspace.Live, fns []*configs.Function) bool {
	return slices.ContainsFunc(fns, func(f *configs.Function) bool {
		return f.UsesStatistics() || l.Space.Spec.Kind == models.Image && slices.ContainsFunc(all(f), func(a function.Anchor) bool { return a.Text != "" })
	})
}

// statisticsFor returns what fitting functions takes. Where none of them needs
// statistics none are made: they say no more than which embedding it is.
func statisticsFor(ctx context.Context, w *workspace.Workspace, l *workspace.Live, fns []*configs.Function) (*function.Statistics, error) {
	if NeedsStatistics(l, fns) {
		return Statistics(ctx, w, l)
	}
	return &function.Statistics{Embedding: l.Embedding.Name, Fingerprint: l.Fingerprint, Dim: l.Dim}, nil
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

// candidate is a row that a sample may want.
type candidate struct {
	file int
	row  int64
	id   string
}

// sample makes statistics from a seeded sample. It reads the ids of all rows,
// and the vectors of those only that the sample wants.
func sample(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	o := function.SampleOptions{Embedding: l.Embedding.Name, Fingerprint: l.Fingerprint, Dim: l.Dim, Seed: w.Config.Seed, Rows: function.StatisticsRows}
	var candidates []candidate
	var rows int64
	var err error
	if l.Table == "" {
		candidates, rows, err = sampleStored(ctx, l, o)
	}
	if err == nil && candidates == nil {
		candidates, rows, err = sampleLive(ctx, w, l, o)
	}
	if err != nil {
		return nil, err
	}
	wanted := make([][]int64, len(l.Files))
	for _, c := range candidates {
		wanted[c.file] = append(wanted[c.file], c.row)
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
	b.AddTotal(rows - int64(len(candidates)))
	return b.Finish()
}

// sampleLive looks at every live row.
func sampleLive(ctx context.Context, w *workspace.Workspace, l *workspace.Live, o function.SampleOptions) ([]candidate, int64, error) {
	l, err := w.LiveIn(ctx, l.Space)
	if err != nil {
		return nil, 0, err
	}
	sampler := function.NewSampler(o)
	var list []candidate // whatever is wanted in the end was wanted when it came
	err = l.IDs(ctx, func(file int, row int64, id string) error {
		if sampler.Add(id); sampler.Wants(id) {
			list = append(list, candidate{file, row, strings.Clone(id)})
		}
		return nil
	})
	return slices.DeleteFunc(list, func(c candidate) bool { return !sampler.Wants(c.id) }), l.Rows, err
}

// sampleStored draws twice as many of the stored rows, which needs no table of all,
// and takes the first live ones of them: the same as sampleLive's. It returns nil
// where too many of them are dead, or there are too few rows for it to matter.
func sampleStored(ctx context.Context, l *workspace.Live, o function.SampleOptions) ([]candidate, int64, error) {
	twice := o
	twice.Rows *= 2
	if l.Stored() <= int64(twice.Rows) {
		return nil, 0, nil
	}
	drawn := function.NewSampler(twice)
	var ids []string
	if err := l.StoredIDs(ctx, func(id string) {
		if drawn.Add(id); drawn.Wants(id) {
			ids = append(ids, strings.Clone(id))
		}
	}); err != nil {
		return nil, 0, err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !drawn.Wants(id) })
	sampler := function.NewSampler(o)
	var list []candidate
	rows, err := l.Among(ctx, ids, func(file int, row int64, id string) {
		sampler.Add(id)
		list = append(list, candidate{file, row, id})
	})
	if err != nil || len(list) < o.Rows {
		return nil, 0, err
	}
	return slices.DeleteFunc(list, func(c candidate) bool { return !sampler.Wants(c.id) }), rows, nil
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
