package text

import (
	"slices"
	"sync"
)

// merger cuts a text as SentencePiece's BPE models do: it starts from characters,
// and of all neighbours that are a piece together it merges those with the best
// score, the leftmost first, until there are none.
type merger struct {
	trie   *trie // of all pieces, also unused ones
	user   *trie // pieces that are found before anything is merged, and stay whole; or nil
	scores []float32
	unk    int32
	bytes  []int64   // ids of byte pieces where unknown characters fall back to them
	unused []bool    // by id; nil: none is
	words  bool      // words can be cut one by one
	rooms  sync.Pool // of *mergeRoom
}

func newMerger(v *vocabulary, user *trie) (*merger, error) {
	m := &merger{user: user, scores: v.scores, unk: v.unk, bytes: v.bytes, words: splits(v.keys)}
	m.rooms.New = func() any { return new(mergeRoom) }
	keys := slices.Concat(v.keys, v.unused)
	if len(v.unused) > 0 {
		// How an unused piece is taken apart depends on the whole text.
		m.unused, m.words = make([]bool, len(v.scores)), false
		for _, k := range v.unused {
			m.unused[k.value] = true
		}
	}
	var err error
	m.trie, err = newTrie(keys)
	return m, err
}

// symbol is a part of the text that may still be merged.
type symbol struct {
	start, end int32  // end is start where it went into its left neighbour
	prev, next int32  // -1: none
	unit       uint64 // the trie's, where the symbol leads; 0: nowhere
	whole      bool   // a piece that a user defined
}

// pair are neighbours that are a piece together.
type pair struct {
	score       float32
	left, right int32
	size        int32
	unit        uint64
}

func (p pair) before(q pair) bool {
	return p.score > q.score || p.score == q.score && p.left < q.left
}

// mergeRoom is what encode needs for a text.
type mergeRoom struct {
	symbols []symbol
	queue   []pair // a heap
	parts   map[string]int
	known   words
}

// encode implements segmenter.
func (m *merger) encode(text []byte, dst []int64) []int64 {
	r := m.rooms.Get().(*mergeRoom)
	from := len(dst)
	for len(text) > 0 {
		at := len(dst)
		n := len(text)
		if m.words {
			n = wordLen(text)
		}
		if !m.words || n > longestWord {
			dst = m.word(text[:n], r, dst)
		} else if w, ok := r.known.at(text[:n]); ok {
			for _, id := range w.ids[:w.n] {
				dst = append(dst, int64(id))
			}
		} else {
			dst = m.word(text[:n], r, dst)
			if !slices.Contains(dst[at:], int64(m.unk)) {
				w.set(text[:n], dst[at:])
			}
		}
		dst = joinUnknown(dst, from, at, m.unk)
		text = text[n:]
	}
	if cap(r.symbols) <= keep/16 && cap(r.queue) <= keep/16 {
		m.rooms.Put(r)
	}
	return dst
}

func (m *merger) word(text []byte, r *mergeRoom, dst []int64) []int64 {
	from := len(dst)
	m.split(text, r)
	if m.unused != nil {
		r.parts = map[string]int{}
	}
	for i := 1; i < len(r.symbols); i++ {
		m.offer(text, r, int32(i-1), int32(i))
	}
	s := r.symbols
	for len(r.queue) > 0 {
		p := r.pop()
		left, right := &s[p.left], &s[p.right]
		if left.end == left.start || right.end == right.start || right.end-left.start != p.size {
			continue // one of them was merged with another since
		}
		left.end, left.unit, left.next = right.end, p.unit, right.next
		if right.next >= 0 {
			s[right.next].prev = p.left
		}
		right.end = right.start
		m.offer(text, r, left.prev, p.left)
		m.offer(text, r, p.left, left.next)
	}
	for i := int32(0); i >= 0; i = s[i].next {
		dst = m.emit(text[s[i].start:s[i].end], s[i].unit, r, dst, from)
	}
	return dst
}

// split cuts the text into characters and pieces that a user defined.
func (m *merger) split(text []byte, r *mergeRoom) {
	r.symbols, r.queue = r.symbols[:0], r.queue[:0]
	for i := 0; i < len(text); {
		n := 0
		if m.user != nil {
			n = m.user.longest(text[i:])
		}
		whole := n > 0
		if !whole {
			n = min(charLen(text[i]), len(text)-i)
		}
		at := int32(len(r.symbols))
		unit := m.trie.walk(m.trie.root(), text[i:i+n])
		r.symbols = append(r.symbols, symbol{int32(i), int32(i + n), at - 1, at + 1, unit, whole})
		i += n
	}
	r.symbols[len(r.symbols)-1].next = -1
}

// offer queues a pair of neighbours where they are a piece together.
func (m *merger) offer(text []byte, r *mergeRoom, left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	a, b := &r.symbols[left], &r.symbols[right]
	if a.whole || b.whole || a.unit == 0 {
		return
	}
	unit := m.trie.walk(a.unit, text[b.start:b.end])
	if unit == 0 {
		return
	}
	id := unitValue(unit)
	if id < 0 {
		return
	}
	r.push(pair{m.scores[id], left, right, b.end - a.start, unit})
	if m.unused != nil && m.unused[id] {
		r.parts[string(text[a.start:b.end])] = int(a.end - a.start)
	}
}

// emit appends the id of a symbol, or the ids of what it is made of.
func (m *merger) emit(text []byte, unit uint64, r *mergeRoom, dst []int64, from int) []int64 {
	id := int32(-1)
	if unit != 0 {
		id = unitValue(unit)
	}
	if id >= 0 && m.unused != nil && m.unused[id] {
		if n := r.parts[string(text)]; n > 0 {
			root := m.trie.root()
			dst = m.emit(text[:n], m.trie.walk(root, text[:n]), r, dst, from)
			return m.emit(text[n:], m.trie.walk(root, text[n:]), r, dst, from)
		}
		id = -1 // a character of its own, which is unknown then
	}
	switch {
	case id >= 0:
		return append(dst, int64(id))
	case m.bytes != nil:
		for _, b := range text {
			dst = append(dst, m.bytes[b])
		}
		return dst
	case len(dst) > from && dst[len(dst)-1] == int64(m.unk):
		return dst // neighbouring unknown characters are one id
	}
	return append(dst, int64(m.unk))
}

func (r *mergeRoom) push(p pair) {
	q := append(r.queue, p)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !p.before(q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = p
	r.queue = q
}

func (r *mergeRoom) pop() pair {
	q := r.queue
	top, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	for i := 0; len(q) > 0; {
		down := 2*i + 1
		if down+1 < len(q) && q[down+1].before(q[down]) {
			down++
		}
		if down >= len(q) || !q[down].before(last) {
			q[i] = last
			break
		}
		q[i] = q[down]
		i = down
	}
	r.queue = q
	return top
}
