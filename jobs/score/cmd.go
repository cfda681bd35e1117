package score

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Cmd is the score command.
type Cmd struct{ stage.Flags }

// Run does the chosen step and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	return stage.Command(ctx, app, c.Flags, func(w *workspace.Workspace) (task.Stage, func()) { return &Stage{W: w}, func() {} })
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
