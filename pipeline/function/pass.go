package function

import (
	"fmt"
	"math"

	"winnow/pipeline/vec"
)

// BlockRows is the number of rows of one matrix product of a Pass: large
// enough for BLAS, small enough for the cache.
const BlockRows = 1024

// Pass scores rows against many functions at once. It is safe for concurrent
// use, and allocates only while more goroutines than ever before use it.
type Pass struct {
	// AnyLength says that rows may not be of unit length: their scores are
	// those of the rows scaled to it. Set it before the first use.
	AnyLength bool

	dim   int
	rows  []float32 // the rows of all scorers
	steps []step
	free  chan *scratch
}

// step makes one function's scores from the products of its rows.
type step struct {
	combine   Combine
	first, n  int // its rows
	positives int
	high, low float32 // the offset, as a sum of two float32
}

type scratch struct {
	products []float32 // one row of up to BlockRows products a row of the pass
	inverse  []float32 // 1/length of each row
}

// NewPass lays out the scorers, all of dimension dim.
func NewPass(dim int, scorers []*Scorer) (*Pass, error) {
	p := &Pass{dim: dim, free: make(chan *scratch, 256)}
	for _, s := range scorers {
		n := 0
		if dim > 0 {
			n = len(s.Rows) / dim
		}
		switch {
		case s.Dim != dim || n == 0 || n*dim != len(s.Rows):
			return nil, fmt.Errorf("function %s has rows of %d dimensions, the vectors have %d", s.Name, s.Dim, dim)
		case s.Combine == Max && (s.Positives < 1 || s.Positives > n), s.Combine != Max && n != 1:
			return nil, fmt.Errorf("function %s (%s) has %d rows, %d of them positive", s.Name, s.Combine, n, s.Positives)
		}
		high := float32(s.Offset)
		p.steps = append(p.steps, step{
			combine: s.Combine, first: len(p.rows) / dim, n: n, positives: s.Positives,
			high: high, low: float32(s.Offset - float64(high)),
		})
		p.rows = append(p.rows, s.Rows...)
	}
	return p, nil
}

// Rows is the number of rows that every vector is multiplied with.
func (p *Pass) Rows() int {
	if p.dim == 0 {
		return 0
	}
	return len(p.rows) / p.dim
}

// Score sets out[f][i] to the score of row i under scorer f, for n rows of
// vectors. Every out[f] holds at least n numbers. A row's score does not
// depend on its neighbours beyond the rounding of float32.
func (p *Pass) Score(vectors []float32, n int, out [][]float32) {
	if len(p.steps) == 0 || n == 0 {
		return
	}
	s := p.take()
	defer p.give(s)
	for lo := 0; lo < n; lo += BlockRows {
		p.block(s, vectors[lo*p.dim:], lo, min(BlockRows, n-lo), out)
	}
}

func (p *Pass) take() *scratch {
	select {
	case s := <-p.free:
		return s
	default:
		return &scratch{products: make([]float32, p.Rows()*BlockRows), inverse: make([]float32, BlockRows)}
	}
}

func (p *Pass) give(s *scratch) {
	select {
	case p.free <- s:
	default:
	}
}

func (p *Pass) block(s *scratch, vectors []float32, lo, n int, out [][]float32) {
	// Our rows first: each function's products lie side by side.
	vec.MulABT(p.Rows(), n, p.dim, p.rows, vectors[:n*p.dim], s.products)
	if p.AnyLength {
		for i := range n {
			s.inverse[i] = 0
			if n2 := norm2(vectors[i*p.dim : (i+1)*p.dim]); n2 > 0 {
				s.inverse[i] = float32(1 / math.Sqrt(n2))
			}
		}
		for r := range p.Rows() {
			products := s.products[r*n : (r+1)*n]
			for i, inv := range s.inverse[:n] {
				products[i] *= inv
			}
		}
	}
	for f := range p.steps {
		st := &p.steps[f]
		st.finish(s.products[st.first*n:(st.first+st.n)*n], n, out[f][lo:lo+n])
	}
}

// finish makes n scores of the products of the function's rows.
func (st *step) finish(products []float32, n int, out []float32) {
	switch st.combine {
	case Max:
		best(products[:st.positives*n], n, out)
		if st.n > st.positives {
			negatives := products[st.positives*n:]
			nearest := negatives[:n] // overwritten: nobody reads the products again
			best(negatives, n, nearest)
			for i, neg := range nearest {
				if neg > out[i] {
					out[i] = -neg * neg
				}
			}
		}
	case Classifier:
		for i, x := range products[:n] {
			out[i] = float32(sigmoid(float64(x) + float64(st.high) + float64(st.low)))
		}
	default:
		// The product and the offset nearly cancel for most rows, so the sum with
		// the offset's upper part is almost exact.
		for i, x := range products[:n] {
			out[i] = x + st.high + st.low
		}
	}
}

// best sets out to the largest of each column of rows of n products; out may
// be the first row. It takes four rows at a time, without branches that depend
// on the numbers.
func best(products []float32, n int, out []float32) {
	out = out[:n]
	switch len(products) / n {
	case 1:
		copy(out, products)
		return
	case 2:
		a, b := products[:n], products[n:2*n]
		for i := range out {
			out[i] = max(a[i], b[i])
		}
		return
	case 3:
		a, b, c := products[:n], products[n:2*n], products[2*n:3*n]
		for i := range out {
			out[i] = max(a[i], b[i], c[i])
		}
		return
	}
	a, b, c, d := products[:n], products[n:2*n], products[2*n:3*n], products[3*n:4*n]
	for i := range out {
		out[i] = max(max(a[i], b[i]), max(c[i], d[i]))
	}
	for products = products[4*n:]; len(products) >= n; products = products[n:] {
		if len(products) < 3*n {
			for i, x := range products[:n] {
				out[i] = max(out[i], x)
			}
			continue
		}
		a, b, c := products[:n], products[n:2*n], products[2*n:3*n]
		for i, x := range out {
			out[i] = max(max(a[i], b[i]), max(c[i], x))
		}
		products = products[2*n:]
	}
}
