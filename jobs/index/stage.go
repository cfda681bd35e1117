// Package index is the index job: it keeps the index of every embedding up to its
// live rows.
package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"winnow/io/index"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Stage keeps indexes up to date. It is a task.Stage: Plan trains where that is
// needed, a task builds the lists of a range of rows, Commit merges them into a base
// or a segment and publishes the version by its index.json.
type Stage struct {
	W       *workspace.Workspace
	Compact bool // fold segments and dead rows into the base, however few
	Rebuild bool // train and build anew, whatever is there

	notes []string
	grown map[string]*changes        // by index and live rows
	lives map[string]*workspace.Live // by embedding
	mu    sync.Mutex                 // of the two
}

// build is one version of an index on its way, frozen by plan.
type build struct {
	Embedding    string       `json:"embedding"`
	ID           string       `json:"id"`
	Number       int64        `json:"number"`
	Live         string       `json:"live"` // hash of the live rows: tasks and commit check that they are still those
	Fingerprint  string       `json:"fingerprint"`
	TableVersion int64        `json:"table_version"`
	Asked        string       `json:"asked"`
	Params       index.Params `json:"params"`            // Rows: those that tasks add
	Before       string       `json:"before,omitempty"`  // the version that grows; empty for a new index
	Trained      *index.File  `json:"trained,omitempty"` // of that version
	Fold         bool         `json:"fold,omitempty"`
	Dead         int64        `json:"dead,omitempty"`
	Why          string       `json:"why"`
}

// spec is what a task needs: which build, and which of its rows.
type spec struct {
	Build int   `json:"build"`
	Lo    int64 `json:"lo"`
	Hi    int64 `json:"hi"`
}

// QueriesFile holds the rows that recall is measured with, beside the trained file.
const queriesFile = "queries.bin"

// Name is the stage's name.
func (*Stage) Name() string { return "index" }

// Fresh tells whether an index is of exactly the live rows.
func Fresh(m *index.Meta, l *workspace.Live) bool { return m != nil && m.Live == l.Hash }

// Plan trains an index for each embedding without one of its live rows, and makes
// its tasks.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	defer s.frugal()()
	s.lives = nil
	var builds []build
	var tasks []task.Task
	for _, e := range s.W.Config.Embeddings {
		l, err := s.liveOf(ctx, e)
		if err != nil {
			return nil, err
		}
		b, err := s.need(ctx, l)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		trained, err := s.prepare(ctx, b, l)
		if err != nil {
			return nil, fmt.Errorf("index of embedding %s: %w", e.Name, err)
		}
		more, err := b.tasks(len(builds), trained)
		if err != nil {
			return nil, err
		}
		builds, tasks = append(builds, *b), append(tasks, more...)
	}
	return task.NewPlan(s.Name(), run, builds, tasks)
}

// need plans the version of an index that an embedding lacks; nil when it lacks none.
func (s *Stage) need(ctx context.Context, l *workspace.Live) (*build, error) {
	name := l.Embedding.Name
	if l.Rows == 0 {
		return nil, nil
	}
	// The config's, not the head's: it says nothing of the vectors.
	e, err := s.W.Embedding(name)
	if err != nil {
		return nil, err
	}
	wish := index.Wish{Kind: e.Index.Kind, Memory: int64(e.Index.Memory), Recall: e.Index.Recall, Seed: s.W.Config.Seed}
	p, err := index.Choose(l.Rows, l.Dim, wish)
	if err != nil {
		return nil, fmt.Errorf("index of embedding %s: %w", name, err)
	}
	all, err := index.List(ctx, s.W.Store.Sub(workspace.IndexDir(name)))
	if err != nil {
		return nil, err
	}
	b := &build{Embedding: name, Live: l.Hash, Fingerprint: l.Fingerprint, TableVersion: l.Snapshot.Version, Asked: wish.Kind, Params: p, Number: 1}
	var newest *index.Meta
	for _, m := range all {
		b.Number = max(b.Number, m.Number+1)
		if m.Fingerprint == l.Fingerprint {
			newest = m
		}
	}
	b.Why = s.anew(newest, b)
	if b.Why == "" {
		if Fresh(newest, l) && !(s.Compact && (len(newest.Parts) > 1 || newest.Dead > 0)) {
			return nil, nil
		}
		if err := s.grow(ctx, l, newest, b); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	b.ID = fmt.Sprintf("%08d-%s", b.Number, task.NewHash().Add("index 2").Add(string(raw)).Sum()[:12])
	return b, nil
}

// anew says why an index must be trained and built from its rows, "" when it need not.
func (s *Stage) anew(m *index.Meta, b *build) string {
	p := &b.Params
	switch {
	case m == nil:
		return "there was none"
	case s.Rebuild:
		return "that was asked for"
	case m.Asked != b.Asked || m.Memory != p.Memory || m.RecallTarget != p.RecallTarget || m.Seed != p.Seed:
		return "the config asks for another one"
	case m.Kind != p.Kind:
		return fmt.Sprintf("%d rows ask for %s instead of %s", p.Rows, p.Kind, m.Kind)
	case m.Drift.Retrain != "":
		return m.Drift.Retrain
	case m.Kind == index.Flat && p.Rows < smallFlat && m.Live != b.Live:
		return "the rows changed, and are few"
	}
	return ""
}

// smallFlat is the rows of a flat index that is rather written anew than grown.
const smallFlat = 10_000

func (b *build) dir() string { return workspace.IndexDir(b.Embedding) + "/" + b.ID }

// tasks cuts the rows into ranges. Training enters their hashes, for lists belong to
// the centroids that they were made with.
func (b *build) tasks(n int, trained string) ([]task.Task, error) {
	step := b.Params.TaskRows()
	if b.Params.Kind == index.Flat {
		step = max(step, 10_000)
	}
	var out []task.Task
	if b.Params.Rows == 0 { // nothing to add: all work is Commit's
		h := task.NewHash().Add("lists 1").Add(b.ID).Add(trained)
		raw, err := json.Marshal(spec{Build: n})
		return []task.Task{{Hash: h.Sum(), Name: b.Embedding + ", " + b.what(), Dir: b.dir(), Spec: raw}}, err
	}
	for lo := int64(0); lo < b.Params.Rows; lo += step {
		sp := spec{n, lo, min(lo+step, b.Params.Rows)}
		raw, err := json.Marshal(sp)
		if err != nil {
			return nil, err
		}
		h := task.NewHash().Add("lists 1").Add(b.ID).Add(trained).Add(strconv.FormatInt(sp.Lo, 10)).Add(strconv.FormatInt(sp.Hi, 10))
		name := fmt.Sprintf("%s, rows %d to %d, %s", b.Embedding, sp.Lo, sp.Hi-1, b.Params.Factory)
		out = append(out, task.Task{Hash: h.Sum(), Name: name, Rows: sp.Hi - sp.Lo, Dir: b.dir(), Spec: raw})
	}
	return out, nil
}

// prepare makes the trained file and the queries unless they are there, and returns
// the hash of the trained one.
func (s *Stage) prepare(ctx context.Context, b *build, l *workspace.Live) (string, error) {
	switch {
	case b.Params.Kind == index.Flat:
		return "flat", nil
	case b.Before == "":
		return s.train(ctx, b, l)
	}
	return b.Trained.BLAKE3, nil
}

func (s *Stage) train(ctx context.Context, b *build, l *workspace.Live) (_ string, err error) {
	to := s.W.Store.Sub(b.dir())
	if _, err := to.Stat(ctx, index.TrainedFile); err == nil {
		return hashOf(ctx, to, index.TrainedFile)
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	dir, err := os.MkdirTemp("", "winnow-index-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, index.TrainedFile)
	q, err := index.Train(ctx, path, b.Params, liveRows(l), s.W.App.Progress)
	if err != nil {
		return "", err
	}
	if _, err := to.CreateAll(ctx, queriesFile, q.Encode()); err != nil {
		return "", err
	}
	if _, err := create(ctx, to, index.TrainedFile, path); err != nil {
		return "", err
	}
	return hashOf(ctx, to, index.TrainedFile)
}

// create copies a local file into the store, put-if-absent.
func create(ctx context.Context, to *store.Store, key, path string) (bool, error) {
	return to.Create(ctx, key, func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

func hashOf(ctx context.Context, s *store.Store, key string) (string, error) {
	r, _, err := s.NewReader(ctx, key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := task.NewHash()
	if err := h.AddFrom(r); err != nil {
		return "", err
	}
	return h.Sum(), nil
}
