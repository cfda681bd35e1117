package score

import (
	"context"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
)

// Fits fits functions over the rows of one space, outside of the score stage: to
// say what another model would change.
type Fits struct {
	w    *workspace.Workspace
	l    *workspace.Live
	a    *Anchors
	st   *function.Statistics
	keep bool
}

// NewFits measures the rows of a space. With keep, statistics and fitted functions
// are kept for the score stage, which needs all rows to be there; without it,
// those that are there are used and nothing is written.
func NewFits(ctx context.Context, w *workspace.Workspace, l *workspace.Live, keep bool) (*Fits, error) {
	measure := LookStatistics
	if keep {
		measure = Statistics
	}
	st, err := measure(ctx, w, l)
	if err != nil {
		return nil, err
	}
	a := NewAnchors(w, map[string]*workspace.Live{l.Embedding.Name: l})
	a.statistics = measure
	return &Fits{w, l, a, st, keep}, nil
}

// NewFitsWith fits with statistics of the caller's choice, and keeps nothing.
func NewFitsWith(w *workspace.Workspace, l *workspace.Live, st *function.Statistics) *Fits {
	a := NewAnchors(w, map[string]*workspace.Live{l.Embedding.Name: l})
	a.statistics = func(context.Context, *workspace.Workspace, *workspace.Live) (*function.Statistics, error) {
		return st, nil
	}
	return &Fits{w, l, a, st, false}
}

// Statistics are those that the functions are fitted with.
func (f *Fits) Statistics() *function.Statistics { return f.st }

// Fit returns a function fitted to its anchors. What is wrong with them is a
// *pipeline.UsageError.
func (f *Fits) Fit(ctx context.Context, fn *configs.Function) (*function.Scorer, error) {
	if err := f.a.Check(ctx, []*configs.Function{fn}); err != nil {
		return nil, err
	}
	pos, neg, err := f.a.Resolve(ctx, fn, false)
	if err != nil {
		return nil, err
	}
	s, err := LoadScorer(ctx, f.w, f.l, fn.Name, function.VersionOf(fn.Definition, pos, neg, f.st))
	if err == nil || !f.w.Objects().Missing(err) {
		return s, err
	}
	if pos, neg, err = f.a.Resolve(ctx, fn, true); err != nil {
		return nil, err
	}
	if s, err = function.Fit(fn.Definition, pos, neg, f.st); err != nil || !f.keep {
		return s, err
	}
	return s, saveScorer(ctx, f.w, f.l, s)
}

// Close frees the models that were loaded for anchors.
func (f *Fits) Close() { f.a.Close() }
