package layout

import (
	"context"
	"math"

	"winnow/pipeline/vec"
)

const (
	lanczosSteps = 64 // directions kept at once
	restarts     = 4
	residual     = 1e-4 // of an eigenvalue, at which it is good enough to start from
	tile         = 4096 // numbers whose sum is taken by itself: the same for any number of threads
)

// walk is the operator D^−½·W·D^−½ of a connected graph, without its first
// eigenvector, whose value is 1.
type walk struct {
	g     *Graph
	scale []float64 // D^−½
	first []float64
	sums  []float64 // of the tiles
}

func newWalk(g *Graph) *walk {
	n := g.Len()
	w := &walk{g: g, scale: make([]float64, n), first: make([]float64, n), sums: make([]float64, (n+tile-1)/tile)}
	for i := range n {
		_, weights := g.edges(i)
		var d float64
		for _, x := range weights {
			d += float64(x)
		}
		w.scale[i], w.first[i] = 1/math.Sqrt(d), math.Sqrt(d)
	}
	return w
}

func (w *walk) each(ctx context.Context, fn func(lo, hi int)) error {
	return each(ctx, w.g.Len(), tile, fn)
}

// times sets y to the operator's image of x.
func (w *walk) times(ctx context.Context, x, y []float64) error {
	return w.each(ctx, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			to, weights := w.g.edges(i)
			var s float64
			for e, j := range to {
				s += float64(weights[e]) * w.scale[j] * x[j]
			}
			y[i] = s * w.scale[i]
		}
	})
}

func (w *walk) dot(ctx context.Context, x, y []float64) float64 {
	_ = w.each(ctx, func(lo, hi int) {
		var s float64
		for i := lo; i < hi; i++ {
			s += x[i] * y[i]
		}
		w.sums[lo/tile] = s
	})
	var s float64
	for _, x := range w.sums {
		s += x
	}
	return s
}

// without takes what x has of the unit vector v out of it.
func (w *walk) without(ctx context.Context, x, v []float64) float64 {
	d := w.dot(ctx, x, v)
	w.add(ctx, x, -d, v)
	return d
}

func (w *walk) add(ctx context.Context, x []float64, f float64, v []float64) {
	_ = w.each(ctx, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			x[i] += f * v[i]
		}
	})
}

// normalize scales x to length 1; false where there is nothing left of it.
func (w *walk) normalize(ctx context.Context, x []float64) bool {
	d := math.Sqrt(w.dot(ctx, x, x))
	if !(d > 1e-12) {
		return false
	}
	_ = w.each(ctx, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			x[i] /= d
		}
	})
	return true
}

// spectral is the embedding of a connected graph by the eigenvectors of the second
// and third smallest values of its normalised Laplacian (Belkin & Niyogi 2003):
// n places in [−1, 1]². They are found by Lanczos' method with full
// orthogonalisation and thick restarts, to 10⁻⁴, or as near as some 200 products
// come: SGD goes on from there. It takes 8·64 bytes a row while it works.
func spectral(ctx context.Context, g *Graph, seed uint64) ([][2]float32, error) {
	n := g.Len()
	w := newWalk(g)
	w.normalize(ctx, w.first)
	basis, err := w.lanczos(ctx, seed)
	if err != nil {
		return nil, err
	}
	pos := make([][2]float32, n)
	for axis := range min(2, len(basis)) {
		most, at := 0.0, 0
		for i, x := range basis[axis] {
			if math.Abs(x) > most*(1+1e-9) {
				most, at = math.Abs(x), i
			}
		}
		if basis[axis][at] < 0 { // an eigenvector's sign is arbitrary
			most = -most
		}
		for i, x := range basis[axis] {
			pos[i][axis] = float32(x / most)
		}
	}
	return pos, nil
}

// lanczos returns the two leading eigenvectors, or fewer of a graph of fewer rows.
func (w *walk) lanczos(ctx context.Context, seed uint64) ([][]float64, error) {
	n := w.g.Len()
	steps := min(lanczosSteps, n-1)
	keep := 0 // Ritz vectors that a restart begins with
	var basis [][]float64
	t := make([]float64, steps*steps) // the operator within the basis
	next := make([]float64, n)
	for i := range next {
		next[i] = unit(mix(seed^mix(uint64(i)))) - 0.5
	}
	w.without(ctx, next, w.first)
	for round := 0; ; round++ {
		for len(basis) < steps && w.normalize(ctx, next) {
			basis = append(basis, next)
			next = make([]float64, n)
			if err := w.times(ctx, basis[len(basis)-1], next); err != nil {
				return nil, err
			}
			w.without(ctx, next, w.first)
			k := len(basis) - 1
			for j, b := range basis {
				d := w.without(ctx, next, b)
				t[k*steps+j], t[j*steps+k] = d, d
			}
			w.without(ctx, next, w.first) // again: what rounding has left
			for _, b := range basis {
				w.without(ctx, next, b)
			}
		}
		k := len(basis)
		small := make([]float64, k*k)
		for i := range k {
			copy(small[i*k:(i+1)*k], t[i*steps:i*steps+k])
		}
		values, vectors, err := vec.Eigh(small, k)
		if err != nil {
			return nil, err
		}
		rest := math.Sqrt(w.dot(ctx, next, next))
		good := true
		for j := range min(2, k) {
			good = good && rest*math.Abs(vectors[(k-1-j)*k+k-1]) < residual
		}
		keep = min(k, 12)
		if good || round == restarts || k < steps {
			keep = min(k, 2)
		}
		ritz := w.combine(ctx, basis, vectors, k, keep)
		if keep <= 2 {
			return ritz, ctx.Err()
		}
		basis = ritz
		clear(t)
		for j := range keep {
			t[j*steps+j] = values[k-1-j]
		}
	}
}

// combine makes the Ritz vectors of the largest values, largest first.
func (w *walk) combine(ctx context.Context, basis [][]float64, vectors []float64, k, keep int) [][]float64 {
	out := make([][]float64, keep)
	for j := range out {
		out[j] = make([]float64, w.g.Len())
		for i, b := range basis {
			w.add(ctx, out[j], vectors[(k-1-j)*k+i], b)
		}
	}
	return out
}
