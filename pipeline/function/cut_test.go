package function

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func scanOf(scores []float32, part int) Scan {
	return func(yield func([]float32) error) error {
		for lo := 0; lo < len(scores); lo += part {
			if err := yield(scores[lo:min(lo+part, len(scores))]); err != nil {
				return err
			}
		}
		return nil
	}
}

// zScores are a corpus' scores with a share of matches around height.
func zScores(rng *rand.Rand, n int, share, height float64) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(rng.NormFloat64())
		if float64(i) < share*float64(n) {
			s[i] = float32(height + 0.7*rng.NormFloat64())
		}
	}
	return s
}

func TestResolveEqualsSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
	columns := map[string][]float32{
		"z":         zScores(rng, 5000, 0.02, 5),
		"cosines":   nil,
		"ties":      nil,
		"one":       {3.5},
		"negatives": {-3, -2, -1, -0.5, float32(math.Copysign(0, -1)), 0, 1e-40, -1e-40},
	}
	for range 3000 {
		columns["cosines"] = append(columns["cosines"], rng.Float32()*2-1)
		columns["ties"] = append(columns["ties"], float32(rng.IntN(12))/3-2)
	}
	for name, scores := range columns {
		t.Run(name, func(t *testing.T) {
			sorted := slices.Clone(scores)
			slices.Sort(sorted)
			slices.Reverse(sorted)
			n := len(sorted)
			kth := map[Threshold]int{}
			for _, k := range []int{1, 2, 3, 7, 100, 2999, 5000, 1 << 40} {
				kth[Threshold{Rule: RuleTop, Value: float64(k)}] = min(k, n)
			}
			for p, share := range map[float64]float64{0: 1, 50: 0.5, 90: 0.1, 99.5: 0.005, 99.9: 0.001, 100: 0} {
				kth[Threshold{Rule: RulePercentile, Value: p}] = max(int(math.Ceil(float64(n)*share-1e-6)), 1)
			}
			withBad := slices.Concat(bad, scores, bad)
			for th, k := range kth {
				want := float64(sorted[k-1])
				matches := int64(0)
				for _, x := range scores {
					if float64(x) >= want {
						matches++
					}
				}
				c, err := th.Resolve(scanOf(withBad, 700))
				if err != nil || c.Threshold != want || c.Matches != matches || c.N != int64(n) {
					t.Errorf("%s: %+v, %v; want %v with %d of %d", th, c, err, want, matches, n)
				}
			}
			c, err := Threshold{Rule: RuleNumber, Value: 0.25}.Resolve(scanOf(withBad, 700))
			if want := slices.IndexFunc(sorted, func(x float32) bool { return x < 0.25 }); err != nil || (want >= 0 && c.Matches != int64(want)) || c.Threshold != 0.25 {
				t.Errorf("number: %+v, %v; want %d matches", c, err, want)
			}
			c, err = Auto.Resolve(scanOf(withBad, 700))
			matches := int64(0)
			for _, x := range scores {
				if float64(x) >= c.Threshold {
					matches++
				}
			}
			if err != nil || c.Matches != matches {
				t.Errorf("auto: %+v, %v; want %d matches", c, err, matches)
			}
		})
	}
}

// Auto finds clear matches whatever their share, and none in a corpus without.
func TestAutoThreshold(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct {
		n             int
		share, height float64
		f1            float64 // at least
	}{
		{785, 0.03, 7, 0.95}, {785, 0.2, 5, 0.95}, {20000, 0.004, 8, 0.95}, {20000, 0.05, 6, 0.95},
		{200000, 0.001, 9, 0.9}, {5000, 0.02, 4, 0.5}, {200, 0.05, 8, 0.95},
	} {
		scores := zScores(rng, c.n, c.share, c.height)
		var h Histogram
		h.Add(scores)
		th := AutoThreshold(&h)
		hits, matches, positives := 0.0, 0.0, math.Ceil(c.share*float64(c.n))
		for i, x := range scores {
			if float64(x) >= th {
				matches++
				if float64(i) < c.share*float64(c.n) {
					hits++
				}
			}
		}
		if f1 := 2 * hits / (matches + positives); f1 < c.f1 {
			t.Errorf("%d rows, %v %% at %v: F1 %.3f at threshold %.2f, want %v", c.n, 100*c.share, c.height, f1, th, c.f1)
		}
	}
}

func TestAutoThresholdOfOddScores(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name    string
		scores  []float32
		matches int
	}{
		{"none", nil, 0},
		{"not finite", []float32{nan, inf, -inf, nan}, 0},
		{"one", []float32{2}, 0},
		{"all the same", []float32{2, 2, 2, 2}, 0},
		{"all zero", make([]float32, 10), 0},
		{"two", []float32{1, 2}, 1},
		{"one stands out", append(make([]float32, 99), 1), 1},
		{"largest there is", []float32{math.MaxFloat32, math.MaxFloat32, -math.MaxFloat32}, 2},
		{"below zero", []float32{-9, -9.5, -9.2, -9.7, -9.6, -1}, 1},
		{"one bin above another", []float32{1e-44, 0, 0, -1e-44}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Histogram
			h.Add(c.scores)
			th := AutoThreshold(&h)
			if math.IsNaN(th) || math.IsInf(th, 0) {
				t.Fatalf("threshold %v", th)
			}
			matches := 0
			for _, x := range c.scores {
				if finite(x) && float64(x) >= th {
					matches++
				}
			}
			if matches != c.matches {
				t.Errorf("%d match at %v, want %d", matches, th, c.matches)
			}
		})
	}
}

func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	scores := zScores(rng, 4000, 0.1, 6)
	var whole, a, b Histogram
	whole.Add(scores)
	a.Add(scores[:1234])
	b.Add(scores[1234:])
	a.Merge(&b)
	a.Merge(&Histogram{})
	if fmt.Sprint(a) != fmt.Sprint(whole) {
		t.Error("the sum of two histograms is not that of their scores")
	}
	slices.Sort(scores)
	last := math.Inf(-1)
	for _, q := range []float64{-1, 0, 0.001, 0.25, 0.5, 0.9, 0.999, 1, 2} {
		got, want := whole.Quantile(q), float64(scores[int(min(max(q, 0), 1)*3999)])
		if math.Abs(got-want) > 0.01*math.Abs(want)+1e-3 || got < last {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
		last = got
	}
	var empty Histogram
	if empty.Quantile(0.5) != 0 || empty.AtLeast(0) != 0 || empty.N() != 0 {
		t.Error("an empty histogram has scores")
	}
	for _, x := range []float32{0, 1, -1, 1e-45, -1e-45, math.MaxFloat32, -math.MaxFloat32, 3.14} {
		if unkey(key(x)) != x {
			t.Errorf("unkey(key(%v)) = %v", x, unkey(key(x)))
		}
	}
}

func TestResolveErrors(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	fails := func(at int) Scan {
		calls = 0
		return func(yield func([]float32) error) error {
			if calls++; calls == at {
				return broken
			}
			return yield([]float32{1, 2, 3})
		}
	}
	top := Threshold{Rule: RuleTop, Value: 2}
	for _, at := range []int{1, 2} {
		if _, err := top.Resolve(fails(at)); !errors.Is(err, broken) {
			t.Errorf("scan %d fails: %v", at, err)
		}
	}
	moving := func(yield func([]float32) error) error {
		calls++
		return yield([]float32{float32(calls)})
	}
	if _, err := top.Resolve(moving); err == nil {
		t.Error("scores that change are not noticed")
	}
	if _, err := (Threshold{Rule: RulePrecision, Value: 0.9}).Resolve(fails(0)); err == nil || !strings.Contains(err.Error(), "labels") {
		t.Errorf("precision: %v", err)
	}
	if _, err := (Threshold{Rule: RuleTop, Value: 0}).Resolve(fails(0)); err == nil {
		t.Error("top 0 is accepted")
	}
}

func TestPrecisionCut(t *testing.T) {
	yes := []bool{true, true, false, true, true, false, false}
	scores := []float32{9, 8, 7, 6, 6, 6, 1}
	for _, c := range []struct {
		precision, threshold float64
		matches              int64
	}{{1, 8, 2}, {0.9, 8, 2}, {0.66, 6, 6}, {0.6, 6, 6}, {0.5, 1, 7}} {
		got, err := PrecisionCut(scores, yes, c.precision, 1)
		if err != nil || got.Threshold != c.threshold || got.Matches != c.matches || got.N != 7 {
			t.Errorf("precision %v: %+v, %v; want %v with %d", c.precision, got, err, c.threshold, c.matches)
		}
	}
	if _, err := PrecisionCut([]float32{3, 2}, []bool{false, true}, 0.9, 1); err == nil || !strings.Contains(err.Error(), "0.5 at 2 is the best") {
		t.Errorf("out of reach: %v", err)
	}
	if _, err := PrecisionCut(nil, nil, 0.9, 1); err == nil {
		t.Error("no labels give a threshold")
	}
	if _, err := PrecisionCut([]float32{1}, nil, 0.9, 1); err == nil {
		t.Error("a score without a label is accepted")
	}
	// Few labels show nothing: neither few positives, nor a start that few reach.
	if _, err := PrecisionCut(scores, yes, 0.5, 5); err == nil || !strings.Contains(err.Error(), "4 of 7 labeled rows are positive, and at least 5") {
		t.Errorf("few positives: %v", err)
	}
	if got, err := PrecisionCut(scores, yes, 0.6, 3); err != nil || got.Threshold != 6 {
		t.Errorf("a threshold for three: %+v, %v", got, err)
	}
	if _, err := PrecisionCut(scores, yes, 0.9, 3); err == nil || !strings.Contains(err.Error(), "0.667 at 7 is the best") {
		t.Errorf("two of two count for three: %v", err)
	}
}

func FuzzAutoThreshold(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64})
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Histogram
		var scores []float32
		for ; len(data) >= 4; data = data[4:] {
			scores = append(scores, math.Float32frombits(uint32(data[0])|uint32(data[1])<<8|uint32(data[2])<<16|uint32(data[3])<<24))
		}
		h.Add(scores)
		th := AutoThreshold(&h)
		if math.IsNaN(th) || math.IsInf(th, 0) {
			t.Fatalf("threshold %v of %v", th, scores)
		}
		n := int64(0)
		for _, x := range scores {
			if finite(x) && float64(x) >= th {
				n++
			}
		}
		if got := h.AtLeast(th); got != n && th < math.MaxFloat32 {
			t.Errorf("AtLeast(%v) = %d, want %d of %v", th, got, n, scores)
		}
		if n == h.N() && n > 0 {
			t.Errorf("everything matches at %v: %v", th, scores)
		}
	})
}
