package text

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// bpe merges the characters of a word, pair by pair: of all pairs that are in the
// list of merges, the one that stands first there, and of those the leftmost.
type bpe struct {
	trie           *trie
	ids            []int64
	merges         map[[2]int32]merge
	prefix, suffix string // of pieces that are not first in a word; of those that are last
	unk            int32  // -1: unknown characters are left out
	fuse           bool
	bytes          []int32   // ids of <0xNN>, -1 where there is none; nil without byte_fallback
	whole          bool      // a word that is a piece is not merged
	rooms          sync.Pool // of *bpeRoom
}

type merge struct{ rank, id int32 }

// letter is a piece of a word that is being merged.
type letter struct {
	id         int32
	prev, next int32
	gone       bool
}

// candidate is a pair that may be merged. rank and place of its first symbol, in
// that order, are its key.
type candidate struct {
	key uint64
	id  int32
}

// bpeRoom is what encoding a word takes.
type bpeRoom struct {
	known   words
	letters []letter
	heap    []candidate
	joined  []byte
}

// bpeFile is a model of the type BPE.
type bpeFile struct {
	Type         string
	Dropout      *float64
	Unk          *string `json:"unk_token"`
	Prefix       *string `json:"continuing_subword_prefix"`
	Suffix       *string `json:"end_of_word_suffix"`
	FuseUnk      *bool   `json:"fuse_unk"`
	ByteFallback *bool   `json:"byte_fallback"`
	IgnoreMerges *bool   `json:"ignore_merges"`
	Vocab        pieceIDs
	Merges       mergeList
}

func readBPE(raw component) (wordModel, pieceIDs, error) {
	var v bpeFile
	if err := raw.into(&v); err != nil {
		return nil, nil, err
	}
	m, err := newBPE(&v)
	if err != nil {
		return nil, nil, fmt.Errorf("BPE: %w", err)
	}
	return m, v.Vocab, nil
}

func newBPE(v *bpeFile) (*bpe, error) {
	if v.Dropout != nil && *v.Dropout != 0 {
		return nil, fmt.Errorf("dropout is %v: it makes ids random", *v.Dropout)
	}
	if err := v.Vocab.check(); err != nil {
		return nil, err
	}
	value := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	on := func(b *bool) bool { return b != nil && *b }
	b := &bpe{prefix: value(v.Prefix), suffix: value(v.Suffix), unk: -1, fuse: on(v.FuseUnk), whole: on(v.IgnoreMerges)}
	if v.Unk != nil {
		id, ok := v.Vocab[*v.Unk]
		if !ok {
			return nil, fmt.Errorf("the unk_token %q is not in the vocabulary", *v.Unk)
		}
		b.unk = int32(id)
	}
	if on(v.ByteFallback) {
		b.bytes = make([]int32, 256)
		for i := range b.bytes {
			id, ok := v.Vocab[fmt.Sprintf("<0x%02X>", i)]
			if !ok {
				id = -1
			}
			b.bytes[i] = int32(id)
		}
	}
	var err error
	if b.trie, b.ids, err = v.Vocab.trie(); err != nil {
		return nil, err
	}
	b.merges = make(map[[2]int32]merge, len(v.Merges))
	for rank, m := range v.Merges {
		inner, ok := strings.CutPrefix(m[1], b.prefix)
		if !ok {
			return nil, fmt.Errorf("the merge of %q and %q: the second lacks the prefix %q", m[0], m[1], b.prefix)
		}
		var ids [3]int64
		for i, piece := range []string{m[0], m[1], m[0] + inner} {
			if ids[i], ok = v.Vocab[piece]; !ok {
				return nil, fmt.Errorf("the merge of %q and %q: the vocabulary has no %q", m[0], m[1], piece)
			}
		}
		b.merges[[2]int32{int32(ids[0]), int32(ids[1])}] = merge{int32(rank), int32(ids[2])}
	}
	return b, nil
}

func (b *bpe) encode(word []byte, dst []int64) []int64 {
	if b.whole {
		if at := b.trie.find(word); at >= 0 {
			return append(dst, b.ids[at])
		}
	}
	r, _ := b.rooms.Get().(*bpeRoom)
	if r == nil {
		r = new(bpeRoom)
	}
	if len(word) > longestWord {
		dst = b.merged(r, word, dst)
	} else if known, ok := r.known.at(word); ok {
		for _, id := range known.ids[:known.n] {
			dst = append(dst, int64(id))
		}
	} else {
		from := len(dst)
		dst = b.merged(r, word, dst)
		known.set(word, dst[from:])
	}
	if cap(r.letters) <= keep/16 {
		b.rooms.Put(r)
	}
	return dst
}

func (b *bpe) merged(r *bpeRoom, word []byte, dst []int64) []int64 {
	b.split(r, word)
	b.mergeAll(r)
	for _, l := range r.letters {
		if !l.gone {
			dst = append(dst, int64(l.id))
		}
	}
	return dst
}

func (r *bpeRoom) add(id int32) {
	n := int32(len(r.letters))
	r.letters = append(r.letters, letter{id: id, prev: n - 1, next: n + 1})
}

// split fills the room with the pieces of single characters.
func (b *bpe) split(r *bpeRoom, word []byte) {
	r.letters = r.letters[:0]
	unknown := 0 // how many ids of unknown characters are due
	for i := 0; i < len(word); {
		_, size := utf8.DecodeRune(word[i:])
		piece := word[i : i+size]
		first, last := i == 0, i+size == len(word)
		i += size
		if !first && b.prefix != "" || last && b.suffix != "" {
			r.joined = r.joined[:0]
			if !first {
				r.joined = append(r.joined, b.prefix...)
			}
			r.joined = append(r.joined, piece...)
			if last {
				r.joined = append(r.joined, b.suffix...)
			}
			piece = r.joined
		}
		if at := b.trie.find(piece); at >= 0 {
			for ; unknown > 0; unknown-- {
				r.add(b.unk)
			}
			r.add(int32(b.ids[at]))
			continue
		}
		if b.fallBack(r, piece) || b.unk < 0 {
			continue
		}
		// An id is due until the next known character, behind the bytes between.
		if unknown > 0 && !b.fuse {
			r.add(b.unk)
		} else {
			unknown = 1
		}
	}
	for ; unknown > 0; unknown-- {
		r.add(b.unk)
	}
	if n := len(r.letters); n > 0 {
		r.letters[n-1].next = -1
	}
}

// fallBack adds the pieces of the bytes of an unknown character, if all have one.
func (b *bpe) fallBack(r *bpeRoom, piece []byte) bool {
	if b.bytes == nil {
		return false
	}
	for _, c := range piece {
		if b.bytes[c] < 0 {
			return false
		}
	}
	for _, c := range piece {
		r.add(b.bytes[c])
	}
	return true
}

// mergeAll takes the candidates from a heap: words of any length need a time of
// n log n.
func (b *bpe) mergeAll(r *bpeRoom) {
	s := r.letters
	r.heap = r.heap[:0]
	offer := func(at, next int32) {
		if m, ok := b.merges[[2]int32{s[at].id, s[next].id}]; ok {
			r.push(candidate{uint64(m.rank)<<32 | uint64(at), m.id})
		}
	}
	for i := 1; i < len(s); i++ {
		offer(int32(i-1), int32(i))
	}
	for len(r.heap) > 0 {
		top := r.pop()
		at := int32(uint32(top.key))
		next := s[at].next
		if s[at].gone || next < 0 {
			continue
		}
		if m, ok := b.merges[[2]int32{s[at].id, s[next].id}]; !ok || m.id != top.id {
			continue // an old candidate: its symbols have changed
		}
		s[at].id, s[at].next = top.id, s[next].next
		s[next].gone = true
		if n := s[at].next; n >= 0 {
			s[n].prev = at
			offer(at, n)
		}
		if p := s[at].prev; p >= 0 {
			offer(p, at)
		}
	}
}

func (r *bpeRoom) push(c candidate) {
	h := append(r.heap, c)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].key <= c.key {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = c
	r.heap = h
}

func (r *bpeRoom) pop() candidate {
	h := r.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	r.heap = h
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].key < h[down].key {
			down++
		}
		if last.key <= h[down].key {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = last
	}
	return top
}

// mergeList is a list of merges: ["a b", …] or [["a", "b"], …].
type mergeList [][2]string

func (l *mergeList) UnmarshalJSON(raw []byte) error {
	var lines []string
	if err := json.Unmarshal(raw, &lines); err == nil {
		for _, line := range lines {
			if strings.HasPrefix(line, "#version") {
				continue
			}
			a, b, ok := strings.Cut(line, " ")
			if !ok || strings.Contains(b, " ") {
				return fmt.Errorf("the merge %q is not two pieces", line)
			}
			*l = append(*l, [2]string{a, b})
		}
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("the merge %q is not two pieces", p)
		}
		*l = append(*l, [2]string{p[0], p[1]})
	}
	return nil
}
