package curate

import (
	"fmt"
	"math"

	"winnow/pipeline/seeded"
)

// Objective is one thing that a batch should be. The gain of a candidate is
// the product of its objectives' gains, each to the power of its Strength.
//
//   - Diversity (Vectors set): the gain is the cosine distance to the closest
//     row that was picked or lies in Existing. Alone this is farthest-point
//     selection, the greedy k-center. A candidate nearer than MinDistance is
//     never picked.
//   - Weights (Values set): the gain grows with the candidate's value; the
//     smallest value has gain 0.1, the largest 1. Alone this is "top".
//   - Random (Seed set): the gain is the candidate's place in a seeded order.
type Objective struct {
	Name     string  // for reasons: "ripe_apples", "diversity"
	Strength float64 // exponent; 0 stands for 1; negative turns weights around

	Vectors     *Vectors
	MinDistance float64  // cosine distance, in [0, 2]
	Existing    *Vectors // rows that new picks should differ from; Rows is ignored

	Values []float64 // one a candidate; NaN is a missing value and comes last

	Seed *uint64
}

func (o *Objective) strength() float64 {
	if o.Strength == 0 {
		return 1
	}
	return o.Strength
}

func (o *Objective) check(candidates int) error {
	kinds := 0
	for _, set := range []bool{o.Vectors != nil, o.Values != nil, o.Seed != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("objective %q must have exactly one of vectors, values and a seed; it has %d", o.Name, kinds)
	case math.IsNaN(o.Strength) || math.IsInf(o.Strength, 0):
		return fmt.Errorf("objective %q has strength %v", o.Name, o.Strength)
	case o.Values != nil && len(o.Values) != candidates:
		return fmt.Errorf("objective %q has %d values for %d candidates", o.Name, len(o.Values), candidates)
	case o.Vectors == nil:
		return nil
	case o.strength() < 0:
		return fmt.Errorf("objective %q has strength %v; diversity takes strengths above 0", o.Name, o.Strength)
	case !(o.MinDistance >= 0 && o.MinDistance <= 2):
		return fmt.Errorf("objective %q has a minimum distance of %v, not from 0 to 2", o.Name, o.MinDistance)
	}
	if err := o.Vectors.check(candidates); err != nil {
		return fmt.Errorf("objective %q: %w", o.Name, err)
	}
	if e := o.Existing; e != nil && (e.Dim != o.Vectors.Dim || len(e.Data)%e.Dim != 0) {
		return fmt.Errorf("objective %q: existing rows have %d dimensions, the candidates' have %d", o.Name, e.Dim, o.Vectors.Dim)
	}
	return nil
}

// floorGain is the gain of the smallest value beside other objectives: small
// enough to count, large enough that diversity can still choose it.
const floorGain = 0.1

// gains returns the static gains of the candidates at, to the objective's
// strength.
func (o *Objective) gains(cs []Candidate, at []int) []float64 {
	g := make([]float64, len(at))
	if o.Seed != nil {
		for k, i := range at {
			g[k] = math.Pow(seeded.Unit(*o.Seed, cs[i].ID), o.strength())
		}
		return g
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, i := range at {
		if v := o.Values[i]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for k, i := range at {
		x := 1.0
		if high > low {
			x = floorGain + (1-floorGain)*(min(max(o.Values[i], low), high)-low)/(high-low)
		}
		if g[k] = math.Pow(x, o.strength()); math.IsNaN(o.Values[i]) {
			g[k] = 0
		}
	}
	return g
}

// order returns the values whose descending order a lone objective picks in.
func (o *Objective) order(cs []Candidate, at []int) []float64 {
	v := make([]float64, len(at))
	for k, i := range at {
		switch {
		case o.Seed != nil:
			v[k] = seeded.Unit(*o.Seed, cs[i].ID)
		case math.IsNaN(o.Values[i]):
			v[k] = math.Inf(-1)
			continue
		default:
			v[k] = o.Values[i]
		}
		if o.strength() < 0 {
			v[k] = -v[k]
		}
	}
	return v
}
