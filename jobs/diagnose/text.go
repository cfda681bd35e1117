package diagnose

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"winnow/pipeline/diagnose"
)

// shown are the rows of a list that the terminal shows.
const shown = 10

// show writes a rate with its interval.
func show(r diagnose.Rate) string {
	if r.N == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f [%.2f, %.2f]", r.Value, r.Low, r.High)
}

func number(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.3f", *x)
}

// clip keeps a text of users on one line.
func clip(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func (r *Report) print(out io.Writer) {
	what := "items of one class each"
	switch r.Task {
	case "detection":
		what = fmt.Sprintf("pictures with boxes, matched from IoU %v, confidence from %v", r.IoU, r.Confidence)
	case "multi-label":
		what = "items of several classes each"
	}
	fmt.Fprintf(out, "model %s on %d labeled %s (95 %% intervals)\n\n", r.Model, r.Items, what)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  \tprecision\trecall\tF1\tAP\tECE\tlabels\t")
	line := func(name string, m Measures, ap *float64, c *diagnose.Calibration, low []diagnose.Low) {
		var ece *float64
		if c != nil {
			ece = &c.ECE
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", clip(name, 32), show(m.Precision), show(m.Recall), show(m.F1), number(ap), number(ece), m.Support(), lowText(low))
	}
	for _, c := range r.Classes {
		line(c.Name, c.Measures, c.AP, c.Calibration, c.Low)
	}
	line("all", r.Overall, r.MAP, r.Calibration, nil)
	_ = tw.Flush()
	r.printSlices(out)
	r.printMislabels(out)
	r.printComparison(out)
	r.printFunctions(out)
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "  warning: %s\n", w)
	}
	fmt.Fprintf(out, "\n  open %s\n", r.Page)
}

func lowText(low []diagnose.Low) string {
	if len(low) == 0 {
		return ""
	}
	names := make([]string, len(low))
	for i, l := range low {
		names[i] = l.Measure
	}
	return "low " + strings.Join(names, ", ")
}

func (r *Report) printSlices(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	n := 0
	for _, s := range r.Slices {
		if len(s.Low) == 0 {
			continue
		}
		if n++; n == 1 {
			fmt.Fprintf(tw, "\n  low slices of metadata (of %d looked at)\tprecision\trecall\tF1\titems\t\n", len(r.Slices))
		}
		if n <= shown {
			fmt.Fprintf(tw, "  %s = %s\t%s\t%s\t%s\t%d\t%s\n", clip(s.Field, 24), clip(s.Value, 24), show(s.Precision), show(s.Recall), show(s.F1), s.Items, lowText(s.Low))
		}
	}
	_ = tw.Flush()
	if n > shown {
		fmt.Fprintf(out, "  and %d more in the page\n", n-shown)
	}
	if n == 0 && len(r.Slices) > 0 {
		fmt.Fprintf(out, "\n  none of %d slices of metadata is lower than chance explains\n", len(r.Slices))
	}
}

func (r *Report) printMislabels(out io.Writer) {
	if len(r.Mislabels) == 0 {
		return
	}
	both := 0
	for _, m := range r.Mislabels {
		if len(m.By) > 1 {
			both++
		}
	}
	fmt.Fprintf(out, "\n  %d candidate mislabels, %d of them by two ways; look at these first:\n", len(r.Mislabels), both)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, m := range r.Mislabels[:min(len(r.Mislabels), shown)] {
		fmt.Fprintf(tw, "    %s\tlabeled %s\tlikely %s\tby %s\n", clip(m.AssetID, 48), clip(m.Label, 24), clip(m.Likely, 24), strings.Join(m.By, " and "))
	}
	_ = tw.Flush()
}

func (r *Report) printComparison(out io.Writer) {
	c := r.Compared
	if c == nil {
		return
	}
	fmt.Fprintf(out, "\n  recall from %s to %s, on %d items that both predicted:\n", c.A, c.B, c.Items)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name string, x Change) {
		if x.Difference == nil {
			return
		}
		fmt.Fprintf(tw, "    %s\t%.3f → %.3f\t%+.3f [%+.3f, %+.3f]\tfound by %s alone %d, by %s alone %d\tp = %.3g\t%s\n",
			clip(name, 32), x.RecallA.Value, x.RecallB.Value, *x.Difference, x.Low, x.High, c.A, x.OnlyA, c.B, x.OnlyB, x.P, x.Verdict)
	}
	for _, x := range c.Classes {
		line(x.Name, x)
	}
	line("all", c.Overall)
	_ = tw.Flush()
}

func (r *Report) printFunctions(out io.Writer) {
	for i, f := range r.Removed {
		if i == 0 {
			fmt.Fprintf(out, "\n  removed, as there are no such mistakes any more:\n")
		}
		fmt.Fprintf(out, "    %s\n", f)
	}
	if len(r.Functions) == 0 {
		return
	}
	fmt.Fprintf(out, "\n  suggested functions, in %s:\n", r.Folder)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, f := range r.Functions {
		what := "labels that were missed, taken for"
		if f.Kind == "wrong" {
			what = "wrong predictions, truly"
		}
		fmt.Fprintf(tw, "    %s\t%d %s %s\n", f.Name, f.Mistakes, what, clip(strings.Join(f.Against, ", "), 60))
	}
	_ = tw.Flush()
	fmt.Fprint(out, "  Add that folder's *.yaml to functions: in the config, and to batches:\n")
	for _, b := range r.Batches {
		fmt.Fprintf(out, "    - %s\n", b.Entry)
	}
}
