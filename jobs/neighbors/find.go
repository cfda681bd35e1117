package neighbors

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"winnow/io/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/graph"
	"winnow/pipeline/task"
)

// held is what the tasks of one embedding share in a process.
type held struct {
	live *workspace.Live
	keys *keys

	base  *Graph  // whose lists go on; nil for none
	rowOf []int32 // of each row of base: the live row, -1 where it is gone
	was   []int32 // of each live row: the row of base, -1 where it is new; nil without a base
	fresh []int32 // the live rows that are new

	folder *index.Folder // nil where all rows are compared
	of     []int32       // of each row of the index: the live row, -1 where it is gone
}

// held reads what tasks share, once.
func (s *Stage) held(ctx context.Context, l *workspace.Live, sp spec) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := l.Root + " " + l.Hash
	h := s.hold[name]
	if h == nil {
		k, err := readKeys(ctx, l)
		if err != nil {
			return nil, err
		}
		h = &held{live: l, keys: k}
		if s.hold == nil {
			s.hold = map[string]*held{}
		}
		s.hold[name] = h
	}
	if sp.Base >= 0 && (h.base == nil || h.base.base != sp.Base) {
		if err := h.before(ctx, s.W, sp.Base); err != nil {
			return nil, err
		}
	}
	if sp.Index != "" && h.folder == nil {
		f, err := index.OpenFolder(ctx, s.W.Store.Sub(workspace.IndexDir(l.Embedding.Name)+"/"+sp.Index), s.W.Cache)
		if err != nil {
			return nil, err
		}
		h.folder = f
		var lacks int
		if h.of, lacks, err = h.keys.ofIndex(ctx, f); err != nil {
			return nil, err
		}
		if lacks > 0 {
			return nil, fmt.Errorf("index %s of embedding %s lacks %d of %d rows; run: winnow index", sp.Index, l.Embedding.Name, lacks, l.Rows)
		}
	}
	return h, nil
}

// before reads which rows the table had before.
func (h *held) before(ctx context.Context, w *workspace.Workspace, version int64) error {
	g, err := open(ctx, w, workspace.NeighborsRoot(h.live.Embedding.Name, h.live.Fingerprint), version)
	if err != nil {
		return err
	}
	if g == nil {
		return fmt.Errorf("version %d of the table of neighbours is gone; plan again", version)
	}
	h.base, h.rowOf = g, make([]int32, 0, g.Rows)
	h.was, h.fresh = make([]int32, h.keys.len()), nil
	for i := range h.was {
		h.was[i] = -1
	}
	err = g.keys(ctx, func(_ int64, rows []keyRow) error {
		for _, x := range rows {
			row := h.keys.find(x.AssetID, x.Version)
			if row >= 0 {
				h.was[row] = int32(len(h.rowOf))
			}
			h.rowOf = append(h.rowOf, row)
		}
		return nil
	})
	for row, was := range h.was {
		if was < 0 {
			h.fresh = append(h.fresh, int32(row))
		}
	}
	return err
}

// Do finds the neighbours of one task's rows.
func (s *Stage) Do(ctx context.Context, _ *task.Plan, t task.Task) (*task.Result, error) {
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	e, err := s.W.Embedding(sp.Embedding)
	if err != nil {
		return nil, err
	}
	l, err := s.W.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	if l.Hash != sp.LiveHash {
		return nil, fmt.Errorf("the rows of embedding %s changed since the plan was made; plan again", e.Name)
	}
	h, err := s.held(ctx, l, sp)
	if err != nil {
		return nil, err
	}
	lists, err := h.find(ctx, sp)
	if err != nil {
		return nil, err
	}
	ids, versions, err := h.own(ctx, sp)
	if err != nil {
		return nil, err
	}
	r := &task.Result{Rows: sp.Rows, Output: t.Hash + ".parquet"}
	_, err = s.W.Store.Create(ctx, t.Dir+"/"+r.Output, func(w io.Writer) error {
		return write(w, ids, versions, h.keys.id, func(i int) []graph.Neighbor { return lists[i] })
	})
	return r, err
}

// own reads the ids and versions of a task's rows.
func (h *held) own(ctx context.Context, sp spec) (ids, versions []string, err error) {
	at := int64(0)
	err = h.live.Keys(ctx, func(i, v []string) error {
		lo, hi := max(sp.First-at, 0), min(sp.First+sp.Rows-at, int64(len(i)))
		if at += int64(len(i)); lo < hi {
			ids, versions = append(ids, i[lo:hi]...), append(versions, v[lo:hi]...)
		}
		return nil
	})
	return ids, versions, err
}

// all streams all live vectors.
func (h *held) all(ctx context.Context, yield func(int, []float32) error) error {
	first := 0
	return h.live.Each(ctx, func(ids []string, v []float32) error {
		err := yield(first, v)
		first += len(ids)
		return err
	})
}

// load reads the vectors of some rows.
func (h *held) load(ctx context.Context, rows []int32) (*graph.Queries, error) {
	q := &graph.Queries{Dim: h.live.Dim, Rows: rows, Vectors: make([]float32, 0, len(rows)*h.live.Dim)}
	err := h.live.Numbers().Read(ctx, rows, func(_ int, v []float32) error {
		q.Vectors = append(q.Vectors, v...)
		return nil
	})
	return q, err
}

// find lists the neighbours of a task's rows.
func (h *held) find(ctx context.Context, sp spec) ([][]graph.Neighbor, error) {
	lists := make([][]graph.Neighbor, sp.Rows)
	var search, keep []int32
	if sp.Base < 0 {
		for i := range sp.Rows {
			search = append(search, int32(sp.First+i))
		}
	} else {
		if err := h.carry(ctx, sp, lists); err != nil {
			return nil, err
		}
		for i, list := range lists {
			if row := int32(sp.First) + int32(i); list == nil {
				search = append(search, row)
			} else {
				keep = append(keep, row)
			}
		}
	}
	put := func(rows []int32, found *graph.Lists) {
		for i, row := range rows {
			list := found.Of(i)
			if old := lists[int64(row)-sp.First]; old != nil {
				list = graph.Merge(old, list, sp.K)
			}
			lists[int64(row)-sp.First] = list
		}
	}
	for _, job := range []struct {
		rows []int32
		fn   func(context.Context, *graph.Queries, spec) (*graph.Lists, error)
	}{{search, h.search}, {keep, h.offer}} {
		if len(job.rows) == 0 {
			continue
		}
		q, err := h.load(ctx, job.rows)
		if err != nil {
			return nil, err
		}
		found, err := job.fn(ctx, q, sp)
		if err != nil {
			return nil, err
		}
		put(job.rows, found)
		task.Counter(ctx).Add(int64(len(job.rows)))
	}
	return lists, nil
}

// carry takes the lists over of a task's rows that were there before, unless one
// of their neighbours is gone: then only a search says who comes next.
func (h *held) carry(ctx context.Context, sp spec, lists [][]graph.Neighbor) error {
	inside := func(row int32) bool { return int64(row) >= sp.First && int64(row) < sp.First+sp.Rows }
	for _, f := range h.base.files {
		wanted := false
		for _, row := range h.rowOf[f.first : f.first+f.Rows] {
			if wanted = row >= 0 && inside(row); wanted {
				break
			}
		}
		if !wanted {
			continue
		}
		err := h.base.file(ctx, f, func(first int64, rows []Row) error {
			for i, r := range rows {
				row := h.rowOf[first+int64(i)]
				if row < 0 || !inside(row) {
					continue
				}
				list := r.Neighbors
				for n := range list {
					if list[n].Row = h.rowOf[list[n].Row]; list[n].Row < 0 {
						list = nil
						break
					}
				}
				lists[int64(row)-sp.First] = list
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// search looks among all rows.
func (h *held) search(ctx context.Context, q *graph.Queries, sp spec) (*graph.Lists, error) {
	out := graph.NewLists(q.Len(), sp.K+graph.Slack)
	var err error
	if sp.Index == "" {
		err = graph.Nearest(ctx, q, h.all, out)
	} else {
		err = h.ask(ctx, q, out)
	}
	if err == nil {
		err = graph.Measure(ctx, q, h.all, out)
	}
	out.Sort(sp.K)
	return out, err
}

// ask has the index choose candidates.
func (h *held) ask(ctx context.Context, q *graph.Queries, out *graph.Lists) error {
	// As many more as are dead, and the row itself.
	ask := (out.Most()+1)*len(h.of)/h.keys.len() + 1
	const step = 1024
	for lo := 0; lo < q.Len(); lo += step {
		hi := min(lo+step, q.Len())
		scores, rows, err := h.folder.SearchRows(ctx, q.Vectors[lo*q.Dim:hi*q.Dim], ask)
		if err != nil {
			return err
		}
		for i, row := range rows {
			if row < 0 {
				continue
			}
			if n := h.of[row]; n >= 0 && n != q.Rows[lo+i/ask] {
				out.Offer(lo+i/ask, graph.Neighbor{Row: n, Cosine: scores[i]})
			}
		}
		task.Counter(ctx).Add(0)
	}
	return nil
}

// offer looks among the new rows.
func (h *held) offer(ctx context.Context, q *graph.Queries, sp spec) (*graph.Lists, error) {
	out := graph.NewLists(q.Len(), min(sp.K+graph.Slack, max(len(h.fresh), 1)))
	if len(h.fresh) == 0 {
		return out, nil
	}
	numbers := h.live.Numbers()
	// The new rows stand for themselves: their numbers ascend with their places.
	src := func(ctx context.Context, yield func(int, []float32) error) error {
		return numbers.Read(ctx, h.fresh, yield)
	}
	places := &graph.Queries{Dim: q.Dim, Rows: make([]int32, q.Len()), Vectors: q.Vectors}
	for i := range places.Rows {
		places.Rows[i] = -1 // none of them is new
	}
	err := graph.Nearest(ctx, places, src, out)
	if err == nil {
		err = graph.Measure(ctx, places, src, out)
	}
	for i := range q.Len() {
		list := out.Of(i)
		for n := range list {
			list[n].Row = h.fresh[list[n].Row]
		}
	}
	out.Sort(sp.K)
	return out, err
}
