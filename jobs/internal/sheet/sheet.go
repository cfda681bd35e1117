// Package sheet writes pages of cards in sections: pictures and texts with their
// ids, scores and a few lines, in one HTML file that needs no other and asks
// nobody. Everything that comes from data is escaped.
package sheet

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"winnow/io/manifest"
)

// Page is what a page shows.
type Page struct {
	Kind     string // one word, such as search
	Title    string
	Lead     string // a line below the title
	Facts    []Line // how it was made, folded away
	Notes    []string
	Sections iter.Seq2[*Section, error] // read once, in order
}

// Section is a group of cards under a heading; "" for none.
type Section struct {
	Title, Note string
	Cards       []Card
}

// Card is an asset.
type Card struct {
	ID        string
	URI       string // of a picture; "" for a text
	MediaType string // texts behind a URI begin with "text"
	Text      string
	Caption   string
	Rank      int    // a number in the corner; 0 for none
	Score     string // as it is shown
	Bar       float64
	Badge     string // a word that stands out, such as kept
	Quiet     bool   // stands back, such as what is not kept
	Lines     []Line
}

// Line is a name with a value.
type Line struct{ Name, Value string }

// ThumbFunc makes a JPEG of at most manifest.ThumbPixels a side of the picture at a
// URI. It is called from several goroutines at once.
type ThumbFunc func(ctx context.Context, uri string) ([]byte, error)

// Options bound a page. Zero values take the defaults.
type Options struct {
	Pictures int   // at most so many thumbnails; default 2,000
	Bytes    int64 // of all thumbnails together; default 48 MiB
	Cards    int   // at most so many cards; default 10,000, the rest is counted
	Workers  int   // thumbnails made at the same time; default 4
}

const (
	maxPicture = 256 << 10 // bytes of one thumbnail
	maxText    = 2000      // characters of a text
	maxLine    = 500       // of a line
)

var (
	//go:embed sheet.html
	pageHTML string
	//go:embed sheet.css
	ownCSS string

	style = manifest.SheetCSS + ownCSS
	page  = template.Must(template.New("sheet").Parse(strings.ReplaceAll(pageHTML, "@CSP@", csp())))
)

// csp allows the page's own style by its hash, pictures that stand in the page, and
// nothing else.
func csp() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// Written counts what is on a page.
type Written struct {
	Cards   int
	Missing int // pictures that could not be shown
	Left    int // cards that the page had no room for
}

// Write streams the page to w: of one section's cards, a few pictures are in memory.
func Write(ctx context.Context, w io.Writer, p *Page, thumb ThumbFunc, o Options) (Written, error) {
	s := &writer{out: bufio.NewWriterSize(w, 64<<10), thumb: thumb, o: o.withDefaults()}
	if err := s.run("head", map[string]any{"CSS": template.CSS(style), "Page": p}); err != nil { //nolint:gosec // our own file
		return s.done, err
	}
	for sec, err := range p.Sections {
		if err != nil {
			return s.done, err
		}
		if err := s.section(ctx, sec); err != nil {
			return s.done, err
		}
	}
	if err := s.run("foot", s.done); err != nil {
		return s.done, err
	}
	return s.done, s.out.Flush()
}

func (o Options) withDefaults() Options {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&o.Pictures, 2000)
	set(&o.Cards, 10_000)
	set(&o.Workers, 4)
	if o.Bytes <= 0 {
		o.Bytes = 48 << 20
	}
	return o
}

type writer struct {
	out      *bufio.Writer
	thumb    ThumbFunc
	o        Options
	pictures int
	bytes    int64
	done     Written
}

func (s *writer) run(block string, data any) error {
	if err := page.ExecuteTemplate(s.out, block, data); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// section writes a heading and its cards, some at a time.
func (s *writer) section(ctx context.Context, sec *Section) error {
	room := max(s.o.Cards-s.done.Cards, 0)
	cards := sec.Cards[:min(room, len(sec.Cards))]
	s.done.Left += len(sec.Cards) - len(cards)
	if len(cards) == 0 && len(sec.Cards) > 0 {
		return nil
	}
	if err := s.run("section", sec); err != nil {
		return err
	}
	for part := range slices.Chunk(cards, 32) {
		pictures, err := s.pictures32(ctx, part)
		if err != nil {
			return err
		}
		for i := range part {
			if err := s.run("card", s.card(&part[i], pictures[i])); err != nil {
				return err
			}
		}
		s.done.Cards += len(part)
	}
	return s.run("end", nil)
}

// shown is a card as the template sees it.
type shown struct {
	*Card
	Picture
	Text, Title string
	Width       float64 // of the bar, in percent
}

func (s *writer) card(c *Card, p Picture) shown {
	if p.Why != "" && c.URI != "" && !p.Meant {
		s.done.Missing++
	}
	d := shown{Card: c, Picture: p, Text: short(c.Text, maxText), Title: c.ID, Width: 100 * min(max(c.Bar, 0), 1)}
	for i := range c.Lines {
		c.Lines[i].Value = short(c.Lines[i].Value, maxLine)
	}
	return d
}

// short is at most n characters of a text.
func short(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
