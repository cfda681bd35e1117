package function

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/diagnose"
	"winnow/pipeline/function"
)

// TestCmd is the command function test.
type TestCmd struct {
	Name  string   `arg:"" optional:"" help:"A function of the config, or the path of a function's file. Default: all of the config."`
	Label []string `short:"l" help:"The labels that the function is about. Default: what its threshold names, else its name." placeholder:"LABEL"`
}

// Help shows examples.
func (*TestCmd) Help() string {
	return `Holds functions against labels: of the labeled rows, how many that match have the label (precision), how many with
the label match (recall), and how well the score ranks them (average precision); with 95 % intervals by Wilson.
The function's own anchors do not count. A row that has none of the labels counts as wrong, so give --label where
a class has several names. Labels come mostly from batches, which take the high scores: then recall is that among
the labeled rows, not among all.

For each batch that came back labeled it tells the yield: of the labeled rows that match, how many have the label,
beside those that do not match.

Examples:
  winnow function test                           all functions whose name is a label
  winnow function test ripe_apples --label apple
  winnow function test cats --label cat,kitten --json

Exit status: 0 done, 1 failed, 2 usage or config (no row has the label included).`
}

// Tested is what labels say of a function.
type Tested struct {
	Name      string        `json:"name"`
	File      string        `json:"file"`
	About     []string      `json:"labels"` // that the function is about
	Problem   string        `json:"problem,omitempty"`
	Stale     string        `json:"stale,omitempty"` // why the scores are not the workspace's
	Rule      string        `json:"rule"`
	Threshold *float64      `json:"threshold"`
	Labeled   int64         `json:"labeled"`  // rows with a label and a score, without the anchors
	Positive  int64         `json:"positive"` // of them with one of the labels
	Precision diagnose.Rate `json:"precision"`
	Recall    diagnose.Rate `json:"recall"`
	F1        diagnose.Rate `json:"f1"`
	// AveragePrecision is nil without positives. Chance is the share of positives,
	// what an average precision is by chance.
	AveragePrecision *float64 `json:"average_precision"`
	Chance           float64  `json:"chance"`
	At               []Tried  `json:"thresholds"`
	Batches          []Yield  `json:"batches"`
}

// Tried is a threshold with what labels say of it.
type Tried struct {
	At
	Labeled   int64         `json:"labeled"` // matches with a label
	Precision diagnose.Rate `json:"precision"`
	Recall    diagnose.Rate `json:"recall"`
	F1        diagnose.Rate `json:"f1"`
}

// Yield is what the labels of one batch say of a function.
type Yield struct {
	Name    string        `json:"name"`
	Slot    string        `json:"slot"`
	Rows    int64         `json:"rows"`    // of the batch
	Labeled int64         `json:"labeled"` // of them, without the function's anchors
	Matches diagnose.Rate `json:"matches"` // labeled rows that match: how many have the label
	Others  diagnose.Rate `json:"others"`  // labeled rows that do not match: how many have the label
}

// Run tests.
func (c *TestCmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	fns := w.Config.Definitions
	if c.Name != "" {
		f, err := score.Named(w, c.Name)
		if err != nil {
			return err
		}
		fns = []*configs.Function{f}
	}
	if _, err := w.LoadTable(ctx, workspace.LabelsRoot); err != nil {
		return err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	switch n, err := db.Int(ctx, "SELECT count(*) FROM labels"); {
	case err != nil:
		return err
	case n == 0:
		return pipeline.Usagef("no row is labeled yet; name the files with labels in the config, labels: [{manifest: labels/*.jsonl}], and run: winnow ingest")
	}
	all := []*Tested{}
	for _, f := range fns {
		r, err := c.test(ctx, w, f)
		var usage *pipeline.UsageError
		if errors.As(err, &usage) && c.Name == "" {
			r, err = &Tested{Name: f.Name, File: f.File, Problem: usage.Problems[0].What, Rule: f.Threshold.String()}, nil
		}
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	return app.Print(all, func(out io.Writer) { printTests(out, all) })
}

// test holds one function against the labels.
func (c *TestCmd) test(ctx context.Context, w *workspace.Workspace, f *configs.Function) (*Tested, error) {
	about := c.Label
	if len(about) == 0 {
		about = []string{score.LabelOf(f)}
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if err := known(ctx, db, f, about); err != nil {
		return nil, err
	}
	s, err := open(ctx, w, f, "function "+f.Name, anyScores, nil)
	if err != nil {
		return nil, err
	}
	r := &Tested{Name: f.Name, File: f.File, About: about, Stale: s.stale, Rule: f.Threshold.String()}
	cut, err := score.Threshold(ctx, db, f, s.scored.Table)
	if err != nil {
		return nil, err
	}
	r.Threshold = cut.Finite()
	scores, positive, err := score.Labeled(ctx, db, f, about, s.scored.Table)
	if err != nil {
		return nil, err
	}
	curve, err := function.NewCurve(scores, positive)
	if err != nil {
		return nil, err
	}
	r.Labeled, r.Positive = curve.Labeled, curve.Positive
	if curve.Positive > 0 {
		ap := curve.AveragePrecision()
		r.AveragePrecision, r.Chance = &ap, float64(curve.Positive)/float64(curve.Labeled)
	}
	own := tried(curve, At{Rule: r.Rule, Threshold: r.Threshold}, cut.Threshold)
	r.Precision, r.Recall, r.F1 = own.Precision, own.Recall, own.F1
	if r.At, err = s.along(ctx, curve); err != nil {
		return nil, err
	}
	r.Batches, err = s.yields(ctx, about, cut)
	return r, err
}

// known refuses labels that no row has.
func known(ctx context.Context, db *query.DB, f *configs.Function, about []string) error {
	var faults pipeline.UsageError
	for _, l := range about {
		n, err := db.Int(ctx, "SELECT count(*) FROM labels WHERE label = ?", l)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		near, err := query.Column[string](ctx, db, "SELECT label FROM labels WHERE label IS NOT NULL GROUP BY label ORDER BY jaro_winkler_similarity(lower(label), lower(?)) DESC, label LIMIT 5", l)
		if err != nil {
			return err
		}
		faults.Problems = append(faults.Problems, pipeline.Problem{What: fmt.Sprintf("function %s: no row has the label %q", f.Name, l),
			Fix: "say what it is about with --label; the labels most like it: " + strings.Join(near, ", ")})
	}
	if len(faults.Problems) > 0 {
		return &faults
	}
	return nil
}

func tried(c *function.Curve, at At, threshold float64) Tried {
	p := c.At(threshold)
	n := diagnose.Counts{TP: p.Hits, FP: p.Matches - p.Hits, FN: c.Positive - p.Hits}
	return Tried{at, p.Matches, n.Precision(), n.Recall(), n.F1()}
}

// along holds other thresholds against the labels, and the one with the best F1.
func (s *subject) along(ctx context.Context, c *function.Curve) ([]Tried, error) {
	rules, err := s.thresholds(ctx)
	if err != nil {
		return nil, err
	}
	var out []Tried
	for _, at := range rules {
		if at.Threshold != nil {
			out = append(out, tried(c, at, *at.Threshold))
		}
	}
	if best, ok := c.BestF1(); ok {
		at := At{Rule: "best F1", Threshold: &best.Threshold}
		if _, at.Matches, err = s.count(ctx, score.Cut{Threshold: best.Threshold}); err != nil {
			return nil, err
		}
		out = append(out, tried(c, at, best.Threshold))
	}
	return out, nil
}

// yields holds the batches that have labels against the function. A row counts by
// the score and threshold of now, not by those of when the batch was chosen.
func (s *subject) yields(ctx context.Context, about []string, cut score.Cut) ([]Yield, error) {
	out := []Yield{}
	sql := fmt.Sprintf(`WITH p AS (
			SELECT b.name, b.slot, b.asset_id, s.%[1]s >= %[2]s AS hit, l.yes
			FROM batched b LEFT JOIN %[3]s s USING (asset_id)
			LEFT JOIN (SELECT asset_id, coalesce(bool_or(label IN %[4]s), false) AS yes FROM labels GROUP BY asset_id) l USING (asset_id))
		SELECT name, slot, count(*), count(*) FILTER (counts), count(*) FILTER (counts AND hit), count(*) FILTER (counts AND hit AND yes),
			count(*) FILTER (counts AND NOT hit), count(*) FILTER (counts AND NOT hit AND yes)
		FROM (SELECT *, hit IS NOT NULL AND yes IS NOT NULL AND %[5]s AS counts FROM p)
		GROUP BY name, slot HAVING count(*) FILTER (counts) > 0 ORDER BY name, slot`,
		s.column(), score.Number(cut.Threshold), s.scored.Table, query.Literals(about), strings.ReplaceAll(s.notAnchors(), "p.asset_id", "asset_id"))
	err := s.scored.DB.Each(ctx, sql, func(scan func(...any) error) error {
		var y Yield
		var matches, hits, others, otherHits int64
		if err := scan(&y.Name, &y.Slot, &y.Rows, &y.Labeled, &matches, &hits, &others, &otherHits); err != nil {
			return err
		}
		y.Matches, y.Others = diagnose.NewRate(hits, matches), diagnose.NewRate(otherHits, others)
		out = append(out, y)
		return nil
	})
	return out, err
}

// rate writes a rate with its interval and counts.
func rate(r diagnose.Rate) string {
	if r.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", r.Value, r.Low, r.High)
}

func printTests(out io.Writer, all []*Tested) {
	for _, r := range all {
		if r.Problem != "" {
			fmt.Fprintln(out, r.Problem)
		}
		if r.Stale != "" {
			fmt.Fprintf(out, "%s: scored for this once: %s\n", r.Name, r.Stale)
		}
	}
	if all = slices.DeleteFunc(slices.Clone(all), func(r *Tested) bool { return r.Problem != "" }); len(all) == 0 {
		return
	}
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "function\tlabel\tlabeled\tpositive\tat or above\tprecision\trecall\tF1\taverage precision\t")
	for _, r := range all {
		ap := "-"
		if r.AveragePrecision != nil {
			ap = fmt.Sprintf("%.3f (by chance %.3f)", *r.AveragePrecision, r.Chance)
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", r.Name, strings.Join(r.About, ", "), r.Labeled, r.Positive,
			strings.TrimSpace(number(r.Threshold)), rate(r.Precision), rate(r.Recall), rate(r.F1), ap)
	}
	tw.Flush()
	fmt.Fprintln(out, "over labeled rows without the anchors; in brackets 95 % intervals")
	if len(all) == 1 {
		all[0].printThresholds(out)
	}
	printYields(out, all)
}

func (r *Tested) printThresholds(out io.Writer) {
	fmt.Fprintln(out)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  threshold\tat or above\tmatches\tlabeled\tprecision\trecall\tF1\t")
	for _, t := range r.At {
		mark := " "
		if t.Own {
			mark = "*"
		}
		fmt.Fprintf(tw, "%s %s\t%s\t%d\t%d\t%s\t%s\t%s\t\n", mark, t.Rule, strings.TrimSpace(number(t.Threshold)), t.Matches, t.Labeled, rate(t.Precision), rate(t.Recall), rate(t.F1))
	}
	tw.Flush()
}

func printYields(out io.Writer, all []*Tested) {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	any := false
	for _, r := range all {
		for _, y := range r.Batches {
			if !any {
				fmt.Fprintln(out, "\nyield of batches: how many of their labeled rows have the label")
				fmt.Fprintln(tw, "  batch\tlabeled\tfunction\tthat match\tyield\tthat do not\tyield\t")
				any = true
			}
			fmt.Fprintf(tw, "  %s/%s\t%d of %d\t%s\t%d of %d\t%s\t%d of %d\t%s\t\n", y.Name, short(y.Slot, 20), y.Labeled, y.Rows, r.Name,
				y.Matches.K, y.Matches.N, rate(y.Matches), y.Others.K, y.Others.N, rate(y.Others))
		}
	}
	tw.Flush()
}
