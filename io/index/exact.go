package index

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"winnow/pipeline/vec"
)

// hit is a found row.
type hit struct {
	score float32
	row   int64
}

// before orders hits: the higher score first, then the lower row.
func (a hit) before(b hit) bool {
	if a.score != b.score {
		return a.score > b.score
	}
	return a.row < b.row
}

func compareHits(a, b hit) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

// best keeps the k first hits in a heap whose root is the last of them.
type best struct {
	k    int
	heap []hit
}

func (b *best) offer(h hit) {
	if len(b.heap) < b.k {
		b.heap = append(b.heap, h)
		for i := len(b.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if !b.heap[up].before(b.heap[i]) {
				break
			}
			b.heap[up], b.heap[i] = b.heap[i], b.heap[up]
			i = up
		}
		return
	}
	if b.k == 0 || !h.before(b.heap[0]) {
		return
	}
	b.heap[0] = h
	for i := 0; ; {
		last := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(b.heap) && b.heap[last].before(b.heap[c]) {
				last = c
			}
		}
		if last == i {
			return
		}
		b.heap[i], b.heap[last] = b.heap[last], b.heap[i]
		i = last
	}
}

// sorted empties the heap into order.
func (b *best) sorted() []hit {
	slices.SortFunc(b.heap, compareHits)
	h := b.heap
	b.heap = nil
	return h
}

const (
	exactRows    = 4096 // rows of one product
	exactQueries = 64   // queries of one product
)

// exact finds the best rows for a set of queries by comparing all: the oracle
// of every index. Rows are handed in block by block, in any order.
type exact struct {
	dim     int
	queries []float32
	best    []best
	scores  sync.Pool // *[]float32 of exactQueries × exactRows
}

func newExact(queries []float32, dim, k int) *exact {
	e := &exact{dim: dim, queries: queries, best: make([]best, len(queries)/dim)}
	for i := range e.best {
		e.best[i].k = k
	}
	e.scores.New = func() any { s := make([]float32, exactQueries*exactRows); return &s }
	return e
}

// add compares n rows, of which the first has number first. Each goroutine has
// queries of its own, so that the result does not depend on their number.
func (e *exact) add(rows []float32, n int, first int64) {
	for lo := 0; lo < n; lo += exactRows {
		k := min(exactRows, n-lo)
		block := rows[lo*e.dim : (lo+k)*e.dim]
		chunks := (len(e.best) + exactQueries - 1) / exactQueries
		parallel(chunks, func(c int) {
			q0 := c * exactQueries
			e.block(q0, min(q0+exactQueries, len(e.best)), block, k, first+int64(lo))
		})
	}
}

func (e *exact) block(q0, q1 int, rows []float32, n int, first int64) {
	buf := e.scores.Get().(*[]float32)
	defer e.scores.Put(buf)
	vec.MulABT(q1-q0, n, e.dim, e.queries[q0*e.dim:q1*e.dim], rows, *buf)
	for q := q0; q < q1; q++ {
		b := &e.best[q]
		for i, s := range (*buf)[(q-q0)*n : (q-q0+1)*n] {
			if len(b.heap) == b.k && s < b.heap[0].score {
				continue // the common case
			}
			b.offer(hit{s, first + int64(i)})
		}
	}
}

// parallel calls f(0…n-1) from as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var (
		wg   sync.WaitGroup
		next atomic.Int64
	)
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}
