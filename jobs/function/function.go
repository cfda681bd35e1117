// Package function is the function job: it lists functions, shows what one finds,
// makes new ones, holds them against labels, and says what a change changes.
// Nothing of it writes to the workspace.
package function

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// Cmd is the function command.
type Cmd struct {
	List ListCmd `cmd:"" help:"All functions: what they match, and whether they are scored."`
	Show ShowCmd `cmd:"" help:"One function: its scores, its threshold, and the rows around it."`
	New  NewCmd  `cmd:"" help:"Write a function file from examples or a search."`
	Test TestCmd `cmd:"" help:"Precision, recall and average precision against labels, and the yield of batches."`
	Diff DiffCmd `cmd:"" help:"What a change of a definition changes in the matches."`
}

// ListCmd is the command function list.
type ListCmd struct{}

// Help shows examples.
func (*ListCmd) Help() string {
	return `Examples:
  winnow function list
  winnow function list --json | jq -r '.[] | select(.state != "scored") | .name'

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// Listed is one function in the list.
type Listed struct {
	Name      string        `json:"name"`
	File      string        `json:"file"`
	Embedding string        `json:"embedding"`
	Combine   string        `json:"combine"`
	Positive  int           `json:"positive"` // anchors
	Negative  int           `json:"negative"`
	Rule      string        `json:"rule"`
	State     string        `json:"state"` // scored, or what keeps it from that
	Threshold *float64      `json:"threshold,omitempty"`
	Rows      int64         `json:"rows,omitempty"`
	Matches   int64         `json:"matches,omitempty"`
	Labels    *score.Labels `json:"labels,omitempty"`
}

// Run lists.
func (*ListCmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.OpenDraft(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	all := []Listed{}
	for _, f := range w.Config.Definitions {
		l, err := list(ctx, w, f)
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	return app.Print(all, func(out io.Writer) { printList(out, all) })
}

func list(ctx context.Context, w *workspace.Workspace, f *configs.Function) (Listed, error) {
	l := Listed{Name: f.Name, File: f.File, Embedding: f.Space(), Combine: string(f.How()),
		Positive: len(f.Anchors.Positive), Negative: len(f.Anchors.Negative), Rule: f.Threshold.String(), State: "scored"}
	s, err := openScored(ctx, w, f)
	var usage *pipeline.UsageError
	var stale *score.StaleError
	switch {
	case errors.As(err, &usage):
		l.State = usage.Problems[0].What
		return l, nil
	case errors.As(err, &stale):
		l.State = stale.What
		return l, nil
	case err != nil:
		return l, err
	}
	side, err := s.scored.Side(ctx, f)
	if errors.As(err, &usage) {
		l.State = usage.Problems[0].What
		return l, nil
	}
	if err == nil {
		l.Threshold, l.Rows, l.Matches, l.Labels = side.Threshold, side.Rows, side.Matches, side.Labels
	}
	return l, err
}

func printList(out io.Writer, all []Listed) {
	if len(all) == 0 {
		fmt.Fprintln(out, "the config has no functions; make one with: winnow function new --help")
		return
	}
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "function\tfinds by\tanchors\tthreshold\tmatches\tfile\t")
	for _, l := range all {
		matches := "not scored"
		if l.State == "scored" {
			matches = fmt.Sprintf("%d of %d", l.Matches, l.Rows)
		}
		anchors := fmt.Sprintf("+%d", l.Positive)
		if l.Negative > 0 {
			anchors += fmt.Sprintf(" −%d", l.Negative)
		}
		fmt.Fprintf(tw, "%s\t%s on %s\t%s\t%s%s\t%s\t%s\t\n", l.Name, l.Combine, l.Embedding, anchors, number(l.Threshold), rule(l.Rule), matches, relative(l.File))
	}
	tw.Flush()
	for _, l := range all {
		if l.State != "scored" {
			fmt.Fprintf(out, "%s: %s\n", l.Name, l.State)
		}
		if l.Labels != nil {
			fmt.Fprintf(out, "%s: %s\n", l.Name, l.Labels)
		}
	}
}

// number writes a threshold; "" where there is none.
func number(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.4g ", *x)
}

// rule writes what a threshold follows; a number speaks for itself.
func rule(s string) string { return "(" + s + ")" }

func relative(path string) string {
	wd, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}
