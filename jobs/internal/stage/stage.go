// Package stage runs a task.Stage for a command: all of it in one process, or
// one step of it (--plan, --task, --commit) as one of many processes or pods.
package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// Flags choose a step. Without any, the whole stage runs.
type Flags struct {
	Plan      bool   `help:"Only plan: freeze the list of tasks under runs/<run>/." xor:"step" group:"Steps (need --run)"`
	Task      string `help:"Only work on task N of the plan, or on the share I/N of its tasks." placeholder:"N|I/N" xor:"step" env:"WINNOW_TASK" group:"Steps (need --run)"`
	Commit    bool   `help:"Only commit: publish the results of all tasks." xor:"step" group:"Steps (need --run)"`
	TasksFile string `help:"With --plan: write the task indexes as a JSON array to FILE, for a fan-out." placeholder:"FILE" type:"path" group:"Steps (need --run)"`
	Workers   int    `help:"Tasks at once in this process." default:"1" hidden:""`
}

// Summary is what a stage did.
type Summary struct {
	Stage    string            `json:"stage"`
	Step     string            `json:"step"` // all, plan, task or commit
	Run      string            `json:"run"`
	Tasks    int               `json:"tasks"`
	Rows     int64             `json:"rows"`
	Rejected int64             `json:"rejected"`
	Notes    []string          `json:"notes,omitempty"`   // what was done and why, where the stage says so: see Noted
	Seconds  float64           `json:"seconds,omitempty"` // of work, where the stage says so: see Timed
	Rejects  []pipeline.Reject `json:"-"`
}

// Timed is a stage that knows how long its tasks worked, without the time of
// planning and loading.
type Timed interface{ Worked() time.Duration }

// Noted is a stage that says what its commit did and why.
type Noted interface{ Notes() []string }

func (s *Summary) note(st task.Stage) {
	if n, ok := st.(Noted); ok {
		s.Notes = n.Notes()
	}
}

// Parallel is a stage that works best on several tasks at once.
type Parallel interface{ Workers() int }

func workers(s task.Stage, asked int) int {
	if p, ok := s.(Parallel); ok {
		return max(asked, p.Workers())
	}
	return asked
}

// Step names the chosen step.
func (f Flags) Step() string {
	switch {
	case f.Plan:
		return "plan"
	case f.Task != "":
		return "task"
	case f.Commit:
		return "commit"
	}
	return "all"
}

// Command is the Run of a stage's command: it opens the workspace, executes the
// chosen step and prints what was done. open makes the stage and says how it is
// closed.
func Command(ctx context.Context, app *job.App, f Flags, open func(*workspace.Workspace) (task.Stage, func())) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	s, done := open(w)
	defer done()
	sum, err := Run(ctx, w, s, f)
	if err != nil {
		return err
	}
	if t, ok := s.(Timed); ok {
		sum.Seconds = t.Worked().Round(time.Microsecond).Seconds()
	}
	if err := app.Print(sum, sum.Print); err != nil {
		return err
	}
	return sum.Verdict()
}

// Run executes the chosen step of a stage. Only plan, commit and the whole stage
// take the workspace's lock: tasks may run beside each other.
func Run(ctx context.Context, w *workspace.Workspace, s task.Stage, f Flags) (*Summary, error) {
	sum := &Summary{Stage: s.Name(), Step: f.Step(), Run: w.App.Run}
	if f.Task == "" {
		f.Task = jobIndex()
		if f.Task != "" && sum.Step == "all" {
			sum.Step = "task"
		}
	}
	e := task.Engine{Objects: w.Objects(), Progress: w.App.Progress, Workers: workers(s, f.Workers)}
	switch sum.Step {
	case "task":
		p, err := task.LoadPlan(ctx, e.Objects, w.App.Run, s.Name())
		if err != nil {
			return nil, err
		}
		tasks, err := task.Select(p, f.Task)
		if err != nil {
			return nil, err
		}
		results, err := e.Work(ctx, s, p, tasks)
		if err != nil {
			return nil, err
		}
		sum.Tasks = len(tasks)
		sum.Add(results)
		return sum, nil
	case "commit":
		return sum, w.Locked(ctx, func(ctx context.Context) error {
			p, err := task.LoadPlan(ctx, e.Objects, w.App.Run, s.Name())
			if err != nil {
				return err
			}
			results, err := e.Commit(ctx, s, p)
			sum.Tasks = len(p.Tasks)
			sum.Add(results)
			sum.note(s)
			return err
		})
	case "plan":
		return sum, w.Locked(ctx, func(ctx context.Context) error {
			p, err := task.MakePlan(ctx, e.Objects, s, w.App.Run)
			if err != nil {
				return err
			}
			sum.Tasks = len(p.Tasks)
			for _, t := range p.Tasks {
				sum.Rows += t.Rows
			}
			return writeTasks(f.TasksFile, p)
		})
	}
	return sum, w.Locked(ctx, func(ctx context.Context) error { return All(ctx, w, s, sum) })
}

// All runs a whole stage while the caller holds the lock.
func All(ctx context.Context, w *workspace.Workspace, s task.Stage, sum *Summary) error {
	e := task.Engine{Objects: w.Objects(), Progress: w.App.Progress, Workers: workers(s, 1)}
	p, results, err := e.Run(ctx, s, w.App.Run)
	if err != nil {
		return err
	}
	sum.Stage, sum.Run, sum.Tasks = s.Name(), w.App.Run, len(p.Tasks)
	sum.Add(results)
	sum.note(s)
	return nil
}

// Add counts results.
func (s *Summary) Add(results []*task.Result) {
	for _, r := range results {
		s.Rows += r.Rows
		s.Rejected += int64(len(r.Rejects))
		if room := 20 - len(s.Rejects); room > 0 { // enough to show
			s.Rejects = append(s.Rejects, r.Rejects[:min(room, len(r.Rejects))]...)
		}
	}
}

// jobIndex is the share of a Kubernetes Indexed Job's pod. The size of the job
// is not in its environment, so an index means one task.
func jobIndex() string { return os.Getenv("JOB_COMPLETION_INDEX") }

func writeTasks(file string, p *task.Plan) error {
	if file == "" {
		return nil
	}
	indexes := make([]int, len(p.Tasks))
	for i, t := range p.Tasks {
		indexes[i] = t.Index
	}
	data, err := json.Marshal(indexes)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// Print says what a stage did.
func (s *Summary) Print(w io.Writer) {
	switch s.Step {
	case "plan":
		fmt.Fprintf(w, "%s: planned %d tasks for %d rows\n", s.Stage, s.Tasks, s.Rows)
		if s.Tasks > 0 {
			fmt.Fprintf(w, "next: winnow %s --run %s --task N   (N from 0 to %d), then: winnow %s --run %s --commit\n", s.Stage, s.Run, s.Tasks-1, s.Stage, s.Run)
		}
		return
	case "task":
		fmt.Fprintf(w, "%s: worked on %d tasks, %d rows\n", s.Stage, s.Tasks, s.Rows)
	default:
		if s.Tasks == 0 {
			fmt.Fprintf(w, "%s: nothing new\n", s.Stage)
			return
		}
		fmt.Fprintf(w, "%s: %d rows in %d tasks\n", s.Stage, s.Rows, s.Tasks)
	}
	for _, n := range s.Notes {
		fmt.Fprintln(w, " ", n)
	}
	if s.Rejected > 0 {
		fmt.Fprintf(w, "%d rows were rejected:\n", s.Rejected)
		for _, r := range s.Rejects {
			fmt.Fprintf(w, "  %s  %s: %s\n", r.AssetID, r.Reason, r.Error)
		}
	}
}

// Verdict is the error that tells main about rejected rows. A task leaves the
// verdict to commit.
func (s *Summary) Verdict() error {
	if s.Rejected == 0 || s.Step == "task" {
		return nil
	}
	return &pipeline.PartialError{Rejected: s.Rejected, What: fmt.Sprintf("%s: done, but %d rows were rejected; see the rejects table or winnow status", s.Stage, s.Rejected)}
}
