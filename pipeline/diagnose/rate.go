package diagnose

import (
	"encoding/json"
	"math"
)

// Z95 is the quantile of the normal distribution for intervals of 95 %.
const Z95 = 1.959963984540054

// Rate is K of N, with the ends of its 95 % Wilson interval. Without trials (N
// is 0) nothing is known: Value is NaN, the interval is [0, 1].
type Rate struct {
	K, N             int64
	Value, Low, High float64
}

// NewRate is the rate of k of n, 0 ≤ k ≤ n.
func NewRate(k, n int64) Rate {
	r := Rate{K: k, N: n, Value: math.NaN(), High: 1}
	if n > 0 {
		r.Value = float64(k) / float64(n)
		r.Low, r.High = Wilson(k, n, Z95)
	}
	return r
}

// MarshalJSON writes an unknown value as null.
func (r Rate) MarshalJSON() ([]byte, error) {
	out := struct {
		Value *float64 `json:"value"`
		Low   float64  `json:"low"`
		High  float64  `json:"high"`
		K     int64    `json:"k"`
		N     int64    `json:"n"`
	}{nil, r.Low, r.High, r.K, r.N}
	if r.N > 0 {
		out.Value = &r.Value
	}
	return json.Marshal(out)
}

// Wilson is the score interval of a proportion of k successes in n ≥ 1 trials
// (Wilson 1927). z is the normal quantile, Z95 for 95 %.
func Wilson(k, n int64, z float64) (low, high float64) {
	p, m := float64(k)/float64(n), float64(n)
	z2 := z * z
	center := (p + z2/(2*m)) / (1 + z2/m)
	half := z / (1 + z2/m) * math.Sqrt(p*(1-p)/m+z2/(4*m*m))
	low, high = max(0, center-half), min(1, center+half)
	if k == 0 { // exactly, whatever the rounding
		low = 0
	}
	if k == n {
		high = 1
	}
	return low, high
}

// F1 is the harmonic mean of precision and recall, 2·tp/(2·tp+fp+fn). It is no
// proportion of independent trials, but a rising function of one, J =
// tp/(tp+fp+fn): F1 = 2J/(1+J). The interval is J's Wilson interval through that
// function. K and N are J's.
func F1(tp, fp, fn int64) Rate {
	r := NewRate(tp, tp+fp+fn)
	f := func(j float64) float64 { return 2 * j / (1 + j) }
	r.Value, r.Low, r.High = f(r.Value), f(r.Low), f(r.High)
	return r
}

// Counts are the outcomes of one class, or of any group of items.
type Counts struct {
	TP int64 `json:"tp"`
	FP int64 `json:"fp"`
	FN int64 `json:"fn"`
	TN int64 `json:"tn"` // of classes only, and never of boxes
}

// Support is the number of labels.
func (c Counts) Support() int64 { return c.TP + c.FN }

// Guessed is the number of guesses.
func (c Counts) Guessed() int64 { return c.TP + c.FP }

// Precision is the share of guesses that are right.
func (c Counts) Precision() Rate { return NewRate(c.TP, c.TP+c.FP) }

// Recall is the share of labels that are found.
func (c Counts) Recall() Rate { return NewRate(c.TP, c.TP+c.FN) }

// F1 is the harmonic mean of the two.
func (c Counts) F1() Rate { return F1(c.TP, c.FP, c.FN) }

// Add adds other counts.
func (c *Counts) Add(o Counts) {
	c.TP, c.FP, c.FN, c.TN = c.TP+o.TP, c.FP+o.FP, c.FN+o.FN, c.TN+o.TN
}

// Low says that a group is worse than all items together.
type Low struct {
	Measure string  `json:"measure"` // precision, recall or f1
	Rate    Rate    `json:"rate"`    // of the group
	Overall float64 `json:"overall"` // of all items
}

// Lows finds the measures in which a group is low: it has at least least trials
// (labels for recall, guesses for precision, both together for F1), and the upper
// end of its 95 % interval is below the rate of all items together. A raw rate
// that is lower by chance does not count; of 40 groups that are like all others
// about one is still found.
func Lows(group, all Counts, least int64) []Low {
	var out []Low
	for _, m := range []struct {
		name     string
		own, all Rate
	}{
		{"recall", group.Recall(), all.Recall()},
		{"precision", group.Precision(), all.Precision()},
		{"f1", group.F1(), all.F1()},
	} {
		if m.own.N >= max(least, 1) && m.own.High < m.all.Value {
			out = append(out, Low{m.name, m.own, m.all.Value})
		}
	}
	return out
}
