package search

import (
	"context"
	"errors"
	"fmt"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// byFunction finds the rows with the highest scores of a function: of all rows, by the
// stored scores where they are current, else computed now. Nothing is written.
func byFunction(ctx context.Context, w *workspace.Workspace, r Request) (*Result, error) {
	f, err := score.Named(w, r.Function)
	if err != nil {
		return nil, err
	}
	if r.Embedding != "" && r.Embedding != f.Space() {
		return nil, pipeline.Usagef("function %s scores embedding %s, not %s; leave out --embedding", f.Name, f.Space(), r.Embedding)
	}
	l, err := fewest(ctx, w, f)
	if err != nil {
		return nil, err
	}
	s := &Searcher{w: w, l: l}
	k, err := s.most(r)
	if err != nil {
		return nil, err
	}
	out := &Result{Query: "function " + f.Name, Function: f.Name, Embedding: f.Space(), By: "stored scores", Where: r.Where, columns: r.Columns}
	scored, err := score.Whole(ctx, f, "function "+f.Name, func(f *configs.Function, table string) (*score.Scored, error) {
		s, by, err := scoresOf(ctx, w, f, table)
		if by != "" {
			out.By = by
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	where := query.Ident(f.Name) + " IS NOT NULL"
	if r.Where != "" {
		if s.filter, err = openFilter(ctx, w, l, r.Where, r.Columns); err != nil {
			return nil, err
		}
		if out.Matching = &s.filter.n; len(f.CombineOver) > 0 { // rows without a score are none
			n, err := scored.DB.Int(ctx, fmt.Sprintf("SELECT count(*) FROM %s JOIN %s USING (asset_id)", matched, scored.Table))
			if err != nil {
				return nil, err
			}
			out.Matching = &n
		}
		where += " AND asset_id IN (SELECT asset_id FROM " + matched + ")"
	}
	if s.shown, err = openColumns(ctx, w, r.Columns, s.filter); err != nil {
		return nil, err
	}
	var hits []hit
	sql := fmt.Sprintf("SELECT asset_id, %[1]s FROM %[2]s WHERE %[3]s ORDER BY %[1]s DESC, asset_id LIMIT %[4]d", query.Ident(f.Name), scored.Table, where, k)
	err = scored.DB.Each(ctx, sql, func(scan func(...any) error) error {
		var h hit
		err := scan(&h.id, &h.score)
		hits = append(hits, h)
		return err
	})
	if err == nil {
		out.Results, err = describe(ctx, w, hits, s.shown)
	}
	return out, err
}

// fewest are the live rows of the function's embedding; of several, those of the one
// with the fewest rows, for other rows have no score.
func fewest(ctx context.Context, w *workspace.Workspace, f *configs.Function) (*workspace.Live, error) {
	var least *workspace.Live
	for _, name := range f.Spaces() {
		e, err := w.Embedding(name)
		if err != nil {
			return nil, err
		}
		l, err := w.Live(ctx, e)
		if err != nil {
			return nil, err
		}
		if least == nil || l.Rows < least.Rows {
			least = l
		}
	}
	return least, nil
}

// scoresOf finds or makes the scores of a function within one embedding, over all its
// rows, and says why they had to be made.
func scoresOf(ctx context.Context, w *workspace.Workspace, f *configs.Function, table string) (*score.Scored, string, error) {
	e, err := w.Embedding(f.Embedding)
	if err != nil {
		return nil, "", err
	}
	l, err := w.Live(ctx, e)
	if err != nil {
		return nil, "", err
	}
	if l.Rows == 0 {
		return nil, "", none(e.Name)
	}
	fits, err := score.NewFits(ctx, w, l, false)
	if err != nil {
		return nil, "", err
	}
	defer fits.Close()
	s, err := score.Current(ctx, w, fits, f, table)
	var stale *score.StaleError
	if err == nil {
		return s, "", nil
	}
	if !errors.As(err, &stale) {
		return nil, "", err
	}
	if s, err = score.Adhoc(ctx, w, fits, []*configs.Function{f}, table); err != nil {
		return nil, "", err
	}
	if fault := s.Faults[f.Name]; fault != nil {
		return nil, "", fault
	}
	return s, "scored now: " + stale.What, nil
}
