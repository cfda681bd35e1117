package task

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline"
)

// Engine runs the stages of a plan in one process.
type Engine struct {
	Objects  Objects
	Progress pipeline.Progress // nil shows nothing
	Workers  int               // tasks at once; at least 1
}

// Plan plans a stage. A plan without tasks is not kept: it leaves nothing behind.
func (e Engine) Plan(ctx context.Context, s Stage, run string) (*Plan, error) {
	return makePlan(ctx, e.Objects, s, run, false)
}

// Run plans, works and commits. It returns the plan and the results.
func (e Engine) Run(ctx context.Context, s Stage, run string) (*Plan, []*Result, error) {
	p, err := e.Plan(ctx, s, run)
	if err != nil {
		return p, nil, err
	}
	var results []*Result
	if len(p.Tasks) > 0 {
		if results, err = e.Work(ctx, s, p, p.Tasks); err != nil {
			return p, nil, err
		}
	}
	return p, results, s.Commit(ctx, p, results)
}

// Work runs the given tasks of a plan, Workers at once, and returns their
// results in the same order. The first failure stops the others.
func (e Engine) Work(ctx context.Context, s Stage, p *Plan, tasks []Task) ([]*Result, error) {
	progress := e.Progress
	if progress == nil {
		progress = pipeline.Quiet
	}
	var rows int64
	for _, t := range tasks {
		rows += t.Rows
	}
	counter := progress.Start(p.Stage, "rows", rows)
	defer counter.Done()
	results := make([]*Result, len(tasks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, e.Workers))
	for i, t := range tasks {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			done := &rest{counter: counter, left: t.Rows}
			r, err := Do(withCounter(ctx, done), e.Objects, s, p, t)
			if err != nil {
				return err
			}
			done.finish()
			results[i] = r
			return nil
		})
	}
	return results, g.Wait()
}

// Commit gathers the results of all tasks of a plan and commits them. Tasks
// without a result are named.
func (e Engine) Commit(ctx context.Context, s Stage, p *Plan) ([]*Result, error) {
	results := make([]*Result, len(p.Tasks))
	var missing []string
	for i, t := range p.Tasks {
		r, err := LoadResult(ctx, e.Objects, t)
		if err != nil {
			return nil, err
		}
		if r == nil {
			missing = append(missing, strconv.Itoa(t.Index))
		}
		results[i] = r
	}
	if len(missing) > 0 {
		shown := missing
		if len(shown) > 20 {
			shown = append(shown[:20:20], "…")
		}
		return nil, fmt.Errorf("%s: %d of %d tasks are not done: %s; run them with: winnow %s --run %s --task N",
			p.Stage, len(missing), len(p.Tasks), strings.Join(shown, ", "), p.Stage, p.Run)
	}
	return results, s.Commit(ctx, p, results)
}

// Select picks tasks by a word: "3" is one task by index, "3/10" is every tenth
// task from the fourth on (so ten processes, 0/10 to 9/10, share a plan).
func Select(p *Plan, word string) ([]Task, error) {
	index, of, split := strings.Cut(word, "/")
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 {
		return nil, pipeline.Usagef("--task %q: want an index such as 3, or a share such as 3/10", word)
	}
	if !split {
		if i >= len(p.Tasks) {
			return nil, pipeline.Usagef("--task %d: the plan has %d tasks, 0 to %d", i, len(p.Tasks), len(p.Tasks)-1)
		}
		return p.Tasks[i : i+1], nil
	}
	n, err := strconv.Atoi(of)
	if err != nil || n < 1 || i >= n {
		return nil, pipeline.Usagef("--task %q: a share i/n needs 0 ≤ i < n", word)
	}
	var out []Task
	for k := i; k < len(p.Tasks); k += n {
		out = append(out, p.Tasks[k])
	}
	return out, nil
}
