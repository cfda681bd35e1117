package function

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"winnow/pipeline"
	"winnow/pipeline/seeded"
	"winnow/pipeline/vec"
)

// SampleOptions say what statistics are made of. Zero numbers stand for the defaults.
type SampleOptions struct {
	Embedding   string
	Fingerprint string
	Dim         int
	Seed        uint64
	Rows        int // at most so many rows make the statistics; default StatisticsRows
	Keep        int // at most so many rows are kept in them; default SampleRows
}

// Sampler finds the rows of a seeded sample from ids alone: the limit rows
// whose ids come first in the order of the seed. A job that reads ids first can
// then read only the vectors that the Builder will keep.
type Sampler struct {
	seed  uint64
	limit int
	heap  maxHeap[place]
}

// place is a row's place in the seeded order.
type place struct {
	hash uint64
	id   string
	slot int
}

func (a place) compare(b place) int {
	if c := cmp.Compare(a.hash, b.hash); c != 0 {
		return c
	}
	return strings.Compare(a.id, b.id)
}

// NewSampler returns a sampler of the options' Seed and Rows.
func NewSampler(o SampleOptions) *Sampler {
	return &Sampler{seed: o.Seed, limit: orDefault(o.Rows, StatisticsRows)}
}

// Add offers a row.
func (s *Sampler) Add(id string) {
	p := place{hash: seeded.Hash(s.seed, id)}
	switch {
	case len(s.heap) < s.limit:
		s.heap.push(p)
	case p.hash < s.heap[0].hash:
		s.heap.replace(p)
	}
}

// Wants reports whether the row may be in the sample of all rows added.
func (s *Sampler) Wants(id string) bool {
	return len(s.heap) < s.limit || seeded.Hash(s.seed, id) <= s.heap[0].hash
}

// Builder makes Statistics from a stream of rows, in any order: the same rows
// give the same statistics, bit for bit on one kind of CPU. It holds at most
// Rows × Dim numbers.
type Builder struct {
	o      SampleOptions
	total  int64
	heap   maxHeap[place]
	chunks [][]float32 // rows by slot, chunkRows × Dim each: growing never copies
}

const chunkRows = 1024

func (b *Builder) row(slot int) []float32 {
	at := slot % chunkRows * b.o.Dim
	return b.chunks[slot/chunkRows][at : at+b.o.Dim]
}

// NewBuilder returns a builder for one embedding.
func NewBuilder(o SampleOptions) (*Builder, error) {
	if o.Dim <= 0 {
		return nil, fmt.Errorf("statistics of %s: dimension %d", o.Embedding, o.Dim)
	}
	o.Rows = orDefault(o.Rows, StatisticsRows)
	o.Keep = orDefault(o.Keep, SampleRows)
	return &Builder{o: o}, nil
}

func orDefault(n, standard int) int {
	if n <= 0 {
		return standard
	}
	return n
}

// Add offers rows: vectors holds len(ids) × Dim numbers and is not kept. Rows
// that are not of unit length are scaled. A vector that cannot be is an error
// that names its row.
func (b *Builder) Add(ids []string, vectors []float32) error {
	d := b.o.Dim
	if len(vectors) != len(ids)*d {
		return fmt.Errorf("statistics of %s: %d numbers are not %d rows of %d", b.o.Embedding, len(vectors), len(ids), d)
	}
	b.total += int64(len(ids))
	for i, id := range ids {
		p := place{hash: seeded.Hash(b.o.Seed, id), id: id, slot: len(b.heap)}
		full := len(b.heap) == b.o.Rows
		if full && p.compare(b.heap[0]) >= 0 {
			continue
		}
		p.id = strings.Clone(id) // the caller's block may go
		if full {
			p.slot = b.heap[0].slot
			b.heap.replace(p)
		} else {
			b.heap.push(p)
			if p.slot%chunkRows == 0 {
				b.chunks = append(b.chunks, make([]float32, chunkRows*d))
			}
		}
		if !toUnit(b.row(p.slot), vectors[i*d:(i+1)*d]) {
			return fmt.Errorf("statistics of %s: %w", b.o.Embedding,
				pipeline.Rowf(pipeline.ReasonBadVector, "the vector of %s is zero or not finite", id))
		}
	}
	return nil
}

// AddTotal counts rows of the corpus that were not offered because a Sampler
// did not want them.
func (b *Builder) AddTotal(n int64) { b.total += n }

// toUnit writes src to dst, scaled to unit length unless it is that already.
func toUnit(dst, src []float32) bool {
	n2 := norm2(src)
	if !(n2 > 0) || math.IsInf(n2, 0) {
		return false
	}
	copy(dst, src)
	if !unitNorm2(n2) {
		inv := 1 / math.Sqrt(n2)
		for i, x := range src {
			dst[i] = float32(float64(x) * inv)
		}
	}
	return true
}

// Finish computes the statistics. The builder must not be used afterwards.
func (b *Builder) Finish() (*Statistics, error) {
	if len(b.heap) == 0 {
		return nil, fmt.Errorf("statistics of %s: the embedding has no rows; run `winnow embed` first", b.o.Embedding)
	}
	d, rows := b.o.Dim, []place(b.heap)
	slices.SortFunc(rows, place.compare)
	s := &Statistics{
		Embedding: b.o.Embedding, Fingerprint: b.o.Fingerprint, Dim: d, Seed: b.o.Seed,
		Total: b.total, Rows: int64(len(rows)),
	}
	row := func(i int) []float32 { return b.row(rows[i].slot) }
	for i := range min(b.o.Keep, len(rows)) {
		s.SampleIDs = append(s.SampleIDs, rows[i].id)
		s.Sample = append(s.Sample, row(i)...)
	}
	s.Mean = make([]float64, d)
	for i := range rows {
		for j, x := range row(i) {
			s.Mean[j] += float64(x)
		}
	}
	for j := range s.Mean {
		s.Mean[j] /= float64(len(rows))
	}
	s.Cov = covariance(len(rows), d, row, s.Mean)
	if _, err := s.Encode(); err != nil { // sets the ID
		return nil, err
	}
	return s, nil
}

// covariance sums the outer products of the centred rows: single precision
// within a block of rows, double between blocks.
func covariance(n, d int, row func(int) []float32, mean []float64) []float64 {
	const (
		block = 512 // rows
		panel = 128 // rows of the result that one worker takes; fixed, so that the bits are
	)
	cov := make([]float64, d*d)
	t := make([]float32, d*block)
	panels := (d + panel - 1) / panel
	products := sync.Pool{New: func() any { s := make([]float32, panel*d); return &s }}
	for lo := 0; lo < n; lo += block {
		k := min(block, n-lo)
		for i := range k {
			for j, x := range row(lo + i) {
				t[j*k+i] = float32(float64(x) - mean[j])
			}
		}
		parallel(panels, func(p int) {
			c := products.Get().(*[]float32)
			defer products.Put(c)
			i0, i1 := p*panel, min((p+1)*panel, d)
			vec.MulABT(i1-i0, i1, k, t[i0*k:i1*k], t[:i1*k], *c) // the lower triangle, and a little above
			for i := i0; i < i1; i++ {
				for j := 0; j <= i; j++ {
					cov[i*d+j] += float64((*c)[(i-i0)*i1+j])
				}
			}
		})
	}
	for i := range d {
		for j := 0; j <= i; j++ {
			cov[i*d+j] /= float64(n)
			cov[j*d+i] = cov[i*d+j]
		}
	}
	return cov
}

// parallel calls f(0…n-1) from as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				f(i)
			}
		})
	}
	wg.Wait()
}

// maxHeap is a binary heap with the largest element first. container/heap
// would box every element.
type maxHeap[T interface{ compare(T) int }] []T

func (h *maxHeap[T]) push(x T) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[i].compare(s[up]) <= 0 {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// replace puts x in the place of the largest element.
func (h maxHeap[T]) replace(x T) {
	h[0] = x
	for i := 0; ; {
		top := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < len(h) && h[c].compare(h[top]) > 0 {
				top = c
			}
		}
		if top == i {
			return
		}
		h[i], h[top] = h[top], h[i]
		i = top
	}
}
