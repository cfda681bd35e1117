package backfill

import (
	"fmt"
	"io"
	"text/tabwriter"
	"winnow/jobs/score"
)

// Print says what a backfill did, for people.
func (r *Result) Print(w io.Writer) {
	if r.Step != "compare" && (r.Tasks > 0 || r.Step != "all") {
		r.Summary.Print(w)
	}
	if len(r.Moves) == 0 && (r.Step == "all" || r.Step == "compare") {
		fmt.Fprintln(w, "backfill: nothing to do: every embedding uses the model that the config names")
	}
	for _, m := range r.Moves {
		m.Print(w)
	}
	if r.TimeUp {
		fmt.Fprintln(w, "the time is up; the next call goes on")
	}
}

// Print says how far a move is and what it changes.
func (m *Move) Print(w io.Writer) {
	state := "on the way"
	if m.CutOver {
		state = fmt.Sprintf("moved, head %d", m.Head)
	}
	fmt.Fprintf(w, "embedding %s: %s, from %s to %s\n", m.Embedding, state, m.From.title, m.To.title)
	fmt.Fprintf(w, "  %d embedded, %d to do, %d rejected, of %d with content", m.Embedded, m.Todo, m.Rejected, m.Content)
	if m.Lost > 0 && (m.CutOver || m.Todo == 0) {
		fmt.Fprintf(w, "; %d have a vector of the old model only", m.Lost)
	}
	fmt.Fprintln(w)
	if len(m.Functions) > 0 {
		m.printFunctions(w)
	}
	if m.CutOver && m.Report != "" {
		fmt.Fprintf(w, "  report     %s; the old vectors stay, so winnow backfill -e %s --compare shows it again\n", m.Report, m.Embedding)
		fmt.Fprintf(w, "  next       winnow run: it scores, indexes and chooses with the new model\n")
	}
}

func (m *Move) printFunctions(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  function\tmatches before\tafter\tboth\tof the top\tstay\trank correlation\t")
	for _, f := range m.Functions {
		if f.Before == nil || f.After == nil {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t\t\t\t\t\n", f.Name, matches(f.Before), matches(f.After))
			continue
		}
		r := "-"
		if f.TopCorrelation != nil {
			r = fmt.Sprintf("%.3f", *f.TopCorrelation)
		}
		fmt.Fprintf(tw, "  %s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", f.Name, f.Before.Matches, f.After.Matches, f.Both, f.Top, f.TopCommon, r)
	}
	tw.Flush()
	for _, f := range m.Functions {
		if f.Problem != "" {
			fmt.Fprintf(w, "  %s\n", f.Problem)
		}
	}
}

func matches(s *score.Side) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprint(s.Matches)
}
