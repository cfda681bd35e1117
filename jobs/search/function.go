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
	if len(f.CombineOver) > 0 {
		return nil, pipeline.Usagef("function %s searches %s, and a search has one embedding; see: winnow function show %s", f.Name, f.Space(), f.Name)
	}
	if r.Embedding != "" && r.Embedding != f.Embedding {
		return nil, pipeline.Usagef("function %s scores embedding %s, not %s; leave out --embedding", f.Name, f.Embedding, r.Embedding)
	}
	e, err := w.Embedding(f.Embedding)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	s := &Searcher{w: w, l: l}
	k, err := s.most(r)
	if err != nil {
		return nil, err
	}
	out := &Result{Query: "function " + f.Name, Function: f.Name, Embedding: e.Name, Where: r.Where, columns: r.Columns}
	scored, by, err := scoresOf(ctx, w, l, f)
	if err != nil {
		return nil, err
	}
	out.By = by
	where := query.Ident(f.Name) + " IS NOT NULL"
	if r.Where != "" {
		if s.filter, err = openFilter(ctx, w, l, r.Where, r.Columns); err != nil {
			return nil, err
		}
		out.Matching = &s.filter.n
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

// scoresOf finds or makes the scores of a function over all rows.
func scoresOf(ctx context.Context, w *workspace.Workspace, l *workspace.Live, f *configs.Function) (*score.Scored, string, error) {
	fits, err := score.NewFits(ctx, w, l, false)
	if err != nil {
		return nil, "", err
	}
	defer fits.Close()
	table := "function " + f.Name
	s, err := score.Current(ctx, w, fits, f, table)
	var stale *score.StaleError
	if err == nil {
		return s, "stored scores", nil
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
