package tables

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3"

	"winnow/io/query"
	"winnow/io/table"
)

// trusted is how old an unreferenced data file may be before it is written again
// rather than trusted: vacuum removes such files when they are a day old.
const trusted = 12 * time.Hour

// Write writes the result of a SELECT as one data file of a table, for a later
// commit. The file is named by the hash of its bytes and put only where it is
// not, so the same rows in the same order end in the same file, however often.
// The SELECT has an ORDER BY that leaves no ties. key, if any, is a column whose
// least and greatest values go into the file's statistics.
func Write(ctx context.Context, db *query.DB, t *table.Table, selection, key string) (_ table.File, err error) {
	tmp, err := os.CreateTemp(db.Dir(), "table-*.parquet")
	if err != nil {
		return table.File{}, err
	}
	path := tmp.Name()
	defer func() {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := tmp.Close(); err != nil {
		return table.File{}, err
	}
	rows, err := db.Copy(ctx, selection, filepath.ToSlash(path))
	if err != nil {
		return table.File{}, err
	}
	name, size, err := hashFile(path)
	if err != nil {
		return table.File{}, err
	}
	f := table.File{Path: name + ".parquet", Size: size, Rows: rows}
	if key != "" && rows > 0 {
		var least, greatest string
		err := db.Row(ctx, fmt.Sprintf("SELECT min(%[1]s)::VARCHAR, max(%[1]s)::VARCHAR FROM %[2]s", query.Ident(key), query.Parquet([]string{filepath.ToSlash(path)})), []any{&least, &greatest})
		if err != nil {
			return table.File{}, err
		}
		f.Stats = table.Stats(rows, map[string]any{key: least}, map[string]any{key: greatest}, map[string]int64{key: 0})
	}
	return f, put(ctx, t, f, path)
}

func hashFile(path string) (name string, size int64, err error) {
	in, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	h := blake3.New(32, nil)
	size, err = io.Copy(h, in)
	return hex.EncodeToString(h.Sum(nil)[:16]), size, err
}

// put stores a data file.
func put(ctx context.Context, t *table.Table, f table.File, path string) error {
	copyTo := func(w io.Writer) error {
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	}
	created, err := t.Files().Create(ctx, f.Path, copyTo)
	if err != nil || created {
		return err
	}
	o, err := t.Files().Stat(ctx, f.Path)
	if err != nil {
		return err
	}
	if o.Size != f.Size || time.Since(o.ModTime) > trusted {
		return t.Files().Write(ctx, f.Path, copyTo)
	}
	return nil
}

// Local returns local paths of a snapshot's data files: the files themselves
// where the store is a directory, else kept copies in the folder cache.
func Local(ctx context.Context, t *table.Table, files []table.File, cache string) ([]string, error) {
	paths := make([]string, len(files))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, f := range files {
		g.Go(func() error {
			p, err := t.Files().Local(gctx, f.Path, cache)
			paths[i] = filepath.ToSlash(p)
			return err
		})
	}
	return paths, g.Wait()
}

// Select returns the SELECT of all columns of a schema, by name, type and order,
// from local copies of its files: NULL where a file is older than a column.
// extra are further columns to select, such as "filename".
func Select(ctx context.Context, db *query.DB, schema table.Schema, paths []string, extra ...string) (string, error) {
	want, err := Columns(schema)
	if err != nil {
		return "", err
	}
	have := map[string]query.ColumnInfo{}
	if len(paths) > 0 {
		cols, err := db.Columns(ctx, query.Parquet(paths))
		if err != nil {
			return "", err
		}
		for _, c := range cols {
			have[strings.ToLower(c.Name)] = c
		}
	}
	exprs := make([]string, 0, len(want)+len(extra))
	for _, c := range want {
		expr := "NULL::" + c.Type.String()
		if h, ok := have[strings.ToLower(c.Name)]; ok {
			expr = query.Convert(query.Ident(h.Name), h.Type, c.Type)
		}
		exprs = append(exprs, expr+" AS "+query.Ident(c.Name))
	}
	exprs = append(exprs, extra...)
	if len(paths) == 0 {
		return "SELECT " + strings.Join(exprs, ", ") + " WHERE false", nil
	}
	return "SELECT " + strings.Join(exprs, ", ") + " FROM " + query.Parquet(paths), nil
}

// Load copies a version of a table into the native table name, with all columns
// of its schema even where no file has them. A table that does not exist has the
// columns of schema.
func Load(ctx context.Context, db *query.DB, t *table.Table, s *table.Snapshot, schema table.Schema, cache, name string) error {
	if s.Version >= 0 {
		schema = s.Schema
	}
	paths, err := Local(ctx, t, s.Files, cache)
	if err != nil {
		return err
	}
	sel, err := Select(ctx, db, schema, paths)
	if err != nil {
		return fmt.Errorf("load table %s: %w", name, err)
	}
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+query.Ident(name)+" AS "+sel); err != nil {
		return fmt.Errorf("load table %s: %w", name, err)
	}
	return nil
}
