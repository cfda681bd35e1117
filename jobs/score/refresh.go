package score

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// StatisticsVersions lists the versions of an embedding's statistics, ascending.
func StatisticsVersions(ctx context.Context, w *workspace.Workspace, l *workspace.Live) ([]int, error) {
	newest := 0
	for o, err := range w.Store.ListDir(ctx, workspace.StatsDir(l.Embedding.Name, l.Fingerprint)+"/") {
		if err != nil {
			return nil, err
		}
		base, ok := strings.CutSuffix(path.Base(o.Key), ".safetensors")
		if n, err := strconv.Atoi(base); ok && err == nil {
			newest = max(newest, n)
		}
	}
	var out []int // they are numbered without gaps, and never deleted
	for n := 1; n <= newest; n++ {
		out = append(out, n)
	}
	return out, nil
}

// StatisticsAt reads a version of an embedding's statistics.
func StatisticsAt(ctx context.Context, w *workspace.Workspace, l *workspace.Live, n int) (*function.Statistics, error) {
	st, err := readStatistics(ctx, w, statsKey(workspace.StatsDir(l.Embedding.Name, l.Fingerprint), n))
	if w.Objects().Missing(err) {
		return nil, pipeline.Usagef("embedding %s has no statistics %d; see: winnow stats list", l.Embedding.Name, n)
	}
	return st, err
}

// Measure makes statistics of the rows of now, and keeps nothing.
func Measure(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*function.Statistics, error) {
	return sample(ctx, w, l)
}

// Keep makes statistics the newest version of their embedding: functions are
// pinned to it from the next score stage on. Those that are the newest already
// stay so. It returns the version's number.
func Keep(ctx context.Context, w *workspace.Workspace, l *workspace.Live, st *function.Statistics) (int, error) {
	have, err := StatisticsVersions(ctx, w, l)
	if err != nil {
		return 0, err
	}
	n := len(have)
	if n > 0 {
		newest, err := StatisticsAt(ctx, w, l, n)
		if err != nil || newest.ID == st.ID {
			return n, err
		}
	}
	data, err := st.Encode()
	if err != nil {
		return 0, err
	}
	created, err := w.Store.CreateAll(ctx, statsKey(workspace.StatsDir(l.Embedding.Name, l.Fingerprint), n+1), data)
	if err == nil && !created {
		err = &pipeline.TransientError{Err: fmt.Errorf("statistics %d of embedding %s were made by another run at the same time; run again", n+1, l.Embedding.Name)}
	}
	return n + 1, err
}
