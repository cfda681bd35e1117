// Package index is the index job: it builds a new index for every embedding
// whose live rows changed since its newest index.
package index

import (
	"context"
	"encoding/json"
	"fmt"

	"winnow/io/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Stage builds indexes. It is a task.Stage: one task an embedding. The index of
// a task is published by its own index.json, so Commit has nothing to do.
type Stage struct {
	W *workspace.Workspace
}

// spec is what a task needs. A task checks that the rows are still those that
// plan saw.
type spec struct {
	Embedding string       `json:"embedding"`
	ID        string       `json:"id"`
	LiveHash  string       `json:"live_hash"`
	Params    index.Params `json:"params"`
}

// Name is the stage's name.
func (*Stage) Name() string { return "index" }

// ID names the index of a set of live rows: folders sort by table version.
func ID(l *workspace.Live) string {
	return fmt.Sprintf("%08d-%s", max(l.Snapshot.Version, 0), l.Hash[:12])
}

// Plan makes a task for each embedding without an index of its live rows.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	var tasks []task.Task
	for _, e := range s.W.Config.Embeddings {
		l, err := s.W.Live(ctx, e)
		if err != nil {
			return nil, err
		}
		if l.Rows == 0 {
			continue
		}
		dir := workspace.IndexDir(e.Name)
		id := ID(l)
		if _, err := index.ReadMeta(ctx, s.W.Store.Sub(dir+"/"+id)); err == nil {
			continue
		} else if !s.W.Objects().Missing(err) {
			return nil, err
		}
		p := index.Choose(l.Rows, l.Dim)
		p.Seed = s.W.Config.Seed
		raw, err := json.Marshal(spec{e.Name, id, l.Hash, p})
		if err != nil {
			return nil, err
		}
		h := task.NewHash().Add("index 1").Add(e.Name).Add(id).Add(string(raw))
		tasks = append(tasks, task.Task{Hash: h.Sum(), Name: fmt.Sprintf("%s, %d rows, %s", e.Name, l.Rows, p.Factory), Rows: l.Rows, Dir: dir, Spec: raw})
	}
	return task.NewPlan(s.Name(), run, nil, tasks)
}

// Do builds one index.
func (s *Stage) Do(ctx context.Context, _ *task.Plan, t task.Task) (*task.Result, error) {
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	e, err := s.W.Embedding(sp.Embedding)
	if err != nil {
		return nil, err
	}
	l, err := s.W.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	if l.Hash != sp.LiveHash {
		return nil, fmt.Errorf("the rows of embedding %s changed since the plan was made; plan again", e.Name)
	}
	vectors := func(ctx context.Context, yield func([]float32, int, int64) error) error {
		first := int64(0)
		return l.Each(ctx, func(ids []string, v []float32) error {
			err := yield(v, len(ids), first)
			first += int64(len(ids))
			return err
		})
	}
	m, err := index.Create(ctx, s.W.Store.Sub(workspace.IndexDir(e.Name)+"/"+sp.ID), index.Spec{
		ID: sp.ID, Embedding: e.Name, Fingerprint: l.Fingerprint, TableVersion: l.Snapshot.Version, Params: sp.Params,
	}, vectors, l.Keys, s.W.App.Progress)
	if err != nil {
		return nil, fmt.Errorf("index of embedding %s: %w", e.Name, err)
	}
	facts, err := json.Marshal(m)
	return &task.Result{Rows: m.Rows, Output: sp.ID, Facts: facts}, err
}

// Commit has nothing to do: index.json is an index's commit.
func (*Stage) Commit(context.Context, *task.Plan, []*task.Result) error { return nil }

// Newest returns the newest index of an embedding under its current model, nil
// without one.
func Newest(ctx context.Context, w *workspace.Workspace, embedding, fingerprint string) (*index.Meta, error) {
	all, err := index.List(ctx, w.Store.Sub(workspace.IndexDir(embedding)))
	if err != nil {
		return nil, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Fingerprint == fingerprint {
			return all[i], nil
		}
	}
	return nil, nil
}

var _ task.Stage = (*Stage)(nil)
