package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// roundRows is how many rows are planned and committed together: what a call that
// is never ended in order may have left uncommitted, though not undone.
const roundRows = 32768

// Result is what a backfill did.
type Result struct {
	stage.Summary
	Moves  []*Move `json:"moves"`
	TimeUp bool    `json:"time_up,omitempty"` // --for ended it
}

// errTimeUp ends the work on a plan before all of its tasks are done.
var errTimeUp = errors.New("the time is up")

// rounds runs plans of a bounded number of rows, one after another.
type rounds struct {
	*Stage
	locked  func(context.Context, func(context.Context) error) error
	engine  task.Engine
	until   time.Time     // begin no task that would end later; zero: no end
	longest time.Duration // of the tasks so far
	result  *Result
}

// Run backfills until all is there, or limit or time end it. locked runs a
// function under the workspace's lock; it is called for every plan and commit.
func Run(ctx context.Context, w *workspace.Workspace, o Options, locked func(context.Context, func(context.Context) error) error, span time.Duration) (*Result, error) {
	s := NewStage(w, o)
	defer s.Close()
	r := &rounds{Stage: s, locked: locked, engine: task.Engine{Objects: w.Objects(), Progress: w.App.Progress, Workers: 1},
		result: &Result{Summary: stage.Summary{Stage: s.Name(), Step: "all", Run: w.App.Run}}}
	if span > 0 {
		r.until = time.Now().Add(span)
	}
	for n := 1; ; n++ {
		run := w.App.Run
		if n > 1 {
			run = fmt.Sprintf("%s.%d", run, n)
		}
		more, err := r.round(ctx, run)
		if err != nil || !more {
			r.result.Moves = s.Moves
			return r.result, err
		}
	}
}

// round plans, works and commits once. It reports whether another round may find
// something to do.
func (r *rounds) round(ctx context.Context, run string) (more bool, err error) {
	left := int64(roundRows)
	if r.Rate > 0 {
		left = min(left, max(16, int64(float64(r.Rate)*600))) // ten minutes
	}
	if r.Limit > 0 {
		left = min(left, r.Limit-r.result.Rows-r.result.Rejected)
	}
	var p *task.Plan
	err = r.locked(ctx, func(ctx context.Context) error {
		r.embed.Into.Limit = left
		if p, err = r.engine.Plan(ctx, r.Stage, run); err != nil || len(p.Tasks) > 0 {
			return err
		}
		return r.Commit(ctx, p, nil) // all is there: what is left is the move
	})
	if err != nil || len(p.Tasks) == 0 {
		return false, err
	}
	done, results, err := r.work(ctx, p)
	if err != nil && !errors.Is(err, errTimeUp) {
		return false, err
	}
	r.result.TimeUp = err != nil
	if err := r.locked(ctx, func(ctx context.Context) error { return r.Commit(ctx, done, results) }); err != nil {
		return false, err
	}
	var embedded int64
	for _, x := range results {
		embedded += x.Rows
	}
	switch {
	case r.result.TimeUp || r.Limit > 0 && r.result.Rows+r.result.Rejected >= r.Limit:
		return false, nil
	case embedded == 0: // nothing but rejects: the next call tries those that may pass
		return false, nil
	}
	for _, m := range r.Moves {
		if !m.CutOver {
			return true, nil
		}
	}
	return false, nil
}

// work does the tasks of a plan, and returns the plan of those that are done with
// their results. Its error is errTimeUp where some are left.
func (r *rounds) work(ctx context.Context, p *task.Plan) (*task.Plan, []*task.Result, error) {
	timed := &timed{Stage: r.Stage, r: r}
	if _, err := r.engine.Work(ctx, timed, p, p.Tasks); err != nil && !errors.Is(err, errTimeUp) {
		return nil, nil, err
	}
	var tasks []task.Task
	var results []*task.Result
	for _, t := range p.Tasks {
		x, err := task.LoadResult(ctx, r.engine.Objects, t)
		if err != nil {
			return nil, nil, err
		}
		if x != nil {
			tasks, results = append(tasks, t), append(results, x)
		}
	}
	for i, t := range tasks {
		if timed.did[t.Hash] {
			r.result.Tasks++
			r.result.Add(results[i : i+1])
		}
	}
	if len(tasks) == len(p.Tasks) {
		return p, results, nil
	}
	part, err := task.NewPlan(p.Stage, p.Run, p.Facts, tasks)
	if err == nil {
		err = errTimeUp
	}
	return part, results, err
}

// timed is the stage with an eye on the clock: it begins no task that would
// probably end too late, except for the first one, so that every call gets on.
type timed struct {
	*Stage
	r   *rounds
	did map[string]bool // tasks that this process worked on
}

// Do implements task.Stage.
func (t *timed) Do(ctx context.Context, p *task.Plan, x task.Task) (*task.Result, error) {
	begin := time.Now()
	if !t.r.until.IsZero() && t.r.longest > 0 && begin.Add(t.r.longest).After(t.r.until) {
		return nil, errTimeUp
	}
	out, err := t.Stage.Do(ctx, p, x)
	if err != nil {
		return nil, err
	}
	t.r.longest = max(t.r.longest, time.Since(begin))
	if t.did == nil {
		t.did = map[string]bool{}
	}
	t.did[x.Hash] = true
	return out, nil
}

// Compare says how far the moves are and what they change, or what the last one
// of an embedding has changed. It writes nothing and takes no lock.
func Compare(ctx context.Context, w *workspace.Workspace, o Options) (*Result, error) {
	s := NewStage(w, o)
	defer s.Close()
	list, err := s.pairs(ctx)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		if list, err = s.last(ctx); err != nil {
			return nil, err
		}
	}
	r := &Result{Summary: stage.Summary{Stage: s.Name(), Step: "compare", Run: w.App.Run}}
	for _, p := range list {
		m, err := look(ctx, w, p)
		if err != nil {
			return nil, err
		}
		if err := compare(ctx, w, p, m, false); err != nil {
			return nil, err
		}
		if m.CutOver = p.to.Head != nil; m.CutOver {
			m.Head = p.to.Head.Number
		}
		r.Moves = append(r.Moves, m)
	}
	return r, nil
}

// last are the last moves of the chosen embeddings.
func (s *Stage) last(ctx context.Context) ([]pair, error) {
	var out []pair
	for _, e := range s.W.Config.Embeddings {
		if s.Embedding != "" && s.Embedding != e.Name {
			continue
		}
		to, err := s.W.Current(ctx, e)
		if err != nil {
			return nil, err
		}
		if to.Head == nil || to.Head.Number == 1 {
			continue
		}
		h, err := s.W.Head(ctx, e.Name, to.Head.Number-1)
		if err != nil {
			return nil, err
		}
		from, err := s.W.SpaceOf(ctx, e.Name, h.Fingerprint)
		if err != nil {
			return nil, err
		}
		out = append(out, pair{from, to})
	}
	return out, nil
}
