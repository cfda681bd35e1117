package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"winnow/configs"
	"winnow/models"
	"winnow/pipeline"
)

// headFormat is the version of a head's file.
//
//	1: first
const headFormat = 1

// Head says which model an embedding's readers use: runs, searches, functions
// and batches. Heads are numbered from 1 and never change; the highest counts.
type Head struct {
	Format      int       `json:"format"`
	Number      int64     `json:"number"`
	Fingerprint string    `json:"fingerprint"`
	Model       string    `json:"model"` // as the config named it
	Decode      string    `json:"decode,omitempty"`
	Of          string    `json:"of"` // the field that the model sees
	Dim         int       `json:"dim"`
	Rows        int64     `json:"rows"`           // assets with a vector when the head was made
	Assets      int64     `json:"assets_version"` // of the assets table then
	Run         string    `json:"run"`
	Time        time.Time `json:"time"`
	// The spec, so that new assets can still be embedded once the config names
	// another model.
	models.Frozen
}

// HeadKey is where a head stands: beside the tables of an embedding, not in one.
func HeadKey(embedding string, number int64) string {
	return fmt.Sprintf("embeddings/%s/heads/%08d.json", embedding, number)
}

// Space is an embedding under one model.
type Space struct {
	configs.Embedding
	Spec *models.Spec
	Head *Head // that made it current; nil where there is none
	Kept bool  // the spec is the head's, because the config names another model
}

// Fingerprint is the model's.
func (s *Space) Fingerprint() string { return s.Spec.Fingerprint() }

// Root is the table of the space's vectors.
func (s *Space) Root() string { return EmbeddingRoot(s.Name, s.Fingerprint()) }

// Title is the model for people: its name, how it decodes where the config says
// so, and the beginning of its fingerprint.
func (s *Space) Title() string {
	name := s.MadeBy()
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		name = s.Spec.Name
	}
	if s.Decode != "" {
		name += ", decode: " + s.Decode
	}
	return name + " (" + s.Fingerprint()[:8] + ")"
}

// table names a DuckDB table of the space.
func (s *Space) table(kind string) string { return kind + " " + s.Name + " " + s.Fingerprint() }

// Wanted is an embedding as the config has it.
func (w *Workspace) Wanted(e configs.Embedding) (*Space, error) {
	sp, err := w.spec(e)
	if err != nil {
		return nil, err
	}
	return &Space{Embedding: e, Spec: sp}, nil
}

// Current is an embedding under the model that its head names; without a head
// under the config's. The head is read once, until Forget.
func (w *Workspace) Current(ctx context.Context, e configs.Embedding) (*Space, error) {
	if s := w.current[e.Name]; s != nil {
		return s, nil
	}
	s, err := w.Wanted(e)
	if err != nil || e.Vectors != nil { // vectors from files: there is nothing to backfill
		return s, err
	}
	newest, err := w.newestHead(ctx, e.Name)
	if err != nil {
		return nil, err
	}
	if newest > 0 {
		h, err := w.Head(ctx, e.Name, newest)
		if err != nil {
			return nil, err
		}
		if h.Fingerprint == s.Fingerprint() {
			s.Head = h
		} else if s, err = h.space(e); err != nil {
			return nil, err
		}
	}
	if w.current == nil {
		w.current = map[string]*Space{}
	}
	w.current[e.Name] = s
	return s, nil
}

// space is the embedding as it was when the head was made.
func (h *Head) space(e configs.Embedding) (*Space, error) {
	sp, err := models.Thaw(h.Frozen)
	if err == nil && sp.Fingerprint() != h.Fingerprint {
		err = fmt.Errorf("its spec has fingerprint %s in this winnow, not %s; use the winnow that made it, or move on with: winnow backfill --embedding %s", sp.Fingerprint(), h.Fingerprint, e.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", HeadKey(e.Name, h.Number), err)
	}
	e.Model, e.Decode, e.Of = h.Model, h.Decode, h.Of
	return &Space{Embedding: e, Spec: sp, Head: h, Kept: true}, nil
}

// Move returns the current space of an embedding and the one that the config
// wants; they are one and the same unless a backfill has to bring them together.
func (w *Workspace) Move(ctx context.Context, e configs.Embedding) (from, to *Space, err error) {
	if from, err = w.Current(ctx, e); err != nil || !from.Kept {
		return from, from, err
	}
	to, err = w.Wanted(e)
	return from, to, err
}

// SpaceOf finds the space of a fingerprint: the current one, the config's, or
// that of an earlier head.
func (w *Workspace) SpaceOf(ctx context.Context, name, fingerprint string) (*Space, error) {
	e, err := w.Embedding(name)
	if err != nil {
		return nil, err
	}
	from, to, err := w.Move(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, s := range []*Space{from, to} {
		if s.Fingerprint() == fingerprint {
			return s, nil
		}
	}
	if from.Head != nil {
		for n := from.Head.Number - 1; n > 0; n-- {
			h, err := w.Head(ctx, name, n)
			if err != nil {
				return nil, err
			}
			if h.Fingerprint == fingerprint {
				return h.space(e)
			}
		}
	}
	return nil, fmt.Errorf("embedding %s: this process has model %s, the plan was made with %s; use the same winnow, spec and model files everywhere", name, to.Fingerprint(), fingerprint)
}

// newestHead is the highest number of an embedding's heads, 0 without one.
func (w *Workspace) newestHead(ctx context.Context, embedding string) (int64, error) {
	var newest int64
	for o, err := range w.Store.ListDir(ctx, "embeddings/"+embedding+"/heads") {
		if err != nil {
			return 0, err
		}
		base, ok := strings.CutSuffix(path.Base(o.Key), ".json")
		if n, err := strconv.ParseInt(base, 10, 64); ok && err == nil {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// Head reads one head of an embedding.
func (w *Workspace) Head(ctx context.Context, embedding string, number int64) (*Head, error) {
	key := HeadKey(embedding, number)
	data, err := w.Store.Read(ctx, key, 1<<20)
	if err != nil {
		return nil, err
	}
	h := &Head{}
	if err := json.Unmarshal(data, h); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", key, err)
	}
	if h.Format != headFormat {
		return nil, fmt.Errorf("%s has format %d, this winnow knows %d; use the winnow that wrote it", key, h.Format, headFormat)
	}
	return h, nil
}

// PutHead makes a space the current one of its embedding, in one put-if-absent
// object. A second call changes nothing. rows are the assets that have a vector
// in it, assets is the version of the assets table.
func (w *Workspace) PutHead(ctx context.Context, run string, s *Space, rows, assets int64) (*Head, error) {
	frozen, err := s.Spec.Freeze()
	if err != nil {
		return nil, err
	}
	newest, err := w.newestHead(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if newest > 0 {
		if h, err := w.Head(ctx, s.Name, newest); err != nil || h.Fingerprint == s.Fingerprint() {
			return h, err
		}
	}
	h := &Head{Format: headFormat, Number: newest + 1, Fingerprint: s.Fingerprint(), Model: s.Model, Decode: s.Decode, Of: s.Of,
		Dim: s.Spec.Dim, Rows: rows, Assets: assets, Run: run, Time: w.App.Now().UTC(), Frozen: frozen}
	data, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return nil, err
	}
	created, err := w.Store.CreateAll(ctx, HeadKey(s.Name, h.Number), append(data, '\n'))
	if err != nil {
		return nil, err
	}
	delete(w.current, s.Name)
	if created {
		return h, nil
	}
	if h, err = w.Head(ctx, s.Name, h.Number); err == nil && h.Fingerprint != s.Fingerprint() {
		return nil, &pipeline.TransientError{Err: fmt.Errorf("embedding %s: run %s moved it to another model at the same time; run again", s.Name, h.Run)}
	}
	return h, err
}

// gone turns the absence of a kept model's files into what a user can do.
func (s *Space) gone(err error, wanted *Space) error {
	var missing *models.MissingError
	if !errors.As(err, &missing) {
		return err
	}
	return pipeline.Usagef(`embedding %[1]s: its rows are from %[2]s, whose files are gone, and the config names %[3]s now.
%[4]v
Either put the files back, or move to the config's model: winnow backfill --embedding %[1]s. New assets wait until then;
winnow backfill --embedding %[1]s --cut-over-now moves at once, with those rows that have been embedded so far`,
		s.Name, s.Title(), wanted.Title(), err)
}
