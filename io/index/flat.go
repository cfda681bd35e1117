package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
)

// flat is an exact index: in memory, or, where it is large, read block by block for
// every search.
type flat struct {
	dim  int
	n    int64
	rows []float32 // nil: they stay in the file
	file *os.File
}

// inMemory is the most bytes of a flat index that are held.
const inMemory = 64 << 20

func (f *flat) search(ctx context.Context, queries []float32, k, _ int, out func(q int, hits []hit)) error {
	const block = 8 * exactQueries
	for q0 := 0; q0 < len(queries)/f.dim; q0 += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		q1 := min(q0+block, len(queries)/f.dim)
		e := newExact(queries[q0*f.dim:q1*f.dim], f.dim, k)
		if err := f.each(ctx, e.add); err != nil {
			return err
		}
		for q := range e.best {
			out(q0+q, e.best[q].sorted())
		}
	}
	return nil
}

// each streams the rows.
func (f *flat) each(ctx context.Context, fn func(rows []float32, n int, first int64)) error {
	if f.rows != nil {
		fn(f.rows, len(f.rows)/f.dim, 0)
		return nil
	}
	block := int64(max(1, (4<<20)/f.dim))
	rows := make([]float32, min(block, f.n)*int64(f.dim))
	for lo := int64(0); lo < f.n; lo += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(block, f.n-lo)
		if err := f.read(rows[:n*int64(f.dim)], lo); err != nil {
			return err
		}
		fn(rows[:n*int64(f.dim)], int(n), lo)
	}
	return nil
}

// read fills rows with those from first on.
func (f *flat) read(rows []float32, first int64) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f.file, flatData+4*first*int64(f.dim), int64(len(rows))*4), 1<<20)
	buf := make([]byte, 64<<10)
	for i := 0; i < len(rows); {
		n := min(len(buf), 4*(len(rows)-i))
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return err
		}
		for j := 0; j < n; j += 4 {
			rows[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[j:]))
			i++
		}
	}
	return nil
}

func (f *flat) close() error {
	f.rows = nil
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// openFlat opens a flat index whose layout has been checked. It closes file when it
// is closed, or before.
func openFlat(file *os.File, p *Params) (*flat, error) {
	f := &flat{dim: p.Dim, n: p.Rows, file: file}
	if size := p.Rows * int64(p.Dim); 4*size <= inMemory {
		f.rows = make([]float32, size)
		f.file = nil
		held := flat{dim: p.Dim, file: file}
		return f, errors.Join(held.read(f.rows, 0), file.Close())
	}
	return f, nil
}

// flatHead is what stands before the numbers of a flat index.
func flatHead(p *Params) []byte {
	h := make([]byte, 0, flatData)
	h = append(h, fourFlatIP...)
	h = binary.LittleEndian.AppendUint32(h, uint32(p.Dim))
	h = binary.LittleEndian.AppendUint64(h, uint64(p.Rows))
	h = binary.LittleEndian.AppendUint64(h, filler)
	h = binary.LittleEndian.AppendUint64(h, filler)
	h = append(h, 1)
	h = binary.LittleEndian.AppendUint32(h, metricIP)
	return binary.LittleEndian.AppendUint64(h, uint64(p.Rows)*uint64(p.Dim))
}

// writeFlat streams rows from lo on into FAISS's format: no row is held.
func writeFlat(ctx context.Context, path string, p *Params, src Vectors, lo int64, count func(int64)) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	bw := bufio.NewWriterSize(f, 1<<20)
	if _, err := bw.Write(flatHead(p)); err != nil {
		return err
	}
	var buf []byte
	err = stream(ctx, src, p.Dim, lo, lo+p.Rows, func(v []float32, n int, _ int64) error {
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
