package search

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/sheet"
	"winnow/jobs/internal/workspace"
)

// print writes the result as a table, CSV or JSON.
func (c *Cmd) print(app *job.App, r *Result) error {
	if !c.CSV {
		return app.Print(r, r.table)
	}
	out := csv.NewWriter(app.Out)
	head := append([]string{"rank", "score", "asset_id"}, r.columns...)
	if len(r.columns) == 0 {
		head = append(head, "caption", "uri")
	}
	_ = out.Write(head) // Flush tells
	for i, h := range r.Results {
		row := []string{strconv.Itoa(i + 1), strconv.FormatFloat(float64(h.Score), 'g', -1, 32), h.AssetID}
		for _, name := range r.columns {
			row = append(row, plain(h.Columns[name]))
		}
		if len(r.columns) == 0 {
			row = append(row, h.Caption, h.URI)
		}
		_ = out.Write(row)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// measure is what the scores are.
func (r *Result) measure() string {
	if r.Function != "" {
		return "score"
	}
	return "cosine"
}

// lead says what was searched for, where and how.
func (r *Result) lead() string {
	s := fmt.Sprintf("nearest to %s in embedding %s (%s)", r.Query, r.Embedding, r.By)
	if r.Function != "" {
		s = fmt.Sprintf("highest scores of %s in embedding %s (%s)", r.Query, r.Embedding, r.By)
	}
	return s + r.among()
}

// among says what the condition left.
func (r *Result) among() string {
	if r.Matching == nil {
		return ""
	}
	return fmt.Sprintf(", among %d rows where %s", *r.Matching, oneLine(r.Where, 200))
}

func (r *Result) table(out io.Writer) {
	fmt.Fprintln(out, r.lead())
	if len(r.Results) == 0 {
		fmt.Fprintln(out, "  no row")
		return
	}
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	head := []string{"caption"}
	if len(r.columns) > 0 {
		head = r.columns
	}
	fmt.Fprintf(tw, "  \t%s\tasset_id\t%s\n", r.measure(), strings.Join(head, "\t"))
	for i, h := range r.Results {
		cells := []string{oneLine(h.Caption, 60)}
		if len(r.columns) > 0 {
			cells = nil
			for _, name := range r.columns {
				cells = append(cells, oneLine(shownAs(h.Columns[name]), 60))
			}
		}
		fmt.Fprintf(tw, "  %d\t%.4f\t%s\t%s\n", i+1, h.Score, h.AssetID, strings.Join(cells, "\t"))
	}
	tw.Flush()
}

// oneLine is the beginning of a text on one line.
func oneLine(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// page writes the result as one HTML file.
func (r *Result) page(ctx context.Context, w *workspace.Workspace, path string) (err error) {
	p := &sheet.Page{Kind: "search", Title: r.Query, Lead: fmt.Sprintf("the %d nearest rows in embedding %s%s", len(r.Results), r.Embedding, r.among()), Sections: r.sections(),
		Facts: []sheet.Line{{Name: "embedding", Value: r.Embedding}, {Name: "found by", Value: r.By}, {Name: "winnow", Value: w.App.Version}}}
	if r.Function != "" {
		p.Lead = fmt.Sprintf("the %d highest scores in embedding %s%s", len(r.Results), r.Embedding, r.among())
	}
	if r.Note != "" {
		p.Notes = append(p.Notes, r.Note)
	}
	if r.Where != "" {
		p.Facts = append(p.Facts, sheet.Line{Name: "where", Value: r.Where})
	}
	local := map[string]bool{}
	for _, q := range r.Queries {
		local[q.File] = true
	}
	thumb := func(ctx context.Context, uri string) ([]byte, error) {
		if !local[uri] {
			return w.ThumbOf(ctx, uri)
		}
		data, err := read(ctx, w, uri)
		if err != nil {
			return nil, err
		}
		return w.Thumbnail(ctx, data)
	}
	// Beside its place first: a page that is cut off never stands there.
	out, err := os.CreateTemp(filepath.Dir(path), ".winnow-*.html")
	if err != nil {
		return fmt.Errorf("--html %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--html %s: %w", path, err), os.Remove(out.Name()))
		}
	}()
	_, err = sheet.Write(ctx, out, p, thumb, sheet.Options{})
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}

// sections are the examples that can be shown, and what was found.
func (r *Result) sections() iter.Seq2[*sheet.Section, error] {
	var examples sheet.Section
	shown := map[string]Hit{}
	for _, h := range r.shown {
		shown[h.AssetID] = h
	}
	for _, q := range r.Queries {
		var c sheet.Card
		switch {
		case q.Asset != "":
			c = shown[q.Asset].card()
		case q.File != "":
			c = sheet.Card{ID: filepath.Base(q.File), URI: q.File}
			if textFile(q.File) {
				c.MediaType = "text/plain"
			}
		default:
			continue // the title says it
		}
		if c.Quiet = q.Not; q.Not {
			c.Badge = "not meant"
		}
		examples.Cards = append(examples.Cards, c)
	}
	examples.Title = "Searched for"
	found := &sheet.Section{}
	if len(examples.Cards) > 0 {
		found.Title = "Found"
	}
	lowest, highest := 0.0, 1.0
	if n := len(r.Results); n > 0 && r.Function != "" {
		lowest, highest = min(0, float64(r.Results[n-1].Score)), float64(r.Results[0].Score)
	}
	for i, h := range r.Results {
		c := h.card()
		c.Rank, c.Score, c.Bar = i+1, fmt.Sprintf("%.4f", h.Score), (float64(h.Score)-lowest)/max(highest-lowest, 1e-9)
		for _, name := range r.columns {
			c.Lines = append(c.Lines, sheet.Line{Name: strings.TrimPrefix(name, "metadata."), Value: shownAs(h.Columns[name])})
		}
		found.Cards = append(found.Cards, c)
	}
	return func(yield func(*sheet.Section, error) bool) {
		if len(examples.Cards) > 0 && !yield(&examples, nil) {
			return
		}
		yield(found, nil)
	}
}

// card is the hit as a page shows it.
func (h Hit) card() sheet.Card {
	c := sheet.Card{ID: h.AssetID, URI: h.URI, MediaType: h.mediaType, Text: h.text, Caption: h.Caption}
	if c.Caption == c.Text {
		c.Caption = "" // a text is shown in the picture's place
	}
	return c
}
