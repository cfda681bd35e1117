package text

import (
	"errors"
	"slices"
	"strings"
)

// trie maps byte strings to numbers. It is a double array: the child of a node
// for byte c stands at the node's base + c, and knows that c led to it. As no two
// nodes share a base, that is enough to know its parent. A step costs one load.
//
// A unit holds, from its low bits: the byte that leads to it (8), whether it is
// used (1), its value + 1 (23), its base (32).
type trie struct{ units []uint64 }

const (
	unitUsed  = 1 << 8
	unitLabel = unitUsed | 0xff
	maxValue  = 1<<23 - 2
)

func unitValue(u uint64) int32 { return int32(u>>9&(1<<23-1)) - 1 }

// step follows byte c from a unit. ok is false where there is no such child.
func (t *trie) step(u uint64, c byte) (uint64, bool) {
	at := u>>32 + uint64(c)
	if at >= uint64(len(t.units)) {
		return 0, false
	}
	u = t.units[at]
	return u, u&unitLabel == unitUsed|uint64(c)
}

func (t *trie) root() uint64 { return t.units[0] }

// find returns the number of a key, or -1.
func (t *trie) find(key []byte) int32 {
	if u := t.walk(t.root(), key); u != 0 {
		return unitValue(u)
	}
	return -1
}

// walk follows bytes from a unit; 0 where they lead nowhere.
func (t *trie) walk(u uint64, path []byte) uint64 {
	ok := true
	for _, c := range path {
		if u, ok = t.step(u, c); !ok {
			return 0
		}
	}
	return u
}

// longest is the length of the longest key at the front of s, 0 where there is none.
func (t *trie) longest(s []byte) int {
	n := 0
	u, ok := t.root(), true
	for i := 0; i < len(s); i++ {
		if u, ok = t.step(u, s[i]); !ok {
			break
		}
		if unitValue(u) >= 0 {
			n = i + 1
		}
	}
	return n
}

type trieKey struct {
	key   string
	value int32
}

// newTrie builds a trie of keys without duplicates, none of them empty.
func newTrie(keys []trieKey) (*trie, error) {
	slices.SortFunc(keys, func(a, b trieKey) int { return strings.Compare(a.key, b.key) })
	for i, k := range keys {
		if k.key == "" || k.value < 0 || k.value > maxValue {
			return nil, errors.New("an empty piece, or too many")
		}
		if i > 0 && keys[i-1].key == k.key {
			return nil, errors.New("the piece " + k.key + " is there twice")
		}
	}
	b := &trieBuilder{t: &trie{}}
	b.grow()
	b.take(0)
	b.t.units[0] = unitUsed | 1 // the label keeps the zero byte after a childless node, base 0, from leading here
	b.build(keys)
	return b.t, nil
}

type trieBuilder struct {
	t     *trie
	next  []int32 // list of free cells, -1 ends it
	prev  []int32
	first int32
	based []bool // bases in use
}

// block is how many cells are added at a time.
const block = 1 << 12

func (b *trieBuilder) grow() {
	n := int32(len(b.next))
	last := int32(-1)
	if n == 0 {
		b.first = -1
	}
	for i := b.first; i >= 0; i = b.next[i] {
		last = i
	}
	b.t.units = append(b.t.units, make([]uint64, block)...)
	b.next = append(b.next, make([]int32, block)...)
	b.prev = append(b.prev, make([]int32, block)...)
	b.based = append(b.based, make([]bool, block)...)
	for i := n; i < n+block; i++ {
		b.prev[i], b.next[i] = last, -1
		if last >= 0 {
			b.next[last] = i
		} else {
			b.first = i
		}
		last = i
	}
}

func (b *trieBuilder) free(i int32) bool { return b.t.units[i]&unitUsed == 0 }

// take removes a cell from the free list.
func (b *trieBuilder) take(i int32) {
	if p := b.prev[i]; p >= 0 {
		b.next[p] = b.next[i]
	} else {
		b.first = b.next[i]
	}
	if n := b.next[i]; n >= 0 {
		b.prev[n] = b.prev[i]
	}
	b.t.units[i] |= unitUsed
}

// work is a node whose children are still to be placed: its cell, and the range
// of keys below it.
type work struct {
	cell   int32
	lo, hi int
	depth  int
}

func (b *trieBuilder) build(keys []trieKey) {
	queue := []work{{0, 0, len(keys), 0}}
	var labels []byte
	var starts []int
	for len(queue) > 0 {
		w := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		lo := w.lo
		if lo < w.hi && len(keys[lo].key) == w.depth { // ends here
			b.t.units[w.cell] |= uint64(keys[lo].value+1) << 9
			lo++
		}
		labels, starts = labels[:0], starts[:0]
		for i := lo; i < w.hi; i++ {
			if c := keys[i].key[w.depth]; len(labels) == 0 || labels[len(labels)-1] != c {
				labels, starts = append(labels, c), append(starts, i)
			}
		}
		if len(labels) == 0 {
			continue
		}
		base := b.place(labels)
		b.based[base] = true
		b.t.units[w.cell] |= uint64(base) << 32
		starts = append(starts, w.hi)
		for k, c := range labels {
			cell := base + int32(c)
			b.take(cell)
			b.t.units[cell] |= uint64(c)
			queue = append(queue, work{cell, starts[k], starts[k+1], w.depth + 1})
		}
	}
}

// place finds a base where all children fall on free cells. Only so many free
// cells are tried: near the front they become few and scattered.
func (b *trieBuilder) place(labels []byte) int32 {
	tries := 0
	for p := b.first; p >= 0 && tries < 256; p = b.next[p] {
		tries++
		if base := p - int32(labels[0]); b.fits(base, labels) {
			return base
		}
	}
	// Far enough behind everything, it always fits.
	at := int32(len(b.t.units))
	b.grow()
	for base := at - int32(labels[0]); ; base++ {
		if b.fits(base, labels) {
			return base
		}
	}
}

func (b *trieBuilder) fits(base int32, labels []byte) bool {
	// A base of 0 would make childless nodes, whose base is 0, its parents.
	if base < 1 || b.based[base] {
		return false
	}
	for _, c := range labels {
		at := base + int32(c)
		for at >= int32(len(b.t.units)) {
			b.grow()
		}
		if !b.free(at) {
			return false
		}
	}
	return true
}
