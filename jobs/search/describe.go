package search

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// columns are what to show of hits beside what is always shown.
type columns struct {
	names []string
	exprs []string
	from  string // the view that they are of
}

// The views of the relation of conditions: over all assets, and over those that are
// shown.
const (
	rowsView   = "rows"
	someAssets = "some assets"
	shownView  = "some_rows"
)

// openColumns checks the names of columns, before anything is searched for. With a
// filter they are those of its rows, and of a view of the few assets else.
func openColumns(ctx context.Context, w *workspace.Workspace, names []string, f *filter) (*columns, error) {
	if len(names) == 0 {
		return &columns{}, nil
	}
	c := &columns{names: names, from: rowsView}
	if f == nil {
		c.from = shownView
		if err := w.LoadSome(ctx, someAssets, nil); err != nil {
			return nil, err
		}
		if err := relation(ctx, w, c.from, someAssets, strings.Join(names, " ")); err != nil {
			return nil, err
		}
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	have, err := db.Columns(ctx, c.from)
	if err != nil {
		return nil, err
	}
	var wrong pipeline.UsageError
	for _, name := range names {
		sql, problem := columnSQL(name, have)
		if problem != "" {
			wrong.Problems = append(wrong.Problems, pipeline.Problem{File: "--columns", What: problem})
		}
		c.exprs = append(c.exprs, sql)
	}
	if len(wrong.Problems) > 0 {
		return nil, &wrong
	}
	return c, nil
}

// describe adds what the assets table says of hits, and the columns.
func describe(ctx context.Context, w *workspace.Workspace, hits []hit, c *columns) ([]Hit, error) {
	out := make([]Hit, len(hits))
	if len(hits) == 0 {
		return out, nil
	}
	at := map[string]*Hit{}
	var ids []string
	for i, h := range hits {
		out[i].AssetID, out[i].Score = h.id, h.score
		at[h.id] = &out[i]
		ids = append(ids, h.id)
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.LoadSome(ctx, someAssets, unique(ids)); err != nil {
		return nil, err
	}
	err = db.Each(ctx, "SELECT asset_id, coalesce(uri, ''), coalesce(nullif(caption, ''), text, ''), coalesce(text, ''), coalesce(media_type, '') FROM "+query.Ident(someAssets),
		func(scan func(...any) error) error {
			var h Hit
			if err := scan(&h.AssetID, &h.URI, &h.Caption, &h.text, &h.mediaType); err != nil {
				return err
			}
			h.Score = at[h.AssetID].Score
			*at[h.AssetID] = h
			return nil
		})
	if err != nil || len(c.exprs) == 0 {
		return out, err
	}
	sql := "SELECT asset_id"
	for _, e := range c.exprs {
		sql += ", to_json(" + e + ")::VARCHAR"
	}
	return out, db.Each(ctx, sql+" FROM "+query.Ident(c.from)+" WHERE asset_id IN "+query.Literals(ids), func(scan func(...any) error) error {
		var id string
		values := make([]*string, len(c.exprs))
		dest := []any{&id}
		for i := range values {
			dest = append(dest, &values[i])
		}
		if err := scan(dest...); err != nil {
			return err
		}
		h := at[id]
		h.Columns = map[string]json.RawMessage{}
		for i, v := range values {
			h.Columns[c.names[i]] = json.RawMessage("null")
			if v != nil {
				h.Columns[c.names[i]] = json.RawMessage(*v)
			}
		}
		return nil
	})
}

// columnSQL is the SQL of a column, or of a field of one such as metadata.lens.mm.
func columnSQL(name string, have []query.ColumnInfo) (sql, problem string) {
	parts := strings.Split(name, ".")
	var known []string
	for _, c := range have {
		known = append(known, c.Name)
	}
	i := slices.IndexFunc(have, func(c query.ColumnInfo) bool { return strings.EqualFold(c.Name, parts[0]) })
	if i < 0 {
		fix, _ := configs.Unknown(parts[0], known)
		return "", fmt.Sprintf("there is no column %q; %s", parts[0], fix)
	}
	sql, t := query.Ident(have[i].Name), have[i].Type
	for k, part := range parts[1:] {
		known = nil
		for _, f := range t.Fields {
			known = append(known, f.Name)
		}
		j := slices.IndexFunc(t.Fields, func(f query.TypeField) bool { return strings.EqualFold(f.Name, part) })
		if j < 0 {
			fix, _ := configs.Unknown(part, known)
			return "", fmt.Sprintf("%s has no field %q; %s", strings.Join(parts[:k+1], "."), part, fix)
		}
		sql, t = sql+"."+query.Ident(t.Fields[j].Name), t.Fields[j].Type
	}
	return sql, ""
}

// shownAs is a JSON value as people read it: numbers with six digits.
func shownAs(v json.RawMessage) string {
	var x float64
	if bytes.ContainsAny(v, ".eE") && json.Unmarshal(v, &x) == nil {
		return strconv.FormatFloat(x, 'g', 6, 64)
	}
	return plain(v)
}

// plain is a JSON value as CSV has it.
func plain(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	if string(v) == "null" {
		return ""
	}
	return string(v)
}
