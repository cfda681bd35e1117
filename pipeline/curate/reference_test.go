package curate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"winnow/pipeline/seeded"
)

// The plain way: every distance, every time, in double precision.

func refDistance(a, b []float32) float64 {
	na, nb := math.Sqrt(dot(a, a)*dot(b, b)), 0.0
	if na == 0 {
		return 1
	}
	nb = 1 - dot(a, b)/na
	return min(max(nb, 0), 2)
}

// refSpace is every distance between two rows, measured once.
type refSpace struct {
	v *Vectors
	d []float64 // NaN where it was not measured yet
}

func newRefSpace(v *Vectors) *refSpace {
	if v == nil {
		return nil
	}
	return &refSpace{v, slices.Repeat([]float64{math.NaN()}, v.Len()*v.Len())}
}

func (s *refSpace) distance(i, j int) float64 {
	i, j = min(i, j), max(i, j)
	d := &s.d[i*s.v.Len()+j]
	if math.IsNaN(*d) {
		*d = refDistance(s.v.at(i), s.v.at(j))
	}
	return *d
}

func refOrder(r Request) []int {
	at := make([]int, len(r.Candidates))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int {
		a, b := r.Candidates[i], r.Candidates[j]
		if r.Keep != KeepFirst && a.Score != b.Score {
			if a.Score > b.Score {
				return -1
			}
			return 1
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return at
}

func refDedupe(r Request) (kept []int, dropped []Duplicate) {
	kept = refOrder(r)
	pass := func(same func(i, j int) (float64, bool)) {
		var stay []int
	next:
		for _, i := range kept {
			for _, j := range stay {
				if d, ok := same(i, j); ok {
					dropped = append(dropped, Duplicate{i, j, d})
					continue next
				}
			}
			stay = append(stay, i)
		}
		kept = stay
	}
	if r.Exact {
		pass(func(i, j int) (float64, bool) {
			return 0, r.Candidates[i].Hash == r.Candidates[j].Hash && r.Candidates[i].Hash != ""
		})
	}
	for _, n := range r.Near {
		pass(func(i, j int) (float64, bool) {
			a, b := n.Vectors.row(i), n.Vectors.row(j)
			if a < 0 || b < 0 {
				return 0, false
			}
			d := refDistance(n.Vectors.at(a), n.Vectors.at(b))
			return d, d <= n.Distance
		})
	}
	return kept, dropped
}

// refSelect is the greedy pass over the product of gains, candidate by
// candidate and pick by pick.
func refSelect(r Request, kept []int) (picks []int) {
	kept = slices.DeleteFunc(slices.Clone(kept), func(i int) bool {
		for _, o := range r.Objectives {
			if o.Vectors != nil && o.Vectors.row(i) < 0 {
				return true
			}
		}
		return false
	})
	low, high := make([]float64, len(r.Objectives)), make([]float64, len(r.Objectives))
	spaces := make([]*refSpace, len(r.Objectives))
	exists := make([]map[int]float64, len(r.Objectives))
	for n, o := range r.Objectives {
		low[n], high[n] = math.Inf(1), math.Inf(-1)
		spaces[n] = newRefSpace(o.Vectors)
		exists[n] = map[int]float64{}
		for _, k := range kept {
			if o.Values != nil && !math.IsNaN(o.Values[k]) {
				low[n], high[n] = min(low[n], o.Values[k]), max(high[n], o.Values[k])
			}
			if o.Existing != nil && o.Vectors.row(k) >= 0 {
				exists[n][k] = 2
				for e := range o.Existing.Len() {
					exists[n][k] = min(exists[n][k], refDistance(o.Vectors.at(o.Vectors.row(k)), o.Existing.at(e)))
				}
			}
		}
	}
	gain := func(i int) float64 {
		g := 1.0
		for n, o := range r.Objectives {
			switch {
			case o.Seed != nil:
				g *= math.Pow(seeded.Unit(*o.Seed, r.Candidates[i].ID), o.strength())
			case o.Values != nil && math.IsNaN(o.Values[i]):
				g = 0
			case o.Values != nil && high[n] > low[n]:
				g *= math.Pow(0.1+0.9*(o.Values[i]-low[n])/(high[n]-low[n]), o.strength())
			}
		}
		for n, o := range r.Objectives {
			if o.Vectors == nil {
				continue
			}
			d := 2.0
			if o.Existing != nil {
				d = exists[n][i]
			}
			for _, p := range picks {
				d = min(d, spaces[n].distance(o.Vectors.row(i), o.Vectors.row(p)))
			}
			if d < o.MinDistance {
				return -1
			}
			g *= math.Pow(d/2, o.strength())
		}
		return g
	}
	left := slices.Clone(kept)
	for len(left) > 0 && (r.Size == 0 || len(picks) < r.Size) {
		best, at := -1.0, -1
		for k, i := range left {
			if g := gain(i); g > best && g >= 0 {
				best, at = g, k
			}
		}
		if at < 0 {
			break
		}
		picks = append(picks, left[at])
		left = slices.Delete(left, at, at+1)
	}
	return picks
}

// candidates draws n rows with copies, near copies, ties and gaps among them.
func candidates(seed uint64, n, d int) ([]Candidate, *Vectors) {
	rng := rand.New(rand.NewPCG(seed, 2))
	cs := make([]Candidate, n)
	v := &Vectors{Name: "image", Dim: d}
	for i := range cs {
		row := make([]float32, d)
		for j := range row {
			row[j] = float32(rng.NormFloat64())
		}
		if i > 0 {
			switch near := v.at(rng.IntN(i)); rng.IntN(5) {
			case 0: // a copy
				copy(row, near)
			case 1: // a near copy
				for j := range row {
					row[j] = near[j] + 0.05*row[j]
				}
			case 2: // a longer copy
				for j := range row {
					row[j] = 2 * near[j]
				}
			}
		}
		v.Data = append(v.Data, row...)
		cs[i] = Candidate{ID: fmt.Sprintf("id-%05d", (i*7919)%n), Score: float64(rng.IntN(n / 3))}
		if rng.IntN(4) > 0 {
			cs[i].Hash = fmt.Sprint(rng.IntN(n))
		}
	}
	return cs, v
}
