package index

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"winnow/io/index"
	"winnow/jobs/internal/workspace"
)

// rows are live rows of an embedding in the order that an index numbers them: by
// file, then by row. It is an index.Vectors.
type rows struct {
	l     *workspace.Live
	files []fileRows
	n     int64
}

// fileRows are rows of one file.
type fileRows struct {
	file  int     // of Live.Files
	only  []int64 // ascending; nil for all
	n     int64
	first int64 // the number of the first
}

// liveRows are all live rows.
func liveRows(l *workspace.Live) *rows {
	r := &rows{l: l}
	for i, f := range l.Files {
		r.add(i, f.Only, f.Live)
	}
	return r
}

func (r *rows) add(file int, only []int64, n int64) {
	if n > 0 {
		r.files = append(r.files, fileRows{file, only, n, r.n})
		r.n += n
	}
}

// shards names the files, as index.json does.
func (r *rows) shards() []string {
	var out []string
	for _, f := range r.files {
		out = append(out, r.l.Files[f.file].Path)
	}
	return out
}

// at is the file that holds a row.
func (r *rows) at(row int64) int {
	return sort.Search(len(r.files), func(i int) bool { return r.files[i].first+r.files[i].n > row })
}

// part are the rows of a file from lo to hi-1 of all, as the file numbers them.
func (f *fileRows) part(lo, hi int64) []int64 {
	lo, hi = max(lo-f.first, 0), min(hi-f.first, f.n)
	switch {
	case f.only != nil:
		return f.only[lo:hi]
	case lo == 0 && hi == f.n:
		return nil
	}
	out := make([]int64, 0, hi-lo)
	for row := lo; row < hi; row++ {
		out = append(out, row)
	}
	return out
}

// Range streams rows lo to hi-1.
func (r *rows) Range(ctx context.Context, lo, hi int64, yield func(vectors []float32, n int, first int64) error) error {
	for i := r.at(lo); i < len(r.files) && r.files[i].first < hi; i++ {
		f := &r.files[i]
		next := max(lo, f.first)
		err := r.l.UnitsOf(ctx, f.file, f.part(lo, hi), func(v []float32) error {
			n := len(v) / r.l.Dim
			first := next
			next += int64(n)
			return yield(v, n, first)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Pick streams chosen rows.
func (r *rows) Pick(ctx context.Context, chosen []int64, yield func(vectors []float32, n int) error) error {
	for len(chosen) > 0 {
		f := &r.files[r.at(chosen[0])]
		var only []int64
		for len(chosen) > 0 && chosen[0] < f.first+f.n {
			row := chosen[0] - f.first
			if f.only != nil {
				row = f.only[row]
			}
			only, chosen = append(only, row), chosen[1:]
		}
		if err := r.l.UnitsOf(ctx, f.file, only, func(v []float32) error { return yield(v, len(v)/r.l.Dim) }); err != nil {
			return err
		}
	}
	return nil
}

// ids streams the assets of all rows.
func (r *rows) ids(ctx context.Context, yield func(index.IDBlock) error) error {
	for i := range r.files {
		f := &r.files[i]
		err := r.l.KeysOf(ctx, f.file, f.only, func(ids, versions []string, rows []int64) error {
			return yield(index.IDBlock{IDs: ids, Versions: versions, Shard: int32(i), Rows: rows})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Refiner reads vectors for an index of codes from the shards of its embedding.
func Refiner(l *workspace.Live) index.Refiner {
	files := map[string]int{}
	for i, f := range l.Files {
		files[f.Path] = i
	}
	return func(ctx context.Context, places []index.Place, out []float32) error {
		order := make([]int, len(places))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int {
			if c := strings.Compare(places[a].Shard, places[b].Shard); c != 0 {
				return c
			}
			return int(min(max(places[a].Row-places[b].Row, -1), 1))
		})
		for len(order) > 0 {
			shard := places[order[0]].Shard
			n := sort.Search(len(order), func(i int) bool { return places[order[i]].Shard != shard })
			if file, ok := files[shard]; ok { // else rewritten: its rows are live no more
				if err := unitsAt(ctx, l, file, places, order[:n], out); err != nil {
					return err
				}
			}
			order = order[n:]
		}
		return nil
	}
}

// unitsAt reads the vectors of some places of one file, in their order.
func unitsAt(ctx context.Context, l *workspace.Live, file int, places []index.Place, order []int, out []float32) error {
	var only []int64
	for _, i := range order {
		if row := places[i].Row; len(only) == 0 || only[len(only)-1] != row {
			only = append(only, row)
		}
	}
	if last := only[len(only)-1]; only[0] < 0 || last >= l.Files[file].Rows {
		return fmt.Errorf("the index names row %d of %s, which has %d; delete the folder of the index and run `winnow index`", last, l.Files[file].Path, l.Files[file].Rows)
	}
	return l.UnitsOf(ctx, file, only, func(v []float32) error {
		for k := range len(v) / l.Dim {
			for len(order) > 0 && places[order[0]].Row == only[k] {
				copy(out[order[0]*l.Dim:(order[0]+1)*l.Dim], v[k*l.Dim:(k+1)*l.Dim])
				order = order[1:]
			}
		}
		only = only[len(v)/l.Dim:]
		return nil
	})
}

// Open opens an index of the embedding of l; searches compute cosines from the
// vectors of l where the index has codes only.
func Open(ctx context.Context, w *workspace.Workspace, l *workspace.Live, m *index.Meta) (*index.Folder, error) {
	return index.OpenFolder(ctx, w.Store.Sub(path.Join(workspace.IndexDir(l.Embedding.Name), m.ID)), w.Cache, index.WithVectors(Refiner(l)))
}
