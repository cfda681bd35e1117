package function

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"unicode"

	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// ShowCmd is the command function show.
type ShowCmd struct {
	Name  string `arg:"" help:"A function of the config, or the path of a function's file."`
	K     int    `short:"k" default:"10" help:"How many of the nearest rows to show; half as many on each side of the threshold."`
	Chart string `enum:"auto,blocks,plain" default:"auto" placeholder:"auto" help:"How the histogram is drawn: ${enum}."`
	HTML  string `name:"html" help:"Also write a page with pictures." type:"path" placeholder:"FILE"`
}

// Help shows examples.
func (*ShowCmd) Help() string {
	return `Says what a function looks for, draws its scores with the threshold, counts the matches at other thresholds,
and lists the rows that are nearest and those just above and just below the threshold. A function that is not
scored yet, such as a draft that the config does not name, is scored for this once; nothing is written.

Examples:
  winnow function show ripe_apples
  winnow function show ripe_apples -k 30 --html apples.html
  winnow function show drafts/pears.yaml
  winnow function show ripe_apples --json | jq -r '.below[].asset_id'

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// Shown is what function show says.
type Shown struct {
	Name        string               `json:"name"`
	File        string               `json:"file"`
	Definition  *function.Definition `json:"definition"`
	Version     string               `json:"version"`
	Embedding   string               `json:"embedding"`
	Model       string               `json:"model"`
	Fingerprint string               `json:"fingerprint"`
	Dim         int                  `json:"dim"`
	Statistics  *Statistics          `json:"statistics,omitempty"` // that it is fitted with
	Lambda      float64              `json:"lambda,omitempty"`     // the ridge with the largest share
	Parts       []Part               `json:"parts,omitempty"`      // of a function over several embeddings; model to lambda stand there then
	Stale       string               `json:"stale,omitempty"`      // why the scores are not the workspace's
	Rule        string               `json:"rule"`
	Threshold   *float64             `json:"threshold"`
	Labels      *score.Labels        `json:"labels,omitempty"`
	Rows        int64                `json:"rows"`
	Matches     int64                `json:"matches"`
	Anchors     []Anchor             `json:"anchors"`
	Histogram   []Bin                `json:"histogram"`
	Thresholds  []At                 `json:"thresholds"`
	Nearest     []Row                `json:"nearest"` // without the anchors
	Above       []Row                `json:"above"`   // the lowest matches, the lowest last
	Below       []Row                `json:"below"`   // the highest others, the highest first

	canvas canvas
}

// Part is a function within one of its embeddings.
type Part struct {
	Embedding   string      `json:"embedding"`
	Share       float64     `json:"share"`               // in the score; all sum to 1
	Deviation   float64     `json:"deviation,omitempty"` // of cosines in the corpus: the share is divided by it
	Version     string      `json:"version"`
	Model       string      `json:"model"`
	Fingerprint string      `json:"fingerprint"`
	Dim         int         `json:"dim"`
	Statistics  *Statistics `json:"statistics,omitempty"`
	Lambda      float64     `json:"lambda,omitempty"`
}

// Statistics name what a fit knows of the corpus.
type Statistics struct {
	ID    string `json:"id"`
	Rows  int64  `json:"rows"`  // sampled
	Total int64  `json:"total"` // of the corpus then
	Seed  uint64 `json:"seed"`
}

// Anchor is an example, with what people know it by.
type Anchor struct {
	Kind    string  `json:"kind"`
	ID      string  `json:"id"`
	Sign    string  `json:"sign"` // + or −
	Weight  float64 `json:"weight,omitempty"`
	Caption string  `json:"caption,omitempty"`
}

// At is what another threshold would match.
type At struct {
	Rule      string        `json:"rule"`
	Threshold *float64      `json:"threshold"`
	Matches   int64         `json:"matches"`
	Labels    *score.Labels `json:"labels,omitempty"`
	Problem   string        `json:"problem,omitempty"`
	Own       bool          `json:"own,omitempty"` // the function's own rule
}

// Run shows.
func (c *ShowCmd) Run(ctx context.Context, app *job.App) error {
	if c.K < 1 {
		return pipeline.Usagef("-k %d: want at least 1", c.K)
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	f, err := score.Named(w, c.Name)
	if err != nil {
		return err
	}
	s, err := open(ctx, w, f, "function "+f.Name, anyScores, nil)
	if err != nil {
		return err
	}
	r, cut, err := c.show(ctx, s, canvasOf(app.Out, c.Chart))
	if err != nil {
		return err
	}
	if c.HTML != "" {
		if err := s.sheet(ctx, r, cut, c.HTML); err != nil {
			return err
		}
	}
	return app.Print(r, func(out io.Writer) {
		r.Print(out)
		if c.HTML != "" {
			fmt.Fprintf(out, "\nopen %s\n", relative(c.HTML))
		}
	})
}

func (c *ShowCmd) show(ctx context.Context, s *subject, cv canvas) (*Shown, score.Cut, error) {
	r := &Shown{Name: s.f.Name, File: s.f.File, Definition: s.f.Definition, Version: s.scorer.Version, Embedding: s.f.Space(),
		Stale: s.stale, Rule: s.f.Definition.Threshold.String(), canvas: cv}
	for _, p := range s.parts {
		r.Parts = append(r.Parts, p.part())
	}
	if s.parts == nil {
		p := s.part()
		r.Model, r.Fingerprint, r.Dim, r.Statistics, r.Lambda = p.Model, p.Fingerprint, p.Dim, p.Statistics, p.Lambda
	}
	cut, err := score.Threshold(ctx, s.scored.DB, s.f, s.scored.Table)
	if err != nil {
		return nil, cut, err
	}
	r.Threshold, r.Labels = cut.Finite(), cut.Labels
	if r.Rows, r.Matches, err = s.count(ctx, cut); err != nil {
		return nil, cut, err
	}
	if r.Anchors, err = s.anchors(ctx); err != nil {
		return nil, cut, err
	}
	if r.Histogram, err = s.histogram(ctx, cv.bins()); err != nil {
		return nil, cut, err
	}
	if r.Thresholds, err = s.thresholds(ctx); err != nil {
		return nil, cut, err
	}
	half := (c.K + 1) / 2
	at := score.Number(cut.Threshold)
	if r.Nearest, err = s.rows(ctx, cut, s.notAnchors(), "p.x DESC", c.K); err != nil {
		return nil, cut, err
	}
	if r.Above, err = s.rows(ctx, cut, "p.x >= "+at, "p.x", half); err != nil {
		return nil, cut, err
	}
	for i, j := 0, len(r.Above)-1; i < j; i, j = i+1, j-1 {
		r.Above[i], r.Above[j] = r.Above[j], r.Above[i]
	}
	r.Below, err = s.rows(ctx, cut, "p.x < "+at, "p.x DESC", half)
	return r, cut, err
}

// part says how the function was fitted within an embedding.
func (s *subject) part() Part {
	p := Part{Embedding: s.f.Embedding, Share: 1, Version: s.scorer.Version, Model: s.l.Space.MadeBy(), Fingerprint: s.l.Fingerprint,
		Dim: s.l.Dim, Lambda: s.scorer.Lambda, Deviation: s.scorer.Deviation}
	if s.f.Partial() {
		p.Share = s.f.CombineOver.Share(s.f.Embedding)
	}
	if s.scorer.Statistics != "" {
		p.Statistics = &Statistics{s.stats.ID, s.stats.Rows, s.stats.Total, s.stats.Seed}
	}
	return p
}

// count is how many rows have a score, and how many match.
func (s *subject) count(ctx context.Context, c score.Cut) (rows, matches int64, err error) {
	err = s.scored.DB.Row(ctx, fmt.Sprintf("SELECT count(%[1]s), count(*) FILTER (%[1]s >= %[2]s) FROM %[3]s", s.column(), score.Number(c.Threshold), s.scored.Table), []any{&rows, &matches})
	return rows, matches, err
}

// anchors are the function's examples with the captions of those that are assets.
func (s *subject) anchors(ctx context.Context) ([]Anchor, error) {
	out := []Anchor{}
	var ids []string
	for _, list := range [][]function.Anchor{s.f.Anchors.Positive, s.f.Anchors.Negative} {
		for _, a := range list {
			if a.Asset != "" {
				ids = append(ids, a.Asset)
			}
		}
	}
	captions, err := captionsOf(ctx, s.w, ids)
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		sign string
		list []function.Anchor
	}{{"+", s.f.Anchors.Positive}, {"−", s.f.Anchors.Negative}} {
		for _, a := range l.list {
			out = append(out, Anchor{Kind: a.Kind(), ID: a.ID(), Sign: l.sign, Weight: a.Weight, Caption: captions[a.Asset]})
		}
	}
	return out, nil
}

// captionsOf are what people know assets by: their captions, else their texts.
func captionsOf(ctx context.Context, w *workspace.Workspace, ids []string) (map[string]string, error) {
	out := map[string]string{}
	if len(ids) == 0 {
		return out, nil
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	err = db.Each(ctx, "SELECT asset_id, coalesce(nullif(caption, ''), text, '') FROM assets WHERE asset_id IN "+query.Literals(ids), func(scan func(...any) error) error {
		var id, caption string
		if err := scan(&id, &caption); err != nil {
			return err
		}
		out[id] = short(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) || unicode.IsSpace(r) {
				return r
			}
			return -1
		}, caption), 100)
		return nil
	})
	return out, err
}

// histogram cuts the range of the scores into n parts of one width.
func (s *subject) histogram(ctx context.Context, n int) ([]Bin, error) {
	var lo, hi *float64
	db := s.scored.DB
	if err := db.Row(ctx, fmt.Sprintf("SELECT min(%[1]s)::DOUBLE, max(%[1]s)::DOUBLE FROM %[2]s", s.column(), s.scored.Table), []any{&lo, &hi}); err != nil || lo == nil {
		return []Bin{}, err
	}
	if *hi <= *lo {
		*hi = *lo + 1
	}
	bins := make([]Bin, n)
	width := (*hi - *lo) / float64(n)
	for i := range bins {
		bins[i] = Bin{From: *lo + width*float64(i), To: *lo + width*float64(i+1)}
	}
	bins[n-1].To = *hi
	sql := fmt.Sprintf("SELECT least(greatest(floor((%s::DOUBLE - %v) / %v)::BIGINT, 0), %d) AS i, count(*) FROM %s WHERE %s IS NOT NULL GROUP BY i",
		s.column(), sqlDouble(*lo), sqlDouble(width), n-1, s.scored.Table, s.column())
	return bins, db.Each(ctx, sql, func(scan func(...any) error) error {
		var i, rows int64
		if err := scan(&i, &rows); err != nil {
			return err
		}
		bins[i].Rows = rows
		return nil
	})
}

// sqlDouble writes a number so that DuckDB reads it back bit by bit: a literal
// without an exponent would be a decimal.
func sqlDouble(x float64) string { return fmt.Sprintf("%.17g::DOUBLE", x) }

// thresholds counts what other rules match, the function's own first.
func (s *subject) thresholds(ctx context.Context) ([]At, error) {
	own := s.f.Definition.Threshold
	rules := []function.Threshold{own}
	add := func(r function.Rule, values ...float64) {
		for _, v := range values {
			if t := (function.Threshold{Rule: r, Value: v}); t.String() != own.String() {
				rules = append(rules, t)
			}
		}
	}
	if !own.Is(function.RuleAuto) {
		rules = append(rules, function.Auto)
	}
	add(function.RulePercentile, 90, 95, 99, 99.9)
	add(function.RuleTop, 100, 1000)
	label := score.LabelOf(s.f)
	n, err := s.scored.DB.Int(ctx, "SELECT count(*) FROM labels WHERE label = ?", label)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		for _, p := range []float64{0.5, 0.8, 0.9, 0.95} {
			rules = append(rules, function.Threshold{Rule: function.RulePrecision, Value: p, Label: own.Label})
		}
	}
	var out []At
	for i, t := range rules {
		at := At{Rule: t.String(), Own: i == 0}
		if t.Is(function.RuleTop) && float64(s.scored.Rows) < t.Value && i > 0 {
			continue
		}
		cut, err := score.Resolve(ctx, s.scored.DB, s.f, t, s.scored.Table)
		var usage *pipeline.UsageError
		switch {
		case errors.As(err, &usage):
			_, at.Problem, _ = strings.Cut(usage.Problems[0].What, "\": ")
		case err != nil:
			return nil, err
		default:
			at.Threshold, at.Labels = cut.Finite(), cut.Labels
			if _, at.Matches, err = s.count(ctx, cut); err != nil {
				return nil, err
			}
		}
		out = append(out, at)
	}
	return out, nil
}

// words say what the scores of a combination are.
var words = map[function.Combine]string{
	function.LDA:        "linear discriminant against the corpus; scores are standard deviations above it",
	function.Mean:       "cosine to the mean of the anchors, from -1 to 1",
	function.Max:        "cosine to the nearest positive anchor, from -1 to 1; negative where a negative one is nearer",
	function.Sum:        "sum of the cosines to the positive anchors, less those to the negative ones",
	function.Classifier: "logistic regression of the positives against negatives and corpus; from 0 to 1",
}

// Print shows it to people.
func (r *Shown) Print(out io.Writer) {
	how := r.Definition.How()
	fmt.Fprintf(out, "function %s  %s\n", r.Name, relative(r.File))
	finds := fmt.Sprintf("rows of embedding %s like %s", r.Embedding, plural(len(r.Definition.Anchors.Positive), "example"))
	if n := len(r.Definition.Anchors.Negative); n > 0 {
		finds += fmt.Sprintf(" and unlike %d", n)
	}
	fmt.Fprintf(out, "  finds       %s\n", finds)
	fmt.Fprintf(out, "  combine     %s: %s\n", how, words[how])
	if r.Definition.Like != "" {
		fmt.Fprintf(out, "  like        %s, whose anchors count beside its own\n", r.Definition.Like)
	}
	for _, p := range r.Parts {
		fmt.Fprintf(out, "  %-11s %.4g of the score: %s, %d-d, fingerprint %.8s, version %.12s%s\n", p.Embedding, p.Share, p.Model, p.Dim, p.Fingerprint, p.Version, p.fitted())
	}
	if r.Parts == nil {
		fmt.Fprintf(out, "  embedding   %s, %d-d, fingerprint %.8s\n", r.Model, r.Dim, r.Fingerprint)
	}
	fmt.Fprintf(out, "  version     %.12s%s\n", r.Version, Part{Statistics: r.Statistics, Lambda: r.Lambda}.fitted())
	if r.Stale != "" {
		fmt.Fprintf(out, "  not scored  these are scores of now: %s\n", r.Stale)
	}
	const most = 12
	for i, a := range r.Anchors {
		if i == most {
			fmt.Fprintf(out, "              … and %d more\n", len(r.Anchors)-most)
			break
		}
		weight := ""
		if a.Weight != 0 && a.Weight != 1 {
			weight = fmt.Sprintf(" × %v", a.Weight)
		}
		fmt.Fprintf(out, "  %-11s %s %s%s  %s\n", map[bool]string{true: "anchors"}[i == 0], a.Sign, short(a.ID, 60), weight, short(a.Caption, 60))
	}
	fmt.Fprintf(out, "\nscores of %d rows; the height is the logarithm of their number\n", r.Rows)
	r.canvas.draw(out, r.Histogram, r.Threshold)
	r.printThresholds(out)
	r.printRows(out)
}

// fitted says what a fit rests on.
func (p Part) fitted() string {
	if st := p.Statistics; st != nil {
		fit := fmt.Sprintf("λ %v", p.Lambda)
		if p.Deviation > 0 {
			fit = fmt.Sprintf("deviation %.3g", p.Deviation)
		}
		return fmt.Sprintf(", statistics %.8s of %d of %d rows, %s", st.ID, st.Rows, st.Total, fit)
	}
	return ""
}

func (r *Shown) printThresholds(out io.Writer) {
	fmt.Fprintln(out)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  threshold\tat or above\tmatches\tof all\t")
	for _, t := range r.Thresholds {
		mark := " "
		if t.Own {
			mark = "*"
		}
		if t.Problem != "" {
			fmt.Fprintf(tw, "%s %s\t-\t-\t-\t%s\n", mark, t.Rule, t.Problem)
			continue
		}
		note := ""
		if t.Labels != nil {
			note = t.Labels.String()
		}
		if strings.HasPrefix(t.Rule, string(function.RuleTop)+" ") {
			note = "the highest of those neither labeled nor in a batch, and what is above"
		}
		fmt.Fprintf(tw, "%s %s\t%s\t%d\t%.3g %%\t%s\n", mark, t.Rule, strings.TrimSpace(number(t.Threshold)), t.Matches, 100*float64(t.Matches)/math.Max(1, float64(r.Rows)), note)
	}
	tw.Flush()
}

func (r *Shown) printRows(out io.Writer) {
	for _, part := range []struct {
		title string
		rows  []Row
	}{{"the nearest rows, without the anchors", r.Nearest}, {"just above the threshold", r.Above}, {"just below the threshold", r.Below}} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", part.title)
		printRows(out, part.rows)
	}
}

func printRows(out io.Writer, rows []Row) {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, x := range rows {
		var notes []string
		if x.Label != "" {
			notes = append(notes, "label "+x.Label)
		}
		if x.Anchor != "" {
			notes = append(notes, "anchor")
		}
		fmt.Fprintf(tw, "  %.4g\t%s\t%s\t%s\t\n", x.Score, x.AssetID, x.about(), strings.Join(notes, ", "))
	}
	tw.Flush()
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
