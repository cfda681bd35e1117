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

	"winnow/io/index"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Stage builds indexes. It is a task.Stage: Plan trains, a task builds the lists of
// a range of rows, Commit merges them and publishes the index by its index.json.
type Stage struct {
	W *workspace.Workspace
}

// build is one index on its way, frozen by plan.
type build struct {
	Embedding    string       `json:"embedding"`
	ID           string       `json:"id"`
	Live         string       `json:"live"` // hash of the live rows: tasks and commit check that they are still those
	Fingerprint  string       `json:"fingerprint"`
	TableVersion int64        `json:"table_version"`
	Asked        string       `json:"asked"`
	Params       index.Params `json:"params"`
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
	var builds []build
	var tasks []task.Task
	for _, e := range s.W.Config.Embeddings {
		l, err := s.W.Live(ctx, e)
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
		trained, err := s.train(ctx, b, l)
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

// need plans the index that an embedding lacks; nil when it lacks none.
func (s *Stage) need(ctx context.Context, l *workspace.Live) (*build, error) {
	e := l.Embedding
	if l.Rows == 0 {
		return nil, nil
	}
	// The config's, not the head's: they say nothing of the vectors.
	if own, err := s.W.Embedding(e.Name); err == nil {
		e.Index = own.Index
	}
	wish := index.Wish{Kind: e.Index.Kind, Memory: int64(e.Index.Memory), Recall: e.Index.Recall, Seed: s.W.Config.Seed}
	p, err := index.Choose(l.Rows, l.Dim, wish)
	if err != nil {
		return nil, fmt.Errorf("index of embedding %s: %w", e.Name, err)
	}
	b := &build{Embedding: e.Name, Live: l.Hash, Fingerprint: l.Fingerprint, TableVersion: l.Snapshot.Version, Asked: wish.Kind, Params: p}
	newest, err := Newest(ctx, s.W, e.Name, l.Fingerprint)
	if err != nil {
		return nil, err
	}
	if Fresh(newest, l) && newest.Asked == wish.Kind && newest.Memory == p.Memory && newest.RecallTarget == p.RecallTarget && newest.Seed == p.Seed {
		return nil, nil
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	b.ID = fmt.Sprintf("%08d-%s", max(l.Snapshot.Version, 0), task.NewHash().Add("index 2").Add(string(raw)).Sum()[:12])
	return b, nil
}

func (b *build) dir() string { return workspace.IndexDir(b.Embedding) + "/" + b.ID }

// tasks cuts the rows into ranges. Training enters their hashes, for lists belong to
// the centroids that they were made with.
func (b *build) tasks(n int, trained string) ([]task.Task, error) {
	step := b.Params.TaskRows()
	if b.Params.Kind == index.Flat {
		step = max(step, 10_000)
	}
	var out []task.Task
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

// train makes the trained file and the queries unless they are there, and returns the
// trained file's name of versions: its hash.
func (s *Stage) train(ctx context.Context, b *build, l *workspace.Live) (_ string, err error) {
	to := s.W.Store.Sub(b.dir())
	if b.Params.Kind == index.Flat {
		return "flat", nil
	}
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
	l, err := s.W.Live(ctx, e)
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
	in := s.W.Store.Sub(b.dir())
	trained, q, err := s.trained(ctx, in, b)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "winnow-index-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "lists.faiss")
	truth, err := index.Lists(ctx, path, trained, b.Params, liveRows(l), sp.Lo, sp.Hi, q, task.Counter(ctx).Add)
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

// trained gives local copies of what Plan trained.
func (s *Stage) trained(ctx context.Context, in *store.Store, b *build) (path string, q *index.Queries, err error) {
	if b.Params.Kind == index.Flat {
		return "", &index.Queries{Dim: b.Params.Dim}, nil
	}
	if path, err = in.Local(ctx, index.TrainedFile, s.W.Cache); err != nil {
		return "", nil, err
	}
	const most = 1 << 30
	data, err := in.Read(ctx, queriesFile, most)
	if err != nil {
		return "", nil, err
	}
	q, err = index.DecodeQueries(data)
	return path, q, err
}

// Commit merges the lists of each build and publishes it.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, _ []*task.Result) error {
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

func (s *Stage) publish(ctx context.Context, p *task.Plan, n int, b *build) error {
	in := s.W.Store.Sub(b.dir())
	if _, err := index.ReadMeta(ctx, in); err == nil || !errors.Is(err, store.ErrNotFound) {
		return err
	}
	l, err := s.live(ctx, b)
	if err != nil {
		return err
	}
	made := &index.Built{}
	if made.Trained, made.Queries, err = s.trained(ctx, in, b); err != nil {
		return err
	}
	made.Truth = index.NewTruth(made.Queries)
	var keys []string
	for _, t := range p.Tasks {
		var sp spec
		if err := json.Unmarshal(t.Spec, &sp); err != nil {
			return err
		}
		if sp.Build != n {
			continue
		}
		path, err := in.Local(ctx, listsKey(t.Hash), s.W.Cache)
		if err != nil {
			return err
		}
		data, err := in.Read(ctx, truthKey(t.Hash), 1<<30)
		if err != nil {
			return err
		}
		truth, err := index.DecodeTruth(data, made.Queries)
		if err != nil {
			return err
		}
		made.Truth.Join(truth)
		made.Lists = append(made.Lists, index.MergePart{Path: path, Rows: sp.Hi - sp.Lo})
		keys = append(keys, listsKey(t.Hash), truthKey(t.Hash))
	}
	r := liveRows(l)
	_, err = index.Publish(ctx, in, index.Spec{
		ID: b.ID, Embedding: b.Embedding, Fingerprint: b.Fingerprint, TableVersion: b.TableVersion,
		Live: b.Live, Asked: b.Asked, Params: b.Params, Shards: r.shards(),
	}, made, r.ids, s.W.App.Progress)
	if err != nil {
		return err
	}
	// The parts are in the index now.
	if b.Params.Kind != index.Flat {
		keys = append(keys, queriesFile)
	}
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
