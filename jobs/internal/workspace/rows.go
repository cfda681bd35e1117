package workspace

import (
	"context"
	"fmt"

	"winnow/io/query"
	"winnow/jobs/internal/tables"
)

// BatchesOf gives the names of the batches that took an asset.
const BatchesOf = "SELECT asset_id, list(DISTINCT name ORDER BY name) AS batches FROM batched GROUP BY asset_id"

// Relation is what conditions see of assets, in SQL: columns, and the joins that
// they need, over a table of assets with the alias a. Labels and predictions may be
// several an asset: label is the first by name, prediction the most confident one;
// labels, predictions and batches are lists of all, sorted, and empty where there is
// none.
func (w *Workspace) Relation(ctx context.Context) (columns, joins []string, err error) {
	meta, err := w.MetadataStruct(ctx, "a")
	if err != nil {
		return nil, nil, err
	}
	return []string{
			"a.asset_id, a.uri, a.text, a.caption, a.media_type, a.version, a.source",
			meta + " AS metadata",
			"lab.label AS label, coalesce(lab.labels, []) AS labels, lab.asset_id IS NOT NULL AS labeled",
			"coalesce(bat.batches, []) AS batches, bat.asset_id IS NOT NULL AS batched",
			"pre.prediction AS prediction, coalesce(pre.predictions, []) AS predictions, pre.confidence AS confidence, pre.asset_id IS NOT NULL AS predicted",
		}, []string{
			"LEFT JOIN (SELECT asset_id, min(label) AS label, list(DISTINCT label ORDER BY label) AS labels FROM labels GROUP BY asset_id) lab USING (asset_id)",
			"LEFT JOIN (" + BatchesOf + ") bat USING (asset_id)",
			"LEFT JOIN (SELECT asset_id, first(prediction ORDER BY confidence DESC NULLS LAST, prediction) AS prediction, list(DISTINCT prediction ORDER BY prediction) AS predictions, max(confidence) AS confidence FROM predictions GROUP BY asset_id) pre USING (asset_id)",
		}, nil
}

// LoadNone makes the table of a root with its columns and no rows, for SQL that
// names it and is known not to read it. A table that is loaded stays.
func (w *Workspace) LoadNone(ctx context.Context, root string) error {
	if _, ok := w.loaded[root]; ok {
		return nil
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	sel, err := tables.Select(ctx, db, absent[root], nil)
	if err != nil {
		return err
	}
	return db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS %s", query.Ident(root), sel))
}

// LoadSome makes a table of some assets, by id, with the columns of all, from the
// assets' own files: in a time that hardly grows with the assets.
func (w *Workspace) LoadSome(ctx context.Context, name string, ids []string) error {
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	from := "FROM assets"
	if _, ok := w.loaded[AssetsRoot]; !ok {
		sel, err := w.assetsSQL(ctx, db)
		if err != nil {
			return err
		}
		from = "FROM (" + sel + ")"
	}
	return db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT * %s WHERE asset_id IN %s", query.Ident(name), from, query.Literals(ids)))
}

// Place is where a live row stands.
type Place struct {
	Hash string // of its content
	File int    // in Live.Files
	Row  int64
}

// Places looks up where the rows of some assets stand, by id. Assets without a live
// row are left out.
func (l *Live) Places(ctx context.Context, ids []string) (map[string]Place, error) {
	out := map[string]Place{}
	err := l.lookup(ctx, ids, func(id, hash string, file int, row int64) { out[id] = Place{hash, file, row} })
	return out, err
}
