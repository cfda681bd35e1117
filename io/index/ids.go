package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// IDSource streams the assets of all rows in the order of the Source: equally
// many ids and versions a block.
type IDSource func(ctx context.Context, yield func(ids, versions []string) error) error

// idRow is a row of ids.parquet; its number is the index's row.
type idRow struct {
	AssetID string `parquet:"asset_id,zstd"`
	Version string `parquet:"version,zstd"`
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
	err := src(ctx, func(ids, versions []string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(ids) != len(versions) {
			return fmt.Errorf("%d ids with %d versions", len(ids), len(versions))
		}
		if n += int64(len(ids)); n > rows {
			return fmt.Errorf("there are more ids than the index's %d rows", rows)
		}
		for i, id := range ids {
			buf = append(buf, idRow{id, versions[i]})
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
	for _, name := range []string{"asset_id", "version"} {
		c := f.Root().Column(name)
		if c == nil || !c.Leaf() || c.Type().Kind() != parquet.ByteArray {
			return nil, damagedf("it has no column %s of strings", name)
		}
	}
	return &IDs{f: f, rows: rows}, nil
}

func damagedOnPanic(err *error) {
	if p := recover(); p != nil {
		*err = damagedf("%v", p)
	}
}

// Lookup returns the asset ids and versions of rows, in their order. Row -1,
// which fills up a search's results, gives empty strings.
func (s *IDs) Lookup(ctx context.Context, rows []int64) (ids, versions []string, err error) {
	defer damagedOnPanic(&err)
	sorted := slices.Clone(rows)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	found := make(map[int64]idRow, len(sorted))
	r := parquet.NewGenericReader[idRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	next := int64(0)
	var buf [1]idRow
	for _, row := range sorted {
		if row == -1 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if row < 0 || row >= s.rows {
			return nil, nil, fmt.Errorf("look up row %d: the index has %d rows", row, s.rows)
		}
		if row != next {
			if err := r.SeekToRow(row); err != nil {
				return nil, nil, damagedf("look up row %d: %w", row, err)
			}
		}
		if n, err := r.Read(buf[:]); n != 1 {
			return nil, nil, damagedf("look up row %d: %w", row, err)
		}
		next = row + 1
		found[row] = buf[0]
	}
	ids, versions = make([]string, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		ids[i], versions[i] = found[row].AssetID, found[row].Version
	}
	return ids, versions, nil
}
