package embed

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Cmd is the embed command.
type Cmd struct {
	stage.Flags
	RetryRejected bool `help:"Try only rows that were rejected, for good or not."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow embed                         all rows without a vector
  winnow embed --retry-rejected        only what failed, once it is mended; winnow rejects lists it
  winnow embed --run R --plan          plan only; then, in any number of processes:
  winnow embed --run R --task 0/4      the first of four shares
  winnow embed --run R --commit        publish

Exit status: 0 done, 1 failed, 2 usage or config, 3 done but some rows were rejected, 5 a fault that a
retry may not meet, 11 another run holds the lock, 130 or 143 interrupted.`
}

// Run embeds and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	return stage.Command(ctx, app, c.Flags, func(w *workspace.Workspace) (task.Stage, func()) {
		s := &Stage{W: w}
		if c.RetryRejected {
			s.Rows = workspace.Rejected
		}
		return s, s.Close
	})
}
