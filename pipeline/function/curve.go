package function

import (
	"cmp"
	"fmt"
	"slices"
)

// Curve is what labels say of a function at every threshold that tells labeled
// rows apart.
type Curve struct {
	Labeled  int64   // labeled rows with a finite score
	Positive int64   // of them
	Points   []Point // by threshold, the highest first; one a distinct score
}

// Point counts the labeled rows at or above a threshold.
type Point struct {
	Threshold float64
	Matches   int64
	Hits      int64 // of them positive
}

// NewCurve counts labeled rows by score. positive has an entry a score.
func NewCurve(scores []float32, positive []bool) (*Curve, error) {
	if len(scores) != len(positive) {
		return nil, fmt.Errorf("%d scores and %d labels", len(scores), len(positive))
	}
	var at []int
	for i, x := range scores {
		if finite(x) {
			at = append(at, i)
		}
	}
	slices.SortFunc(at, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	c := &Curve{Labeled: int64(len(at))}
	for n, i := range at {
		if positive[i] {
			c.Positive++
		}
		if n+1 < len(at) && scores[at[n+1]] == scores[i] {
			continue // a threshold cannot part equal scores
		}
		c.Points = append(c.Points, Point{float64(scores[i]), int64(n + 1), c.Positive})
	}
	return c, nil
}

// At counts the labeled rows at or above a threshold.
func (c *Curve) At(threshold float64) Point {
	n, _ := slices.BinarySearchFunc(c.Points, threshold, func(p Point, t float64) int {
		if p.Threshold >= t {
			return -1
		}
		return 1
	})
	if n == 0 {
		return Point{Threshold: threshold}
	}
	p := c.Points[n-1]
	p.Threshold = threshold
	return p
}

// AveragePrecision is the area under the curve of precision over recall without
// interpolation, Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores; 0 without positives.
func (c *Curve) AveragePrecision() float64 {
	sum, before := 0.0, int64(0)
	for _, p := range c.Points {
		sum += float64(p.Hits-before) / float64(max(c.Positive, 1)) * float64(p.Hits) / float64(p.Matches)
		before = p.Hits
	}
	return sum
}

// BestF1 is the point with the highest F1, the highest threshold of equals; false
// without positives.
func (c *Curve) BestF1() (best Point, ok bool) {
	f1 := func(p Point) float64 { return 2 * float64(p.Hits) / float64(p.Matches+c.Positive) }
	for _, p := range c.Points {
		if p.Hits > 0 && (!ok || f1(p) > f1(best)) {
			best, ok = p, true
		}
	}
	return best, ok
}
