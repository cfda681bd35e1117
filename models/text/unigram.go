package text

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// Unigram is SentencePiece's Unigram tokenizer: of all ways to cut a text into
// pieces the one with the best sum of scores.
type Unigram struct {
	o        Options
	norm     normalizer
	trie     *trie
	scores   []float32
	isUser   []bool
	unkScore float32
	unk      int32
	bos, eos int64
	bytes    []int64 // ids of byte pieces where unknown characters fall back to them
	scratch  sync.Pool
}

// unkPenalty is how far below the worst piece an unknown character scores.
const unkPenalty = 10

// NewUnigram reads a SentencePiece .model file of the kind Unigram.
func NewUnigram(model []byte, o Options) (*Unigram, error) {
	m, err := readSentencePiece(model)
	if err != nil {
		return nil, err
	}
	u := &Unigram{o: o, norm: m.norm, unk: -1, bos: -1, eos: -1}
	u.scratch.New = func() any { return new(scratch) }
	if err := u.setPieces(m); err != nil {
		return nil, err
	}
	if o.BOS && u.bos < 0 {
		return nil, fmt.Errorf("bos: the tokenizer has no piece %s", m.bos)
	}
	if o.EOS && u.eos < 0 {
		return nil, fmt.Errorf("eos: the tokenizer has no piece %s", m.eos)
	}
	if o.MaxTokens != 0 && o.MaxTokens <= u.Specials() {
		return nil, fmt.Errorf("max_tokens of %d leaves no room for the text", o.MaxTokens)
	}
	u.norm.init()
	return u, nil
}

func (u *Unigram) setPieces(m *spModel) error {
	var keys, user []trieKey
	minScore := float32(math.MaxFloat32)
	byteIDs := map[byte]int64{}
	for i, p := range m.pieces {
		if s := float64(p.score); math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("the tokenizer's piece %q has the score %v", p.text, p.score)
		}
		id := int32(i)
		u.scores, u.isUser = append(u.scores, p.score), append(u.isUser, p.kind == pieceUserDefined)
		switch p.kind {
		case pieceNormal:
			minScore = min(minScore, p.score)
			keys = append(keys, trieKey{p.text, id})
		case pieceUserDefined:
			keys, user = append(keys, trieKey{p.text, id}), append(user, trieKey{p.text, id})
		case pieceUnknown:
			if u.unk >= 0 {
				return errors.New("the tokenizer has two unknown pieces")
			}
			u.unk = id
		case pieceByte:
			var b byte
			if _, err := fmt.Sscanf(p.text, "<0x%02X>", &b); err != nil {
				return fmt.Errorf("the tokenizer's byte piece %q is not <0xNN>", p.text)
			}
			byteIDs[b] = int64(id)
		case pieceControl:
			switch p.text {
			case m.bos:
				u.bos = int64(id)
			case m.eos:
				u.eos = int64(id)
			}
		}
	}
	if u.unk < 0 || len(keys) == 0 {
		return errors.New("the tokenizer has no unknown piece, or no others")
	}
	u.unkScore = minScore - unkPenalty
	if m.byteFallback {
		if len(byteIDs) != 256 {
			return fmt.Errorf("the tokenizer has %d of 256 byte pieces", len(byteIDs))
		}
		for b := range 256 {
			u.bytes = append(u.bytes, byteIDs[byte(b)])
		}
	}
	var err error
	if u.trie, err = newTrie(keys); err != nil {
		return err
	}
	if len(user) > 0 {
		u.norm.user, err = newTrie(user)
	}
	return err
}

// Specials is 0, 1 or 2: begin and end.
func (u *Unigram) Specials() int {
	n := 0
	if u.o.BOS {
		n++
	}
	if u.o.EOS {
		n++
	}
	return n
}

// node is the best path to a place in the text.
type node struct {
	score float32
	start int32 // where its last piece starts; -1: none leads here yet
	id    int32
}

type scratch struct {
	text []byte
	best []node
}

// keep is how large a scratch may be to be kept.
const keep = 1 << 20

// reach is how many bytes of a text are looked at for n tokens. No piece of a
// vocabulary is that long; a text of which more is needed is noise.
func reach(n int) int { return 1<<20 + 256*n }

// Encode implements Tokenizer. With MaxTokens, a text of megabytes costs no more
// than its first one.
func (u *Unigram) Encode(text string, dst []int64) []int64 {
	if u.o.MaxTokens > 0 && len(text) > reach(u.o.MaxTokens) {
		n := reach(u.o.MaxTokens)
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	s := u.scratch.Get().(*scratch)
	s.text = u.norm.normalize(text, s.text[:0])
	if u.o.BOS {
		dst = append(dst, u.bos)
	}
	from := len(dst)
	u.viterbi(s)
	dst = u.path(s, dst)
	if u.o.MaxTokens > 0 {
		if n := u.o.MaxTokens - u.Specials(); len(dst)-from > n {
			dst = dst[:from+n]
		}
	}
	if u.o.EOS {
		dst = append(dst, u.eos)
	}
	if cap(s.text) <= keep {
		u.scratch.Put(s)
	}
	return dst
}

// farScore is how far a sum of scores may get from 0. Beyond, the sums start anew:
// with fewer digits left, equally good paths would be told apart by rounding.
const farScore = 100_000

// viterbi finds the best path to every character. Sums are of type float32, as
// in SentencePiece, whose choice between equally good paths depends on their
// rounding.
func (u *Unigram) viterbi(s *scratch) {
	n := len(s.text)
	if cap(s.best) < n+1 {
		s.best = make([]node, n+1+n/2)
	}
	best := s.best[:n+1]
	for i := range best {
		best[i] = node{start: -1}
	}
	units := u.trie.units
	root := units[0]
	far := 0 // the furthest place that a path leads to
	for i := 0; i < n; {
		here := best[i].score
		if here < -farScore || here > farScore {
			restart(best[i : far+1])
			here = 0
		}
		size := charLen(s.text[i])
		if size > n-i {
			size = n - i
		}
		single := false
		unit := root
		for j := i; j < n; {
			c := uint64(s.text[j])
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
			score := u.scores[id]
			if u.isUser[id] {
				// More than any piece of a text's own has, so that they win.
				score = float32(0.1 * float64(j-i-1))
			}
			score += here
			if to := &best[j]; to.start < 0 || score > to.score {
				*to = node{score, int32(i), id}
			}
			single = single || j-i == size
		}
		if !single {
			far = max(far, i+size)
			score := u.unkScore + here
			if to := &best[i+size]; to.start < 0 || score > to.score {
				*to = node{score, int32(i), u.unk}
			}
		}
		i += size
	}
}

// restart shifts the sums of the paths that are still open, of which the first
// becomes 0.
func restart(open []node) {
	shift := open[0].score
	for k := range open {
		if k == 0 || open[k].start >= 0 {
			open[k].score -= shift
		}
	}
}

// path appends the ids of the best path. Neighbouring unknown characters are one
// id, or each of their bytes is.
func (u *Unigram) path(s *scratch, dst []int64) []int64 {
	from := len(dst)
	for end := len(s.text); end > 0; {
		p := s.best[end]
		switch {
		case p.id != u.unk:
			dst = append(dst, int64(p.id))
		case u.bytes != nil:
			for i := end - 1; i >= int(p.start); i-- {
				dst = append(dst, u.bytes[s.text[i]])
			}
		case len(dst) == from || dst[len(dst)-1] != int64(u.unk):
			dst = append(dst, int64(u.unk))
		}
		end = int(p.start)
	}
	slices.Reverse(dst[from:])
	return dst
}

// charLen is the length of the UTF-8 character that c starts. The normal form is
// valid UTF-8, but for pieces that a user defined.
func charLen(c byte) int {
	switch {
	case c < utf8.RuneSelf:
		return 1
	case c < 0xe0:
		return 1 + int(c>>6&1) // a stray tail counts for one byte
	case c < 0xf0:
		return 3
	}
	return 4
}
