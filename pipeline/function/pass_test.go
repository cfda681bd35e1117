package function

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"winnow/pipeline/vec"
)

// passScorers are functions of every kind over random rows.
func passScorers(n, d int) []*Scorer {
	rng := rand.New(rand.NewPCG(9, uint64(d)))
	var out []*Scorer
	for i := range n {
		s := &Scorer{Name: fmt.Sprint("f", i), Combine: Combines[i%len(Combines)], Dim: d}
		rows := 1
		if s.Combine == Max {
			rows = 1 + i%11
			s.Positives = 1 + rng.IntN(rows)
		} else if s.Combine != Sum && s.Combine != Mean {
			s.Offset = rng.NormFloat64()
		}
		for range rows {
			s.Rows = append(s.Rows, unit32(gauss(rng, d))...)
		}
		out = append(out, s)
	}
	return out
}

// oneScore is the plain way to score a row.
func oneScore(s *Scorer, row []float32) float64 {
	product := func(r int) float64 { return refDot(refUnitOrZero(row), s.Rows[r*s.Dim:(r+1)*s.Dim]) }
	switch s.Combine {
	case Max:
		pos, neg := math.Inf(-1), math.Inf(-1)
		for r := range len(s.Rows) / s.Dim {
			if r < s.Positives {
				pos = max(pos, product(r))
			} else {
				neg = max(neg, product(r))
			}
		}
		if neg > pos {
			return -neg * neg
		}
		return pos
	case Classifier:
		return 1 / (1 + math.Exp(-product(0)-s.Offset))
	}
	return product(0) + s.Offset
}

func refUnitOrZero(v []float32) []float64 {
	if norm2(v) == 0 {
		return make([]float64, len(v))
	}
	return refUnit(v)
}

func TestPassEqualsReference(t *testing.T) {
	for _, c := range []struct {
		scorers, d, n int
		anyLength     bool
	}{
		{1, 5, 1, false}, {5, 17, 3, false}, {60, 33, 100, false}, {7, 8, BlockRows, false},
		{6, 9, 2*BlockRows + 5, false}, {10, 16, BlockRows + 1, true},
	} {
		t.Run(fmt.Sprintf("%d of %d over %d", c.scorers, c.d, c.n), func(t *testing.T) {
			scorers := passScorers(c.scorers, c.d)
			p, err := NewPass(c.d, scorers)
			if err != nil {
				t.Fatal(err)
			}
			p.AnyLength = c.anyLength
			rows := corpus(30, c.n, c.d, 3)
			if c.anyLength {
				for i := range rows {
					for j := range rows[i].v {
						rows[i].v[j] *= float32(i % 4) // zeros too
					}
				}
			}
			out := make([][]float32, len(scorers))
			for f := range out {
				out[f] = make([]float32, c.n)
			}
			vectors := flat(rows)
			p.Score(vectors, c.n, out)
			for f, s := range scorers {
				for i, r := range rows {
					if w := oneScore(s, r.v); math.Abs(float64(out[f][i])-w) > 1e-5 {
						t.Fatalf("%s (%s) of row %d = %v, want %v", s.Name, s.Combine, i, out[f][i], w)
					}
				}
			}
		})
	}
}

func TestPassConcurrently(t *testing.T) {
	const n, d = 300, 12
	scorers := passScorers(9, d)
	p, err := NewPass(d, scorers)
	if err != nil {
		t.Fatal(err)
	}
	vectors := flat(corpus(31, n, d, 4))
	score := func() [][]float32 {
		out := make([][]float32, len(scorers))
		for f := range out {
			out[f] = make([]float32, n)
		}
		p.Score(vectors, n, out)
		return out
	}
	want := fmt.Sprint(score())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if fmt.Sprint(score()) != want {
					t.Error("concurrent passes differ")
				}
			}
		})
	}
	wg.Wait()
}

func TestPassDoesNotAllocate(t *testing.T) {
	const n, d = 5000, 8
	scorers := passScorers(10, d)
	p, err := NewPass(d, scorers)
	if err != nil {
		t.Fatal(err)
	}
	vectors := flat(corpus(32, n, d, 4))
	out := make([][]float32, len(scorers))
	for f := range out {
		out[f] = make([]float32, n)
	}
	if a := testing.AllocsPerRun(20, func() { p.Score(vectors, n, out) }); a > 0 {
		t.Errorf("%v allocations a pass", a)
	}
}

func TestNewPassRefuses(t *testing.T) {
	for _, s := range []*Scorer{
		{Name: "a", Combine: LDA, Dim: 3, Rows: make([]float32, 3)},
		{Name: "b", Combine: LDA, Dim: 4},
		{Name: "c", Combine: LDA, Dim: 4, Rows: make([]float32, 8)},
		{Name: "d", Combine: Max, Dim: 4, Rows: make([]float32, 8)},
		{Name: "e", Combine: Max, Dim: 4, Rows: make([]float32, 8), Positives: 3},
	} {
		if _, err := NewPass(4, []*Scorer{s}); err == nil {
			t.Errorf("%s is accepted", s.Name)
		}
	}
	p, err := NewPass(4, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Score(make([]float32, 8), 2, nil) // nothing to do, nothing to break
}

// BenchmarkPass reports the share of the machine's sgemm peak, measured in the
// same run as a square product of 1024.
func BenchmarkPass(b *testing.B) {
	peak := sgemmPeak()
	for _, c := range []struct {
		name       string
		combine    Combine
		d, f, rows int
	}{
		{"lda/50x384", LDA, 384, 50, 1}, {"max/50x4x384", Max, 384, 50, 4}, {"lda/50x1280", LDA, 1280, 50, 1},
		{"lda/8x1280", LDA, 1280, 8, 1}, {"classifier/50x384", Classifier, 384, 50, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			var scorers []*Scorer
			for i := range c.f {
				s := &Scorer{Name: fmt.Sprint(i), Combine: c.combine, Dim: c.d, Positives: c.rows}
				for range c.rows {
					s.Rows = append(s.Rows, unit32(gauss(rng, c.d))...)
				}
				scorers = append(scorers, s)
			}
			p, err := NewPass(c.d, scorers)
			if err != nil {
				b.Fatal(err)
			}
			const n = 4 * BlockRows
			vectors := make([]float32, n*c.d)
			for i := range vectors {
				vectors[i] = rng.Float32() - 0.5
			}
			out := make([][]float32, c.f)
			for f := range out {
				out[f] = make([]float32, n)
			}
			b.ResetTimer()
			for b.Loop() {
				p.Score(vectors, n, out)
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(n/seconds/1e6, "Mrows/s")
			b.ReportMetric(2*n*float64(c.d*c.f*c.rows)/seconds/peak, "of_peak")
		})
	}
}

// sgemmPeak is the operations a second of one thread's best square product.
func sgemmPeak() float64 {
	const n = 1024
	a, c := make([]float32, n*n), make([]float32, n*n)
	for i := range a {
		a[i] = float32(i%7) - 3
	}
	best := 0.0
	for range 20 {
		start := time.Now()
		vec.MulABT(n, n, n, a, a, c)
		best = max(best, 2*n*n*n/time.Since(start).Seconds())
	}
	return best
}
