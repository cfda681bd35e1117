// Index measures winnow's own way of building and searching an index, for
// testdata/bench/index.py. Prints a line of JSON.
//
//	index build VECTORS.f32 DIM --factory IVF1024,Flat --nprobe 16: seconds of processor time to train, to add
//	      (the lists of all tasks, written and merged on disk) and to search, and the rows found
//	index query FOLDER DIM: seconds of single searches of an index's folder, one after another, after it was mapped
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"winnow/io/index"
	"winnow/io/store"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "index:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) < 4 {
		return fmt.Errorf("usage: index build VECTORS.f32 DIM [flags], or index query FOLDER DIM")
	}
	dim, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("index", flag.ContinueOnError)
	factory := fs.String("factory", "IVF1024,Flat", "FAISS's name of the index")
	nprobe := fs.Int("nprobe", 16, "lists that a search reads")
	queries := fs.Int("queries", 1000, "searches")
	k := fs.Int("k", 10, "rows of a search")
	temp := fs.String("temp", "", "folder for the index")
	if err := fs.Parse(os.Args[4:]); err != nil {
		return err
	}
	var out any
	if os.Args[1] == "query" {
		out, err = query(ctx, os.Args[2], dim, *queries, *k)
	} else {
		out, err = build(ctx, os.Args[2], *temp, dim, *factory, *nprobe, *queries, *k)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// file are the rows of a raw file.
type file struct {
	f   *os.File
	dim int
}

func (s file) Range(_ context.Context, lo, hi int64, yield func([]float32, int, int64) error) error {
	const block = 4096
	size := int64(4 * s.dim)
	r := bufio.NewReaderSize(io.NewSectionReader(s.f, lo*size, (hi-lo)*size), 1<<20)
	raw, v := make([]byte, block*size), make([]float32, block*s.dim)
	for ; lo < hi; lo += block {
		n := int(min(block, hi-lo))
		if _, err := io.ReadFull(r, raw[:int64(n)*size]); err != nil {
			return err
		}
		decode(v[:n*s.dim], raw)
		if err := yield(v[:n*s.dim], n, lo); err != nil {
			return err
		}
	}
	return nil
}

func (s file) Pick(_ context.Context, rows []int64, yield func([]float32, int) error) error {
	raw, v := make([]byte, 4*s.dim), make([]float32, s.dim)
	for _, row := range rows {
		if _, err := s.f.ReadAt(raw, row*int64(len(raw))); err != nil {
			return err
		}
		decode(v, raw)
		if err := yield(v, 1); err != nil {
			return err
		}
	}
	return nil
}

func decode(v []float32, raw []byte) {
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
}

// params are those of a factory.
func params(factory string, rows int64, dim int) (index.Params, error) {
	kind := index.IVFFlat
	switch {
	case strings.Contains(factory, "SQ8"):
		kind = index.IVFSQ8
	case strings.Contains(factory, "PQ"):
		kind = index.IVFPQ
	}
	p, err := index.Choose(rows, dim, index.Wish{Kind: kind, Seed: 1})
	if err != nil {
		return p, err
	}
	m := regexp.MustCompile(`IVF(\d+)`).FindStringSubmatch(factory)
	if m == nil {
		return p, fmt.Errorf("%s has no lists", factory)
	}
	p.NList, _ = strconv.Atoi(m[1])
	p.TrainRows = min(256*p.NList, int(rows)-p.Queries)
	if m := regexp.MustCompile(`OPQ(\d+)_(\d+)`).FindStringSubmatch(factory); m != nil {
		p.PQ, _ = strconv.Atoi(m[1])
		p.PQDim, _ = strconv.Atoi(m[2])
	}
	p.Factory = factory
	return p, nil
}

func build(ctx context.Context, path, temp string, dim int, factory string, nprobe, queries, k int) (any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n := st.Size() / int64(4*dim)
	p, err := params(factory, n, dim)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(temp, "bench-index-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	src := file{f, dim}
	out := map[string]any{"rows": n, "faiss": index.FAISSVersion(), "threads": runtime.GOMAXPROCS(0)}
	trained, merged := filepath.Join(dir, "trained"), filepath.Join(dir, "base")
	begin := cpu()
	if _, err := index.Train(ctx, trained, p, src, nil); err != nil {
		return nil, err
	}
	out["train"] = cpu() - begin
	begin = cpu()
	var parts []index.MergePart
	for lo := int64(0); lo < n; lo += p.TaskRows() {
		hi := min(lo+p.TaskRows(), n)
		part := filepath.Join(dir, fmt.Sprint(lo))
		if _, err := index.Lists(ctx, part, trained, p, src, lo, hi, &index.Queries{Dim: dim}, nil); err != nil {
			return nil, err
		}
		parts = append(parts, index.MergePart{Path: part, Rows: hi - lo})
	}
	if err := index.Merge(ctx, merged, p, parts); err != nil {
		return nil, err
	}
	out["add"] = cpu() - begin
	p.NProbe = nprobe
	ix, err := index.Open(merged, p)
	if err != nil {
		return nil, err
	}
	defer ix.Close()
	var q []float32
	step := max(1, n/int64(queries))
	for row := int64(0); row < n && len(q) < queries*dim; row += step {
		if err := src.Pick(ctx, []int64{row}, func(v []float32, _ int) error { q = append(q, v...); return nil }); err != nil {
			return nil, err
		}
	}
	begin = cpu()
	_, rows, err := ix.Search(ctx, q, k)
	out["search"] = cpu() - begin
	out["found"] = rows
	return out, err
}

// cpu is the processor time of this process in seconds.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// query times single searches: the first of a process, the median and the slowest of
// twenty of those that follow.
func query(ctx context.Context, folder string, dim, queries, k int) (any, error) {
	s, err := store.Open(ctx, "file://"+filepath.Dir(folder))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	f, err := index.OpenFolder(ctx, s.Sub(filepath.Base(folder)), "")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	q, took := make([]float32, dim), make([]float64, queries)
	for i := range took {
		var norm float64
		for j := range q {
			x := rng.NormFloat64()
			q[j] = float32(x)
			norm += x * x
		}
		for j := range q {
			q[j] /= float32(math.Sqrt(norm))
		}
		begin := time.Now()
		if _, err := f.Search(ctx, q, k); err != nil {
			return nil, err
		}
		took[i] = time.Since(begin).Seconds()
	}
	first := took[0]
	slices.Sort(took)
	return map[string]any{"rows": f.Meta.Rows, "first": first, "median": took[len(took)/2], "p95": took[len(took)*95/100]}, nil
}
