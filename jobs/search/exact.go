package search

import (
	"context"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline/vec"
)

// rowsOf are rows of shards by file; nil stands for all rows that may be live.
type rowsOf map[int][]int64

// exact compares queries, n × dim unit numbers, with rows, and returns the at most k
// best of each but for those that it leaves out.
func (s *Searcher) exact(ctx context.Context, queries []float32, k int, except []set, rows rowsOf) ([][]hit, error) {
	if rows != nil || s.l.Table != "" { // all of them are live
		found, err := s.scan(ctx, queries, k, except, rows)
		return found, err
	}
	// Shards may hold rows that are dead. Looking up the best few is much less than
	// knowing of all.
	more := k + max(16, k/8)
	found, err := s.scan(ctx, queries, more, except, nil)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, hits := range found {
		for _, h := range hits {
			ids = append(ids, h.id)
		}
	}
	places, err := s.l.Places(ctx, unique(ids))
	if err != nil {
		return nil, err
	}
	for i, hits := range found {
		full := len(hits) == more
		live := hits[:0]
		for _, h := range hits {
			if p, ok := places[h.id]; ok && p.File == h.file && p.Row == h.row {
				live = append(live, h)
			}
		}
		if len(live) < k && full {
			if err := s.knowAll(ctx); err != nil {
				return nil, err
			}
			return s.exact(ctx, queries, k, except, nil)
		}
		found[i] = live[:min(k, len(live))]
	}
	return found, nil
}

// scan compares queries with rows of shards, some shards at the same time.
func (s *Searcher) scan(ctx context.Context, queries []float32, k int, except []set, rows rowsOf) ([][]hit, error) {
	n := len(queries) / s.l.Dim
	all := make([]top, n)
	for i := range all {
		all[i].k = k
	}
	found := make(chan []top, len(s.l.Files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range s.l.Files {
		only := f.Only
		switch {
		case rows != nil:
			if only = rows[i]; len(only) == 0 {
				continue
			}
		case s.l.Table != "" && f.Live == 0:
			continue
		}
		g.Go(func() error {
			part, err := s.scanFile(ctx, queries, k, except, i, only)
			found <- part
			return err
		})
	}
	err := g.Wait()
	close(found)
	if err != nil {
		return nil, err
	}
	for part := range found {
		for q := range part {
			for _, h := range part[q].heap {
				if all[q].wants(h.score, h.id) {
					all[q].add(h)
				}
			}
		}
	}
	out := make([][]hit, n)
	for i := range all {
		out[i] = all[i].sorted()
	}
	return out, nil
}

// scanFile compares queries with rows of one shard; nil for all.
func (s *Searcher) scanFile(ctx context.Context, queries []float32, k int, except []set, file int, only []int64) ([]top, error) {
	n := len(queries) / s.l.Dim
	best := make([]top, n)
	for q := range best {
		best[q].k = k
	}
	var scores []float32
	first := 0
	err := s.l.RowsOf(ctx, file, only, func(ids []string, vectors []float32) error {
		if len(scores) < n*len(ids) {
			scores = make([]float32, n*len(ids))
		}
		vec.MulABT(n, len(ids), s.l.Dim, queries, vectors, scores)
		for q := range best {
			for i, score := range scores[q*len(ids) : (q+1)*len(ids)] {
				if !best[q].wants(score, ids[i]) || except[q][ids[i]] {
					continue
				}
				row := int64(first + i)
				if only != nil {
					row = only[first+i]
				}
				best[q].add(hit{strings.Clone(ids[i]), score, file, row})
			}
		}
		first += len(ids)
		return nil
	})
	return best, err
}
