package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"winnow/io/store"
	"winnow/pipeline/vec"
)

// Folder is an open index: its base and segments, with their ids.
type Folder struct {
	Meta    *Meta
	parts   []*part
	vectors Refiner
}

type part struct {
	first  int64 // row of the index of its row 0
	path   string
	ix     *Index
	ids    *IDs
	f      *os.File
	shards []string
}

// Place is where the vector of a row stands: a file of the embedding's table, and a
// row of it.
type Place struct {
	Shard string
	Row   int64
}

// Refiner reads the unit vectors of rows into out, len(places) × dim. A place that is
// not there any more gets a vector of zeros.
type Refiner func(ctx context.Context, places []Place, out []float32) error

// Option changes how OpenFolder opens.
type Option func(*Folder)

// WithVectors lets searches compute the cosines of candidates from their vectors,
// where the index has codes only: see Params.Refine.
func WithVectors(r Refiner) Option { return func(f *Folder) { f.vectors = r } }

// OpenFolder opens the index in the folder s; files that it shares with earlier
// versions lie in folders beside. Files of a bucket are copied to cacheDir first,
// where the index file must stay while it is open.
func OpenFolder(ctx context.Context, s *store.Store, cacheDir string, options ...Option) (_ *Folder, err error) {
	m, err := ReadMeta(ctx, s)
	if err != nil {
		return nil, err
	}
	f := &Folder{Meta: m}
	for _, o := range options {
		o(f)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	first := int64(0)
	for i := range m.Parts {
		p, err := openPart(ctx, s, m, i, cacheDir)
		if p != nil {
			f.parts = append(f.parts, p)
		}
		if err != nil {
			return nil, err
		}
		p.first = first
		first += m.Parts[i].Rows
	}
	return f, nil
}

func openPart(ctx context.Context, s *store.Store, m *Meta, i int, cacheDir string) (*part, error) {
	at := &m.Parts[i]
	p := &part{shards: at.Shards}
	lists, err := local(ctx, s, m, &at.Lists, cacheDir)
	if err != nil {
		return nil, err
	}
	p.path = lists
	if p.ix, err = Open(lists, m.part(i)); err != nil {
		return nil, err
	}
	ids, err := local(ctx, s, m, &at.IDs, cacheDir)
	if err != nil {
		return p, err
	}
	if p.f, err = os.Open(ids); err != nil {
		return p, err
	}
	if p.ids, err = openIDs(p.f, at.IDs.Size, at.Rows); err != nil {
		return p, fmt.Errorf("open %s: %w", ids, err)
	}
	return p, nil
}

// folderOf is the folder that a file of the index in s lies in.
func folderOf(s *store.Store, m *Meta, f *File) *store.Store {
	if up := s.Parent(); up != nil && f.Folder != m.ID {
		return up.Sub(f.Folder)
	}
	return s
}

// local returns a local copy of a file of the index in s, of the right size.
func local(ctx context.Context, s *store.Store, m *Meta, want *File, cacheDir string) (string, error) {
	in := folderOf(s, m, want)
	path, err := in.Local(ctx, want.Name, cacheDir)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("%s: %w", in.URL(), damagedf("%s is missing", want.Name))
	}
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Size() != want.Size {
		return "", fmt.Errorf("%s/%s: %w", in.URL(), want.Name, damagedf("it has %d bytes, not %d", st.Size(), want.Size))
	}
	return path, nil
}

// Hit is a row that a search found.
type Hit struct {
	AssetID string  `json:"asset_id"`
	Version string  `json:"version"`
	Score   float32 `json:"score"` // cosine, in [-1, 1]; from codes without WithVectors about that
	Row     int64   `json:"row"`   // in the index
	place   Place
}

// Search returns the at most k nearest assets of each query, a unit vector, best
// first. Rows whose asset has gone since the index was made are among them: the
// caller knows which are live, and asks for a few more.
func (f *Folder) Search(ctx context.Context, queries []float32, k int) ([][]Hit, error) {
	m := f.Meta
	if k < 1 || k > maxSearchResult {
		return nil, fmt.Errorf("k is %d; it must be from 1 to %d", k, maxSearchResult)
	}
	ask := k
	if m.coded() && f.vectors != nil {
		ask = min(max(k*m.Refine, k+recallAt), maxSearchResult)
	}
	found, err := f.nearest(ctx, queries, ask)
	if err != nil {
		return nil, err
	}
	if err := f.describe(ctx, found); err != nil {
		return nil, err
	}
	if m.coded() && f.vectors != nil {
		if err := f.refine(ctx, queries, found); err != nil {
			return nil, err
		}
	}
	for q := range found {
		found[q] = found[q][:min(k, len(found[q]))]
		for i := range found[q] {
			found[q][i].Score = min(max(found[q][i].Score, -1), 1)
		}
	}
	return found, nil
}

// nearest merges what the parts find; assets are not filled in.
func (f *Folder) nearest(ctx context.Context, queries []float32, k int) ([][]Hit, error) {
	found := make([][]Hit, len(queries)/f.Meta.Dim)
	for _, p := range f.parts {
		part, err := p.search(ctx, queries, int(min(int64(k), max(1, p.ix.p.Rows))))
		if err != nil {
			return nil, err
		}
		for q, hits := range part {
			found[q] = append(found[q], hits...)
		}
	}
	for q := range found {
		slices.SortFunc(found[q], compareFound)
		found[q] = found[q][:min(k, len(found[q]))]
	}
	return found, nil
}

func compareFound(a, b Hit) int { return compareHits(hit{a.Score, a.Row}, hit{b.Score, b.Row}) }

func (p *part) search(ctx context.Context, queries []float32, k int) ([][]Hit, error) {
	scores, rows, err := p.ix.Search(ctx, queries, k)
	if err != nil {
		return nil, err
	}
	found := make([][]Hit, len(rows)/k)
	for i, row := range rows {
		if row >= 0 {
			found[i/k] = append(found[i/k], Hit{Score: scores[i], Row: p.first + row})
		}
	}
	return found, nil
}

// describe fills in the assets of hits.
func (f *Folder) describe(ctx context.Context, found [][]Hit) error {
	for _, p := range f.parts {
		var rows []int64
		mine := func(h *Hit) bool { return h.Row >= p.first && h.Row < p.first+p.ix.p.Rows }
		for q := range found {
			for i := range found[q] {
				if h := &found[q][i]; mine(h) {
					rows = append(rows, h.Row-p.first)
				}
			}
		}
		if len(rows) == 0 {
			continue
		}
		ids, err := p.ids.lookup(ctx, rows)
		if err != nil {
			return err
		}
		for q := range found {
			for i := range found[q] {
				if h := &found[q][i]; mine(h) {
					r := ids[h.Row-p.first]
					if r.Shard < 0 || int(r.Shard) >= len(p.shards) {
						return damagedf("row %d is of shard %d of %d", h.Row, r.Shard, len(p.shards))
					}
					h.AssetID, h.Version, h.place = r.AssetID, r.Version, Place{p.shards[r.Shard], r.Row}
				}
			}
		}
	}
	return nil
}

// refine computes the candidates' cosines from their vectors, and orders them anew.
func (f *Folder) refine(ctx context.Context, queries []float32, found [][]Hit) error {
	const queriesAtOnce = 64
	dim := f.Meta.Dim
	for q0 := 0; q0 < len(found); q0 += queriesAtOnce {
		part := found[q0:min(q0+queriesAtOnce, len(found))]
		var places []Place
		for _, hits := range part {
			for _, h := range hits {
				places = append(places, h.place)
			}
		}
		vectors := make([]float32, len(places)*dim)
		if err := f.vectors(ctx, places, vectors); err != nil {
			return fmt.Errorf("read the vectors of %d candidates: %w", len(places), err)
		}
		for i, hits := range part {
			query := queries[(q0+i)*dim : (q0+i+1)*dim]
			for j := range hits {
				hits[j].Score = float32(vec.Dot(query, vectors[:dim]))
				vectors = vectors[dim:]
			}
			slices.SortFunc(hits, compareFound)
		}
	}
	return nil
}

// Close frees the index and closes its files.
func (f *Folder) Close() error {
	var err error
	for _, p := range f.parts {
		if p.ix != nil {
			err = errors.Join(err, p.ix.Close())
		}
		if p.f != nil {
			err = errors.Join(err, p.f.Close())
		}
	}
	f.parts = nil
	return err
}

// Verify reads the files of the index in s and compares their hashes with
// index.json: it finds changed bytes that OpenFolder, which checks the structure,
// cannot see.
func Verify(ctx context.Context, s *store.Store) error {
	m, err := ReadMeta(ctx, s)
	if err != nil {
		return err
	}
	for _, want := range m.Files() {
		in := folderOf(s, m, &want)
		r, _, err := in.NewReader(ctx, want.Name)
		if err != nil {
			return err
		}
		h := newHasher()
		_, err = io.Copy(h, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		if got := h.file(want.Folder, want.Name); got != want {
			return fmt.Errorf("%s/%s: %w", in.URL(), want.Name, damagedf("its hash is not the one in %s", MetaFile))
		}
	}
	return nil
}
