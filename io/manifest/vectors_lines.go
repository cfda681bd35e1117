package manifest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// readVectorLines reads JSON Lines of an id and a vector.
func (r *Reader) readVectorLines(ctx context.Context, src VectorSource, f VectorFile, fn func(*VectorRow) error) error {
	st, o, err := r.same(ctx, Place{f.Root, f.Key, f.Version})
	if err != nil {
		return err
	}
	if f.IDs != nil {
		m, err := r.dataRows(ctx, src, *f.IDs)
		if err != nil {
			return fmt.Errorf("ids %s: %w", f.IDs.Key, err)
		}
		b := &mapping{reader: r, table: m, fn: fn}
		defer func() { _ = r.db.Exec(context.WithoutCancel(ctx), "DROP TABLE "+query.Ident(m)) }()
		err = r.vectorLines(ctx, src, st, o, func(row *VectorRow) error { return b.add(ctx, row) })
		if err != nil {
			return err
		}
		return b.flush(ctx)
	}
	return r.vectorLines(ctx, src, st, o, fn)
}

func (r *Reader) vectorLines(ctx context.Context, src VectorSource, st *store.Store, o store.Object, fn func(*VectorRow) error) error {
	f := &found{spot: spot{st: st}, source: Source{Fields: src.Fields, MaxLine: src.MaxLine}}
	m := newRowMapper(src.Fields)
	var out VectorRow
	return f.rows(ctx, o, func(int64) {}, func(row row) error {
		out.Number, out.ID, out.Values, out.Fault = row.line, "", out.Values[:0], nil
		err := row.fault
		if err == nil {
			m.load(row.top)
			out.ID, _, err = m.find("asset_id", nil)
		}
		if err == nil {
			out.Values, err = m.vector(out.Values)
		}
		if err == nil {
			out.Fault = idFault(out.ID)
		} else if !errors.As(err, &out.Fault) {
			return err
		}
		return fn(&out)
	})
}

// vector reads the numbers of a row into dst.
func (m *rowMapper) vector(dst []float32) ([]float32, error) {
	paths := vectorColumns
	if p := m.fields["vector"]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		raw, _ := m.lookup(p)
		if raw == nil || raw[0] == 'n' {
			continue
		}
		if raw[0] != '[' {
			return dst, rowFault(pipeline.ReasonInvalidRow, "%s is no list of numbers", p)
		}
		err := elements(raw, func(raw []byte) error {
			v, err := strconv.ParseFloat(string(raw), 32)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return fmt.Errorf("%.20s is no number", raw)
			}
			dst = append(dst, float32(v))
			return nil
		})
		if err != nil {
			return dst, rowFault(pipeline.ReasonInvalidRow, "%s: %w", p, err)
		}
		return dst, nil
	}
	return dst, rowFault(pipeline.ReasonInvalidRow, "the row has no vector; name its column with fields: {vector: …}")
}

// dataRows loads an export of Labelbox into a table of data rows and the assets
// that they are.
func (r *Reader) dataRows(ctx context.Context, src VectorSource, p Place) (string, error) {
	st, o, err := r.same(ctx, p)
	if err != nil {
		return "", err
	}
	r.serial++
	table := fmt.Sprintf("winnow_data_rows_%d", r.serial)
	if err := r.db.Exec(ctx, "CREATE OR REPLACE TABLE "+query.Ident(table)+" (data_row VARCHAR, asset_id VARCHAR)"); err != nil {
		return "", err
	}
	f := &found{spot: spot{st: st}, source: Source{MaxLine: src.MaxLine}}
	m := newRowMapper(nil)
	rows := 0
	err = r.db.Append(ctx, table, func(add func(...any) error) error {
		return f.rows(ctx, o, func(int64) {}, func(row row) error {
			if row.fault != nil {
				return fmt.Errorf("line %d: %w", row.line, row.fault)
			}
			m.load(row.top)
			text := func(path string) string {
				if raw, _ := m.lookup(path); raw != nil {
					s, _ := scalar(raw)
					return s
				}
				return ""
			}
			asset := text("data_row.global_key")
			if asset == "" {
				asset = text("data_row.external_id")
			}
			id := text("data_row.id")
			if id == "" || asset == "" {
				return nil // a data row without a key is no asset of ours
			}
			rows++
			return add(id, asset)
		})
	})
	if err == nil && rows == 0 {
		err = pipeline.Usagef("ids %s: no line has a data_row with an id and a global_key; name an export of Labelbox", p.Key)
	}
	return table, err
}

// mapping turns the ids of data rows into those of assets, some rows at a time.
type mapping struct {
	reader *Reader
	table  string
	fn     func(*VectorRow) error
	rows   []VectorRow
}

func (b *mapping) add(ctx context.Context, row *VectorRow) error {
	kept := *row
	kept.Values = append([]float32(nil), row.Values...)
	b.rows = append(b.rows, kept)
	if len(b.rows) < 1024 {
		return nil
	}
	return b.flush(ctx)
}

func (b *mapping) flush(ctx context.Context) error {
	ids := make([]string, len(b.rows))
	for i, row := range b.rows {
		ids[i] = row.ID
	}
	assets := map[string]string{}
	if len(ids) > 0 {
		err := b.reader.db.Each(ctx, "SELECT data_row, asset_id FROM "+query.Ident(b.table)+" WHERE data_row IN "+query.Literals(ids), func(scan func(...any) error) error {
			var id, asset string
			err := scan(&id, &asset)
			assets[id] = asset
			return err
		})
		if err != nil {
			return err
		}
	}
	for i := range b.rows {
		row := &b.rows[i]
		if asset, ok := assets[row.ID]; ok {
			row.ID = asset
		} else if row.Fault == nil {
			row.Fault = rowFault(pipeline.ReasonUnknownID, "the export knows no data row %q", row.ID)
		}
		if err := b.fn(row); err != nil {
			return err
		}
	}
	b.rows = b.rows[:0]
	return nil
}
