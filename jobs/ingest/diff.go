package ingest

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/tables"
	"winnow/jobs/internal/workspace"
)

// tableColumns returns the metadata columns of the assets table.
func tableColumns(schema table.Schema) ([]*metaColumn, error) {
	cols, err := tables.Columns(schema)
	if err != nil {
		return nil, fmt.Errorf("table assets: %w", err)
	}
	var out []*metaColumn
	for i, f := range schema {
		field, ok := workspace.MetadataField(f)
		if !ok {
			continue
		}
		out = append(out, &metaColumn{name: f.Name, field: field, typ: cols[i].Type, from: map[int]manifest.MetaColumn{}})
	}
	return out, nil
}

// schema is that of the assets table to be.
func (in *incoming) schema() (table.Schema, error) {
	var s table.Schema
	for _, name := range fixed {
		s = append(s, table.Field{Name: name, Type: table.String, Nullable: true})
	}
	for _, c := range in.meta {
		t, err := tables.Delta(c.typ)
		if err != nil {
			return nil, fmt.Errorf("metadata field %s: %w", c.field, err)
		}
		s = append(s, workspace.NewMetadataField(c.name, c.field, t))
	}
	return s, nil
}

// names are the columns of assets, quoted.
func (in *incoming) names() string {
	names := append([]string(nil), fixed...)
	for _, c := range in.meta {
		names = append(names, query.Ident(c.name))
	}
	return strings.Join(names, ", ")
}

// loadCurrent makes currentTable: which assets there are, whose they are, and
// the number of the file that holds them.
func (g *ingester) loadCurrent(ctx context.Context) (err error) {
	if g.paths, err = tables.Local(ctx, g.w.Table(workspace.AssetsRoot), g.snap.Files, g.w.Cache); err != nil {
		return err
	}
	if len(g.paths) == 0 {
		return g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+currentTable+" (asset_id VARCHAR, source VARCHAR, file BIGINT)")
	}
	return g.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT asset_id, source, %s AS file FROM %s", currentTable, g.fileNumber(), query.Parquet(g.paths)))
}

// fileNumber is the SQL of the number of a row's file in g.paths.
func (g *ingester) fileNumber() string {
	pairs := make([]string, len(g.paths))
	for i, p := range g.paths {
		pairs[i] = fmt.Sprintf("%s: %d", query.Literal(p), i)
	}
	return "MAP {" + strings.Join(pairs, ", ") + "}[filename]::BIGINT"
}

// currentRows is the SELECT of the assets as they are, in the columns of g.in,
// with the number of the file.
func (g *ingester) currentRows(ctx context.Context) (string, error) {
	schema, err := g.in.schema()
	if err != nil {
		return "", err
	}
	if len(g.paths) == 0 {
		return tables.Select(ctx, g.db, schema, nil, "0::BIGINT AS file")
	}
	return tables.Select(ctx, g.db, schema, g.paths, g.fileNumber()+" AS file")
}

// diff makes diffTable: asset_id, the owner's number, the file that holds the
// asset now, and what: new, changed, same or gone. It stops the run when a
// snapshot manifest would remove too much.
func (g *ingester) diff(ctx context.Context) error {
	rows, err := g.currentRows(ctx)
	if err != nil {
		return err
	}
	names := g.in.names()
	err = g.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %s AS
		SELECT i.asset_id, i.owner, c.file, CASE WHEN c.asset_id IS NULL THEN 'new' WHEN c.h <> i.h THEN 'changed' ELSE 'same' END AS what
		FROM (SELECT asset_id, owner, hash(%[2]s) AS h FROM %[3]s) i LEFT JOIN (SELECT asset_id, file, hash(%[2]s) AS h FROM (%[4]s)) c USING (asset_id)`,
		diffTable, names, inTable, rows))
	if err != nil {
		return err
	}
	for _, s := range g.sources {
		if s.res == nil || !s.all {
			continue
		}
		if err := g.vanished(ctx, s); err != nil {
			return err
		}
	}
	return g.db.Each(ctx, "SELECT owner, what, count(*) FROM "+diffTable+" GROUP BY ALL", func(scan func(...any) error) error {
		var owner, n int64
		var what string
		if err := scan(&owner, &what, &n); err != nil {
			return err
		}
		s := g.sources[owner].sum
		switch what {
		case "new":
			s.New, g.sum.New = n, g.sum.New+n
		case "changed":
			s.Changed, g.sum.Changed = n, g.sum.Changed+n
		case "gone":
			s.Removed, g.sum.Removed = n, g.sum.Removed+n
		default:
			s.Unchanged = n
		}
		s.Rows = s.New + s.Changed + s.Unchanged
		return nil
	})
}

// vanished adds to diffTable what a snapshot does not list any more.
func (g *ingester) vanished(ctx context.Context, s *source) error {
	name := query.Literal(s.name)
	err := g.db.Exec(ctx, fmt.Sprintf(`INSERT INTO %[1]s SELECT c.asset_id, %[2]d, c.file, 'gone' FROM %[3]s c
		WHERE c.source = %[4]s
			AND NOT EXISTS (FROM %[5]s x WHERE x.asset_id = c.asset_id)
			AND NOT EXISTS (FROM %[6]s x WHERE x.asset_id = c.asset_id)
			AND NOT EXISTS (FROM %[7]s x WHERE x.asset_id = c.asset_id AND x.owner = %[2]d)`,
		diffTable, s.number, currentTable, name, query.Ident(s.res.Table), inTable, rejectsTable))
	if err != nil {
		return err
	}
	var gone, had int64
	err = g.db.Row(ctx, fmt.Sprintf("SELECT (SELECT count(*) FROM %s WHERE what = 'gone' AND owner = %d), (SELECT count(*) FROM %s WHERE source = %s)", diffTable, s.number, currentTable, name), []any{&gone, &had})
	if err != nil {
		return err
	}
	if gone*10 > had && !g.o.AllowRemoval {
		return fmt.Errorf("source %s: %d of its %d assets are not in the manifest any more, and mode: snapshot would remove them; nothing was changed. If the manifest is right, pass --allow-removal; if it lists only what is new, write mode: append", s.name, gone, had)
	}
	return nil
}
