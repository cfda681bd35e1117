// Package run is the run job: all stages, only what is new.
package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"winnow/jobs/backfill"
	"winnow/jobs/curate"
	"winnow/jobs/embed"
	"winnow/jobs/index"
	"winnow/jobs/ingest"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/neighbors"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// Cmd is the run command.
type Cmd struct {
	Slot          string `help:"Name this round of the batches. Without it, unchanged inputs give the same round." placeholder:"NAME"`
	AllowRemoval  bool   `help:"Let a snapshot manifest remove more than a tenth of its assets."`
	RetryRejected bool   `help:"Try rows again that were rejected for good, beside the new ones."`
	Backfill      bool   `help:"Move embeddings whose model the config has changed to the new model first, whatever it costs. See winnow backfill --help."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Runs ingest, embed, index, score and curate. What is done is not done again, so the same command starts, goes
on after a kill, and keeps a workspace up to date.

Examples:
  winnow run
  winnow run -c photos.yaml --slot 2026-11-24
  winnow run --json > result.json
  winnow run --backfill              after a change of model: embed everything anew, in one go

Exit status: 0 done (nothing to do included), 1 failed, 2 usage or config, 3 done but some rows were rejected
or a batch has fewer rows than asked for, 5 a fault that a retry may not meet, 11 another run holds the lock,
130 or 143 interrupted.`
}

// Result is what a run did. It is kept as runs/<run>/run.json.
type Result struct {
	Run      string           `json:"run"`
	Started  time.Time        `json:"started"`
	Finished time.Time        `json:"finished"`
	Version  string           `json:"winnow"`
	OK       bool             `json:"ok"`
	Error    string           `json:"error,omitempty"`
	Ingest   *ingest.Summary  `json:"ingest,omitempty"`
	Stages   []stage.Summary  `json:"stages,omitempty"`
	Moves    []*backfill.Move `json:"moves,omitempty"`   // of --backfill
	Notices  []string         `json:"notices,omitempty"` // what a user should know
	*curate.Result
	Workspace string  `json:"workspace"`
	Seconds   float64 `json:"seconds"`

	totals totals
}

// Run runs all stages and prints the summary.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	r := &Result{Run: app.Run, Started: app.Now().UTC(), Version: app.Version, Workspace: w.Store.URL()}
	err = w.Locked(ctx, func(ctx context.Context) error {
		err := c.stages(ctx, w, r)
		r.Finished = app.Now().UTC()
		r.Seconds = r.Finished.Sub(r.Started).Seconds()
		r.OK = err == nil
		if err != nil {
			r.Error = err.Error()
		}
		return errors.Join(err, r.save(context.WithoutCancel(ctx), w))
	})
	if err != nil {
		if r.Ingest != nil && r.Ingest.Rejected > 0 { // may well be the cause
			fmt.Fprintf(app.Err, "winnow: %d rows of the manifests were rejected:\n", r.Ingest.Rejected)
			r.Ingest.PrintRejects(app.Err, "  ")
		}
		return err
	}
	if err := app.Print(r, r.Print); err != nil {
		return err
	}
	return r.verdict(w)
}

func (c *Cmd) stages(ctx context.Context, w *workspace.Workspace, r *Result) error {
	if err := score.CheckTowers(ctx, w); err != nil {
		return err
	}
	in, err := ingest.Run(ctx, w, ingest.Options{AllowRemoval: c.AllowRemoval})
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	r.Ingest = in
	if in.Assets == 0 && in.Rejected > 0 {
		return errors.New("no asset is left: every row of the manifests was rejected")
	}
	w.Forget()
	if c.Backfill {
		if err := r.backfill(ctx, w); err != nil {
			return err
		}
	}
	es := &embed.Stage{W: w}
	if c.RetryRejected {
		es.Rows = workspace.NewOrRejected
	}
	defer es.Close()
	sum := stage.Summary{}
	if err := stage.All(ctx, w, es, &sum); err != nil {
		return err
	}
	es.Close() // models are large; the next stages need the memory
	r.Stages = append(r.Stages, sum)
	if err := maxRejects(w, in, &sum); err != nil {
		return err
	}
	w.Forget()
	if err := r.moves(ctx, w); err != nil {
		return err
	}
	sum = stage.Summary{}
	if err := stage.All(ctx, w, &index.Stage{W: w}, &sum); err != nil {
		return err
	}
	r.Stages = append(r.Stages, sum)
	sum = stage.Summary{}
	if err := stage.All(ctx, w, &neighbors.Stage{W: w}, &sum); err != nil {
		return err
	}
	if sum.Tasks > 0 {
		r.Stages = append(r.Stages, sum)
	}
	sum = stage.Summary{}
	if err := stage.All(ctx, w, &score.Stage{W: w}, &sum); err != nil {
		return err
	}
	r.Stages = append(r.Stages, sum)
	if r.totals, err = count(ctx, w); err != nil {
		return err
	}
	r.Result, err = curate.Run(ctx, w, curate.Options{Slot: c.Slot})
	return err
}

// backfill moves all embeddings to the config's models. The run holds the lock.
func (r *Result) backfill(ctx context.Context, w *workspace.Workspace) error {
	held := func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
	b, err := backfill.Run(ctx, w, backfill.Options{}, held, 0)
	if err != nil {
		return err
	}
	if r.Moves = b.Moves; len(b.Moves) > 0 {
		r.Stages = append(r.Stages, b.Summary)
	}
	w.Forget()
	return nil
}

// moves notes the embeddings that use another model than the config names.
func (r *Result) moves(ctx context.Context, w *workspace.Workspace) error {
	for _, e := range w.Config.Embeddings {
		from, to, err := w.Move(ctx, e)
		if err != nil {
			return err
		}
		if from == to {
			continue
		}
		l, err := w.Live(ctx, e)
		if err != nil {
			return err
		}
		r.Notices = append(r.Notices, fmt.Sprintf("embedding %s: the config names %s, its %d rows are from %s; new assets go there too. To move: winnow backfill --embedding %s, or winnow run --backfill",
			e.Name, to.Title(), l.Rows, from.Title(), e.Name))
	}
	return nil
}

// maxRejects fails the run when too large a share of its new rows was rejected.
// What was embedded is committed all the same.
func maxRejects(w *workspace.Workspace, in *ingest.Summary, sum *stage.Summary) error {
	limit := w.Config.MaxRejects
	bad := in.Rejected + sum.Rejected
	all := in.New + in.Changed + in.Rejected
	if limit == nil || bad == 0 || float64(bad) <= float64(*limit)/100*float64(max(all, sum.Rows+bad)) {
		return nil
	}
	return fmt.Errorf("%d of %d new rows were rejected, more than max_rejects: %s; what was good is kept; see winnow status", bad, max(all, sum.Rows+bad), limit)
}

// save keeps the record of a run that did something.
func (r *Result) save(ctx context.Context, w *workspace.Workspace) error {
	if r.OK && r.nothing() {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return w.Store.WriteAll(ctx, workspace.RunDir(r.Run)+"/run.json", append(data, '\n'))
}

// nothing reports whether the run found nothing to do.
func (r *Result) nothing() bool {
	if r.Ingest == nil || r.Ingest.New+r.Ingest.Changed+r.Ingest.Removed+r.Ingest.Rejected > 0 {
		return false
	}
	for _, s := range r.Stages {
		if s.Tasks > 0 {
			return false
		}
	}
	if r.Result != nil {
		for _, b := range r.Batches {
			if !b.Existing && b.Rows > 0 {
				return false
			}
		}
	}
	return true
}

// verdict is exit 3 when this run rejected rows or left a batch short.
func (r *Result) verdict(w *workspace.Workspace) error {
	n := r.Ingest.Rejected
	for _, s := range r.Stages {
		n += s.Rejected
	}
	if n > 0 {
		return &pipeline.PartialError{Rejected: n, What: fmt.Sprintf("done, but %d rows were rejected; winnow status -c %s lists them", n, w.App.Globals.Config)}
	}
	return r.Result.Verdict()
}
