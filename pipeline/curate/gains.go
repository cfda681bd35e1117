package curate

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"winnow/pipeline/seeded"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

const (
	// floorGain is the gain of the least wanted value beside other objectives:
	// small enough to count, large enough that diversity can still choose it.
	floorGain = 0.1
	// leastGain is that of gains with a scale of their own.
	leastGain = 1e-6
)

// static is the state of an objective whose gains do not change.
type static struct {
	o     *Objective
	value []float64 // by position: what reasons tell; NaN is none
}

// newStatic computes an objective's values, and what of them the gains grow
// with.
func newStatic(ctx context.Context, o *Objective, cs []Candidate, left []int) (s *static, wanted []float64, err error) {
	s = &static{o: o, value: make([]float64, len(left))}
	switch {
	case o.Random != nil:
		for k, i := range left {
			s.value[k] = seeded.Unit(o.Random.Seed, cs[i].ID)
		}
	case o.Weights != nil:
		for k, i := range left {
			s.value[k] = o.Weights.Values[i]
		}
	case o.Similarity != nil:
		if s.value, err = o.Similarity.cosines(ctx, left); err != nil {
			return nil, nil, err
		}
	case o.Typicality != nil:
		means, err := o.Typicality.means(ctx, cs, left)
		if err != nil {
			return nil, nil, err
		}
		wanted = make([]float64, len(left))
		for k, m := range means {
			s.value[k], wanted[k] = 1/max(m, leastMean), -m
		}
		return s, wanted, nil
	}
	return s, s.value, nil
}

// cosines returns by position the cosine to the nearest row of To, NaN without
// a vector.
func (m *Similarity) cosines(ctx context.Context, left []int) ([]float64, error) {
	rows, at := &list{v: m.Vectors}, make([]int, 0, len(left))
	for p, i := range left {
		if r := m.Vectors.row(i); r >= 0 {
			rows.add(r)
			at = append(at, p)
		}
	}
	set := m.To.all()
	best, which := slices.Repeat([]float64{2}, len(at)), make([]int32, len(at))
	if err := closest(ctx, rows, set, 0, set.len(), best, which); err != nil {
		return nil, err
	}
	out := slices.Repeat([]float64{math.NaN()}, len(left))
	for n, p := range at {
		out[p] = 1 - best[n]
	}
	return out, nil
}

// logGains turns what is wanted into logarithms of gains, to the objective's
// strength.
func (o *Objective) logGains(wanted []float64) []float64 {
	s, out := o.strength(), make([]float64, len(wanted))
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range wanted {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for k, v := range wanted {
		x := 1.0
		switch {
		case math.IsNaN(v):
			x = 0
		case o.Random != nil:
			x = max(v, leastGain)
		case high > low: // halves: the largest numbers have no difference
			x = floorGain + (1-floorGain)*((min(max(v, low), high)/2-low/2)/(high/2-low/2))
		}
		out[k] = power(x, s)
	}
	return out
}

// power is the logarithm of a gain to a strength. No gain is 0 but that of
// what is missing, which is 0 whatever the strength.
func power(gain, strength float64) float64 {
	if gain == 0 {
		return math.Inf(-1)
	}
	if strength == 0 {
		return 0
	}
	return strength * math.Log(gain)
}

// key is what a lone objective of such values picks by, the largest first.
func (o *Objective) key(wanted []float64) []float64 {
	out := make([]float64, len(wanted))
	for k, v := range wanted {
		switch s := o.strength(); {
		case math.IsNaN(v):
			out[k] = math.Inf(-1)
		case s > 0:
			out[k] = v
		case s < 0:
			out[k] = -v
		}
	}
	return out
}

// balance is the state of one balance objective.
type balance struct {
	o      *Objective
	target []float64 // rows, by class
	count  []int     // picks, by class
	gain   []float64 // logarithms to the strength, by class
}

func newBalance(o *Objective, left []int, size int) *balance {
	n := len(o.Balance.By.Names)
	b := &balance{o: o, target: o.Balance.targets(left, size), count: make([]int, n), gain: make([]float64, n)}
	for c := range b.gain {
		b.update(int32(c))
	}
	return b
}

func (b *balance) class(candidate int) int32 { return b.o.Balance.By.Of[candidate] }

// take counts a pick.
func (b *balance) take(candidate int) {
	if c := b.class(candidate); c >= 0 {
		b.count[c]++
		b.update(c)
	}
}

func (b *balance) update(c int32) { b.gain[c] = power(b.raw(c), b.o.strength()) }

// raw is the gain of a class, not yet to the strength.
func (b *balance) raw(c int32) float64 {
	t, n := b.target[c], float64(b.count[c])
	if n < t {
		return floorGain + (1-floorGain)*(1-n/t)
	}
	return floorGain * (t + 1) / (n + 1)
}

// targets returns the rows that each class should have of a batch of size.
func (b *Balance) targets(left []int, size int) []float64 {
	have := make([]int, len(b.By.Names))
	present, all := 0, 0
	for _, i := range left {
		if c := b.By.Of[i]; c >= 0 {
			if have[c] == 0 {
				present++
			}
			have[c]++
			all++
		}
	}
	rest, others := 1.0, 0
	if b.Target == TargetShares {
		for _, name := range sortedKeys(b.Shares) {
			rest -= b.Shares[name]
		}
		for c, name := range b.By.Names {
			if _, ok := b.Shares[name]; !ok {
				others += have[c]
			}
		}
	}
	out := make([]float64, len(have))
	for c, name := range b.By.Names {
		share, given := b.Shares[name]
		switch {
		case b.Target == TargetShares && given:
		case have[c] == 0:
			share = 0
		case b.Target == TargetShares:
			share = max(rest, 0) * float64(have[c]) / float64(others)
		case b.Target == TargetInput:
			share = float64(have[c]) / float64(all)
		default:
			share = 1 / float64(present)
		}
		out[c] = share * float64(size)
	}
	return out
}

// compareDown puts the larger number first and NaN last.
func compareDown(a, b float64) int { return cmp.Compare(b, a) }
