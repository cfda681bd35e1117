package backfill

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// Move is how far an embedding is on its way to another model.
type Move struct {
	Embedding string         `json:"embedding"`
	From      Model          `json:"from"`
	To        Model          `json:"to"`
	Content   int64          `json:"content"`  // assets that have what the embedding reads
	Embedded  int64          `json:"embedded"` // with a vector of the new model
	Todo      int64          `json:"todo"`
	Rejected  int64          `json:"rejected"` // by the new model, for good
	Lost      int64          `json:"lost"`     // with a vector of the old model and none of the new one
	CutOver   bool           `json:"cut_over"` // the embedding uses the new model now
	Head      int64          `json:"head,omitempty"`
	Compared  bool           `json:"compared"` // Functions says what changes
	Functions []score.Change `json:"functions,omitempty"`
	Report    string         `json:"report,omitempty"` // key of this, as a file
	Time      time.Time      `json:"time"`
}

// Model is one of the two models of a move.
type Model struct {
	Model       string `json:"model"`
	Fingerprint string `json:"fingerprint"`
	Dim         int    `json:"dim"`
	title       string
}

func modelOf(s *workspace.Space) Model {
	return Model{Model: s.Model, Fingerprint: s.Fingerprint(), Dim: s.Spec.Dim, title: s.Title()}
}

// look counts the rows of a move.
func look(ctx context.Context, w *workspace.Workspace, p pair) (*Move, error) {
	m := &Move{Embedding: p.to.Name, From: modelOf(p.from), To: modelOf(p.to), Time: w.App.Now().UTC()}
	cov, err := w.Coverage(ctx, p.to, 0)
	if err != nil {
		return nil, err
	}
	m.Content, m.Embedded, m.Todo, m.Rejected = cov.Content, cov.Embedded, cov.Todo, cov.Rejected
	m.Lost, err = w.Lost(ctx, p.from, p.to)
	return m, err
}

// move makes an embedding's new model its current one if all assets are there.
func (s *Stage) move(ctx context.Context, run string, p pair) (*Move, error) {
	m, err := look(ctx, s.W, p)
	if err != nil {
		return nil, err
	}
	missing, err := s.W.Uncovered(ctx, p.from, p.to)
	if err != nil || missing > 0 && !s.Now {
		return m, err
	}
	if s.Now && m.Embedded == 0 {
		s.W.App.Log.Sugar().Warnf("embedding %s has no row of %s yet: searches find nothing until the next run has embedded them", m.Embedding, m.To.title)
	}
	if err := compare(ctx, s.W, p, m, missing == 0); err != nil {
		return nil, err
	}
	if broken := m.broken(); len(broken) > 0 && !s.Now {
		return nil, pipeline.Usagef("embedding %s has all its rows under %s, but was not moved: %s\nMend the functions and run winnow backfill again, or move all the same with --cut-over-now",
			m.Embedding, m.To.title, strings.Join(broken, "\n"))
	}
	// The report first: a kill between the two leaves a report of what was about to
	// happen, and the next call makes it again.
	m.CutOver = true
	if err := m.save(ctx, s.W, run); err != nil {
		return nil, err
	}
	l, err := s.W.LiveIn(ctx, p.to)
	if err != nil {
		return nil, err
	}
	h, err := s.W.PutHead(ctx, run, p.to, l.Rows, l.Assets)
	if err != nil {
		return nil, err
	}
	m.Head = h.Number
	return m, nil
}

// broken tells which functions worked with the old model and do not with the new
// one.
func (m *Move) broken() []string {
	var out []string
	for _, f := range m.Functions {
		if f.Problem != "" && f.Before != nil {
			out = append(out, f.Problem)
		}
	}
	return out
}

// save keeps the report among the run's files.
func (m *Move) save(ctx context.Context, w *workspace.Workspace, run string) error {
	m.Report = fmt.Sprintf("%s/backfill-%s.json", workspace.RunDir(run), m.Embedding)
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return w.Store.WriteAll(ctx, m.Report, append(data, '\n'))
}
