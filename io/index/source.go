package index

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// Vectors are the rows that an index is made of, numbered from 0 without gaps.
// Rows are Dim finite numbers each. Every call yields the same rows in the same
// order, in blocks that may be used again once yield returns; an error of yield
// ends the call and is returned.
type Vectors interface {
	// Range streams rows lo to hi-1; first is the number of a block's first row.
	Range(ctx context.Context, lo, hi int64, yield func(vectors []float32, n int, first int64) error) error
	// Pick streams chosen rows, whose numbers ascend.
	Pick(ctx context.Context, rows []int64, yield func(vectors []float32, n int) error) error
}

// stream reads a range and holds its source to its promises.
func stream(ctx context.Context, src Vectors, dim int, lo, hi int64, fn func(vectors []float32, n int, first int64) error) error {
	next := lo
	err := src.Range(ctx, lo, hi, func(v []float32, n int, first int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if first != next || n < 0 || len(v) != n*dim {
			return fmt.Errorf("a block of %d rows and %d numbers of dimension %d starts at row %d, after %d rows", n, len(v), dim, first, next)
		}
		if int64(n) > hi-next {
			return fmt.Errorf("there are more than the planned %d rows", hi)
		}
		if i := firstNotFinite(v); i >= 0 {
			return fmt.Errorf("row %d is not finite", first+int64(i/dim))
		}
		next += int64(n)
		return fn(v, n, first)
	})
	if err == nil && next != hi {
		err = fmt.Errorf("there are %d rows, %d were planned", next, hi)
	}
	return err
}

// pickRows reads chosen rows into one slice.
func pickRows(ctx context.Context, src Vectors, dim int, rows []int64, count func(int64)) ([]float32, error) {
	out := make([]float32, 0, len(rows)*dim)
	err := src.Pick(ctx, rows, func(v []float32, n int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(v) != n*dim || len(out)+len(v) > cap(out) {
			return fmt.Errorf("a block of %d rows has %d numbers of dimension %d, after %d of %d rows", n, len(v), dim, len(out)/dim, len(rows))
		}
		if i := firstNotFinite(v); i >= 0 {
			return fmt.Errorf("row %d is not finite", rows[len(out)/dim+i/dim])
		}
		out = append(out, v...)
		count(int64(n))
		return nil
	})
	if err == nil && len(out) != len(rows)*dim {
		err = fmt.Errorf("%d of %d chosen rows were read", len(out)/dim, len(rows))
	}
	return out, err
}

// chooser picks exactly want of total things that come one after another, each
// set of them equally likely (Knuth, The Art of Computer Programming, 3.4.2 S).
type chooser struct {
	rng         *rand.Rand
	want, total int64
}

func newChooser(seed, stream uint64, want, total int64) *chooser {
	return &chooser{rng: rand.New(rand.NewPCG(seed, stream)), want: want, total: total}
}

func (c *chooser) next() bool {
	if c.want == 0 {
		return false
	}
	take := c.rng.Int64N(c.total) < c.want
	c.total--
	if take {
		c.want--
	}
	return take
}

// chooseRows picks the queries and, of the other rows, those to train with, both
// spread evenly over all rows.
func chooseRows(p *Params) (train, queries []int64, err error) {
	usable := p.Rows - int64(p.Queries)
	if p.Queries < 1 || usable < int64(p.TrainRows) || p.TrainRows < p.NList {
		return nil, nil, fmt.Errorf("%d rows are too few for %d lists and the queries to tune them with", p.Rows, p.NList)
	}
	isQuery := newChooser(p.Seed, 1, int64(p.Queries), p.Rows)
	isTrain := newChooser(p.Seed, 2, int64(p.TrainRows), usable)
	for row := range p.Rows {
		if isQuery.next() {
			queries = append(queries, row)
		} else if isTrain.next() {
			train = append(train, row)
		}
	}
	return train, queries, nil
}
