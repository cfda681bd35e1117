package text

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// lattice finds the best way to cut a normalised text into pieces: the one with
// the best sum of scores, which are of the type that the original sums in, as the
// choice between equally good ways depends on its rounding.
//
// Who has a tokenizer.json whose model is of the type Unigram uses newHFLattice:
//
//	l, err := newHFLattice(pieces, unkID, byteFallback) // once; pieces in the order of their ids
//	ids = l.encode(word, ids)                           // for each pre-tokenised piece of text; any goroutine
//
// The character map of a normaliser of the type Precompiled is a charMap:
//
//	m, err := newCharMap(blob)           // the decoded base64
//	r, n := m.shortest(s)                // what Precompiled uses; n is 0 where no key is at the front of s
//	r, n := m.longest(s)                 // what SentencePiece uses
type lattice[F float32 | float64] struct {
	trie     *trie
	scores   []F
	unk      int32
	unkScore F
	restarts bool    // the sums start anew where they get far from 0
	fused    bool    // neighbouring unknown characters that are a piece together are that piece
	bytes    []int64 // ids of byte pieces where unknown characters fall back to them
	rooms    sync.Pool
}

// scored is a piece of a tokenizer.json's vocabulary.
type scored struct {
	text  string
	score float64
}

// unkPenalty is how far below the worst piece an unknown character scores.
const unkPenalty = 10

// newHFLattice makes a lattice that cuts as the tokenizers library does. An id is
// a piece's place in pieces; of equal pieces the last counts. Neighbouring unknown
// characters are one id, unless each of their bytes has a piece <0xNN> and
// byteFallback is set.
func newHFLattice(pieces []scored, unk int, byteFallback bool) (*lattice[float64], error) {
	if unk < 0 || unk >= len(pieces) {
		return nil, fmt.Errorf("unk_id is %d; it must be one of the %d pieces", unk, len(pieces))
	}
	l := &lattice[float64]{unk: int32(unk), scores: make([]float64, len(pieces)), fused: true}
	ids := make(map[string]int32, len(pieces))
	least := math.Inf(1)
	for i, p := range pieces {
		if math.IsNaN(p.score) || math.IsInf(p.score, 0) {
			return nil, fmt.Errorf("the piece %q has the score %v", p.text, p.score)
		}
		l.scores[i] = p.score
		least = min(least, p.score)
		if p.text != "" {
			ids[p.text] = int32(i)
		}
	}
	l.unkScore = least - unkPenalty
	keys := make([]trieKey, 0, len(ids))
	for text, id := range ids {
		keys = append(keys, trieKey{text, id})
	}
	if byteFallback {
		l.bytes = make([]int64, 256)
		for b := range l.bytes {
			id, ok := ids[fmt.Sprintf("<0x%02X>", b)]
			if !ok {
				id = -1
			}
			l.bytes[b] = int64(id)
		}
	}
	var err error
	if l.trie, err = newTrie(keys); err != nil {
		return nil, errors.New("the vocabulary: " + err.Error())
	}
	return l, nil
}

// node is the best path to a place in the text.
type node[F float32 | float64] struct {
	score F
	start int32 // where its last piece starts; -1: none leads here yet
	id    int32
}

// keep is how large a scratch may be to be kept.
const keep = 1 << 20

// encode appends the ids of a text, which is valid UTF-8, to dst.
func (l *lattice[F]) encode(text []byte, dst []int64) []int64 {
	room, _ := l.rooms.Get().(*[]node[F])
	if room == nil {
		room = new([]node[F])
	}
	if cap(*room) < len(text)+1 {
		*room = make([]node[F], len(text)+1+len(text)/2)
	}
	best := (*room)[:len(text)+1]
	l.viterbi(text, best)
	dst = l.path(text, best, dst)
	if cap(*room) <= 2*keep {
		l.rooms.Put(room)
	}
	return dst
}

// farScore is how far a sum of scores may get from 0. Beyond, the sums start anew:
// with fewer digits left, equally good paths would be told apart by rounding.
const farScore = 100_000

// viterbi finds the best path to every character.
func (l *lattice[F]) viterbi(text []byte, best []node[F]) {
	n := len(text)
	for i := range best {
		best[i] = node[F]{start: -1}
	}
	best[0].score = 0
	units := l.trie.units
	root := units[0]
	far := 0 // the furthest place that a path leads to
	for i := 0; i < n; {
		here := best[i].score
		if l.restarts && (here < -farScore || here > farScore) {
			restart(best[i : far+1])
			here = 0
		}
		size := min(charLen(text[i]), n-i)
		single := false
		unit := root
		for j := i; j < n; {
			c := uint64(text[j])
			at := unit>>32 + c
			if at >= uint64(len(units)) {
				break
			}
			unit = units[at]
			if unit&unitLabel != unitUsed|c {
				break
			}
			j++
			id := unitValue(unit)
			if id < 0 {
				continue
			}
			far = max(far, j)
			score := l.scores[id] + here
			if to := &best[j]; to.start < 0 || score > to.score {
				*to = node[F]{score, int32(i), id}
			}
			single = single || j-i == size
		}
		if !single {
			far = max(far, i+size)
			score := l.unkScore + here
			if to := &best[i+size]; to.start < 0 || score > to.score {
				*to = node[F]{score, int32(i), l.unk}
			}
		}
		i += size
	}
}

// restart shifts the sums of the paths that are still open, of which the first
// becomes 0.
func restart[F float32 | float64](open []node[F]) {
	shift := open[0].score
	for k := range open {
		if k == 0 || open[k].start >= 0 {
			open[k].score -= shift
		}
	}
}

// path appends the ids of the best path.
func (l *lattice[F]) path(text []byte, best []node[F], dst []int64) []int64 {
	from := len(dst)
	for end := len(text); end > 0; {
		p := best[end]
		start := int(p.start)
		if p.id != l.unk {
			dst = append(dst, int64(p.id))
			end = start
			continue
		}
		for start > 0 && best[start].id == l.unk {
			start = int(best[start].start)
		}
		dst = l.unknown(text[start:end], dst)
		end = start
	}
	slices.Reverse(dst[from:])
	return dst
}

// unknown appends the ids of neighbouring unknown characters, the last first: one
// for all, or one for each byte.
func (l *lattice[F]) unknown(run []byte, dst []int64) []int64 {
	if l.fused {
		if id := l.trie.find(run); id >= 0 {
			return append(dst, int64(id))
		}
	}
	if l.bytes == nil {
		return append(dst, int64(l.unk))
	}
	from := len(dst)
	for _, b := range slices.Backward(run) {
		if l.bytes[b] < 0 {
			return append(dst[:from], int64(l.unk))
		}
		dst = append(dst, l.bytes[b])
	}
	return dst
}

// charLen is the length of the UTF-8 character that c starts. The normal form is
// valid UTF-8, but for pieces that a user defined.
func charLen(c byte) int {
	switch {
	case c < 0x80:
		return 1
	case c < 0xe0:
		return 1 + int(c>>6&1) // a stray tail counts for one byte
	case c < 0xf0:
		return 3
	}
	return 4
}
