package curate

import (
	"context"
	"math"
	"slices"
)

// Pick is a row of the batch.
type Pick struct {
	Index     int     // of the candidate
	ID        string  // of the candidate
	Rank      int     // from 1
	Objective string  // the objectives' names, joined by " × "; "priority" without any
	Value     float64 // of a lone objective: distance, value or place; else the product of the gains
	Reason    string  // for people
	// Closest is the candidate picked earlier that lies closest in the first
	// diversity objective's space, -1 without one; Distance is that to the
	// closest row picked or existing, in [0, 2], 2 where there was none.
	Closest  int
	Distance float64
}

// selection is the greedy pass over the candidates that deduplication left.
// Positions are those in left, which is in the order of priority: of equal
// gains the smaller position wins.
//
// Candidates of the same classes in all balances are a group. What balances
// add to the gain is the same for all of a group, so that a pick changes the
// gains of groups, not of candidates, in either direction; the best of every
// group is on top of its heap.
type selection struct {
	r        Request
	size     int
	left     []int     // candidates
	fixed    []float64 // logarithms of the gains that do not change, or the lone objective's key
	lone     *Objective
	ordered  *Objective
	statics  []*static
	spaces   []*space
	balances []*balance
	quotas   []*quota
	groups   []*group
	stale    []int32 // of measure, used again and again

	tooNear, overQuota int
}

// group is the candidates of the same classes.
type group struct {
	example int // a candidate
	heap    gainHeap
}

// quota is the state of a Quota.
type quota struct {
	*Quota
	most  int
	count []int // picks, by class
}

func newSelection(ctx context.Context, r Request, order []int) (*selection, error) {
	s := &selection{r: r}
	s.kinds()
	for _, i := range order {
		if !slices.ContainsFunc(r.Objectives, func(o Objective) bool { return o.Diversity != nil && o.Diversity.Vectors.row(i) < 0 }) {
			s.left = append(s.left, i)
		}
	}
	s.sort()
	if s.size = len(s.left); r.Size > 0 {
		s.size = min(s.size, r.Size)
	}
	s.fixed = make([]float64, len(s.left))
	for i := range r.Objectives {
		if err := s.start(ctx, &r.Objectives[i]); err != nil {
			return nil, err
		}
	}
	for i := range r.Quotas {
		q := &r.Quotas[i]
		s.quotas = append(s.quotas, &quota{q, q.limit(s.size), make([]int, len(q.Of.Names))})
	}
	s.makeGroups()
	return s, nil
}

// kinds finds the objective that is alone, and the order.
func (s *selection) kinds() {
	n := 0
	for i := range s.r.Objectives {
		if o := &s.r.Objectives[i]; o.Ordered != nil {
			s.ordered = o
		} else {
			s.lone = o
			n++
		}
	}
	if n != 1 {
		s.lone = nil
	}
}

// sort brings what is left into the order of priority.
func (s *selection) sort() {
	cs := s.r.Candidates
	slices.SortFunc(s.left, func(i, j int) int {
		if s.ordered != nil {
			a, b := s.ordered.Ordered.Values[i], s.ordered.Ordered.Values[j]
			if !s.ordered.Ordered.Descending {
				a, b = -a, -b
			}
			if c := compareDown(a, b); c != 0 {
				return c
			}
		}
		if c := compareDown(cs[i].Score, cs[j].Score); c != 0 {
			return c
		}
		if cs[i].ID < cs[j].ID {
			return -1
		}
		return 1
	})
}

// start makes an objective's state.
func (s *selection) start(ctx context.Context, o *Objective) error {
	switch {
	case o.Ordered != nil:
		return nil
	case o.Balance != nil:
		s.balances = append(s.balances, newBalance(o, s.left, s.size))
		if o.strength() == 0 {
			return nil
		}
		for k, i := range s.left {
			if o.Balance.By.Of[i] < 0 {
				s.fixed[k] = math.Inf(-1)
			}
		}
		return nil
	case o.Diversity != nil:
		s.spaces = append(s.spaces, newSpace(o, s.left))
		return nil
	}
	st, wanted, err := newStatic(ctx, o, s.r.Candidates, s.left)
	if err != nil {
		return err
	}
	s.statics = append(s.statics, st)
	if o == s.lone {
		s.fixed = o.key(wanted)
		return nil
	}
	for k, g := range o.logGains(wanted) {
		s.fixed[k] += g
	}
	return nil
}

// makeGroups puts every candidate into the heap of its group.
func (s *selection) makeGroups() {
	of := make([]int32, len(s.left))
	n := int32(1)
	for _, b := range s.balances {
		type pair struct{ group, class int32 }
		number := map[pair]int32{}
		for k, i := range s.left {
			p := pair{of[k], b.class(i)}
			g, ok := number[p]
			if !ok {
				g = int32(len(number))
				number[p] = g
			}
			of[k] = g
		}
		n = int32(len(number))
	}
	s.groups = make([]*group, n)
	sizes := make([]int, n)
	for _, g := range of {
		sizes[g]++
	}
	for k, g := range of {
		if s.groups[g] == nil {
			s.groups[g] = &group{example: s.left[k], heap: make(gainHeap, 0, sizes[g])}
		}
		if gain, ok := s.gain(k); ok {
			s.groups[g].heap = append(s.groups[g].heap, bound{gain, int32(k)})
		}
	}
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool { return g == nil })
	for _, g := range s.groups {
		g.heap.order()
	}
}

// gain is position k's without the balances', an upper bound while picks were
// not looked at and gains fall. False: it can never be picked any more.
func (s *selection) gain(k int) (float64, bool) {
	g := s.fixed[k]
	for _, sp := range s.spaces {
		x, ok := sp.gain(k, sp.o == s.lone)
		if !ok {
			return 0, false
		}
		g += x
	}
	return g, true
}

// balanced is what balances add to the gains of a group.
func (s *selection) balanced(g *group) float64 {
	sum := 0.0
	for _, b := range s.balances {
		if c := b.class(g.example); c >= 0 {
			sum += b.gain[c]
		}
	}
	return sum
}

// full reports whether a class of a candidate has all that a quota grants.
func (s *selection) full(candidate int) bool {
	for _, q := range s.quotas {
		if c := q.Of.Of[candidate]; c >= 0 && q.count[c] >= q.most {
			return true
		}
	}
	return false
}

// next finds the group with the largest gain on top, nil where none is left.
func (s *selection) next() *group {
	var best *group
	var total float64
	for _, g := range s.groups {
		for len(g.heap) > 0 && s.full(s.left[g.heap[0].at]) {
			g.heap.pop()
			s.overQuota++
		}
		if len(g.heap) == 0 {
			continue
		}
		if len(s.groups) == 1 {
			return g
		}
		t := g.heap[0].gain + s.balanced(g)
		if best == nil || t > total || t == total && g.heap[0].before(best.heap[0]) {
			best, total = g, t
		}
	}
	return best
}

const (
	// Stale candidates are measured some at a time: BLAS likes company, and most
	// of the next bounds will be asked for anyway. The number grows while a pick
	// is not found.
	fewMeasured  = 32
	mostMeasured = 8192
)

// greedy picks the candidate of the largest gain, again and again. Gains only
// fall as picks are made, so a stale gain is an upper bound (Minoux, 1978): only
// candidates whose bound is the largest are measured against the picks since.
// Where gains rise, all are measured.
func (s *selection) greedy(ctx context.Context) ([]Pick, error) {
	counter := s.r.Progress.Start("select", "rows", int64(s.size))
	defer counter.Done()
	rising := slices.ContainsFunc(s.spaces, (*space).rising)
	picks := make([]Pick, 0, s.size)
	few := fewMeasured
	for len(picks) < s.size {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if rising {
			if err := s.measureAll(ctx); err != nil {
				return nil, err
			}
		}
		g := s.next()
		if g == nil {
			break
		}
		if !s.fresh(int(g.heap[0].at)) {
			if err := s.measure(ctx, g, few); err != nil {
				return nil, err
			}
			few = min(2*few, mostMeasured)
			continue
		}
		few = max(few/4, fewMeasured)
		k := int(g.heap.pop().at)
		p := s.pick(k, len(picks)+1)
		if p.Closest >= 0 {
			p.Closest = picks[p.Closest].Index
		}
		picks = append(picks, p)
		s.take(k)
		counter.Add(1)
	}
	return picks, ctx.Err()
}

// take tells the objectives and quotas of a pick.
func (s *selection) take(k int) {
	i := s.left[k]
	for _, sp := range s.spaces {
		sp.take(k)
	}
	for _, b := range s.balances {
		b.take(i)
	}
	for _, q := range s.quotas {
		if c := q.Of.Of[i]; c >= 0 {
			q.count[c]++
		}
	}
}

// fresh reports whether position k was measured against all picks.
func (s *selection) fresh(k int) bool {
	for _, sp := range s.spaces {
		if int(sp.looked[k]) < sp.picked.len() {
			return false
		}
	}
	return true
}

// measure looks at picks that the first stale candidates of a group were not
// measured against.
func (s *selection) measure(ctx context.Context, g *group, most int) error {
	stale := s.stale[:0]
	for len(g.heap) > 0 && len(stale) < most {
		k := g.heap[0].at
		if s.fresh(int(k)) {
			break
		}
		g.heap.pop()
		if s.full(s.left[k]) {
			s.overQuota++
			continue
		}
		stale = append(stale, k)
	}
	s.stale = stale
	return s.back(ctx, g, stale, g.heap.push)
}

// back measures positions and puts those back that can still be picked.
func (s *selection) back(ctx context.Context, g *group, at []int32, put func(bound)) error {
	for _, sp := range s.spaces {
		if err := sp.measure(ctx, at); err != nil {
			return err
		}
	}
	for _, k := range at {
		if gain, ok := s.gain(int(k)); ok {
			put(bound{gain, k})
		} else {
			s.tooNear++
		}
	}
	return nil
}

// measureAll measures every candidate against every pick.
func (s *selection) measureAll(ctx context.Context) error {
	for _, g := range s.groups {
		at := make([]int32, len(g.heap))
		for n, b := range g.heap {
			at[n] = b.at
		}
		for slices.ContainsFunc(at, func(k int32) bool { return !s.fresh(int(k)) }) {
			g.heap = g.heap[:0]
			if err := s.back(ctx, g, at, func(b bound) { g.heap = append(g.heap, b) }); err != nil {
				return err
			}
			at = at[:0]
			for _, b := range g.heap {
				at = append(at, b.at)
			}
		}
		g.heap.order()
	}
	return nil
}
