// Package task is the way in which every heavy stage works: plan → tasks → commit.
//
// plan writes a list of tasks, fixed by the inputs alone, under runs/<run>/<stage>/.
// A task reads nothing but its plan and the objects that the plan names, writes
// its data files put-if-absent under names made of the hash of its inputs, and
// last a result marker under the same hash. commit publishes the results of all
// tasks at once. So a task may run twice, anywhere, at any time: whoever finds a
// result skips the work, and a kill costs at most the tasks in flight.
package task

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"

	"winnow/pipeline"
)

// Format is the version of plan.json and of result markers.
//
//	1: first
const Format = 1

// maxPlan bounds the bytes of a plan or a result that is read back.
const maxPlan = 256 << 20

// Plan lists the tasks of one stage of one run.
type Plan struct {
	Format int             `json:"format"`
	Stage  string          `json:"stage"`
	Run    string          `json:"run"`
	ID     string          `json:"id"` // hash of the stage, its frozen facts and all task hashes
	Tasks  []Task          `json:"tasks"`
	Facts  json.RawMessage `json:"facts,omitempty"` // what commit needs, frozen by plan
}

// Task is the unit of work.
type Task struct {
	Index int             `json:"index"`
	Hash  string          `json:"hash"` // of the inputs; names the outputs
	Name  string          `json:"name"` // for people: "image 3 of 12"
	Rows  int64           `json:"rows"` // rows of work
	Dir   string          `json:"dir"`  // where the outputs and the result marker go
	Spec  json.RawMessage `json:"spec"` // what the stage's Do needs
}

// Result is what a task leaves behind when it is done.
type Result struct {
	Format  int               `json:"format"`
	Hash    string            `json:"hash"`
	Rows    int64             `json:"rows"`             // rows in Output
	Output  string            `json:"output,omitempty"` // key below the task's Dir; empty when no row was left
	Rejects []pipeline.Reject `json:"rejects,omitempty"`
	Facts   json.RawMessage   `json:"facts,omitempty"`
}

// Objects is the storage that a plan lives in: a workspace.
type Objects interface {
	Read(ctx context.Context, key string, limit int64) ([]byte, error)
	Create(ctx context.Context, key string, fn func(io.Writer) error) (bool, error)
	// Missing reports whether err says that a key does not exist.
	Missing(err error) bool
}

// Stage is one heavy stage of winnow.
type Stage interface {
	Name() string
	// Plan lists the work of a run. It may write inputs below runs/<run>/<stage>/.
	Plan(ctx context.Context, run string) (*Plan, error)
	// Do works on one task and returns its result; outputs are written put-if-absent.
	Do(ctx context.Context, p *Plan, t Task) (*Result, error)
	// Commit publishes the results, in the order of the tasks. It must be
	// idempotent: a second commit of the same plan changes nothing.
	Commit(ctx context.Context, p *Plan, results []*Result) error
}

// NewPlan numbers the tasks and computes the plan's ID.
func NewPlan(stage, run string, facts any, tasks []Task) (*Plan, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", stage, err)
	}
	h := NewHash().Add(stage).Add(string(raw))
	for i := range tasks {
		tasks[i].Index = i
		h.Add(tasks[i].Dir).Add(tasks[i].Hash)
	}
	return &Plan{Format: Format, Stage: stage, Run: run, ID: h.Sum(), Tasks: tasks, Facts: raw}, nil
}

// Hash makes names from inputs. Each part is framed by its length, so that
// ("ab", "c") and ("a", "bc") differ.
type Hash struct{ h *blake3.Hasher }

// NewHash returns an empty Hash.
func NewHash() *Hash { return &Hash{blake3.New(16, nil)} }

// Add appends one part.
func (h *Hash) Add(part string) *Hash {
	fmt.Fprintf(h.h, "%d:", len(part))
	_, _ = io.WriteString(h.h, part)
	return h
}

// AddFrom appends all that r holds as the last part.
func (h *Hash) AddFrom(r io.Reader) error {
	_, err := io.Copy(h.h, r)
	return err
}

// Sum returns 32 hexadecimal digits.
func (h *Hash) Sum() string { return hex.EncodeToString(h.h.Sum(nil)) }

func planKey(run, stage string) string { return "runs/" + run + "/" + stage + "/plan.json" }

// MarkerKey is where the result of a task stands. Its folder begins with "_", so
// that no reader of a Delta table takes it for data.
func MarkerKey(t Task) string { return t.Dir + "/_results/" + t.Hash + ".json" }

// LoadPlan reads the plan of a stage of a run.
func LoadPlan(ctx context.Context, o Objects, run, stage string) (*Plan, error) {
	raw, err := o.Read(ctx, planKey(run, stage), maxPlan)
	if err != nil {
		if o.Missing(err) {
			return nil, pipeline.Usagef("run %q has no plan for stage %s; make it with: winnow %s --run %s --plan", run, stage, stage, run)
		}
		return nil, err
	}
	var p Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", planKey(run, stage), err)
	}
	if p.Format != Format {
		return nil, fmt.Errorf("%s has format %d, this winnow knows %d; use the winnow that wrote it or plan again", planKey(run, stage), p.Format, Format)
	}
	return &p, nil
}

// MakePlan plans a stage and freezes the plan. A run that has a plan already
// keeps it, so that a retried planner changes nothing.
func MakePlan(ctx context.Context, o Objects, s Stage, run string) (*Plan, error) {
	return makePlan(ctx, o, s, run, true)
}

// makePlan freezes an empty plan only when asked: a run in one process that
// finds nothing to do leaves nothing behind.
func makePlan(ctx context.Context, o Objects, s Stage, run string, empty bool) (*Plan, error) {
	p, err := LoadPlan(ctx, o, run, s.Name())
	var usage *pipeline.UsageError
	if err == nil || !errors.As(err, &usage) {
		return p, err
	}
	if p, err = s.Plan(ctx, run); err != nil || len(p.Tasks) == 0 && !empty {
		return p, err
	}
	created, err := o.Create(ctx, planKey(run, s.Name()), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(p)
	})
	if err != nil {
		return nil, err
	}
	if !created { // another planner was faster: its plan counts
		return LoadPlan(ctx, o, run, s.Name())
	}
	return p, nil
}

// LoadResult reads the result of a task; nil when it is not done.
func LoadResult(ctx context.Context, o Objects, t Task) (*Result, error) {
	raw, err := o.Read(ctx, MarkerKey(t), maxPlan)
	if err != nil {
		if o.Missing(err) {
			return nil, nil
		}
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%s is damaged; delete it and run again: %w", MarkerKey(t), err)
	}
	if r.Format != Format || r.Hash != t.Hash {
		return nil, fmt.Errorf("%s belongs to another version or task; delete it and run again", MarkerKey(t))
	}
	return &r, nil
}

// Do runs one task unless its result is there, and returns the result.
func Do(ctx context.Context, o Objects, s Stage, p *Plan, t Task) (*Result, error) {
	if r, err := LoadResult(ctx, o, t); err != nil || r != nil {
		return r, err
	}
	r, err := s.Do(ctx, p, t)
	if err != nil {
		return nil, fmt.Errorf("%s, task %d (%s): %w", p.Stage, t.Index, t.Name, err)
	}
	r.Format, r.Hash = Format, t.Hash
	_, err = o.Create(ctx, MarkerKey(t), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	})
	return r, err
}
