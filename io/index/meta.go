package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"winnow/io/store"
)

// Names of the files of an index's folder.
const (
	BaseFile = "base.faiss"
	IDsFile  = "ids.parquet"
	MetaFile = "index.json" // written last: without it there is no index
)

// metaVersion counts changes of the folder's format. What is newer is refused.
//
//	1: base.faiss, ids.parquet, index.json
const metaVersion = 1

const metaLimit = 1 << 20

// Meta is index.json: what the index is of, how it was made and how well it
// finds.
type Meta struct {
	Format       int    `json:"format"`
	ID           string `json:"id"` // the folder's name
	Embedding    string `json:"embedding"`
	Fingerprint  string `json:"fingerprint"`   // of the embedding's model spec
	TableVersion int64  `json:"table_version"` // of the embedding's table
	Params
	FAISS string `json:"faiss"` // version of the library that built it
	Files []File `json:"files"`
}

// File is one file of the folder, so that a reader can verify it.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	BLAKE3 string `json:"blake3"` // 64 hexadecimal digits
}

func (m *Meta) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// ReadMeta reads the index.json of the folder s. Without one the error wraps
// store.ErrNotFound.
func ReadMeta(ctx context.Context, s *store.Store) (*Meta, error) {
	data, err := s.Read(ctx, MetaFile, metaLimit)
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(data)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", s.URL(), MetaFile, err)
	}
	return m, nil
}

func decodeMeta(data []byte) (*Meta, error) {
	var v struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, damagedf("%w", err)
	}
	if v.Format < 1 || v.Format > metaVersion {
		return nil, fmt.Errorf("the index has format %d, this winnow reads up to %d; use a newer winnow", v.Format, metaVersion)
	}
	m := &Meta{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, damagedf("%w", err)
	}
	if err := m.check(); err != nil {
		return nil, damagedf("%w", err)
	}
	for _, name := range []string{BaseFile, IDsFile} {
		if m.file(name) == nil {
			return nil, damagedf("it lists no %s", name)
		}
	}
	return m, nil
}

func (m *Meta) file(name string) *File {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Files[i]
}

// List returns the finished indexes of an embedding, whose folders lie in s:
// older table versions first. Folders without an index.json are on their way
// or were given up, and are left out.
func List(ctx context.Context, s *store.Store) ([]*Meta, error) {
	var all []*Meta
	for obj, err := range s.ListDir(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list indexes: %w", err)
		}
		if !obj.IsDir {
			continue
		}
		id := strings.TrimSuffix(obj.Key, "/")
		m, err := ReadMeta(ctx, s.Sub(id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list indexes: %w", err)
		}
		if m.ID != id {
			return nil, fmt.Errorf("list indexes: %s/%s: %w", s.URL(), id, damagedf("its id is %q", m.ID))
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b *Meta) int {
		if a.TableVersion != b.TableVersion {
			return int(min(max(a.TableVersion-b.TableVersion, -1), 1))
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, nil
}

// Latest returns the index of the newest table version that was built with the
// fingerprint, or nil when there is none. s is as for List.
func Latest(ctx context.Context, s *store.Store, fingerprint string) (*Meta, error) {
	all, err := List(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Backward(all) {
		if m.Fingerprint == fingerprint {
			return m, nil
		}
	}
	return nil, nil
}
