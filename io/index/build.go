package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"winnow/pipeline"
)

// Source streams all rows of an embedding, in blocks: n × Dim finite numbers,
// of which the first row has number first. Rows are numbered from 0 without
// gaps, and every call yields the same rows in the same order. vectors may be
// used again once yield returns. An error of yield ends the stream and is
// returned.
type Source func(ctx context.Context, yield func(vectors []float32, n int, first int64) error) error

// stream reads a source and holds it to its promises.
func stream(ctx context.Context, src Source, p *Params, fn func(vectors []float32, n int, first int64) error) error {
	next := int64(0)
	err := src(ctx, func(v []float32, n int, first int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if first != next || n < 0 || len(v) != n*p.Dim {
			return fmt.Errorf("a block of %d rows and %d numbers of dimension %d starts at row %d, after %d rows", n, len(v), p.Dim, first, next)
		}
		if int64(n) > p.Rows-next {
			return fmt.Errorf("there are more than the planned %d rows", p.Rows)
		}
		if i := firstNotFinite(v); i >= 0 {
			return fmt.Errorf("row %d is not finite", first+int64(i/p.Dim))
		}
		next += int64(n)
		return fn(v, n, first)
	})
	if err == nil && next != p.Rows {
		err = fmt.Errorf("there are %d rows, %d were planned", next, p.Rows)
	}
	return err
}

// Build writes the index that p plans to the file path, which appears whole or
// not at all, and returns p with what was measured. It reads the source once
// for a flat index and twice for IVF. In memory it holds the training rows
// (at most 512 MiB) and, for IVF, all rows. ctx is looked at between blocks; the
// training in between is one call that cannot be stopped.
func Build(ctx context.Context, path string, p Params, src Source, progress pipeline.Progress) (Params, error) {
	if progress == nil {
		progress = pipeline.Quiet
	}
	b := &builder{p: p, src: src, progress: progress}
	if err := b.build(ctx, path); err != nil {
		return p, fmt.Errorf("build index %s: %w", path, err)
	}
	return b.p, nil
}

type builder struct {
	p        Params
	src      Source
	progress pipeline.Progress
}

func (b *builder) build(ctx context.Context, path string) (err error) {
	if err := b.p.check(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-index-*")
	if err != nil {
		return err
	}
	temp := f.Name()
	defer func() {
		if rerr := os.Remove(temp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if b.p.Kind == Flat {
		err = b.flat(ctx, f)
	} else {
		err = b.ivf(ctx, temp)
	}
	if err == nil {
		err = b.verify(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// verify reads the written file's structure: FAISS does not report that a full
// disk cut it off.
func (b *builder) verify(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	if err := checkLayout(f, st.Size(), &b.p); err != nil {
		return fmt.Errorf("what was written is not an index; is the disk full? %w", err)
	}
	return nil
}

func (b *builder) flat(ctx context.Context, f *os.File) error {
	c := b.progress.Start("index", "rows", b.p.Rows)
	defer c.Done()
	b.p.Recall10 = 1
	return writeFlat(ctx, f, &b.p, b.src, c.Add)
}

func (b *builder) ivf(ctx context.Context, path string) (err error) {
	train, queries, err := b.sample(ctx)
	if err != nil {
		return err
	}
	v, err := newIVF(ctx, &b.p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	c := b.progress.Start("train index", "rows", int64(b.p.TrainRows))
	err = v.train(ctx, train)
	c.Add(int64(b.p.TrainRows))
	c.Done()
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	train = nil
	truth, err := b.fill(ctx, v, queries)
	if err != nil {
		return err
	}
	if err := b.tune(ctx, v, queries, truth); err != nil {
		return err
	}
	return v.write(ctx, path, b.p.NProbe)
}

// queries are rows of the index that recall is measured with.
type queries struct {
	rows    []int64
	vectors []float32
}

// sample picks the queries and, of the other rows, those to train with, both
// spread evenly over all rows.
func (b *builder) sample(ctx context.Context) (train []float32, q *queries, err error) {
	p := &b.p
	n := queryCount(p.Rows)
	if p.Queries > 0 {
		n = p.Queries
	}
	p.Queries = n
	usable := p.Rows - int64(n)
	if p.TrainRows <= 0 {
		p.TrainRows = pointsPerList * p.NList
	}
	p.TrainRows = int(min(int64(p.TrainRows), usable))
	if n < 1 || p.TrainRows < p.NList {
		return nil, nil, fmt.Errorf("%d rows are too few for %d lists and the queries to tune them with", p.Rows, p.NList)
	}
	isQuery := newChooser(p.Seed, 1, int64(n), p.Rows)
	isTrain := newChooser(p.Seed, 2, int64(p.TrainRows), usable)
	q = &queries{vectors: make([]float32, 0, n*p.Dim)}
	train = make([]float32, 0, p.TrainRows*p.Dim)
	c := b.progress.Start("sample", "rows", p.Rows)
	defer c.Done()
	err = stream(ctx, b.src, p, func(v []float32, n int, first int64) error {
		for i := range n {
			row := v[i*p.Dim : (i+1)*p.Dim]
			if isQuery.next() {
				q.rows = append(q.rows, first+int64(i))
				q.vectors = append(q.vectors, row...)
			} else if isTrain.next() {
				train = append(train, row...)
			}
		}
		c.Add(int64(n))
		return nil
	})
	return train, q, err
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

// fill adds all rows, and finds the true neighbours of the queries on the way.
func (b *builder) fill(ctx context.Context, v *ivf, q *queries) (*truth, error) {
	e := newExact(q.vectors, b.p.Dim, recallAt+1) // a query finds itself
	c := b.progress.Start("index", "rows", b.p.Rows)
	defer c.Done()
	err := stream(ctx, b.src, &b.p, func(vectors []float32, n int, first int64) error {
		if err := v.add(ctx, vectors); err != nil {
			return fmt.Errorf("add rows from %d: %w", first, err)
		}
		e.add(vectors, n, first)
		c.Add(int64(n))
		return nil
	})
	if err != nil {
		return nil, err
	}
	t := &truth{neighbours: make([][]hit, len(q.rows))}
	for i := range q.rows {
		t.neighbours[i] = without(e.best[i].sorted(), q.rows[i])
	}
	return t, nil
}

// without drops the query itself from its neighbours, and cuts them to ten.
func without(hits []hit, row int64) []hit {
	hits = slices.DeleteFunc(hits, func(h hit) bool { return h.row == row })
	return hits[:min(recallAt, len(hits))]
}

// truth holds the exact neighbours of each query.
type truth struct{ neighbours [][]hit }

// recall is the share of true neighbours among found. A row that is as near as
// the farthest true neighbour counts as one: it is an equal answer.
func (t *truth) recall(q int, found []hit) (got, of int) {
	want := t.neighbours[q]
	if len(want) == 0 {
		return 0, 0
	}
	const rounding = 1e-6
	least := want[len(want)-1].score
	if least > 0 {
		least -= rounding * least
	} else {
		least += rounding * least
	}
	for _, h := range found {
		if h.score >= least || slices.ContainsFunc(want, func(w hit) bool { return w.row == h.row }) {
			got++
		}
	}
	return min(got, len(want)), len(want)
}

// tune sets NProbe to the least number of lists that reaches the target. More
// lists never find less, so a bisection finds it.
func (b *builder) tune(ctx context.Context, v *ivf, q *queries, t *truth) error {
	c := b.progress.Start("tune index", "searches", 0)
	defer c.Done()
	measure := func(nprobe int) (float64, error) {
		got, of := 0, 0
		err := v.search(ctx, q.vectors, recallAt+1, nprobe, func(i int, hits []hit) {
			g, o := t.recall(i, without(slices.Clone(hits), q.rows[i]))
			got, of = got+g, of+o
		})
		c.Add(1)
		return float64(got) / float64(max(of, 1)), err
	}
	probes := 1
	recall, err := measure(probes)
	under := 0 // the most lists that are known to be too few
	for err == nil && recall < b.p.RecallTarget && probes < b.p.NList {
		under = probes
		probes = min(2*probes, b.p.NList)
		recall, err = measure(probes)
	}
	for err == nil && probes-under > 1 {
		mid := (probes + under) / 2
		var r float64
		if r, err = measure(mid); r >= b.p.RecallTarget {
			probes, recall = mid, r
		} else {
			under = mid
		}
	}
	if err != nil {
		return fmt.Errorf("measure recall: %w", err)
	}
	if recall < b.p.RecallTarget {
		return fmt.Errorf("recall@%d is %.4f with all %d lists; %.4f was asked for", recallAt, recall, b.p.NList, b.p.RecallTarget)
	}
	b.p.NProbe, b.p.Recall10 = probes, recall
	return nil
}
