package index

import (
	"context"
	"math/rand/v2"
	"sync"

	"winnow/pipeline/vec"
)

const (
	kmeansRounds = 10   // as FAISS has it: later rounds move little
	kmeansRows   = 1024 // rows, and centroids, of one product
)

// kmeans finds k centres of unit length by spherical k-means: rows go to the centre
// with the highest inner product (Dhillon & Modha, Machine Learning 42, 2001). It is
// FAISS's way, but with a goroutine a core and a BLAS thread for each, so that no
// thread waits for another in a loop; the same rows and seed give the same centres.
// count is told of each row in each round.
func kmeans(ctx context.Context, rows []float32, dim, k int, seed uint64, count func(int64)) ([]float32, error) {
	n := len(rows) / dim
	rng := rand.New(rand.NewPCG(seed, 4))
	centres := make([]float32, k*dim)
	for i, row := range rng.Perm(n)[:k] {
		copy(centres[i*dim:], rows[row*dim:(row+1)*dim])
	}
	vec.Normalize(centres, dim)
	nearest := make([]int32, n)
	for range kmeansRounds {
		err := assign(ctx, rows, centres, dim, nearest, count)
		if err != nil {
			return nil, err
		}
		sizes := average(rows, dim, nearest, centres)
		split(centres, dim, sizes, rng)
		vec.Normalize(centres, dim)
	}
	return centres, nil
}

// kmeansScores holds the best score of each row, and a product.
var kmeansScores = sync.Pool{New: func() any { s := make([]float32, kmeansRows+kmeansRows*kmeansRows); return &s }}

// assign finds each row's centre; of equally near ones the first.
func assign(ctx context.Context, rows, centres []float32, dim int, nearest []int32, count func(int64)) error {
	n, k := len(rows)/dim, len(centres)/dim
	parallel((n+kmeansRows-1)/kmeansRows, func(b int) {
		if ctx.Err() != nil {
			return
		}
		lo, hi := b*kmeansRows, min((b+1)*kmeansRows, n)
		buf := kmeansScores.Get().(*[]float32)
		defer kmeansScores.Put(buf)
		scores, best := (*buf)[kmeansRows:], (*buf)[:hi-lo]
		for c0 := 0; c0 < k; c0 += kmeansRows {
			c1 := min(c0+kmeansRows, k)
			vec.MulABT(hi-lo, c1-c0, dim, rows[lo*dim:hi*dim], centres[c0*dim:c1*dim], scores)
			for i := range hi - lo {
				if c0 == 0 {
					best[i], nearest[lo+i] = scores[i*(c1-c0)], 0
				}
				for c, s := range scores[i*(c1-c0) : (i+1)*(c1-c0)] {
					if s > best[i] {
						best[i], nearest[lo+i] = s, int32(c0+c)
					}
				}
			}
		}
		count(int64(hi - lo))
	})
	return ctx.Err()
}

// average makes centres the sums of their rows, and counts these. Who has no row keeps
// its place.
func average(rows []float32, dim int, nearest []int32, centres []float32) []int {
	sizes := make([]int, len(centres)/dim)
	for _, c := range nearest {
		sizes[c]++
	}
	for c, n := range sizes {
		if n > 0 {
			clear(centres[c*dim : (c+1)*dim])
		}
	}
	for i, c := range nearest {
		sum, row := centres[int(c)*dim:(int(c)+1)*dim], rows[i*dim:(i+1)*dim]
		for j, x := range row {
			sum[j] += x
		}
	}
	return sizes
}

// split gives centres without rows a half of one that has many: a large one is the
// likelier. The two then differ by a thousandth.
func split(centres []float32, dim int, sizes []int, rng *rand.Rand) {
	total := 0
	for _, n := range sizes {
		total += max(n-1, 0)
	}
	for c, n := range sizes {
		if n > 0 || total == 0 {
			continue
		}
		from, at := 0, rng.IntN(total)
		for ; at >= max(sizes[from]-1, 0); from++ {
			at -= max(sizes[from]-1, 0)
		}
		a, b := centres[from*dim:(from+1)*dim], centres[c*dim:(c+1)*dim]
		for j, x := range a {
			e := x / 1024 * float32(1-2*(j&1))
			a[j], b[j] = x+e, x-e
		}
		total -= max(sizes[from]-1, 0)
		sizes[c] = sizes[from] / 2
		sizes[from] -= sizes[c]
		total += max(sizes[from]-1, 0) + max(sizes[c]-1, 0)
	}
}
