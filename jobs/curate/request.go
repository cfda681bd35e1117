package curate

import (
	"context"
	"fmt"
	"math"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/pipeline"
	"winnow/pipeline/curate"
)

// candidatesTable holds the rows that one batch chooses from, numbered from 0 in
// the order of their ids.
const candidatesTable = "curate_candidates"

// builder makes the request of one batch: values are columns of the candidates'
// table, read in one pass.
type builder struct {
	r       *rows
	b       chosenBatch
	req     *curate.Request
	columns []string      // SQL of each value
	take    []func(v any) // what becomes of it: float64 (NaN for none), or *string
	text    []bool        // which are texts
	spaces  map[string]*curate.Vectors
	stay    map[string]*curate.Vectors
	n       int64
	dry     bool
}

// request reads the candidates, and what the objectives need of them.
func (r *rows) request(ctx context.Context, b chosenBatch, where string, p *picked, dry bool) (*curate.Request, error) {
	q := &builder{r: r, b: b, spaces: map[string]*curate.Vectors{}, stay: map[string]*curate.Vectors{}, dry: dry,
		req: &curate.Request{Exact: true, Size: p.asked, Progress: r.w.App.Progress}}
	for _, quota := range b.Quotas {
		q.req.Quotas = append(q.req.Quotas, curate.Quota{Name: quota.Per, Of: q.classes(quota.Per), AtMost: quota.AtMost, Share: quota.Share})
	}
	for _, o := range b.Select {
		if err := q.values(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := q.read(ctx, where); err != nil {
		return nil, r.failed(b, err)
	}
	for i, o := range b.Select {
		if err := q.vectors(ctx, o, &q.req.Objectives[i], fmt.Sprintf("%s.select[%d]", b.path, i)); err != nil {
			return nil, err
		}
	}
	return q.req, q.dedupe(ctx, p)
}

// number asks for a number of every candidate.
func (q *builder) number(sql string, take func(float64)) {
	q.columns, q.text = append(q.columns, "CAST(("+sql+"\n) AS DOUBLE)"), append(q.text, false)
	q.take = append(q.take, func(v any) { take(v.(float64)) })
}

// classes asks for the class of every candidate.
func (q *builder) classes(sql string) *curate.Classes {
	c := &curate.Classes{Of: []int32{}}
	q.columns, q.text = append(q.columns, "CAST(("+sql+"\n) AS VARCHAR)"), append(q.text, true)
	q.take = append(q.take, func(v any) { c.Add(v.(*string)) })
	return c
}

// values adds an objective, with the values that are columns.
func (q *builder) values(ctx context.Context, o configs.Objective) error {
	strength := o.Exponent()
	out := curate.Objective{}
	if strength != 1 {
		out.Strength = &strength
	}
	weigh := func(sql string) {
		v := &curate.Weights{Values: []float64{}}
		q.number(sql, func(x float64) { v.Values = append(v.Values, x) })
		out.Weights = v
	}
	switch {
	case o.Top != "":
		out.Name = o.Top
		weigh(o.Top)
	case o.Weights != nil:
		out.Name = o.Weights.By
		weigh(o.Weights.By)
	case o.Similarity != nil && o.Similarity.To.Function != "":
		out.Name = "similarity to " + o.Similarity.To.Function
		weigh(query.Ident(o.Similarity.To.Function))
	case o.Similarity != nil:
		out.Name = "similarity to " + strings.Join(o.Similarity.To.Assets, ", ")
	case o.Random != nil:
		out.Name, out.Random = "random", &curate.Random{Seed: o.Random.Seed}
	case o.Diversity != nil:
		out.Name = "diversity"
	case o.Typicality != nil:
		out.Name = "typicality"
	case o.Balance != nil:
		out.Name = "balance of " + o.Balance.By
		out.Balance = &curate.Balance{By: q.classes(o.Balance.By), Target: curate.TargetShares, Shares: o.Balance.Target.Shares}
		if word := o.Balance.Target.Word; word != "" {
			out.Balance.Target = curate.Target(word)
		}
	case o.Ordered != nil:
		sql, err := q.sortable(ctx, o.Ordered.By)
		if err != nil {
			return err
		}
		v := &curate.Ordered{Values: []float64{}, Descending: o.Ordered.Descending}
		q.number(sql, func(x float64) { v.Values = append(v.Values, x) })
		out.Name, out.Ordered = o.Ordered.By, v
	}
	q.req.Objectives = append(q.req.Objectives, out)
	return nil
}

// sortable is the SQL of a number in the order of any value: the value itself, or
// its place among those of all rows.
func (q *builder) sortable(ctx context.Context, sql string) (string, error) {
	cols, err := q.r.db.Columns(ctx, "(SELECT ("+sql+"\n) AS x FROM rows)")
	if err != nil {
		return "", q.r.failed(q.b, err)
	}
	switch t := cols[0].Type; {
	case t.Name == "BIGINT" || t.Name == "INTEGER" || t.Name == "FLOAT" || t.Name == "DOUBLE" || strings.HasPrefix(t.Name, "DECIMAL"):
		return sql, nil
	}
	return fmt.Sprintf("CASE WHEN (%[1]s\n) IS NOT NULL THEN dense_rank() OVER (ORDER BY (%[1]s\n) NULLS LAST) END", sql), nil
}

// read makes the table of candidates and reads it. A candidate's Score is that of
// the first top.
func (q *builder) read(ctx context.Context, where string) error {
	cols := make([]string, len(q.columns))
	for i, c := range q.columns {
		cols[i] = fmt.Sprintf(", %s AS v%d", c, i)
	}
	largest := q.b.Dedupe != nil && q.b.Dedupe.Keep == string(curate.KeepLargest)
	score := "NULL::DOUBLE"
	for _, o := range q.b.Select {
		if o.Top != "" {
			score = "CAST((" + o.Top + "\n) AS DOUBLE)"
			break
		}
	}
	db := q.r.db
	err := db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %s AS
		SELECT row_number() OVER (ORDER BY asset_id) - 1 AS n, asset_id, version, uri, length(text) AS characters, %s AS score%s FROM rows WHERE %s`,
		candidatesTable, score, strings.Join(cols, ""), where))
	if err != nil {
		return err
	}
	named := ""
	for i := range cols {
		named += fmt.Sprintf(", v%d", i)
	}
	dest := make([]any, 4+len(cols))
	var id, hash string
	var s, chars *float64
	dest[0], dest[1], dest[2], dest[3] = &id, &hash, &s, &chars
	numbers, texts := make([]*float64, len(cols)), make([]*string, len(cols))
	for i := range cols {
		if dest[4+i] = any(&numbers[i]); q.text[i] {
			dest[4+i] = &texts[i]
		}
	}
	err = db.Each(ctx, fmt.Sprintf(`SELECT c.asset_id, coalesce(h.content_hash, ''), score, characters::DOUBLE%s
		FROM %s c LEFT JOIN %s h USING (asset_id) ORDER BY n`, named, candidatesTable, q.r.hashes()),
		func(scan func(...any) error) error {
			if err := scan(dest...); err != nil {
				return err
			}
			c := curate.Candidate{ID: id, Hash: hash, Score: orNaN(s), Size: math.NaN()}
			if largest {
				c.Size = orNaN(chars)
			}
			q.req.Candidates = append(q.req.Candidates, c)
			for i, take := range q.take {
				if q.text[i] {
					take(texts[i])
				} else {
					take(orNaN(numbers[i]))
				}
			}
			return nil
		})
	q.n = int64(len(q.req.Candidates))
	return err
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// vectors reads the vectors that an objective measures.
func (q *builder) vectors(ctx context.Context, o configs.Objective, out *curate.Objective, path string) error {
	switch {
	case o.Diversity != nil:
		v, err := q.space(ctx, o.Diversity.Embedding)
		if err != nil {
			return err
		}
		out.Diversity = &curate.Diversity{Vectors: v, MinDistance: o.Diversity.MinDistance}
		if q.b.StayAway != "none" {
			if out.Diversity.Existing, err = q.existing(ctx, o.Diversity.Embedding); err != nil {
				return err
			}
		}
	case o.Typicality != nil:
		v, err := q.space(ctx, o.Typicality.Embedding)
		if err != nil {
			return err
		}
		out.Typicality = &curate.Typicality{Vectors: v, K: o.Typicality.Neighbors, Seed: q.b.Seed}
	case o.Similarity != nil && o.Similarity.To.Function == "":
		to := o.Similarity.To
		v, err := q.space(ctx, to.Embedding)
		if err != nil {
			return err
		}
		out.Similarity = &curate.Similarity{Vectors: v}
		out.Similarity.To, err = q.examples(ctx, to, path)
		return err
	}
	return nil
}

// compactBytes is the size of a space's vectors from which on they are kept in
// half the memory.
const compactBytes = 256 << 20

// empty is room for the vectors of an embedding.
func (q *builder) empty(embedding string) *curate.Vectors {
	return &curate.Vectors{Name: embedding, Dim: q.r.live[embedding].Dim}
}

// add appends a vector and returns its row.
func (q *builder) add(v *curate.Vectors, x []float32) int {
	row := v.Len()
	if q.n*int64(v.Dim)*4 > compactBytes {
		v.AppendCompact(x)
	} else {
		v.Data = append(v.Data, x...)
	}
	return row
}

// space reads the candidates' vectors in an embedding, once a batch.
func (q *builder) space(ctx context.Context, embedding string) (*curate.Vectors, error) {
	if v := q.spaces[embedding]; v != nil {
		return v, nil
	}
	v := q.empty(embedding)
	v.Rows = make([]int, q.n)
	for i := range v.Rows {
		v.Rows[i] = -1
	}
	// Room for all at once: growing would need it twice.
	if rows := q.n * int64(v.Dim); rows*4 > compactBytes {
		v.Compact = make([]int16, 0, rows)
	} else {
		v.Data = make([]float32, 0, rows)
	}
	err := q.r.live[embedding].Pick(ctx, candidatesTable, func(n int64, x []float32) error {
		v.Rows[n] = q.add(v, x)
		return nil
	})
	q.spaces[embedding] = v
	return v, err
}

// existing reads the vectors of what earlier batches took and, if asked for, of
// labeled rows, but for candidates: those are not to stay away from themselves.
// Nil where there is none.
func (q *builder) existing(ctx context.Context, embedding string) (*curate.Vectors, error) {
	if v, ok := q.stay[embedding]; ok {
		return v, nil
	}
	v := q.empty(embedding)
	known := "SELECT asset_id FROM batched"
	if q.b.StayAway == "labeled" {
		known += " UNION ALL SELECT asset_id FROM labels"
	}
	from := fmt.Sprintf("(SELECT DISTINCT asset_id, 0 AS n FROM (%s) b WHERE NOT EXISTS (FROM %s c WHERE c.asset_id = b.asset_id))", known, candidatesTable)
	err := q.r.live[embedding].Pick(ctx, from, func(_ int64, x []float32) error {
		q.add(v, x)
		return nil
	})
	if v.Len() == 0 {
		v = nil
	}
	q.stay[embedding] = v
	return v, err
}

// examples reads the vectors of named assets; all that are missing are said.
func (q *builder) examples(ctx context.Context, to configs.SimilarTo, path string) (*curate.Vectors, error) {
	found, err := q.r.live[to.Embedding].Vectors(ctx, to.Assets)
	if err != nil {
		return nil, err
	}
	v := q.empty(to.Embedding)
	var faults pipeline.UsageError
	for i, id := range to.Assets {
		if x := found[id]; x != nil {
			q.add(v, x)
			continue
		}
		why, err := q.r.w.WhyNoVector(ctx, id, to.Embedding)
		if err != nil {
			return nil, err
		}
		faults.Problems = append(faults.Problems, q.r.w.Config.Problem(fmt.Sprintf("%s.similarity.to.assets[%d]", path, i),
			fmt.Sprintf("asset %q has no vector in the embedding %s: %s", id, to.Embedding, why), "name another asset, or embed it first"))
	}
	if len(faults.Problems) > 0 {
		return nil, &faults
	}
	return v, nil
}

// dedupe adds what tells duplicates.
func (q *builder) dedupe(ctx context.Context, p *picked) error {
	d := q.b.Dedupe
	if d == nil {
		return nil
	}
	q.req.Keep, q.req.KeepSeed = curate.Keep(d.Keep), q.b.Seed
	if d.Embedding != "" {
		v, err := q.space(ctx, d.Embedding)
		if err != nil {
			return err
		}
		q.req.Near = []curate.Near{{Vectors: v, Distance: d.Distance}}
	}
	if d.PHash == nil && q.req.Keep != curate.KeepLargest {
		return nil
	}
	return q.looks(ctx, p)
}
