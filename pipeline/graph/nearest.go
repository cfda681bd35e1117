package graph

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"winnow/pipeline/vec"
)

// Slack is how many candidates beyond k are kept until their cosines are known in
// double precision: single precision orders rows that are nearly equally near by
// chance.
const Slack = 16

// Queries are rows whose neighbours are looked for.
type Queries struct {
	Dim     int
	Rows    []int32   // their numbers; a row is not its own neighbour
	Vectors []float32 // len(Rows) × Dim
}

// Len is the number of rows.
func (q *Queries) Len() int { return len(q.Rows) }

func (q *Queries) at(i int) []float32 { return q.Vectors[i*q.Dim : (i+1)*q.Dim] }

func (q *Queries) check() error {
	if q.Dim < 1 || len(q.Vectors) != len(q.Rows)*q.Dim {
		return fmt.Errorf("%d numbers are no %d rows of %d", len(q.Vectors), len(q.Rows), q.Dim)
	}
	return nil
}

// Lists hold the nearest rows found so far of each query, at most most each.
type Lists struct {
	most  int
	count []int32
	items []Neighbor // len(count) × most; of each query a heap whose root is the last
}

// NewLists returns n empty lists of at most most rows.
func NewLists(n, most int) *Lists {
	return &Lists{most: most, count: make([]int32, n), items: make([]Neighbor, n*most)}
}

// Of is the list of a query, in no order until Sort.
func (l *Lists) Of(q int) []Neighbor { return l.items[q*l.most : q*l.most+int(l.count[q])] }

// least is the cosine below which a row cannot come onto the list any more.
func (l *Lists) least(q int) float32 {
	if int(l.count[q]) < l.most || l.most == 0 {
		return float32(math.Inf(-1))
	}
	return l.items[q*l.most].Cosine
}

// Offer puts a row onto the list of a query if it is near enough. Rows must not be
// offered twice.
func (l *Lists) Offer(q int, n Neighbor) {
	h := l.items[q*l.most : (q+1)*l.most]
	if c := int(l.count[q]); c < l.most {
		h[c] = n
		l.count[q]++
		for i := c; i > 0; {
			up := (i - 1) / 2
			if !h[up].before(h[i]) {
				break
			}
			h[up], h[i] = h[i], h[up]
			i = up
		}
		return
	}
	if l.most == 0 || !n.before(h[0]) {
		return
	}
	h[0] = n
	for i := 0; ; {
		last := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < l.most && h[last].before(h[c]) {
				last = c
			}
		}
		if last == i {
			return
		}
		h[i], h[last] = h[last], h[i]
		i = last
	}
}

// Sort puts every list in order, the nearest first, and cuts it to k rows. Nothing
// may be offered afterwards.
func (l *Lists) Sort(k int) {
	each((len(l.count)+1023)/1024, func(part int) {
		for q := part * 1024; q < min((part+1)*1024, len(l.count)); q++ {
			list := l.Of(q)
			slices.SortFunc(list, compare)
			l.count[q] = int32(min(k, len(list)))
		}
	})
}

const (
	tileQueries = 256 // queries of one product
	tileRows    = 2048
)

var tiles = sync.Pool{New: func() any { s := make([]float32, tileQueries*tileRows); return &s }}

// Nearest offers every row of src to every query, by cosines of single precision.
// Each query is one goroutine's at a time, and rows come in order, so the result
// is the same with any number of processors.
func Nearest(ctx context.Context, q *Queries, src Source, out *Lists) error {
	return products(ctx, q, src, func(lo, n, first int, scores []float32, rows int) {
		for i := range n {
			at := lo + i
			self, least := q.Rows[at], out.least(at)
			for j, s := range scores[i*rows : (i+1)*rows] {
				if s < least {
					continue // the common case
				}
				if row := int32(first + j); row != self {
					out.Offer(at, Neighbor{row, s})
					least = out.least(at)
				}
			}
		}
	})
}

// products calls fn with tiles of the products of queries [lo, lo+n) and rows
// [first, first+rows): scores is n × rows. Calls for the same queries follow each
// other.
func products(ctx context.Context, q *Queries, src Source, fn func(lo, n, first int, scores []float32, rows int)) error {
	if err := q.check(); err != nil {
		return err
	}
	return src(ctx, func(first int, rows []float32) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := numbered(first, len(rows)/q.Dim); err != nil {
			return err
		}
		step := min(tileQueries, max((q.Len()+7)/8, 16))
		each((q.Len()+step-1)/step, func(part int) {
			buf := tiles.Get().(*[]float32)
			defer tiles.Put(buf)
			lo := part * step
			n := min(step, q.Len()-lo)
			for at := 0; at < len(rows)/q.Dim; at += tileRows {
				m := min(tileRows, len(rows)/q.Dim-at)
				vec.MulABT(n, m, q.Dim, q.Vectors[lo*q.Dim:(lo+n)*q.Dim], rows[at*q.Dim:(at+m)*q.Dim], *buf)
				fn(lo, n, first+at, (*buf)[:n*m], m)
			}
		})
		return nil
	})
}

func numbered(first, n int) error {
	if first < 0 || first+n > MaxRows {
		return fmt.Errorf("row %d cannot be numbered; there may be up to %d rows", first+n, MaxRows)
	}
	return nil
}

// Measure replaces the cosines of all lists by those of double precision, rounded
// to single: it reads src once. A row that src does not have is an error.
func Measure(ctx context.Context, q *Queries, src Source, out *Lists) error {
	if err := q.check(); err != nil {
		return err
	}
	pairs := out.byRow()
	norms := make([]float64, q.Len())
	for i := range norms {
		norms[i] = dot(q.at(i), q.at(i))
	}
	next := 0
	err := src(ctx, func(first int, rows []float32) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		last := first + len(rows)/q.Dim
		lo := next
		for next < len(pairs) && int(out.items[pairs[next]].Row) < last {
			next++
		}
		if lo < next && int(out.items[pairs[lo]].Row) < first {
			return fmt.Errorf("row %d is missing among the rows", out.items[pairs[lo]].Row)
		}
		part := pairs[lo:next]
		const step = 1024
		each((len(part)+step-1)/step, func(i int) {
			for _, slot := range part[i*step : min((i+1)*step, len(part))] {
				n := &out.items[slot]
				at := int(slot) / out.most
				row := rows[(int(n.Row)-first)*q.Dim:][:q.Dim]
				n.Cosine = cosine(dot(q.at(at), row), norms[at], dot(row, row))
			}
		})
		return nil
	})
	if err == nil && next < len(pairs) {
		err = fmt.Errorf("row %d is missing among the rows", out.items[pairs[next]].Row)
	}
	return err
}

// byRow lists the places of all items by the rows that they name.
func (l *Lists) byRow() []int32 {
	var pairs []int32
	for q := range l.count {
		for i := range l.count[q] {
			pairs = append(pairs, int32(q*l.most)+i)
		}
	}
	slices.SortFunc(pairs, func(a, b int32) int { return int(l.items[a].Row) - int(l.items[b].Row) })
	return pairs
}

// cosine of two rows by their product and squared lengths. A row of zeros is at
// cosine 0 of everything; equal rows are at exactly 1.
func cosine(product, a2, b2 float64) float32 {
	n := math.Sqrt(a2 * b2)
	if !(n > 0) {
		return 0
	}
	return float32(min(max(product/n, -1), 1))
}

// Cosine is the cosine of two rows in double precision, rounded to single.
func Cosine(a, b []float32) float32 { return cosine(dot(a, b), dot(a, a), dot(b, b)) }

// dot is the product in double precision. The conversions keep the compiler from
// fusing a product with a sum, so every CPU gives the same bits.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(float64(a[i]) * float64(b[i]))
		s1 += float64(float64(a[i+1]) * float64(b[i+1]))
		s2 += float64(float64(a[i+2]) * float64(b[i+2]))
		s3 += float64(float64(a[i+3]) * float64(b[i+3]))
	}
	for ; i < len(a); i++ {
		s0 += float64(float64(a[i]) * float64(b[i]))
	}
	return (s0 + s1) + (s2 + s3)
}

// Merge is the k nearest of two sorted lists without a row in common.
func Merge(a, b []Neighbor, k int) []Neighbor {
	out := make([]Neighbor, 0, min(k, len(a)+len(b)))
	for len(out) < k && len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].before(b[0]) {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}

// Within calls fn with the pairs of a query and another row whose cosine is at least
// least, but for those that skip says need not be looked at. It reads src once; fn and
// skip may be called for different queries at the same time, though never during
// between, which is called once before each block of src.
func Within(ctx context.Context, q *Queries, src Source, least float32, between func(), skip func(query int, row int32) bool, fn func(query int, row int32, cosine float32)) error {
	room := slack(q.Dim)
	var current []float32
	first0 := 0
	kept := func(ctx context.Context, yield func(int, []float32) error) error {
		return src(ctx, func(first int, rows []float32) error {
			between()
			current, first0 = rows, first
			return yield(first, rows)
		})
	}
	return products(ctx, q, kept, func(lo, n, first int, scores []float32, rows int) {
		for i := range n {
			at := lo + i
			for j, s := range scores[i*rows : (i+1)*rows] {
				if s < least-room {
					continue
				}
				row := int32(first + j)
				if row == q.Rows[at] || skip(at, row) {
					continue
				}
				if c := Cosine(q.at(at), current[(int(row)-first0)*q.Dim:][:q.Dim]); c >= least {
					fn(at, row, c)
				}
			}
		}
	})
}

// Most is how many rows a list may hold.
func (l *Lists) Most() int { return l.most }
