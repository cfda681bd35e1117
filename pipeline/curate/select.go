package curate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
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
type selection struct {
	r       Request
	left    []int     // candidates
	fixed   []float64 // gain of the objectives that do not change
	lone    *Objective
	statics []*Objective
	spaces  []*space
}

// space is the state of one diversity objective.
type space struct {
	o        *Objective
	rows     *block    // of left
	distance []float64 // of each, to the closest row picked or existing, as far as it was looked
	closest  []int     // that row's number in picked, -1 for an existing one or none
	looked   []int     // so many picks were taken into account
	picked   *block
}

func newSelection(ctx context.Context, r Request, order []int) (*selection, error) {
	s := &selection{r: r}
	for i := range r.Objectives {
		o := &r.Objectives[i]
		if o.Vectors == nil {
			s.statics = append(s.statics, o)
		} else {
			s.spaces = append(s.spaces, &space{o: o})
		}
	}
	if len(r.Objectives) == 1 {
		s.lone = &r.Objectives[0]
	}
	for _, i := range order {
		if !slices.ContainsFunc(s.spaces, func(sp *space) bool { return sp.o.Vectors.row(i) < 0 }) {
			s.left = append(s.left, i)
		}
	}
	s.fixed = slices.Repeat([]float64{1}, len(s.left))
	for _, o := range s.statics {
		for k, g := range o.gains(r.Candidates, s.left) {
			s.fixed[k] *= g
		}
	}
	for _, sp := range s.spaces {
		if err := sp.start(ctx, s.left); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// start measures the candidates' distances to what exists.
func (sp *space) start(ctx context.Context, left []int) error {
	v, n := sp.o.Vectors, len(left)
	sp.rows, sp.picked = &block{dim: v.Dim}, &block{dim: v.Dim}
	for _, i := range left {
		sp.rows.add(v.at(v.row(i)))
	}
	sp.distance = slices.Repeat([]float64{2}, n)
	sp.closest = slices.Repeat([]int{-1}, n)
	sp.looked = make([]int, n)
	if e := sp.o.Existing; e != nil {
		existing := &block{dim: v.Dim}
		for i := range e.Len() {
			existing.add(e.at(i))
		}
		if err := closest(ctx, sp.rows, existing, 0, sp.distance, sp.closest); err != nil {
			return err
		}
		for i := range sp.closest {
			sp.closest[i] = -1 // none of ours
		}
	}
	return nil
}

// gain is position k's, an upper bound while picks were not looked at.
func (s *selection) gain(k int) float64 {
	g := s.fixed[k]
	for _, sp := range s.spaces {
		if sp.distance[k] < sp.o.MinDistance {
			return -1
		}
		g *= math.Pow(sp.distance[k]/2, sp.o.strength())
	}
	return g
}

func (s *selection) size() int {
	if s.r.Size == 0 {
		return len(s.left)
	}
	return min(s.r.Size, len(s.left))
}

func (s *selection) run(ctx context.Context) ([]Pick, error) {
	if len(s.spaces) == 0 {
		return s.sorted(), ctx.Err()
	}
	return s.greedy(ctx)
}

// sorted picks when no gain ever changes: the greedy pass is a sort.
func (s *selection) sorted() []Pick {
	value := s.fixed
	if s.lone != nil { // its own values, without the rounding of gains
		value = s.lone.order(s.r.Candidates, s.left)
	}
	at := make([]int, len(s.left))
	for k := range at {
		at[k] = k
	}
	slices.SortStableFunc(at, func(i, j int) int { return compareDown(value[i], value[j]) })
	picks := make([]Pick, s.size())
	for n := range picks {
		picks[n] = s.pick(at[n], n+1)
	}
	return picks
}

// greedy picks the candidate of the largest gain, again and again. Gains only
// fall as picks are made, so a stale gain is an upper bound: only candidates
// whose bound is the largest are measured against the picks since.
func (s *selection) greedy(ctx context.Context) ([]Pick, error) {
	h := make(gainHeap, 0, len(s.left))
	for k := range s.left {
		if g := s.gain(k); g >= 0 {
			h.push(bound{g, k})
		}
	}
	var picks []Pick
	var stale []int
	for len(picks) < s.size() && len(h) > 0 {
		if s.fresh(h[0].at) {
			k := h.pop().at
			p := s.pick(k, len(picks)+1)
			if p.Closest >= 0 {
				p.Closest = picks[p.Closest].Index
			}
			picks = append(picks, p)
			for _, sp := range s.spaces {
				sp.picked.copyRow(sp.rows, k)
			}
			continue
		}
		// Measure a handful at once: BLAS likes company, and most of the next
		// bounds will be asked for anyway.
		stale = stale[:0]
		for len(h) > 0 && len(stale) < measured {
			if s.fresh(h[0].at) {
				break
			}
			stale = append(stale, h.pop().at)
		}
		for _, sp := range s.spaces {
			if err := sp.measure(ctx, stale); err != nil {
				return nil, err
			}
		}
		for _, k := range stale {
			if g := s.gain(k); g >= 0 { // else it is too near to a pick for ever
				h.push(bound{g, k})
			}
		}
	}
	return picks, ctx.Err()
}

// measured is the number of stale candidates that are measured at once.
const measured = 128

// fresh reports whether position k was measured against all picks.
func (s *selection) fresh(k int) bool {
	for _, sp := range s.spaces {
		if sp.looked[k] < sp.picked.len() {
			return false
		}
	}
	return true
}

// measure looks at the picks that the positions were not measured against.
func (sp *space) measure(ctx context.Context, at []int) error {
	from := sp.picked.len()
	rows := &block{dim: sp.rows.dim}
	best, which := make([]float64, len(at)), make([]int, len(at))
	for n, k := range at {
		from = min(from, sp.looked[k])
		rows.copyRow(sp.rows, k)
		best[n], which[n] = sp.distance[k], sp.closest[k]
	}
	if err := closest(ctx, rows, sp.picked, from, best, which); err != nil {
		return err
	}
	for n, k := range at {
		sp.distance[k], sp.closest[k], sp.looked[k] = best[n], which[n], sp.picked.len()
	}
	return nil
}

// pick describes position k as the pick of the given rank.
func (s *selection) pick(k, rank int) Pick {
	i := s.left[k]
	p := Pick{Index: i, ID: s.r.Candidates[i].ID, Rank: rank, Objective: "priority", Value: s.r.Candidates[i].Score, Closest: -1, Distance: 2}
	if len(s.spaces) > 0 {
		p.Distance = s.spaces[0].distance[k]
		p.Closest = s.spaces[0].closest[k] // which pick; greedy makes it a candidate
	}
	if len(s.r.Objectives) == 0 {
		p.Reason = fmt.Sprintf("#%d by priority %.4g", rank, p.Value)
		return p
	}
	var names, parts []string
	for _, o := range s.r.Objectives {
		names = append(names, o.Name)
	}
	p.Objective = strings.Join(names, " × ")
	p.Value = s.gain(k)
	for n := range s.r.Objectives {
		o := &s.r.Objectives[n]
		value, part := s.part(o, k)
		parts = append(parts, part)
		if s.lone != nil {
			p.Value = value
		}
	}
	switch {
	case s.lone == nil:
		p.Reason = fmt.Sprintf("#%d by %s", rank, strings.Join(parts, " × "))
	case s.lone.Seed != nil:
		p.Reason = fmt.Sprintf("#%d at random", rank)
	case s.lone.Values != nil:
		p.Reason = fmt.Sprintf("#%d by %s", rank, parts[0])
	case p.Distance >= 2 && p.Closest < 0:
		p.Reason = fmt.Sprintf("#%d: the best to start from", rank)
	default:
		p.Reason = fmt.Sprintf("#%d farthest from picked: %.2f", rank, p.Distance)
	}
	return p
}

// part is an objective's value of position k, and how a reason states it.
func (s *selection) part(o *Objective, k int) (float64, string) {
	i := s.left[k]
	switch {
	case o.Seed != nil:
		v := o.order(s.r.Candidates, []int{i})[0]
		return v, "random"
	case o.Values != nil:
		return o.Values[i], fmt.Sprintf("%s %.2f", o.Name, o.Values[i])
	}
	for _, sp := range s.spaces {
		if sp.o == o {
			return sp.distance[k], fmt.Sprintf("%s %.2f", o.Name, sp.distance[k])
		}
	}
	return 0, o.Name
}

// bound is an upper bound of a position's gain.
type bound struct {
	gain float64
	at   int
}

func (a bound) before(b bound) bool {
	return a.gain > b.gain || a.gain == b.gain && a.at < b.at
}

// gainHeap has the largest gain first.
type gainHeap []bound

func (h *gainHeap) push(x bound) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *gainHeap) pop() bound {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		first := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if s[c].before(s[first]) {
				first = c
			}
		}
		if first == i {
			return top
		}
		s[i], s[first] = s[first], s[i]
		i = first
	}
}
