package diagnose

import (
	"cmp"
	"math"
	"slices"
)

// Object is a label or a guess: of a whole item, or of a box in it.
type Object struct {
	Class      int
	Confidence float64 // of a guess, in [0, 1]; NaN where the model gave none
	Box        Box
	Crowd      bool // of a labeled box: many objects, guesses within are ignored
}

// Box is a rectangle in pixels: its corner of least x and y, and its size. The
// zero Box is none.
type Box struct{ X, Y, W, H float64 }

// None reports whether there is no box.
func (b Box) None() bool { return b == Box{} }

// IoU is intersection over union as COCO takes it: no pixel is added to a size,
// and the union with a crowd is the other box alone. 0 where a box has no area.
func IoU(guess, truth Box, crowd bool) float64 {
	w := min(guess.X+guess.W, truth.X+truth.W) - max(guess.X, truth.X)
	h := min(guess.Y+guess.H, truth.Y+truth.H) - max(guess.Y, truth.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	inter := w * h
	union := guess.W * guess.H
	if !crowd {
		union += truth.W*truth.H - inter
	}
	return inter / union
}

// Score is one probability of a distribution over classes.
type Score struct {
	Class int
	P     float64
}

// Item is a labeled asset, or a labeled object of one.
type Item struct {
	ID     string // of the asset
	Object string // of the object; "" for a whole asset
	Truth  []Object
	Guess  []Object
	Scores []Score // the model's probabilities, where it gave them; others are 0
}

// Pair joins a label and a guess of one item: indices into Truth and Guess, -1
// where there is none.
type Pair struct {
	Truth, Guess int
	IoU          float64 // of boxes
}

// Right reports whether label and guess are of one class.
func (p Pair) Right(it *Item) bool {
	return p.Truth >= 0 && p.Guess >= 0 && it.Truth[p.Truth].Class == it.Guess[p.Guess].Class
}

// MostBoxes is how many guesses of a class COCO looks at in one picture: the
// most confident ones.
const MostBoxes = 100

// Match pairs the labels of an item with its guesses; each is in one pair.
//
// Without boxes, equal classes are paired. If then one label and one guess are
// left, they are a confusion of the two; otherwise each stands alone.
//
// With boxes, the guesses of each class take, by falling confidence, the label of
// their class with the highest IoU of at least iou, as COCO does (crowds, and
// guesses on them, are left out). What is left is paired across classes in the
// same way: a confusion.
func Match(it *Item, boxes bool, iou float64) []Pair {
	if boxes {
		return matchBoxes(it, iou)
	}
	pairs := make([]Pair, 0, max(len(it.Truth), len(it.Guess)))
	used := make([]bool, len(it.Guess))
	var missed []int
	for t := range it.Truth {
		g := slices.IndexFunc(it.Guess, func(g Object) bool { return g.Class == it.Truth[t].Class })
		if g < 0 {
			missed = append(missed, t)
			continue
		}
		used[g] = true
		pairs = append(pairs, Pair{Truth: t, Guess: g})
	}
	var extra []int
	for g := range it.Guess {
		if !used[g] {
			extra = append(extra, g)
		}
	}
	if len(missed) == 1 && len(extra) == 1 {
		return append(pairs, Pair{Truth: missed[0], Guess: extra[0]})
	}
	return append(pairs, alone(missed, extra)...)
}

func alone(missed, extra []int) []Pair {
	out := make([]Pair, 0, len(missed)+len(extra))
	for _, t := range missed {
		out = append(out, Pair{Truth: t, Guess: -1})
	}
	for _, g := range extra {
		out = append(out, Pair{Truth: -1, Guess: g})
	}
	return out
}

// byConfidence orders guesses by falling confidence, equal ones as they stand.
func byConfidence(it *Item, keep func(Object) bool) []int {
	var order []int
	for g := range it.Guess {
		if keep == nil || keep(it.Guess[g]) {
			order = append(order, g)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(sure(it.Guess[b]), sure(it.Guess[a]))
	})
	return order
}

// sure is a guess's confidence; one without counts as certain, as all of them
// then do.
func sure(o Object) float64 {
	if math.IsNaN(o.Confidence) {
		return 1
	}
	return o.Confidence
}

func matchBoxes(it *Item, iou float64) []Pair {
	taken := make([]bool, len(it.Truth))
	out := make([]bool, len(it.Guess)) // paired, or ignored
	var pairs []Pair
	for _, class := range classesOf(it.Guess) {
		for i, v := range cocoMatch(it, class, iou) {
			switch {
			case v.truth >= 0 && it.Truth[v.truth].Crowd, i >= MostBoxes:
				out[v.guess] = true
			case v.truth >= 0:
				out[v.guess], taken[v.truth] = true, true
				pairs = append(pairs, Pair{v.truth, v.guess, v.iou})
			}
		}
	}
	for _, g := range byConfidence(it, nil) {
		if out[g] {
			continue
		}
		best, at := min(iou, 1-1e-10), -1
		for t := range it.Truth {
			if taken[t] || it.Truth[t].Crowd || it.Truth[t].Class == it.Guess[g].Class {
				continue
			}
			if u := IoU(it.Guess[g].Box, it.Truth[t].Box, false); u >= best {
				best, at = u, t
			}
		}
		if at >= 0 {
			out[g], taken[at] = true, true
			pairs = append(pairs, Pair{at, g, best})
		}
	}
	var missed, extra []int
	for t := range taken {
		if !taken[t] && !it.Truth[t].Crowd {
			missed = append(missed, t)
		}
	}
	for g := range out {
		if !out[g] {
			extra = append(extra, g)
		}
	}
	return append(pairs, alone(missed, extra)...)
}

func classesOf(list []Object) []int {
	var out []int
	for _, o := range list {
		out = append(out, o.Class)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// verdict is what became of one guess.
type verdict struct {
	guess, truth int // truth is -1 where none fits
	iou          float64
}

// cocoMatch matches the guesses of a class in the order of COCO's evaluateImg: a
// label that is no crowd is taken once, and preferred to a crowd; of equal
// overlaps the later label is taken.
func cocoMatch(it *Item, class int, iou float64) []verdict {
	same := func(o Object) bool { return o.Class == class }
	guesses := byConfidence(it, same)
	var truths []int
	for _, crowd := range []bool{false, true} {
		for t := range it.Truth {
			if same(it.Truth[t]) && it.Truth[t].Crowd == crowd {
				truths = append(truths, t)
			}
		}
	}
	taken := map[int]bool{}
	out := make([]verdict, 0, len(guesses))
	for i, g := range guesses {
		v := verdict{g, -1, 0}
		best := min(iou, 1-1e-10)
		for _, t := range truths {
			if i >= MostBoxes {
				break
			}
			crowd := it.Truth[t].Crowd
			if taken[t] && !crowd {
				continue
			}
			if v.truth >= 0 && crowd && !it.Truth[v.truth].Crowd {
				break
			}
			if u := IoU(it.Guess[g].Box, it.Truth[t].Box, crowd); u >= best {
				best, v.truth, v.iou = u, t, u
			}
		}
		if v.truth >= 0 {
			taken[v.truth] = true
		}
		out = append(out, v)
	}
	return out
}
