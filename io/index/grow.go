package index

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	"winnow/io/store"
)

// Growth is what a new version of an index changes: rows that come, and rows whose
// assets are gone.
type Growth struct {
	Lists   []MergePart      // of the new rows
	Queries *Queries         // new rows to measure with: see ChooseQueries
	Rows    int64            // how many came
	IDs     IDSource         // theirs
	Dead    int64            // rows of the index that are live no more
	Fold    bool             // make one base of all parts, without the dead rows
	Live    func(Place) bool // whether a row is; for Fold
}

// Extend publishes the next version of the open index f in the folder s, which lies
// beside f's. The new rows become a segment, in a time that does not grow with the rows
// before; with Fold everything becomes one new base, by copying the lists. What was
// trained, and nprobe, stay. Drift says how well they still fit.
func Extend(ctx context.Context, s *store.Store, f *Folder, spec Spec, g *Growth) (_ *Meta, err error) {
	m, err := ReadMeta(ctx, s)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return m, err
	}
	dir, err := os.MkdirTemp(spec.TempDir, "winnow-index-")
	if err != nil {
		return nil, fmt.Errorf("extend index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	next := *f.Meta
	next.ID, next.Number, next.Live, next.TableVersion = spec.ID, spec.Number, spec.Live, spec.TableVersion
	next.Parts = append([]Part(nil), f.Meta.Parts...)
	x := &extension{m: &next, f: f, g: g, spec: &spec, dir: dir}
	next.Drift.NewRows, next.Drift.NewRecall = 0, 0
	if g.Rows > 0 {
		if err := x.segment(ctx); err != nil {
			return nil, err
		}
	}
	next.Dead = g.Dead
	switch {
	case g.Fold:
		next.Dead = 0
		err = x.fold(ctx, s)
	case g.Rows > 0:
		err = x.append(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	if err := x.drift(); err != nil {
		return nil, err
	}
	return next.put(ctx, s)
}

type extension struct {
	m    *Meta
	f    *Folder
	g    *Growth
	spec *Spec
	dir  string
	path string // of the segment
	base string // of the new base
}

// segment merges the new rows' lists into one file.
func (x *extension) segment(ctx context.Context) error {
	p := x.m.Params
	p.Rows = x.g.Rows
	x.path = filepath.Join(x.dir, SegmentFile)
	if err := Merge(ctx, x.path, p, x.g.Lists); err != nil {
		return err
	}
	if p.Kind == Flat {
		return nil
	}
	if err := writeProbes(x.path, &p); err != nil {
		return err
	}
	if x.g.Queries == nil || len(x.g.Queries.Rows) == 0 {
		return nil
	}
	recall, err := x.recall(ctx, &p)
	if err != nil {
		return fmt.Errorf("measure recall of new rows: %w", err)
	}
	x.m.Drift.NewRows, x.m.Drift.NewRecall = p.Rows, recall
	return nil
}

// deeper is how many times more lists than usual are read for what stands for the
// truth: an exact search would read all rows, which growth must not.
const deeper = 16

// recall is the share of new rows' nearest rows in the whole index, as a search of many
// more lists finds them, that a usual search finds.
func (x *extension) recall(ctx context.Context, p *Params) (_ float64, err error) {
	seg, err := Open(x.path, *p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, seg.Close()) }()
	parts := append(append([]*part(nil), x.f.parts...), &part{first: x.f.Meta.Rows, ix: seg})
	want, err := x.nearest(ctx, parts, recallAt, deeper*p.NProbe)
	if err != nil {
		return 0, err
	}
	found, err := x.nearest(ctx, parts, recallAt*max(1, p.Refine), p.NProbe)
	if err != nil {
		return 0, err
	}
	got, of := 0, 0
	for q := range want {
		g, o := share(want[q], found[q], p.coded())
		got, of = got+g, of+o
	}
	return float64(got) / float64(max(of, 1)), nil
}

// nearest are the k rows nearest to each query but itself.
func (x *extension) nearest(ctx context.Context, parts []*part, k, nprobe int) ([][]hit, error) {
	q := x.g.Queries
	out := make([][]hit, len(q.Rows))
	for _, p := range parts {
		scores, rows, err := p.ix.SearchProbes(ctx, q.Vectors, k+1, nprobe)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			if row >= 0 {
				out[i/(k+1)] = append(out[i/(k+1)], hit{scores[i], p.first + row})
			}
		}
	}
	for i := range out {
		slices.SortFunc(out[i], compareHits)
		out[i] = without(out[i], x.f.Meta.Rows+q.Rows[i], k)
	}
	return out, nil
}

func (x *extension) append(ctx context.Context, s *store.Store) error {
	part, err := putPart(ctx, s, x.m, SegmentFile, x.path, x.spec.Shards, x.g.Rows, x.g.IDs)
	if err != nil {
		return err
	}
	x.m.Parts = append(x.m.Parts, *part)
	x.m.Rows += x.g.Rows
	return nil
}

// fold copies the lists of all parts, without the dead rows, into one base.
func (x *extension) fold(ctx context.Context, s *store.Store) error {
	x.base = filepath.Join(x.dir, BaseFile)
	var parts []MergePart
	keep := make([]*ranks, len(x.f.parts))
	rows := int64(0)
	for i, p := range x.f.parts {
		r, err := p.living(ctx, x.g.Live)
		if err != nil {
			return err
		}
		first := rows
		keep[i] = r
		rows += r.kept
		parts = append(parts, MergePart{Path: p.path, Rows: p.ix.p.Rows, Row: func(row int64) int64 {
			if !r.has(row) {
				return -1
			}
			return first + r.rank(row)
		}})
	}
	if x.g.Rows > 0 {
		first := rows
		rows += x.g.Rows
		parts = append(parts, MergePart{Path: x.path, Rows: x.g.Rows, Row: func(row int64) int64 { return first + row }})
	}
	x.m.Rows = rows
	if err := Merge(ctx, x.base, x.m.Params, parts); err != nil {
		return err
	}
	var shards []string
	for _, p := range x.f.parts {
		shards = append(shards, p.shards...)
	}
	old := int32(len(shards))
	part, err := putPart(ctx, s, x.m, BaseFile, x.base, append(shards, x.spec.Shards...), rows, func(ctx context.Context, yield func(IDBlock) error) error {
		if err := x.f.kept(ctx, keep, yield); err != nil || x.g.Rows == 0 {
			return err
		}
		return x.g.IDs(ctx, func(b IDBlock) error {
			b.Shard += old
			return yield(b)
		})
	})
	if err != nil {
		return err
	}
	x.m.Parts = []Part{*part}
	return nil
}

// kept streams the assets of the rows that stay.
func (f *Folder) kept(ctx context.Context, keep []*ranks, yield func(IDBlock) error) error {
	shards := int32(0)
	for i, p := range f.parts {
		err := p.ids.each(ctx, func(first int64, rows []idRow) error {
			b := IDBlock{Shard: -1}
			for k, r := range rows {
				if !keep[i].has(first + int64(k)) {
					continue
				}
				if r.Shard += shards; r.Shard != b.Shard {
					if err := yield(b); err != nil {
						return err
					}
					b = IDBlock{Shard: r.Shard}
				}
				b.IDs, b.Versions, b.Rows = append(b.IDs, r.AssetID), append(b.Versions, r.Version), append(b.Rows, r.Row)
			}
			return yield(b)
		})
		if err != nil {
			return err
		}
		shards += int32(len(p.shards))
	}
	return nil
}

// living marks the rows of a part that are live.
func (p *part) living(ctx context.Context, live func(Place) bool) (*ranks, error) {
	r := newRanks(p.ix.p.Rows)
	err := p.places(ctx, func(row int64, at Place) error {
		if live(at) {
			r.add(row)
		}
		return nil
	})
	r.count()
	return r, err
}

// Places streams where the vectors of all rows stand.
func (f *Folder) Places(ctx context.Context, fn func(row int64, at Place) error) error {
	for _, p := range f.parts {
		err := p.places(ctx, func(row int64, at Place) error { return fn(p.first+row, at) })
		if err != nil {
			return fmt.Errorf("read the rows of index %s: %w", f.Meta.ID, err)
		}
	}
	return nil
}

func (p *part) places(ctx context.Context, fn func(row int64, at Place) error) error {
	return p.ids.eachPlace(ctx, func(row int64, r placeRow) error {
		if r.Shard < 0 || int(r.Shard) >= len(p.shards) {
			return damagedf("row %d is of shard %d of %d", row, r.Shard, len(p.shards))
		}
		return fn(row, Place{p.shards[r.Shard], r.Row})
	})
}

// ranks is a set of rows that knows how many of them come before a row.
type ranks struct {
	set    []uint64
	before []int64
	kept   int64
}

func newRanks(n int64) *ranks {
	words := (n + 63) / 64
	return &ranks{set: make([]uint64, words), before: make([]int64, words)}
}

func (r *ranks) add(row int64)      { r.set[row/64] |= 1 << (row % 64) }
func (r *ranks) has(row int64) bool { return r.set[row/64]>>(row%64)&1 != 0 }

func (r *ranks) count() {
	for i, w := range r.set {
		r.before[i] = r.kept
		r.kept += int64(bits.OnesCount64(w))
	}
}

func (r *ranks) rank(row int64) int64 {
	return r.before[row/64] + int64(bits.OnesCount64(r.set[row/64]&(1<<(row%64)-1)))
}
