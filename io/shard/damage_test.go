package shard

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// foreignRow is a shard's row as another tool may write it: everything nullable.
type foreignRow struct {
	AssetID     *string    `parquet:"asset_id,optional,dict"`
	Version     *string    `parquet:"version,optional,dict"`
	ContentHash *string    `parquet:"content_hash,optional"`
	Vector      []*float32 `parquet:"vector,list,optional"`
}

func foreign(t *testing.T, n, dim int, change func(i int, r *foreignRow), o ...parquet.WriterOption) []byte {
	t.Helper()
	b := rows(n, dim)
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[foreignRow](&buf, o...)
	for i := range n {
		r := foreignRow{AssetID: &b.AssetID[i], Version: &b.Version[i], ContentHash: &b.ContentHash[i]}
		for j := range dim {
			r.Vector = append(r.Vector, &b.Vectors[i*dim+j])
		}
		change(i, &r)
		if _, err := w.Write([]foreignRow{r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestForeignRows(t *testing.T) {
	const n, dim = 200, 5
	drop := func(i, row int, r *foreignRow, v []*float32) {
		if i == row {
			r.Vector = v
		}
	}
	for name, c := range map[string]struct {
		change func(i int, r *foreignRow)
		says   string // "" is readable
	}{
		"all there":    {func(int, *foreignRow) {}, ""},
		"null list":    {func(i int, r *foreignRow) { drop(i, 123, r, nil) }, "row 123 has a null"},
		"empty list":   {func(i int, r *foreignRow) { drop(i, 0, r, []*float32{}) }, "row 0 has a null"},
		"short list":   {func(i int, r *foreignRow) { drop(i, 77, r, r.Vector[:dim-1]) }, "row 77 has not 5 numbers"},
		"long list":    {func(i int, r *foreignRow) { drop(i, 77, r, append(r.Vector, r.Vector[0])) }, "row 77 has more than 5 numbers"},
		"long at last": {func(i int, r *foreignRow) { drop(i, n-1, r, append(r.Vector, r.Vector[0])) }, "more than 5 numbers"},
		"null number":  {func(i int, r *foreignRow) { drop(i, 99, r, append(slices.Clone(r.Vector[:dim-1]), nil)) }, "row 99 has a null"},
		"null id": {func(i int, r *foreignRow) {
			if i == 150 {
				r.AssetID = nil
			}
		}, "column asset_id"},
		"one long, one short": {func(i int, r *foreignRow) {
			drop(i, 50, r, r.Vector[:dim-1])
			drop(i, 51, r, append(r.Vector, r.Vector[0]))
		}, "row 50 has not 5 numbers"},
	} {
		for _, v := range []int{1, 2} {
			for _, page := range []int{40, 1 << 20} {
				data := foreign(t, n, dim, c.change, parquet.DataPageVersion(v), parquet.PageBufferSize(page), parquet.KeyValueMetadata(keyDim, "5"))
				r := open(t, data)
				got, err := collect(r, ScanOptions{Vectors: true, IDs: true, MaxRows: 30})
				if c.says == "" {
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					equalBlocks(t, got, rows(n, dim))
					continue
				}
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s, page version %d of %d bytes: %v", name, v, page, err)
				}
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	type noVector struct {
		AssetID     string `parquet:"asset_id"`
		Version     string `parquet:"version"`
		ContentHash string `parquet:"content_hash"`
	}
	type doubles struct {
		noVector
		Vector []float64 `parquet:"vector,list"`
	}
	type scalar struct {
		noVector
		Vector float32 `parquet:"vector"`
	}
	type numbers struct {
		AssetID     int64     `parquet:"asset_id"`
		Version     string    `parquet:"version"`
		ContentHash string    `parquet:"content_hash"`
		Vector      []float32 `parquet:"vector,list"`
	}
	good := write(t, rows(10, 3))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"empty":       {nil, "0 bytes"},
		"text":        {[]byte(strings.Repeat("no parquet\n", 10)), "magic"},
		"truncated":   {good[:len(good)/2], "magic footer"},
		"no vector":   {writeAny(t, noVector{}), "no column vector"},
		"doubles":     {writeAny(t, doubles{Vector: []float64{1}}), "a list of DOUBLE"},
		"scalar":      {writeAny(t, scalar{}), "FLOAT, not a list"},
		"number ids":  {writeAny(t, numbers{Vector: []float32{1}}), "asset_id is INT"},
		"newer":       {writeAny(t, vectorRow{Vector: []float32{1}}, parquet.KeyValueMetadata(keyFormat, "2")), "use a newer winnow"},
		"bad dim":     {writeAny(t, vectorRow{Vector: []float32{1}}, parquet.KeyValueMetadata(keyDim, "-4")), keyDim},
		"no numbers":  {writeAny(t, vectorRow{Vector: []float32{}}), ""},
		"cut tail":    {good[:len(good)-1], "magic footer"},
		"footer lies": {lengthen(good), "its footer should have"},
	} {
		r, err := Open(bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil { // a fault that shows only in the rows
			_, err = collect(r, ScanOptions{Vectors: true, IDs: true})
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func writeAny[T any](t *testing.T, row T, o ...parquet.WriterOption) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, o...)
	if _, err := w.Write([]T{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// lengthen makes the footer's length reach before the file's start.
func lengthen(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)-5] = 0x7f
	return data
}

// readAll goes through all of a file's ways to be read.
func readAll(data []byte) error {
	r, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	last := r.Rows() - 1
	only := []int64{}
	for _, row := range []int64{0, last / 3, last / 2, last} {
		if row >= 0 && (len(only) == 0 || row > only[len(only)-1]) {
			only = append(only, row)
		}
	}
	nothing := func(*Block) error { return nil }
	return errors.Join(
		r.Blocks(ScanOptions{Vectors: true, IDs: true, MaxRows: 50}, nothing),
		r.Blocks(ScanOptions{Vectors: true, IDs: true, Only: only}, nothing))
}

// Any change of a file is an error or harmless, and never a panic.
func TestDamage(t *testing.T) {
	pristine := write(t, rows(300, 7))
	scores := writeScores(t, 300, 3, 100)
	rng := rand.New(rand.NewPCG(1, 1))
	damage := func(data []byte) []byte {
		data = bytes.Clone(data)
		switch rng.IntN(3) {
		case 0:
			return data[:rng.IntN(len(data))]
		case 1:
			for range 1 + rng.IntN(4) {
				data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
			}
		case 2: // in the footer, where no checksum helps
			for range 1 + rng.IntN(4) {
				data[len(data)-1-rng.IntN(min(len(data), 1500))] = byte(rng.Uint32())
			}
		}
		return data
	}
	errs, rounds := 0, 600
	if os.Getenv("WINNOW_SOAK") != "" {
		rounds *= 10
	}
	for range rounds {
		if err := readAll(damage(pristine)); err != nil {
			errs++
		}
		_ = readScores(damage(scores))
	}
	if errs < rounds/2 {
		t.Errorf("only %d of %d damaged files gave an error", errs, rounds)
	}
}

func readScores(data []byte) error {
	s, err := OpenScores(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	return s.Read(s.Columns(), func(int64, []string, []string, [][]float32) error { return nil })
}

func FuzzOpen(f *testing.F) {
	f.Add(write(f, rows(3, 2)))
	f.Add(write(f, rows(0, 4)))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = readAll(data) })
}

func FuzzOpenScores(f *testing.F) {
	f.Add(writeScores(f, 3, 2, 2))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = readScores(data) })
}

// failing is a ReaderAt whose reads fail from the n-th on.
type failing struct {
	io.ReaderAt
	left int
}

var errStorage = errors.New("storage fails")

func (r *failing) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left < 0 {
		return 0, errStorage
	}
	return r.ReaderAt.ReadAt(p, off)
}

// A fault of the storage is not blamed on the file's content.
func TestStorageFault(t *testing.T) {
	data := write(t, rows(5000, 40))
	for n := 0; ; n++ {
		at := &failing{bytes.NewReader(data), n}
		r, err := Open(at, int64(len(data)))
		if err == nil {
			err = r.Blocks(ScanOptions{Vectors: true, IDs: true}, func(*Block) error { return nil })
		}
		if at.left >= 0 {
			if err != nil {
				t.Fatal(err)
			}
			if n < 5 {
				t.Fatalf("only %d reads", n)
			}
			return
		}
		if !errors.Is(err, errStorage) {
			t.Fatalf("read %d fails: %v", n, err)
		}
	}
}
