package manifest

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// sheetBars is how many functions a card shows before "more".
	sheetBars = 3
	// sheetMaxText keeps a page small: longer texts are cut on the card.
	sheetMaxText = 700
)

// sheetCard is what one card shows. html/template escapes all of it; the two
// template.URL values are made here from checked parts.
type sheetCard struct {
	Rank            int64
	ID              string
	Caption, Text   string
	Picture         template.URL
	Width, Height   int
	Placeholder     string       // said where the picture should be
	URI             string       // as text
	Link            template.URL // to the asset itself, when a browser can open it
	Objective       string
	Reason          string
	Bars, More      []sheetBar
	Metadata        []sheetMeta
	Scores, Matches string // for sorting and filtering: one entry a function
}

// sheetBar draws one score: a bar from zero to the score on a scale that all rows
// of the batch share, and a tick at the function's threshold. X is in [0, 100].
type sheetBar struct {
	Name, Value, Title string
	Match, Has         bool
	X, W               string
	Zero, Tick         string // "" without one
	Anchor             string
}

type sheetMeta struct{ Name, Value string }

func (s *sheet) card(r *BatchRow, pic picture) sheetCard {
	c := sheetCard{
		Rank: r.Rank, ID: validUTF8(r.AssetID), Caption: shorten(validUTF8(r.Caption)), Text: shorten(validUTF8(r.Text)),
		Picture: pic.url, Width: pic.width, Height: pic.height, Placeholder: pic.why,
		URI: validUTF8(r.URI), Link: safeLink(r.URI),
		Objective: validUTF8(r.Objective), Reason: validUTF8(r.Reason),
	}
	scores, matches := make([]string, len(r.Scores)), make([]string, len(r.Scores))
	bars := make([]sheetBar, len(r.Scores))
	for i, fs := range r.Scores {
		bars[i] = newBar(s.b.Info.Functions[i], s.b.ranges[i], fs)
		if fs.Has() {
			scores[i] = strconv.FormatFloat(float64(fs.Score), 'g', -1, 32)
		}
		if matches[i] = "0"; fs.Match {
			matches[i] = "1"
		}
	}
	c.Scores, c.Matches = strings.Join(scores, ","), strings.Join(matches, "")
	// The matched functions are why the row is here: they come first.
	slices.SortStableFunc(bars, func(a, b sheetBar) int { return rankBar(a) - rankBar(b) })
	c.Bars = bars
	if len(bars) > sheetBars+1 { // a "more" for one bar would take as much room
		c.Bars, c.More = bars[:sheetBars], bars[sheetBars:]
	}
	for _, m := range r.Metadata {
		if text, ok := metaText(metaValue(m.Value)); ok && text != "" {
			c.Metadata = append(c.Metadata, sheetMeta{validUTF8(m.Name), shorten(text)})
		}
	}
	return c
}

func rankBar(b sheetBar) int {
	switch {
	case b.Match:
		return 0
	case b.Has:
		return 1
	}
	return 2
}

func newBar(f FunctionInfo, rg scoreRange, s FunctionScore) sheetBar {
	b := sheetBar{Name: f.Name, Match: s.Match, Has: s.Has(), Anchor: validUTF8(s.Anchor)}
	if !b.Has {
		b.Value, b.Title = "–", f.Name+": no score, the asset has no vector in "+f.Embedding
		return b
	}
	lo, hi := min(0, float64(rg.Min)), max(0, float64(rg.Max))
	if f.Threshold != nil {
		lo, hi = min(lo, *f.Threshold), max(hi, *f.Threshold)
	}
	if hi <= lo {
		hi = lo + 1
	}
	at := func(v float64) float64 { return 100 * (v - lo) / (hi - lo) }
	num := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
	zero, x := at(0), at(float64(s.Score))
	b.X, b.W = num(min(zero, x)), num(max(0.8, max(zero, x)-min(zero, x)))
	b.Value = strconv.FormatFloat(float64(s.Score), 'f', 2, 32)
	if zero > 0 {
		b.Zero = num(min(zero, 99.4))
	}
	title := fmt.Sprintf("%s: %s", f.Name, strconv.FormatFloat(float64(s.Score), 'g', 5, 32))
	if f.Threshold != nil {
		b.Tick = num(min(at(*f.Threshold), 99.2))
		title += fmt.Sprintf(", threshold %.4g", *f.Threshold)
	}
	if finite(s.Percentile) {
		title += fmt.Sprintf(", over %.4g %% of the corpus", s.Percentile)
	}
	b.Title = title
	return b
}

// shorten cuts a long text at a rune.
func shorten(s string) string {
	if len(s) <= sheetMaxText || utf8.RuneCountInString(s) <= sheetMaxText {
		return s
	}
	n := 0
	for i := range s {
		if n == sheetMaxText {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// safeLink is the URI when a browser opens it as a place to look at, else "".
// html/template would refuse file: links, which are what a local batch has.
func safeLink(uri string) template.URL {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	switch {
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.Path != "":
		return template.URL((&url.URL{Scheme: "file", Path: u.Path}).String())
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "":
		return template.URL(u.String())
	}
	return ""
}
