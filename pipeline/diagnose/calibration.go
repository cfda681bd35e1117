package diagnose

import (
	"math"
)

// Bin is one bar of a reliability diagram: the guesses whose confidence is above
// Low and at most High (the first bin takes 0 as well).
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	N          int64   `json:"n"`
	Confidence float64 `json:"confidence"` // mean
	Right      Rate    `json:"right"`
}

// Calibration compares confidences with how often they were right.
type Calibration struct {
	// ECE is the expected calibration error, Σ n/N·|share right − mean
	// confidence| over the bins (Naeini et al. 2015; Guo et al. 2017), in [0, 1].
	ECE  float64 `json:"ece"`
	N    int64   `json:"n"`
	Bins []Bin   `json:"bins"` // those with guesses
}

// Reliability collects guesses into bins of equal width.
type Reliability struct {
	n, right []int64
	sum      []float64
}

// NewReliability has bins bins over [0, 1].
func NewReliability(bins int) *Reliability {
	return &Reliability{n: make([]int64, bins), right: make([]int64, bins), sum: make([]float64, bins)}
}

// Add counts a guess. One without a confidence (NaN) is left out.
func (r *Reliability) Add(confidence float64, right bool) {
	if math.IsNaN(confidence) {
		return
	}
	bins := len(r.n)
	// The edges are those of numpy.linspace, i·(1/bins), so that a confidence on
	// an edge falls where numpy puts it.
	at, step := 0, 1/float64(bins)
	for at < bins-1 && confidence > float64(at+1)*step {
		at++
	}
	r.n[at]++
	r.sum[at] += confidence
	if right {
		r.right[at]++
	}
}

// Result is nil where nothing was counted.
func (r *Reliability) Result() *Calibration {
	c := &Calibration{}
	for _, n := range r.n {
		c.N += n
	}
	if c.N == 0 {
		return nil
	}
	for i, n := range r.n {
		if n == 0 {
			continue
		}
		b := Bin{Low: float64(i) / float64(len(r.n)), High: float64(i+1) / float64(len(r.n)), N: n, Confidence: r.sum[i] / float64(n), Right: NewRate(r.right[i], n)}
		c.ECE += float64(n) / float64(c.N) * math.Abs(b.Right.Value-b.Confidence)
		c.Bins = append(c.Bins, b)
	}
	return c
}
