package text

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// SentencePiece is the tokenizer of a SentencePiece .model file. It normalises a
// text and cuts it as the kind of the model says: Unigram takes the pieces with
// the best sum of scores, BPE merges characters, the best score first.
type SentencePiece struct {
	o        Options
	norm     normalizer
	cut      segmenter
	bos, eos int64
	texts    sync.Pool // of *[]byte, normalised texts
}

// segmenter cuts a normalised text into pieces and appends their ids to dst.
type segmenter interface {
	encode(text []byte, dst []int64) []int64
}

// NewSentencePiece reads a .model file of the kind Unigram or BPE.
func NewSentencePiece(model []byte, o Options) (*SentencePiece, error) {
	m, err := readSentencePiece(model)
	if err != nil {
		return nil, err
	}
	v, err := m.vocabulary()
	if err != nil {
		return nil, err
	}
	t := &SentencePiece{o: o, norm: m.norm, bos: v.bos, eos: v.eos}
	t.texts.New = func() any { return new([]byte) }
	if o.BOS && t.bos < 0 {
		return nil, fmt.Errorf("bos: the tokenizer has no piece %s", m.bos)
	}
	if o.EOS && t.eos < 0 {
		return nil, fmt.Errorf("eos: the tokenizer has no piece %s", m.eos)
	}
	if o.MaxTokens != 0 && o.MaxTokens <= t.Specials() {
		return nil, fmt.Errorf("max_tokens of %d leaves no room for the text", o.MaxTokens)
	}
	if len(v.user) > 0 {
		if t.norm.user, err = newTrie(v.user); err != nil {
			return nil, err
		}
	}
	if m.kind == kindBPE {
		t.cut, err = newMerger(v, t.norm.user)
	} else {
		t.cut, err = newLattice(v)
	}
	t.norm.init()
	return t, err
}

// vocabulary is a model's pieces by what they are for.
type vocabulary struct {
	scores      []float32 // by id
	keys        []trieKey // what a text can be cut into
	user        []trieKey // those of keys that a user defined
	unused      []trieKey // what BPE merges, but takes apart again in the end
	unk         int32
	bos, eos    int64 // -1: none
	bytes       []int64
	least, most float32 // scores of normal pieces
}

func (m *spModel) vocabulary() (*vocabulary, error) {
	v := &vocabulary{unk: -1, bos: -1, eos: -1, least: math.MaxFloat32, most: -math.MaxFloat32}
	byteIDs := map[byte]int64{}
	for i, p := range m.pieces {
		if !(math.Abs(float64(p.score)) <= maxScore) {
			return nil, fmt.Errorf("the tokenizer's piece %q has the score %v", p.text, p.score)
		}
		id := int32(i)
		v.scores = append(v.scores, p.score)
		key := trieKey{p.text, id}
		switch p.kind {
		case pieceNormal:
			v.least, v.most = min(v.least, p.score), max(v.most, p.score)
			v.keys = append(v.keys, key)
		case pieceUserDefined:
			v.keys, v.user = append(v.keys, key), append(v.user, key)
		case pieceUnused:
			v.unused = append(v.unused, key)
		case pieceUnknown:
			if v.unk >= 0 {
				return nil, errors.New("the tokenizer has two unknown pieces")
			}
			v.unk = id
		case pieceByte:
			var b byte
			if _, err := fmt.Sscanf(p.text, "<0x%02X>", &b); err != nil {
				return nil, fmt.Errorf("the tokenizer's byte piece %q is not <0xNN>", p.text)
			}
			byteIDs[b] = int64(id)
		case pieceControl:
			switch p.text {
			case m.bos:
				v.bos = int64(id)
			case m.eos:
				v.eos = int64(id)
			}
		}
	}
	if v.unk < 0 || len(v.keys) == 0 {
		return nil, errors.New("the tokenizer has no unknown piece, or no others")
	}
	if !m.byteFallback {
		return v, nil
	}
	if len(byteIDs) != 256 {
		return nil, fmt.Errorf("the tokenizer has %d of 256 byte pieces", len(byteIDs))
	}
	for b := range 256 {
		v.bytes = append(v.bytes, byteIDs[byte(b)])
	}
	return v, nil
}

// newLattice makes the lattice of a Unigram model.
func newLattice(v *vocabulary) (*lattice[float32], error) {
	l := &lattice[float32]{unk: v.unk, unkScore: v.least - unkPenalty, scores: v.scores, bytes: v.bytes, restarts: true}
	for _, k := range v.user {
		// More than any piece of a text's own has, so that they win.
		l.scores[k.value] = float32(0.1 * float64(len(k.key)-1))
	}
	l.maxScore, l.words = largest(l.scores, l.unkScore), splits(v.keys)
	var err error
	l.trie, err = newTrie(slices.Clone(v.keys))
	return l, err
}

// Specials is 0, 1 or 2: begin and end.
func (t *SentencePiece) Specials() int {
	n := 0
	if t.o.BOS {
		n++
	}
	if t.o.EOS {
		n++
	}
	return n
}

// reach is how many bytes of a text are looked at for n tokens. No piece of a
// vocabulary is that long; a text of which more is needed is noise.
func reach(n int) int { return 1<<20 + 256*n }

// within cuts a text to what is looked at for a number of tokens, 0 for no limit.
func within(text string, tokens int) string {
	n := reach(tokens)
	if tokens <= 0 || len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Encode implements Tokenizer. With MaxTokens, a text of megabytes costs no more
// than its first one.
func (t *SentencePiece) Encode(text string, dst []int64) []int64 {
	text = within(text, t.o.MaxTokens)
	normal := t.texts.Get().(*[]byte)
	*normal = t.norm.normalize(text, (*normal)[:0])
	if dst == nil {
		n := len(*normal) / 3 // a piece has some 3 bytes and more
		if t.o.MaxTokens > 0 {
			n = min(n, t.o.MaxTokens)
		}
		dst = make([]int64, 0, n+t.Specials()+1)
	}
	if t.o.BOS {
		dst = append(dst, t.bos)
	}
	from := len(dst)
	dst = t.cut.encode(*normal, dst)
	if t.o.MaxTokens > 0 {
		if n := t.o.MaxTokens - t.Specials(); len(dst)-from > n {
			dst = dst[:from+n]
		}
	}
	if t.o.EOS {
		dst = append(dst, t.eos)
	}
	if cap(*normal) <= keep {
		t.texts.Put(normal)
	}
	return dst
}
