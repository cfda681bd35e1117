package vec

import (
	"errors"
	"math"
	"sort"
)

// mulABTGo is MulABT in Go. It takes four rows of b at a time, whose sums are
// independent, in panels of b that stay in the cache.
func mulABTGo(m, n, k int, a, b, c []float32) {
	panel := max(4, (128<<10)/(4*k)) // numbers of b of about 128 KiB
	for lo := 0; lo < n; lo += panel {
		hi := min(lo+panel, n)
		for i := range m {
			row, out := a[i*k:(i+1)*k], c[i*n:(i+1)*n]
			j := lo
			for ; j+4 <= hi; j += 4 {
				dot4(row, b[j*k:(j+4)*k], out[j:j+4])
			}
			for ; j < hi; j++ {
				out[j] = dot1(row, b[j*k:(j+1)*k])
			}
		}
	}
}

func dot4(a, b, out []float32) {
	k := len(a)
	b0, b1, b2, b3 := b[:k], b[k:2*k], b[2*k:3*k], b[3*k:4*k]
	var s0, s1, s2, s3 float32
	for i, x := range a {
		s0 += x * b0[i]
		s1 += x * b1[i]
		s2 += x * b2[i]
		s3 += x * b3[i]
	}
	out[0], out[1], out[2], out[3] = s0, s1, s2, s3
}

func dot1(a, b []float32) float32 {
	var s float32
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

// eighGo is Eigh in Go: Householder reduction to tridiagonal form, then the QL
// algorithm with implicit shifts (Golub and Van Loan, Matrix Computations,
// 8.3). v holds the vectors as columns until the end.
func eighGo(a []float64, n int) (values, vectors []float64, err error) {
	v := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			v[i*n+j], v[j*n+i] = a[i*n+j], a[i*n+j]
		}
	}
	d, e := make([]float64, n), make([]float64, n)
	tridiagonal(v, d, e, n)
	// Rows of q are the vectors' coordinates; rotations of QL touch two rows.
	q := make([]float64, n*n)
	for i := range n {
		for j := range n {
			q[j*n+i] = v[i*n+j]
		}
	}
	if err := implicitQL(q, d, e, n); err != nil {
		return nil, nil, err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return d[order[i]] < d[order[j]] })
	values, vectors = make([]float64, n), make([]float64, n*n)
	for j, o := range order {
		values[j] = d[o]
		copy(vectors[j*n:(j+1)*n], q[o*n:(o+1)*n])
	}
	return values, vectors, nil
}

// tridiagonal replaces the symmetric v by the orthogonal Q with QᵀvQ = T; d is
// T's diagonal, e[i] the element left of d[i].
func tridiagonal(v, d, e []float64, n int) {
	q := make([]float64, n*n)
	for i := range n {
		q[i*n+i] = 1
	}
	u, w := make([]float64, n), make([]float64, n)
	for k := 0; k+2 < n; k++ {
		// Reflect column k below the diagonal onto its first element.
		alpha := 0.0
		for i := k + 1; i < n; i++ {
			alpha = math.Hypot(alpha, v[i*n+k])
		}
		if alpha == 0 {
			continue
		}
		if v[(k+1)*n+k] > 0 {
			alpha = -alpha
		}
		size := 0.0
		for i := k + 1; i < n; i++ {
			u[i] = v[i*n+k]
			if i == k+1 {
				u[i] -= alpha
			}
			size = math.Hypot(size, u[i])
		}
		if size == 0 {
			continue
		}
		for i := k + 1; i < n; i++ {
			u[i] /= size
		}
		reflect(v, q, u, w, k+1, n)
	}
	for i := range n {
		d[i] = v[i*n+i]
		if i > 0 {
			e[i] = v[i*n+i-1]
		}
	}
	copy(v, q)
}

// reflect applies H = I − 2uuᵀ to the symmetric v from both sides and to q from
// the right; u is zero before lo. HvH = v − uwᵀ − wuᵀ with w = 2(vu − (uᵀvu)u).
func reflect(v, q, u, w []float64, lo, n int) {
	dot := 0.0
	for i := range n {
		w[i] = 2 * product(v[i*n+lo:(i+1)*n], u[lo:n])
		if i >= lo {
			dot += w[i] * u[i]
		}
	}
	for i := lo; i < n; i++ {
		w[i] -= dot * u[i]
	}
	for i := range n {
		if i >= lo {
			for j := range n {
				v[i*n+j] -= u[i] * w[j]
			}
		}
		s := 2 * product(q[i*n+lo:(i+1)*n], u[lo:n])
		for j := lo; j < n; j++ {
			v[i*n+j] -= w[i] * u[j]
			q[i*n+j] -= s * u[j]
		}
	}
}

func product(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

// implicitQL diagonalises the tridiagonal matrix and rotates the rows of q
// along; e[i] is the element left of d[i].
func implicitQL(q, d, e []float64, n int) error {
	copy(e, e[1:])
	e[n-1] = 0
	size := 0.0 // of the matrix: what rounding leaves of a zero is small against it
	for i := range n {
		size = max(size, math.Abs(d[i])+math.Abs(e[i]))
	}
	for l := range n {
		for round := 0; ; round++ {
			m := l
			for ; m+1 < n; m++ {
				if math.Abs(e[m]) <= 0x1p-53*size {
					break
				}
			}
			if m == l {
				break
			}
			if round == 60 {
				return errors.New("eigenvectors: the QL algorithm does not converge")
			}
			g := (d[l+1] - d[l]) / (2 * e[l])
			r := math.Hypot(g, 1)
			g = d[m] - d[l] + e[l]/(g+math.Copysign(r, g))
			chase(q, d, e, l, m, g, n)
		}
	}
	return nil
}

// chase is one QL step on rows l to m with the shift that g holds.
func chase(q, d, e []float64, l, m int, g float64, n int) {
	s, c, p := 1.0, 1.0, 0.0
	for i := m - 1; i >= l; i-- {
		f, b := s*e[i], c*e[i]
		r := math.Hypot(f, g)
		e[i+1] = r
		if r == 0 { // the matrix splits here
			d[i+1] -= p
			e[m] = 0
			return
		}
		s, c = f/r, g/r
		g = d[i+1] - p
		r = (d[i]-g)*s + 2*c*b
		p = s * r
		d[i+1] = g + p
		g = c*r - b
		hi, lo := q[(i+1)*n:(i+2)*n], q[i*n:(i+1)*n]
		for k := range n {
			f := hi[k]
			hi[k] = s*lo[k] + c*f
			lo[k] = c*lo[k] - s*f
		}
	}
	d[l] -= p
	e[l] = g
	e[m] = 0
}
