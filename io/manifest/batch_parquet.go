package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
)

const (
	// parquetGroupRows bounds the writer's memory: rows of one row group.
	parquetGroupRows = 50_000
	// parquetWriteRows is how many rows are handed to the writer at once.
	parquetWriteRows = 256
)

// emitParquet writes batch.parquet: the fixed columns, then for each function
// score_F and pct_F (FLOAT), match_F (BOOLEAN), anchor_F and version_F, then a
// struct `metadata` with one typed column a name. Where a name holds values of
// several types, or lists, its column is text.
func emitParquet(ctx context.Context, b *batch) error {
	t := newBatchTable(b)
	return b.file("batch.parquet", func(w io.Writer) error {
		pw := parquet.NewWriter(w, t.options(b.Info)...)
		buf := make([]parquet.Row, 0, parquetWriteRows)
		flush := func() error {
			_, err := pw.WriteRows(buf)
			buf = buf[:0]
			return err
		}
		err := b.each(ctx, func(r *BatchRow) error {
			row, err := t.row(b.Info, r)
			if err != nil {
				return fmt.Errorf("asset %q: %w", r.AssetID, err)
			}
			if buf = append(buf, row); len(buf) < cap(buf) {
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

// batchTable is the schema of batch.parquet and how a row fills it.
type batchTable struct {
	schema  *parquet.Schema
	columns []metaColumn
	index   map[string]int // metadata name → place in columns
}

func newBatchTable(b *batch) *batchTable {
	t := &batchTable{index: map[string]int{}}
	for _, c := range b.columns {
		t.index[c.Name] = len(t.columns)
		t.columns = append(t.columns, c)
	}
	text := func() parquet.Node { return parquet.Optional(parquet.String()) }
	words := func() parquet.Node {
		return parquet.Optional(parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
	}
	number := func() parquet.Node { return parquet.Optional(parquet.Leaf(parquet.FloatType)) }

	var g orderedGroup
	g.add("rank", parquet.Int(64))
	g.add("asset_id", parquet.String())
	for _, name := range []string{"uri", "text", "caption"} {
		g.add(name, text())
	}
	g.add("media_type", words())
	g.add("version", text())
	g.add("content_hash", text())
	g.add("objective", words())
	g.add("reason", words())
	for _, f := range b.Info.Functions {
		g.add("score_"+f.Name, number())
		g.add("pct_"+f.Name, number())
		g.add("match_"+f.Name, parquet.Leaf(parquet.BooleanType))
		g.add("anchor_"+f.Name, words())
		g.add("version_"+f.Name, parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
	}
	if len(t.columns) > 0 {
		var m orderedGroup
		for _, c := range t.columns {
			m.add(c.Name, metaNode(c.Kind))
		}
		g.add("metadata", &m)
	}
	t.schema = parquet.NewSchema("batch", &g)
	return t
}

func metaNode(k kind) parquet.Node {
	switch k {
	case kindBool:
		return parquet.Optional(parquet.Leaf(parquet.BooleanType))
	case kindInt:
		return parquet.Optional(parquet.Int(64))
	case kindFloat:
		return parquet.Optional(parquet.Leaf(parquet.DoubleType))
	case kindTime:
		return parquet.Optional(parquet.Timestamp(parquet.Microsecond))
	}
	return parquet.Optional(parquet.String())
}

// options fixes everything that would otherwise come from the build or the clock.
func (t *batchTable) options(info *BatchInfo) []parquet.WriterOption {
	o := []parquet.WriterOption{
		t.schema,
		parquet.Compression(&parquet.Zstd),
		parquet.MaxRowsPerRowGroup(parquetGroupRows),
		parquet.CreatedBy("winnow", "1", ""),
		parquet.KeyValueMetadata("winnow.batch", info.Name),
		parquet.KeyValueMetadata("winnow.slot", info.Slot),
	}
	if len(info.Functions) > 0 {
		if raw, err := encodeJSON(info.Functions); err == nil {
			o = append(o, parquet.KeyValueMetadata("winnow.functions", string(raw)))
		}
	}
	return o
}

// row lays out one row's values in the order of the schema's leaves.
func (t *batchTable) row(info *BatchInfo, r *BatchRow) (parquet.Row, error) {
	row := make(parquet.Row, 0, 10+5*len(info.Functions)+len(t.columns))
	put := func(v parquet.Value, optional bool) {
		level := 0
		if optional && !v.IsNull() {
			level = 1
		}
		row = append(row, v.Level(0, level, len(row)))
	}
	str := func(s string) { put(textValue(s), true) }

	put(parquet.Int64Value(r.Rank), false)
	put(parquet.ByteArrayValue([]byte(validUTF8(r.AssetID))), false)
	for _, s := range []string{r.URI, r.Text, r.Caption, r.MediaType, r.Version, r.ContentHash, r.Objective, r.Reason} {
		str(s)
	}
	for i, s := range r.Scores {
		put(floatOrNull(s.Score), true)
		put(floatOrNull(s.Percentile), true)
		put(parquet.BooleanValue(s.Match), false)
		str(s.Anchor)
		put(parquet.ByteArrayValue([]byte(info.Functions[i].Version)), false)
	}
	values := make([]parquet.Value, len(t.columns))
	for _, m := range r.Metadata {
		at, ok := t.index[m.Name]
		if !ok {
			return nil, fmt.Errorf("metadata %q was not there when the batch was surveyed", m.Name)
		}
		v, err := parquetMeta(t.columns[at].Kind, metaValue(m.Value))
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", m.Name, err)
		}
		values[at] = v
	}
	for _, v := range values {
		put(v, true)
	}
	return row, nil
}

func textValue(s string) parquet.Value {
	if s == "" {
		return parquet.NullValue()
	}
	return parquet.ByteArrayValue([]byte(validUTF8(s)))
}

func floatOrNull(x float32) parquet.Value {
	if !finite(x) {
		return parquet.NullValue()
	}
	return parquet.FloatValue(x)
}

func parquetMeta(k kind, v any) (parquet.Value, error) {
	if v == nil {
		return parquet.NullValue(), nil
	}
	switch k {
	case kindBool:
		if x, ok := v.(bool); ok {
			return parquet.BooleanValue(x), nil
		}
	case kindInt:
		if x, ok := v.(int64); ok {
			return parquet.Int64Value(x), nil
		}
	case kindFloat:
		switch x := v.(type) {
		case float64:
			return parquet.DoubleValue(x), nil
		case int64:
			return parquet.DoubleValue(float64(x)), nil
		}
	case kindTime:
		if x, ok := v.(time.Time); ok {
			return parquet.Int64Value(x.UnixMicro()), nil
		}
	case kindText:
		s, _ := metaText(v)
		return parquet.ByteArrayValue([]byte(s)), nil
	}
	raw, _ := json.Marshal(v)
	return parquet.NullValue(), fmt.Errorf("value %s changed its type since the batch was surveyed", raw)
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
