package neighbors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/graph"
)

// Tags of a file in the table's log.
const (
	tagLive   = "winnow.live"   // hash of the live rows that neighbor_rows number
	tagK      = "winnow.k"      // neighbours a row
	tagFirst  = "winnow.first"  // number of the file's first row
	tagBy     = "winnow.by"     // exact, or the index that chose the neighbours
	tagRecall = "winnow.recall" // of them, as the index says
)

// byExact says that all rows were compared.
const byExact = "exact"

// Schema describes a table of neighbours: a row for each live row, in their order;
// its nearest rows, the nearest first. neighbor_rows number the table's own rows.
var Schema = table.Schema{
	{Name: "asset_id", Type: table.String},
	{Name: "version", Type: table.String},
	{Name: "neighbor_ids", Type: table.Array(table.String, false)},
	{Name: "neighbor_rows", Type: table.Array(table.Long, false)},
	{Name: "cosines", Type: table.Array(table.Float, false)},
}

type tableRow struct {
	AssetID      string    `parquet:"asset_id,zstd"`
	Version      string    `parquet:"version,zstd"`
	NeighborIDs  []string  `parquet:"neighbor_ids,list,zstd"`
	NeighborRows []int64   `parquet:"neighbor_rows,list,zstd"`
	Cosines      []float32 `parquet:"cosines,list,zstd"`
}

// nearRow is a tableRow without the ids of the neighbours.
type nearRow struct {
	AssetID      string    `parquet:"asset_id,zstd"`
	Version      string    `parquet:"version,zstd"`
	NeighborRows []int64   `parquet:"neighbor_rows,list,zstd"`
	Cosines      []float32 `parquet:"cosines,list,zstd"`
}

type keyRow struct {
	AssetID string `parquet:"asset_id,zstd"`
	Version string `parquet:"version,zstd"`
}

// Graph is a table of neighbours at one version.
type Graph struct {
	K      int     // neighbours a row; fewer where there are not so many rows
	Rows   int64   // of the table
	By     string  // exact, or the index that chose the neighbours
	Recall float64 // of them: 1 where exact, else what the index reached
	Live   string  // hash of the live rows that it is of

	w     *workspace.Workspace
	root  string
	files []part // by first
	base  int64  // version of the table
}

type part struct {
	table.File
	first int64
}

// Exact says that the neighbours are those of all rows, and not only almost all.
func (g *Graph) Exact() bool { return g.By == byExact }

// Open returns the neighbours of the live rows as they are now, at least k of each;
// nil where they are not there: they were not found yet, or the rows have changed.
func Open(ctx context.Context, w *workspace.Workspace, l *workspace.Live, k int) (*Graph, error) {
	g, err := open(ctx, w, workspace.NeighborsRoot(l.Embedding.Name, l.Fingerprint), table.Latest)
	if g == nil || err != nil || g.Live != l.Hash || g.Rows != l.Rows || g.K < k {
		return nil, err
	}
	return g, nil
}

// open reads a version of a table of neighbours, nil without one.
func open(ctx context.Context, w *workspace.Workspace, root string, version int64) (*Graph, error) {
	snap, err := w.Table(root).Snapshot(ctx, version)
	if err != nil || len(snap.Files) == 0 {
		return nil, err
	}
	g := &Graph{w: w, root: root, base: snap.Version}
	for i, f := range snap.Files {
		first, err1 := strconv.ParseInt(f.Tags[tagFirst], 10, 64)
		k, err2 := strconv.Atoi(f.Tags[tagK])
		recall, err3 := strconv.ParseFloat(f.Tags[tagRecall], 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("%s/%s has no readable tags: %w; delete the folder %s and run: winnow neighbors", root, f.Path, err, root)
		}
		if i > 0 && (k != g.K || f.Tags[tagLive] != g.Live) {
			return nil, fmt.Errorf("%s has files of different rows; delete the folder and run: winnow neighbors", root)
		}
		g.K, g.Live, g.By, g.Recall = k, f.Tags[tagLive], f.Tags[tagBy], recall
		g.files, g.Rows = append(g.files, part{f, first}), g.Rows+f.Rows
	}
	slices.SortFunc(g.files, func(a, b part) int { return cmp.Compare(a.first, b.first) })
	at := int64(0)
	for _, f := range g.files {
		if f.first != at {
			return nil, fmt.Errorf("%s lacks the rows from %d to %d; delete the folder and run: winnow neighbors", root, at, f.first)
		}
		at += f.Rows
	}
	return g, nil
}

// Row is a row with its neighbours, the nearest first.
type Row struct {
	AssetID, Version string
	Neighbors        []graph.Neighbor // by the numbers of Live's rows, from 0 in the order of Live.IDs
}

// Each streams all rows in the order of Live.IDs: first is the number of the
// block's first row. A block is used again once fn returns.
func (g *Graph) Each(ctx context.Context, fn func(first int64, rows []Row) error) error {
	for _, f := range g.files {
		if err := g.file(ctx, f, fn); err != nil {
			return err
		}
	}
	return nil
}

func (g *Graph) file(ctx context.Context, f part, fn func(first int64, rows []Row) error) error {
	out := make([]Row, 0, blockRows)
	return scan(ctx, g, f, func(at int64, rows []nearRow) error {
		out = out[:0]
		for i := range rows {
			x := &rows[i]
			if len(x.NeighborRows) != len(x.Cosines) {
				return fmt.Errorf("row %d has %d neighbours and %d cosines", at+int64(i), len(x.NeighborRows), len(x.Cosines))
			}
			r := Row{AssetID: x.AssetID, Version: x.Version, Neighbors: make([]graph.Neighbor, len(x.Cosines))}
			for k, n := range x.NeighborRows {
				if n < 0 || n >= g.Rows {
					return fmt.Errorf("row %d names row %d of %d", at+int64(i), n, g.Rows)
				}
				r.Neighbors[k] = graph.Neighbor{Row: int32(n), Cosine: x.Cosines[k]}
			}
			out = append(out, r)
		}
		return fn(at, out)
	})
}

// keys streams the ids and versions of all rows.
func (g *Graph) keys(ctx context.Context, fn func(first int64, rows []keyRow) error) error {
	for _, f := range g.files {
		if err := scan(ctx, g, f, fn); err != nil {
			return err
		}
	}
	return nil
}

const blockRows = 1024

// scan reads a file's rows, those columns that T has.
func scan[T any](ctx context.Context, g *Graph, f part, fn func(first int64, rows []T) error) (err error) {
	key := g.root + "/" + f.Path
	file, err := g.w.Store.OpenAt(ctx, key)
	if err != nil {
		return err
	}
	defer file.Close()
	defer func() {
		if p := recover(); p != nil { // of parquet-go, on damaged bytes
			err = fmt.Errorf("%v", p)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
	}()
	pf, err := parquet.OpenFile(file, file.Size(), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("it is damaged: %w; delete the folder %s and run: winnow neighbors", err, g.root)
	}
	if pf.NumRows() != f.Rows {
		return fmt.Errorf("it has %d rows, not %d", pf.NumRows(), f.Rows)
	}
	r := parquet.NewGenericReader[T](pf)
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]T, blockRows)
	for at := int64(0); at < f.Rows; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return fmt.Errorf("read row %d: %w", at, errors.Join(err, io.ErrUnexpectedEOF))
		}
		if err := fn(f.first+at, buf[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// write writes the rows of a file: their keys come from live, their neighbours'
// ids from ids.
func write(out io.Writer, ids, versions []string, name func(int32) string, lists func(int) []graph.Neighbor) error {
	w := parquet.NewGenericWriter[tableRow](out, parquet.CreatedBy("winnow", "1", "0"), parquet.DataPageStatistics(false), parquet.MaxRowsPerRowGroup(16<<10))
	var buf [256]tableRow
	for at := 0; at < len(ids); at += len(buf) {
		n := min(len(buf), len(ids)-at)
		for i := range n {
			r := &buf[i]
			r.AssetID, r.Version = ids[at+i], versions[at+i]
			r.NeighborIDs, r.NeighborRows, r.Cosines = r.NeighborIDs[:0], r.NeighborRows[:0], r.Cosines[:0]
			for _, x := range lists(at + i) {
				r.NeighborIDs = append(r.NeighborIDs, name(x.Row))
				r.NeighborRows = append(r.NeighborRows, int64(x.Row))
				r.Cosines = append(r.Cosines, x.Cosine)
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	return w.Close()
}
