package diagnose

import (
	"math"

	"winnow/pipeline/diagnose"
)

// Report is what diagnose found.
type Report struct {
	Model      string   `json:"model"`
	Run        string   `json:"run"`
	Task       string   `json:"task"` // classification, multi-label or detection
	Where      string   `json:"where,omitempty"`
	IoU        float64  `json:"iou,omitempty"`
	Confidence float64  `json:"confidence"` // guesses below are not counted
	Items      int64    `json:"items"`
	Silent     int64    `json:"not_predicted"` // labeled, without a prediction, left out
	Warnings   []string `json:"warnings,omitempty"`

	Overall     Measures              `json:"overall"`
	MAP         *float64              `json:"mean_average_precision"` // over the classes that have one
	Calibration *diagnose.Calibration `json:"calibration"`
	Classes     []Class               `json:"classes"` // with a label or a guess, by name
	Confusion   []Confusion           `json:"confusion"`
	Slices      []Slice               `json:"slices,omitempty"` // by metadata
	Automatic   []Automatic           `json:"automatic_slices"`
	Mislabels   []Mislabel            `json:"mislabels,omitempty"`
	Functions   []Suggestion          `json:"functions,omitempty"`
	Removed     []string              `json:"removed,omitempty"`     // files of suggestions that are stale
	BatchWhere  string                `json:"batch_where,omitempty"` // a ready where: line
	Batches     []Batch               `json:"batches,omitempty"`
	Compared    *Comparison           `json:"comparison,omitempty"`
	Page        string                `json:"page"`
	Rows        string                `json:"rows"`
	Folder      string                `json:"functions_folder,omitempty"`
}

// Measures are counts and the rates that follow from them.
type Measures struct {
	diagnose.Counts
	Precision diagnose.Rate `json:"precision"`
	Recall    diagnose.Rate `json:"recall"`
	F1        diagnose.Rate `json:"f1"`
}

func measures(c diagnose.Counts) Measures { return Measures{c, c.Precision(), c.Recall(), c.F1()} }

// Class is one class. Its ECE is over the guesses of it.
type Class struct {
	Name string `json:"name"`
	Measures
	AP          *float64              `json:"average_precision"`
	Calibration *diagnose.Calibration `json:"calibration"`
	Low         []diagnose.Low        `json:"low,omitempty"`

	number int
}

// Confusion is a cell of the confusion matrix; a null class is None.
type Confusion struct {
	Truth *string `json:"label"`
	Guess *string `json:"prediction"`
	N     int64   `json:"n"`
}

// Slice are the items whose metadata field has one value.
type Slice struct {
	Field string `json:"field"`
	Value string `json:"value"`
	Items int64  `json:"items"`
	Measures
	Low []diagnose.Low `json:"low,omitempty"`
}

// Automatic is one of the nine slices that need no metadata. All its rows stand in
// rows.jsonl.
type Automatic struct {
	Name   string   `json:"name"`
	What   string   `json:"what"`
	Items  int64    `json:"items"`
	Assets []string `json:"assets,omitempty"` // the first
}

// bins of reliability diagrams.
const bins = 15

func known(x float64) *float64 {
	if math.IsNaN(x) {
		return nil
	}
	return &x
}

// evaluate fills the report with what follows from the pairs alone.
func (d *diagnosis) evaluate(s *subject) {
	r := d.report
	r.Model, r.Run, r.Items, r.Silent, r.Confidence, r.Where = s.model, d.w.App.Run, int64(len(s.items)), s.silent, d.threshold, d.Where
	switch {
	case d.boxes:
		r.Task, r.IoU = "detection", d.IoU
	case s.several:
		r.Task = "multi-label"
	default:
		r.Task = "classification"
	}
	tally := diagnose.NewTally(len(d.names), d.boxes)
	all := diagnose.NewReliability(bins)
	own := make([]*diagnose.Reliability, len(d.names))
	for c := range own {
		own[c] = diagnose.NewReliability(bins)
	}
	for i := range s.items {
		it := &s.items[i]
		tally.Add(it, s.pairs[i])
		for _, p := range s.pairs[i] {
			if p.Guess < 0 {
				continue
			}
			g := it.Guess[p.Guess]
			all.Add(g.Confidence, p.Right(it))
			own[g.Class].Add(g.Confidence, p.Right(it))
		}
	}
	s.eval = tally.Result()
	r.Overall, r.MAP, r.Calibration = measures(s.eval.All), known(diagnose.Mean(s.ap)), all.Result()
	for c, n := range s.eval.Classes {
		if n.Support()+n.Guessed() == 0 {
			continue
		}
		r.Classes = append(r.Classes, Class{Name: d.names[c], Measures: measures(n), AP: known(s.ap[c]), Calibration: own[c].Result(),
			Low: diagnose.Lows(n, s.eval.All, d.MinSupport), number: c})
	}
	for _, c := range s.eval.Cells {
		r.Confusion = append(r.Confusion, Confusion{d.className(c.Truth), d.className(c.Guess), c.N})
	}
	if s.silent > 0 {
		d.warn("%d labeled items have no prediction of %s and are left out; count them as missed with --all", s.silent, s.model)
	}
}

// className is nil for None.
func (d *diagnosis) className(c int) *string {
	if c >= len(d.names) {
		return nil
	}
	return &d.names[c]
}

// mostShown is how many assets a report lists where all stand in rows.jsonl.
const mostShown = 50

// state is what the automatic slices ask of one item.
type state struct{ right, wrongGuess, missed, guesses, labels int }

func stateOf(it *diagnose.Item, pairs []diagnose.Pair) (s state) {
	for _, p := range pairs {
		if p.Guess >= 0 {
			s.guesses++
		}
		if p.Truth >= 0 {
			s.labels++
		}
		switch {
		case p.Right(it):
			s.right++
		default:
			if p.Guess >= 0 {
				s.wrongGuess++
			}
			if p.Truth >= 0 {
				s.missed++
			}
		}
	}
	return s
}

// weak is the rate, and the confidence, below which an item is in a low slice, as
// in Labelbox.
const weak = 0.5

// automaticSlices are Labelbox's nine. The last, mislabels, is filled from the
// list of them.
var automaticSlices = []struct {
	name, what string
	in         func(it *diagnose.Item, s state) bool
}{
	{"true positives", "a prediction is right", func(_ *diagnose.Item, s state) bool { return s.right > 0 }},
	{"true negatives", "nothing is there, and nothing was predicted", func(_ *diagnose.Item, s state) bool { return s.labels+s.guesses == 0 }},
	{"false positives", "a prediction is wrong", func(_ *diagnose.Item, s state) bool { return s.wrongGuess > 0 }},
	{"false negatives", "a label was missed", func(_ *diagnose.Item, s state) bool { return s.missed > 0 }},
	{"low precision", "less than half of the item's predictions are right", func(_ *diagnose.Item, s state) bool {
		return s.guesses > 0 && float64(s.right) < weak*float64(s.guesses)
	}},
	{"low recall", "less than half of the item's labels were found", func(_ *diagnose.Item, s state) bool {
		return s.labels > 0 && float64(s.right) < weak*float64(s.labels)
	}},
	{"low F1", "the item's F1 is below a half", func(_ *diagnose.Item, s state) bool {
		return s.labels+s.guesses > 0 && 2*float64(s.right) < weak*float64(s.labels+s.guesses)
	}},
	{"low confidence", "a prediction has a confidence below a half", func(it *diagnose.Item, _ state) bool {
		for _, g := range it.Guess {
			if g.Confidence < weak {
				return true
			}
		}
		return false
	}},
}

const mislabelSlice = "candidate mislabels"

// slicesOf names the automatic slices of an item.
func slicesOf(it *diagnose.Item, pairs []diagnose.Pair) (names []string) {
	s := stateOf(it, pairs)
	for _, a := range automaticSlices {
		if a.in(it, s) {
			names = append(names, a.name)
		}
	}
	return names
}

// automatic fills the nine slices.
func (d *diagnosis) automatic(s *subject) {
	r := d.report
	at := map[string]int{}
	for i, a := range automaticSlices {
		r.Automatic = append(r.Automatic, Automatic{Name: a.name, What: a.what})
		at[a.name] = i
	}
	for i := range s.items {
		for _, n := range slicesOf(&s.items[i], s.pairs[i]) {
			a := &r.Automatic[at[n]]
			if a.Items++; len(a.Assets) < mostShown {
				a.Assets = append(a.Assets, s.items[i].ID)
			}
		}
	}
	m := Automatic{Name: mislabelSlice, What: "the label is likely wrong", Items: int64(len(r.Mislabels))}
	for _, x := range r.Mislabels[:min(len(r.Mislabels), mostShown)] {
		m.Assets = append(m.Assets, x.AssetID)
	}
	r.Automatic = append(r.Automatic, m)
}
