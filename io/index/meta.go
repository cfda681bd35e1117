package index

import (
	"bytes"
	"cmp"
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
	BaseFile    = "base.faiss"
	SegmentFile = "segment.faiss"
	IDsFile     = "ids.parquet"
	TrainedFile = "trained.faiss" // the centroids and what else was trained, without rows
	MetaFile    = "index.json"    // written last: without it there is no index
)

// metaVersion counts changes of the folder's format. What is newer is refused, what
// is older is built anew.
//
//	1: base.faiss, ids.parquet, index.json
//	2: more kinds; a base and segments, whose files may lie in folders of earlier versions
const metaVersion = 2

const metaLimit = 64 << 20

// ErrOlder says that an index was made by an older winnow.
var ErrOlder = errors.New("the index has an older format; run `winnow index`")

// Meta is index.json: what the index is of, how it was made and how well it
// finds. Rows are numbered through the parts.
type Meta struct {
	Format       int    `json:"format"`
	ID           string `json:"id"`     // the folder's name
	Number       int64  `json:"number"` // of the version: later ones count
	Embedding    string `json:"embedding"`
	Fingerprint  string `json:"fingerprint"`   // of the embedding's model spec
	TableVersion int64  `json:"table_version"` // of the embedding's table
	Live         string `json:"live"`          // hash of the rows that were live
	Asked        string `json:"asked"`         // the kind that the config asks for
	Params
	Dead    int64  `json:"dead,omitempty"` // rows that were not live any more when this version was made
	Drift   Drift  `json:"drift,omitzero"`
	FAISS   string `json:"faiss"`             // version of the library that trained it
	Trained *File  `json:"trained,omitempty"` // nil for flat
	Parts   []Part `json:"parts"`             // the base, then segments
}

// Part is a base or a segment.
type Part struct {
	Rows   int64    `json:"rows"`
	Lists  File     `json:"lists"`
	IDs    File     `json:"ids"`
	Shards []string `json:"shards"` // the files of the embedding's table that its rows come from
}

// File is one file of an index, so that a reader can verify it.
type File struct {
	Folder string `json:"folder"` // the version in whose folder it lies
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	BLAKE3 string `json:"blake3"` // 64 hexadecimal digits
}

// Files are all files of the index.
func (m *Meta) Files() []File {
	var out []File
	if m.Trained != nil {
		out = append(out, *m.Trained)
	}
	for _, p := range m.Parts {
		out = append(out, p.Lists, p.IDs)
	}
	return out
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
	if v.Format > metaVersion {
		return nil, fmt.Errorf("the index has format %d, this winnow reads up to %d; use a newer winnow", v.Format, metaVersion)
	}
	if v.Format < metaVersion {
		return nil, ErrOlder
	}
	m := &Meta{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, damagedf("%w", err)
	}
	if err := m.checkAll(); err != nil {
		return nil, damagedf("%w", err)
	}
	return m, nil
}

func (m *Meta) checkAll() error {
	if err := m.check(); err != nil {
		return err
	}
	if len(m.Parts) == 0 {
		return errors.New("it lists no parts")
	}
	if m.Kind != Flat && m.Trained == nil {
		return errors.New("it lists no " + TrainedFile)
	}
	rows := int64(0)
	for i, p := range m.Parts {
		if p.Rows < 0 || p.Rows > maxRows-rows {
			return fmt.Errorf("part %d has %d rows", i, p.Rows)
		}
		rows += p.Rows
	}
	if rows != m.Rows {
		return fmt.Errorf("its parts have %d rows, not %d", rows, m.Rows)
	}
	for _, f := range m.Files() {
		for _, name := range []string{f.Folder, f.Name} {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
				return fmt.Errorf("%q/%q is no file of an index", f.Folder, f.Name)
			}
		}
	}
	return nil
}

// Bytes is the size of all files.
func (m *Meta) Bytes() (n int64) {
	for _, f := range m.Files() {
		n += f.Size
	}
	return n
}

// part is the params of one part.
func (m *Meta) part(i int) Params {
	p := m.Params
	p.Rows = m.Parts[i].Rows
	return p
}

// List returns the finished indexes of an embedding, whose folders lie in s:
// older versions first. Folders without an index.json are on their way
// or were given up, and are left out, as are those of an older format.
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
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrOlder) {
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
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.TableVersion, b.TableVersion), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Latest returns the newest version of the index that was built with the
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
