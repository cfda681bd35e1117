package backfill

import (
	"context"
	"os"
	"time"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the backfill command.
type Cmd struct {
	stage.Flags
	Embedding  string        `short:"e" help:"The embedding. Default: all whose model the config has changed." placeholder:"NAME"`
	Rate       Rate          `help:"Rows a second that go through the model at most, in this process: 200/s, 12000/m, 36000/h." placeholder:"N/s"`
	Limit      int64         `help:"Stop after so many rows; the next call goes on." placeholder:"N"`
	For        time.Duration `help:"Begin no task that would end later than this; the next call goes on." placeholder:"30m"`
	Compare    bool          `aliases:"dry-run" help:"Only say how far the backfill is and what the move changes for each function; after the move, what it has changed. Writes nothing." xor:"step"`
	CutOverNow bool          `help:"Move to the config's model with those rows that it has so far; the next run embeds the others."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `When the config names another model for an embedding, or another way to decode, everything goes on with the old
one: new assets too. This command embeds all assets with the new model beside the old vectors, and moves to it
once every asset is there: in one step, with a report of what changes for each function. Kill it at any moment
and run it again. Other runs go on meanwhile.

Examples:
  winnow backfill                              all embeddings whose model changed
  winnow backfill -e image --rate 20/s         slowly, beside other work
  winnow backfill -e image --for 6h            a nightly window; the next night goes on
  winnow backfill -e image --limit 100000      so many rows
  winnow backfill -e image --compare           what the move would change, or has changed
  winnow backfill -e image --run R --plan      then --task N in any number of processes, then --commit

Exit status: 0 done (or done for now), 1 failed, 2 usage or config (a function that the new model breaks
included), 3 done but some rows were rejected, 5 a fault that a retry may not meet, 11 another run holds the
lock, 130 or 143 interrupted.`
}

// Run backfills and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	if c.Limit < 0 || c.For < 0 {
		return pipeline.Usagef("--limit and --for must not be negative")
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	o := Options{Embedding: c.Embedding, Rate: c.Rate, Limit: c.Limit, Now: c.CutOverNow}
	if c.Compare {
		r, err := Compare(ctx, w, o)
		if err != nil {
			return err
		}
		return app.Print(r, r.Print)
	}
	if c.Step() != "all" || os.Getenv("JOB_COMPLETION_INDEX") != "" {
		return c.step(ctx, w, o)
	}
	app.Wait = true // a nightly run may hold the lock when hours of work are to be committed
	r, err := Run(ctx, w, o, w.Locked, c.For)
	if err != nil {
		return err
	}
	if err := app.Print(r, r.Print); err != nil {
		return err
	}
	return r.Verdict()
}

// step is one step of a backfill that many processes share.
func (c *Cmd) step(ctx context.Context, w *workspace.Workspace, o Options) error {
	s := NewStage(w, o)
	defer s.Close()
	sum, err := stage.Run(ctx, w, s, c.Flags)
	if err != nil {
		return err
	}
	r := &Result{Summary: *sum, Moves: s.Moves}
	if err := w.App.Print(r, r.Print); err != nil {
		return err
	}
	return r.Verdict()
}
