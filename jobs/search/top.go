package search

import (
	"slices"
	"strings"
)

// hit is a row that a search found, and where it stands when a scan found it.
type hit struct {
	id    string
	score float32
	file  int
	row   int64
}

// compare orders hits: the higher score first, equal ones by id.
func compare(a, b hit) int {
	switch {
	case a.score > b.score:
		return -1
	case a.score < b.score:
		return 1
	}
	return strings.Compare(a.id, b.id)
}

// top keeps the k first hits, in a heap whose root is the last of them.
type top struct {
	k    int
	heap []hit
}

// wants reports whether a row of this score and id would be kept.
func (t *top) wants(score float32, id string) bool {
	if len(t.heap) < t.k {
		return true
	}
	return t.k > 0 && compare(hit{id: id, score: score}, t.heap[0]) < 0
}

// add keeps a hit that is wanted.
func (t *top) add(h hit) {
	if len(t.heap) < t.k {
		t.heap = append(t.heap, h)
		for i := len(t.heap) - 1; i > 0; {
			up := (i - 1) / 2
			if compare(t.heap[up], t.heap[i]) > 0 {
				break
			}
			t.heap[up], t.heap[i] = t.heap[i], t.heap[up]
			i = up
		}
		return
	}
	t.heap[0] = h
	for i := 0; ; {
		last := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(t.heap) && compare(t.heap[c], t.heap[last]) > 0 {
				last = c
			}
		}
		if last == i {
			return
		}
		t.heap[i], t.heap[last] = t.heap[last], t.heap[i]
		i = last
	}
}

// sorted are the hits in order.
func (t *top) sorted() []hit {
	slices.SortFunc(t.heap, compare)
	return t.heap
}
