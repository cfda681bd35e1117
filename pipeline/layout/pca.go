package layout

import (
	"context"
	"fmt"
	"math"

	"winnow/pipeline/vec"
)

// Source reads rows lo to hi of a table of vectors, row-major. What it returns
// may be used until the next call.
type Source func(ctx context.Context, lo, hi int) ([]float32, error)

// InMemory is the Source of rows of dim numbers.
func InMemory(rows []float32, dim int) Source {
	return func(_ context.Context, lo, hi int) ([]float32, error) { return rows[lo*dim : hi*dim], nil }
}

// Components are the directions in which rows vary most.
type Components struct {
	Mean   []float64   // of all rows
	Axes   [][]float64 // of length 1, orthogonal, widest first; their largest numbers are positive
	Shares []float64   // of the whole variance, in [0, 1]
}

const (
	block = 1024 // rows that are read at once
	strip = 128  // rows of the covariance that a thread takes at once
)

// PCA finds the first axes of n rows of dim numbers: the eigenvectors of their
// covariance, which is summed up exactly, in one pass over the rows, in double
// precision between blocks. The number of threads makes no difference. It takes
// 16·dim² bytes.
func PCA(ctx context.Context, n, dim, axes int, read Source) (*Components, error) {
	if n < 1 || dim < 1 || axes < 1 || axes > dim {
		return nil, fmt.Errorf("principal components: %d axes of %d rows of %d numbers are out of range", axes, n, dim)
	}
	c := &Components{Mean: make([]float64, dim)}
	cov := make([]float64, dim*dim)
	turned, product := make([]float32, block*dim), make([]float32, dim*dim)
	var first []float64 // a shift near the mean, against cancellation
	for lo := 0; lo < n; lo += block {
		rows, err := readRows(ctx, read, lo, min(lo+block, n), dim)
		if err != nil {
			return nil, err
		}
		m := len(rows) / dim
		if first == nil {
			first = means(rows, dim)
		}
		for i := range m {
			for j, x := range rows[i*dim : (i+1)*dim] {
				d := x - float32(first[j])
				turned[j*m+i] = d
				c.Mean[j] += float64(d)
			}
		}
		err = each(ctx, dim, strip, func(a, b int) {
			vec.MulABT(b-a, b, m, turned[a*m:b*m], turned[:b*m], product[a*dim:])
			for i := a; i < b; i++ {
				for j := range i + 1 { // MulABT packs its rows: b numbers each
					cov[i*dim+j] += float64(product[a*dim+(i-a)*b+j])
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return c, c.solve(cov, first, n, axes)
}

func readRows(ctx context.Context, read Source, lo, hi, dim int) ([]float32, error) {
	rows, err := read(ctx, lo, hi)
	if err == nil && len(rows) != (hi-lo)*dim {
		err = fmt.Errorf("rows %d to %d came as %d numbers, not %d each", lo, hi, len(rows), dim)
	}
	return rows, err
}

func means(rows []float32, dim int) []float64 {
	mean := make([]float64, dim)
	n := float64(len(rows) / dim)
	for i, x := range rows {
		mean[i%dim] += float64(x) / n
	}
	return mean
}

// solve turns sums of products of shifted rows into axes.
func (c *Components) solve(cov, first []float64, n, axes int) error {
	dim := len(first)
	for j := range c.Mean {
		c.Mean[j] /= float64(n)
	}
	var total float64
	for i := range dim {
		for j := range i + 1 {
			cov[i*dim+j] = cov[i*dim+j]/float64(n) - c.Mean[i]*c.Mean[j]
		}
		total += cov[i*dim+i]
	}
	values, vectors, err := vec.Eigh(cov, dim)
	if err != nil {
		return fmt.Errorf("principal components: %w", err)
	}
	for j := range c.Mean {
		c.Mean[j] += first[j]
	}
	for a := range axes {
		at := dim - 1 - a
		axis := vectors[at*dim : (at+1)*dim]
		largest := 0
		for j, x := range axis {
			if math.Abs(x) > math.Abs(axis[largest])*(1+1e-9) {
				largest = j
			}
		}
		if axis[largest] < 0 {
			for j := range axis {
				axis[j] = -axis[j]
			}
		}
		c.Axes = append(c.Axes, append([]float64(nil), axis...))
		share := 0.0
		if total > 0 {
			share = max(0, values[at]/total)
		}
		c.Shares = append(c.Shares, share)
	}
	return nil
}

// Project gives the coordinates of n rows along the axes, n×axes: any rows, also
// ones that came later.
func (c *Components) Project(ctx context.Context, n int, read Source) ([]float32, error) {
	dim, axes := len(c.Mean), len(c.Axes)
	shift := make([]float64, axes)
	for a, axis := range c.Axes {
		for j, x := range axis {
			shift[a] += x * c.Mean[j]
		}
	}
	out := make([]float32, n*axes)
	for lo := 0; lo < n; lo += block {
		rows, err := readRows(ctx, read, lo, min(lo+block, n), dim)
		if err != nil {
			return nil, err
		}
		err = each(ctx, len(rows)/dim, 64, func(a, b int) {
			for i := a; i < b; i++ {
				row := rows[i*dim : (i+1)*dim]
				for k, axis := range c.Axes {
					s := -shift[k]
					for j, x := range row {
						s += float64(x) * axis[j]
					}
					out[(lo+i)*axes+k] = float32(s)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
