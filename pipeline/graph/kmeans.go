package graph

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"winnow/pipeline/seeded"
	"winnow/pipeline/vec"
)

// Clusters are the centres of k-means on the unit sphere.
type Clusters struct {
	Dim     int
	Centers []float32 // of length 1, k × Dim
}

const (
	iterations = 20
	// perCluster is how many sampled rows a centre is trained on: more do not make
	// better clusters (io/index measures the same).
	perCluster = 100
)

// SampleSize is how many rows Train wants to see for k clusters.
func SampleSize(k int) int { return perCluster * k }

// Train finds k centres of the sampled rows by spherical k-means (Dhillon and Modha,
// 2001): the first ones are the rows that come first in the order of seed, by their
// place; a centre that loses all its rows takes the row furthest from its own. It is
// the same with any number of processors.
func Train(ctx context.Context, rows []float32, dim, k int, seed uint64) (*Clusters, error) {
	n := len(rows) / dim
	if k < 1 || k > n {
		return nil, fmt.Errorf("%d clusters of %d rows", k, n)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(seeded.Hash(seed, fmt.Sprint(a)), seeded.Hash(seed, fmt.Sprint(b))), a-b)
	})
	c := &Clusters{Dim: dim, Centers: make([]float32, k*dim)}
	for i := range k {
		copy(c.Centers[i*dim:], rows[order[i]*dim:(order[i]+1)*dim])
	}
	before := []int32(nil)
	for range iterations {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		of, cosines := c.Assign(rows)
		if slices.Equal(of, before) {
			break
		}
		c.move(rows, of, cosines)
		before = of
	}
	return c, nil
}

// move puts every centre at the mean of its rows.
func (c *Clusters) move(rows []float32, of []int32, cosines []float32) {
	k := len(c.Centers) / c.Dim
	sums, counts := make([]float64, len(c.Centers)), make([]int, k)
	for i, o := range of {
		counts[o]++
		s := sums[int(o)*c.Dim : (int(o)+1)*c.Dim]
		for j, x := range rows[i*c.Dim : (i+1)*c.Dim] {
			s[j] += float64(x)
		}
	}
	var far []int // rows, the furthest from their centres first
	for o := range k {
		center := c.Centers[o*c.Dim : (o+1)*c.Dim]
		if counts[o] == 0 {
			if far == nil {
				for i := range of {
					far = append(far, i)
				}
				slices.SortFunc(far, func(a, b int) int { return cmp.Or(cmp.Compare(cosines[a], cosines[b]), a-b) })
			}
			copy(center, rows[far[0]*c.Dim:(far[0]+1)*c.Dim])
			far = far[1:]
			continue
		}
		norm := 0.0
		for _, x := range sums[o*c.Dim : (o+1)*c.Dim] {
			norm += x * x
		}
		if norm = math.Sqrt(norm); norm == 0 {
			continue // rows that cancel each other out: it stays where it is
		}
		for j := range center {
			center[j] = float32(sums[o*c.Dim+j] / norm)
		}
	}
}

// Assign gives each row its nearest centre, the first of equals, and their cosine in
// single precision.
func (c *Clusters) Assign(rows []float32) (of []int32, cosines []float32) {
	n, k := len(rows)/c.Dim, len(c.Centers)/c.Dim
	of, cosines = make([]int32, n), make([]float32, n)
	const step = 256
	each((n+step-1)/step, func(part int) {
		lo := part * step
		m := min(step, n-lo)
		buf := tiles.Get().(*[]float32)
		defer tiles.Put(buf)
		for i := range m {
			cosines[lo+i] = float32(math.Inf(-1))
		}
		for at := 0; at < k; at += tileRows {
			w := min(tileRows, k-at)
			vec.MulABT(m, w, c.Dim, rows[lo*c.Dim:(lo+m)*c.Dim], c.Centers[at*c.Dim:(at+w)*c.Dim], *buf)
			for i := range m {
				for j, s := range (*buf)[i*w : (i+1)*w] {
					if s > cosines[lo+i] {
						of[lo+i], cosines[lo+i] = int32(at+j), s
					}
				}
			}
		}
	})
	return of, cosines
}
