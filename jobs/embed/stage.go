// Package embed is the embed job: it plans which rows have no vector yet, runs
// them through their models in tasks, and commits the shards.
package embed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"winnow/io/shard"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/models"
	"winnow/models/onnx"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/task"
)

// Stage embeds every embedding of the config under its current model. It is a
// task.Stage.
type Stage struct {
	W    *workspace.Workspace
	Rows workspace.Rows // which rows without a vector
	Into *Into          // nil: the current spaces

	mu     sync.Mutex
	loaded map[string]*models.Model // by fingerprint
	gates  map[*models.Model]chan struct{}
	clock  clock
}

// Into makes a stage of the same kind that fills other spaces.
type Into struct {
	Stage    string // its name
	Spaces   []*workspace.Space
	Limit    int64                         // rows of a plan; 0: all
	TaskRows int64                         // rows of a task at most; 0: as for embed
	Model    func(embed.Model) embed.Model // how a model is run; nil: as it is
}

// spec is what a task needs: the rest stands in its input file.
type spec struct {
	Embedding   string `json:"embedding"`
	Fingerprint string `json:"fingerprint"`
	Input       string `json:"input"` // key of the input rows
	Sort        bool   `json:"sort"`
	batches

	Vectors *vectorFile `json:"vectors,omitempty"` // a file to bring in; the rest of Input is then empty
}

// facts are frozen by plan for commit.
type facts struct {
	Tables  []tableFacts `json:"tables"`
	Rejects int64        `json:"rejects"` // version of the rejects table
}

type tableFacts struct {
	Embedding   string `json:"embedding"`
	Fingerprint string `json:"fingerprint"`
	Root        string `json:"root"`
	Base        int64  `json:"base"`
	Dim         int    `json:"dim"`
}

// Name is the stage's name.
func (s *Stage) Name() string {
	if s.Into != nil {
		return s.Into.Stage
	}
	return "embed"
}

// spaces are those that the stage fills, and how many rows at most.
func (s *Stage) spaces(ctx context.Context) ([]*workspace.Space, int64, error) {
	if s.Into != nil {
		return s.Into.Spaces, cmp.Or(s.Into.Limit, math.MaxInt64), nil
	}
	var list []*workspace.Space
	for _, e := range s.W.Config.Embeddings {
		sp, err := s.W.Current(ctx, e)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, sp)
	}
	return list, math.MaxInt64, nil
}

// Plan lists, for each embedding, the rows that have neither a vector nor a
// reject under the current model, and cuts them into tasks by asset_id.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	var tasks []task.Task
	known, err := s.W.Snapshot(ctx, workspace.RejectsRoot)
	if err != nil {
		return nil, err
	}
	f := facts{Rejects: known.Version}
	spaces, left, err := s.spaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, sp := range spaces {
		snap, err := s.W.Snapshot(ctx, sp.Root())
		if err != nil {
			return nil, err
		}
		f.Tables = append(f.Tables, tableFacts{sp.Name, sp.Fingerprint(), sp.Root(), snap.Version, sp.Spec.Dim})
		var more []task.Task
		if sp.Vectors != nil {
			more, err = s.planVectors(ctx, sp, snap)
		} else {
			more, err = s.planOne(ctx, run, sp, left)
		}
		if err != nil {
			return nil, err
		}
		for _, t := range more {
			left -= t.Rows
		}
		tasks = append(tasks, more...)
	}
	if len(tasks) > 0 { // a model needs the memory now
		if err := s.W.Release(); err != nil {
			return nil, err
		}
		debug.SetGCPercent(50) // the collector has next to nothing to do beside a model
	}
	return task.NewPlan(s.Name(), run, f, tasks)
}

// taskRows is how many rows a task holds: what the config says, else a sixteenth
// of the work, so that small sets share the cores and show progress, within
// bounds that keep a shard neither tiny nor larger than a kill may cost. Texts
// take more company: of few, those of a batch would differ much in length.
func taskRows(total, configured int64, image bool) int64 {
	if configured > 0 {
		return configured
	}
	least, most := int64(1024), int64(16384)
	if image {
		least, most = 256, 4096
	}
	return min(most, max(least, (total+15)/16))
}

// errEnough ends the listing of rows once a plan has as many as it may.
var errEnough = errors.New("enough rows")

// planOne cuts the rows of one space, at most limit, into tasks.
func (s *Stage) planOne(ctx context.Context, run string, sp *workspace.Space, limit int64) ([]task.Task, error) {
	total, err := s.W.CountTodo(ctx, sp, s.Rows)
	if err != nil || total == 0 || limit <= 0 {
		return nil, err
	}
	if err := s.W.CheckModel(sp); err != nil {
		return nil, err
	}
	image := sp.Spec.Kind == models.Image
	runs, err := s.planBatches(ctx, sp)
	if err != nil {
		return nil, err
	}
	size := taskRows(total, s.W.Config.Tasks.Embed, image)
	if s.Into != nil && s.Into.TaskRows > 0 {
		size = min(size, s.Into.TaskRows)
	}
	var tasks []task.Task
	var items []pipeline.Item
	h := task.NewHash()
	flush := func() error {
		if len(items) == 0 {
			return nil
		}
		of := task.NewHash().Add("embed 1").Add(sp.Name).Add(sp.Fingerprint()).Add(h.Sum())
		if runs.Device != onnx.CPU { // where the size was found, not given
			of = of.Add(runs.Device).Add(fmt.Sprint(runs.Batch))
		}
		hash := of.Sum()
		key := workspace.RunDir(run) + "/" + s.Name() + "/" + hash + ".parquet"
		if err := s.W.WriteItems(ctx, key, items); err != nil {
			return err
		}
		raw, err := json.Marshal(spec{Embedding: sp.Name, Fingerprint: sp.Fingerprint(), Input: key, Sort: !image, batches: runs})
		if err != nil {
			return err
		}
		tasks = append(tasks, task.Task{Hash: hash, Name: sp.Name + " from " + items[0].AssetID, Rows: int64(len(items)), Dir: sp.Root(), Spec: raw})
		items, h = items[:0], task.NewHash()
		return nil
	}
	err = s.W.Todo(ctx, sp, s.Rows, func(it pipeline.Item, tries int64) error {
		if limit--; limit < 0 {
			return errEnough
		}
		items = append(items, it)
		h.Add(it.AssetID).Add(it.Version).Add(it.URI).Add(fmt.Sprint(tries))
		if int64(len(items)) < size {
			return nil
		}
		return flush()
	})
	if err == nil || errors.Is(err, errEnough) {
		err = flush()
	}
	return tasks, err
}

// Do embeds the rows of one task into a shard.
func (s *Stage) Do(ctx context.Context, _ *task.Plan, t task.Task) (*task.Result, error) {
	s.clock.start()
	defer s.clock.stop()
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	if sp.Vectors != nil {
		return s.doVectors(ctx, sp, t)
	}
	m, err := s.model(ctx, sp.Embedding, sp.Fingerprint)
	if err != nil {
		return nil, err
	}
	items, err := s.W.ReadItems(ctx, sp.Input, t.Rows)
	if err != nil {
		return nil, err
	}
	batched := m.Batched(sp.Batch)
	var runs embed.Model = batched
	if s.Into != nil && s.Into.Model != nil {
		runs = s.Into.Model(batched)
	}
	out, err := embed.Run(ctx, items, runs, s.W.Fetcher(), embed.Options{
		Sort: sp.Sort, Tokens: sp.Tokens, Decoders: decoders(m), Gate: s.gate(m),
		Stage: "embed", Subject: sp.Fingerprint, Count: task.Counter(ctx).Add,
	})
	if err != nil {
		return nil, err
	}
	if n := batched.Reduced(); n > 0 {
		s.W.App.Log.Sugar().Warnf("%s: the memory of %s ended at batches of %d; the rest of the task ran in batches of %d or fewer", t.Name, m.Device(), batched.BatchSize(), n)
	}
	r := &task.Result{Rows: int64(len(out.AssetID)), Rejects: out.Rejects}
	if r.Rows == 0 {
		return r, nil
	}
	r.Output = t.Hash + ".parquet"
	_, err = s.W.Store.Create(ctx, t.Dir+"/"+r.Output, func(w io.Writer) error {
		sw, err := shard.NewWriter(w, shard.Meta{Dim: out.Dim, Embedding: sp.Embedding, Fingerprint: sp.Fingerprint, Normalized: m.Spec().Normalized()})
		if err != nil {
			return err
		}
		if err := sw.Write(&shard.Block{Dim: out.Dim, AssetID: out.AssetID, Version: out.Version, ContentHash: out.ContentHash, Vectors: out.Vectors}); err != nil {
			return err
		}
		return sw.Close()
	})
	return r, err
}

// model loads the model of an embedding once.
func (s *Stage) model(ctx context.Context, name, fingerprint string) (*models.Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.loaded[fingerprint]; m != nil {
		return m, nil
	}
	defer s.clock.pause()()
	sp, err := s.W.SpaceOf(ctx, name, fingerprint)
	if err != nil {
		return nil, err
	}
	m, err := s.W.ModelOf(sp)
	if err != nil {
		return nil, err
	}
	if s.loaded == nil {
		s.loaded = map[string]*models.Model{}
	}
	s.loaded[fingerprint] = m
	s.tell(name, m)
	return m, nil
}

// Close frees the models.
func (s *Stage) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.loaded {
		m.Close()
	}
	s.loaded, s.gates = nil, nil
}

// Commit adds all shards of each embedding in one log entry, then lists the
// rejects. A run that goes on after a kill in between plans the rejected rows
// alone, finds the same rejects, and lists them: the other way round, it would
// plan the others without them, and make other shards.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, results []*task.Result) error {
	defer s.clock.stop()
	var f facts
	if err := json.Unmarshal(p.Facts, &f); err != nil {
		return err
	}
	for _, tf := range f.Tables {
		if err := s.commitTable(ctx, p, tf, results); err != nil {
			return fmt.Errorf("commit embedding %s: %w", tf.Embedding, err)
		}
	}
	if err := s.reject(ctx, p.Run, f.Rejects, results); err != nil || s.Into != nil {
		return err
	}
	return s.firstHeads(ctx, p.Run, f)
}

// commitTable adds the shards of one space. One that is there already, from
// another plan with the same task, is left as it is.
func (s *Stage) commitTable(ctx context.Context, p *task.Plan, tf tableFacts, results []*task.Result) error {
	var snap *table.Snapshot
	there := map[string]bool{}
	c := table.Change{Base: tf.Base, AppID: "embed " + p.ID, AppVersion: 1, Operation: "WRITE", Schema: workspace.VectorSchema,
		Info: map[string]string{"run": p.Run, "winnow": s.W.App.Version}}
	for i, t := range p.Tasks {
		var sp spec
		if err := json.Unmarshal(t.Spec, &sp); err != nil {
			return err
		}
		// Of an empty file of vectors the shard says that it was read.
		if t.Dir != tf.Root || results[i].Rows == 0 && sp.Vectors == nil {
			continue
		}
		if snap == nil {
			var err error
			if snap, err = s.W.Snapshot(ctx, tf.Root); err != nil {
				return err
			}
			for _, f := range snap.Files {
				there[f.Path] = true
			}
		}
		if there[results[i].Output] {
			continue
		}
		file, err := s.W.DataFile(ctx, tf.Root, results[i].Output, results[i].Rows)
		if err != nil {
			return err
		}
		if sp.Vectors != nil {
			tag(&c, &file, sp.Vectors, snap)
		}
		c.Adds = append(c.Adds, file)
	}
	if len(c.Adds) == 0 {
		return nil
	}
	_, err := s.W.Table(tf.Root).Commit(ctx, c)
	return err
}

// firstHeads makes the first model of each embedding its current one, once there
// are rows: from then on, another model in the config is a matter of backfill.
func (s *Stage) firstHeads(ctx context.Context, run string, f facts) error {
	for _, tf := range f.Tables {
		e, err := s.W.Embedding(tf.Embedding)
		if err != nil {
			return err
		}
		sp, err := s.W.Current(ctx, e)
		if err != nil {
			return err
		}
		if sp.Head != nil || sp.Vectors != nil || sp.Fingerprint() != tf.Fingerprint {
			continue
		}
		snap, err := s.W.Snapshot(ctx, tf.Root)
		if err != nil {
			return err
		}
		if snap.Rows() == 0 {
			continue
		}
		assets, err := s.W.Snapshot(ctx, workspace.AssetsRoot)
		if err != nil {
			return err
		}
		if _, err := s.W.PutHead(ctx, run, sp, snap.Rows(), assets.Version); err != nil {
			return err
		}
	}
	return nil
}

// reject lists the rejects of all tasks. The transaction is named by the rejects
// and by the version that they follow, not by the plan: after a kill another
// plan may bring the same ones.
func (s *Stage) reject(ctx context.Context, run string, base int64, results []*task.Result) error {
	var rejects []pipeline.Reject
	for _, r := range results {
		rejects = append(rejects, r.Rejects...)
	}
	slices.SortFunc(rejects, func(a, b pipeline.Reject) int {
		return cmp.Or(strings.Compare(a.Subject, b.Subject), strings.Compare(a.AssetID, b.AssetID))
	})
	raw, err := json.Marshal(rejects)
	if err != nil {
		return err
	}
	app := task.NewHash().Add("embed rejects 1").Add(fmt.Sprint(base)).Add(string(raw)).Sum()
	return s.W.AppendRejects(ctx, run, "embed "+app, rejects)
}

var _ task.Stage = (*Stage)(nil)
