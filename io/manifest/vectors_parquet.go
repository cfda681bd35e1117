package manifest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"winnow/io/store"
	"winnow/pipeline"
)

// DuckDB would hand the numbers of lists on one by one in boxes, so vectors and
// their ids are read from the pages here.

// readVectorParquet reads a Parquet file with an id column and a column of lists
// of FLOAT, DOUBLE, FLOAT16 or whole numbers.
func (r *Reader) readVectorParquet(ctx context.Context, src VectorSource, f VectorFile, fn func(*VectorRow) error) (err error) {
	st, _, err := r.same(ctx, Place{f.Root, f.Key, f.Version})
	if err != nil {
		return err
	}
	file, pf, err := openParquet(ctx, st, f.Key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if pf.NumRows() == 0 { // an empty part may have columns without a type
		return nil
	}
	id, err := idColumn(pf, src.Fields)
	if err != nil {
		return err
	}
	vector, err := vectorColumn(pf, src.Fields)
	if err != nil {
		return err
	}
	row := VectorRow{}
	for _, g := range pf.RowGroups() {
		ids, vectors := newValues(g, id), newValues(g, vector)
		err := guard(func() error {
			for range g.NumRows() {
				if row.Number++; row.Number%1024 == 0 && ctx.Err() != nil {
					return context.Cause(ctx)
				}
				var err error
				if row.ID, err = ids.id(); err != nil {
					return err
				}
				if row.Values, row.Fault, err = vectors.list(row.Values[:0]); err != nil {
					return err
				}
				if row.Fault == nil {
					row.Fault = idFault(row.ID)
				}
				if err := fn(&row); err != nil {
					return err
				}
			}
			return nil
		})
		ids.close()
		vectors.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// guard turns a panic of the Parquet library on a damaged file into an error.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet file is damaged: %v", p)
		}
	}()
	return fn()
}

func openParquet(ctx context.Context, st *store.Store, key string) (*store.File, *parquet.File, error) {
	file, err := st.OpenAt(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	var pf *parquet.File
	err = guard(func() error {
		pf, err = parquet.OpenFile(file, file.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(1<<20))
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("it cannot be read as Parquet: %w", err), file.Close())
	}
	return file, pf, nil
}

// idColumn finds the column of ids: a text or a whole number at the top.
func idColumn(pf *parquet.File, f Fields) (*parquet.Column, error) {
	paths := places["asset_id"]
	if p := f["asset_id"]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		c := pf.Root().Column(p)
		if c == nil || !c.Leaf() || c.MaxRepetitionLevel() != 0 {
			continue
		}
		if k := c.Type().Kind(); k == parquet.ByteArray || k == parquet.Int64 || k == parquet.Int32 {
			return c, nil
		}
	}
	return nil, pipeline.Usagef("there is no column of ids among %s; name it with fields: {asset_id: …}", columnNames(pf))
}

// vectorColumn finds the numbers of the column of vectors.
func vectorColumn(pf *parquet.File, f Fields) (*parquet.Column, error) {
	paths := vectorColumns
	if p := f["vector"]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		c := pf.Root().Column(p)
		for c != nil && !c.Leaf() && len(c.Columns()) == 1 {
			c = c.Columns()[0]
		}
		if c == nil || !c.Leaf() || c.MaxRepetitionLevel() != 1 {
			continue
		}
		half := c.Type().Kind() == parquet.FixedLenByteArray && c.Type().Length() == 2
		if k := c.Type().Kind(); k == parquet.Float || k == parquet.Double || k == parquet.Int32 || k == parquet.Int64 || half {
			return c, nil
		}
	}
	return nil, pipeline.Usagef("there is no column of lists of numbers among %s; name it with fields: {vector: …}", columnNames(pf))
}

func columnNames(pf *parquet.File) string {
	var names []string
	for _, c := range pf.Root().Columns() {
		names = append(names, c.Name())
	}
	return strings.Join(names, ", ")
}

// values hands out the values of one column chunk one by one.
type values struct {
	pages   parquet.Pages
	page    parquet.Page
	reader  parquet.ValueReader
	buf     []parquet.Value
	at, n   int
	defined int // definition level of a value that is there
	column  string
}

func newValues(g parquet.RowGroup, c *parquet.Column) *values {
	return &values{pages: g.ColumnChunks()[c.Index()].Pages(), buf: make([]parquet.Value, 4096), defined: int(c.MaxDefinitionLevel()), column: c.Path()[0]}
}

func (v *values) close() {
	_ = guard(func() error {
		if v.page != nil {
			parquet.Release(v.page)
		}
		return v.pages.Close()
	})
}

// peek returns the next value without taking it; io.EOF follows the last.
func (v *values) peek() (parquet.Value, error) {
	for v.at == v.n {
		if v.reader == nil {
			page, err := v.pages.ReadPage()
			if err != nil {
				return parquet.Value{}, err
			}
			v.page, v.reader = page, page.Values()
		}
		n, err := v.reader.ReadValues(v.buf)
		v.at, v.n = 0, n
		if err != nil && err != io.EOF {
			return parquet.Value{}, fmt.Errorf("column %s: %w", v.column, err)
		}
		if err == io.EOF && n == 0 {
			parquet.Release(v.page)
			v.page, v.reader = nil, nil
		}
	}
	return v.buf[v.at], nil
}

func (v *values) id() (string, error) {
	x, err := v.peek()
	if err != nil {
		return "", fmt.Errorf("column %s ends early: %w", v.column, err)
	}
	v.at++
	switch {
	case x.IsNull():
		return "", nil
	case x.Kind() == parquet.Int64 || x.Kind() == parquet.Int32:
		return strconv.FormatInt(x.Int64(), 10), nil
	}
	return string(x.ByteArray()), nil
}

// list appends the numbers of the next row. A missing list, or a hole in one, is
// the row's fault.
func (v *values) list(dst []float32) ([]float32, *pipeline.RowError, error) {
	x, err := v.peek()
	if err != nil {
		return dst, nil, fmt.Errorf("column %s ends early: %w", v.column, err)
	}
	var fault *pipeline.RowError
	for first := true; first || x.RepetitionLevel() > 0; first = false {
		v.at++
		switch {
		case x.DefinitionLevel() < v.defined && first:
			fault = rowFault(pipeline.ReasonInvalidRow, "the row has no vector, or one that begins with a null")
		case x.DefinitionLevel() < v.defined:
			fault = rowFault(pipeline.ReasonInvalidRow, "number %d of the vector is null", len(dst)+1)
		default:
			dst = append(dst, toFloat(x))
		}
		if x, err = v.peek(); err == io.EOF {
			break
		} else if err != nil {
			return dst, nil, err
		}
	}
	return dst, fault, nil
}

func toFloat(x parquet.Value) float32 {
	switch x.Kind() {
	case parquet.Float:
		return x.Float()
	case parquet.Double:
		return float32(x.Double())
	case parquet.Int32: // of 8 and 16 bits too
		return float32(x.Int32())
	case parquet.Int64:
		return float32(x.Int64())
	}
	b := x.ByteArray()
	if len(b) != 2 {
		return float32(math.NaN())
	}
	return halfFloat(binary.LittleEndian.Uint16(b))
}

// columnIDs reads the ids of a matrix's rows from a Parquet file.
type columnIDs struct {
	file   *store.File
	groups []parquet.RowGroup
	column *parquet.Column
	values *values
	left   int64 // rows of the group
}

func openIDColumn(ctx context.Context, st *store.Store, key string, f Fields) (idList, error) {
	file, pf, err := openParquet(ctx, st, key)
	if err != nil {
		return nil, err
	}
	c, err := idColumn(pf, f)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &columnIDs{file: file, groups: pf.RowGroups(), column: c}, nil
}

func (l *columnIDs) next() (id string, err error) {
	err = guard(func() error {
		for l.left == 0 {
			if len(l.groups) == 0 {
				return io.EOF
			}
			l.closeValues()
			l.values, l.left = newValues(l.groups[0], l.column), l.groups[0].NumRows()
			l.groups = l.groups[1:]
		}
		l.left--
		id, err = l.values.id()
		return err
	})
	return id, err
}

func (l *columnIDs) closeValues() {
	if l.values != nil {
		l.values.close()
		l.values = nil
	}
}

func (l *columnIDs) close() error {
	l.closeValues()
	return l.file.Close()
}
