// Package stats is the stats job: it lists the versions of the corpus statistics
// that functions are fitted with, and makes a new one on purpose.
package stats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"winnow/configs"
	"winnow/jobs/function"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	fn "winnow/pipeline/function"
)

// Cmd is the stats command.
type Cmd struct {
	List    ListCmd    `cmd:"" help:"The versions of the corpus statistics."`
	Refresh RefreshCmd `cmd:"" help:"Measure the corpus again, and say what that changes for each function."`
}

// ListCmd is the command stats list.
type ListCmd struct{}

// Help shows examples.
func (*ListCmd) Help() string {
	return `Examples:
  winnow stats list
  winnow stats list --json

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// Listed is one version.
type Listed struct {
	Embedding string `json:"embedding"`
	Version   int    `json:"version"`
	ID        string `json:"id"`
	Rows      int64  `json:"rows"`  // sampled
	Total     int64  `json:"total"` // of the corpus then
	Now       int64  `json:"now"`   // of the corpus now
}

// Run lists.
func (*ListCmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	all := []Listed{}
	for _, e := range w.Config.Embeddings {
		l, err := w.Live(ctx, e)
		if err != nil {
			return err
		}
		versions, err := score.StatisticsVersions(ctx, w, l)
		if err != nil {
			return err
		}
		for _, n := range versions {
			st, err := score.StatisticsAt(ctx, w, l, n)
			if err != nil {
				return err
			}
			all = append(all, Listed{e.Name, n, st.ID, st.Rows, st.Total, l.Rows})
		}
	}
	return app.Print(all, func(out io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(out, "there are no statistics yet; winnow score makes the first")
			return
		}
		tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "embedding\tversion\tid\tsampled\tof rows\trows now\t")
		for _, l := range all {
			fmt.Fprintf(tw, "%s\t%d\t%.12s\t%d\t%d\t%d\t\n", l.Embedding, l.Version, l.ID, l.Rows, l.Total, l.Now)
		}
		tw.Flush()
	})
}

// RefreshCmd is the command stats refresh.
type RefreshCmd struct {
	Embedding []string `short:"e" help:"Only these embeddings. Default: all that have functions." placeholder:"NAME"`
	DryRun    bool     `help:"Only say what would change."`
}

// Help shows examples.
func (*RefreshCmd) Help() string {
	return `Functions are fitted to a measurement of the corpus, mean and covariance of a sample, that stays as it is while
the corpus grows: otherwise scores would move from run to run. This makes a new version from the rows of now and
says what it changes; the next winnow score scores all rows anew with it. Earlier versions are kept.

Examples:
  winnow stats refresh --dry-run
  winnow stats refresh -e image
  winnow function diff apples --statistics 1     later, with the rows that enter and leave

Exit status: 0 done, 1 failed, 2 usage or config, 5 a fault that a retry may not meet, 11 another run holds the
lock, 130 or 143 interrupted.`
}

// Refreshed is what became of one embedding.
type Refreshed struct {
	Embedding string              `json:"embedding"`
	Before    int                 `json:"before"` // the newest version until now; 0 without one
	After     int                 `json:"after"`  // that counts now, or would
	ID        string              `json:"id"`
	Rows      int64               `json:"rows"`
	Total     int64               `json:"total"`
	Changed   bool                `json:"changed"`
	DryRun    bool                `json:"dry_run,omitempty"`
	Functions []*function.Differs `json:"functions"`
	Problems  []string            `json:"problems,omitempty"` // functions that could not be compared
}

// Run measures, compares and keeps.
func (c *RefreshCmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	var all []*Refreshed
	work := func(ctx context.Context) error {
		list, err := c.embeddings(w)
		if err != nil {
			return err
		}
		for _, e := range list {
			r, err := c.refresh(ctx, w, e)
			if err != nil {
				return err
			}
			if r != nil {
				all = append(all, r)
			}
		}
		return nil
	}
	if c.DryRun {
		err = work(ctx)
	} else {
		err = w.Locked(ctx, work)
	}
	if err != nil {
		return err
	}
	return app.Print(all, func(out io.Writer) { print(out, all) })
}

// embeddings are those that were asked for, else those with functions.
func (c *RefreshCmd) embeddings(w *workspace.Workspace) ([]configs.Embedding, error) {
	var out []configs.Embedding
	for _, name := range c.Embedding {
		e, err := w.Embedding(name)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if len(c.Embedding) > 0 {
		return out, nil
	}
	for _, e := range w.Config.Embeddings {
		if len(configs.Within(w.Config.Definitions, e.Name)) > 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

// refresh measures one embedding; nil for one without rows.
func (c *RefreshCmd) refresh(ctx context.Context, w *workspace.Workspace, e configs.Embedding) (*Refreshed, error) {
	l, err := w.Live(ctx, e)
	if err != nil || l.Rows == 0 {
		return nil, err
	}
	have, err := score.StatisticsVersions(ctx, w, l)
	if err != nil {
		return nil, err
	}
	st, err := score.Measure(ctx, w, l)
	if err != nil {
		return nil, err
	}
	r := &Refreshed{Embedding: e.Name, Before: len(have), ID: st.ID, Rows: st.Rows, Total: st.Total, DryRun: c.DryRun, Functions: []*function.Differs{}}
	r.After, r.Changed = len(have)+1, true
	if len(have) > 0 {
		newest, err := score.StatisticsAt(ctx, w, l, len(have))
		if err != nil {
			return nil, err
		}
		if newest.ID == st.ID {
			r.After, r.Changed = len(have), false
			return r, nil
		}
		if err := r.compare(ctx, w, st); err != nil {
			return nil, err
		}
	}
	if !c.DryRun {
		r.After, err = score.Keep(ctx, w, l, st)
	}
	return r, err
}

// compare says what other statistics change for the functions of the embedding.
func (r *Refreshed) compare(ctx context.Context, w *workspace.Workspace, st *fn.Statistics) error {
	for _, f := range w.Config.Definitions {
		if !slices.Contains(f.Spaces(), r.Embedding) {
			continue
		}
		d, err := function.WithStatistics(ctx, w, f, st, 0)
		var usage *pipeline.UsageError
		switch {
		case errors.As(err, &usage):
			r.Problems = append(r.Problems, usage.Problems[0].String())
		case err != nil:
			return err
		case d != nil:
			r.Functions = append(r.Functions, d)
		}
	}
	return nil
}

func print(out io.Writer, all []*Refreshed) {
	if len(all) == 0 {
		fmt.Fprintln(out, "no embedding with functions has rows")
	}
	for _, r := range all {
		if !r.Changed {
			fmt.Fprintf(out, "embedding %s: statistics %d are those of the corpus of now\n", r.Embedding, r.After)
			continue
		}
		verb := "are"
		if r.DryRun {
			verb = "would be"
		}
		fmt.Fprintf(out, "embedding %s: statistics %d %s of %d of %d rows\n", r.Embedding, r.After, verb, r.Rows, r.Total)
		tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		if len(r.Functions) > 0 {
			fmt.Fprintln(tw, "  function\tmatches before\tafter\tenter\tleave\tof the top\tstay\trank correlation\t")
		}
		for _, f := range r.Functions {
			corr := "-"
			if f.TopCorrelation != nil {
				corr = fmt.Sprintf("%.3f", *f.TopCorrelation)
			}
			fmt.Fprintf(tw, "  %s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", f.Name, f.Before.Matches, f.After.Matches, f.Entered, f.Left, f.Top, f.TopCommon, corr)
		}
		tw.Flush()
		for _, p := range r.Problems {
			fmt.Fprintf(out, "  %s\n", p)
		}
		if !r.DryRun && len(r.Functions) > 0 {
			fmt.Fprintln(out, "next: winnow score, which scores all rows anew")
		}
	}
}
