package workspace

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/shard"
	"winnow/io/table"
	"winnow/models"
	"winnow/pipeline/task"
	"winnow/pipeline/vec"
)

// Live are the rows of one embedding whose asset is in the workspace in the very
// version that was embedded. Rows of removed and changed assets drop out here;
// every reader of vectors reads through it.
type Live struct {
	Space       *Space
	Embedding   configs.Embedding // the space's
	Fingerprint string
	Dim         int
	Normalized  bool
	Root        string
	Snapshot    *table.Snapshot
	Assets      int64 // version of the assets table
	Files       []LiveFile
	Rows        int64
	Hash        string // of the files and their live rows: equal hash, equal rows in equal order
	Table       string // DuckDB table (asset_id, version, content_hash, file, row) of the live rows

	w     *Workspace
	found map[string]*Place // by id, of LiveOf; nil for what has no live row
}

// TagSource is the tag in the table's log of the file that a shard of imported
// vectors was brought in from.
const TagSource = "winnow.source"

// VectorSchema describes the table of an embedding.
var VectorSchema = table.Schema{
	{Name: "asset_id", Type: table.String},
	{Name: "version", Type: table.String},
	{Name: "content_hash", Type: table.String},
	{Name: "vector", Type: table.Array(table.Float, false)},
}

// LiveFile is one shard and its live rows.
type LiveFile struct {
	table.File
	Live int64
	Only []int64 // the live rows, ascending; nil when all are live
}

// versionSQL is the version of an asset (table alias a) as an embedding sees it:
// the object's for images, the text's hash for texts, so that a new caption does
// not embed the picture again.
func (s *Space) versionSQL() string {
	switch s.Spec.Kind {
	case models.Image:
		return "a.version"
	case models.Vectors:
		// Nobody knows of which version of the asset such a vector is: it counts
		// until the next one comes.
		return "k.version"
	}
	return "md5(" + s.contentSQL() + ")"
}

// contentSQL is the column of assets (alias a) that an embedding reads.
func (s *Space) contentSQL() string {
	switch s.Of {
	case "image":
		return "a.uri"
	case "text", "caption":
		return "a." + s.Of
	}
	return "a." + query.Ident(MetadataColumn(strings.TrimPrefix(s.Of, "metadata.")))
}

// Live finds the live rows of an embedding under its current model. The answer
// is kept until Forget.
func (w *Workspace) Live(ctx context.Context, e configs.Embedding) (*Live, error) {
	s, err := w.Current(ctx, e)
	if err != nil {
		return nil, err
	}
	return w.LiveIn(ctx, s)
}

// LiveIn finds the live rows of a space. The answer is kept until Forget.
func (w *Workspace) LiveIn(ctx context.Context, s *Space) (*Live, error) {
	if l := w.live[s.Root()]; l != nil {
		return l, nil
	}
	l, err := w.open(ctx, s)
	if err != nil {
		return nil, err
	}
	l.Table = s.table("live")
	if l.Assets, err = w.LoadAssets(ctx); err != nil {
		return nil, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.loadKeys(ctx, db); err != nil {
		return nil, err
	}
	keys := query.Ident(s.table("keys"))
	if err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS %s", query.Ident(l.Table), l.liveSQL(keys, "assets"))); err != nil {
		return nil, err
	}
	if err := l.readFiles(ctx, db); err != nil {
		return nil, err
	}
	if w.live == nil {
		w.live = map[string]*Live{}
	}
	w.live[l.Root] = l
	return l, nil
}

// open finds the shards of a space.
func (w *Workspace) open(ctx context.Context, s *Space) (*Live, error) {
	l := &Live{Space: s, Embedding: s.Embedding, Fingerprint: s.Fingerprint(), Dim: s.Spec.Dim, Normalized: s.Spec.Normalized(), w: w, Root: s.Root()}
	var err error
	if l.Snapshot, err = w.Snapshot(ctx, l.Root); err != nil {
		return nil, err
	}
	l.Files = make([]LiveFile, len(l.Snapshot.Files))
	for i, f := range l.Snapshot.Files {
		l.Files[i].File = f
	}
	return l, nil
}

// liveSQL selects the live rows from tables of keys and assets. A row that two
// shards hold (a commit that raced another) counts once, as does an asset that
// several rows of imported files name: the first file by name, its first row.
func (l *Live) liveSQL(keys, assets string) string {
	return fmt.Sprintf(`SELECT asset_id, k.version AS version, content_hash, file, row
		FROM %s k JOIN %s a USING (asset_id) WHERE %s = k.version
		QUALIFY row_number() OVER (PARTITION BY asset_id ORDER BY rank, row) = 1`, keys, assets, l.Space.versionSQL())
}

// Forget drops what Current, Live and LoadAssets have read: a stage has committed.
func (w *Workspace) Forget() { w.live, w.loaded, w.current = nil, nil, nil }

// readFiles fills Files, Rows and Hash from the live table.
func (l *Live) readFiles(ctx context.Context, db *query.DB) error {
	for i := range l.Files {
		l.Files[i].Only = []int64{}
	}
	table := query.Ident(l.Table)
	err := db.Each(ctx, "SELECT file, count(*) FROM "+table+" GROUP BY file", func(scan func(...any) error) error {
		var file int
		var n int64
		if err := scan(&file, &n); err != nil {
			return err
		}
		f := &l.Files[file]
		l.Rows += n
		if f.Live = n; n == f.Rows {
			f.Only = nil // all of it: nothing to remember
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.readRows(ctx, db); err != nil {
		return err
	}
	h := task.NewHash().Add(l.Fingerprint)
	for _, f := range l.Files {
		if f.Live == 0 {
			continue
		}
		h.Add(f.Path)
		if f.Only == nil {
			h.Add("all").Add(strconv.FormatInt(f.Rows, 10))
		}
		for _, row := range f.Only {
			h.Add(strconv.FormatInt(row, 10))
		}
	}
	l.Hash = h.Sum()
	return nil
}

// readRows fills Only of the files with dead rows. Rows come as runs of neighbours,
// which are few where few rows are dead.
func (l *Live) readRows(ctx context.Context, db *query.DB) error {
	var part []string
	for i, f := range l.Files {
		if f.Live > 0 && f.Only != nil {
			part = append(part, strconv.Itoa(i))
		}
	}
	if len(part) == 0 {
		return nil
	}
	sql := fmt.Sprintf(`SELECT file, min(row) AS first, count(*) AS n
		FROM (SELECT file, row, row - row_number() OVER (PARTITION BY file ORDER BY row) AS run FROM %s WHERE file IN (%s))
		GROUP BY file, run ORDER BY file, first`, query.Ident(l.Table), strings.Join(part, ", "))
	return db.Each(ctx, sql, func(scan func(...any) error) error {
		var file int
		var first, n int64
		if err := scan(&file, &first, &n); err != nil {
			return err
		}
		for row := first; row < first+n; row++ {
			l.Files[file].Only = append(l.Files[file].Only, row)
		}
		return nil
	})
}

// IDs calls fn for every live row, by file and row. The id's memory may be that of
// a whole page: strings.Clone lets go of it.
func (l *Live) IDs(ctx context.Context, fn func(file int, row int64, id string) error) error {
	for i, f := range l.Files {
		if f.Live == 0 {
			continue
		}
		err := l.read(ctx, f.File, shard.ScanOptions{AssetIDs: true, Only: f.Only}, func(b *shard.Block) error {
			for k, id := range b.AssetID {
				row := b.First + int64(k)
				if b.Rows != nil {
					row = b.Rows[k]
				}
				if err := fn(i, row, id); err != nil {
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
}

// Each streams the live vectors in the order of IDs. The blocks are used again
// once fn returns.
func (l *Live) Each(ctx context.Context, fn func(ids []string, vectors []float32) error) error {
	for i := range l.Files {
		if l.Files[i].Live == 0 {
			continue
		}
		if err := l.RowsOf(ctx, i, l.Files[i].Only, fn); err != nil {
			return err
		}
	}
	return nil
}

// RowsOf streams some rows of one file, scaled to unit length: ascending row
// numbers, nil for all.
func (l *Live) RowsOf(ctx context.Context, file int, only []int64, fn func(ids []string, vectors []float32) error) error {
	return l.read(ctx, l.Files[file].File, shard.ScanOptions{AssetIDs: true, Vectors: true, MaxRows: 4096, Only: only}, func(b *shard.Block) error {
		if !l.Normalized {
			vec.Normalize(b.Vectors, l.Dim)
		}
		return fn(b.AssetID, b.Vectors)
	})
}

// Keys streams ids and versions in the order of IDs, a block at a time.
func (l *Live) Keys(ctx context.Context, fn func(ids, versions []string) error) error {
	for i, f := range l.Files {
		if f.Live == 0 {
			continue
		}
		if err := l.KeysOf(ctx, i, f.Only, func(ids, versions []string, _ []int64) error { return fn(ids, versions) }); err != nil {
			return err
		}
	}
	return nil
}

// UnitsOf is RowsOf without the ids.
func (l *Live) UnitsOf(ctx context.Context, file int, only []int64, fn func(vectors []float32) error) error {
	return l.read(ctx, l.Files[file].File, shard.ScanOptions{Vectors: true, MaxRows: 4096, Only: only}, func(b *shard.Block) error {
		if !l.Normalized {
			vec.Normalize(b.Vectors, l.Dim)
		}
		return fn(b.Vectors)
	})
}

// KeysOf streams ids, versions and row numbers of some rows of one file: ascending
// row numbers, nil for all.
func (l *Live) KeysOf(ctx context.Context, file int, only []int64, fn func(ids, versions []string, rows []int64) error) error {
	return l.read(ctx, l.Files[file].File, shard.ScanOptions{IDs: true, Only: only}, func(b *shard.Block) error {
		rows := b.Rows
		if rows == nil {
			for i := range b.AssetID {
				rows = append(rows, b.First+int64(i))
			}
		}
		return fn(b.AssetID, b.Version, rows)
	})
}

// Vectors reads the vectors of some assets, by id. Assets without one are left
// out.
func (l *Live) Vectors(ctx context.Context, ids []string) (map[string][]float32, error) {
	out := map[string][]float32{}
	if len(ids) == 0 {
		return out, nil
	}
	wanted := map[int][]int64{}
	err := l.lookup(ctx, ids, func(id, _ string, file int, row int64) { wanted[file] = append(wanted[file], row) })
	if err != nil {
		return nil, err
	}
	for file, rows := range wanted {
		slices.Sort(rows)
		err := l.RowsOf(ctx, file, rows, func(ids []string, vectors []float32) error {
			for i, id := range ids {
				out[strings.Clone(id)] = slices.Clone(vectors[i*l.Dim : (i+1)*l.Dim])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Unmatched counts the vectors that belong to no asset, with a few of their ids.
// A model makes none; files of vectors may hold more than the workspace.
func (l *Live) Unmatched(ctx context.Context) (n int64, ids []string, err error) {
	db, err := l.w.DB(ctx)
	if err != nil {
		return 0, nil, err
	}
	from := " FROM " + query.Ident(l.Space.table("keys")) + " k WHERE NOT EXISTS (FROM assets a WHERE a.asset_id = k.asset_id)"
	if n, err = db.Int(ctx, "SELECT count(*)"+from); err != nil || n == 0 {
		return n, nil, err
	}
	ids, err = query.Column[string](ctx, db, "SELECT DISTINCT asset_id"+from+" ORDER BY asset_id LIMIT 3")
	return n, ids, err
}

// ContentHashes looks up the content hashes of some assets, by id. Assets
// without a live row are left out.
func (l *Live) ContentHashes(ctx context.Context, ids []string) (map[string]string, error) {
	out := map[string]string{}
	err := l.lookup(ctx, ids, func(id, hash string, _ int, _ int64) { out[id] = hash })
	return out, err
}

// lookup calls fn for every asset that has a live row.
func (l *Live) lookup(ctx context.Context, ids []string, fn func(id, hash string, file int, row int64)) error {
	if l.Table != "" {
		return l.find(ctx, query.Ident(l.Table), ids, fn)
	}
	// Reading files takes as long for all functions' anchors as for one's.
	if l.found == nil {
		l.found = map[string]*Place{}
	}
	var open []string
	for _, id := range ids {
		if _, ok := l.found[id]; !ok {
			l.found[id] = nil
			open = append(open, id)
		}
	}
	if len(open) > 0 {
		from, err := l.few(ctx, open)
		if err != nil {
			return err
		}
		err = l.find(ctx, from, open, func(id, hash string, file int, row int64) { l.found[id] = &Place{hash, file, row} })
		if err != nil {
			l.found = nil
			return err
		}
	}
	for _, id := range ids {
		if p := l.found[id]; p != nil {
			fn(id, p.Hash, p.File, p.Row)
		}
	}
	return nil
}

// find looks assets up in a table of live rows.
func (l *Live) find(ctx context.Context, from string, ids []string, fn func(id, hash string, file int, row int64)) error {
	db, err := l.w.DB(ctx)
	if err != nil {
		return err
	}
	const most = 1000 // literals a statement
	for part := range slices.Chunk(ids, most) {
		sql := fmt.Sprintf("SELECT asset_id, content_hash, file, row FROM %s WHERE asset_id IN %s", from, query.Literals(part))
		err := db.Each(ctx, sql, func(scan func(...any) error) error {
			var id, hash string
			var file int
			var row int64
			if err := scan(&id, &hash, &file, &row); err != nil {
				return err
			}
			fn(id, hash, file, row)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
