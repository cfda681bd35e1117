package score

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lukechampine.com/blake3"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/jobs/internal/workspace"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/function"
)

// Anchors finds what the anchors of functions stand for. Hashes are cheap and
// enough to tell a function's version; vectors are found when a function must be
// fitted or a nearest anchor is asked for.
type Anchors struct {
	w       *workspace.Workspace
	live    map[string]*workspace.Live   // by embedding
	hashes  map[string]map[string]string // embedding → asset id → content hash
	loaded  map[string]*models.Model     // by embedding
	towers  map[string]*Tower            // by embedding
	fetched map[string][]byte            // by URI or file

	// statistics measures an embedding, for towers: Statistics, or LookStatistics
	// where nothing may be written.
	statistics func(context.Context, *workspace.Workspace, *workspace.Live) (*function.Statistics, error)
}

// NewAnchors returns an Anchors that reads the given live rows.
func NewAnchors(w *workspace.Workspace, live map[string]*workspace.Live) *Anchors {
	return &Anchors{w: w, live: live, hashes: map[string]map[string]string{}, loaded: map[string]*models.Model{}, towers: map[string]*Tower{}, fetched: map[string][]byte{}, statistics: Statistics}
}

// Close frees the models that were loaded.
func (a *Anchors) Close() {
	for _, m := range a.loaded {
		m.Close()
	}
	for _, t := range a.towers {
		t.Close()
	}
	a.loaded, a.towers = map[string]*models.Model{}, map[string]*Tower{}
}

// Check looks up every anchor of every function and returns all that are
// missing at once.
func (a *Anchors) Check(ctx context.Context, fns []*configs.Function) error {
	ids := map[string][]string{}
	for _, f := range fns {
		for _, x := range all(f) {
			if x.Asset != "" {
				ids[f.Embedding] = append(ids[f.Embedding], x.Asset)
			}
		}
	}
	for emb, list := range ids {
		found, err := a.live[emb].ContentHashes(ctx, list)
		if err != nil {
			return err
		}
		a.hashes[emb] = found
	}
	var faults pipeline.UsageError
	for _, f := range fns {
		for i, x := range all(f) {
			if x.Asset == "" || a.hashes[f.Embedding][x.Asset] != "" || f.Partial() && a.elsewhere(f, x.Asset) {
				continue
			}
			why, err := a.w.WhyNoVector(ctx, x.Asset, f.Embedding)
			if err != nil {
				return err
			}
			faults.Problems = append(faults.Problems, f.Problem(where(f, i),
				fmt.Sprintf("function %s: anchor %q has no vector in embedding %s: %s", f.Name, x.Asset, f.Embedding, why),
				"name another asset, or mend this one and run winnow embed --retry-rejected"))
		}
	}
	faults.Problems = append(faults.Problems, a.placeless(fns)...)
	if len(faults.Problems) > 0 {
		return &faults
	}
	return nil
}

// elsewhere reports whether an asset may have a vector in another embedding of the
// function that f is a part of: one where it has one, or that was not looked at.
func (a *Anchors) elsewhere(f *configs.Function, id string) bool {
	for _, e := range f.CombineOver.Names() {
		if found, looked := a.hashes[e]; e != f.Embedding && (!looked || found[id] != "") {
			return true
		}
	}
	return false
}

// placeless reports parts of functions over several embeddings that no positive
// anchor has a place in.
func (a *Anchors) placeless(fns []*configs.Function) (problems []pipeline.Problem) {
	for _, f := range fns {
		if !f.Partial() || slices.ContainsFunc(f.Anchors.Positive, func(x function.Anchor) bool { return a.placed(f, x) }) {
			continue
		}
		problems = append(problems, f.Problem("$.combine_over."+f.Embedding,
			fmt.Sprintf("function %s: no positive anchor has a vector in embedding %s", f.Name, f.Embedding),
			"name one that has, or leave the embedding out of combine_over"))
	}
	return problems
}

// placed reports whether an anchor has a place in the embedding of f. In a part of a
// function over several embeddings those that have none are left out: an asset
// without a vector there, a text among pictures without a text tower, a picture
// among texts. Elsewhere such an anchor is an error, which is told later.
func (a *Anchors) placed(f *configs.Function, x function.Anchor) bool {
	if !f.Partial() {
		return true
	}
	s := a.live[f.Embedding].Space
	switch {
	case x.Asset != "":
		return a.hashes[f.Embedding][x.Asset] != ""
	case s.Vectors != nil: // no model made them
		return false
	case x.Text != "" && s.Spec.Kind == models.Image:
		_, err := a.w.TowerSpec(s)
		return err == nil
	case x.Text != "":
		return true
	}
	return s.Spec.Kind == models.Image
}

// where is the place of the i-th of all anchors in the function's file.
func where(f *configs.Function, i int) string {
	if n := len(f.Anchors.Positive); i >= n {
		return fmt.Sprintf("$.anchors.negative[%d]", i-n)
	}
	return fmt.Sprintf("$.anchors.positive[%d]", i)
}

func all(f *configs.Function) []function.Anchor {
	return append(append([]function.Anchor(nil), f.Anchors.Positive...), f.Anchors.Negative...)
}

// Resolve returns the anchors of one function; with vectors when asked.
func (a *Anchors) Resolve(ctx context.Context, f *configs.Function, vectors bool) (pos, neg []function.Vector, err error) {
	if pos, err = a.list(ctx, f, "$.anchors.positive", f.Anchors.Positive, vectors); err != nil {
		return nil, nil, err
	}
	neg, err = a.list(ctx, f, "$.anchors.negative", f.Anchors.Negative, vectors)
	return pos, neg, err
}

func (a *Anchors) list(ctx context.Context, f *configs.Function, path string, anchors []function.Anchor, vectors bool) ([]function.Vector, error) {
	var out []function.Vector
	for i, x := range anchors {
		if !a.placed(f, x) {
			continue
		}
		vs, err := a.one(ctx, f, x, vectors)
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil, &pipeline.UsageError{Problems: []pipeline.Problem{f.Problem(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("function %s: anchor %s: %v", f.Name, x, err), "paths begin at the folder of the function's file")}}
			}
			return nil, fmt.Errorf("%s: function %s, anchor %s: %w", f.File, f.Name, x, err)
		}
		out = append(out, vs...)
	}
	if !vectors {
		return out, nil
	}
	var ids []string
	for _, v := range out {
		if v.Kind == "asset" {
			ids = append(ids, v.ID)
		}
	}
	found, err := a.live[f.Embedding].Vectors(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Kind == "asset" {
			out[i].Values = found[out[i].ID]
		}
	}
	return out, nil
}

// one resolves an anchor; the vectors of assets are read later, all at once.
func (a *Anchors) one(ctx context.Context, f *configs.Function, x function.Anchor, vectors bool) ([]function.Vector, error) {
	v := function.Vector{Kind: x.Kind(), ID: x.ID(), Weight: x.Weight}
	var item pipeline.Item
	switch v.Kind {
	case "asset":
		v.Hash = a.hashes[f.Embedding][x.Asset]
		return []function.Vector{v}, nil
	case "vector":
		return a.npy(ctx, x, place(f, x.Vector))
	case "text":
		if a.live[f.Embedding].Space.Spec.Kind == models.Image {
			return a.throughTower(ctx, f, v, x.Text, vectors)
		}
		v.Hash = hash([]byte(x.Text))
		item = pipeline.Item{AssetID: "anchor", Text: x.Text}
	case "uri":
		uri := place(f, x.URI)
		data, err := a.bytes(ctx, uri)
		if err != nil {
			return nil, err
		}
		v.Hash = hash(data)
		item = pipeline.Item{AssetID: "anchor", URI: uri}
	}
	if !vectors {
		return []function.Vector{v}, nil
	}
	m, err := a.model(f.Embedding)
	if err != nil {
		return nil, err
	}
	v.Values, err = embedOne(ctx, m, item, fetchFunc(a.bytes))
	return []function.Vector{v}, err
}

// throughTower resolves a text among pictures.
func (a *Anchors) throughTower(ctx context.Context, f *configs.Function, v function.Vector, text string, vectors bool) ([]function.Vector, error) {
	t := a.towers[f.Embedding]
	if t == nil {
		l := a.live[f.Embedding]
		st, err := a.statistics(ctx, a.w, l)
		if err != nil {
			return nil, err
		}
		if t, err = OpenTower(a.w, l, st); err != nil {
			return nil, err
		}
		a.towers[f.Embedding] = t
	}
	v.Hash = t.Hash(text)
	if !vectors {
		return []function.Vector{v}, nil
	}
	var err error
	v.Values, err = t.Vector(ctx, text)
	return []function.Vector{v}, err
}

// place is where an anchor's file stands: a relative path begins at the folder of
// the function's file.
func place(f *configs.Function, uri string) string {
	if strings.Contains(uri, "://") || filepath.IsAbs(uri) {
		return uri
	}
	return filepath.Join(f.Dir(), uri)
}

// embedOne runs one item through a model.
func embedOne(ctx context.Context, m embed.Model, item pipeline.Item, f embed.Fetcher) ([]float32, error) {
	out, err := embed.Run(ctx, []pipeline.Item{item}, m, f, embed.Options{})
	if err != nil {
		return nil, err
	}
	if len(out.Rejects) > 0 {
		return nil, fmt.Errorf("%s: %s", out.Rejects[0].Reason, out.Rejects[0].Error)
	}
	return out.Vectors, nil
}

type fetchFunc func(ctx context.Context, uri string) ([]byte, error)

func (f fetchFunc) Fetch(ctx context.Context, uri string) ([]byte, error) { return f(ctx, uri) }

// bytes reads an anchor's file: a local path beside the function files, or a
// URI within the sources' allowed places.
func (a *Anchors) bytes(ctx context.Context, uri string) ([]byte, error) {
	if data, ok := a.fetched[uri]; ok {
		return data, nil
	}
	var data []byte
	var err error
	if path, local := strings.CutPrefix(uri, "file://"); local || !strings.Contains(uri, "://") {
		data, err = os.ReadFile(path)
	} else {
		data, err = a.w.Fetcher().Fetch(ctx, uri)
	}
	if err == nil {
		a.fetched[uri] = data
	}
	return data, err
}

// npy reads the vectors of a .npy file: one row, or a matrix of rows.
func (a *Anchors) npy(ctx context.Context, x function.Anchor, file string) ([]function.Vector, error) {
	data, err := a.bytes(ctx, file)
	if err != nil {
		return nil, err
	}
	m, err := manifest.OpenMatrix(bytes.NewReader(data), true)
	if err != nil {
		return nil, err
	}
	var out []function.Vector
	for i := range m.Rows {
		values := make([]float32, m.Dim)
		if err := m.Next(values); err != nil {
			return nil, err
		}
		out = append(out, function.Vector{Kind: "vector", ID: fmt.Sprintf("%s#%d", x.Vector, i), Weight: x.Weight, Values: values})
	}
	return out, nil
}

func (a *Anchors) model(embedding string) (*models.Model, error) {
	if m := a.loaded[embedding]; m != nil {
		return m, nil
	}
	m, err := a.w.ModelOf(a.live[embedding].Space)
	if err == nil {
		a.loaded[embedding] = m
	}
	return m, err
}

func hash(data []byte) string {
	sum := blake3.Sum256(data)
	return hex.EncodeToString(sum[:])
}
