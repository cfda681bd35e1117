package shard

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// benchFile writes a shard of n rows to disk.
func benchFile(b *testing.B, n, dim int) (path string, bytes int64) {
	b.Helper()
	path = filepath.Join(b.TempDir(), "shard.parquet")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w, err := NewWriter(f, Meta{Dim: dim, Embedding: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	const chunk = 4096
	v := make([]float32, chunk*dim)
	for lo := 0; lo < n; lo += chunk {
		blk := &Block{Dim: dim, Vectors: v[:min(chunk, n-lo)*dim]}
		for i := range min(chunk, n-lo) {
			blk.AssetID = append(blk.AssetID, fmt.Sprintf("asset-%08d", lo+i))
			blk.Version = append(blk.Version, fmt.Sprintf("%016x", rng.Uint64()))
			blk.ContentHash = append(blk.ContentHash, fmt.Sprintf("%016x%016x%016x%016x", rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()))
		}
		for i := range v {
			v[i] = rng.Float32() - 0.5
		}
		if err := w.Write(blk); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path, int64(n) * int64(dim) * 4
}

// BenchmarkRead reads vectors, and compares with reading the bytes alone.
func BenchmarkRead(b *testing.B) {
	const n, dim = 100_000, 384
	path, size := benchFile(b, n, dim)
	b.Run("file", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if _, err := os.ReadFile(path); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(size)
		buf := make([]byte, 1<<20)
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = f.Read(buf)
			}
			f.Close()
		}
	})
	for name, o := range map[string]ScanOptions{"vectors": {Vectors: true}, "ids": {IDs: true}, "all": {Vectors: true, IDs: true}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				benchScan(b, path, o, n)
			}
		})
	}
}

func benchScan(b *testing.B, path string, o ScanOptions, want int) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	r, err := Open(f, st.Size())
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	if err := r.Blocks(o, func(blk *Block) error { n += blk.Len(); return nil }); err != nil || n != want {
		b.Fatal(n, err)
	}
}

// BenchmarkOnly reads a few rows of a shard, as anchors are.
func BenchmarkOnly(b *testing.B) {
	const n, dim = 16384, 1280
	path, _ := benchFile(b, n, dim)
	only := []int64{5, 4000, 9000, 16000}
	for b.Loop() {
		benchScan(b, path, ScanOptions{Vectors: true, IDs: true, Only: only}, len(only))
	}
}

func BenchmarkWrite(b *testing.B) {
	const dim = 384
	blk := rows(4096, dim)
	w, err := NewWriter(io.Discard, Meta{Dim: dim})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4096 * dim * 4)
	for b.Loop() {
		if err := w.Write(blk); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScores writes and reads 200,000 rows of 50 functions' scores.
func BenchmarkScores(b *testing.B) {
	const n, columns = 200_000, 50
	rng := rand.New(rand.NewPCG(1, 1))
	ids, versions, names, cols := scoreRows(n, columns)
	for c := range cols {
		for i := range cols[c] {
			cols[c][i] = float32(rng.NormFloat64())
		}
	}
	path := filepath.Join(b.TempDir(), "scores.parquet")
	b.Run("write", func(b *testing.B) {
		b.SetBytes(4 * n * columns)
		for b.Loop() {
			f, err := os.Create(path)
			if err != nil {
				b.Fatal(err)
			}
			w, err := NewScoreWriter(f, names)
			if err != nil {
				b.Fatal(err)
			}
			if err := w.Write(ids, versions, cols); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, k := range []int{1, columns} {
		b.Run(fmt.Sprintf("read-%d", k), func(b *testing.B) {
			b.SetBytes(4 * n * int64(k))
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				st, _ := f.Stat()
				b.ReportMetric(float64(st.Size())/float64(4*n*columns), "size/raw")
				s, err := OpenScores(f, st.Size())
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				if err := s.ReadColumns(names[:k], func(_ int64, cols [][]float32) error { got += len(cols[0]); return nil }); err != nil || got != n {
					b.Fatal(got, err)
				}
				f.Close()
			}
		})
	}
}
