// Package score scores rows against all functions in one pass: bounded workers
// read and score parts of the input, and one writer puts the results in the
// order of the parts. The output depends on the parts and functions alone.
package score

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline/function"
)

// Block is some consecutive rows of a part. Row i has AssetID[i], Version[i]
// and Vectors[i·d:(i+1)·d] for vectors of d numbers.
type Block struct {
	AssetID []string
	Version []string
	Vectors []float32
}

// Part is a run of rows, such as a shard or a piece of one. Read calls fn with
// all of its rows, in an order and in blocks that are the same each time. The
// block's slices are Read's again once fn returns; its strings must stay. An
// error of fn ends Read and is returned. Run calls Read once for each part,
// from several goroutines for different parts.
type Part interface {
	Read(ctx context.Context, fn func(Block) error) error
}

// Scores are rows with the scores that exist of them: Columns[c][i] is the
// score of row i in column c of Kept.Columns. Without ids the rows are the
// parts' rows, one for one.
type Scores struct {
	AssetID []string
	Version []string
	Columns [][]float32
}

// Kept are the columns of functions that have not changed. Rows yields them in
// the order of the parts' rows. With ids it may hold rows that the parts do not
// have (they are dropped), not the other way round. What a yield holds is Rows'
// again when the next one is asked for.
type Kept struct {
	Columns []string
	Rows    iter.Seq2[Scores, error]
}

// Sink takes the rows in order. cols[c] belongs to Task.Columns[c]. All slices
// are Run's again once Write returns. It is called from one goroutine.
type Sink interface {
	Write(ids, versions []string, cols [][]float32) error
}

// Task is what to score.
type Task struct {
	Dim       int
	AnyLength bool               // vectors may not have length 1
	Functions []*function.Scorer // scored anew
	Kept      *Kept              // taken over; nil for none
	Columns   []string           // of the output: each one a function or a kept column
	Parts     []Part             // in the order of the output; cut so that there are more of them than workers
	Workers   int                // parts that are read and scored at once; default GOMAXPROCS + 1, so that reading overlaps
	Count     func(rows int64)   // progress, from one goroutine; may be nil
}

// KeptError says that the kept scores lack a row, or have one too many, so the
// task must be run again without them.
type KeptError struct{ AssetID string } // "" for one too many

func (e *KeptError) Error() string {
	if e.AssetID == "" {
		return "the scores to keep have more rows than there are to score; score everything anew"
	}
	return fmt.Sprintf("the scores to keep have no row for %s in its place; score everything anew", e.AssetID)
}

const (
	// waitingScores bounds the scores of a part that wait for their turn: 8 MiB
	// or minChunks blocks, whatever is more.
	waitingScores = 2 << 20
	minChunks     = 4
	// partsAhead is the number of parts that may wait for the writer besides
	// those that are worked on.
	partsAhead = 2
)

// chunk is a block's results on their way to the writer.
type chunk struct {
	ids, versions []string
	cols          [][]float32 // by function
}

// Run scores the task's rows into sink and returns their number.
func Run(ctx context.Context, t Task, sink Sink) (rows int64, err error) {
	from, err := t.columns()
	if err != nil {
		return 0, err
	}
	pass, err := function.NewPass(t.Dim, t.Functions)
	if err != nil {
		return 0, err
	}
	pass.AnyLength = t.AnyLength
	if t.Workers <= 0 {
		t.Workers = runtime.GOMAXPROCS(0) + 1
	}
	workers := min(t.Workers, max(len(t.Parts), 1))
	r := &run{Task: t, pass: pass, free: make(chan *chunk, workers*64)}
	// Parts are taken in order, so the part that the writer waits for is always
	// under way. A part that runs ahead stops when its queue is full, and no part
	// starts while too many wait for the writer.
	queues := make([]chan *chunk, len(t.Parts))
	turns := make(chan int)
	r.begun = make(chan struct{}, workers+partsAhead)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(turns)
		for i := range t.Parts {
			select {
			case r.begun <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case turns <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for i := range queues {
		queues[i] = make(chan *chunk, minChunks+waitingScores/(max(len(t.Functions), 1)*function.BlockRows*4))
	}
	for range workers {
		g.Go(func() error {
			for i := range turns {
				if err := r.part(ctx, i, queues[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() (err error) {
		rows, err = r.write(ctx, queues, from, sink)
		return err
	})
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return rows, nil
}

// columns tells where each output column comes from: i ≥ 0 is function i,
// −1−i is kept column i.
func (t *Task) columns() ([]int, error) {
	source := map[string]int{}
	for i, f := range t.Functions {
		if _, ok := source[f.Name]; ok {
			return nil, fmt.Errorf("two functions have the name %s", f.Name)
		}
		source[f.Name] = i
	}
	if t.Kept != nil {
		for i, name := range t.Kept.Columns {
			if _, ok := source[name]; ok {
				return nil, fmt.Errorf("the scores of function %s are both kept and made anew", name)
			}
			source[name] = -1 - i
		}
	}
	from := make([]int, len(t.Columns))
	for i, name := range t.Columns {
		at, ok := source[name]
		if !ok {
			return nil, fmt.Errorf("column %s is neither a function nor kept", name)
		}
		from[i] = at
	}
	return from, nil
}

type run struct {
	Task
	pass *function.Pass
	free chan *chunk
	// begun holds a token for every part that was begun and not yet written.
	begun chan struct{}
}

// part reads and scores one part into out, and closes it when all is there.
func (r *run) part(ctx context.Context, i int, out chan<- *chunk) error {
	err := r.Parts[i].Read(ctx, func(b Block) error {
		n := len(b.AssetID)
		if len(b.Version) != n || len(b.Vectors) != n*r.Dim {
			return fmt.Errorf("a block of %d ids has %d versions and %d numbers for vectors of %d", n, len(b.Version), len(b.Vectors), r.Dim)
		}
		c := r.take(n)
		c.ids = append(c.ids[:0], b.AssetID...)
		c.versions = append(c.versions[:0], b.Version...)
		r.pass.Score(b.Vectors, n, c.cols)
		select {
		case out <- c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil {
		close(out) // otherwise the writer must not take the part for whole
	}
	return err
}

// take returns a chunk with room for n scores a function.
func (r *run) take(n int) *chunk {
	var c *chunk
	select {
	case c = <-r.free:
	default:
		c = &chunk{cols: make([][]float32, len(r.Functions))}
	}
	for f := range c.cols {
		if cap(c.cols[f]) < n {
			c.cols[f] = make([]float32, n)
		}
		c.cols[f] = c.cols[f][:n]
	}
	return c
}

// write puts the chunks in order into sink, with the kept columns beside them.
func (r *run) write(ctx context.Context, queues []chan *chunk, from []int, sink Sink) (rows int64, err error) {
	kept := newKeptReader(r.Kept)
	defer kept.stop()
	cols := make([][]float32, len(from))
	for _, q := range queues {
		n, err := r.drain(ctx, q, func(c *chunk) error {
			if err := kept.read(c.ids, c.versions); err != nil {
				return err
			}
			for i, f := range from {
				if f >= 0 {
					cols[i] = c.cols[f]
				} else {
					cols[i] = kept.cols[-1-f]
				}
			}
			return sink.Write(c.ids, c.versions, cols)
		})
		rows += n
		if err != nil {
			return rows, err
		}
		<-r.begun
	}
	if err := kept.end(); err != nil {
		return rows, err
	}
	return rows, ctx.Err()
}

// drain calls fn for every chunk of a part.
func (r *run) drain(ctx context.Context, queue <-chan *chunk, fn func(*chunk) error) (rows int64, err error) {
	for {
		select {
		case c, open := <-queue:
			if !open {
				return rows, nil
			}
			if err := fn(c); err != nil {
				return rows, err
			}
			n := int64(len(c.ids))
			rows += n
			if r.Count != nil {
				r.Count(n)
			}
			select {
			case r.free <- c:
			default:
			}
		case <-ctx.Done():
			return rows, ctx.Err()
		}
	}
}

// keptReader walks through the kept scores beside the parts' rows.
type keptReader struct {
	next func() (Scores, error, bool)
	stop func()
	s    Scores
	at   int         // the next row of s …
	n    int         // … which has so many
	cols [][]float32 // of the rows asked for
}

func newKeptReader(k *Kept) *keptReader {
	if k == nil {
		return &keptReader{stop: func() {}}
	}
	next, stop := iter.Pull2(k.Rows)
	return &keptReader{next: next, stop: stop, cols: make([][]float32, len(k.Columns))}
}

// read fills cols with the scores of the rows.
func (k *keptReader) read(ids, versions []string) error {
	for c := range k.cols {
		k.cols[c] = k.cols[c][:0]
	}
	if k.next == nil {
		return nil
	}
	for i, id := range ids {
		for !k.matches(id, versions[i]) {
			if k.at < k.n {
				k.at++ // a row that is gone
				continue
			}
			if err := k.load(); errors.Is(err, errEnd) {
				return &KeptError{AssetID: id}
			} else if err != nil {
				return err
			}
		}
		for c := range k.cols {
			k.cols[c] = append(k.cols[c], k.s.Columns[c][k.at])
		}
		k.at++
	}
	return nil
}

func (k *keptReader) matches(id, version string) bool {
	return k.at < k.n && (k.s.AssetID == nil || k.s.AssetID[k.at] == id && k.s.Version[k.at] == version)
}

// end checks that rows without ids are used up.
func (k *keptReader) end() error {
	if k.next == nil {
		return nil
	}
	for k.at == k.n {
		if err := k.load(); errors.Is(err, errEnd) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if k.s.AssetID == nil {
		return &KeptError{}
	}
	return nil
}

var errEnd = errors.New("no more rows")

func (k *keptReader) load() error {
	s, err, ok := k.next()
	switch {
	case !ok:
		return errEnd
	case err != nil:
		return fmt.Errorf("read the scores to keep: %w", err)
	case len(s.Version) != len(s.AssetID) || len(s.Columns) != len(k.cols):
		return fmt.Errorf("read the scores to keep: %d ids, %d versions and %d columns of %d", len(s.AssetID), len(s.Version), len(s.Columns), len(k.cols))
	}
	n := len(s.AssetID)
	if s.AssetID == nil && len(s.Columns) > 0 {
		n = len(s.Columns[0])
	}
	for _, c := range s.Columns {
		if len(c) != n {
			return fmt.Errorf("read the scores to keep: a column of %d scores for %d rows", len(c), n)
		}
	}
	k.s, k.at, k.n = s, 0, n
	return nil
}
