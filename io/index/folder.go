package index

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lukechampine.com/blake3"

	"winnow/io/store"
	"winnow/pipeline"
)

// Spec says what Create makes.
type Spec struct {
	ID           string // the folder's name
	Embedding    string
	Fingerprint  string
	TableVersion int64
	Params       Params
	TempDir      string // for the index file on its way; "" is the system's
}

// Create builds an index in the folder s: the index file, the ids, and
// index.json last, put-if-absent. A folder that is finished already is left as
// it is, and its Meta is returned.
func Create(ctx context.Context, s *store.Store, spec Spec, vectors Source, ids IDSource, progress pipeline.Progress) (m *Meta, err error) {
	m, err = ReadMeta(ctx, s)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return m, err
	}
	dir, err := os.MkdirTemp(spec.TempDir, "winnow-index-")
	if err != nil {
		return nil, fmt.Errorf("build index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, BaseFile)
	p, err := Build(ctx, path, spec.Params, vectors, progress)
	if err != nil {
		return nil, err
	}
	m = &Meta{
		Format: metaVersion, ID: spec.ID, Embedding: spec.Embedding, Fingerprint: spec.Fingerprint,
		TableVersion: spec.TableVersion, Params: p, FAISS: FAISSVersion(),
	}
	base, err := put(ctx, s, BaseFile, func(w io.Writer) error { return copyFile(w, path) })
	if err != nil {
		return nil, err
	}
	idf, err := put(ctx, s, IDsFile, func(w io.Writer) error { return writeIDs(ctx, w, p.Rows, ids) })
	if err != nil {
		return nil, err
	}
	m.Files = []File{base, idf}
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	created, err := s.CreateAll(ctx, MetaFile, data)
	if err != nil || created {
		return m, err
	}
	return ReadMeta(ctx, s)
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// put writes an object and returns its size and hash.
func put(ctx context.Context, s *store.Store, name string, fn func(io.Writer) error) (File, error) {
	h := newHasher()
	err := s.Write(ctx, name, func(w io.Writer) error { return fn(io.MultiWriter(w, h)) })
	return h.file(name), err
}

type hasher struct {
	*blake3.Hasher
	n int64
}

func newHasher() *hasher { return &hasher{Hasher: blake3.New(32, nil)} }

func (h *hasher) Write(p []byte) (int, error) {
	n, err := h.Hasher.Write(p)
	h.n += int64(n)
	return n, err
}

func (h *hasher) file(name string) File {
	return File{Name: name, Size: h.n, BLAKE3: hex.EncodeToString(h.Sum(nil))}
}

// Folder is an open index with its ids.
type Folder struct {
	Meta  *Meta
	Index *Index
	IDs   *IDs
	ids   *os.File
}

// OpenFolder opens the index in the folder s. Files of a bucket are copied to
// cacheDir first, where the index file must stay while it is open.
func OpenFolder(ctx context.Context, s *store.Store, cacheDir string) (_ *Folder, err error) {
	m, err := ReadMeta(ctx, s)
	if err != nil {
		return nil, err
	}
	f := &Folder{Meta: m}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	base, err := local(ctx, s, m.file(BaseFile), cacheDir)
	if err != nil {
		return nil, err
	}
	if f.Index, err = Open(base, m.Params); err != nil {
		return nil, err
	}
	ids, err := local(ctx, s, m.file(IDsFile), cacheDir)
	if err != nil {
		return nil, err
	}
	if f.ids, err = os.Open(ids); err != nil {
		return nil, err
	}
	if f.IDs, err = openIDs(f.ids, m.file(IDsFile).Size, m.Rows); err != nil {
		return nil, fmt.Errorf("open %s/%s: %w", s.URL(), IDsFile, err)
	}
	return f, nil
}

// local returns a local copy of a file of the folder, of the right size.
func local(ctx context.Context, s *store.Store, want *File, cacheDir string) (string, error) {
	path, err := s.Local(ctx, want.Name, cacheDir)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("%s: %w", s.URL(), damagedf("%s is missing", want.Name))
	}
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Size() != want.Size {
		return "", fmt.Errorf("%s/%s: %w", s.URL(), want.Name, damagedf("it has %d bytes, not %d", st.Size(), want.Size))
	}
	return path, nil
}

// Hit is a row that a search found.
type Hit struct {
	AssetID string  `json:"asset_id"`
	Version string  `json:"version"`
	Score   float32 `json:"score"` // inner product; of unit vectors the cosine
	Row     int64   `json:"row"`   // in the index
}

// Search returns the at most k nearest assets of each query, best first.
func (f *Folder) Search(ctx context.Context, queries []float32, k int) ([][]Hit, error) {
	scores, rows, err := f.Index.Search(ctx, queries, k)
	if err != nil {
		return nil, err
	}
	ids, versions, err := f.IDs.Lookup(ctx, rows)
	if err != nil {
		return nil, err
	}
	found := make([][]Hit, len(rows)/k)
	for i, row := range rows {
		if row >= 0 {
			found[i/k] = append(found[i/k], Hit{ids[i], versions[i], scores[i], row})
		}
	}
	return found, nil
}

// Close frees the index and closes its files.
func (f *Folder) Close() error {
	var err error
	if f.Index != nil {
		err = f.Index.Close()
	}
	if f.ids != nil {
		err = errors.Join(err, f.ids.Close())
		f.ids = nil
	}
	return err
}

// Verify reads the files of the folder s and compares their hashes with
// index.json: it finds changed bytes that Open, which checks the structure,
// cannot see.
func Verify(ctx context.Context, s *store.Store) error {
	m, err := ReadMeta(ctx, s)
	if err != nil {
		return err
	}
	for _, want := range m.Files {
		r, _, err := s.NewReader(ctx, want.Name)
		if err != nil {
			return err
		}
		h := newHasher()
		_, err = io.Copy(h, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		if got := h.file(want.Name); got != want {
			return fmt.Errorf("%s/%s: %w", s.URL(), want.Name, damagedf("its hash is not the one in %s", MetaFile))
		}
	}
	return nil
}
