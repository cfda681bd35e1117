package curate

import (
	"fmt"
	"math"
)

// Objective is one thing that a batch should be: exactly one of the pointers
// is set.
//
// All objectives count at once. The gain of a candidate is the product of its
// objectives' gains, each to the power of its Strength; the greedy pass takes
// the candidate of the largest gain, again and again. Gains are positive, and
// at most 1, by one rule:
//
//   - What has a scale of its own keeps it: diversity's gain is half the
//     distance, random's the place in (0, 1]; both at least 1e-6.
//   - What has none (weights, similarity, typicality's mean distance) is laid
//     linearly over the candidates: the least wanted has gain 0.1, the most
//     wanted 1; where all are equal, 1.
//   - A class that lacks the share m of its target has gain 0.1 + 0.9·m. One
//     that has its target of t rows, or more, has 0.1·(t+1)/(rows+1).
//   - A candidate without a value, a vector or a class has gain 0, whatever
//     the strength: it comes last. One without a vector in the space of a
//     diversity is no candidate at all.
//
// A lone objective picks by its own values, without the rounding of gains. Of
// equal gains the one that is larger without the balances' gains counts; then
// Ordered, then the candidate's Score, then the smaller id.
type Objective struct {
	Name string // for reasons: "ripe_apples", "diversity"
	// Strength is the exponent, from -1e6 to 1e6. Nil stands for 1; 0 makes the
	// objective count for nothing; a negative one turns it around.
	Strength *float64

	Diversity  *Diversity
	Typicality *Typicality
	Similarity *Similarity
	Weights    *Weights
	Balance    *Balance
	Random     *Random
	Ordered    *Ordered
}

// Diversity wants rows far from each other. Alone this is farthest-point
// selection: Gonzalez' greedy k-center (1985).
//
// Gains only fall as rows are picked, so that few candidates need to be
// measured a pick. With a negative strength they rise, and every candidate is
// measured against every pick.
type Diversity struct {
	Vectors     *Vectors
	MinDistance float64  // cosine distance, in [0, 2]; a nearer candidate is never picked
	Existing    *Vectors // rows that picks should differ from as if they were picked; Rows is ignored
}

// Typicality wants rows in dense regions. The value is 1 / the mean cosine
// distance to the K nearest rows of Reference, the row itself left out.
type Typicality struct {
	Vectors *Vectors
	// Reference is what is dense or not; its Rows say which row is the
	// candidate itself, -1 where it is not among them. Nil stands for Vectors,
	// with all their rows.
	Reference *Vectors
	K         int // 0 stands for 20
	// Sample is the number of rows of Reference that are looked at, drawn by
	// Seed; 0 stands for 8192, and a negative number for all. The time is that
	// of the product of candidates and sample. The K nearest of a sample stand
	// for the K·rows/sample nearest of all, so that density is measured at a
	// larger scale. By a quarter of the rows ranks agree to .85 (Spearman), and
	// the most typical tenth is up to 10 % less dense (TestTypicalityOfSample).
	Sample int
	Seed   uint64
}

// Similarity wants rows near a set. The value is the cosine to the nearest row
// of To, in [-1, 1].
type Similarity struct {
	Vectors *Vectors
	To      *Vectors // Rows is ignored
}

// Weights wants large values. Alone this is "top".
type Weights struct {
	Values []float64 // one a candidate; NaN is a missing value
}

// Balance wants the classes of the picks in given shares.
type Balance struct {
	By     *Classes
	Target Target
	Shares map[string]float64 // of TargetShares: of class names, each in [0, 1], at most 1 together
}

// Target says which shares of the batch the classes should have.
type Target string

// The words that `target:` takes.
const (
	TargetUniform Target = "uniform" // equal ones, of the classes among the candidates
	TargetInput   Target = "input"   // as among the candidates, after deduplication
	TargetShares  Target = "shares"  // as given; the other classes share the rest as they do among the candidates
)

// Random wants a seeded random choice: the value is the place of the
// candidate's id in the order of Seed.
type Random struct{ Seed uint64 }

// Ordered decides among equal gains, before the candidates' Score does; alone
// it is the order of the picks. It has no strength.
type Ordered struct {
	Values     []float64 // one a candidate, such as a time or a rank; NaN comes last
	Descending bool
}

// Classes gives every candidate a class, such as the value of a column.
type Classes struct {
	Of    []int32  // of every candidate its class in Names, -1 for none
	Names []string // distinct
	index map[string]int32
}

// Add appends the class of the next candidate; nil is none.
func (c *Classes) Add(name *string) {
	if name == nil {
		c.Of = append(c.Of, -1)
		return
	}
	if c.index == nil {
		c.index = make(map[string]int32, len(c.Names))
		for i, n := range c.Names {
			c.index[n] = int32(i)
		}
	}
	at, ok := c.index[*name]
	if !ok {
		at = int32(len(c.Names))
		c.index[*name] = at
		c.Names = append(c.Names, *name)
	}
	c.Of = append(c.Of, at)
}

func (c *Classes) check(candidates int) error {
	switch {
	case c == nil:
		return fmt.Errorf("no classes are given")
	case len(c.Of) != candidates:
		return fmt.Errorf("classes for %d candidates, want %d", len(c.Of), candidates)
	}
	for i, k := range c.Of {
		if k < -1 || int(k) >= len(c.Names) {
			return fmt.Errorf("candidate %d has class %d of %d", i, k, len(c.Names))
		}
	}
	return nil
}

// Quota caps how many picks a class may have. Candidates without a class are
// not capped.
type Quota struct {
	Name   string // for people: "metadata.camera"
	Of     *Classes
	AtMost int     // picks a class; 0 for no such cap
	Share  float64 // of the batch's size, in (0, 1]; rounded down, but 1 at least; 0 for no such cap
}

func (q *Quota) check(candidates int) error {
	if err := q.Of.check(candidates); err != nil {
		return fmt.Errorf("quota of %s: %w", q.Name, err)
	}
	switch {
	case q.AtMost < 0:
		return fmt.Errorf("quota of %s: at most %d is less than none", q.Name, q.AtMost)
	case q.Share != 0 && !(q.Share > 0 && q.Share <= 1):
		return fmt.Errorf("quota of %s: a share of %v is not above 0 and at most 1", q.Name, q.Share)
	case q.AtMost == 0 && q.Share == 0:
		return fmt.Errorf("quota of %s: neither a number nor a share is given", q.Name)
	}
	return nil
}

// limit is the number of picks that a class may have in a batch of size rows.
func (q *Quota) limit(size int) int {
	limit := q.AtMost
	if q.Share > 0 {
		// 0.29 × 100 is 28.999…: a millionth is no row.
		if n := max(int(q.Share*float64(size)+1e-6), 1); limit == 0 || n < limit {
			limit = n
		}
	}
	return limit
}

func (o *Objective) strength() float64 {
	if o.Strength == nil {
		return 1
	}
	return *o.Strength
}

func (o *Objective) check(candidates int) error {
	kinds := 0
	for _, set := range []bool{o.Diversity != nil, o.Typicality != nil, o.Similarity != nil, o.Weights != nil, o.Balance != nil, o.Random != nil, o.Ordered != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("objective %q must be exactly one of diversity, typicality, similarity, weights, balance, random and ordered; it is %d", o.Name, kinds)
	}
	if s := o.strength(); !(math.Abs(s) <= 1e6) {
		return fmt.Errorf("objective %q has strength %v, not from -1e6 to 1e6", o.Name, s)
	}
	if o.Ordered != nil && o.Strength != nil {
		return fmt.Errorf("objective %q has a strength; an order has none", o.Name)
	}
	if err := o.checkKind(candidates); err != nil {
		return fmt.Errorf("objective %q: %w", o.Name, err)
	}
	return nil
}

func (o *Objective) checkKind(candidates int) error {
	switch {
	case o.Diversity != nil:
		if d := o.Diversity.MinDistance; !(d >= 0 && d <= 2) {
			return fmt.Errorf("the minimum distance is %v, not from 0 to 2", d)
		}
		if err := o.Diversity.Vectors.check(candidates); err != nil {
			return err
		}
		return o.Diversity.Vectors.comparable(o.Diversity.Existing, "existing rows")
	case o.Typicality != nil:
		t := o.Typicality
		if t.K < 0 {
			return fmt.Errorf("%d nearest neighbours are asked for", t.K)
		}
		if err := t.Vectors.check(candidates); err != nil {
			return err
		}
		if t.Reference == nil {
			return nil
		}
		if err := t.Vectors.comparable(t.Reference, "reference rows"); err != nil {
			return err
		}
		return t.Reference.checkRows(candidates)
	case o.Similarity != nil:
		if err := o.Similarity.Vectors.check(candidates); err != nil {
			return err
		}
		if o.Similarity.To == nil || len(o.Similarity.To.Data)+len(o.Similarity.To.Compact) == 0 {
			return fmt.Errorf("there is no row to be similar to")
		}
		return o.Similarity.Vectors.comparable(o.Similarity.To, "rows to be similar to")
	case o.Weights != nil && len(o.Weights.Values) != candidates:
		return fmt.Errorf("%d values for %d candidates", len(o.Weights.Values), candidates)
	case o.Ordered != nil && len(o.Ordered.Values) != candidates:
		return fmt.Errorf("%d values for %d candidates", len(o.Ordered.Values), candidates)
	case o.Balance != nil:
		return o.Balance.check(candidates)
	}
	return nil
}

func (b *Balance) check(candidates int) error {
	if err := b.By.check(candidates); err != nil {
		return err
	}
	switch {
	case b.Target == TargetUniform, b.Target == TargetInput:
		return nil
	case b.Target != TargetShares:
		return fmt.Errorf("the target is %q; write uniform, input or shares", string(b.Target))
	}
	sum := 0.0
	for _, name := range sortedKeys(b.Shares) {
		x := b.Shares[name]
		if !(x >= 0 && x <= 1) {
			return fmt.Errorf("the share of %s is %v, not from 0 to 1", name, x)
		}
		sum += x
	}
	if len(b.Shares) == 0 || sum > 1+1e-9 {
		return fmt.Errorf("%d shares make %v; give one or more that make 1 at most", len(b.Shares), sum)
	}
	return nil
}
