package function

import "math"

const histogramBins = 1 << 16

// Histogram counts scores. Its bins are the float32 numbers that share their
// upper 16 bits: 128 bins to a factor of two, so it needs no range, and the sum
// of two histograms is that of their scores. Scores that are not finite do not
// count. The zero Histogram is empty and ready to use.
type Histogram struct {
	count []int64
	n     int64
}

// key puts float32 numbers in the order of unsigned ones.
func key(x float32) uint32 {
	b := math.Float32bits(x + 0) // −0 becomes 0
	if b&(1<<31) != 0 {
		return ^b
	}
	return b | 1<<31
}

func unkey(k uint32) float32 {
	if k&(1<<31) != 0 {
		return math.Float32frombits(k &^ (1 << 31))
	}
	return math.Float32frombits(^k)
}

func finite(x float32) bool { return x-x == 0 }

// Add counts scores.
func (h *Histogram) Add(scores []float32) {
	if h.count == nil {
		h.count = make([]int64, histogramBins)
	}
	for _, x := range scores {
		if finite(x) {
			h.count[key(x)>>16]++
			h.n++
		}
	}
}

// Merge adds the counts of another histogram.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	if h.count == nil {
		h.count = make([]int64, histogramBins)
	}
	for i, c := range o.count {
		h.count[i] += c
	}
	h.n += o.n
}

// N is the number of scores.
func (h *Histogram) N() int64 { return h.n }

// Quantile returns a score that about the share q of the scores, from 0 to 1,
// lies below; 0 without scores. It is off by at most a bin: 0.8 % of the
// score.
func (h *Histogram) Quantile(q float64) float64 {
	if h.n == 0 {
		return 0
	}
	rank := int64(math.Min(math.Max(q, 0), 1) * float64(h.n-1))
	for i, c := range h.count {
		if rank < c {
			lo, hi := binEdges(i)
			return lo + (hi-lo)*(float64(rank)+0.5)/float64(c)
		}
		rank -= c
	}
	panic("unreachable: the counts are n together")
}

// AtLeast is the number of scores at or above x, give or take those of x's bin.
func (h *Histogram) AtLeast(x float64) int64 {
	n := int64(0)
	if h.n == 0 {
		return 0
	}
	for i := histogramBins - 1; i >= int(key(float32(x))>>16); i-- {
		n += h.count[i]
	}
	return n
}

// binEdges is the range of the scores of a bin: [lo, hi] with hi the smallest
// of the next.
func binEdges(i int) (lo, hi float64) {
	return clampFinite(unkey(uint32(i) << 16)), clampFinite(unkey(uint32(min(i+1, histogramBins-1)) << 16))
}

func clampFinite(x float32) float64 {
	return math.Min(math.Max(float64(x), -math.MaxFloat32), math.MaxFloat32)
}

// bin is a bin that has scores, from lo up to hi.
type bin struct {
	lo, hi float64
	count  int64
}

func (b bin) mid() float64 { return (b.lo + b.hi) / 2 }

// bins calls fn for every bin that has scores, from the largest down, until fn
// returns false.
func (h *Histogram) bins(fn func(bin) bool) {
	for i := len(h.count) - 1; i >= 0; i-- {
		if c := h.count[i]; c > 0 {
			lo, hi := binEdges(i)
			if !fn(bin{lo, hi, c}) {
				return
			}
		}
	}
}

// kth finds the k-th largest score exactly, k from 1, in a second pass over
// the scores that the histogram counted.
type kth struct {
	bin   uint32
	rank  int64   // among the bin's scores, from 0 at the largest
	count []int64 // of the lower 16 bits
}

func (h *Histogram) kth(k int64) *kth {
	rank := k - 1
	for i := len(h.count) - 1; i >= 0; i-- {
		if rank < h.count[i] {
			return &kth{bin: uint32(i), rank: rank, count: make([]int64, 1<<16)}
		}
		rank -= h.count[i]
	}
	return nil
}

func (s *kth) add(scores []float32) {
	for _, x := range scores {
		if k := key(x); finite(x) && k>>16 == s.bin {
			s.count[k&0xffff]++
		}
	}
}

func (s *kth) value() float64 {
	rank := s.rank
	for i := len(s.count) - 1; i >= 0; i-- {
		if rank < s.count[i] {
			return float64(unkey(s.bin<<16 | uint32(i)))
		}
		rank -= s.count[i]
	}
	return math.NaN() // the second pass saw other scores than the first
}
