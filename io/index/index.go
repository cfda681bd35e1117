package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
)

// searcher is what the kinds of indexes have in common. search calls out with
// the at most k best rows of every query, best first; scores are inner
// products. It ends early with ctx.
type searcher interface {
	search(ctx context.Context, queries []float32, k, nprobe int, out func(q int, hits []hit)) error
	close() error
}

// Index is an open index. Its methods are safe for concurrent use.
type Index struct {
	p Params

	mu sync.RWMutex // Close waits for searches
	s  searcher     // nil once closed
}

// Open opens the index file at path, which Build wrote with p. Lists are mapped,
// so the file must stay; a small flat index is read. A file that is not what p
// says is an error that wraps ErrDamaged.
func Open(path string, p Params) (*Index, error) {
	s, err := open(path, &p)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return &Index{p: p, s: s}, nil
}

func open(path string, p *Params) (searcher, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Kind != Flat {
		return openIVF(context.Background(), path, p)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := layoutOf(f, p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return openFlat(f, p)
}

// Params describe the index.
func (ix *Index) Params() Params { return ix.p }

// Search finds the k rows with the highest inner product to each query. queries
// holds n × Dim finite numbers. The results are n × k: scores descending, ties
// by the lower row; where the index has fewer than k rows, the rest has row -1
// and score -∞. A search of an index that is flat, or of rows as they are with as
// many probes as lists, is exact. Scores of codes are approximate.
func (ix *Index) Search(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	return ix.SearchProbes(ctx, queries, k, ix.p.NProbe)
}

// SearchProbes is Search with another number of lists to read: more find more.
// A flat index ignores it.
func (ix *Index) SearchProbes(ctx context.Context, queries []float32, k, nprobe int) (scores []float32, rows []int64, err error) {
	scores, rows, err = ix.search(ctx, queries, k, nprobe)
	if err != nil {
		return nil, nil, fmt.Errorf("search index: %w", err)
	}
	return scores, rows, nil
}

func (ix *Index) search(ctx context.Context, queries []float32, k, nprobe int) ([]float32, []int64, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.s == nil {
		return nil, nil, errClosed
	}
	if len(queries)%ix.p.Dim != 0 {
		return nil, nil, fmt.Errorf("%d numbers are no queries of dimension %d", len(queries), ix.p.Dim)
	}
	n := len(queries) / ix.p.Dim
	if k < 1 || k > maxSearchResult {
		return nil, nil, fmt.Errorf("k is %d; it must be from 1 to %d", k, maxSearchResult)
	}
	if i := firstNotFinite(queries); i >= 0 {
		return nil, nil, fmt.Errorf("query %d is not finite", i/ix.p.Dim)
	}
	scores, rows := make([]float32, n*k), make([]int64, n*k)
	for i := range rows {
		scores[i], rows[i] = float32(math.Inf(-1)), -1
	}
	err := ix.s.search(ctx, queries, k, max(1, min(nprobe, ix.p.NList)), func(q int, hits []hit) {
		for i, h := range hits {
			scores[q*k+i], rows[q*k+i] = h.score, h.row
		}
	})
	return scores, rows, err
}

// Close frees the index. Further calls do nothing.
func (ix *Index) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.s == nil {
		return nil
	}
	s := ix.s
	ix.s = nil
	return s.close()
}

// firstNotFinite is the position of the first NaN or infinity, or -1.
func firstNotFinite(v []float32) int {
	const block = 1024
	for lo := 0; lo < len(v); lo += block {
		b := v[lo:min(lo+block, len(v))]
		var s float32 // x·0 is NaN unless x is finite
		for _, x := range b {
			s += x * 0
		}
		if s != 0 {
			for i, x := range b {
				if x*0 != 0 {
					return lo + i
				}
			}
		}
	}
	return -1
}
