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

// Neighbours finds labels that the nearest labeled rows contradict: at least two
// thirds of the k nearest have one other class, and at most a fifth the label's
// own. rows are vectors of dim numbers of length 1; label holds their classes.
// The first queries rows are looked at, all of them are neighbours. Quality is
// the share of neighbours with the same label. Time grows with queries × rows,
// memory does not.
func Neighbours(rows []float32, dim int, label []int, queries, k, classes int) []Doubt {
	const block = 256
	n := len(label)
	if k = min(k, n-1); k < 1 {
		return nil
	}
	var out []Doubt
	near := make([]neighbour, 0, k+1)
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
			clear(votes)
			near = append(near[:0], tops[q]...)
			given := label[lo+q]
			best := -1
			for _, x := range near {
				c := label[x.row]
				votes[c]++
				if c != given && (best < 0 || votes[c] > votes[best]) {
					best = c
				}
			}
			if best >= 0 && 3*votes[best] >= 2*k && 5*votes[given] <= k {
				out = append(out, Doubt{lo + q, given, best, float64(votes[given]) / float64(k)})
			}
		}
	}
	byQuality(out)
	return out
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
