package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"winnow/io/manifest"
	"winnow/io/store"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
)

// bookKey is the object that says what was read. It only saves work: it counts
// for one version of the assets table, and who finds none reads all manifests
// again. So it may be replaced in place.
const bookKey = "sources/read.json"

const bookFormat = 1

// book is what was read, and the version of the assets table that came of it.
type book struct {
	Format  int             `json:"format"`
	Table   string          `json:"table"`   // id of the assets table
	Version int64           `json:"version"` // of the assets table
	Sources map[string]page `json:"sources"` // by name
	// Labels and Predictions are the states of their manifests, in the config's
	// order; Options is the hash of what else counts.
	Labels      list `json:"labels"`
	Predictions list `json:"predictions"`

	raw []byte // as it was read
}

// page is what is known of one source.
type page struct {
	State manifest.State `json:"state"`
	Twice int64          `json:"twice,omitempty"` // rows that another source had first
}

// list is what is known of several manifests that make one table.
type list struct {
	Options string           `json:"options,omitempty"`
	States  []manifest.State `json:"states,omitempty"`
	Table   string           `json:"table,omitempty"`   // id of the table
	Version int64            `json:"version,omitempty"` // of the table
}

// same tells whether the manifests and the table are as they were.
func (l list) same(o list) bool {
	return l.Options == o.Options && l.Table == o.Table && l.Version == o.Version &&
		slices.EqualFunc(l.States, o.States, manifest.State.Same)
}

// readBook reads the book. What it says of another version of the table does not
// count.
func readBook(ctx context.Context, s *store.Store, snap *table.Snapshot) (*book, error) {
	b := &book{}
	data, err := s.Read(ctx, bookKey, 256<<20)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	case json.Unmarshal(data, b) != nil, b.Format != bookFormat:
		b = &book{}
	default:
		b.raw = data
	}
	b.Format = bookFormat
	if b.Sources == nil || b.Table != snap.ID || b.Version != snap.Version {
		b.Sources = map[string]page{}
	}
	b.Table, b.Version = snap.ID, snap.Version
	return b, nil
}

// at makes the book count for the newest version of the assets table.
func (b *book) at(ctx context.Context, w *workspace.Workspace) error {
	snap, err := w.Snapshot(ctx, workspace.AssetsRoot)
	if err != nil {
		return err
	}
	b.Table, b.Version = snap.ID, snap.Version
	return nil
}

// save writes the book if it has changed.
func (b *book) save(ctx context.Context, s *store.Store) error {
	if len(b.Sources) == 0 && len(b.Labels.States)+len(b.Predictions.States) == 0 {
		return nil
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if bytes.Equal(data, b.raw) {
		return nil
	}
	if err := s.WriteAll(ctx, bookKey, data); err != nil {
		return fmt.Errorf("note what was read: %w", err)
	}
	return nil
}
