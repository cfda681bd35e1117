package score

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestCaptions(t *testing.T) {
	lines, sum := captions()
	sorted := slices.Compact(slices.Sorted(slices.Values(lines)))
	if len(lines) < 300 || len(sorted) != len(lines) || len(sum) != 16 {
		t.Errorf("%d captions, %d of them different, hash %s", len(lines), len(sorted), sum)
	}
	for _, l := range lines {
		if n := len(strings.Fields(l)); n < 2 || n > 15 || l != strings.TrimSpace(l) {
			t.Errorf("%q is no plain caption", l)
		}
	}
}

// A text stands on the unit sphere, in the direction of what it says, whatever the
// two means and lengths are.
func TestStand(t *testing.T) {
	const dim = 40
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(length float64) []float64 {
		v := make([]float64, dim)
		n := 0.0
		for i := range v {
			v[i] = rng.NormFloat64()
			n += v[i] * v[i]
		}
		for i := range v {
			v[i] *= length / math.Sqrt(n)
		}
		return v
	}
	for _, c := range []struct{ mu, mean, text float64 }{{0, 0, 1}, {0.7, 0.8, 1}, {0.999, 0.1, 1}, {0.3, 0.99, 30}, {0.5, 0.5, 1e-3}, {1, 0.5, 1}} {
		mu, mean, text := random(c.mu), random(c.mean), make([]float32, dim)
		for i, x := range random(c.text) {
			text[i] = float32(x)
		}
		got, err := stand(mu, mean, text)
		if err != nil {
			t.Fatal(err)
		}
		var n, along, of, off float64 // of got; of got − μ along the direction, and beside it
		d := make([]float64, dim)
		for i := range d {
			d[i] = float64(text[i])/c.text - mean[i]
			of += d[i] * d[i]
			n += float64(got[i]) * float64(got[i])
			along += (float64(got[i]) - mu[i]) * d[i]
		}
		along /= of
		for i := range d {
			x := float64(got[i]) - mu[i] - along*d[i]
			off += x * x
		}
		if math.Abs(n-1) > 1e-6 || along < 0 || math.Sqrt(off) > 1e-6 {
			t.Errorf("%+v: length %v, along %v, beside %v", c, n, along, off)
		}
	}
	same := make([]float32, dim)
	same[3] = 2
	mean := make([]float64, dim)
	mean[3] = 1
	if _, err := stand(mean, mean, same); err == nil {
		t.Error("a text without a direction was placed")
	}
}
