package score

import (
	"context"
	"io"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
)

// Cmd is the score command.
type Cmd struct{ stage.Flags }

// Run does the chosen step and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	sum, err := stage.Run(ctx, w, &Stage{W: w}, c.Flags)
	if err != nil {
		return err
	}
	if err := app.Print(sum, func(out io.Writer) { sum.Print(out) }); err != nil {
		return err
	}
	return sum.Verdict()
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Scores every row against every function in one pass. What is scored already is not scored again.

Examples:
  winnow score
  winnow score --run R --plan          then --task N, in any number of processes, then --commit

Exit status: 0 done, 1 failed, 2 usage or config (a missing anchor included), 11 another run holds the lock,
130 or 143 interrupted.`
}
