package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"winnow/io/index"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// builds are the plan's.
func builds(p *task.Plan) ([]build, error) {
	var out []build
	err := json.Unmarshal(p.Facts, &out)
	return out, err
}

// live are the rows of a build, which must be those that plan saw.
func (s *Stage) live(ctx context.Context, b *build) (*workspace.Live, error) {
	e, err := s.W.Embedding(b.Embedding)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.liveOf(ctx, e)
	if err != nil {
		return nil, err
	}
	if l.Hash != b.Live {
		return nil, fmt.Errorf("the rows of embedding %s changed since the plan was made; plan again", e.Name)
	}
	return l, nil
}

func listsKey(hash string) string { return "lists/" + hash + ".faiss" }
func truthKey(hash string) string { return "lists/" + hash + ".truth" }

// Do builds the lists of one range of rows.
func (s *Stage) Do(ctx context.Context, p *task.Plan, t task.Task) (_ *task.Result, err error) {
	defer s.frugal()()
	all, err := builds(p)
	if err != nil {
		return nil, err
	}
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	if sp.Build < 0 || sp.Build >= len(all) {
		return nil, fmt.Errorf("it is of build %d of %d", sp.Build, len(all))
	}
	b := &all[sp.Build]
	l, err := s.live(ctx, b)
	if err != nil {
		return nil, err
	}
	if sp.Hi == sp.Lo {
		return &task.Result{}, nil
	}
	r, err := s.rows(ctx, b, l)
	if err != nil {
		return nil, err
	}
	in := s.W.Store.Sub(b.dir())
	trained, q, err := s.trained(ctx, b)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "winnow-index-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "lists.faiss")
	truth, err := index.Lists(ctx, path, trained, b.Params, r, sp.Lo, sp.Hi, q, task.Counter(ctx).Add)
	if err != nil {
		return nil, err
	}
	if _, err := in.CreateAll(ctx, truthKey(t.Hash), truth.Encode()); err != nil {
		return nil, err
	}
	if _, err := create(ctx, in, listsKey(t.Hash), path); err != nil {
		return nil, err
	}
	return &task.Result{Rows: sp.Hi - sp.Lo, Output: listsKey(t.Hash)}, nil
}

// trained gives local copies of what was trained, and the queries.
func (s *Stage) trained(ctx context.Context, b *build) (path string, q *index.Queries, err error) {
	if b.Params.Kind == index.Flat {
		return "", &index.Queries{Dim: b.Params.Dim}, nil
	}
	in, of := s.W.Store.Sub(b.dir()), s.W.Store.Sub(b.dir())
	if b.Trained != nil {
		of = s.W.Store.Sub(workspace.IndexDir(b.Embedding) + "/" + b.Trained.Folder)
	}
	if path, err = of.Local(ctx, index.TrainedFile, s.W.Cache); err != nil {
		return "", nil, err
	}
	if b.Before != "" {
		return path, &index.Queries{Dim: b.Params.Dim}, nil
	}
	data, err := in.Read(ctx, queriesFile, mostBytes)
	if err != nil {
		return "", nil, err
	}
	q, err = index.DecodeQueries(data)
	return path, q, err
}

// mostBytes bounds the files of queries and of their neighbours.
const mostBytes = 1 << 30

// Commit merges the lists of each build and publishes it.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, _ []*task.Result) error {
	defer s.frugal()()
	all, err := builds(p)
	if err != nil {
		return err
	}
	for i := range all {
		if err := s.publish(ctx, p, i, &all[i]); err != nil {
			return fmt.Errorf("index of embedding %s: %w", all[i].Embedding, err)
		}
	}
	return nil
}

// gather joins what the tasks of a build have made. keys are its files, which are of no
// use once the index is published.
func (s *Stage) gather(ctx context.Context, p *task.Plan, n int, b *build) (made *index.Built, keys []string, err error) {
	in := s.W.Store.Sub(b.dir())
	made = &index.Built{}
	if b.Params.Rows == 0 {
		return made, nil, nil
	}
	if made.Trained, made.Queries, err = s.trained(ctx, b); err != nil {
		return nil, nil, err
	}
	if b.Params.Kind != index.Flat && b.Before == "" {
		keys = append(keys, queriesFile)
	}
	made.Truth = index.NewTruth(made.Queries)
	for _, t := range p.Tasks {
		var sp spec
		if err := json.Unmarshal(t.Spec, &sp); err != nil {
			return nil, nil, err
		}
		if sp.Build != n {
			continue
		}
		path, err := in.Local(ctx, listsKey(t.Hash), s.W.Cache)
		if errors.Is(err, store.ErrNotFound) { // the marker outlived its files: the index was published once and is gone
			if _, err = s.Do(ctx, p, t); err == nil {
				path, err = in.Local(ctx, listsKey(t.Hash), s.W.Cache)
			}
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := in.Read(ctx, truthKey(t.Hash), mostBytes)
		if err != nil {
			return nil, nil, err
		}
		truth, err := index.DecodeTruth(data, made.Queries)
		if err != nil {
			return nil, nil, err
		}
		made.Truth.Join(truth)
		made.Lists = append(made.Lists, index.MergePart{Path: path, Rows: sp.Hi - sp.Lo})
		keys = append(keys, listsKey(t.Hash), truthKey(t.Hash))
	}
	return made, keys, nil
}

func (s *Stage) publish(ctx context.Context, p *task.Plan, n int, b *build) error {
	in := s.W.Store.Sub(b.dir())
	if m, err := index.ReadMeta(ctx, in); err == nil || !errors.Is(err, store.ErrNotFound) {
		s.note(b, m)
		return err
	}
	l, err := s.live(ctx, b)
	if err != nil {
		return err
	}
	r, err := s.rows(ctx, b, l)
	if err != nil {
		return err
	}
	made, keys, err := s.gather(ctx, p, n, b)
	if err != nil {
		return err
	}
	to := index.Spec{
		ID: b.ID, Number: b.Number, Embedding: b.Embedding, Fingerprint: b.Fingerprint, TableVersion: b.TableVersion,
		Live: b.Live, Asked: b.Asked, Params: b.Params, Shards: r.shards(),
	}
	var m *index.Meta
	if b.Before == "" {
		m, err = index.Publish(ctx, in, to, made, r.ids, s.W.App.Progress)
	} else {
		m, err = s.extend(ctx, in, to, made, r, l, b)
	}
	if err != nil {
		return err
	}
	s.note(b, m)
	for _, key := range keys {
		if err := in.Delete(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Newest returns the newest index of an embedding under its current model, nil
// without one.
func Newest(ctx context.Context, w *workspace.Workspace, embedding, fingerprint string) (*index.Meta, error) {
	return index.Latest(ctx, w.Store.Sub(workspace.IndexDir(embedding)), fingerprint)
}

var _ task.Stage = (*Stage)(nil)
