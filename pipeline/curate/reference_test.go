package curate

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sort"

	"winnow/pipeline/seeded"
)

// The plain way: every distance, every time, in double precision.

func refDistance(a, b []float32) float64 {
	n := math.Sqrt(dot(a, a) * dot(b, b))
	if !(n > 0) || math.IsInf(n, 0) {
		return 1
	}
	return min(max(1-dot(a, b)/n, 0), 2)
}

func refOrder(r Request) []int {
	at := make([]int, len(r.Candidates))
	for i := range at {
		at[i] = i
	}
	key := func(i int) float64 { return 0 }
	switch r.Keep {
	case KeepLargest:
		key = func(i int) float64 { return r.Candidates[i].Size }
	case KeepRandom:
		key = func(i int) float64 { return -float64(seeded.Hash(r.KeepSeed, r.Candidates[i].ID)) }
	case KeepTypical:
		m := refMeans(r, &Typicality{Vectors: r.Near[0].Vectors}, at)
		key = func(i int) float64 { return -m[i] }
	}
	sort.Slice(at, func(x, y int) bool {
		i, j := at[x], at[y]
		a, b := r.Candidates[i], r.Candidates[j]
		if a, b := key(i), key(j); refUnequal(a, b) {
			return a > b || math.IsNaN(b)
		}
		if r.Keep != KeepFirst && refUnequal(a.Score, b.Score) {
			return a.Score > b.Score || math.IsNaN(b.Score)
		}
		return a.ID < b.ID
	})
	return at
}

func refUnequal(a, b float64) bool { return a != b && !(math.IsNaN(a) && math.IsNaN(b)) }

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
	if l := r.Looks; l != nil {
		pass(func(i, j int) (float64, bool) {
			d := bits.OnesCount64(l.Hashes[i] ^ l.Hashes[j])
			return float64(d), d <= l.Bits && (l.Known == nil || l.Known[i] && l.Known[j])
		})
	}
	for _, n := range r.Near {
		pass(func(i, j int) (float64, bool) {
			a, b := n.Vectors.row(i), n.Vectors.row(j)
			if a < 0 || b < 0 {
				return 0, false
			}
			d := refDistance(n.Vectors.floats(a), n.Vectors.floats(b))
			return d, d <= n.Distance
		})
	}
	return kept, dropped
}

// refMeans is the mean distance to the nearest rows, by candidate.
func refMeans(r Request, t *Typicality, kept []int) map[int]float64 {
	ref, k := t.Reference, t.K
	if ref == nil {
		ref = t.Vectors
	}
	if k == 0 {
		k = 20
	}
	out := map[int]float64{}
	for _, i := range kept {
		out[i] = math.NaN()
		row := t.Vectors.row(i)
		if row < 0 {
			continue
		}
		var d []float64
		for j := range ref.Len() {
			if j != ref.row(i) {
				d = append(d, refDistance(t.Vectors.floats(row), ref.floats(j)))
			}
		}
		sort.Float64s(d)
		if d = d[:min(k, len(d))]; len(d) > 0 {
			sum := 0.0
			for _, x := range d {
				sum += x
			}
			out[i] = sum / float64(len(d))
		}
	}
	return out
}

// refWanted is what an objective's gain grows with, by candidate.
func refWanted(r Request, o *Objective, kept []int) map[int]float64 {
	out := map[int]float64{}
	if o.Typicality != nil {
		for i, m := range refMeans(r, o.Typicality, kept) {
			out[i] = -m
		}
		return out
	}
	for _, i := range kept {
		switch {
		case o.Random != nil:
			out[i] = seeded.Unit(o.Random.Seed, r.Candidates[i].ID)
		case o.Weights != nil:
			out[i] = o.Weights.Values[i]
		case o.Similarity != nil:
			out[i] = math.NaN()
			if row := o.Similarity.Vectors.row(i); row >= 0 {
				d := 2.0
				for j := range o.Similarity.To.Len() {
					d = min(d, refDistance(o.Similarity.Vectors.floats(row), o.Similarity.To.floats(j)))
				}
				out[i] = 1 - d
			}
		}
	}
	return out
}

func refPower(g, s float64) float64 {
	switch {
	case g == 0:
		return math.Inf(-1)
	case s == 0:
		return 0
	}
	return s * math.Log(g)
}

// refSelection is the greedy pass over the product of gains, candidate by
// candidate and pick by pick. Slices are by objective, then by candidate.
type refSelection struct {
	r       Request
	kept    []int // -1 once picked
	size    int
	picks   []int
	lone    bool
	static  [][]float64 // logarithms of gains
	targets []map[string]float64
	nearest [][]float64 // to the picks so far, of diversities
}

func refSelect(r Request, kept []int) []int {
	s := &refSelection{r: r, static: make([][]float64, len(r.Objectives)), targets: make([]map[string]float64, len(r.Objectives)), nearest: make([][]float64, len(r.Objectives))}
	for _, i := range kept {
		ok := true
		for _, o := range r.Objectives {
			ok = ok && (o.Diversity == nil || o.Diversity.Vectors.row(i) >= 0)
		}
		if ok {
			s.kept = append(s.kept, i)
		}
	}
	s.sort()
	if s.size = r.Size; s.size == 0 || s.size > len(s.kept) {
		s.size = len(s.kept)
	}
	objectives := 0
	for _, o := range r.Objectives {
		if o.Ordered == nil {
			objectives++
		}
	}
	s.lone = objectives == 1
	for n := range r.Objectives {
		switch o := &r.Objectives[n]; {
		case o.Balance != nil:
			s.targets[n] = s.target(o.Balance)
		case o.Diversity != nil:
			s.nearest[n] = s.toExisting(o.Diversity)
		case o.Ordered == nil:
			s.static[n] = s.gainsOf(o, refWanted(r, o, s.kept))
		}
	}
	for len(s.picks) < s.size && s.pick() {
	}
	return s.picks
}

func (s *refSelection) toExisting(d *Diversity) []float64 {
	out := make([]float64, len(s.r.Candidates))
	for _, i := range s.kept {
		out[i] = 2
		for e := 0; d.Existing != nil && e < d.Existing.Len(); e++ {
			out[i] = min(out[i], refDistance(d.Vectors.floats(d.Vectors.row(i)), d.Existing.floats(e)))
		}
	}
	return out
}

func (s *refSelection) sort() {
	cs := s.r.Candidates
	sort.Slice(s.kept, func(x, y int) bool {
		i, j := s.kept[x], s.kept[y]
		for _, o := range s.r.Objectives {
			if o.Ordered == nil {
				continue
			}
			if a, b := o.Ordered.Values[i], o.Ordered.Values[j]; refUnequal(a, b) {
				return math.IsNaN(b) || a > b && o.Ordered.Descending || a < b && !o.Ordered.Descending
			}
		}
		if refUnequal(cs[i].Score, cs[j].Score) {
			return cs[i].Score > cs[j].Score || math.IsNaN(cs[j].Score)
		}
		return cs[i].ID < cs[j].ID
	})
}

func (s *refSelection) target(b *Balance) map[string]float64 {
	have, all, others, rest := map[string]float64{}, 0.0, 0.0, 1.0
	for _, i := range s.kept {
		if c := b.By.Of[i]; c >= 0 {
			have[b.By.Names[c]]++
			all++
		}
	}
	for name, n := range have {
		if _, ok := b.Shares[name]; !ok {
			others += n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Shares)) {
		rest -= b.Shares[name]
	}
	out := map[string]float64{}
	for name, n := range have {
		share, given := b.Shares[name]
		switch {
		case b.Target == TargetUniform:
			share = 1 / float64(len(have))
		case b.Target == TargetInput:
			share = n / all
		case !given:
			share = max(rest, 0) * n / others
		}
		out[name] = share * float64(s.size)
	}
	return out
}

func refSign(s float64) float64 {
	if s == 0 {
		return 0
	}
	return s / math.Abs(s)
}

// gainsOf are the logarithms of a static objective's gains, by candidate.
func (s *refSelection) gainsOf(o *Objective, wanted map[int]float64) []float64 {
	out := make([]float64, len(s.r.Candidates))
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range wanted {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for i, x := range wanted {
		switch {
		case math.IsNaN(x):
			out[i] = math.Inf(-1)
		case s.lone && o.strength() == 0:
			out[i] = 0
		case s.lone:
			out[i] = x * refSign(o.strength())
		case o.Random != nil:
			out[i] = refPower(max(x, 1e-6), o.strength())
		case high > low:
			x = min(max(x, low), high)
			out[i] = refPower(0.1+(1-0.1)*((x/2-low/2)/(high/2-low/2)), o.strength())
		}
	}
	return out
}

// gains of a candidate: with and without the balances'.
func (s *refSelection) gains(i int, have [][]int) (total, base float64, ok bool) {
	balances := 0.0
	for n := range s.r.Objectives {
		o := &s.r.Objectives[n]
		switch {
		case o.Ordered != nil:
		case o.Diversity != nil:
			d := s.nearest[n][i]
			if d < o.Diversity.MinDistance {
				return 0, 0, false
			}
			if s.lone {
				base += d * refSign(o.strength())
			} else {
				base += refPower(max(d/2, 1e-6), o.strength())
			}
		case o.Balance != nil:
			b := o.Balance
			c := b.By.Of[i]
			if c < 0 {
				if o.strength() != 0 {
					base += math.Inf(-1)
				}
				break
			}
			t, have := s.targets[n][b.By.Names[c]], float64(have[n][c])
			x := 0.1 * (t + 1) / (have + 1)
			if have < t {
				x = 0.1 + (1-0.1)*(1-have/t)
			}
			balances += refPower(x, o.strength())
		default:
			base += s.static[n][i]
		}
	}
	return base + balances, base, true
}

// count is the number of picks of each class.
func (s *refSelection) count(c *Classes) []int {
	have := make([]int, len(c.Names))
	for _, p := range s.picks {
		if c.Of[p] >= 0 {
			have[c.Of[p]]++
		}
	}
	return have
}

func (s *refSelection) pick() bool {
	have, capped := make([][]int, len(s.r.Objectives)), make([][]int, len(s.r.Quotas))
	for n, o := range s.r.Objectives {
		if o.Balance != nil {
			have[n] = s.count(o.Balance.By)
		}
	}
	for n, q := range s.r.Quotas {
		capped[n] = s.count(q.Of)
	}
	best := -1
	var bestTotal, bestBase float64
next:
	for k, i := range s.kept {
		if i < 0 {
			continue
		}
		for n, q := range s.r.Quotas {
			if c := q.Of.Of[i]; c >= 0 {
				have := capped[n][c]
				if q.AtMost > 0 && have >= q.AtMost || q.Share > 0 && have >= max(1, int(q.Share*float64(s.size)+1e-6)) {
					continue next
				}
			}
		}
		total, base, ok := s.gains(i, have)
		if ok && (best < 0 || total > bestTotal || total == bestTotal && base > bestBase) {
			best, bestTotal, bestBase = k, total, base
		}
	}
	if best < 0 {
		return false
	}
	p := s.kept[best]
	s.kept[best] = -1
	s.picks = append(s.picks, p)
	for n, o := range s.r.Objectives {
		if o.Diversity == nil {
			continue
		}
		v := o.Diversity.Vectors
		row := v.floats(v.row(p))
		for _, i := range s.kept {
			if i >= 0 {
				s.nearest[n][i] = min(s.nearest[n][i], refDistance(v.floats(v.row(i)), row))
			}
		}
	}
	return true
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
		cs[i] = Candidate{ID: fmt.Sprintf("id-%05d", (i*7919)%n), Score: float64(rng.IntN(max(n/3, 1)))}
		if rng.IntN(4) > 0 {
			cs[i].Hash = fmt.Sprint(rng.IntN(n))
		}
	}
	return cs, v
}
