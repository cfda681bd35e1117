package run

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"winnow/jobs/internal/workspace"
)

// totals are the numbers of the whole workspace, beside those of this run.
type totals struct {
	assets   int64
	embedded []named
	rejected int64
}

type named struct {
	name string
	n    int64
	note string
}

func count(ctx context.Context, w *workspace.Workspace) (totals, error) {
	var t totals
	db, err := w.DB(ctx)
	if err != nil {
		return t, err
	}
	if _, err := w.LoadAssets(ctx); err != nil {
		return t, err
	}
	if t.assets, err = db.Int(ctx, "SELECT count(*) FROM assets"); err != nil {
		return t, err
	}
	for _, e := range w.Config.Embeddings {
		l, err := w.Live(ctx, e)
		if err != nil {
			return t, err
		}
		t.embedded = append(t.embedded, named{e.Name, l.Rows, fmt.Sprintf("%s, %d-d", l.Embedding.MadeBy(), l.Dim)})
	}
	if _, err := w.LoadTable(ctx, workspace.RejectsRoot); err != nil {
		return t, err
	}
	t.rejected, err = db.Int(ctx, "SELECT count(*) FROM (SELECT DISTINCT asset_id, stage, subject, source, line FROM rejects)")
	return t, err
}

// Print says what a run did, for somebody who sees winnow for the first time.
func (r *Result) Print(out io.Writer) {
	if r.nothing() {
		fmt.Fprintf(out, "nothing new: %d assets, %s, %d functions, %d batches (%.1f s)\n", r.totals.assets, r.totals.vectors(), len(r.Functions), len(r.Batches), r.Seconds)
		for _, b := range r.Batches {
			if page := b.Sheet(); page != "" {
				fmt.Fprintf(out, "  %s\n", page)
			}
		}
		r.notices(out)
		return
	}
	fmt.Fprintf(out, "\nwinnow run %s, %.1f s\n\n", r.Run, r.Seconds)
	in := r.Ingest
	fmt.Fprintf(out, "  read       %d assets: %d new, %d changed, %d removed", r.totals.assets, in.New, in.Changed, in.Removed)
	if in.Rejected > 0 {
		fmt.Fprintf(out, ", %d rows rejected", in.Rejected)
	}
	fmt.Fprintln(out)
	in.PrintRejects(out, "               ")
	for _, e := range r.totals.embedded {
		fmt.Fprintf(out, "  embedded   %d as %s (%s)\n", e.n, e.name, e.note)
	}
	r.rejects(out)
	for _, m := range r.Moves {
		m.Print(out)
	}
	r.functions(out)
	r.batches(out)
	r.notices(out)
	fmt.Fprintf(out, "\n  workspace  %s\n", r.Workspace)
	fmt.Fprintf(out, "  next       winnow search --help   winnow status   your own data: winnow init ./photos\n")
}

func (t totals) vectors() string {
	var parts []string
	for _, e := range t.embedded {
		parts = append(parts, fmt.Sprintf("%d %s vectors", e.n, e.name))
	}
	return strings.Join(parts, ", ")
}

func (r *Result) notices(out io.Writer) {
	for _, n := range r.Notices {
		fmt.Fprintf(out, "\n  note       %s\n", n)
	}
}

func (r *Result) rejects(out io.Writer) {
	var n int64
	for _, s := range r.Stages {
		n += s.Rejected
	}
	if n == 0 {
		return
	}
	fmt.Fprintf(out, "  rejected   %d rows while embedding; everything else went on\n", n)
	for _, s := range r.Stages {
		for _, x := range s.Rejects {
			fmt.Fprintf(out, "               %s  %s: %s\n", x.AssetID, x.Reason, x.Error)
		}
	}
}

func (r *Result) functions(out io.Writer) {
	if len(r.Functions) == 0 {
		return
	}
	fmt.Fprintf(out, "\n  functions, scored on every row:\n")
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, f := range r.Functions {
		at := "no row is left"
		if f.Threshold != nil {
			at = fmt.Sprintf("at or above %.3g", *f.Threshold)
		}
		rule := f.Rule
		if f.Labels != nil {
			rule += ": " + f.Labels.String()
		}
		fmt.Fprintf(tw, "    %s\t%s on %s\t%d matches\t%s\t(%s)\n", f.Name, f.Combine, f.Embedding, f.Matches, at, rule)
	}
	tw.Flush()
}

func (r *Result) batches(out io.Writer) {
	if len(r.Batches) == 0 {
		return
	}
	fmt.Fprintf(out, "\n  batches for labeling:\n")
	for _, b := range r.Batches {
		state := ""
		if b.Existing {
			state = ", chosen before"
		}
		fmt.Fprintf(out, "    %-12s %d rows%s  %s\n", b.Name, b.Rows, state, b.Funnel)
		for _, warn := range b.Warnings {
			fmt.Fprintf(out, "                 warning: %s\n", warn)
		}
		if page := b.Sheet(); page != "" {
			fmt.Fprintf(out, "                 open %s\n", page)
		}
	}
}
