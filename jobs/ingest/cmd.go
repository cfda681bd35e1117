package ingest

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
)

// Cmd is the ingest command.
type Cmd struct {
	AllowRemoval bool `help:"Let a snapshot manifest remove more than a tenth of its assets."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Reads the manifests, labels and predictions of the config into the workspace's tables. A manifest that has not
changed is not read again.

Examples:
  winnow ingest
  winnow ingest --allow-removal        a snapshot manifest may drop more than a tenth of its assets

Exit status: 0 done (nothing to do included), 1 failed, 2 usage or config, 3 done but some rows were rejected,
5 a fault that a retry may not meet, 11 another run holds the lock, 130 or 143 interrupted.`
}

// Run ingests and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	var sum *Summary
	err = w.Locked(ctx, func(ctx context.Context) error {
		sum, err = Run(ctx, w, Options{AllowRemoval: c.AllowRemoval})
		return err
	})
	if err != nil {
		return err
	}
	if err := app.Print(sum, sum.Print); err != nil {
		return err
	}
	return sum.Verdict()
}
