package diagnose

import (
	"fmt"
	"slices"

	"winnow/pipeline/diagnose"
)

// Comparison says what changed from model A to model B, label by label, over the
// items that both predicted.
type Comparison struct {
	A       string   `json:"a"`
	B       string   `json:"b"`
	Items   int64    `json:"items"`
	Overall Change   `json:"overall"`
	Classes []Change `json:"classes"`
	Worse   []string `json:"worse,omitempty"`  // assets that only A got right, the first
	Better  []string `json:"better,omitempty"` // that only B got right
}

// Change compares the labels of one class, or all.
type Change struct {
	Name string `json:"name,omitempty"`
	diagnose.Paired
	RecallA    diagnose.Rate `json:"recall_a"`
	RecallB    diagnose.Rate `json:"recall_b"`
	Difference *float64      `json:"difference"` // of recall, B − A
	Low        float64       `json:"low"`        // of its 95 % interval
	High       float64       `json:"high"`
	P          float64       `json:"p"`           // of McNemar's exact test
	PrecisionA diagnose.Rate `json:"precision_a"` // these are not paired: each has its own predictions
	PrecisionB diagnose.Rate `json:"precision_b"`
	Verdict    string        `json:"verdict"` // better, worse, or no difference to be sure of
}

func (c *Change) settle(a, b diagnose.Counts) {
	c.RecallA, c.RecallB = diagnose.NewRate(c.Both+c.OnlyA, c.N()), diagnose.NewRate(c.Both+c.OnlyB, c.N())
	c.PrecisionA, c.PrecisionB = a.Precision(), b.Precision()
	d, low, high := c.Paired.Difference()
	c.Difference, c.Low, c.High, c.P = known(d), low, high, c.Paired.P()
	switch {
	case c.Low > 0 && c.P < 0.05:
		c.Verdict = "better"
	case c.High < 0 && c.P < 0.05:
		c.Verdict = "worse"
	default:
		c.Verdict = "no sure difference"
	}
}

// found tells which labels of an item were found.
func found(it *diagnose.Item, pairs []diagnose.Pair) []bool {
	out := make([]bool, len(it.Truth))
	for _, p := range pairs {
		if p.Right(it) {
			out[p.Truth] = true
		}
	}
	return out
}

// compare pairs two models item by item.
func (d *diagnosis) compare(a, b *subject) {
	key := func(it *diagnose.Item) string { return d.key(it.ID, it.Object) }
	at := map[string]int{}
	for i := range a.items {
		at[key(&a.items[i])] = i
	}
	c := &Comparison{A: a.model, B: b.model}
	trials := make([]diagnose.Paired, len(d.names))
	ta, tb := diagnose.NewTally(len(d.names), d.boxes), diagnose.NewTally(len(d.names), d.boxes)
	for i := range b.items {
		it := &b.items[i]
		j, ok := at[key(it)]
		if !ok {
			continue
		}
		c.Items++
		ta.Add(&a.items[j], a.pairs[j])
		tb.Add(it, b.pairs[i])
		was, is := found(&a.items[j], a.pairs[j]), found(it, b.pairs[i])
		worse, better := false, false
		for t := range it.Truth {
			if it.Truth[t].Crowd {
				continue
			}
			trials[it.Truth[t].Class].Add(was[t], is[t])
			c.Overall.Paired.Add(was[t], is[t])
			worse, better = worse || was[t] && !is[t], better || is[t] && !was[t]
		}
		if worse && len(c.Worse) < mostShown {
			c.Worse = append(c.Worse, it.ID)
		}
		if better && len(c.Better) < mostShown {
			c.Better = append(c.Better, it.ID)
		}
	}
	ea, eb := ta.Result(), tb.Result()
	c.Overall.settle(ea.All, eb.All)
	for k, p := range trials {
		if p.N() == 0 {
			continue
		}
		ch := Change{Name: d.names[k], Paired: p}
		ch.settle(ea.Classes[k], eb.Classes[k])
		c.Classes = append(c.Classes, ch)
	}
	slices.SortStableFunc(c.Classes, func(x, y Change) int { return int(x.OnlyB-x.OnlyA) - int(y.OnlyB-y.OnlyA) })
	d.report.Compared = c
	if c.Items < max(int64(len(a.items)), int64(len(b.items))) {
		d.warn("%s", fmt.Sprintf("%d items are compared: those that both models predicted (%s %d, %s %d)", c.Items, a.model, len(a.items), b.model, len(b.items)))
	}
}
