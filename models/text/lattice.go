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
	restarts bool      // the sums start anew where they get far from 0
	fused    bool      // neighbouring unknown characters that are a piece together are that piece
	bytes    []int64   // ids of byte pieces where unknown characters fall back to them
	words    bool      // words can be cut one by one
	maxScore F         // the largest absolute score
	rooms    sync.Pool // of *room[F]
}

// room is what encode needs for a text.
type room[F float32 | float64] struct {
	best  []node[F]
	known words
}

// scored is a piece of a tokenizer.json's vocabulary.
type scored struct {
	text  string
	score float64
}

// unkPenalty is how far below the worst piece an unknown character scores.
const unkPenalty = 10

// maxScore is how far from 0 a piece's score may be, so that no sum becomes infinite.
const maxScore = 1e30

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
		if !(math.Abs(p.score) <= maxScore) {
			return nil, fmt.Errorf("the piece %q has the score %v", p.text, p.score)
		}
		l.scores[i] = p.score
		least = min(least, p.score)
		if p.text != "" {
			ids[p.text] = int32(i)
		}
	}
	l.unkScore = least - unkPenalty
	l.maxScore = largest(l.scores, l.unkScore)
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

// largest returns the largest absolute score.
func largest[F float32 | float64](scores []F, most F) F {
	most = max(most, -most)
	for _, s := range scores {
		most = max(most, s, -s)
	}
	return most
}

// node is the best path to a place in the text.
type node[F float32 | float64] struct {
	score  F
	second F     // the score of the second-best path
	start  int32 // where its last piece starts; -1: none leads here yet
	id     int32
}

// keep is how large a scratch may be to be kept.
const keep = 1 << 20

// encode appends the ids of a text, which is valid UTF-8, to dst.
func (l *lattice[F]) encode(text []byte, dst []int64) []int64 {
	r, _ := l.rooms.Get().(*room[F])
	if r == nil {
		r = new(room[F])
	}
	from := len(dst)
	sum := F(0) // of the scores so far
	for len(text) > 0 {
		n := len(text)
		if l.words {
			n = wordLen(text)
		}
		if n > longestWord {
			dst, sum = l.word(text[:n], sum, r, nil, dst, from)
		} else if w, ok := r.known.at(text[:n]); ok && l.holds(w, sum) {
			for _, id := range w.ids[:w.n] {
				dst = append(dst, int64(id))
				sum += l.scores[id]
			}
		} else {
			dst, sum = l.word(text[:n], sum, r, w, dst, from)
		}
		text = text[n:]
	}
	if cap(r.best) <= 2*keep {
		l.rooms.Put(r)
	}
	return dst
}

// word appends the ids of a word before which the scores sum up to sum, and
// returns the sum after it. It remembers the word in place, where that is not nil.
func (l *lattice[F]) word(text []byte, sum F, r *room[F], place *word, dst []int64, from int) ([]int64, F) {
	if cap(r.best) < len(text)+1 {
		r.best = make([]node[F], len(text)+1+len(text)/2)
	}
	best := r.best[:len(text)+1]
	l.viterbi(text, sum, best)
	at := len(dst)
	dst = l.path(text, best, dst)
	if place != nil && !slices.Contains(dst[at:], int64(l.unk)) {
		l.remember(text, sum, best, place, dst[at:])
	}
	return joinUnknown(dst, from, at, l.unk), best[len(text)].score
}

// remember keeps how a word was cut. Another sum before it rounds the sums in it
// in other ways, and might turn a close decision. So a word is kept with the least
// lead that its path had anywhere over the second-best one.
func (l *lattice[F]) remember(text []byte, sum F, best []node[F], place *word, ids []int64) {
	lead := F(math.Inf(1))
	for i := len(text); i > 0; i = int(best[i].start) {
		if best[i].id == l.unk {
			return // its bytes are ids
		}
		lead = min(lead, best[i].score-best[i].second)
	}
	reach := F(0)
	for _, b := range best {
		if b.start >= 0 {
			reach = max(reach, b.score-sum, sum-b.score)
		}
	}
	reach += l.maxScore
	if max(sum, -sum)+reach >= farScore || !place.set(text, ids) {
		return
	}
	place.reach = float32(reach)
	place.slack = float32(lead - l.rounding(place, sum))
}

// rounding bounds twice the error of sums in a word behind a given sum: each piece
// adds at most half a unit in the last place.
func (l *lattice[F]) rounding(w *word, sum F) F {
	return 2 * F(w.size+1) * (max(sum, -sum) + F(w.reach)) / (1 << 23)
}

// holds tells whether a remembered word is cut in the same way behind sum.
func (l *lattice[F]) holds(w *word, sum F) bool {
	if !l.words { // then the word is the whole text
		return true
	}
	return F(w.slack) > l.rounding(w, sum) && max(sum, -sum)+F(w.reach) < farScore
}

// farScore is how far a sum of scores may get from 0. Beyond, the sums start anew:
// with fewer digits left, equally good paths would be told apart by rounding.
const farScore = 100_000

// viterbi finds the best path to every character. The scores before the text sum
// up to sum.
func (l *lattice[F]) viterbi(text []byte, sum F, best []node[F]) {
	n := len(text)
	none := node[F]{F(math.Inf(-1)), F(math.Inf(-1)), -1, -1}
	for i := range best {
		best[i] = none
	}
	best[0].score = sum
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
			best[j].offer(score, int32(i), id)
			single = single || j-i == size
		}
		if !single {
			far = max(far, i+size)
			score := l.unkScore + here
			best[i+size].offer(score, int32(i), l.unk)
		}
		i += size
	}
}

// offer offers a path to a node.
func (b *node[F]) offer(score F, start, id int32) {
	if score > b.score {
		*b = node[F]{score, b.score, start, id}
	} else if score > b.second {
		b.second = score
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
