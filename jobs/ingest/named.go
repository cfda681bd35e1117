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

// saidTable has the rows of all manifests of a list, with the columns of its table
// and coco, source and line.
const saidTable = "ingest_said"

// nameAssets finds the assets of pictures that COCO files name, and warns of rows
// whose asset is not in the workspace, and of classes that differ by case alone.
func (g *ingester) nameAssets(ctx context.Context, l pairList) error {
	snap, err := g.w.Snapshot(ctx, workspace.AssetsRoot)
	if err != nil {
		return err
	}
	t := g.w.Table(workspace.AssetsRoot)
	paths, err := tables.Local(ctx, t, snap.Files, g.w.Cache)
	if err != nil {
		return err
	}
	ids, err := tables.Select(ctx, g.db, table.Schema{{Name: "asset_id", Type: table.String}, {Name: "uri", Type: table.String, Nullable: true}}, paths)
	if err != nil {
		return err
	}
	// A picture's file name is an asset's id, or the id with the extension, or the
	// end of the address of one asset alone.
	err = g.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE ingest_ids AS %[1]s;
		CREATE OR REPLACE TABLE ingest_named AS
			SELECT s.name, coalesce(any_value(b.asset_id), CASE WHEN count(DISTINCT u.asset_id) = 1 THEN any_value(u.asset_id) END) AS asset_id
			FROM (SELECT DISTINCT asset_id AS name FROM %[2]s WHERE coco) s
			ANTI JOIN ingest_ids i ON i.asset_id = s.name
			LEFT JOIN ingest_ids b ON b.asset_id = regexp_replace(s.name, '[.][A-Za-z0-9]+$', '')
			LEFT JOIN ingest_ids u ON regexp_extract(u.uri, '[^/]+$') = regexp_extract(s.name, '[^/]+$') AND ends_with(u.uri, '/' || s.name)
			GROUP BY s.name;
		UPDATE %[2]s AS s SET asset_id = n.asset_id FROM ingest_named n WHERE s.coco AND s.asset_id = n.name AND n.asset_id IS NOT NULL`, ids, saidTable))
	if err != nil {
		return err
	}
	if err := g.warnUnknown(ctx, l); err != nil {
		return err
	}
	return g.warnCase(ctx, l)
}

// warnUnknown says which rows name no asset of the workspace.
func (g *ingester) warnUnknown(ctx context.Context, l pairList) error {
	var rows, assets, line int64
	var id, source string
	err := g.db.Row(ctx, fmt.Sprintf(`SELECT count(*), count(DISTINCT asset_id), coalesce(min_by(asset_id, source || lpad(line::VARCHAR, 20, '0')), ''),
			coalesce(min(source), ''), coalesce(min_by(line, source || lpad(line::VARCHAR, 20, '0')), 0)
		FROM %s s WHERE NOT EXISTS (FROM ingest_ids i WHERE i.asset_id = s.asset_id)`, saidTable), []any{&rows, &assets, &id, &source, &line})
	if err != nil || rows == 0 {
		return err
	}
	near, err := query.Column[string](ctx, g.db, "SELECT asset_id FROM ingest_ids ORDER BY jaro_winkler_similarity(asset_id, ?) DESC, asset_id LIMIT 1", id)
	if err != nil {
		return err
	}
	similar := ""
	if len(near) > 0 {
		similar = fmt.Sprintf("; the most similar id is %q", near[0])
	}
	g.warn("%s: %d rows name %d assets that are not in the workspace, first %q in %s:%d%s; the rows are kept and count once the assets are there", l.root, rows, assets, id, source, line, similar)
	return nil
}

// warnCase says which classes differ by case or blanks alone.
func (g *ingester) warnCase(ctx context.Context, l pairList) error {
	column := "label"
	if l.kind == manifest.Predictions {
		column = "prediction"
	}
	sql := fmt.Sprintf(`SELECT list(v || chr(0) || n || chr(0) || place ORDER BY n DESC, v) FROM (
			SELECT %[1]s AS v, count(*) AS n, min_by(source || ':' || line, source || lpad(line::VARCHAR, 20, '0')) AS place FROM %[2]s WHERE %[1]s IS NOT NULL GROUP BY v)
		GROUP BY lower(trim(v)) HAVING count(*) > 1 ORDER BY min(v) LIMIT 10`, column, saidTable)
	return g.db.Each(ctx, sql, func(scan func(...any) error) error {
		var list []any
		if err := scan(&list); err != nil {
			return err
		}
		parts := make([]string, len(list))
		for i, x := range list {
			f := strings.Split(fmt.Sprint(x), "\x00")
			parts[i] = fmt.Sprintf("%q (%s rows, first in %s)", f[0], f[1], f[2])
		}
		g.warn("%s: %s differ by case or blanks alone and are different classes; write them alike, or pass --ignore-case to winnow diagnose", l.root, strings.Join(parts, " and "))
		return nil
	})
}
