package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rows makes n rows whose every cell tells its row.
func rows(n, dim int) *Block {
	b := &Block{Dim: dim, Vectors: make([]float32, n*dim)}
	for i := range n {
		b.AssetID = append(b.AssetID, fmt.Sprintf("asset-%06d", i))
		b.Version = append(b.Version, fmt.Sprintf("v%d", i%3))
		b.ContentHash = append(b.ContentHash, strings.Repeat(fmt.Sprintf("%08x", i*2654435761), 8))
		for j := range dim {
			b.Vectors[i*dim+j] = float32(i) + float32(j)/float32(dim)
		}
	}
	return b
}

func write(t testing.TB, b *Block) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, Meta{Dim: b.Dim, Embedding: "image", Fingerprint: "f00d", Normalized: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func open(t testing.TB, data []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// collect reads what o asks for into one block.
func collect(r *Reader, o ScanOptions) (*Block, error) {
	all := &Block{Dim: r.Meta().Dim}
	next := int64(-1)
	err := r.Blocks(o, func(b *Block) error {
		if next < 0 {
			all.First = b.First
		} else if o.Only == nil && b.First != next {
			return fmt.Errorf("a block starts at %d, not at %d", b.First, next)
		}
		n := b.Len()
		if m := o.MaxRows; m > 0 && n > m {
			return fmt.Errorf("a block has %d rows, more than %d", n, m)
		}
		next = b.First + int64(n)
		all.AssetID = append(all.AssetID, b.AssetID...)
		all.Version = append(all.Version, b.Version...)
		all.ContentHash = append(all.ContentHash, b.ContentHash...)
		all.Vectors = append(all.Vectors, b.Vectors...)
		all.Rows = append(all.Rows, b.Rows...)
		return nil
	})
	return all, err
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ n, dim, max int }{
		{0, 8, 0}, {1, 1, 0}, {3, 1, 1}, {1, 384, 7}, {1000, 64, 7}, {RowGroupRows, 8, 0}, {RowGroupRows + 1, 8, 100}, {3*RowGroupRows + 17, 33, 5000},
	} {
		t.Run(fmt.Sprintf("%dx%d", c.n, c.dim), func(t *testing.T) {
			want := rows(c.n, c.dim)
			r := open(t, write(t, want))
			if r.Rows() != int64(c.n) {
				t.Fatalf("Rows = %d", r.Rows())
			}
			if got := (Meta{c.dim, "image", "f00d", true}); r.Meta() != got {
				t.Fatalf("Meta = %+v", r.Meta())
			}
			got, err := collect(r, ScanOptions{Vectors: true, IDs: true, MaxRows: c.max})
			if err != nil {
				t.Fatal(err)
			}
			equalBlocks(t, got, want)
			ids, err := collect(r, ScanOptions{IDs: true})
			if err != nil {
				t.Fatal(err)
			}
			vectors, err := collect(r, ScanOptions{Vectors: true})
			if err != nil {
				t.Fatal(err)
			}
			ids.Vectors = vectors.Vectors
			equalBlocks(t, ids, want)
		})
	}
}

func equalBlocks(t *testing.T, got, want *Block) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Fatalf("%d rows, want %d", got.Len(), want.Len())
	}
	if d := cmp.Diff(append([]string(nil), want.AssetID...), got.AssetID); d != "" {
		t.Fatal(d)
	}
	for i := range want.AssetID {
		if got.Version[i] != want.Version[i] || got.ContentHash[i] != want.ContentHash[i] {
			t.Fatalf("row %d: %s %s", i, got.Version[i], got.ContentHash[i])
		}
	}
	if len(got.Vectors) != len(want.Vectors) {
		t.Fatalf("%d numbers, want %d", len(got.Vectors), len(want.Vectors))
	}
	for i := range want.Vectors {
		if got.Vectors[i] != want.Vectors[i] {
			t.Fatalf("number %d is %v, want %v", i, got.Vectors[i], want.Vectors[i])
		}
	}
}

func TestBytesFollowFromRows(t *testing.T) {
	b := rows(5000, 16)
	one := write(t, b)
	// The same rows in other blocks.
	var buf bytes.Buffer
	w, err := NewWriter(&buf, Meta{Dim: 16, Embedding: "image", Fingerprint: "f00d", Normalized: true})
	if err != nil {
		t.Fatal(err)
	}
	for lo := 0; lo < 5000; {
		hi := min(5000, lo+1+rand.IntN(700))
		if err := w.Write(&Block{Dim: 16, AssetID: b.AssetID[lo:hi], Version: b.Version[lo:hi], ContentHash: b.ContentHash[lo:hi], Vectors: b.Vectors[lo*16 : hi*16]}); err != nil {
			t.Fatal(err)
		}
		lo = hi
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, buf.Bytes()) {
		t.Error("the bytes depend on how the rows were cut into blocks")
	}
}

func TestOnly(t *testing.T) {
	const n, dim = 2*RowGroupRows + 500, 20
	want := rows(n, dim)
	r := open(t, write(t, want))
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(p float64) (s []int64) {
		for i := range int64(n) {
			if rng.Float64() < p {
				s = append(s, i)
			}
		}
		return s
	}
	for name, only := range map[string][]int64{
		"none": {}, "first": {0}, "last": {n - 1}, "edge": {RowGroupRows - 1, RowGroupRows}, "run": {7, 8, 9, 10, 4000, 4001},
		"sparse": random(0.002), "dense": random(0.5), "all": random(2),
	} {
		for _, max := range []int{0, 3} {
			got, err := collect(r, ScanOptions{Vectors: true, IDs: true, Only: only, MaxRows: max})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(append([]int64(nil), only...), got.Rows); d != "" {
				t.Fatalf("%s: %s", name, d)
			}
			for i, row := range only {
				if got.AssetID[i] != want.AssetID[row] || got.ContentHash[i] != want.ContentHash[row] || got.Vectors[i*dim] != float32(row) || got.Vectors[i*dim+dim-1] != want.Vectors[row*dim+dim-1] {
					t.Fatalf("%s: row %d is %s %v", name, row, got.AssetID[i], got.Vectors[i*dim])
				}
			}
		}
	}
	for _, bad := range [][]int64{{-1}, {n}, {5, 5}, {6, 5}} {
		if _, err := collect(r, ScanOptions{IDs: true, Only: bad}); err == nil {
			t.Errorf("rows %v were accepted", bad)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, spoil := range map[string]func(b *Block){
		"short vectors":   func(b *Block) { b.Vectors = b.Vectors[1:] },
		"another dim":     func(b *Block) { b.Dim = 2 },
		"missing version": func(b *Block) { b.Version = b.Version[1:] },
		"missing hash":    func(b *Block) { b.ContentHash = nil },
		"nan":             func(b *Block) { b.Vectors[5] = float32(math.NaN()) },
		"infinite":        func(b *Block) { b.Vectors[5] = float32(math.Inf(-1)) },
	} {
		b := rows(3, 4)
		spoil(b)
		w, err := NewWriter(&bytes.Buffer{}, Meta{Dim: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(b); err == nil {
			t.Errorf("%s: written", name)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: closed without an error", name)
		}
	}
	if _, err := NewWriter(&bytes.Buffer{}, Meta{Dim: 0}); err == nil {
		t.Error("dimension 0 was accepted")
	}
}

var errStop = errors.New("stop")

func TestBlocksReturnsTheCallersError(t *testing.T) {
	r := open(t, write(t, rows(10, 2)))
	n := 0
	err := r.Blocks(ScanOptions{IDs: true, MaxRows: 2}, func(*Block) error { n++; return errStop })
	if err != errStop || n != 1 {
		t.Fatalf("err = %v after %d calls", err, n)
	}
}
