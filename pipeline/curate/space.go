package curate

import (
	"cmp"
	"context"
	"slices"
)

// space is the state of one diversity objective.
type space struct {
	o        *Objective
	rows     *list     // of the candidates, by position
	distance []float64 // of each, to the closest row picked or existing, as far as it was looked
	closest  []int32   // that row's number in picked, -1 for none
	looked   []int32   // so many rows of picked were taken into account
	picked   *list     // what exists, then the picks
	existing int       // rows of picked that exist

	// for measureRun, used again and again
	some  list
	best  []float64
	which []int32
}

func newSpace(o *Objective, left []int) *space {
	v, n := o.Diversity.Vectors, len(left)
	sp := &space{o: o, rows: &list{v: v}, picked: &list{v: v, keep: true}}
	sp.rows.at, sp.rows.norms = make([]int32, 0, n), make([]float64, 0, n)
	for _, i := range left {
		sp.rows.add(v.row(i))
	}
	sp.distance = slices.Repeat([]float64{2}, n)
	sp.closest = slices.Repeat([]int32{-1}, n)
	sp.looked = make([]int32, n)
	if e := o.Diversity.Existing; e != nil {
		sp.picked.v = e
		for i := range e.Len() {
			sp.picked.add(i)
		}
		sp.picked.change(v)
		sp.existing = e.Len()
	}
	return sp
}

// gain is the logarithm of position k's gain to the strength; false where the
// candidate is too near to a pick for ever.
func (sp *space) gain(k int, lone bool) (float64, bool) {
	d, s := sp.distance[k], sp.o.strength()
	switch {
	case d < sp.o.Diversity.MinDistance:
		return 0, false
	case s == 0:
		return 0, true
	case lone && s > 0:
		return d, true
	case lone:
		return -d, true
	}
	return power(max(d/2, leastGain), s), true
}

const (
	// chunk is the number of picks that a row is measured against at most before
	// its bound is looked at again.
	chunk = 1024
	// together is how many picks apart rows may have been looked at last to be
	// measured together: all of them against all that one lacks.
	together = 256
)

// measure looks at picks that the positions were not measured against: at all,
// or at the next thousand.
func (sp *space) measure(ctx context.Context, at []int32) error {
	slices.SortFunc(at, func(a, b int32) int {
		if c := cmp.Compare(sp.looked[a], sp.looked[b]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	for len(at) > 0 {
		from := int(sp.looked[at[0]])
		if from == sp.picked.len() {
			return nil // and so are all that follow
		}
		lag := sp.picked.len() - from
		apart := int32(from + min(max(lag/4, 16), together))
		n := 1
		for n < len(at) && sp.looked[at[n]] <= apart {
			n++
		}
		if err := sp.measureRun(ctx, at[:n], from, min(from+chunk, sp.picked.len())); err != nil {
			return err
		}
		at = at[n:]
	}
	return nil
}

// measureRun measures positions against picked[from:to].
func (sp *space) measureRun(ctx context.Context, at []int32, from, to int) error {
	rows := &sp.some
	rows.v, rows.at, rows.norms = sp.rows.v, rows.at[:0], rows.norms[:0]
	sp.best, sp.which = grow(sp.best, len(at)), grow(sp.which, len(at))
	for n, k := range at {
		rows.copyRow(sp.rows, int(k))
		sp.best[n], sp.which[n] = sp.distance[k], sp.closest[k]
	}
	if err := closest(ctx, rows, sp.picked, from, to, sp.best, sp.which); err != nil {
		return err
	}
	for n, k := range at {
		sp.distance[k], sp.closest[k], sp.looked[k] = sp.best[n], sp.which[n], max(sp.looked[k], int32(to))
	}
	return nil
}

// take adds a pick.
func (sp *space) take(k int) { sp.picked.copyRow(sp.rows, k) }

// nearest is the number of the pick that is closest to position k; -1 where an
// existing row is, or nothing.
func (sp *space) nearest(k int) int {
	return max(int(sp.closest[k])-sp.existing, -1)
}

// rising reports whether gains grow as rows are picked.
func (sp *space) rising() bool { return sp.o.strength() < 0 }
