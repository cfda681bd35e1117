package ingest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"lukechampine.com/blake3"

	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// incoming makes the table `incoming` of the rows of all manifests that were
// read, with the columns of the assets table to be. Of an id in several sources
// the first in the config counts; the others are rejected.
func (in *ingester) incoming(ctx context.Context) error {
	var selects []string
	for _, s := range in.sources {
		if s.result == nil {
			continue
		}
		cols := []string{"asset_id", "uri", "text", "caption", "media_type", "version", query.Literal(s.Name) + " AS source"}
		have := map[string]int{}
		for i, m := range s.result.Meta {
			have[strings.ToLower(m.Name)] = i + 1
		}
		for _, c := range in.columns {
			expr := "NULL::" + c.typ.String()
			if i := have[strings.ToLower(c.original)]; i > 0 {
				m := s.result.Meta[i-1]
				expr = query.Convert(query.Ident(m.Column), m.Type, c.typ)
			}
			cols = append(cols, expr+" AS "+query.Ident(c.name))
		}
		selects = append(selects, fmt.Sprintf("SELECT %s, %d AS ord, file, line FROM %s", strings.Join(cols, ", "), s.index, query.Ident(s.result.Table)))
	}
	if err := in.db.Exec(ctx, "CREATE OR REPLACE TABLE incoming AS "+strings.Join(selects, " UNION ALL ")); err != nil {
		return err
	}
	return in.firstSourceWins(ctx)
}

// firstSourceWins drops the rows of ids that an earlier source has, be it read
// now or before, and lists them among their source's rejects.
func (in *ingester) firstSourceWins(ctx context.Context) error {
	var order []string
	for _, s := range in.sources {
		order = append(order, fmt.Sprintf("(%s, %d, %v)", query.Literal(s.Name), s.index, s.result != nil))
	}
	err := in.db.Exec(ctx, `
		CREATE OR REPLACE TABLE owners AS
			SELECT asset_id, min(ord) AS ord FROM (
				SELECT asset_id, ord FROM incoming
				UNION ALL
				SELECT a.asset_id, o.ord FROM assets a JOIN (VALUES `+strings.Join(order, ", ")+`) o(name, ord, read) ON o.name = a.source AND NOT o.read)
			GROUP BY asset_id`)
	if err != nil {
		return err
	}
	for _, s := range in.sources {
		if s.result == nil {
			continue
		}
		names := make([]string, len(in.sources))
		for i, o := range in.sources {
			names[i] = fmt.Sprintf("(%d, %s)", o.index, query.Literal(o.Name))
		}
		err := in.db.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (asset_id, file, line, reason, error)
			SELECT i.asset_id, i.file, i.line, %s, 'the id is taken by source ' || n.name || ', which stands first in the config'
			FROM incoming i JOIN owners o USING (asset_id) JOIN (VALUES %s) n(ord, name) ON n.ord = o.ord
			WHERE i.ord = %d AND o.ord < i.ord`, query.Ident(s.result.Rejects), query.Literal(pipeline.ReasonDuplicateID), strings.Join(names, ", "), s.index))
		if err != nil {
			return err
		}
	}
	return in.db.Exec(ctx, "DELETE FROM incoming AS i USING owners o WHERE i.asset_id = o.asset_id AND o.ord < i.ord; DROP TABLE owners")
}

// commit compares incoming with the assets table and commits the difference
// together with the manifests' states.
func (in *ingester) commit(ctx context.Context) error {
	if err := in.diff(ctx); err != nil {
		return err
	}
	if err := in.guardRemoval(ctx); err != nil {
		return err
	}
	c := table.Change{Base: in.snap.Version, Operation: "MERGE", Exclusive: true, Properties: map[string]string{},
		Info: map[string]string{"run": in.w.App.Run, "winnow": in.w.App.Version}}
	app := task.NewHash().Add("ingest").Add(fmt.Sprint(in.snap.Version))
	for _, s := range in.sources {
		if s.result == nil {
			continue
		}
		state, err := json.Marshal(s.result.State)
		if err != nil {
			return err
		}
		c.Properties[stateKey("source", s.Name)] = string(state)
		app.Add(s.Name).Add(string(state))
	}
	c.AppID, c.AppVersion = "ingest "+app.Sum(), 1
	var err error
	if c.Schema, err = in.schema(); err != nil {
		return err
	}
	if c.Adds, c.Removes, err = in.files(ctx); err != nil {
		return err
	}
	if _, err := in.w.Table(workspace.AssetsRoot).Commit(ctx, c); err != nil {
		return fmt.Errorf("commit assets: %w", err)
	}
	return nil
}

// names lists all columns of the assets table to be.
func (in *ingester) names() []string {
	out := append([]string(nil), fixed...)
	for _, c := range in.columns {
		out = append(out, c.name)
	}
	return out
}

// diff makes the table `merged` of what happens to ids: new, changed or removed,
// and counts them.
func (in *ingester) diff(ctx context.Context) error {
	// The table as it is, with the columns to be.
	cols := append([]string(nil), fixed...)
	for _, c := range in.columns {
		expr := "NULL::" + c.typ.String()
		if f := in.snap.Schema.Field(c.name); f != nil {
			from, err := duckType(f.Type)
			if err != nil {
				return err
			}
			expr = query.Convert(query.Ident(c.name), from, c.typ)
		}
		cols = append(cols, expr+" AS "+query.Ident(c.name))
	}
	var differs []string
	for _, n := range in.names()[1:] {
		differs = append(differs, fmt.Sprintf("i.%[1]s IS DISTINCT FROM o.%[1]s", query.Ident(n)))
	}
	var gone []string
	for _, s := range in.sources {
		if s.result != nil && s.Mode == "snapshot" {
			gone = append(gone, query.Literal(s.Name))
		}
	}
	removed := "false"
	if len(gone) > 0 {
		removed = "o.source IN (" + strings.Join(gone, ", ") + ")"
	}
	err := in.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE old AS SELECT %s FROM assets;
		CREATE OR REPLACE TABLE merged AS
			SELECT coalesce(i.asset_id, o.asset_id) AS asset_id,
				CASE WHEN o.asset_id IS NULL THEN 'new' WHEN i.asset_id IS NULL THEN 'removed' ELSE 'changed' END AS what
			FROM incoming i FULL OUTER JOIN old o ON i.asset_id = o.asset_id
			WHERE o.asset_id IS NULL OR (i.asset_id IS NULL AND %s) OR (i.asset_id IS NOT NULL AND (%s))`,
		strings.Join(cols, ", "), removed, strings.Join(differs, " OR ")))
	if err != nil {
		return err
	}
	return in.db.Row(ctx, "SELECT count(*) FILTER (what = 'new'), count(*) FILTER (what = 'changed'), count(*) FILTER (what = 'removed') FROM merged",
		[]any{&in.sum.New, &in.sum.Changed, &in.sum.Removed})
}

// guardRemoval stops a snapshot that would remove suspiciously much: a manifest
// that was cut off looks just like that.
func (in *ingester) guardRemoval(ctx context.Context) error {
	if in.o.AllowRemoval || in.sum.Removed == 0 {
		return nil
	}
	return in.db.Each(ctx, `SELECT o.source, count(*) FILTER (m.what = 'removed'), count(*) FROM old o LEFT JOIN merged m USING (asset_id) GROUP BY o.source ORDER BY o.source`,
		func(scan func(...any) error) error {
			var name string
			var removed, all int64
			if err := scan(&name, &removed, &all); err != nil {
				return err
			}
			if float64(removed) <= vanishLimit*float64(all) {
				return nil
			}
			return fmt.Errorf("source %s: its manifest lacks %d of %d assets, and mode: snapshot would remove them; nothing was changed. "+
				"If the manifest is complete, run again with --allow-removal", name, removed, all)
		})
}

// files writes the new data files: those of new rows, and anew those of which a
// row changed or went.
func (in *ingester) files(ctx context.Context) (adds []table.File, removes []string, err error) {
	all := false
	for _, c := range in.columns {
		all = all || c.widened
	}
	list := make([]string, 0, len(in.names()))
	for _, n := range in.names() {
		list = append(list, query.Ident(n))
	}
	cols := strings.Join(list, ", ")
	for _, f := range in.snap.Files {
		path, err := in.w.LocalFile(ctx, workspace.AssetsRoot, f)
		if err != nil {
			return nil, nil, err
		}
		here := fmt.Sprintf("(SELECT asset_id FROM read_parquet(%s))", query.Literal(path))
		hit, err := in.db.Int(ctx, "SELECT count(*) FROM merged WHERE what <> 'new' AND asset_id IN "+here)
		if err != nil {
			return nil, nil, err
		}
		if hit == 0 && !all {
			continue
		}
		removes = append(removes, f.Path)
		file, err := in.write(ctx, fmt.Sprintf(`
			SELECT %[1]s FROM old WHERE asset_id IN %[2]s AND asset_id NOT IN (SELECT asset_id FROM merged)
			UNION ALL SELECT %[1]s FROM incoming WHERE asset_id IN (SELECT asset_id FROM merged WHERE what = 'changed' AND asset_id IN %[2]s)
			ORDER BY asset_id`, cols, here))
		if err != nil {
			return nil, nil, err
		}
		if file != nil {
			adds = append(adds, *file)
		}
	}
	for from := int64(0); from < in.sum.New; from += fileRows {
		file, err := in.write(ctx, fmt.Sprintf("SELECT %s FROM incoming WHERE asset_id IN (SELECT asset_id FROM merged WHERE what = 'new') ORDER BY asset_id LIMIT %d OFFSET %d", cols, fileRows, from))
		if err != nil {
			return nil, nil, err
		}
		if file != nil {
			adds = append(adds, *file)
		}
	}
	return unchanged(adds, removes)
}

// unchanged leaves out a file that is removed and added with the same bytes.
func unchanged(adds []table.File, removes []string) ([]table.File, []string, error) {
	added := map[string]bool{}
	for _, a := range adds {
		added[a.Path] = true
	}
	both := map[string]bool{}
	var left []string
	for _, r := range removes {
		if both[r] = added[r]; !added[r] {
			left = append(left, r)
		}
	}
	var keep []table.File
	for _, a := range adds {
		if !both[a.Path] {
			keep = append(keep, a)
		}
	}
	return keep, left, nil
}

// write stores the result of a SELECT as a data file named by its bytes, nil when
// it has no rows.
func (in *ingester) write(ctx context.Context, sql string) (*table.File, error) {
	return writeFile(ctx, in.w, in.db, workspace.AssetsRoot, sql)
}

func writeFile(ctx context.Context, w *workspace.Workspace, db *query.DB, root, sql string) (_ *table.File, err error) {
	tmp := filepath.Join(db.Dir(), "write.parquet")
	rows, err := db.Copy(ctx, sql, tmp)
	if err != nil || rows == 0 {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp) }() // the folder goes with the database
	f, err := os.Open(tmp)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := blake3.New(16, nil)
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	name := hex.EncodeToString(h.Sum(nil)) + ".parquet"
	_, err = w.Store.Create(ctx, root+"/"+name, func(out io.Writer) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(out, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	file, err := w.DataFile(ctx, root, name, rows)
	return &file, err
}
