package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// IDBlock are the assets of some rows, and where their vectors stand: rows of one
// shard, by its place in the list of shards.
type IDBlock struct {
	IDs, Versions []string
	Shard         int32
	Rows          []int64
}

// IDSource streams the assets of all rows, in the order of the Vectors.
type IDSource func(ctx context.Context, yield func(IDBlock) error) error

// idRow is a row of ids.parquet; its number is the row of the index or the segment.
type idRow struct {
	AssetID string `parquet:"asset_id,zstd"`
	Version string `parquet:"version,zstd"`
	Shard   int32  `parquet:"shard,delta"`
	Row     int64  `parquet:"row,delta"`
}

const (
	idGroupRows = 128 << 10
	idPageBytes = 64 << 10 // small: a search looks up single rows
)

// writeIDs writes ids.parquet and holds the source to the number of rows.
func writeIDs(ctx context.Context, w io.Writer, rows int64, src IDSource) error {
	pw := parquet.NewGenericWriter[idRow](w,
		parquet.CreatedBy("winnow", "1", "0"), parquet.DataPageStatistics(false),
		parquet.MaxRowsPerRowGroup(idGroupRows), parquet.PageBufferSize(idPageBytes))
	n := int64(0)
	buf := make([]idRow, 0, 1024)
	flush := func() error {
		_, err := pw.Write(buf)
		buf = buf[:0]
		return err
	}
	err := src(ctx, func(b IDBlock) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(b.IDs) != len(b.Versions) || len(b.IDs) != len(b.Rows) {
			return fmt.Errorf("%d ids with %d versions and %d rows", len(b.IDs), len(b.Versions), len(b.Rows))
		}
		if n += int64(len(b.IDs)); n > rows {
			return fmt.Errorf("there are more ids than the index's %d rows", rows)
		}
		for i, id := range b.IDs {
			buf = append(buf, idRow{id, b.Versions[i], b.Shard, b.Rows[i]})
			if len(buf) == cap(buf) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && n != rows {
		err = fmt.Errorf("there are %d ids for the index's %d rows", n, rows)
	}
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return pw.Close()
}

// IDs maps the rows of an index to assets.
type IDs struct {
	f    *parquet.File
	rows int64
}

// openIDs opens ids.parquet, which must have rows rows.
func openIDs(r io.ReaderAt, size, rows int64) (ids *IDs, err error) {
	defer damagedOnPanic(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.ReadBufferSize(idPageBytes))
	if err != nil {
		return nil, damagedf("%w", err)
	}
	if f.NumRows() != rows {
		return nil, damagedf("it has %d rows, the index has %d", f.NumRows(), rows)
	}
	for name, kind := range map[string]parquet.Kind{"asset_id": parquet.ByteArray, "version": parquet.ByteArray, "shard": parquet.Int32, "row": parquet.Int64} {
		c := f.Root().Column(name)
		if c == nil || !c.Leaf() || c.Type().Kind() != kind {
			return nil, damagedf("it has no column %s of type %v", name, kind)
		}
	}
	return &IDs{f: f, rows: rows}, nil
}

func damagedOnPanic(err *error) {
	if p := recover(); p != nil {
		*err = damagedf("%v", p)
	}
}

// lookup returns what stands in some rows, by row.
func (s *IDs) lookup(ctx context.Context, rows []int64) (found map[int64]idRow, err error) {
	defer damagedOnPanic(&err)
	sorted := slices.Clone(rows)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	found = make(map[int64]idRow, len(sorted))
	r := parquet.NewGenericReader[idRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	next := int64(0)
	var buf [1]idRow
	for _, row := range sorted {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if row < 0 || row >= s.rows {
			return nil, fmt.Errorf("look up row %d: the index has %d rows", row, s.rows)
		}
		if row != next {
			if err := r.SeekToRow(row); err != nil {
				return nil, damagedf("look up row %d: %w", row, err)
			}
		}
		if n, err := r.Read(buf[:]); n != 1 {
			return nil, damagedf("look up row %d: %w", row, err)
		}
		next = row + 1
		found[row] = buf[0]
	}
	return found, nil
}

// each streams all rows in order.
func (s *IDs) each(ctx context.Context, fn func(first int64, rows []idRow) error) (err error) {
	defer damagedOnPanic(&err)
	r := parquet.NewGenericReader[idRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]idRow, 4096)
	for first := int64(0); first < s.rows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n == 0 {
			return damagedf("it ends at row %d of %d: %w", first, s.rows, err)
		}
		if err := fn(first, buf[:n]); err != nil {
			return err
		}
		first += int64(n)
	}
	return nil
}

// placeRow is a row of ids.parquet without its texts.
type placeRow struct {
	Shard int32 `parquet:"shard,delta"`
	Row   int64 `parquet:"row,delta"`
}

// eachPlace streams where the vectors of all rows stand.
func (s *IDs) eachPlace(ctx context.Context, fn func(row int64, r placeRow) error) (err error) {
	defer damagedOnPanic(&err)
	r := parquet.NewGenericReader[placeRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]placeRow, 4096)
	for row := int64(0); row < s.rows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n == 0 {
			return damagedf("it ends at row %d of %d: %w", row, s.rows, err)
		}
		for _, r := range buf[:n] {
			if err := fn(row, r); err != nil {
				return err
			}
			row++
		}
	}
	return nil
}
