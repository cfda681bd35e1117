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

// Spec says what an index is of.
type Spec struct {
	ID           string // the folder's name
	Number       int64
	Embedding    string
	Fingerprint  string
	TableVersion int64
	Live         string // hash of the live rows
	Asked        string // the kind that was asked for
	Params       Params
	Shards       []string // where the rows' vectors stand, as the blocks of ids number them
	TempDir      string   // for files on their way; "" is the system's
}

// Create builds an index in the folder s in one go: Train, Lists and Publish. A
// folder that is finished already is left as it is, and its Meta is returned.
func Create(ctx context.Context, s *store.Store, spec Spec, vectors Vectors, ids IDSource, progress pipeline.Progress) (m *Meta, err error) {
	m, err = ReadMeta(ctx, s)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return m, err
	}
	dir, err := os.MkdirTemp(spec.TempDir, "winnow-index-")
	if err != nil {
		return nil, fmt.Errorf("build index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &Built{Trained: filepath.Join(dir, TrainedFile)}
	if b.Queries, err = Train(ctx, b.Trained, spec.Params, vectors, progress); err != nil {
		return nil, err
	}
	if b.Lists, b.Truth, err = allLists(ctx, dir, b.Trained, spec.Params, vectors, b.Queries, progress); err != nil {
		return nil, err
	}
	return Publish(ctx, s, spec, b, ids, progress)
}

// Built is what training and the tasks of a build have made: local files.
type Built struct {
	Trained string
	Lists   []MergePart // in the order of the rows
	Queries *Queries
	Truth   *Truth // over all rows
}

// Publish merges the lists, tunes nprobe to the recall asked for, and writes the
// folder s: the merged file, the trained one, the ids, and index.json last,
// put-if-absent. An index that misses its recall is an error, and is not written.
func Publish(ctx context.Context, s *store.Store, spec Spec, b *Built, ids IDSource, progress pipeline.Progress) (m *Meta, err error) {
	dir, err := os.MkdirTemp(spec.TempDir, "winnow-index-")
	if err != nil {
		return nil, fmt.Errorf("build index: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m = &Meta{
		Format: metaVersion, ID: spec.ID, Number: spec.Number, Embedding: spec.Embedding, Fingerprint: spec.Fingerprint,
		TableVersion: spec.TableVersion, Live: spec.Live, Asked: spec.Asked, Params: spec.Params, FAISS: FAISSVersion(),
	}
	path := filepath.Join(dir, BaseFile)
	if err := Merge(ctx, path, m.Params, b.Lists); err != nil {
		return nil, err
	}
	if err := Tune(ctx, path, &m.Params, b.Queries, b.Truth, progress); err != nil {
		return nil, err
	}
	if m.Kind != Flat {
		sizes := make([]int64, m.NList)
		if err := addSizes(sizes, path, &m.Params); err != nil {
			return nil, err
		}
		m.Drift = Drift{TrainedRows: m.Rows, Trained: imbalance(sizes), Imbalance: imbalance(sizes)}
	}
	part, err := putPart(ctx, s, m, BaseFile, path, spec.Shards, m.Rows, ids)
	if err != nil {
		return nil, err
	}
	m.Parts = []Part{*part}
	if m.Kind != Flat {
		trained, err := put(ctx, s, m.ID, TrainedFile, func(w io.Writer) error { return copyFile(w, b.Trained) })
		if err != nil {
			return nil, err
		}
		m.Trained = &trained
	}
	return m.put(ctx, s)
}

func putPart(ctx context.Context, s *store.Store, m *Meta, name, path string, shards []string, rows int64, ids IDSource) (*Part, error) {
	p := &Part{Rows: rows, Shards: shards}
	var err error
	if p.Lists, err = put(ctx, s, m.ID, name, func(w io.Writer) error { return copyFile(w, path) }); err != nil {
		return nil, err
	}
	p.IDs, err = put(ctx, s, m.ID, IDsFile, func(w io.Writer) error { return writeIDs(ctx, w, rows, ids) })
	return p, err
}

// put writes index.json, put-if-absent, and returns what stands there.
func (m *Meta) put(ctx context.Context, s *store.Store) (*Meta, error) {
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
func put(ctx context.Context, s *store.Store, folder, name string, fn func(io.Writer) error) (File, error) {
	h := newHasher()
	err := s.Write(ctx, name, func(w io.Writer) error { return fn(io.MultiWriter(w, h)) })
	return h.file(folder, name), err
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

func (h *hasher) file(folder, name string) File {
	return File{Folder: folder, Name: name, Size: h.n, BLAKE3: hex.EncodeToString(h.Sum(nil))}
}
