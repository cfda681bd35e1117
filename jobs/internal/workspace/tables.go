package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/tables"
	"winnow/models"
	"winnow/pipeline"
)

// BatchedSchema describes the table of every row ever batched.
var BatchedSchema = table.Schema{
	{Name: "asset_id", Type: table.String, Nullable: true}, {Name: "version", Type: table.String, Nullable: true},
	{Name: "name", Type: table.String, Nullable: true}, {Name: "slot", Type: table.String, Nullable: true},
	{Name: "rank", Type: table.Long, Nullable: true}, {Name: "objective", Type: table.String, Nullable: true},
	{Name: "reason", Type: table.String, Nullable: true},
}

// LabelsSchema describes the labels table: a row for each label of an asset, or of
// an object of it. A box is in pixels from the upper left corner. A row without a
// label says that the asset holds nothing.
var LabelsSchema = slices.Concat(texts("asset_id", "label", "object"), box,
	table.Schema{{Name: "crowd", Type: table.Boolean, Nullable: true}})

// PredictionsSchema describes the predictions table: a row for each guess of a
// model. confidence and p are in [0, 1].
var PredictionsSchema = slices.Concat(texts("asset_id", "model", "prediction"), table.Schema{{Name: "confidence", Type: table.Double, Nullable: true}},
	texts("object"), box, table.Schema{{Name: "probabilities", Nullable: true, Type: table.Array(table.Struct(
		table.Field{Name: "class", Type: table.String, Nullable: true}, table.Field{Name: "p", Type: table.Double, Nullable: true}), true)}})

var box = table.Schema{
	{Name: "x", Type: table.Double, Nullable: true}, {Name: "y", Type: table.Double, Nullable: true},
	{Name: "width", Type: table.Double, Nullable: true}, {Name: "height", Type: table.Double, Nullable: true},
}

// absent are the schemas of tables while they do not exist yet: SQL may rely on
// their columns. Tables of an earlier winnow lack some; they are NULL.
var absent = map[string]table.Schema{
	AssetsRoot:      texts("asset_id", "uri", "text", "caption", "media_type", "version", "source"),
	LabelsRoot:      LabelsSchema,
	PredictionsRoot: PredictionsSchema,
	BatchedRoot:     BatchedSchema,
	RejectsRoot:     RejectsSchema,
	LooksRoot:       LooksSchema,
}

func texts(names ...string) table.Schema {
	var s table.Schema
	for _, n := range names {
		s = append(s, table.Field{Name: n, Type: table.String, Nullable: true})
	}
	return s
}

// LoadAssets loads the assets table into the database.
func (w *Workspace) LoadAssets(ctx context.Context) (int64, error) {
	return w.LoadTable(ctx, AssetsRoot)
}

// LoadTable copies the newest version of a small table into the database under
// its root's name, and returns the version; -1 for a table that does not exist,
// which is loaded without rows. A version that is loaded already is not read
// again.
func (w *Workspace) LoadTable(ctx context.Context, root string) (int64, error) {
	if v, ok := w.loaded[root]; ok {
		return v, nil
	}
	db, err := w.DB(ctx)
	if err != nil {
		return 0, err
	}
	snap, err := w.Snapshot(ctx, root)
	if err != nil {
		return 0, err
	}
	if err := tables.Load(ctx, db, w.Table(root), snap, absent[root], w.Cache, root); err != nil {
		return 0, err
	}
	if err := w.widen(ctx, root); err != nil {
		return 0, err
	}
	if w.loaded == nil {
		w.loaded = map[string]int64{}
	}
	w.loaded[root] = snap.Version
	return snap.Version, nil
}

// widen adds the columns to a loaded table that it lacks.
func (w *Workspace) widen(ctx context.Context, root string) error {
	cols, err := tables.Columns(absent[root])
	if err != nil {
		return err
	}
	for _, c := range cols {
		if err := w.db.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s", query.Ident(root), query.Ident(c.Name), c.Type)); err != nil {
			return err
		}
	}
	return nil
}

// LocalFile returns a local path of a data file: the file itself in a folder, a
// kept copy of it elsewhere.
func (w *Workspace) LocalFile(ctx context.Context, root string, f table.File) (string, error) {
	return w.Store.Local(ctx, root+"/"+f.Path, w.Cache)
}

// DataFile describes a stored data file for a commit, with its true size.
func (w *Workspace) DataFile(ctx context.Context, root, name string, rows int64) (table.File, error) {
	o, err := w.Store.Stat(ctx, root+"/"+name)
	if err != nil {
		return table.File{}, fmt.Errorf("a data file is gone that was written before; delete the folder %s/_results, which remembers it, and run again: %w", root, err)
	}
	return table.File{Path: name, Size: o.Size, Rows: rows}, nil
}

// Embedding finds an embedding of the config by name.
func (w *Workspace) Embedding(name string) (configs.Embedding, error) {
	for _, e := range w.Config.Embeddings {
		if e.Name == name {
			return e, nil
		}
	}
	var known []string
	for _, e := range w.Config.Embeddings {
		known = append(known, e.Name)
	}
	return configs.Embedding{}, pipeline.Usagef("there is no embedding %q; the config has %s", name, strings.Join(known, ", "))
}

// Rows chooses among the rows that have no vector.
type Rows int

const (
	New           Rows = iota // those not rejected for good
	Rejected                  // those only that were rejected, for good or not
	NewOrRejected             // all
)

// todoSQL selects the rows that an embedding still has to see: with content,
// without a vector of this version, and chosen by which. tries counts earlier
// rejects of the row, so that a new try is a new task.
func (w *Workspace) todoSQL(ctx context.Context, s *Space, which Rows) (string, error) {
	if _, err := w.LiveIn(ctx, s); err != nil {
		return "", err
	}
	if _, err := w.LoadTable(ctx, RejectsRoot); err != nil {
		return "", err
	}
	if err := w.checkColumn(ctx, s.Embedding); err != nil {
		return "", err
	}
	content, version := s.contentSQL(), s.versionSQL()
	uri, text := "''", content
	if s.Spec.Kind == models.Image {
		uri, text = content, "''"
	}
	tried := "EXISTS (FROM tried t WHERE t.asset_id = a.asset_id AND t.version = todo_version"
	chosen := "NOT " + tried + " AND NOT t.transient)"
	switch which {
	case Rejected:
		chosen = tried + ")"
	case NewOrRejected:
		chosen = "true"
	}
	return fmt.Sprintf(`WITH tried AS (
			SELECT asset_id, version, bool_and(transient) AS transient, count(*) AS tries FROM rejects
			WHERE stage = 'embed' AND subject = %s GROUP BY asset_id, version)
		SELECT a.asset_id, %s AS todo_version, %s AS uri, %s AS text,
			coalesce((SELECT tries FROM tried t WHERE t.asset_id = a.asset_id AND t.version = todo_version), 0) AS tries
		FROM assets a
		WHERE coalesce(%s, '') <> '' AND %s
			AND NOT EXISTS (FROM %s k WHERE k.asset_id = a.asset_id AND k.version = todo_version)`,
		query.Literal(s.Fingerprint()), version, uri, text, content, chosen, query.Ident(s.table("keys"))), nil
}

// checkColumn says which text columns there are when an embedding's is missing.
func (w *Workspace) checkColumn(ctx context.Context, e configs.Embedding) error {
	name, ok := strings.CutPrefix(e.Of, "metadata.")
	if !ok {
		return nil
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	have, err := query.Column[string](ctx, db, "SELECT column_name FROM information_schema.columns WHERE table_name = 'assets' AND column_name LIKE 'metadata\\_%' ESCAPE '\\'")
	if err != nil {
		return err
	}
	for _, c := range have {
		if c == MetadataColumn(name) {
			return nil
		}
	}
	return pipeline.Usagef("embedding %s: the assets have no metadata field %q; they have %s", e.Name, name, strings.ReplaceAll(strings.Join(have, ", "), "metadata_", ""))
}

// CountTodo counts the rows that Todo gives.
func (w *Workspace) CountTodo(ctx context.Context, s *Space, which Rows) (int64, error) {
	if s.Spec.Kind == models.Vectors {
		return 0, nil // no model waits for them
	}
	sql, err := w.todoSQL(ctx, s, which)
	if err != nil {
		return 0, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return 0, err
	}
	return db.Int(ctx, "SELECT count(*) FROM ("+sql+")")
}

// Todo calls fn for every row that an embedding still has to see, by asset_id.
func (w *Workspace) Todo(ctx context.Context, s *Space, which Rows, fn func(it pipeline.Item, tries int64) error) error {
	sql, err := w.todoSQL(ctx, s, which)
	if err != nil {
		return err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	return db.Each(ctx, sql+" ORDER BY a.asset_id", func(scan func(...any) error) error {
		var it pipeline.Item
		var tries int64
		if err := scan(&it.AssetID, &it.Version, &it.URI, &it.Text, &tries); err != nil {
			return err
		}
		return fn(it, tries)
	})
}

// WhyNoVector explains why an asset has no live vector in an embedding.
func (w *Workspace) WhyNoVector(ctx context.Context, id, embedding string) (string, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return "", err
	}
	for _, root := range []string{AssetsRoot, RejectsRoot} {
		if _, err := w.LoadTable(ctx, root); err != nil {
			return "", err
		}
	}
	n, err := db.Int(ctx, "SELECT count(*) FROM assets WHERE asset_id = ?", id)
	if err != nil {
		return "", err
	}
	if n == 0 {
		near, err := query.Column[string](ctx, db, "SELECT asset_id FROM assets ORDER BY jaro_winkler_similarity(asset_id, ?) DESC, asset_id LIMIT 1", id)
		if err != nil || len(near) == 0 {
			return "there is no such asset", err
		}
		return fmt.Sprintf("there is no such asset (the most similar id is %q)", near[0]), nil
	}
	why, err := query.Column[string](ctx, db, "SELECT reason || ': ' || error FROM rejects WHERE asset_id = ? ORDER BY stage = 'embed' DESC LIMIT 1", id)
	if err != nil || len(why) > 0 {
		return strings.Join(why, ""), err
	}
	return "it was not embedded yet, or it lacks this content", nil
}
