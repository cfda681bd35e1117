package workspace

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/shard"
	"winnow/io/table"
	"winnow/jobs/internal/tables"
)

// LiveOf is Live for those who look up a few assets alone, in a time that hardly
// grows with the rows: Rows, Hash, Table and what Files know of live rows are not
// filled. Where shards are not local files it is Live.
func (w *Workspace) LiveOf(ctx context.Context, e configs.Embedding) (*Live, error) {
	s, err := w.Current(ctx, e)
	if err != nil {
		return nil, err
	}
	if _, local := w.Store.Path(s.Root()); !local || w.live[s.Root()] != nil {
		return w.LiveIn(ctx, s)
	}
	l, err := w.open(ctx, s)
	if err == nil && len(l.Files) == 0 {
		return w.LiveIn(ctx, s)
	}
	return l, err
}

// Stored is the number of rows of all shards, live or not.
func (l *Live) Stored() (n int64) {
	for _, f := range l.Snapshot.Files {
		n += f.Rows
	}
	return n
}

// loadKeys makes the space's table of the keys of all rows of all shards. Only the
// id columns are read: by DuckDB itself where the shards are local files.
func (l *Live) loadKeys(ctx context.Context, db *query.DB) error {
	name := l.Space.table("keys")
	paths, local, err := l.check(ctx)
	if err != nil {
		return err
	}
	if local && len(paths) > 0 {
		if err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS %s", query.Ident(name), l.keysSQL(paths))); err != nil {
			return fmt.Errorf("%s: %w", l.Root, err)
		}
		return nil
	}
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+query.Ident(name)+" (asset_id VARCHAR, version VARCHAR, content_hash VARCHAR, file BIGINT, row BIGINT, rank BIGINT)"); err != nil {
		return err
	}
	ranks := l.ranks()
	return db.Append(ctx, name, func(add func(values ...any) error) error {
		for i, f := range l.Snapshot.Files {
			err := l.read(ctx, f, shard.ScanOptions{IDs: true}, func(b *shard.Block) error {
				for k := range b.AssetID {
					if err := add(b.AssetID[k], b.Version[k], b.ContentHash[k], int64(i), b.First+int64(k), ranks[i]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// check opens all shards, so that one that is gone, damaged or of another dimension
// is named, and returns their paths where they are local files.
func (l *Live) check(ctx context.Context) (paths []string, local bool, err error) {
	for _, f := range l.Snapshot.Files {
		p, ok := l.w.Store.Path(l.Root + "/" + f.Path)
		if !ok {
			return nil, false, nil
		}
		if err := l.open(ctx, f, func(*shard.Reader) error { return nil }); err != nil {
			return nil, true, err
		}
		paths = append(paths, filepath.ToSlash(p))
	}
	return paths, true, nil
}

// keysSQL selects the keys of all rows of local shards.
func (l *Live) keysSQL(paths []string) string {
	ranks := make([]string, len(paths))
	for i, r := range l.ranks() {
		ranks[i] = strconv.FormatInt(r, 10)
	}
	return fmt.Sprintf(`SELECT asset_id, version, content_hash, file_index::BIGINT AS file, file_row_number AS row, ([%s])[file_index::BIGINT + 1]::BIGINT AS rank
		FROM read_parquet(%s, file_row_number = true, hive_partitioning = false)`, strings.Join(ranks, ", "), query.Literals(paths))
}

// few makes a table of the live rows of some assets, and returns its name.
func (l *Live) few(ctx context.Context, ids []string) (string, error) {
	db, err := l.w.DB(ctx)
	if err != nil {
		return "", err
	}
	wanted := make([]string, len(ids))
	for i, id := range ids {
		wanted[i] = query.Literal(id)
	}
	sql, err := l.fewSQL(ctx, db, "asset_id IN ("+strings.Join(wanted, ", ")+")")
	if err != nil {
		return "", err
	}
	name := query.Ident(l.Space.table("few"))
	return name, db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS %s", name, sql))
}

// fewSQL selects the live rows of the assets of a condition on asset_id from the
// files of shards and assets themselves. DuckDB skips the row groups that cannot
// hold them.
func (l *Live) fewSQL(ctx context.Context, db *query.DB, where string) (string, error) {
	paths, _, err := l.check(ctx)
	if err != nil {
		return "", err
	}
	assets, err := l.w.assetsSQL(ctx, db)
	if err != nil {
		return "", err
	}
	some := func(sql string) string { return fmt.Sprintf("(SELECT * FROM (%s) WHERE %s)", sql, where) }
	return l.liveSQL(some(l.keysSQL(paths)), some(assets)), nil
}

// StoredIDs calls fn for every row of all shards, live or not.
func (l *Live) StoredIDs(ctx context.Context, fn func(id string)) error {
	for _, f := range l.Snapshot.Files {
		err := l.read(ctx, f, shard.ScanOptions{AssetIDs: true}, func(b *shard.Block) error {
			for _, id := range b.AssetID {
				fn(id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Among calls fn for those of many assets that have a live row, by file and row,
// and returns the number of all live rows. It is for a Live of LiveOf.
func (l *Live) Among(ctx context.Context, ids []string, fn func(file int, row int64, id string)) (rows int64, err error) {
	db, err := l.w.DB(ctx)
	if err != nil {
		return 0, err
	}
	paths, _, err := l.check(ctx)
	if err != nil {
		return 0, err
	}
	assets, err := l.w.assetsSQL(ctx, db)
	if err != nil {
		return 0, err
	}
	// The rest of the rows is counted, and never held: a hash table of the assets is.
	rows, err = db.Int(ctx, fmt.Sprintf("SELECT count(DISTINCT asset_id) FROM (%s) k JOIN (%s) a USING (asset_id) WHERE %s = k.version", l.keysSQL(paths), assets, l.Space.versionSQL()))
	if err != nil {
		return 0, err
	}
	name := l.Space.table("wanted")
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+query.Ident(name)+" (asset_id VARCHAR)"); err != nil {
		return 0, err
	}
	err = db.Append(ctx, name, func(add func(...any) error) error {
		for _, id := range ids {
			if err := add(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	sql, err := l.fewSQL(ctx, db, "asset_id IN (SELECT asset_id FROM "+query.Ident(name)+")")
	if err != nil {
		return 0, err
	}
	err = db.Each(ctx, "SELECT file, row, asset_id FROM ("+sql+") ORDER BY file, row", func(scan func(...any) error) error {
		var file int
		var row int64
		var id string
		if err := scan(&file, &row, &id); err != nil {
			return err
		}
		fn(file, row, id)
		return nil
	})
	return rows, err
}

// assetsSQL selects the assets from their files.
func (w *Workspace) assetsSQL(ctx context.Context, db *query.DB) (string, error) {
	snap, err := w.Snapshot(ctx, AssetsRoot)
	if err != nil {
		return "", err
	}
	schema := absent[AssetsRoot]
	if snap.Version >= 0 {
		schema = snap.Schema
	}
	files, err := tables.Local(ctx, w.Table(AssetsRoot), snap.Files, w.Cache)
	if err != nil {
		return "", err
	}
	return tables.Select(ctx, db, schema, files)
}

// ranks is the place of each shard in the order of the files that they were brought
// in from. The shards' own names are hashes, which a mere copy of a file changes.
func (l *Live) ranks() []int64 {
	order := make([]int, len(l.Snapshot.Files))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return strings.Compare(l.Snapshot.Files[a].Tags[TagSource], l.Snapshot.Files[b].Tags[TagSource])
	})
	out := make([]int64, len(order))
	for rank, i := range order {
		out[i] = int64(rank)
	}
	return out
}

// open opens a shard for the time of fn.
func (l *Live) open(ctx context.Context, f table.File, fn func(*shard.Reader) error) error {
	key := l.Root + "/" + f.Path
	file, err := l.w.Store.OpenAt(ctx, key)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := shard.Open(file, file.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if l.Dim != r.Meta().Dim {
		return fmt.Errorf("%s has vectors of %d dimensions, the model %d", key, r.Meta().Dim, l.Dim)
	}
	if err := fn(r); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// read reads blocks of a shard until fn fails or ctx ends.
func (l *Live) read(ctx context.Context, f table.File, o shard.ScanOptions, fn func(*shard.Block) error) error {
	return l.open(ctx, f, func(r *shard.Reader) error {
		return r.Blocks(o, func(b *shard.Block) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fn(b)
		})
	})
}
