package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Queries that are answered together: an index's lists, and the shards where there is
// none, are read once for all of them.
const (
	blockByIndex = 64
	blockExact   = 512
)

// answer is a line of the output of many searches.
type answer struct {
	Row     int64  `json:"row"` // in the file of queries, from 1; a line of text files
	ID      string `json:"id,omitempty"`
	Results []Hit  `json:"results,omitempty"`
	Error   string `json:"error,omitempty"`
}

// many answers the queries of a file, one a row, as JSON Lines in their order. A few
// hundred queries are in memory. Rows that cannot be answered say why.
func many(ctx context.Context, w *workspace.Workspace, r *Request, path string) error {
	if err := checkQueries(path); err != nil {
		return err
	}
	m := &manySearch{w: w, r: r, out: json.NewEncoder(w.App.Out)}
	m.out.SetEscapeHTML(false)
	err := readQueries(ctx, path, func(q asked) error {
		m.block = append(m.block, q)
		if len(m.block) < m.size() {
			return nil
		}
		return m.flush(ctx)
	})
	if err == nil {
		err = m.flush(ctx)
	}
	if err = errors.Join(err, m.close()); err != nil {
		return err
	}
	switch {
	case m.rows == 0:
		return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: "it holds no query"}}}
	case m.failed > 0:
		return &pipeline.PartialError{Rejected: m.failed, What: fmt.Sprintf("%d of %d queries could not be answered; their lines say why", m.failed, m.rows)}
	}
	return nil
}

type manySearch struct {
	w      *workspace.Workspace
	r      *Request
	out    *json.Encoder
	s      *Searcher // once the first query told the embedding
	res    *resolver
	k      int
	block  []asked
	rows   int64
	failed int64
}

func (m *manySearch) size() int {
	if m.s != nil && m.s.folder == nil {
		return blockExact
	}
	return blockByIndex
}

func (m *manySearch) close() error {
	var err error
	if m.res != nil {
		err = m.res.Close()
	}
	if m.s != nil {
		err = errors.Join(err, m.s.Close())
	}
	return err
}

// open chooses the embedding by the first query and opens it. Others that do not fit
// are told of, each at its place.
func (m *manySearch) open(ctx context.Context) error {
	r := *m.r
	for _, q := range m.block {
		if q.fault == nil {
			r.Queries = []Query{q.Query}
			break
		}
	}
	fitting, err := embeddings(ctx, m.w, r)
	if err != nil {
		return err
	}
	l, err := m.live(ctx, fitting, r.Queries)
	if err != nil {
		return err
	}
	if m.s, err = open(ctx, m.w, l, r); err != nil {
		return err
	}
	m.res = &resolver{w: m.w, l: m.s.l}
	if m.k, err = m.s.most(r); err == nil && m.s.Note != "" {
		m.w.App.Log.Sugar().Warn(m.s.Note)
	}
	return err
}

// live chooses, of the embeddings that fit, the first that has a vector of the first
// asset that is asked for.
func (m *manySearch) live(ctx context.Context, fitting []configs.Embedding, queries []Query) (*workspace.Live, error) {
	var first *workspace.Live
	for _, e := range fitting {
		l, err := m.w.LiveOf(ctx, e)
		if err != nil {
			return nil, err
		}
		if l.Stored() == 0 {
			continue
		}
		if first == nil {
			first = l
		}
		for _, q := range queries {
			if q.Asset == "" {
				continue
			}
			found, err := l.Vectors(ctx, []string{q.Asset})
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				return l, nil
			}
			break
		}
	}
	if first == nil {
		return nil, none(fitting[0].Name)
	}
	return first, nil
}

// flush answers the block.
func (m *manySearch) flush(ctx context.Context) error {
	if len(m.block) == 0 {
		return nil
	}
	if m.s == nil {
		if err := m.open(ctx); err != nil {
			return err
		}
	}
	answers := make([]answer, len(m.block))
	var queries []Query
	var which []int
	for i, q := range m.block {
		answers[i] = answer{Row: q.row, ID: q.id}
		if q.fault != nil {
			answers[i].Error = q.fault.Error()
			continue
		}
		queries, which = append(queries, q.Query), append(which, i)
	}
	if err := m.answer(ctx, queries, which, answers); err != nil {
		return err
	}
	for _, a := range answers {
		m.rows++
		if a.Error != "" {
			m.failed++
		}
		if err := m.out.Encode(a); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	m.block = m.block[:0]
	return nil
}

// answer searches for queries; which are their places among the answers.
func (m *manySearch) answer(ctx context.Context, queries []Query, which []int, answers []answer) error {
	vectors, faults, err := m.res.resolve(ctx, queries)
	if err != nil {
		return err
	}
	var flat []float32
	var except []set
	var places []int
	for i, q := range queries {
		if faults[i] != nil {
			answers[which[i]].Error = faults[i].Error()
			continue
		}
		flat, places = append(flat, vectors[i]...), append(places, which[i])
		except = append(except, set{})
		if q.Asset != "" {
			except[len(except)-1][q.Asset] = true
		}
	}
	if len(places) == 0 {
		return nil
	}
	found, err := m.s.Find(ctx, flat, m.k, except)
	if err != nil {
		return err
	}
	for i, hits := range found {
		a := &answers[places[i]]
		if len(m.r.Columns) > 0 {
			if a.Results, err = describe(ctx, m.w, hits, m.s.shown); err != nil {
				return err
			}
			continue
		}
		for _, h := range hits {
			a.Results = append(a.Results, Hit{AssetID: h.id, Score: h.score})
		}
	}
	return nil
}
