package duplicates

import (
	"context"
	"fmt"
	"sync"

	"winnow/io/manifest"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/neighbors"
	"winnow/pipeline/graph"
)

const (
	blockBytes = 96 << 20 // of the vectors that are in memory at a time
	// mostWork is how many multiplications and additions rows with nothing but near
	// neighbours are worth: half an hour of two cores.
	mostWork = 2e14
)

// found is a search on its way.
type found struct {
	c     *Cmd
	w     *workspace.Workspace
	l     *workspace.Live
	r     *Result
	least float32 // cosine

	union  graph.Union
	hashes map[int32]uint64 // of the pictures of grouped rows, with --phash
}

// join makes the groups: rows that are within the distance of each other.
func (f *found) join(ctx context.Context, g *neighbors.Graph) error {
	f.union = graph.NewUnion(int(f.l.Rows))
	if g == nil {
		return nil // a single row
	}
	// A list that ends within the distance may have been cut off there.
	var full []int32
	err := g.Each(ctx, func(first int64, rows []neighbors.Row) error {
		for i, r := range rows {
			row := int32(first) + int32(i)
			within, copyOf := 0, false
			for _, n := range r.Neighbors {
				if n.Cosine < f.least {
					break
				}
				f.union.Join(row, n.Row)
				within++
				// What is near to a copy is near to the row itself.
				copyOf = copyOf || n.Cosine == 1 && n.Row < row
			}
			if within == len(r.Neighbors) && within == g.K && !copyOf {
				full = append(full, row)
			}
		}
		return nil
	})
	if err == nil {
		err = f.complete(ctx, full)
	}
	if err == nil && f.c.PHash >= 0 {
		err = f.looks(ctx)
	}
	return err
}

// complete joins rows that the lists do not tell of: of two such rows neither is
// on the other's list, so both lists are full of nearer ones. Only those are
// compared with each other.
func (f *found) complete(ctx context.Context, full []int32) error {
	if cost := 2 * float64(len(full)) * float64(len(full)) * float64(f.l.Dim); cost > mostWork {
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("%s rows have more near rows than the %d neighbours that are known, too many to compare, so a group may come in parts: lower --distance, or raise neighbors: {k: %d} of the embedding",
			manifest.Thousands(int64(len(full))), f.l.Embedding.K(), f.l.Embedding.K()))
		return nil
	}
	numbers := f.l.Numbers()
	all := func(ctx context.Context, yield func(int, []float32) error) error {
		return numbers.Read(ctx, full, yield)
	}
	step := max(blockBytes/(4*f.l.Dim), 1)
	count := f.w.App.Progress.Start("large groups", "rows", int64(len(full)))
	defer count.Done()
	roots := make([]int32, len(full))
	var mu sync.Mutex
	var joins [][2]int32
	settle := func() {
		for _, j := range joins {
			f.union.Join(j[0], j[1])
		}
		joins = joins[:0]
		for i, row := range full {
			roots[i] = f.union.Find(row)
		}
	}
	for lo := 0; lo < len(full); lo += step {
		hi := min(lo+step, len(full))
		q := &graph.Queries{Dim: f.l.Dim}
		for i := lo; i < hi; i++ {
			q.Rows = append(q.Rows, int32(i))
		}
		err := numbers.Read(ctx, full[lo:hi], func(_ int, v []float32) error { q.Vectors = append(q.Vectors, v...); return nil })
		if err != nil {
			return err
		}
		err = graph.Within(ctx, q, all, f.least, settle,
			func(i int, row int32) bool { return int(row) <= lo+i || roots[lo+i] == roots[row] },
			func(i int, row int32, _ float32) {
				mu.Lock()
				defer mu.Unlock()
				if len(joins) == 0 || joins[len(joins)-1] != [2]int32{full[lo+i], full[row]} {
					joins = append(joins, [2]int32{full[lo+i], full[row]})
				}
			})
		if err != nil {
			return err
		}
		settle()
		count.Add(int64(hi - lo))
	}
	return nil
}
