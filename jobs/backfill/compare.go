package backfill

import (
	"context"
	"errors"
	"fmt"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// compare scores all rows of both spaces with all functions over the embedding; of
// a function over several, its part there.
// Nothing is written, except with keep the fits of the new space, which the next
// score stage uses.
func compare(ctx context.Context, w *workspace.Workspace, p pair, m *Move, keep bool) error {
	fns := configs.Within(w.Config.Definitions, m.Embedding)
	m.Compared = true
	if len(fns) == 0 {
		return nil
	}
	for _, root := range []string{workspace.BatchedRoot, workspace.LabelsRoot} {
		if _, err := w.LoadTable(ctx, root); err != nil {
			return err
		}
	}
	before, err := scoreAll(ctx, w, p.from, fns, false, "backfill before")
	if err != nil {
		return err
	}
	after, err := scoreAll(ctx, w, p.to, fns, keep, "backfill after")
	if err != nil {
		return err
	}
	for _, f := range fns {
		c := score.Change{Name: f.Name, Rule: f.Threshold.String()}
		if c.Before, err = before.Side(ctx, f); err == nil {
			c.After, err = after.Side(ctx, f)
		}
		var usage *pipeline.UsageError
		switch {
		case errors.As(err, &usage): // labels that show no threshold
			c.Problem, err = usage.Problems[0].What, nil
		case err != nil:
		case after.Faults[f.Name] != nil:
			c.Problem = fault(f.Name, p.to, after.Faults[f.Name])
		case before.Faults[f.Name] != nil:
			c.Problem = fault(f.Name, p.from, before.Faults[f.Name])
		case c.Before != nil && c.After != nil:
			err = c.Compare(ctx, before, after, f.Name, f.Name)
		}
		if err != nil {
			return fmt.Errorf("compare function %s: %w", f.Name, err)
		}
		m.Functions = append(m.Functions, c)
	}
	return nil
}

// fault says why a function has no scores in a space: the first of its problems.
func fault(name string, s *workspace.Space, err *pipeline.UsageError) string {
	more := ""
	if n := len(err.Problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("function %s does not work with %s: %s%s", name, s.Title(), err.Problems[0].What, more)
}

// scoreAll scores all rows of a space.
func scoreAll(ctx context.Context, w *workspace.Workspace, s *workspace.Space, fns []*configs.Function, keep bool, table string) (*score.Scored, error) {
	l, err := w.LiveIn(ctx, s)
	if err != nil || l.Rows == 0 {
		return &score.Scored{}, err
	}
	fits, err := score.NewFits(ctx, w, l, keep)
	if err != nil {
		return nil, err
	}
	defer fits.Close()
	return score.Adhoc(ctx, w, fits, fns, table)
}
