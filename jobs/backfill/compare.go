package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// topRows is how many of the highest rows are compared.
const topRows = 100

// Change is what another model changes for one function. Each side is measured
// over all rows that have a vector in it.
type Change struct {
	Name      string `json:"name"`
	Rule      string `json:"rule"` // of the threshold
	Before    *Side  `json:"before"`
	After     *Side  `json:"after"`
	Both      int64  `json:"both"`       // rows that match before and after
	Top       int    `json:"top"`        // rows with the highest score that are compared: 100, or all
	TopCommon int64  `json:"top_common"` // of those before, how many are among those after
	// TopCorrelation is Spearman's rank correlation of the rows that are among the
	// highest before or after; nil for fewer than two.
	TopCorrelation *float64 `json:"top_correlation"`
	Problem        string   `json:"problem,omitempty"` // why a side is missing
}

// Side is a function under one of the models.
type Side struct {
	Threshold *float64 `json:"threshold"` // nil where no row can match
	Rows      int64    `json:"rows"`
	Matches   int64    `json:"matches"`
}

// compare scores all rows of both spaces with all functions over the embedding.
// Nothing is written, except with keep the fits of the new space, which the next
// score stage uses.
func compare(ctx context.Context, w *workspace.Workspace, p pair, m *Move, keep bool) error {
	var fns []*configs.Function
	for _, f := range w.Config.Definitions {
		if f.Embedding == m.Embedding {
			fns = append(fns, f)
		}
	}
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
		c := Change{Name: f.Name, Rule: f.Threshold.String()}
		if c.Before, err = before.side(ctx, f); err != nil {
			return err
		}
		if c.After, err = after.side(ctx, f); err != nil {
			return err
		}
		switch {
		case after.faults[f.Name] != nil:
			c.Problem = fault(f.Name, p.to, after.faults[f.Name])
		case before.faults[f.Name] != nil:
			c.Problem = fault(f.Name, p.from, before.faults[f.Name])
		case c.Before != nil && c.After != nil:
			err = c.rows(ctx, before, after)
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

// scored are the scores of all rows of a space in a DuckDB table: asset_id, and a
// column a function.
type scored struct {
	db     *query.DB
	table  string
	has    map[string]bool
	faults map[string]*pipeline.UsageError
}

func scoreAll(ctx context.Context, w *workspace.Workspace, s *workspace.Space, fns []*configs.Function, keep bool, table string) (*scored, error) {
	l, err := w.LiveIn(ctx, s)
	if err != nil {
		return nil, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	out := &scored{db: db, table: table, has: map[string]bool{}, faults: map[string]*pipeline.UsageError{}}
	if l.Rows == 0 {
		return out, nil
	}
	scorers, err := out.fit(ctx, w, l, fns, keep)
	if err != nil || len(scorers) == 0 {
		return out, err
	}
	pass, err := function.NewPass(l.Dim, scorers)
	if err != nil {
		return nil, err
	}
	columns := []string{"asset_id VARCHAR"}
	for _, sc := range scorers {
		columns = append(columns, query.Ident(sc.Name)+" FLOAT")
	}
	if err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (%s)", query.Ident(table), strings.Join(columns, ", "))); err != nil {
		return nil, err
	}
	counter := w.App.Progress.Start("compare", "rows", l.Rows)
	defer counter.Done()
	row := make([]any, 1+len(scorers))
	return out, db.Append(ctx, table, func(add func(values ...any) error) error {
		return l.Each(ctx, func(ids []string, vectors []float32) error {
			scores := make([][]float32, len(scorers))
			for i := range scores {
				scores[i] = make([]float32, len(ids))
			}
			pass.Score(vectors, len(ids), scores)
			for i, id := range ids {
				row[0] = id
				for k := range scores {
					row[1+k] = scores[k][i]
				}
				if err := add(row...); err != nil {
					return err
				}
			}
			counter.Add(int64(len(ids)))
			return ctx.Err()
		})
	})
}

// fit fits the functions that can be fitted in a space.
func (s *scored) fit(ctx context.Context, w *workspace.Workspace, l *workspace.Live, fns []*configs.Function, keep bool) ([]*function.Scorer, error) {
	fits, err := score.NewFits(ctx, w, l, keep)
	if err != nil {
		return nil, err
	}
	defer fits.Close()
	var scorers []*function.Scorer
	for _, f := range fns {
		sc, err := fits.Fit(ctx, f)
		var usage *pipeline.UsageError
		if errors.As(err, &usage) {
			s.faults[f.Name] = usage
			continue
		}
		if err != nil {
			return nil, err
		}
		s.has[f.Name] = true
		scorers = append(scorers, sc)
	}
	return scorers, nil
}

// side measures a function; nil where it has no scores.
func (s *scored) side(ctx context.Context, f *configs.Function) (*Side, error) {
	if !s.has[f.Name] {
		return nil, nil
	}
	c, err := score.Threshold(ctx, s.db, f, query.Ident(s.table))
	if err != nil {
		return nil, err
	}
	out := &Side{Threshold: c.Finite()}
	return out, s.db.Row(ctx, fmt.Sprintf("SELECT count(*), count(*) FILTER (%s >= %s) FROM %s", query.Ident(f.Name), score.Number(c.Threshold), query.Ident(s.table)), []any{&out.Rows, &out.Matches})
}

// rows compares the rows that both sides have.
func (c *Change) rows(ctx context.Context, before, after *scored) error {
	cut := func(s *Side) string {
		if s.Threshold == nil {
			return score.Number(math.MaxFloat32)
		}
		return score.Number(*s.Threshold)
	}
	f, db := query.Ident(c.Name), before.db
	c.Top = int(min(topRows, c.Before.Rows, c.After.Rows))
	var common, n int64
	var correlation any
	err := db.Row(ctx, fmt.Sprintf(`WITH
			b AS (SELECT asset_id, %[1]s AS x, row_number() OVER (ORDER BY %[1]s DESC, asset_id) AS nth FROM %[2]s),
			a AS (SELECT asset_id, %[1]s AS x, row_number() OVER (ORDER BY %[1]s DESC, asset_id) AS nth FROM %[3]s),
			u AS (SELECT b.x AS bx, a.x AS ax, b.nth AS bn, a.nth AS an FROM b JOIN a USING (asset_id)),
			top AS (SELECT *, row_number() OVER (ORDER BY bn) AS br, row_number() OVER (ORDER BY an) AS ar FROM u WHERE bn <= %[4]d OR an <= %[4]d)
		SELECT (SELECT count(*) FROM u WHERE bx >= %[5]s AND ax >= %[6]s), (SELECT count(*) FROM u WHERE bn <= %[4]d AND an <= %[4]d),
			(SELECT count(*) FROM top), (SELECT corr(br, ar) FROM top)`,
		f, query.Ident(before.table), query.Ident(after.table), c.Top, cut(c.Before), cut(c.After)), []any{&c.Both, &common, &n, &correlation})
	c.TopCommon = common
	if r, ok := correlation.(float64); ok && n > 1 && !math.IsNaN(r) {
		c.TopCorrelation = &r
	}
	return err
}
