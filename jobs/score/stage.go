// Package score is the score job: it fits the functions that have no fit yet,
// scores every row against every function in one pass over the vectors, and
// commits the score files.
//
// A score file covers the rows of one or more shards. Its tags in the table's
// log name those shards and each column's function version, so plan sees what is
// missing: a new function adds a column and keeps the others, new shards make
// new files, and an unchanged pair is never computed again.
package score

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
	"winnow/pipeline/task"
)

// groupRows is how many rows a score file covers, unless the config says so.
const groupRows = 1 << 20

// Tags of a score file in the table's log.
const (
	tagShards   = "winnow.shards"   // JSON list of the shards' paths
	tagVersions = "winnow.versions" // JSON map from column to function version
)

// Stage scores all functions of the config. It is a task.Stage.
type Stage struct {
	W *workspace.Workspace
}

// column is one function in a score file.
type column struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// spec is what a task needs.
type spec struct {
	Embedding   string   `json:"embedding"`
	Fingerprint string   `json:"fingerprint"`
	Shards      []string `json:"shards"`
	Columns     []column `json:"columns"`        // of the file to write, sorted by name
	Keep        string   `json:"keep,omitempty"` // an existing score file over the same shards
	Kept        []string `json:"kept,omitempty"` // the columns taken from it
}

type facts struct {
	Tables []tableFacts `json:"tables"`
}

type tableFacts struct {
	Embedding string   `json:"embedding"`
	Base      int64    `json:"base"`
	Columns   []column `json:"columns"`
	Removes   []string `json:"removes,omitempty"`
}

// Name is the stage's name.
func (*Stage) Name() string { return "score" }

// Plan fits what must be fitted and lists the score files to write.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	if err := CheckNames(ctx, s.W); err != nil {
		return nil, err
	}
	var f facts
	var tasks []task.Task
	byEmbedding := map[string][]*configs.Function{}
	for _, e := range s.W.Config.Embeddings {
		byEmbedding[e.Name] = configs.Within(s.W.Config.Definitions, e.Name)
	}
	live := map[string]*workspace.Live{}
	for _, e := range s.W.Config.Embeddings {
		if len(byEmbedding[e.Name]) == 0 {
			continue
		}
		l, err := s.W.LiveOf(ctx, e)
		if err != nil {
			return nil, err
		}
		if l.Stored() == 0 {
			s.empty(e)
			continue
		}
		live[e.Name] = l
	}
	anchors := NewAnchors(s.W, live)
	defer anchors.Close()
	if err := s.check(ctx, anchors, live, byEmbedding); err != nil {
		return nil, err
	}
	for _, e := range s.W.Config.Embeddings {
		l := live[e.Name]
		if l == nil {
			continue
		}
		cols, err := s.fit(ctx, anchors, l, byEmbedding[e.Name])
		if err != nil {
			return nil, err
		}
		t, more, err := s.planTable(ctx, l, cols)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 || len(t.Removes) > 0 {
			f.Tables = append(f.Tables, *t)
		}
		tasks = append(tasks, more...)
	}
	return task.NewPlan(s.Name(), run, f, tasks)
}

func (s *Stage) empty(e configs.Embedding) {
	s.W.App.Log.Sugar().Warnf("embedding %s has no rows, so its functions are not scored; run winnow embed", e.Name)
}

// check looks up all anchors. Where some are missing, embeddings without a single
// live row are dropped first.
func (s *Stage) check(ctx context.Context, anchors *Anchors, live map[string]*workspace.Live, fns map[string][]*configs.Function) error {
	ready := func() (list []*configs.Function) {
		for name := range live {
			list = append(list, fns[name]...)
		}
		return list
	}
	missing := anchors.Check(ctx, ready())
	if missing == nil {
		return nil
	}
	before := len(live)
	for name, l := range live {
		all, err := s.W.LiveIn(ctx, l.Space)
		if err != nil {
			return err
		}
		if all.Rows == 0 {
			s.empty(l.Embedding)
			delete(live, name)
		}
	}
	if len(live) == before {
		return missing
	}
	return anchors.Check(ctx, ready())
}

// fit makes sure that every function of an embedding has its fitted file, and
// returns the columns sorted by name.
func (s *Stage) fit(ctx context.Context, anchors *Anchors, l *workspace.Live, fns []*configs.Function) ([]column, error) {
	st, err := statisticsFor(ctx, s.W, l, fns)
	if err != nil {
		return nil, err
	}
	var cols []column
	for _, f := range fns {
		pos, neg, err := anchors.Resolve(ctx, f, false)
		if err != nil {
			return nil, err
		}
		c := column{f.Name, function.VersionOf(f.Definition, pos, neg, st)}
		cols = append(cols, c)
		if _, err := LoadScorer(ctx, s.W, l, c.Name, c.Version); err == nil {
			continue
		} else if !s.W.Objects().Missing(err) {
			return nil, err
		}
		if pos, neg, err = anchors.Resolve(ctx, f, true); err != nil {
			return nil, err
		}
		scorer, err := function.Fit(f.Definition, pos, neg, st)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.File, err)
		}
		if scorer.Version != c.Version {
			return nil, fmt.Errorf("function %s: fitted as %s, planned as %s; an anchor changed meanwhile, run again", f.Name, scorer.Version, c.Version)
		}
		if err := saveScorer(ctx, s.W, l, scorer); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(cols, func(a, b column) int { return strings.Compare(a.Name, b.Name) })
	return cols, nil
}

// planTable compares the score files with the shards and the columns.
func (s *Stage) planTable(ctx context.Context, l *workspace.Live, cols []column) (*tableFacts, []task.Task, error) {
	snap, err := s.W.Snapshot(ctx, workspace.ScoresRoot(l.Embedding.Name))
	if err != nil {
		return nil, nil, err
	}
	t := &tableFacts{Embedding: l.Embedding.Name, Base: snap.Version, Columns: cols}
	open := map[string]int64{} // shards without scores, with their rows
	for _, f := range l.Snapshot.Files {
		open[f.Path] = f.Rows
	}
	var tasks []task.Task
	for _, f := range snap.Files {
		shards, have, err := readTags(f)
		if err != nil {
			return nil, nil, err
		}
		whole := true
		for _, sh := range shards {
			_, ok := open[sh]
			whole = whole && ok
		}
		if !whole { // a shard was rewritten or the model changed: what is left is scored anew
			t.Removes = append(t.Removes, f.Path)
			continue
		}
		rows := int64(0)
		for _, sh := range shards {
			rows += open[sh]
			delete(open, sh)
		}
		if sameColumns(have, cols) {
			continue
		}
		t.Removes = append(t.Removes, f.Path)
		sp := spec{Embedding: l.Embedding.Name, Fingerprint: l.Fingerprint, Shards: shards, Columns: cols}
		for _, c := range cols {
			if have[c.Name] == c.Version {
				sp.Keep, sp.Kept = f.Path, append(sp.Kept, c.Name)
			}
		}
		tk, err := newTask(sp, rows)
		if err != nil {
			return nil, nil, err
		}
		tasks = append(tasks, tk)
	}
	more, err := s.groups(l, open, cols)
	return t, append(tasks, more...), err
}

// groups puts the open shards together into files of a bounded number of rows.
func (s *Stage) groups(l *workspace.Live, open map[string]int64, cols []column) ([]task.Task, error) {
	limit := s.W.Config.Tasks.Score
	if limit <= 0 {
		limit = groupRows
	}
	var tasks []task.Task
	sp := spec{Embedding: l.Embedding.Name, Fingerprint: l.Fingerprint, Columns: cols}
	rows := int64(0)
	flush := func() error {
		if len(sp.Shards) == 0 {
			return nil
		}
		t, err := newTask(sp, rows)
		tasks, sp.Shards, rows = append(tasks, t), nil, 0
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(open)) {
		if rows > 0 && rows+open[path] > limit {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		sp.Shards = append(sp.Shards, path)
		rows += open[path]
	}
	return tasks, flush()
}

func newTask(sp spec, rows int64) (task.Task, error) {
	h := task.NewHash().Add("score 1").Add(sp.Embedding).Add(sp.Fingerprint).Add(sp.Keep)
	for _, x := range sp.Shards {
		h.Add("shard").Add(x)
	}
	for _, c := range sp.Columns {
		h.Add("column").Add(c.Name).Add(c.Version)
	}
	raw, err := json.Marshal(sp)
	name := fmt.Sprintf("%s: %d functions over %d shards", sp.Embedding, len(sp.Columns), len(sp.Shards))
	return task.Task{Hash: h.Sum(), Name: name, Rows: rows, Dir: workspace.ScoresRoot(sp.Embedding), Spec: raw}, err
}

func readTags(f table.File) (shards []string, versions map[string]string, err error) {
	if err = json.Unmarshal([]byte(f.Tags[tagShards]), &shards); err == nil {
		err = json.Unmarshal([]byte(f.Tags[tagVersions]), &versions)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("score file %s has no readable tags: %w; delete the scores table and score again", f.Path, err)
	}
	return shards, versions, nil
}

func sameColumns(have map[string]string, cols []column) bool {
	if len(have) != len(cols) {
		return false
	}
	for _, c := range cols {
		if have[c.Name] != c.Version {
			return false
		}
	}
	return true
}

// Commit swaps the new score files in, in one log entry an embedding.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, results []*task.Result) error {
	var f facts
	if err := json.Unmarshal(p.Facts, &f); err != nil {
		return err
	}
	for _, t := range f.Tables {
		root := workspace.ScoresRoot(t.Embedding)
		c := table.Change{Base: t.Base, AppID: "score " + p.ID, AppVersion: 1, Operation: "WRITE", Removes: t.Removes,
			Schema: schema(t.Columns), Info: map[string]string{"run": p.Run, "winnow": s.W.App.Version}}
		versions := map[string]string{}
		for _, col := range t.Columns {
			versions[col.Name] = col.Version
		}
		tag, err := json.Marshal(versions)
		if err != nil {
			return err
		}
		for i, tk := range p.Tasks {
			if tk.Dir != root {
				continue
			}
			var sp spec
			if err := json.Unmarshal(tk.Spec, &sp); err != nil {
				return err
			}
			shards, err := json.Marshal(sp.Shards)
			if err != nil {
				return err
			}
			file, err := s.W.DataFile(ctx, root, results[i].Output, results[i].Rows)
			if err != nil {
				return err
			}
			file.Tags = map[string]string{tagShards: string(shards), tagVersions: string(tag)}
			c.Adds = append(c.Adds, file)
		}
		if _, err := s.W.Table(root).Commit(ctx, c); err != nil {
			return fmt.Errorf("commit scores of %s: %w", t.Embedding, err)
		}
	}
	return nil
}

func schema(cols []column) table.Schema {
	sc := table.Schema{{Name: "asset_id", Type: table.String}, {Name: "version", Type: table.String}}
	for _, c := range cols {
		sc = append(sc, table.Field{Name: c.Name, Type: table.Float, Nullable: true})
	}
	return sc
}

var _ task.Stage = (*Stage)(nil)
