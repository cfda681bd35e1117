package diagnose

import "math"

// Paired compares two models on the same trials.
type Paired struct {
	Both    int64 `json:"both"`   // right in both
	OnlyA   int64 `json:"only_a"` // right in the first alone
	OnlyB   int64 `json:"only_b"`
	Neither int64 `json:"neither"`
}

// Add counts a trial.
func (p *Paired) Add(a, b bool) {
	switch {
	case a && b:
		p.Both++
	case a:
		p.OnlyA++
	case b:
		p.OnlyB++
	default:
		p.Neither++
	}
}

// N is the number of trials.
func (p Paired) N() int64 { return p.Both + p.OnlyA + p.OnlyB + p.Neither }

// Difference is how much larger the second model's rate is, with its 95 %
// interval: Bonett and Price's adjusted Wald interval for paired proportions
// (2012), which holds its level in small samples. NaN without trials.
func (p Paired) Difference() (d, low, high float64) {
	n := float64(p.N())
	if n == 0 {
		return math.NaN(), -1, 1
	}
	d = float64(p.OnlyB-p.OnlyA) / n
	a, b := (float64(p.OnlyA)+1)/(n+2), (float64(p.OnlyB)+1)/(n+2)
	half := Z95 * math.Sqrt((a+b-(b-a)*(b-a))/(n+2))
	return d, max(-1, b-a-half), min(1, b-a+half)
}

// P is the two-sided p-value of McNemar's exact test: how likely so lopsided a
// split of the trials in which the models differ is, if both are equally good.
func (p Paired) P() float64 {
	n, k := p.OnlyA+p.OnlyB, min(p.OnlyA, p.OnlyB)
	if n == 0 {
		return 1
	}
	// Twice the tail of a binomial distribution with p = ½.
	lg := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	var tail float64
	for i := range k + 1 {
		tail += math.Exp(lg(n) - lg(i) - lg(n-i) - float64(n)*math.Ln2)
	}
	return min(1, 2*tail)
}
