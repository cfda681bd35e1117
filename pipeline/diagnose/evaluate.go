package diagnose

import (
	"cmp"
	"slices"
)

// Cell is an entry of the confusion matrix. Truth and Guess are classes; the
// number of classes stands for None.
type Cell struct {
	Truth, Guess int
	N            int64
}

// Evaluation holds the counts of a set of items.
type Evaluation struct {
	Classes []Counts // by class
	All     Counts   // the sums
	Cells   []Cell   // of the confusion matrix that are not 0, by row and column
	Items   int64
}

// Tally adds up pairs, item by item.
type Tally struct {
	classes []Counts
	cells   map[[2]int]int64
	items   int64
	boxes   bool
}

// NewTally counts over classes numbered below classes. TN is counted unless the
// items have boxes.
func NewTally(classes int, boxes bool) *Tally {
	return &Tally{classes: make([]Counts, classes), cells: map[[2]int]int64{}, boxes: boxes}
}

// Add counts the pairs of one item.
func (t *Tally) Add(it *Item, pairs []Pair) {
	t.items++
	none := len(t.classes)
	for _, p := range pairs {
		truth, guess := none, none
		if p.Truth >= 0 {
			truth = it.Truth[p.Truth].Class
		}
		if p.Guess >= 0 {
			guess = it.Guess[p.Guess].Class
		}
		t.cells[[2]int{truth, guess}]++
		if truth == guess {
			t.classes[truth].TP++
			continue
		}
		if truth < none {
			t.classes[truth].FN++
		}
		if guess < none {
			t.classes[guess].FP++
		}
	}
}

// Result closes the count.
func (t *Tally) Result() *Evaluation {
	e := &Evaluation{Classes: slices.Clone(t.classes), Items: t.items}
	for i := range e.Classes {
		c := &e.Classes[i]
		if !t.boxes {
			c.TN = t.items - c.TP - c.FP - c.FN
		}
		e.All.Add(*c)
	}
	for k, n := range t.cells {
		e.Cells = append(e.Cells, Cell{k[0], k[1], n})
	}
	slices.SortFunc(e.Cells, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.Truth, b.Truth), cmp.Compare(a.Guess, b.Guess))
	})
	return e
}

// Matrix is the confusion matrix in full: rows are labels, columns guesses, the
// last of each is None.
func (e *Evaluation) Matrix() [][]int64 {
	n := len(e.Classes) + 1
	m := make([][]int64, n)
	for i := range m {
		m[i] = make([]int64, n)
	}
	for _, c := range e.Cells {
		m[c.Truth][c.Guess] = c.N
	}
	return m
}
