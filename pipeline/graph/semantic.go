package graph

import (
	"context"

	"winnow/pipeline/vec"
)

// Earlier tells for each row the one that is nearest to it among those that come
// before it, by cosine: of equals the first; -1 and -1 for the first row. Semantic
// deduplication (SemDeDup: Abbas, Tirumala, Simig, Ganguli and Morcos, 2023, section
// 3) lets a row of a cluster go where that cosine is above 1 − ε, whether the other
// row stays or not.
func Earlier(ctx context.Context, rows []float32, dim int) (of []int32, cosines []float32, err error) {
	n := len(rows) / dim
	of, cosines = make([]int32, n), make([]float32, n)
	norms := make([]float64, n)
	row := func(i int) []float32 { return rows[i*dim : (i+1)*dim] }
	for i := range n {
		of[i], cosines[i], norms[i] = -1, -1, dot(row(i), row(i))
	}
	room := 2 * slack(dim)
	each((n+tileQueries-1)/tileQueries, func(part int) {
		buf := tiles.Get().(*[]float32)
		defer tiles.Put(buf)
		lo := part * tileQueries
		m := min(tileQueries, n-lo)
		best := make([]float32, m)
		for i := range best {
			best[i] = -2
		}
		for at := 0; at < lo+m; at += tileRows {
			if ctx.Err() != nil {
				return
			}
			w := min(tileRows, lo+m-at)
			vec.MulABT(m, w, dim, rows[lo*dim:(lo+m)*dim], rows[at*dim:(at+w)*dim], *buf)
			for i := range m {
				for j, s := range (*buf)[i*w : i*w+max(min(w, lo+i-at), 0)] {
					if s < best[i]-room {
						continue
					}
					best[i] = max(best[i], s)
					if c := cosine(dot(row(lo+i), row(at+j)), norms[lo+i], norms[at+j]); of[lo+i] < 0 || c > cosines[lo+i] {
						of[lo+i], cosines[lo+i] = int32(at+j), c
					}
				}
			}
		}
	})
	return of, cosines, context.Cause(ctx)
}
