package index

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Cmd is the index command.
type Cmd struct{ stage.Flags }

// Run does the chosen step and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	return stage.Command(ctx, app, c.Flags, func(w *workspace.Workspace) (task.Stage, func()) { return &Stage{W: w}, func() {} })
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Builds an index for every embedding whose rows changed: exact below 10,000 rows, FAISS IVF above, with its
recall measured against exact search and written to index.json.

Examples:
  winnow index
  winnow index --run R --plan          then --task N, in any number of processes

Exit status: 0 done, 1 failed (a build that misses its recall included), 2 usage or config, 11 another run
holds the lock, 130 or 143 interrupted.`
}
