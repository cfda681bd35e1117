package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Request is a search.
type Request struct {
	Queries   []Query // examples of what is meant, and of what is not
	Function  string  // or a function's name or file
	Embedding string  // "" for the first that the query fits
	K         int
	CapK      bool // fewer rows than K in the embedding are no mistake
	Where     string
	Exact     bool
	Columns   []string // of the relation of conditions, to show
}

// Hit is one row of the result.
type Hit struct {
	AssetID string  `json:"asset_id"`
	Score   float32 `json:"score"` // cosine similarity, or the function's score
	URI     string  `json:"uri,omitempty"`
	Caption string  `json:"caption,omitempty"` // or the text
	// Columns are those that were asked for, by name.
	Columns map[string]json.RawMessage `json:"columns,omitempty"`

	text, mediaType string
}

// Result is what a search found.
type Result struct {
	Query     string  `json:"query"`
	Queries   []Query `json:"queries,omitempty"`
	Function  string  `json:"function,omitempty"`
	Embedding string  `json:"embedding"`
	By        string  `json:"by"` // exact, or the index's id
	Where     string  `json:"where,omitempty"`
	Matching  *int64  `json:"matching,omitempty"` // rows that meet the condition
	Note      string  `json:"note,omitempty"`
	Results   []Hit   `json:"results"`

	columns []string
	shown   []Hit // the assets that were examples
}

// Find searches.
func Find(ctx context.Context, w *workspace.Workspace, r Request) (*Result, error) {
	if r.Function != "" {
		return byFunction(ctx, w, r)
	}
	fitting, err := embeddings(ctx, w, r)
	if err != nil {
		return nil, err
	}
	for i, e := range fitting {
		found, err := find(ctx, w, e, r)
		var not noVectorError
		if errors.As(err, &not) && i+1 < len(fitting) {
			continue // the asset may have a vector in the next one
		}
		return found, err
	}
	return nil, nil // there is one at least
}

// embeddings are those that the queries fit: the one of that name, or all.
func embeddings(ctx context.Context, w *workspace.Workspace, r Request) ([]configs.Embedding, error) {
	if r.Embedding != "" {
		e, err := w.Embedding(r.Embedding)
		return []configs.Embedding{e}, err
	}
	var out []configs.Embedding
	var dims []string
	for _, e := range w.Config.Embeddings {
		sp, err := w.Current(ctx, e)
		if err != nil {
			return nil, err
		}
		dims = append(dims, fmt.Sprintf("%s has %d", e.Name, sp.Spec.Dim))
		fit := true
		for _, q := range r.Queries {
			fit = fit && q.fits(sp)
		}
		if fit {
			out = append(out, e)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, q := range r.Queries {
		if q.Vector != nil {
			return nil, pipeline.Usagef("no embedding of the config fits: %s has %d numbers; %s", q, len(q.Vector), strings.Join(dims, ", "))
		}
	}
	return nil, pipeline.Usagef("no embedding of the config takes such a query; a text needs a text model or an image model with a text_tower, a picture an image model")
}

// find searches in one embedding.
func find(ctx context.Context, w *workspace.Workspace, e configs.Embedding, r Request) (*Result, error) {
	l, err := w.LiveOf(ctx, e)
	if err != nil {
		return nil, err
	}
	if l.Stored() == 0 {
		return nil, none(e.Name)
	}
	q, err := vectorOf(ctx, w, l, r.Queries)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, w, l, r)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	k, err := s.most(r)
	if err != nil {
		return nil, err
	}
	except := set{}
	var names, examples []string
	for _, q := range r.Queries {
		names = append(names, q.String())
		if q.Asset != "" {
			except[q.Asset] = true
			examples = append(examples, q.Asset)
		}
	}
	found, err := s.Find(ctx, q, k, []set{except})
	if err != nil {
		return nil, err
	}
	out := &Result{Query: strings.Join(names, ", "), Queries: r.Queries, Embedding: e.Name, By: s.By, Where: r.Where, Note: s.Note, columns: r.Columns}
	if s.filter != nil {
		out.Matching = &s.filter.n
	}
	if out.Results, err = describe(ctx, w, found[0], s.shown); err != nil {
		return nil, err
	}
	ids := make([]hit, len(examples))
	for i, id := range examples {
		ids[i].id = id
	}
	out.shown, err = describe(ctx, w, ids, &columns{})
	return out, err
}

// vectorOf is the one unit vector of all examples.
func vectorOf(ctx context.Context, w *workspace.Workspace, l *workspace.Live, queries []Query) (_ []float32, err error) {
	res := &resolver{w: w, l: l}
	defer func() { err = errors.Join(err, res.Close()) }()
	vectors, faults, err := res.resolve(ctx, queries)
	if err != nil {
		return nil, err
	}
	var all pipeline.UsageError
	for _, fault := range faults {
		var usage *pipeline.UsageError
		switch {
		case fault == nil:
		case len(queries) == 1 || !errors.As(fault, &usage):
			return nil, fault
		default:
			all.Problems = append(all.Problems, usage.Problems...)
		}
	}
	if len(all.Problems) > 0 {
		return nil, &all
	}
	return mean(queries, vectors)
}

// most is how many rows are asked for, which may not be more than there are.
func (s *Searcher) most(r Request) (int, error) {
	rows := s.l.Stored()
	if s.l.Table != "" {
		rows = s.l.Rows
	}
	if rows == 0 {
		return 0, none(s.l.Embedding.Name)
	}
	if int64(r.K) <= rows {
		return r.K, nil
	}
	if !r.CapK {
		return 0, pipeline.Usagef("-k %d: embedding %s has %d rows", r.K, s.l.Embedding.Name, rows)
	}
	return int(rows), nil
}
