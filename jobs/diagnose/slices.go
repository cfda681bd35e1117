package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/diagnose"
)

const (
	mostValues = 20 // values of a field; of numbers with more, quarters are made
	mostFields = 50 // fields that are looked at unasked
)

// field is a metadata field that items can be sliced by.
type field struct {
	name   string // as users write it
	column string
	number bool
}

// slices measures the items by the values of metadata fields.
func (d *diagnosis) slices(ctx context.Context, s *subject) error {
	db, err := d.w.DB(ctx)
	if err != nil {
		return err
	}
	have, err := d.fields(ctx)
	if err != nil {
		return err
	}
	chosen := have[:min(len(have), mostFields)]
	if len(d.By) > 0 {
		chosen = nil
		for _, want := range d.By {
			want = strings.TrimPrefix(want, "metadata.")
			i := slices.IndexFunc(have, func(f field) bool { return strings.EqualFold(f.name, want) })
			if i < 0 {
				var names []string
				for _, f := range have {
					names = append(names, f.name)
				}
				return pipeline.Usagef("--by %s: the assets have no such metadata field of plain values; they have %s", want, strings.Join(names, ", "))
			}
			chosen = append(chosen, have[i])
		}
	}
	for _, f := range chosen {
		values, err := d.values(ctx, db, f)
		if err != nil {
			return err
		}
		d.measureSlices(s, f.name, values)
	}
	return nil
}

// fields lists the metadata fields of plain values.
func (d *diagnosis) fields(ctx context.Context) ([]field, error) {
	snap, err := d.w.Snapshot(ctx, workspace.AssetsRoot)
	if err != nil {
		return nil, err
	}
	var out []field
	for _, f := range snap.Schema {
		name, ok := workspace.MetadataField(f)
		if ok && f.Type.Name != "array" && f.Type.Name != "struct" && f.Type.Name != "binary" {
			number := f.Type.Name != "string" && f.Type.Name != "boolean"
			out = append(out, field{name, f.Name, number})
		}
	}
	return out, nil
}

// values gives the value of a field by asset; nil where the field is of no use:
// one value alone, or too many of them. Numbers and times with many values are
// put into quarters.
func (d *diagnosis) values(ctx context.Context, db *query.DB, f field) (map[string]string, error) {
	col := query.Ident(f.column)
	n, err := db.Int(ctx, fmt.Sprintf("SELECT count(DISTINCT %s) FROM diagnosed", col))
	if err != nil || n < 2 && len(d.By) == 0 {
		return nil, err
	}
	expr := col + "::VARCHAR"
	from := "diagnosed"
	switch {
	case n > mostValues && f.number:
		from = fmt.Sprintf("(SELECT asset_id, %[1]s, ntile(4) OVER (ORDER BY %[1]s) AS quarter FROM diagnosed WHERE %[1]s IS NOT NULL) q", col)
		// Equal values belong to one quarter: the first that has them.
		from = fmt.Sprintf("(SELECT asset_id, %[1]s, min(quarter) OVER (PARTITION BY %[1]s) AS quarter FROM %[2]s) q", col, from)
		expr = fmt.Sprintf("min(%[1]s) OVER (PARTITION BY quarter)::VARCHAR || ' … ' || max(%[1]s) OVER (PARTITION BY quarter)::VARCHAR", col)
	case n > mostValues && len(d.By) == 0:
		return nil, nil
	}
	out := map[string]string{}
	err = db.Each(ctx, fmt.Sprintf("SELECT asset_id, %s AS value FROM %s WHERE %s IS NOT NULL", expr, from, col), func(scan func(...any) error) error {
		var id, value string
		if err := scan(&id, &value); err != nil {
			return err
		}
		out[id] = value
		return nil
	})
	return out, err
}

// measureSlices counts the items of each value.
func (d *diagnosis) measureSlices(s *subject, name string, values map[string]string) {
	type group struct {
		counts diagnose.Counts
		items  int64
	}
	groups := map[string]*group{}
	var order []string
	for i := range s.items {
		it := &s.items[i]
		v, ok := values[it.ID]
		if !ok {
			continue
		}
		g := groups[v]
		if g == nil {
			g = &group{}
			groups[v] = g
			order = append(order, v)
		}
		g.items++
		st := stateOf(it, s.pairs[i])
		g.counts.Add(diagnose.Counts{TP: int64(st.right), FP: int64(st.wrongGuess), FN: int64(st.missed)})
	}
	slices.Sort(order)
	for _, v := range order {
		g := groups[v]
		d.report.Slices = append(d.report.Slices, Slice{Field: name, Value: v, Items: g.items, Measures: measures(g.counts), Low: diagnose.Lows(g.counts, s.eval.All, d.MinSupport)})
	}
}
