package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math"
	"os"
)

// flat is an exact index in memory.
type flat struct {
	dim  int
	rows []float32
}

func (f *flat) search(ctx context.Context, queries []float32, k, _ int, out func(q int, hits []hit)) error {
	const block = 8 * exactQueries
	for q0 := 0; q0 < len(queries)/f.dim; q0 += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		q1 := min(q0+block, len(queries)/f.dim)
		e := newExact(queries[q0*f.dim:q1*f.dim], f.dim, k)
		e.add(f.rows, len(f.rows)/f.dim, 0)
		for q := range e.best {
			out(q0+q, e.best[q].sorted())
		}
	}
	return nil
}

func (f *flat) close() error {
	f.rows = nil
	return nil
}

// openFlat reads a flat index whose layout has been checked.
func openFlat(file *os.File, p *Params) (*flat, error) {
	f := &flat{dim: p.Dim, rows: make([]float32, p.Rows*int64(p.Dim))}
	r := bufio.NewReaderSize(io.NewSectionReader(file, flatData, int64(len(f.rows))*4), 1<<20)
	buf := make([]byte, 64<<10)
	for i := 0; i < len(f.rows); {
		n := min(len(buf), 4*(len(f.rows)-i))
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return nil, err
		}
		for j := 0; j < n; j += 4 {
			f.rows[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[j:]))
			i++
		}
	}
	return f, nil
}

// writeFlat streams the rows into FAISS's format: no row is held.
func writeFlat(ctx context.Context, w io.Writer, p *Params, src Source, count func(int64)) error {
	bw := bufio.NewWriterSize(w, 1<<20)
	h := make([]byte, 0, flatData)
	h = append(h, fourFlatIP...)
	h = binary.LittleEndian.AppendUint32(h, uint32(p.Dim))
	h = binary.LittleEndian.AppendUint64(h, uint64(p.Rows))
	h = binary.LittleEndian.AppendUint64(h, filler)
	h = binary.LittleEndian.AppendUint64(h, filler)
	h = append(h, 1)
	h = binary.LittleEndian.AppendUint32(h, metricIP)
	h = binary.LittleEndian.AppendUint64(h, uint64(p.Rows)*uint64(p.Dim))
	if _, err := bw.Write(h); err != nil {
		return err
	}
	var buf []byte
	err := stream(ctx, src, p, func(v []float32, n int, _ int64) error {
		buf = buf[:0]
		for _, x := range v {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
		}
		count(int64(n))
		_, err := bw.Write(buf)
		return err
	})
	if err != nil {
		return err
	}
	return bw.Flush()
}
