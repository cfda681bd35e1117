package function

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The curve against counting by hand at every threshold.
func TestCurve(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, n := range []int{0, 1, 2, 17, 300} {
		scores, positive := make([]float32, n), make([]bool, n)
		for i := range scores {
			scores[i] = float32(rng.IntN(n/2+1)) / 4 // ties
			positive[i] = rng.IntN(3) == 0
		}
		if n == 17 {
			scores[3] = float32(math.NaN())
		}
		c, err := NewCurve(scores, positive)
		if err != nil {
			t.Fatal(err)
		}
		count := func(th float64) (p Point) {
			p.Threshold = th
			for i, x := range scores {
				if finite(x) && float64(x) >= th {
					p.Matches++
					if positive[i] {
						p.Hits++
					}
				}
			}
			return p
		}
		bestF1, ap, before := 0.0, 0.0, 0.0
		for _, p := range c.Points {
			if p != count(p.Threshold) {
				t.Errorf("%d rows: %+v, want %+v", n, p, count(p.Threshold))
			}
			recall, precision := float64(p.Hits)/float64(max(c.Positive, 1)), float64(p.Hits)/float64(p.Matches)
			ap += (recall - before) * precision
			before = recall
			if precision+recall > 0 {
				bestF1 = max(bestF1, 2*precision*recall/(precision+recall))
			}
		}
		for th := -1.0; th < float64(n); th += 0.125 {
			if got := c.At(th); got != count(th) {
				t.Errorf("%d rows at %v: %+v, want %+v", n, th, got, count(th))
			}
		}
		if got := c.AveragePrecision(); math.Abs(got-ap) > 1e-12 {
			t.Errorf("%d rows: average precision %v, want %v", n, got, ap)
		}
		best, ok := c.BestF1()
		if ok != (c.Positive > 0) {
			t.Errorf("%d rows: best F1 %+v, %v", n, best, ok)
		}
		if f := 2 * float64(best.Hits) / float64(best.Matches+c.Positive); ok && math.Abs(f-bestF1) > 1e-12 {
			t.Errorf("%d rows: best F1 %v, want %v", n, f, bestF1)
		}
	}
	if _, err := NewCurve([]float32{1}, nil); err == nil {
		t.Error("a score without a label is accepted")
	}
}
