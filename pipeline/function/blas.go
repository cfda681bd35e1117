package function

import "math"

func mulABT(m, n, k int, a, b, c []float32) {
	for i := 0; i < m; i++ {
		for j := 0; j < n; j++ {
			var s float32
			x, y := a[i*k:(i+1)*k], b[j*k:(j+1)*k]
			for t := range x {
				s += x[t] * y[t]
			}
			c[i*n+j] = s
		}
	}
}

// Jacobi
func eigh(in []float64, n int) ([]float64, []float64, error) {
	a := append([]float64(nil), in...)
	v := make([]float64, n*n)
	for i := 0; i < n; i++ {
		v[i*n+i] = 1
	}
	for sweep := 0; sweep < 60; sweep++ {
		off := 0.0
		for i := 0; i < n; i++ {
			for j := 0; j < i; j++ {
				off += a[i*n+j] * a[i*n+j]
			}
		}
		if off < 1e-30 {
			break
		}
		for p := 0; p < n; p++ {
			for q := p + 1; q < n; q++ {
				if a[p*n+q] == 0 {
					continue
				}
				th := (a[q*n+q] - a[p*n+p]) / (2 * a[p*n+q])
				t := 1 / (math.Abs(th) + math.Sqrt(th*th+1))
				if th < 0 {
					t = -t
				}
				c := 1 / math.Sqrt(t*t+1)
				s := t * c
				for k := 0; k < n; k++ {
					x, y := a[k*n+p], a[k*n+q]
					a[k*n+p], a[k*n+q] = c*x-s*y, s*x+c*y
				}
				for k := 0; k < n; k++ {
					x, y := a[p*n+k], a[q*n+k]
					a[p*n+k], a[q*n+k] = c*x-s*y, s*x+c*y
					x, y = v[p*n+k], v[q*n+k]
					v[p*n+k], v[q*n+k] = c*x-s*y, s*x+c*y
				}
			}
		}
	}
	w := make([]float64, n)
	for i := range w {
		w[i] = a[i*n+i]
	}
	return w, v, nil
}
