package text

import (
	"slices"
	"strings"
)

// trie maps byte strings to ids. It is a double array in the plain sense: the
// child of node s by byte c is at base[s]+c if check there is s.
type trie struct {
	cells []cell
}

type cell struct {
	base  int32 // where the children begin
	check int32 // the parent; -1 free
	id    int32 // of the string that ends here; -1 none
}

type entry struct {
	s  string
	id int32
}

type trieBuilder struct{ entries []entry }

func newTrieBuilder() *trieBuilder { return &trieBuilder{} }

func (b *trieBuilder) add(s string, id int32) {
	if s != "" {
		b.entries = append(b.entries, entry{s, id})
	}
}

// build lays out the double array: breadth first, each node's children at the
// first base where all of them are free.
func (b *trieBuilder) build() *trie {
	slices.SortStableFunc(b.entries, func(a, b entry) int { return strings.Compare(a.s, b.s) })
	b.entries = slices.CompactFunc(b.entries, func(a, b entry) bool { return a.s == b.s })
	t := &trie{}
	t.grow(1024)
	t.cells[0].check = 0
	type node struct {
		at, lo, hi, depth int
	}
	queue := []node{{0, 0, len(b.entries), 0}}
	next := 1 // no base below it was free lately
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		lo := n.lo
		if lo < n.hi && len(b.entries[lo].s) == n.depth {
			t.cells[n.at].id = b.entries[lo].id
			lo++
		}
		if lo == n.hi {
			continue
		}
		var kids []node
		var labels []byte
		for i := lo; i < n.hi; {
			c := b.entries[i].s[n.depth]
			j := i
			for j < n.hi && b.entries[j].s[n.depth] == c {
				j++
			}
			labels, kids = append(labels, c), append(kids, node{0, i, j, n.depth + 1})
			i = j
		}
		base := t.place(labels, &next)
		t.cells[n.at].base = int32(base)
		for k, c := range labels {
			kids[k].at = base + int(c)
			t.cells[kids[k].at].check = int32(n.at)
		}
		queue = append(queue, kids...)
	}
	return t
}

func (t *trie) grow(n int) {
	for old := len(t.cells); old < n; old = len(t.cells) {
		t.cells = append(t.cells, make([]cell, max(n-old, old))...)
		for i := range t.cells[old:] {
			t.cells[old+i] = cell{check: -1, id: -1}
		}
	}
}

// place finds a base where all labels are free.
func (t *trie) place(labels []byte, next *int) int {
	misses := 0
	for base := *next; ; base++ {
		t.grow(base + 257)
		free := true
		for _, c := range labels {
			if t.cells[base+int(c)].check >= 0 {
				free = false
				break
			}
		}
		if free {
			return base
		}
		if misses++; misses == 64 { // what is this full is not searched again
			*next = base - 32
		}
	}
}

// prefixes calls fn for every string of the trie that s begins with, the
// shortest first.
func (t *trie) prefixes(s []byte, fn func(length int, id int32)) {
	cells := t.cells
	at := int32(0)
	for i, c := range s {
		next := cells[at].base + int32(c)
		if int(next) >= len(cells) || cells[next].check != at || next == 0 {
			return
		}
		at = next
		if id := cells[at].id; id >= 0 {
			fn(i+1, id)
		}
	}
}
