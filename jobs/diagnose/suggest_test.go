package diagnose

import (
	"strings"
	"testing"

	"winnow/pipeline"
	"winnow/pipeline/diagnose"
	"winnow/pipeline/function"
)

func TestSlug(t *testing.T) {
	for _, c := range []struct{ class, want string }{
		{"cat", "cat"}, {"Big Cat", "big_cat"}, {"  x-1!", "x_1"}, {"Äpfel", "pfel"}, {"猫", "class"}, {"", "class"},
		{strings.Repeat("a", 60), strings.Repeat("a", 40)},
	} {
		got := slug(c.class)
		if got != c.want {
			t.Errorf("slug of %q is %q, not %q", c.class, got, c.want)
		}
		if what, _ := function.CheckName("missed_" + got + "_1"); what != "" {
			t.Errorf("the name made of %q: %s", c.class, what)
		}
	}
	taken := map[string]bool{}
	for _, want := range []string{"missed_cat", "missed_cat_2", "missed_cat_3"} {
		if got := unique("missed_cat", taken); got != want {
			t.Errorf("the name is %s, not %s", got, want)
		}
	}
}

// TestBatches checks that each class and kind has a batch, whose functions match
// half as many rows again as it takes.
func TestBatches(t *testing.T) {
	sg := func(name, class, kind string) Suggestion {
		return Suggestion{Name: name, Class: class, Kind: kind, def: &function.Definition{Embedding: "image", Threshold: function.Threshold{Rule: function.RuleTop}}}
	}
	list := []Suggestion{sg("missed_cat_1", "Cat", "missed"), sg("missed_cat_2", "Cat", "missed"), sg("wrong_cat_1", "Cat", "wrong"), sg("missed_cat_1_2", "cat", "missed")}
	d := &diagnosis{Cmd: &Cmd{Size: 25}, report: &Report{Functions: list}}
	d.batches()
	want := []Batch{
		{"missed_cat", "Cat", "missed", "{name: missed_cat, where: missed_cat_1_match OR missed_cat_2_match, exclude: [batched, labeled], select: [{diversity: {embedding: image}}], stay_away: labeled, size: 25}"},
		{"wrong_cat", "Cat", "wrong", "{name: wrong_cat, where: wrong_cat_1_match, exclude: [batched, labeled], select: [{diversity: {embedding: image}}], stay_away: labeled, size: 25}"},
		{"missed_cat_2", "cat", "missed", "{name: missed_cat_2, where: missed_cat_1_2_match, exclude: [batched, labeled], select: [{diversity: {embedding: image}}], stay_away: labeled, size: 25}"},
	}
	if len(d.report.Batches) != len(want) {
		t.Fatalf("%d batches: %v", len(d.report.Batches), d.report.Batches)
	}
	for i, b := range d.report.Batches {
		if b != want[i] {
			t.Errorf("batch %d:\n got %v\nwant %v", i, b, want[i])
		}
	}
	for i, top := range []float64{19, 19, 38, 38} { // 1.5 × 25, by the functions of the batch, rounded up
		if got := list[i].def.Threshold.Value; got != top {
			t.Errorf("%s matches %v rows, not %v", list[i].Name, got, top)
		}
	}
	d.Top = 7
	d.batches()
	if got := list[0].def.Threshold.Value; got != 7 {
		t.Errorf("with --top 7 it matches %v rows", got)
	}
}

// sample is a subject of three classes, a, b and c; a "−" is no guess.
func sample() (*diagnosis, *subject) {
	d := &diagnosis{Cmd: &Cmd{MinSupport: 1}, names: []string{"a", "b", "c"}, report: &Report{}}
	s := &subject{}
	for _, x := range []struct {
		id           string
		truth, guess int
		confidence   float64
	}{
		{"r1", 0, 0, 0.9}, {"r2", 0, 0, 0.4}, {"m1", 0, 1, 0.8}, {"m2", 0, -1, 0}, {"w1", 2, 0, 0.6}, {"r3", 1, 1, 0.7},
	} {
		it := diagnose.Item{ID: x.id, Truth: []diagnose.Object{{Class: x.truth}}}
		if x.guess >= 0 {
			it.Guess = []diagnose.Object{{Class: x.guess, Confidence: x.confidence}}
		}
		s.items = append(s.items, it)
		s.pairs = append(s.pairs, diagnose.Match(&it, false, 0.5))
	}
	return d, s
}

func TestMistakes(t *testing.T) {
	d, s := sample()
	for _, c := range []struct {
		class         int
		missed, wrong string
	}{{0, "m1→b m2→None", "w1→c"}, {1, "", "m1→a"}, {2, "w1→a", ""}} {
		missed, wrong := d.mistakes(s, c.class)
		text := func(list []mistake) string {
			var out []string
			for _, m := range list {
				other := "None"
				if m.other >= 0 {
					other = d.names[m.other]
				}
				out = append(out, m.asset+"→"+other)
			}
			return strings.Join(out, " ")
		}
		if got := text(missed); got != c.missed {
			t.Errorf("missed of %s: %q, not %q", d.names[c.class], got, c.missed)
		}
		if got := text(wrong); got != c.wrong {
			t.Errorf("wrong of %s: %q, not %q", d.names[c.class], got, c.wrong)
		}
	}
}

// TestAutomatic counts the automatic slices of the sample by hand.
func TestAutomatic(t *testing.T) {
	d, s := sample()
	d.report.Mislabels = []Mislabel{{AssetID: "m1"}}
	d.automatic(s)
	want := map[string]string{
		"true positives": "r1 r2 r3", "true negatives": "", "false positives": "m1 w1", "false negatives": "m1 m2 w1",
		"low precision": "m1 w1", "low recall": "m1 m2 w1", "low F1": "m1 m2 w1", "low confidence": "r2", mislabelSlice: "m1",
	}
	if len(d.report.Automatic) != len(want) {
		t.Fatalf("%d slices", len(d.report.Automatic))
	}
	for _, a := range d.report.Automatic {
		if got := strings.Join(a.Assets, " "); got != want[a.Name] || int(a.Items) != len(a.Assets) {
			t.Errorf("%s: %d items, %q, not %q", a.Name, a.Items, got, want[a.Name])
		}
	}
}

// TestMatrix checks the cells of the page, None included.
func TestMatrix(t *testing.T) {
	a, b := "a", "b"
	r := &Report{Classes: []Class{{Name: a}, {Name: b}}, Confusion: []Confusion{{&a, &a, 2}, {&a, &b, 1}, {&a, nil, 1}, {nil, &b, 3}}}
	m := r.matrix()
	want := [][]int64{{2, 1, 1}, {0, 0, 0}, {0, 3, 0}}
	for i, row := range m.Rows {
		for j, c := range row.Cells {
			if c.N != want[i][j] || c.Right != (i == j && i < 2) {
				t.Errorf("%s, %s: %d, right %v", row.Name, m.Names[j], c.N, c.Right)
			}
		}
	}
	if m.Names[2] != "None" || m.Left != 0 {
		t.Errorf("names %v, left %d", m.Names, m.Left)
	}
}

func TestFlags(t *testing.T) {
	ok := Cmd{IoU: 0.5, MinSupport: 1, Size: 1}
	if err := ok.check(); err != nil {
		t.Fatal(err)
	}
	big := 1.5
	for _, c := range []struct {
		change func(*Cmd)
		want   string
	}{
		{func(c *Cmd) { c.IoU = 1.1 }, "--iou 1.1"},
		{func(c *Cmd) { c.Confidence = &big }, "--confidence 1.5"},
		{func(c *Cmd) { c.MinSupport = 0 }, "--min-support 0"},
		{func(c *Cmd) { c.Size = 0 }, "--size 0"},
		{func(c *Cmd) { c.Top = -1 }, "--top -1"},
		{func(c *Cmd) { c.Compare = []string{"m"} }, "two models"},
		{func(c *Cmd) { c.Compare = []string{"m", "m"} }, "two models"},
	} {
		cmd := ok
		c.change(&cmd)
		err := cmd.check()
		if _, usage := err.(*pipeline.UsageError); !usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want a usage error with %q, not %v", c.want, err)
		}
	}
}
