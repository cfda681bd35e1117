package index

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// Cmd is the index command.
type Cmd struct {
	stage.Flags
	Compact bool `help:"Fold segments and dead rows into the base, however few they are."`
	Rebuild bool `help:"Train and build anew, whatever is there."`
}

// Run does the chosen step and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	return stage.Command(ctx, app, c.Flags, func(w *workspace.Workspace) (task.Stage, func()) {
		return &Stage{W: w, Compact: c.Compact, Rebuild: c.Rebuild}, func() {}
	})
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Keeps an index of every embedding: exact below 10,000 rows, else FAISS's inverted lists, of rows as they are, at a
byte a number, or product quantised, as index: {memory: 1GB, recall: 0.95} of the config allows. Its recall is measured
against exact search; a build that misses it fails, and the index before it stays.

New rows become a segment, removed ones leave the results at once. When segments or dead rows are many they are
folded into the base, and when the lists do not fit the rows any more the index is trained anew: what was done, and
why, is said.

Examples:
  winnow index
  winnow index --compact               fold segments and dead rows into the base now
  winnow index --rebuild               train and build anew
  winnow index --run R --plan          then --task N, in any number of processes, then --commit

Exit status: 0 done, 1 failed (a build that misses its recall included), 2 usage or config, 11 another run
holds the lock, 130 or 143 interrupted.`
}
