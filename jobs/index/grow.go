package index

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"winnow/io/index"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
)

// When segments and dead rows are folded into the base.
const (
	mostSegments    = 8
	mostSegmentRows = 0.25 // of the base's
	mostDead        = 0.1  // of the index's rows
)

// changes are what an index lacks, and how many of its rows are dead.
type changes struct {
	fresh *rows
	dead  int64
}

// rows are the rows that the tasks of a build add.
func (s *Stage) rows(ctx context.Context, b *build, l *workspace.Live) (*rows, error) {
	if b.Before == "" {
		return liveRows(l), nil
	}
	c, err := s.changes(ctx, b.Before, l)
	if err != nil {
		return nil, err
	}
	return c.fresh, nil
}

// changes compares an index with the live rows.
func (s *Stage) changes(ctx context.Context, id string, l *workspace.Live) (_ *changes, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := id + " " + l.Hash
	if c := s.grown[key]; c != nil {
		return c, nil
	}
	f, err := Open(ctx, s.W, l, &index.Meta{ID: id})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := compare(ctx, f, l)
	if err != nil {
		return nil, err
	}
	if s.grown == nil {
		s.grown = map[string]*changes{}
	}
	s.grown[key] = c
	return c, nil
}

func compare(ctx context.Context, f *index.Folder, l *workspace.Live) (*changes, error) {
	live := newRowSets(l)
	has := make([][]uint64, len(l.Files))
	c := &changes{fresh: &rows{l: l}}
	err := f.Places(ctx, func(_ int64, at index.Place) error {
		file, ok := live.files[at.Shard]
		if !ok || !live.has(file, at.Row) {
			c.dead++
			return nil
		}
		if has[file] == nil {
			has[file] = make([]uint64, (l.Files[file].Rows+63)/64)
		}
		has[file][at.Row/64] |= 1 << (at.Row % 64)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, f := range l.Files {
		if f.Live == 0 {
			continue
		}
		if has[i] == nil {
			c.fresh.add(i, f.Only, f.Live)
			continue
		}
		var only []int64
		each(f, func(row int64) {
			if has[i][row/64]>>(row%64)&1 == 0 {
				only = append(only, row)
			}
		})
		c.fresh.add(i, only, int64(len(only)))
	}
	return c, nil
}

// each calls fn for the live rows of a file.
func each(f workspace.LiveFile, fn func(row int64)) {
	if f.Only == nil {
		for row := range f.Rows {
			fn(row)
		}
		return
	}
	for _, row := range f.Only {
		fn(row)
	}
}

// rowSets tells which rows of which files are live.
type rowSets struct {
	files map[string]int
	l     *workspace.Live
	sets  [][]uint64 // nil: all
}

func newRowSets(l *workspace.Live) *rowSets {
	s := &rowSets{files: map[string]int{}, l: l, sets: make([][]uint64, len(l.Files))}
	for i, f := range l.Files {
		s.files[f.Path] = i
		if f.Only != nil {
			s.sets[i] = make([]uint64, (f.Rows+63)/64)
			for _, row := range f.Only {
				s.sets[i][row/64] |= 1 << (row % 64)
			}
		}
	}
	return s
}

func (s *rowSets) has(file int, row int64) bool {
	if row < 0 || row >= s.l.Files[file].Rows {
		return false
	}
	return s.sets[file] == nil && s.l.Files[file].Live > 0 || s.sets[file] != nil && s.sets[file][row/64]>>(row%64)&1 != 0
}

func (s *rowSets) live(at index.Place) bool {
	file, ok := s.files[at.Shard]
	return ok && s.has(file, at.Row)
}

// grow plans the next version of an index. One that is damaged is built anew.
func (s *Stage) grow(ctx context.Context, l *workspace.Live, m *index.Meta, b *build) error {
	c, err := s.changes(ctx, m.ID, l)
	if errors.Is(err, index.ErrDamaged) || errors.Is(err, store.ErrNotFound) {
		b.Why = fmt.Sprintf("index %s is of no use: %v", m.ID, err)
		return nil
	}
	if err != nil {
		return err
	}
	b.Before, b.Trained, b.Dead = m.ID, m.Trained, c.dead
	b.Params = m.Params
	b.Params.Rows = c.fresh.n
	segments := m.Rows - m.Parts[0].Rows + c.fresh.n
	var why []string
	if c.fresh.n > 0 {
		why = append(why, fmt.Sprintf("%d rows are new", c.fresh.n))
	}
	if gone := c.dead - m.Dead; gone > 0 {
		why = append(why, fmt.Sprintf("%d are gone", gone))
	}
	switch n := len(m.Parts); {
	case s.Compact:
		b.Fold = true
		why = append(why, "compaction was asked for")
	case n > mostSegments && c.fresh.n > 0:
		b.Fold = true
		why = append(why, fmt.Sprintf("there are %d segments", n-1))
	case float64(segments) > mostSegmentRows*float64(m.Parts[0].Rows) && n > 1:
		b.Fold = true
		why = append(why, fmt.Sprintf("segments have %d rows, the base %d", segments, m.Parts[0].Rows))
	case float64(c.dead) > mostDead*float64(m.Rows):
		b.Fold = true
		why = append(why, fmt.Sprintf("%d of its %d rows are dead", c.dead, m.Rows))
	}
	if len(why) == 0 {
		why = append(why, "the files of its rows changed")
	}
	b.Why = strings.Join(why, ", ")
	return nil
}

// extend publishes the next version.
func (s *Stage) extend(ctx context.Context, in *store.Store, to index.Spec, made *index.Built, r *rows, l *workspace.Live, b *build) (_ *index.Meta, err error) {
	f, err := Open(ctx, s.W, l, &index.Meta{ID: b.Before})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	q, err := index.ReadQueries(ctx, r, b.Params.Dim, index.ChooseQueries(b.Params, r.n))
	if err != nil {
		return nil, err
	}
	return index.Extend(ctx, in, f, to, &index.Growth{
		Lists: made.Lists, Queries: q, Rows: r.n, IDs: r.ids, Dead: b.Dead, Fold: b.Fold, Live: newRowSets(l).live,
	})
}

// what says what a build does.
func (b *build) what() string {
	switch {
	case b.Before == "":
		return "build " + b.Params.Factory
	case b.Fold:
		return "compact " + b.Before
	case b.Params.Rows == 0:
		return "keep " + b.Before
	}
	return "grow " + b.Before
}

// note remembers what was done and why.
func (s *Stage) note(b *build, m *index.Meta) {
	if m == nil {
		return
	}
	did := fmt.Sprintf("built %s of %d rows", m.Factory, m.Rows)
	switch {
	case b.Before == "":
	case b.Fold:
		did = fmt.Sprintf("compacted to %d rows", m.Rows)
	case b.Params.Rows == 0:
		did = fmt.Sprintf("marked %d rows as dead", m.Dead)
	default:
		did = fmt.Sprintf("grew by a segment of %d rows to %d", b.Params.Rows, m.Rows)
	}
	text := fmt.Sprintf("%s: %s, recall@10 %.3f: %s", b.Embedding, did, m.Recall10, b.Why)
	if d := m.Drift; d.NewRecall > 0 {
		text += fmt.Sprintf("; of the new rows %.3f", d.NewRecall)
	}
	if m.Drift.Retrain != "" {
		text += "; the next run trains anew: " + m.Drift.Retrain
	}
	s.notes = append(s.notes, text)
}

// Notes say what Commit did and why.
func (s *Stage) Notes() []string { return s.notes }
