package manifest

import (
	"context"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

const (
	// parquetGroupRows bounds the writer's memory: rows of one row group.
	parquetGroupRows = 50_000
	// parquetWriteRows is how many rows are handed to the writer at once.
	parquetWriteRows = 256
)

// emitParquet writes batch.parquet: the columns of a batchTable.
func emitParquet(ctx context.Context, b *batch) error {
	t := newBatchTable(b)
	options := parquetOptions(t)
	return b.file("batch.parquet", func(w io.Writer) error {
		pw := parquet.NewWriter(w, options...)
		buf := make([]parquet.Row, 0, parquetWriteRows)
		flush := func() error {
			_, err := pw.WriteRows(buf)
			buf = buf[:0]
			return err
		}
		err := b.each(ctx, func(r *BatchRow) error {
			cells, err := t.row(r)
			if err != nil {
				return err
			}
			if buf = append(buf, parquetRow(t, cells)); len(buf) < cap(buf) {
				return nil
			}
			return flush()
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err // without the footer nobody can read the file
		}
		return pw.Close()
	})
}

// parquetOptions fixes everything that would otherwise come from the build or the
// clock.
func parquetOptions(t *batchTable) []parquet.WriterOption {
	var g orderedGroup
	for _, c := range t.columns {
		g.add(c.Name, parquetNode(c))
	}
	if len(t.meta) > 0 {
		var m orderedGroup
		for _, c := range t.meta {
			m.add(c.Name, parquetNode(c))
		}
		g.add("metadata", &m)
	}
	o := []parquet.WriterOption{
		parquet.NewSchema("batch", &g),
		parquet.Compression(&parquet.Zstd),
		parquet.MaxRowsPerRowGroup(parquetGroupRows),
		parquet.CreatedBy("winnow", "1", ""),
	}
	for _, p := range t.properties() {
		o = append(o, parquet.KeyValueMetadata(p.Name, p.Value))
	}
	return o
}

func parquetNode(c batchColumn) parquet.Node {
	n := parquet.String()
	switch {
	case c.Kind == kindBool:
		n = parquet.Leaf(parquet.BooleanType)
	case c.Kind == kindInt:
		n = parquet.Int(64)
	case c.Kind == kindFloat && c.Single:
		n = parquet.Leaf(parquet.FloatType)
	case c.Kind == kindFloat:
		n = parquet.Leaf(parquet.DoubleType)
	case c.Kind == kindTime:
		n = parquet.Timestamp(parquet.Microsecond)
	case c.Words:
		n = parquet.Encoded(n, &parquet.RLEDictionary)
	}
	if c.Required {
		return n
	}
	return parquet.Optional(n)
}

// parquetRow lays out a row's values in the order of the schema's leaves.
func parquetRow(t *batchTable, cells []cell) parquet.Row {
	row := make(parquet.Row, len(cells))
	put := func(at int, c batchColumn) {
		level := 0
		if !c.Required && cells[at].set {
			level = 1
		}
		row[at] = parquetValue(c, cells[at]).Level(0, level, at)
	}
	for i, c := range t.columns {
		put(i, c)
	}
	for i, c := range t.meta {
		put(len(t.columns)+i, c)
	}
	return row
}

func parquetValue(c batchColumn, v cell) parquet.Value {
	switch {
	case !v.set:
		return parquet.NullValue()
	case c.Kind == kindBool:
		return parquet.BooleanValue(v.i != 0)
	case c.Kind == kindInt, c.Kind == kindTime:
		return parquet.Int64Value(v.i)
	case c.Kind == kindFloat && c.Single:
		return parquet.FloatValue(float32(v.f))
	case c.Kind == kindFloat:
		return parquet.DoubleValue(v.f)
	}
	return parquet.ByteArrayValue([]byte(v.s))
}

// orderedGroup is a parquet.Group that keeps the order in which its columns were
// added, so that people find the id first and a function's columns together.
type orderedGroup struct {
	parquet.Group
	order []string
}

func (g *orderedGroup) add(name string, n parquet.Node) {
	if g.Group == nil {
		g.Group = parquet.Group{}
	}
	g.Group[name] = n
	g.order = append(g.order, name)
}

// Fields implements parquet.Node.
func (g *orderedGroup) Fields() []parquet.Field {
	place := make(map[string]int, len(g.order))
	for i, name := range g.order {
		place[name] = i
	}
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return place[a.Name()] - place[b.Name()] })
	return fields
}
