package ingest

import (
	"context"
	"fmt"
	"io"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the ingest command.
type Cmd struct {
	AllowRemoval bool `help:"Let a snapshot manifest remove more than a tenth of its assets."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Reads the manifests that changed and brings the assets, labels and predictions tables up to date. Bad rows are
listed with line and reason; everything else goes on.

Examples:
  winnow ingest
  winnow ingest --allow-removal        a snapshot manifest became much shorter, and that is right

Exit status: 0 done, 1 failed (a snapshot that would remove too much included), 2 usage or config, 3 done but
some rows were rejected, 5 a fault that a retry may not meet, 11 another run holds the lock, 130 or 143
interrupted.`
}

// Run ingests and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	var s *Summary
	err = w.Locked(ctx, func(ctx context.Context) (err error) {
		s, err = Run(ctx, w, Options{AllowRemoval: c.AllowRemoval})
		return err
	})
	if err != nil {
		return err
	}
	if err := app.Print(s, s.Print); err != nil {
		return err
	}
	if s.Rejected > 0 {
		return &pipeline.PartialError{Rejected: s.Rejected, What: fmt.Sprintf("ingest: done, but %d rows were rejected; see winnow status", s.Rejected)}
	}
	return nil
}

// Print says what ingest did.
func (s *Summary) Print(out io.Writer) {
	if s.Unchanged {
		fmt.Fprintf(out, "ingest: nothing new, %d assets\n", s.Assets)
	} else {
		fmt.Fprintf(out, "ingest: %d assets: %d new, %d changed, %d removed\n", s.Assets, s.New, s.Changed, s.Removed)
	}
	s.PrintRejects(out, "  ")
}

// PrintRejects lists the first rejects and all warnings.
func (s *Summary) PrintRejects(out io.Writer, indent string) {
	for _, r := range s.Rejects {
		fmt.Fprintf(out, "%s%s:%d: %s %s: %s\n", indent, r.Source, r.Line, r.AssetID, r.Reason, r.Error)
	}
	if n := s.Rejected - int64(len(s.Rejects)); n > 0 {
		fmt.Fprintf(out, "%sand %d more\n", indent, n)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "%swarning: %s\n", indent, w)
	}
}
