package manifest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	arrays "github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	// A record batch ends at the first of these: they bound the writer's memory.
	arrowBatchRows  = 16_384
	arrowBatchBytes = 16 << 20 // of values, before padding
	// arrowRowBytes keeps a column's 32-bit offsets from running over.
	arrowRowBytes = math.MaxInt32 - arrowBatchBytes
)

// emitArrow writes batch.arrow: an Arrow IPC file (Feather version 2) with the
// columns and types of batch.parquet. Nothing in it is compressed or
// dictionary-coded, so that a reader can map the file instead of copying it.
func emitArrow(ctx context.Context, b *batch) error {
	t := newBatchTable(b)
	schema := arrowSchema(t)
	return b.file("batch.arrow", func(w io.Writer) error {
		buf := bufio.NewWriterSize(w, 1<<16) // arrow writes each buffer and its padding apart
		aw, err := newArrowWriter(buf, schema)
		if err != nil {
			return err
		}
		defer aw.rows.Release()
		err = b.each(ctx, func(r *BatchRow) error {
			cells, err := t.row(r)
			if err != nil {
				return err
			}
			if err := aw.add(cells); err != nil {
				return fmt.Errorf("asset %q: %w", r.AssetID, err)
			}
			return nil
		})
		if err == nil {
			err = aw.flush()
		}
		if err != nil {
			return err // without the footer nobody can read the file
		}
		return errors.Join(aw.file.Close(), buf.Flush())
	})
}

// arrowSchema is the schema of batch.arrow.
func arrowSchema(t *batchTable) *arrow.Schema {
	fields := arrowFields(t.columns)
	if len(t.meta) > 0 {
		fields = append(fields, arrow.Field{Name: "metadata", Type: arrow.StructOf(arrowFields(t.meta)...)})
	}
	var keys, values []string
	for _, p := range t.properties() {
		keys, values = append(keys, p.Name), append(values, validUTF8(p.Value))
	}
	about := arrow.NewMetadata(keys, values)
	return arrow.NewSchema(fields, &about)
}

func arrowFields(columns []batchColumn) []arrow.Field {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: arrowType(c), Nullable: !c.Required}
	}
	return fields
}

func arrowType(c batchColumn) arrow.DataType {
	switch {
	case c.Kind == kindBool:
		return arrow.FixedWidthTypes.Boolean
	case c.Kind == kindInt:
		return arrow.PrimitiveTypes.Int64
	case c.Kind == kindFloat && c.Single:
		return arrow.PrimitiveTypes.Float32
	case c.Kind == kindFloat:
		return arrow.PrimitiveTypes.Float64
	case c.Kind == kindTime:
		return arrow.FixedWidthTypes.Timestamp_us // in UTC
	}
	return arrow.BinaryTypes.String
}

// arrowWriter gathers rows into record batches.
type arrowWriter struct {
	file   *ipc.FileWriter
	rows   *arrays.RecordBuilder
	leaves []arrays.Builder      // one for each cell of a row
	meta   *arrays.StructBuilder // nil without metadata
	n      int                   // rows and
	size   int                   // bytes since the last flush
}

func newArrowWriter(w io.Writer, schema *arrow.Schema) (*arrowWriter, error) {
	// This allocator's memory is zeroed: the bytes under nulls and in the padding
	// are the same each time.
	mem := memory.NewGoAllocator()
	file, err := ipc.NewFileWriter(&seekCounter{countWriter{w: w}}, ipc.WithSchema(schema), ipc.WithAllocator(mem))
	if err != nil {
		return nil, err
	}
	aw := &arrowWriter{file: file, rows: arrays.NewRecordBuilder(mem, schema)}
	for _, f := range aw.rows.Fields() {
		meta, ok := f.(*arrays.StructBuilder)
		if !ok {
			aw.leaves = append(aw.leaves, f)
			continue
		}
		aw.meta = meta
		for i := range meta.NumField() {
			aw.leaves = append(aw.leaves, meta.FieldBuilder(i))
		}
	}
	return aw, nil
}

func (aw *arrowWriter) add(cells []cell) error {
	size := 0
	for _, c := range cells {
		size += 8 + len(c.s)
	}
	if size > arrowRowBytes {
		return fmt.Errorf("its values take %d bytes, and an Arrow column holds %d; leave arrow out of emit, or shorten the texts", size, arrowRowBytes)
	}
	if aw.meta != nil {
		aw.meta.Append(true)
	}
	for i, c := range cells {
		appendCell(aw.leaves[i], c)
	}
	aw.n++
	if aw.size += size; aw.n < arrowBatchRows && aw.size < arrowBatchBytes {
		return nil
	}
	return aw.flush()
}

func appendCell(to arrays.Builder, c cell) {
	if !c.set {
		to.AppendNull()
		return
	}
	switch to := to.(type) {
	case *arrays.BooleanBuilder:
		to.Append(c.i != 0)
	case *arrays.Int64Builder:
		to.Append(c.i)
	case *arrays.TimestampBuilder:
		to.Append(arrow.Timestamp(c.i))
	case *arrays.Float32Builder:
		to.Append(float32(c.f))
	case *arrays.Float64Builder:
		to.Append(c.f)
	case *arrays.StringBuilder:
		to.Append(c.s)
	}
}

func (aw *arrowWriter) flush() error {
	if aw.n == 0 {
		return nil
	}
	rec := aw.rows.NewRecord()
	defer rec.Release()
	aw.n, aw.size = 0, 0
	return aw.file.Write(rec)
}

// seekCounter tells the file writer where it is; it never goes anywhere else.
type seekCounter struct{ countWriter }

func (s *seekCounter) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("this file is written from its beginning to its end")
	}
	return s.n, nil
}
