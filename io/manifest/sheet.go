package manifest

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// SheetOptions bounds the contact sheet. Zero values take the defaults.
type SheetOptions struct {
	PageRows int // rows of one page; default 2,000
	MaxRows  int // rows with a card at all; default 10,000, the rest is only counted
	Workers  int // thumbnails made at the same time; default 8

	Kind string // what the page shows; default batch
	Lead string // what the rows are for; default to label
}

const (
	sheetPageRows = 2_000
	sheetMaxRows  = 10_000
	sheetWorkers  = 8
)

func (o SheetOptions) withDefaults() SheetOptions {
	if o.PageRows <= 0 {
		o.PageRows = sheetPageRows
	}
	if o.MaxRows <= 0 {
		o.MaxRows = sheetMaxRows
	}
	if o.Workers <= 0 {
		o.Workers = sheetWorkers
	}
	if o.Kind == "" {
		o.Kind, o.Lead = "batch", "to label"
	}
	return o
}

var (
	//go:embed sheet.html
	sheetHTML string
	// SheetCSS is how cards look; other pages of cards build on it.
	//
	//go:embed sheet.css
	SheetCSS string
	//go:embed sheet.js
	sheetJS string
)

// sheetTemplate has the blocks head, card and foot. They are run one after the
// other, so that a page streams.
var sheetTemplate = template.Must(template.New("sheet").Parse(
	strings.ReplaceAll(sheetHTML, "@CSP@", sheetCSP())))

// sheetCSP allows the page's own style and script by their hashes, pictures that
// stand in the page, and nothing else: no request ever leaves it.
func sheetCSP() string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; img-src data:; style-src " + hash(SheetCSS) + "; script-src " + hash(sheetJS) +
		"; base-uri 'none'; form-action 'none'"
}

// sheetPage is what the head and foot of one page show.
type sheetPage struct {
	CSS       template.CSS
	JS        template.JS
	Kind      string
	Lead      string
	Info      *BatchInfo
	Rows      int64  // of the batch
	Count     string // the same for people
	Funnel    []sheetStep
	Functions []sheetFunction
	Objective []string
	Pages     []sheetLink // empty with one page
	From, To  int64       // ranks on this page, both included
	Notes     []string
}

type sheetStep struct {
	FunnelStep
	Count string  // of its rows, for people
	Width float64 // of the bar, in [0, 100]
	Note  string  // how much of the step before is left
}

type sheetFunction struct {
	FunctionInfo
	Matches int64
	Index   int
	Cut     string // the threshold
}

type sheetLink struct {
	Href, Label string
	Here        bool
}

// emitSheet writes batch.html, a page that opens from disk and needs nothing
// else; a large batch continues on batch-2.html and so on. A picture that cannot
// be had shows a placeholder and is told of, never more.
func emitSheet(ctx context.Context, b *batch) error {
	o := b.Sheet.withDefaults()
	shown := min(b.rows, int64(o.MaxRows))
	s := &sheet{b: b, o: o, shown: shown, pages: max(1, int((shown+int64(o.PageRows)-1)/int64(o.PageRows)))}
	if err := s.objectives(ctx); err != nil {
		return err
	}
	for p := 0; p < s.pages; p++ {
		if err := b.file(sheetName(p), func(w io.Writer) error { return s.writePage(ctx, w, p) }); err != nil {
			return err
		}
		s.missing.merge(s.page) // after the page is written: a repeated write counts once
	}
	if shown < b.rows {
		b.warn(0, nil, "the contact sheet shows the first %d of %d rows; batch.jsonl and batch.parquet list all", shown, b.rows)
	}
	if t := s.missing; t.n > 0 {
		b.warn(t.n, t.ids, "%s without a picture, which could not be made: a placeholder stands there", rowCount(t.n))
	}
	return nil
}

// sheet is a contact sheet under way.
type sheet struct {
	b             *batch
	o             SheetOptions
	shown         int64
	pages         int
	byObjective   []string
	page, missing tally // pictures that could not be shown: on this page, on all
}

func (t *tally) merge(o tally) {
	t.n += o.n
	t.ids = append(t.ids, o.ids[:min(len(o.ids), maxExamples-len(t.ids))]...)
}

func sheetName(page int) string {
	if page == 0 {
		return "batch.html"
	}
	return fmt.Sprintf("batch-%d.html", page+1)
}

// maxObjectives bounds the filter menu; objectives are a handful of words.
const maxObjectives = 20

// objectives collects what the rows were picked by, in the order of first sight.
func (s *sheet) objectives(ctx context.Context) error {
	seen := map[string]bool{}
	return s.b.each(ctx, func(r *BatchRow) error {
		if r.Objective != "" && !seen[r.Objective] && len(seen) < maxObjectives {
			seen[r.Objective] = true
			s.byObjective = append(s.byObjective, validUTF8(r.Objective))
		}
		return nil
	})
}

func (s *sheet) writePage(ctx context.Context, w io.Writer, p int) error {
	s.page = tally{}
	bw := bufio.NewWriterSize(w, 1<<16)
	data := s.pageData(p)
	if err := sheetTemplate.ExecuteTemplate(bw, "head", data); err != nil {
		return err
	}
	from, to := data.From-1, data.To
	err := s.thumbs(ctx, from, to, func(r *BatchRow, pic picture) error {
		if pic.missing {
			s.page.add(r.AssetID)
		}
		return sheetTemplate.ExecuteTemplate(bw, "card", s.card(r, pic))
	})
	if err != nil {
		return err
	}
	if err := sheetTemplate.ExecuteTemplate(bw, "foot", data); err != nil {
		return err
	}
	return bw.Flush()
}

func (s *sheet) pageData(p int) sheetPage {
	size := int64(s.o.PageRows)
	d := sheetPage{
		CSS: template.CSS(SheetCSS), JS: template.JS(sheetJS), Kind: s.o.Kind, Lead: s.o.Lead,
		Info: s.b.Info, Rows: s.b.rows, Count: group(s.b.rows), Objective: s.byObjective,
		From: int64(p)*size + 1, To: min(int64(p+1)*size, s.shown),
	}
	var most int64 = 1
	for _, f := range s.b.Info.Funnel {
		most = max(most, f.Rows)
	}
	for i, f := range s.b.Info.Funnel {
		step := sheetStep{FunnelStep: f, Count: group(f.Rows), Width: 100 * float64(f.Rows) / float64(most)}
		if i > 0 {
			step.Note = left(s.b.Info.Funnel[i-1].Rows, f.Rows)
		}
		d.Funnel = append(d.Funnel, step)
	}
	for i, f := range s.b.Info.Functions {
		fn := sheetFunction{FunctionInfo: f, Matches: s.b.ranges[i].Matches, Index: i}
		if f.Threshold != nil {
			fn.Cut = fmt.Sprintf("%.4g", *f.Threshold)
		}
		d.Functions = append(d.Functions, fn)
	}
	if s.pages > 1 {
		for q := 0; q < s.pages; q++ {
			first, last := int64(q)*size+1, min(int64(q+1)*size, s.shown)
			d.Pages = append(d.Pages, sheetLink{Href: sheetName(q), Label: fmt.Sprintf("%d–%d", first, last), Here: q == p})
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s rows are spread over %d pages. Sorting and filters work on the page that is open.", group(s.b.rows), s.pages))
	}
	if s.shown < s.b.rows {
		d.Notes = append(d.Notes, fmt.Sprintf("The first %s of %s rows have a card. batch.jsonl and batch.parquet list all.", group(s.shown), group(s.b.rows)))
	}
	return d
}

// left says how many rows a step took away.
func left(before, after int64) string {
	switch {
	case after < before:
		return "−" + group(before-after)
	case after > before:
		return "+" + group(after-before)
	}
	return "all kept"
}

// Thousands writes 12345 as 12,345.
func Thousands(n int64) string { return group(n) }

// group writes 12345 as 12,345.
func group(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
