package diagnose

import (
	"cmp"
	"math"
	"slices"
)

// ranked is one guess of a class.
type ranked struct {
	score float64
	right bool
	count int64 // how many such
}

// AveragePrecision is the area under the precision-recall curve without
// interpolation, Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores, for every class of
// items without boxes. An item's score for a class is its probability where the
// model gave them, else the confidence of a guess of that class; others are 0. A
// class without a label, and all of them where there are no confidences, is NaN.
func AveragePrecision(items []Item, classes int) []float64 {
	lists := make([][]ranked, classes)
	support := make([]int64, classes)
	known := false
	for i := range items {
		it := &items[i]
		for _, t := range it.Truth {
			support[t.Class]++
		}
		for _, s := range scoresOf(it) {
			known = true
			right := slices.ContainsFunc(it.Truth, func(t Object) bool { return t.Class == s.Class })
			lists[s.Class] = append(lists[s.Class], ranked{s.P, right, 1})
		}
	}
	out := make([]float64, classes)
	for c := range out {
		out[c] = math.NaN()
		if known && support[c] > 0 {
			out[c] = averagePrecision(lists[c], support[c], int64(len(items)))
		}
	}
	return out
}

// scoresOf are the scores of an item that are not 0 of themselves.
func scoresOf(it *Item) []Score {
	if it.Scores != nil {
		return it.Scores
	}
	var out []Score
	for _, g := range it.Guess {
		if !math.IsNaN(g.Confidence) {
			out = append(out, Score{g.Class, g.Confidence})
		}
	}
	return out
}

// averagePrecision ranks list, and the rest of total items at score 0; positives
// of them are right.
func averagePrecision(list []ranked, positives, total int64) float64 {
	right := int64(0)
	for _, r := range list {
		if r.right {
			right++
		}
	}
	rest := total - int64(len(list))
	list = append(slices.Clone(list), ranked{0, true, positives - right}, ranked{0, false, rest - (positives - right)})
	slices.SortFunc(list, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	var sum float64
	var tp, all, before int64
	for i := 0; i < len(list); {
		at := list[i].score
		for ; i < len(list) && list[i].score == at; i++ {
			all += list[i].count
			if list[i].right {
				tp += list[i].count
			}
		}
		if tp > before {
			sum += float64(tp-before) / float64(positives) * float64(tp) / float64(all)
			before = tp
		}
	}
	return sum
}

// BoxPrecision is COCO's average precision of every class at one IoU: precision
// made falling from the right, read off at the recalls 0, 0.01, … 1. Guesses of
// equal confidence rank in the order of items. A class without a label that is no
// crowd is NaN.
func BoxPrecision(items []Item, classes int, iou float64) []float64 {
	type found struct {
		score float64
		right bool
	}
	lists := make([][]found, classes)
	support := make([]int64, classes)
	for i := range items {
		it := &items[i]
		for _, t := range it.Truth {
			if !t.Crowd {
				support[t.Class]++
			}
		}
		for _, class := range classesOf(it.Guess) {
			vs := cocoMatch(it, class, iou)
			for _, v := range vs[:min(len(vs), MostBoxes)] {
				if v.truth < 0 || !it.Truth[v.truth].Crowd {
					lists[class] = append(lists[class], found{sure(it.Guess[v.guess]), v.truth >= 0})
				}
			}
		}
	}
	out := make([]float64, classes)
	for c, list := range lists {
		if out[c] = math.NaN(); support[c] == 0 {
			continue
		}
		slices.SortStableFunc(list, func(a, b found) int { return cmp.Compare(b.score, a.score) })
		recall, precision := make([]float64, len(list)), make([]float64, len(list))
		tp := 0
		for i, f := range list {
			if f.right {
				tp++
			}
			recall[i] = float64(tp) / float64(support[c])
			precision[i] = float64(tp) / float64(i+1)
		}
		for i := len(precision) - 1; i > 0; i-- {
			precision[i-1] = max(precision[i-1], precision[i])
		}
		out[c] = 0
		for k := range 101 {
			at, _ := slices.BinarySearch(recall, float64(k)*0.01)
			if at < len(precision) {
				out[c] += precision[at]
			}
		}
		out[c] /= 101
	}
	return out
}

// Mean is the mean of the numbers that are known.
func Mean(list []float64) float64 {
	var sum float64
	n := 0
	for _, x := range list {
		if !math.IsNaN(x) {
			sum, n = sum+x, n+1
		}
	}
	return sum / float64(n)
}
