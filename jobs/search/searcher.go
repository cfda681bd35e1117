package search

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"winnow/io/index"
	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// set is a set of ids.
type set map[string]bool

func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Searcher finds the nearest live rows of one embedding: by its newest index and the
// rows that the index lacks, or by comparing with all. Its answers are in bounded
// memory whatever the rows.
type Searcher struct {
	By   string // exact, or the index's id and kind
	Note string // what keeps it from its best, and what to do; "" for nothing

	w      *workspace.Workspace
	l      *workspace.Live
	folder *index.Folder // nil: exact
	gap    *gap
	filter *filter // nil without a condition
	shown  *columns
}

// open opens a searcher of the rows that meet the request's condition. The index is
// left alone with Exact.
func open(ctx context.Context, w *workspace.Workspace, l *workspace.Live, r Request) (_ *Searcher, err error) {
	s := &Searcher{By: "exact", w: w, l: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if !r.Exact {
		if err := s.openIndex(ctx); err != nil {
			return nil, err
		}
	}
	if r.Where != "" {
		if err := s.knowAll(ctx); err != nil {
			return nil, err
		}
		if s.filter, err = openFilter(ctx, w, s.l, r.Where, r.Columns); err != nil {
			return nil, err
		}
	}
	s.shown, err = openColumns(ctx, w, r.Columns, s.filter)
	return s, err
}

// Close closes the index.
func (s *Searcher) Close() error {
	if s.folder == nil {
		return nil
	}
	f := s.folder
	s.folder = nil
	return f.Close()
}

// knowAll finds out which rows are live, all of them.
func (s *Searcher) knowAll(ctx context.Context) (err error) {
	if s.l.Table == "" {
		s.l, err = s.w.LiveIn(ctx, s.l.Space)
	}
	return err
}

// openIndex opens the newest index of the embedding, if there is one.
func (s *Searcher) openIndex(ctx context.Context) error {
	name := s.l.Embedding.Name
	m, err := indexjob.Newest(ctx, s.w, name, s.l.Fingerprint)
	if err != nil {
		return rebuild(name, "", err)
	}
	if m == nil {
		if rows := s.l.Stored(); rows > 20_000 {
			s.Note = fmt.Sprintf("there is no index, so all %d rows were compared; build one with: winnow index", rows)
		}
		s.By = "exact: there is no index yet"
		return nil
	}
	s.folder, err = indexjob.Open(ctx, s.w, s.l, m)
	if err != nil {
		return rebuild(name, m.ID, err)
	}
	s.By = "index " + m.ID + ", " + m.Factory
	if s.gap, s.l, err = findGap(ctx, s.w, s.l, m, s.folder); err != nil {
		return rebuild(name, m.ID, err)
	}
	s.Note = s.gap.note(m.ID)
	return nil
}

// rebuild says what else to do about a damaged index.
func rebuild(embedding, id string, err error) error {
	if !errors.Is(err, index.ErrDamaged) {
		return err
	}
	dir := workspace.IndexDir(embedding)
	if id != "" {
		dir += "/" + id
	}
	return fmt.Errorf("%w (it is %s; the vectors are elsewhere and safe). Until then search with --exact", err, dir)
}

// Bounds of over-fetching: an index is asked for more rows than are wanted, for some
// of them are dead or do not meet the condition.
const (
	mostFetched = 20_000 // rows a query; beyond, comparing with the rows that meet the condition is less work
	fewMatching = 5_000  // rows that are compared one by one rather than asked for
)

// Find returns the at most k nearest rows of each query, best first. queries are n ×
// dim numbers, rows of unit length; except are ids to leave out, a set a query.
func (s *Searcher) Find(ctx context.Context, queries []float32, k int, except []set) ([][]hit, error) {
	var rows rowsOf
	if s.filter != nil {
		if s.filter.n == 0 {
			return make([][]hit, len(queries)/s.l.Dim), nil
		}
		if s.folder == nil || s.filter.n <= fewMatching || s.filter.fetch(k, s.l.Rows) > mostFetched {
			rows, err := s.filter.rows(ctx)
			if err != nil {
				return nil, err
			}
			s.By = fmt.Sprintf("exact, over the %d rows that meet the condition", s.filter.n)
			return s.exact(ctx, queries, k, except, rows)
		}
	}
	if s.folder == nil {
		return s.exact(ctx, queries, k, except, rows)
	}
	found, err := s.byIndex(ctx, queries, k, except)
	if err != nil || len(s.gap.Missing) == 0 {
		return found, err
	}
	missing, err := s.missing(ctx)
	if err != nil {
		return nil, err
	}
	more, err := s.exact(ctx, queries, k, except, missing)
	if err != nil {
		return nil, err
	}
	for i := range found {
		found[i] = merge(found[i], more[i], k)
	}
	return found, nil
}

// merge joins hits, each id once, and keeps the k first.
func merge(a, b []hit, k int) []hit {
	all := append(a, b...)
	slices.SortFunc(all, compare)
	seen := set{}
	all = slices.DeleteFunc(all, func(h hit) bool {
		twice := seen[h.id]
		seen[h.id] = true
		return twice
	})
	return all[:min(k, len(all))]
}

// missing are the rows that the index lacks and that meet the condition.
func (s *Searcher) missing(ctx context.Context) (rowsOf, error) {
	rows := s.gap.rows()
	if s.filter == nil {
		return rows, nil
	}
	return s.filter.among(ctx, rows)
}

// byIndex asks the index for more and more rows until enough of them are live, meet
// the condition and are not left out. Queries that it cannot answer in full are
// answered by comparing.
func (s *Searcher) byIndex(ctx context.Context, queries []float32, k int, except []set) ([][]hit, error) {
	dim := s.l.Dim
	out := make([][]hit, len(queries)/dim)
	open := make([]int, len(out))
	for i := range open {
		open[i] = i
	}
	var short []int
	for fetch := s.fetch(k, except); len(open) > 0; fetch *= 4 {
		fetch = min(fetch, max(mostFetched, 2*k))
		hits, err := s.folder.Search(ctx, pick(queries, dim, open), fetch)
		if err != nil {
			return nil, rebuild(s.l.Embedding.Name, s.folder.Meta.ID, err)
		}
		kept, err := s.keep(ctx, hits, open, except)
		if err != nil {
			return nil, err
		}
		var next []int
		for i, q := range open {
			switch {
			case len(kept[i]) >= k:
				out[q] = kept[i][:k]
			case len(hits[i]) < fetch || fetch >= max(mostFetched, 2*k): // that was all it has, or enough of it
				out[q] = kept[i]
				short = append(short, q)
			default:
				next = append(next, q)
			}
		}
		open = next
	}
	return out, s.complete(ctx, queries, k, except, out, short)
}

// fetch is how many rows an index is asked for first.
func (s *Searcher) fetch(k int, except []set) int {
	most := 0
	for _, e := range except {
		most = max(most, len(e))
	}
	n := k + most
	if len(s.gap.Dead) > 0 {
		n += max(8, k/4)
	}
	if s.filter != nil {
		n = s.filter.fetch(n, s.l.Rows)
	}
	return n
}

// complete answers queries exactly that the index gave too few rows for, where there
// are more.
func (s *Searcher) complete(ctx context.Context, queries []float32, k int, except []set, out [][]hit, short []int) error {
	var rows rowsOf
	total := s.folder.Meta.Rows - int64(len(s.gap.Dead))
	if s.filter != nil {
		total = s.filter.n
	}
	short = slices.DeleteFunc(short, func(q int) bool { return int64(len(out[q])+len(except[q])) >= total })
	if len(short) == 0 {
		return nil
	}
	if s.filter != nil {
		var err error
		if rows, err = s.filter.rows(ctx); err != nil {
			return err
		}
	}
	sets := make([]set, len(short))
	for i, q := range short {
		sets[i] = except[q]
	}
	found, err := s.exact(ctx, pick(queries, s.l.Dim, short), k, sets, rows)
	for i, hits := range found {
		out[short[i]] = hits
	}
	return err
}

func pick(queries []float32, dim int, which []int) []float32 {
	if len(which)*dim == len(queries) {
		return queries
	}
	out := make([]float32, 0, len(which)*dim)
	for _, q := range which {
		out = append(out, queries[q*dim:(q+1)*dim]...)
	}
	return out
}

// keep drops the hits that are dead, left out or do not meet the condition; which are
// the numbers of their queries.
func (s *Searcher) keep(ctx context.Context, found [][]index.Hit, which []int, except []set) ([][]hit, error) {
	var allowed set
	if s.filter != nil {
		var ids []string
		for _, hits := range found {
			for _, h := range hits {
				ids = append(ids, h.AssetID)
			}
		}
		var err error
		if allowed, err = s.filter.allowed(ctx, unique(ids)); err != nil {
			return nil, err
		}
	}
	out := make([][]hit, len(found))
	for i, hits := range found {
		seen := set{}
		for _, h := range hits {
			id := h.AssetID
			if seen[id] || except[which[i]][id] || s.gap.isDead(id, h.Version) || allowed != nil && !allowed[id] {
				continue
			}
			seen[id] = true
			out[i] = append(out[i], hit{id: id, score: h.Score})
		}
		slices.SortFunc(out[i], compare)
	}
	return out, nil
}

// none says that an embedding has nothing to find.
func none(name string) error {
	return pipeline.Usagef("embedding %s has no rows yet; run: winnow run", name)
}
