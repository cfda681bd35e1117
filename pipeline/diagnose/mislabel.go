package diagnose

import (
	"cmp"
	"math"
	"slices"

	"winnow/pipeline/vec"
)

// Doubt is a label that is likely wrong.
type Doubt struct {
	Item    int     // index of the item
	Given   int     // the class that the label names
	Likely  int     // the class that it should name: the most probable one
	Quality float64 // of the label, in [0, 1]; the lower, the more doubtful
}

// Spread is the distribution that stands for a single confidence: the guessed
// class has it, the other classes share the rest.
func Spread(guess Object, classes int) []Score {
	out := make([]Score, classes)
	for c := range out {
		out[c] = Score{c, 0}
		if c == guess.Class {
			out[c].P = guess.Confidence
		} else if classes > 1 {
			out[c].P = (1 - guess.Confidence) / float64(classes-1)
		}
	}
	return out
}

// Confident finds labels that are likely wrong by confident learning (Northcutt,
// Jiang and Chuang, 2021): a class is believed of an item where its probability
// reaches the mean probability of the class among the items labeled so; an item
// that is believed to be of another class than its label, and most probably is,
// is in doubt. items have one label and Scores each, others are passed over.
// Quality is the normalised margin, (1 + p(label) − p(best other class))/2. The
// most doubtful come first.
func Confident(items []Item, classes int) []Doubt {
	usable := func(it *Item) bool { return len(it.Truth) == 1 && it.Scores != nil }
	sum, n := make([]float64, classes), make([]float64, classes)
	for i := range items {
		it := &items[i]
		if !usable(it) {
			continue
		}
		c := it.Truth[0].Class
		n[c]++
		sum[c] += probability(it, c)
	}
	threshold := make([]float64, classes)
	for c := range threshold {
		threshold[c] = math.Inf(1) // of a class without labels nothing is believed
		if n[c] > 0 {
			threshold[c] = max(sum[c]/n[c], 1e-6) - 1e-6 // rounding must not decide
		}
	}
	var out []Doubt
	p := make([]float64, classes)
	for i := range items {
		it := &items[i]
		if !usable(it) {
			continue
		}
		clear(p)
		for _, s := range it.Scores {
			p[s.Class] = s.P
		}
		given := it.Truth[0].Class
		believed, most := -1, 0
		for c := range p {
			if p[c] > p[most] {
				most = c
			}
			if p[c] >= threshold[c] {
				if believed >= 0 {
					believed = -2 // more than one: the most probable class counts
				} else if believed == -1 {
					believed = c
				}
			}
		}
		if believed == -2 {
			believed = most
		}
		if believed < 0 || believed == given || most == given {
			continue
		}
		out = append(out, Doubt{i, given, most, margin(p, given)})
	}
	byQuality(out)
	return out
}

func probability(it *Item, class int) float64 {
	for _, s := range it.Scores {
		if s.Class == class {
			return s.P
		}
	}
	return 0
}

func margin(p []float64, given int) float64 {
	other := 0.0
	for c, x := range p {
		if c != given {
			other = max(other, x)
		}
	}
	return (1 + p[given] - other) / 2
}

func byQuality(list []Doubt) {
	slices.SortStableFunc(list, func(a, b Doubt) int { return cmp.Compare(a.Quality, b.Quality) })
}

// Margins is what Confident's quality is for every item, in doubt or not, in [0, 1];
// NaN where an item has not one label and Scores.
func Margins(items []Item, classes int) []float64 {
	out := make([]float64, len(items))
	p := make([]float64, classes)
	for i := range items {
		it := &items[i]
		if len(it.Truth) != 1 || it.Scores == nil {
			out[i] = math.NaN()
			continue
		}
		clear(p)
		for _, s := range it.Scores {
			p[s.Class] = s.P
		}
		out[i] = margin(p, it.Truth[0].Class)
	}
	return out
}

// Poll is what the nearest labeled rows say of one row's label: Own of Asked have
// the same, Most have the class Other, the most frequent of the others; -1 and 0
// where there is none.
type Poll struct{ Asked, Own, Other, Most int }

// Doubtful reports that at least two thirds of the neighbours have one other class,
// and at most a fifth the label's own.
func (p Poll) Doubtful() bool { return p.Other >= 0 && 3*p.Most >= 2*p.Asked && 5*p.Own <= p.Asked }

// Margin is to neighbours what Confident's quality is to a model: (1 + share of the
// label's class − share of the most frequent other one)/2, in [0, 1].
func (p Poll) Margin() float64 { return (1 + float64(p.Own-p.Most)/float64(p.Asked)) / 2 }

// Neighbours asks the k nearest labeled rows of each of the first queries rows, and
// lists those that are in doubt (see Poll.Doubtful), with the share of neighbours of
// the same label as Quality, the most doubtful first. All rows are neighbours, none is
// its own. rows are vectors of dim numbers of length 1; label holds their classes. Of
// one row there is nothing to ask. Time grows with queries × rows, memory does not.
func Neighbours(rows []float32, dim int, label []int, queries, k, classes int) (list []Doubt, polls []Poll) {
	const block = 256
	n := len(label)
	if k = min(k, n-1); k < 1 {
		return nil, nil
	}
	polls = make([]Poll, 0, queries)
	scores := make([]float32, block*block)
	tops := make([][]neighbour, block)
	votes := make([]int, classes)
	for lo := 0; lo < queries; lo += block {
		hi := min(lo+block, queries)
		for i := range tops {
			tops[i] = tops[i][:0]
		}
		for rlo := 0; rlo < n; rlo += block {
			rhi := min(rlo+block, n)
			m := rhi - rlo
			vec.MulABT(hi-lo, m, dim, rows[lo*dim:hi*dim], rows[rlo*dim:rhi*dim], scores)
			for q := range hi - lo {
				for j, s := range scores[q*m : (q+1)*m] {
					if rlo+j != lo+q {
						tops[q] = insert(tops[q], neighbour{rlo + j, s}, k)
					}
				}
			}
		}
		for q := range hi - lo {
			p := poll(tops[q], label, label[lo+q], votes)
			if polls = append(polls, p); p.Doubtful() {
				list = append(list, Doubt{lo + q, label[lo+q], p.Other, float64(p.Own) / float64(p.Asked)})
			}
		}
	}
	byQuality(list)
	return list, polls
}

// poll counts the neighbours' labels; votes is room for a number a class. Of classes
// as frequent as each other the nearest row's counts.
func poll(near []neighbour, label []int, given int, votes []int) Poll {
	clear(votes)
	for _, x := range near {
		votes[label[x.row]]++
	}
	p := Poll{Asked: len(near), Own: votes[given], Other: -1}
	for _, x := range near {
		if c := label[x.row]; c != given && votes[c] > p.Most {
			p.Other, p.Most = c, votes[c]
		}
	}
	return p
}

type neighbour struct {
	row  int
	like float32
}

// insert keeps the k nearest by falling likeness; of equals the earlier row.
func insert(top []neighbour, x neighbour, k int) []neighbour {
	if len(top) == k && !(x.like > top[k-1].like) {
		return top
	}
	at, _ := slices.BinarySearchFunc(top, x, func(a, b neighbour) int {
		if a.like >= b.like {
			return -1
		}
		return 1
	})
	top = slices.Insert(top, at, x)
	return top[:min(len(top), k)]
}
