package curate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/pipeline"
	"winnow/pipeline/curate"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// checkWhere looks at the conditions and columns of all batches before any is
// chosen, and returns everything that is wrong with them.
func (r *rows) checkWhere(ctx context.Context, batches []configs.Batch) error {
	var faults pipeline.UsageError
	check := func(b configs.Batch, what, expr string) error {
		err := r.db.BindWhere(ctx, "rows", expr)
		var fault *query.ExprError
		if errors.As(err, &fault) {
			faults.Problems = append(faults.Problems, pipeline.Problem{File: r.w.App.Globals.Config,
				What: fmt.Sprintf("batch %s, %s: %v", b.Name, what, fault)})
			return nil
		}
		return err
	}
	for _, b := range batches {
		if b.Where != "" {
			if err := check(b, "where", b.Where); err != nil {
				return err
			}
		}
		for _, o := range b.Select {
			if o.Top == "" {
				continue
			}
			if err := check(b, "select top", "("+o.Top+") > 0"); err != nil {
				return err
			}
		}
	}
	if len(faults.Problems) > 0 {
		return &faults
	}
	return nil
}

// hashes is the table that gives an asset its content hash: that of the first
// embedding, images before texts.
func (r *rows) hashes() string {
	first := ""
	for _, e := range r.w.Config.Embeddings {
		if first == "" || e.Of == "image" && r.live[first].Embedding.Of != "image" {
			first = e.Name
		}
	}
	return query.Ident(r.live[first].Table)
}

// choose runs the steps of one batch: where, exclude, dedupe, select, cap.
func (r *rows) choose(ctx context.Context, b configs.Batch) (*picked, error) {
	p := &picked{funnel: manifest.Funnel{{Step: "assets", Rows: r.assets}}}
	where := "true"
	if b.Where != "" {
		where = query.Parens(b.Where)
		n, err := r.db.Int(ctx, "SELECT count(*) FROM rows WHERE "+where)
		if err != nil {
			return nil, r.whereFailed(b, err)
		}
		p.funnel = append(p.funnel, manifest.FunnelStep{Step: "where", Rows: n})
	}
	for _, x := range b.Exclude {
		where += " AND NOT " + query.Ident(x) // batched, labeled
		n, err := r.db.Int(ctx, "SELECT count(*) FROM rows WHERE "+where)
		if err != nil {
			return nil, r.whereFailed(b, err)
		}
		p.funnel = append(p.funnel, manifest.FunnelStep{Step: "not " + x, Rows: n})
	}
	req, err := r.request(ctx, b, where)
	if err != nil {
		return nil, r.whereFailed(b, err)
	}
	res, err := curate.Run(ctx, *req)
	if err != nil {
		return nil, err
	}
	for _, s := range res.Funnel.Steps {
		p.funnel = append(p.funnel, manifest.FunnelStep{Step: s.Name, Rows: s.Left})
	}
	ids := make([]string, len(res.Picks))
	for i, x := range res.Picks {
		ids[i] = x.ID
	}
	p.rows, err = r.describe(ctx, res.Picks, ids)
	return p, err
}

// whereFailed names the batch's condition when DuckDB fails on the data, such as
// by a cast that a row does not allow.
func (r *rows) whereFailed(b configs.Batch, err error) error {
	var e *query.Error
	if b.Where == "" || !errors.As(err, &e) {
		return err
	}
	return &pipeline.UsageError{Problems: []pipeline.Problem{{File: r.w.App.Globals.Config,
		What: fmt.Sprintf("batch %s, where: %v", b.Name, err), Fix: "guard the expression, for example with TRY_CAST or a CASE"}}}
}

// request reads the candidates and what the objectives need of them.
func (r *rows) request(ctx context.Context, b configs.Batch, where string) (*curate.Request, error) {
	req := &curate.Request{Exact: true, Size: b.Size}
	var tops []string
	for _, o := range b.Select {
		if o.Top != "" {
			tops = append(tops, fmt.Sprintf("CAST((%s) AS DOUBLE)", o.Top))
		}
	}
	priority := "NULL"
	if len(tops) > 0 {
		priority = tops[0]
	}
	values := make([][]float64, len(tops))
	for i := range values {
		values[i] = []float64{} // not nil: no candidate is no missing objective
	}
	var ids []string
	sql := fmt.Sprintf("SELECT asset_id, coalesce(h.content_hash, ''), %s FROM rows LEFT JOIN (SELECT asset_id, content_hash FROM %s) h USING (asset_id) WHERE %s ORDER BY asset_id",
		strings.Join(append([]string{priority}, tops...), ", "), r.hashes(), where)
	err := r.db.Each(ctx, sql, func(scan func(...any) error) error {
		var c curate.Candidate
		var first *float64
		vals := make([]*float64, len(tops))
		dest := []any{&c.ID, &c.Hash, &first}
		for i := range vals {
			dest = append(dest, &vals[i])
		}
		if err := scan(dest...); err != nil {
			return err
		}
		c.Score = orNaN(first)
		for i, v := range vals {
			values[i] = append(values[i], orNaN(v))
		}
		req.Candidates, ids = append(req.Candidates, c), append(ids, c.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	spaces := map[string]*curate.Vectors{}
	if b.Dedupe != nil {
		v, err := r.space(ctx, spaces, b.Dedupe.Embedding, ids)
		if err != nil {
			return nil, err
		}
		req.Keep = curate.Keep(b.Dedupe.Keep)
		req.Near = []curate.Near{{Vectors: v, Distance: b.Dedupe.Distance}}
	}
	for _, o := range b.Select {
		switch {
		case o.Top != "":
			req.Objectives = append(req.Objectives, curate.Objective{Name: o.Top, Weights: &curate.Weights{Values: values[0]}})
			values = values[1:]
		case o.Random != nil:
			req.Objectives = append(req.Objectives, curate.Objective{Name: "random", Random: &curate.Random{Seed: o.Random.Seed}})
		case o.Diversity != nil:
			v, err := r.space(ctx, spaces, o.Diversity.Embedding, ids)
			if err != nil {
				return nil, err
			}
			req.Objectives = append(req.Objectives, curate.Objective{Name: "diversity", Diversity: &curate.Diversity{Vectors: v, MinDistance: o.Diversity.MinDistance}})
		}
	}
	return req, nil
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// space reads the candidates' vectors in an embedding, once a batch.
func (r *rows) space(ctx context.Context, have map[string]*curate.Vectors, embedding string, ids []string) (*curate.Vectors, error) {
	if v := have[embedding]; v != nil {
		return v, nil
	}
	l := r.live[embedding]
	found, err := l.Vectors(ctx, ids)
	if err != nil {
		return nil, err
	}
	v := &curate.Vectors{Name: embedding, Dim: l.Dim, Rows: make([]int, len(ids))}
	for i, id := range ids {
		v.Rows[i] = -1
		if x := found[id]; x != nil {
			v.Rows[i] = len(v.Data) / l.Dim
			v.Data = append(v.Data, x...)
		}
	}
	have[embedding] = v
	return v, nil
}
