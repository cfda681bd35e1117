package curate

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline/vec"
)

// Vectors are rows of one embedding, of any length but zero.
type Vectors struct {
	Name string    // of the embedding
	Dim  int       // numbers a row
	Data []float32 // rows × Dim
	// Rows gives the row of every candidate, -1 for one without a vector. Nil
	// means that candidate i has row i.
	Rows []int
}

// Len is the number of rows.
func (v *Vectors) Len() int { return len(v.Data) / v.Dim }

func (v *Vectors) check(candidates int) error {
	switch {
	case v == nil:
		return fmt.Errorf("no vectors are given")
	case v.Dim <= 0 || len(v.Data)%v.Dim != 0:
		return fmt.Errorf("embedding %s: %d numbers are no rows of %d", v.Name, len(v.Data), v.Dim)
	case v.Rows == nil && v.Len() != candidates, v.Rows != nil && len(v.Rows) != candidates:
		return fmt.Errorf("embedding %s: rows for %d candidates, want %d", v.Name, max(len(v.Rows), v.Len()), candidates)
	}
	for i, r := range v.Rows {
		if r < -1 || r >= v.Len() {
			return fmt.Errorf("embedding %s: candidate %d has row %d of %d", v.Name, i, r, v.Len())
		}
	}
	return nil
}

// row is the row number of a candidate, -1 without one.
func (v *Vectors) row(candidate int) int {
	if v.Rows == nil {
		return candidate
	}
	return v.Rows[candidate]
}

func (v *Vectors) at(row int) []float32 { return v.Data[row*v.Dim : (row+1)*v.Dim] }

// block is a growing set of rows, copied so that BLAS can read them in one go.
type block struct {
	dim     int
	data    []float32
	norms   []float64 // squared lengths
	inverse []float64 // 1/length, 0 for a zero row
}

func (b *block) len() int { return len(b.norms) }

func (b *block) add(row []float32) {
	b.data = append(b.data, row...)
	n2 := dot(row, row)
	b.norms = append(b.norms, n2)
	inv := 0.0
	if n2 > 0 {
		inv = 1 / math.Sqrt(n2)
	}
	b.inverse = append(b.inverse, inv)
}

// copyRow adds row i of another block.
func (b *block) copyRow(from *block, i int) {
	b.data = append(b.data, from.row(i)...)
	b.norms = append(b.norms, from.norms[i])
	b.inverse = append(b.inverse, from.inverse[i])
}

func (b *block) row(i int) []float32 { return b.data[i*b.dim : (i+1)*b.dim] }

// distance is the cosine distance of two rows of blocks, in [0, 2]; exactly 0
// for equal rows. A zero row is at distance 1 of everything.
func distance(a *block, i int, b *block, j int) float64 {
	n := math.Sqrt(a.norms[i] * b.norms[j])
	if !(n > 0) {
		return 1
	}
	return min(max(1-dot(a.row(i), b.row(j))/n, 0), 2)
}

// dot is the product in double precision. The conversions keep the compiler
// from fusing a product with a sum, so every CPU gives the same bits.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(float64(a[i]) * float64(b[i]))
		s1 += float64(float64(a[i+1]) * float64(b[i+1]))
		s2 += float64(float64(a[i+2]) * float64(b[i+2]))
		s3 += float64(float64(a[i+3]) * float64(b[i+3]))
	}
	for ; i < len(a); i++ {
		s0 += float64(float64(a[i]) * float64(b[i]))
	}
	return (s0 + s1) + (s2 + s3)
}

// slack bounds by how much a cosine of single precision may be off.
func slack(dim int) float64 { return 2e-5 + 1.2e-7*float64(dim) }

const (
	tileRows = 256  // rows of one side of a product
	tileSet  = 1024 // and of the other
)

// cosines calls fn with the single-precision cosines of tiles of rows with
// set[from:], each tile once, from several goroutines. A tile of rows is
// handled by one goroutine, its tiles of set in order.
func cosines(ctx context.Context, rows, set *block, from int, fn func(lo, n, setLo, setN int, c []float32)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers())
	for lo := 0; lo < rows.len(); lo += tileRows {
		g.Go(func() error {
			n := min(tileRows, rows.len()-lo)
			c := make([]float32, n*min(tileSet, set.len()-from))
			for setLo := from; setLo < set.len(); setLo += tileSet {
				if err := ctx.Err(); err != nil {
					return err
				}
				setN := min(tileSet, set.len()-setLo)
				tile := c[:n*setN]
				vec.MulABT(n, setN, rows.dim, rows.data[lo*rows.dim:(lo+n)*rows.dim], set.data[setLo*rows.dim:(setLo+setN)*rows.dim], tile)
				for i := range n {
					inv := rows.inverse[lo+i]
					for j := range setN {
						tile[i*setN+j] = float32(float64(tile[i*setN+j]) * inv * set.inverse[setLo+j])
					}
				}
				fn(lo, n, setLo, setN, tile)
			}
			return nil
		})
	}
	return g.Wait()
}

// closest lowers best[i] to the distance of row i to the closest row of
// set[from:], and sets which[i] to that row, where it is closer than best[i].
// Of rows at the same distance the first counts.
func closest(ctx context.Context, rows, set *block, from int, best []float64, which []int) error {
	if from >= set.len() {
		return ctx.Err()
	}
	room := slack(rows.dim)
	type near struct {
		j int
		c float32
	}
	lists := make([][]near, rows.len()) // rows of set that may be the closest
	tops := make([]float64, rows.len())
	for i := range tops {
		tops[i] = 1 - best[i] - room
	}
	err := cosines(ctx, rows, set, from, func(lo, n, setLo, setN int, c []float32) {
		for i := range n {
			for j, x := range c[i*setN : (i+1)*setN] {
				if x := float64(x); x+room >= tops[lo+i] {
					tops[lo+i] = max(tops[lo+i], x-room)
					lists[lo+i] = append(lists[lo+i], near{setLo + j, float32(x)})
				}
			}
			if setLo+setN < set.len() {
				continue
			}
			for _, m := range lists[lo+i] { // the row's last tile: decide
				if float64(m.c)+room < tops[lo+i] {
					continue
				}
				if d := distance(rows, lo+i, set, m.j); d < best[lo+i] {
					best[lo+i], which[lo+i] = d, m.j
				}
			}
			lists[lo+i] = nil
		}
	})
	return err
}

// Nearest finds the row of set closest to each row of rows: its number and
// cosine distance, in [0, 2]. Of rows at the same distance the first counts.
// An empty set gives -1 and 2.
func Nearest(ctx context.Context, rows, set *Vectors) (which []int, distances []float64, err error) {
	if rows.Dim != set.Dim {
		return nil, nil, fmt.Errorf("rows of %d and %d dimensions cannot be compared", rows.Dim, set.Dim)
	}
	n := rows.Len()
	which, distances = make([]int, n), make([]float64, n)
	a, b := &block{dim: rows.Dim}, &block{dim: set.Dim}
	for i := range n {
		which[i], distances[i] = -1, math.Nextafter(2, 3)
		a.add(rows.at(i))
	}
	for i := range set.Len() {
		b.add(set.at(i))
	}
	err = closest(ctx, a, b, 0, distances, which)
	for i := range distances {
		distances[i] = min(distances[i], 2)
	}
	return which, distances, err
}
