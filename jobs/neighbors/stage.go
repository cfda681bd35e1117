// Package neighbors is the neighbors job: it finds the k nearest rows of every row
// of an embedding, and keeps them as a table that deduplication, diagnosis and
// others read through Open.
//
// All rows are compared where that is cheap; else an index chooses the candidates.
// Cosines come from the vectors either way. After a change only the new rows, and
// those of which a neighbour is gone, are searched for; the new rows are offered
// to the lists of all others, by comparison, so that nothing is lost.
package neighbors

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"winnow/configs"
	"winnow/io/index"
	"winnow/io/table"
	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

const (
	// exactWork is how many multiplications and additions are cheap: three minutes
	// of two cores, or 100,000 rows of 1,000 numbers.
	exactWork = 2e13
	// taskBytes is the size of a task's vectors, taskRows its most rows.
	taskBytes = 96 << 20
	taskRows  = 64 << 10
)

// Stage finds neighbours. It is a task.Stage: one task for some thousand rows.
type Stage struct {
	W *workspace.Workspace
	// Only are the embeddings; nil for those whose config asks for it.
	Only []string

	most float64 // multiplications and additions that are cheap; 0 stands for exactWork
	mu   sync.Mutex
	hold map[string]*held // by embedding and the rows' hash
}

// spec is what a task needs.
type spec struct {
	Embedding string `json:"embedding"`
	LiveHash  string `json:"live_hash"`
	K         int    `json:"k"`
	First     int64  `json:"first"`
	Rows      int64  `json:"rows"`
	Index     string `json:"index,omitempty"` // chooses the candidates; "" where all rows are compared
	Base      int64  `json:"base"`            // version of the table whose lists go on; -1 for none
}

type facts struct {
	Tables []tableFacts `json:"tables"`
}

type tableFacts struct {
	Root   string  `json:"root"`
	Base   int64   `json:"base"`
	Live   string  `json:"live"`
	K      int     `json:"k"`
	By     string  `json:"by"`
	Recall float64 `json:"recall"`
}

// Name is the stage's name.
func (*Stage) Name() string { return "neighbors" }

// embeddings are those to work on.
func (s *Stage) embeddings() (list []configs.Embedding, err error) {
	if s.Only == nil {
		for _, e := range s.W.Config.Embeddings {
			if e.Neighbors != nil {
				list = append(list, e)
			}
		}
		return list, nil
	}
	for _, name := range s.Only {
		e, err := s.W.Embedding(name)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// Plan makes the tasks of each embedding whose live rows have no neighbours yet.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	list, err := s.embeddings()
	if err != nil {
		return nil, err
	}
	var f facts
	var tasks []task.Task
	for _, e := range list {
		l, err := s.W.Live(ctx, e)
		if err != nil {
			return nil, err
		}
		if l.Rows < 2 {
			continue
		}
		g, err := Open(ctx, s.W, l, e.K())
		if err != nil {
			return nil, err
		}
		if g != nil {
			continue
		}
		tf, more, err := s.planOne(ctx, l, e.K())
		if err != nil {
			return nil, fmt.Errorf("neighbours of embedding %s: %w", e.Name, err)
		}
		f.Tables, tasks = append(f.Tables, *tf), append(tasks, more...)
	}
	return task.NewPlan(s.Name(), run, f, tasks)
}

func (s *Stage) cheap() float64 {
	if s.most == 0 {
		return exactWork
	}
	return s.most
}

// work estimates the multiplications and additions that compare rows with all.
func work(rows, all int64, dim int) float64 { return 2 * float64(rows) * float64(all) * float64(dim) }

func (s *Stage) planOne(ctx context.Context, l *workspace.Live, k int) (*tableFacts, []task.Task, error) {
	root := workspace.NeighborsRoot(l.Embedding.Name, l.Fingerprint)
	old, err := open(ctx, s.W, root, table.Latest)
	if err != nil {
		return nil, nil, err
	}
	sp := spec{Embedding: l.Embedding.Name, LiveHash: l.Hash, K: k, Base: -1}
	tf := &tableFacts{Root: root, Base: -1, Live: l.Hash, K: k, By: byExact, Recall: 1}
	fresh := l.Rows
	if old != nil {
		if tf.Base = old.base; old.K == k {
			h, err := s.held(ctx, l, spec{Base: old.base})
			if err != nil {
				return nil, nil, err
			}
			if 2*work(int64(len(h.fresh)), l.Rows, l.Dim) <= s.cheap() && int64(len(h.fresh)) < l.Rows {
				sp.Base, fresh = old.base, int64(len(h.fresh))
				tf.By, tf.Recall = old.By, old.Recall
			}
		}
	} else if snap, err := s.W.Snapshot(ctx, root); err != nil {
		return nil, nil, err
	} else {
		tf.Base = snap.Version
	}
	how := "comparing all"
	if work(fresh, l.Rows, l.Dim) > s.cheap() {
		m, err := s.index(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		sp.Index, tf.By, tf.Recall, how = m.ID, "index "+m.ID, m.Recall10, "by index "+m.ID
	}
	if sp.Base >= 0 {
		how = fmt.Sprintf("%d of them new", fresh)
	}
	rows := min(taskRows, max(int64(taskBytes/(4*l.Dim)), 1))
	var tasks []task.Task
	for at := int64(0); at < l.Rows; at += rows {
		sp.First, sp.Rows = at, min(rows, l.Rows-at)
		raw, err := json.Marshal(sp)
		if err != nil {
			return nil, nil, err
		}
		h := task.NewHash().Add("neighbors 1").Add(l.Fingerprint).Add(string(raw))
		tasks = append(tasks, task.Task{Hash: h.Sum(), Name: fmt.Sprintf("%s, rows from %d, %s", sp.Embedding, at, how), Rows: sp.Rows, Dir: root, Spec: raw})
	}
	return tf, tasks, nil
}

// index is the index of the live rows as they are now.
func (s *Stage) index(ctx context.Context, l *workspace.Live) (*index.Meta, error) {
	m, err := indexjob.Newest(ctx, s.W, l.Embedding.Name, l.Fingerprint)
	if err == nil && (!indexjob.Fresh(m, l)) {
		err = pipeline.Usagef("embedding %s has too many rows (%d) to compare all of them, and its index is not of these rows; run: winnow index", l.Embedding.Name, l.Rows)
	}
	return m, err
}

// Commit swaps the tables in, in one log entry each.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, results []*task.Result) error {
	defer s.drop()
	var f facts
	if err := json.Unmarshal(p.Facts, &f); err != nil {
		return err
	}
	for _, t := range f.Tables {
		if err := s.commitOne(ctx, p, t, results); err != nil {
			return fmt.Errorf("commit %s: %w", t.Root, err)
		}
	}
	return nil
}

func (s *Stage) commitOne(ctx context.Context, p *task.Plan, t tableFacts, results []*task.Result) error {
	snap, err := s.W.Snapshot(ctx, t.Root)
	if err != nil {
		return err
	}
	c := table.Change{Base: t.Base, AppID: "neighbors " + p.ID, AppVersion: 1, Operation: "WRITE", Schema: Schema,
		Info: map[string]string{"run": p.Run, "winnow": s.W.App.Version}}
	if _, done := snap.Txns[c.AppID]; done {
		return nil
	}
	there := map[string]bool{}
	for _, old := range snap.Files {
		there[old.Path] = true
	}
	for i, tk := range p.Tasks {
		if tk.Dir != t.Root {
			continue
		}
		if there[results[i].Output] {
			delete(there, results[i].Output)
			continue
		}
		var sp spec
		if err := json.Unmarshal(tk.Spec, &sp); err != nil {
			return err
		}
		file, err := s.W.DataFile(ctx, t.Root, results[i].Output, results[i].Rows)
		if err != nil {
			return err
		}
		file.Tags = map[string]string{tagLive: t.Live, tagK: strconv.Itoa(t.K), tagFirst: strconv.FormatInt(sp.First, 10),
			tagBy: t.By, tagRecall: strconv.FormatFloat(t.Recall, 'g', -1, 64)}
		c.Adds = append(c.Adds, file)
	}
	for _, old := range snap.Files {
		if there[old.Path] {
			c.Removes = append(c.Removes, old.Path)
		}
	}
	if len(c.Adds)+len(c.Removes) == 0 {
		return nil
	}
	_, err = s.W.Table(t.Root).Commit(ctx, c)
	return err
}

func (s *Stage) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hold {
		if h.folder != nil {
			_ = h.folder.Close()
		}
	}
	s.hold = nil
}

var _ task.Stage = (*Stage)(nil)
