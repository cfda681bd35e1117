package function

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"winnow/configs"
)

// Whatever an id or a caption looks like, the file that function new writes means it.
func TestNewFileReadsBack(t *testing.T) {
	ids := []string{"a", "fruit-0012", "photos/a b.jpg", "true", "null", "12", "1e3", "-x", "a: b", "a #b", "{a}", "[a]", `a"b`, `a\b`, "${HOME}", "$${X", "*a", "&a", "!a", "日本", "a\tb", " a", "a ", "'a'", "<b>&", "~", "y", "@a", "%a", "`a`", "?", "-", ":", "a,b", "a\u2028b"}
	captions := map[string]string{"a": "# not: [yaml", "12": "${HOME} *x", "true": "plain"}
	c := &NewCmd{Name: "f", Combine: "mean", Threshold: "percentile 99.5", Text: []string{"a: text", "No"}}
	text := c.yaml("image", ids, []string{"other"}, captions)
	f, err := configs.ParseFunction("/nowhere/f.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got []string
	for _, a := range f.Anchors.Positive {
		got = append(got, a.ID())
	}
	if want := append([]string{"a: text", "No"}, ids...); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if f.Threshold.String() != "percentile 99.5" || f.Anchors.Negative[0].Asset != "other" {
		t.Errorf("%+v", f.Definition)
	}
}

// A histogram stays within its width, shows single rows, and marks the threshold.
func TestDraw(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, width := range []int{12, 40, 80, 120} {
		c := canvas{blocks: true, width: width}
		bins := make([]Bin, c.bins())
		for i := range bins {
			bins[i] = Bin{From: float64(i), To: float64(i + 1), Rows: int64(math.Pow(10, 6*rng.Float64()))}
		}
		bins[3].Rows = 0
		bins[len(bins)-1].Rows = 1
		for _, at := range []float64{0, float64(len(bins)) / 2, float64(len(bins))} {
			var out bytes.Buffer
			c.draw(&out, bins, &at)
			lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
			if len(lines) != chartHeight+2 || strings.Count(out.String(), "▲") != 1 {
				t.Fatalf("width %d, threshold %v:\n%s", width, at, out.String())
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(l); n > max(width, 22) {
					t.Errorf("width %d: a line of %d: %q", width, n, l)
				}
			}
			floor := []rune(lines[chartHeight-1])[11:]
			if floor[3] != ' ' || floor[len(floor)-1] == ' ' || len(floor) != len(bins) {
				t.Errorf("width %d: the lowest line is %q", width, string(floor))
			}
		}
		var out bytes.Buffer
		at := bins[len(bins)-1].To
		canvas{width: width}.draw(&out, bins, &at)
		if strings.Count(out.String(), "<- threshold") != 1 {
			t.Errorf("plain, the threshold at the end:\n%s", out.String())
		}
		out.Reset()
		c.draw(&out, bins, nil)
		if strings.Contains(out.String(), "▲") {
			t.Errorf("no threshold:\n%s", out.String())
		}
	}
}
