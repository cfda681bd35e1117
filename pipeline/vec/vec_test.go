package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func TestMulABT(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, impl := range []struct {
		name string
		mul  func(m, n, k int, a, b, c []float32)
	}{{"MulABT", MulABT}, {"twin", mulABTGo}} {
		for _, s := range [][3]int{{1, 1, 1}, {1, 7, 3}, {5, 1, 384}, {4, 4, 4}, {33, 50, 65}, {1, 4097, 384}, {4097, 1, 384}, {64, 1000, 127}, {257, 3, 1280}} {
			m, n, k := s[0], s[1], s[2]
			a, b, c := random(rng, m*k), random(rng, n*k), random(rng, m*n+1)
			guard := c[m*n]
			impl.mul(m, n, k, a, b, c)
			for i := range m {
				for j := range n {
					want := Dot(a[i*k:(i+1)*k], b[j*k:(j+1)*k])
					if got := float64(c[i*n+j]); math.Abs(got-want) > 1e-5*float64(k) {
						t.Fatalf("%s %v: (%d, %d) is %v, want %v", impl.name, s, i, j, got, want)
					}
				}
			}
			if c[m*n] != guard {
				t.Fatalf("%s %v wrote behind the result", impl.name, s)
			}
		}
	}
	c := []float32{1, 1}
	MulABT(1, 2, 0, nil, nil, c)
	if c[0] != 0 || c[1] != 0 {
		t.Error("an empty sum is not 0")
	}
	MulABT(0, 5, 3, nil, make([]float32, 15), nil)
}

func TestMulABTPanicsOnShortSlices(t *testing.T) {
	for _, f := range []func(){
		func() { MulABT(2, 2, 2, make([]float32, 3), make([]float32, 4), make([]float32, 4)) },
		func() { MulABT(2, 2, 2, make([]float32, 4), make([]float32, 3), make([]float32, 4)) },
		func() { MulABT(2, 2, 2, make([]float32, 4), make([]float32, 4), make([]float32, 3)) },
		func() { MulABT(-1, 2, 2, nil, make([]float32, 4), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}

// Many goroutines at once must give what one gives, bit for bit.
func TestMulABTConcurrently(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const m, n, k = 512, 20, 384
	a, b := random(rng, m*k), random(rng, n*k)
	want := make([]float32, m*n)
	MulABT(m, n, k, a, b, want)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			c := make([]float32, m*n)
			for range 4 {
				MulABT(m, n, k, a, b, c)
				for i := range c {
					if c[i] != want[i] {
						t.Errorf("goroutine %d: number %d differs", g, i)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func symmetric(rng *rand.Rand, n, rank int) []float64 {
	a := make([]float64, n*n)
	x := make([]float64, n)
	for range rank {
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		for i := range n {
			for j := range n {
				a[i*n+j] += x[i] * x[j]
			}
		}
	}
	return a
}

func TestEigh(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	cases := map[string]struct {
		a []float64
		n int
	}{
		"1": {[]float64{-3}, 1},
		"2": {[]float64{2, 1, 1, 2}, 2},
		"3": {symmetric(rng, 3, 3), 3}, "zero": {make([]float64, 16), 4},
		"diagonal":   {[]float64{3, 0, 0, 0, 1, 0, 0, 0, 2}, 3},
		"65":         {symmetric(rng, 65, 100), 65},
		"low rank":   {symmetric(rng, 40, 5), 40},
		"lower rank": {symmetric(rng, 200, 30), 200},
		"tiny":       {scale(symmetric(rng, 12, 20), 1e-150), 12},
		"identity":   {identity(20), 20},
		"indefinit":  {minus(symmetric(rng, 30, 40), symmetric(rng, 30, 40)), 30},
	}
	for _, impl := range []struct {
		name string
		f    func([]float64, int) ([]float64, []float64, error)
	}{{"Eigh", Eigh}, {"twin", eighGo}} {
		for name, c := range cases {
			values, vectors, err := impl.f(c.a, c.n)
			if err != nil {
				t.Fatalf("%s %s: %v", impl.name, name, err)
			}
			if err := checkEigh(c.a, c.n, values, vectors); err != nil {
				t.Errorf("%s %s: %v", impl.name, name, err)
			}
		}
	}
	if _, _, err := Eigh([]float64{1, 2, 3}, 2); err == nil {
		t.Error("3 numbers passed for a 2×2 matrix")
	}
	if _, _, err := Eigh([]float64{1, 0, math.NaN(), 1}, 2); err == nil {
		t.Error("a NaN passed")
	}
	if _, _, err := Eigh(nil, 0); err != nil {
		t.Error(err)
	}
}

// checkEigh tests a·v = λ·v, orthonormality and order.
func checkEigh(a []float64, n int, values, vectors []float64) error {
	size := 0.0
	for _, x := range a {
		size = max(size, math.Abs(x))
	}
	for j := range n {
		if j > 0 && values[j] < values[j-1] {
			return fmt.Errorf("the values do not ascend at %d", j)
		}
		v := vectors[j*n : (j+1)*n]
		for i := range n {
			s := 0.0
			for k := range n {
				s += a[i*n+k] * v[k]
			}
			if math.Abs(s-values[j]*v[i]) > 1e-13*size*float64(n) {
				return fmt.Errorf("vector %d: a·v differs from λ·v by %g", j, s-values[j]*v[i])
			}
		}
		for l := range n {
			s := 0.0
			for k := range n {
				s += v[k] * vectors[l*n+k]
			}
			want := 0.0
			if l == j {
				want = 1
			}
			if math.Abs(s-want) > 1e-12 {
				return fmt.Errorf("vectors %d and %d have product %g", j, l, s)
			}
		}
	}
	return nil
}

func scale(a []float64, f float64) []float64 {
	for i := range a {
		a[i] *= f
	}
	return a
}

func minus(a, b []float64) []float64 {
	for i := range a {
		a[i] -= b[i]
	}
	return a
}

func identity(n int) []float64 {
	a := make([]float64, n*n)
	for i := range n {
		a[i*n+i] = 1
	}
	return a
}

func TestDotNormNormalize(t *testing.T) {
	for n := range 10 {
		a, b, want := make([]float32, n), make([]float32, n), 0.0
		for i := range n {
			a[i], b[i] = float32(i+1), float32(2*i-3)
			want += float64((i + 1) * (2*i - 3))
		}
		if got := Dot(a, b); got != want {
			t.Errorf("Dot of %d is %v, want %v", n, got, want)
		}
	}
	if got := Norm([]float32{3, 4}); got != 5 {
		t.Errorf("Norm = %v", got)
	}
	rows := []float32{3, 4, 0, 0, 1e-30, 0}
	Normalize(rows, 2)
	for i, want := range []float32{0.6, 0.8, 0, 0, 1, 0} {
		if rows[i] != want {
			t.Errorf("Normalize: number %d is %v, want %v", i, rows[i], want)
		}
	}
}

func TestWithThreads(t *testing.T) {
	if got := numThreads(); got != 1 {
		t.Fatalf("%d threads at the start", got)
	}
	WithThreads(2, func() {
		if got := numThreads(); got > 2 {
			t.Errorf("%d threads inside", got)
		}
	})
	if got := numThreads(); got != 1 {
		t.Errorf("%d threads afterwards", got)
	}
}

func BenchmarkMulABT(b *testing.B) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, s := range [][3]int{{4096, 50, 384}, {4096, 1, 384}, {1, 4096, 384}, {64, 4096, 384}, {2048, 2048, 2048}} {
		m, n, k := s[0], s[1], s[2]
		x, y, c := random(rng, m*k), random(rng, n*k), make([]float32, m*n)
		b.Run(fmt.Sprintf("%dx%dx%d", m, n, k), func(b *testing.B) {
			for b.Loop() {
				MulABT(m, n, k, x, y, c)
			}
			b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkEigh(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, n := range []int{384, 512, 1280} {
		a := symmetric(rng, n, 64)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Eigh(a, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
