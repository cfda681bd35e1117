package vec

import (
	"fmt"
	"math"
)

// MulABT computes c = a·bᵀ, all row-major: a is m×k, b is n×k, c is m×n. It is
// safe for concurrent use and panics when a slice is too short.
func MulABT(m, n, k int, a, b, c []float32) {
	if m < 0 || n < 0 || k < 0 || len(a) < m*k || len(b) < n*k || len(c) < m*n {
		panic(fmt.Sprintf("vec.MulABT(%d, %d, %d): slices of %d, %d and %d numbers are too short", m, n, k, len(a), len(b), len(c)))
	}
	c = c[:m*n]
	if len(c) == 0 || k == 0 {
		clear(c)
		return
	}
	mulABT(m, n, k, a, b, c)
}

// Eigh returns the eigenvalues of the symmetric n×n matrix a in ascending
// order, and its eigenvectors: row j of vectors, n numbers of length 1, belongs
// to values[j]. Only the lower triangle of a is read, and a is not changed. The
// sign of an eigenvector is arbitrary.
func Eigh(a []float64, n int) (values, vectors []float64, err error) {
	if n < 0 || len(a) != n*n {
		return nil, nil, fmt.Errorf("eigenvectors: %d numbers are no %d×%d matrix", len(a), n, n)
	}
	for i := range n {
		for j := range i + 1 {
			if x := a[i*n+j]; math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, nil, fmt.Errorf("eigenvectors: element (%d, %d) is %v", i, j, x)
			}
		}
	}
	if n == 0 {
		return nil, nil, nil
	}
	return eigh(a, n)
}

// Dot is the inner product of a and b, which are equally long, summed in
// double precision.
func Dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return s0 + s1 + s2 + s3
}

// Norm is the length of a.
func Norm(a []float32) float64 { return math.Sqrt(Dot(a, a)) }

// Normalize scales every row of dim numbers to length 1, in place. Rows of
// zeros stay.
func Normalize(rows []float32, dim int) {
	if dim < 1 || len(rows)%dim != 0 {
		panic(fmt.Sprintf("vec.Normalize: %d numbers are no rows of %d", len(rows), dim))
	}
	for ; len(rows) > 0; rows = rows[dim:] {
		r := rows[:dim]
		n := Norm(r)
		if n == 0 {
			continue
		}
		for i, x := range r {
			r[i] = float32(float64(x) / n)
		}
	}
}
