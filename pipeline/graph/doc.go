// Package graph finds which rows are near each other: the k nearest neighbours of
// many rows, the groups that near rows form, and clusters.
//
// Rows are vectors of length 1, numbered from 0 in the order of their Source; a
// cosine is a product of two. Products of single precision (BLAS) say which pairs
// may matter, double precision in a fixed order says how near they are, so results
// do not depend on the number of processors. Memory is that of the rows that are
// looked at, never of all.
package graph

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Source streams all rows of dim numbers in order: first is the number of the
// block's first row. A block is used again once yield returns.
type Source func(ctx context.Context, yield func(first int, rows []float32) error) error

// MaxRows is the most rows that are numbered.
const MaxRows = 1<<31 - 1

// Neighbor is a row near another.
type Neighbor struct {
	Row    int32
	Cosine float32 // in [-1, 1]
}

// before orders neighbours: the higher cosine first, then the lower row.
func (a Neighbor) before(b Neighbor) bool {
	return a.Cosine > b.Cosine || a.Cosine == b.Cosine && a.Row < b.Row
}

func compare(a, b Neighbor) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

// each calls f(0…n-1) from as many goroutines as there are processors.
func each(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}
