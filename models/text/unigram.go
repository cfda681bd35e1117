package text

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"
)

// Unigram is SentencePiece's Unigram tokenizer: of all ways to cut a text into
// pieces the one with the best sum of scores.
type Unigram struct {
	o        Options
	norm     normalizer
	lattice  lattice[float32]
	bos, eos int64
	texts    sync.Pool
}

// NewUnigram reads a SentencePiece .model file of the kind Unigram.
func NewUnigram(model []byte, o Options) (*Unigram, error) {
	m, err := readSentencePiece(model)
	if err != nil {
		return nil, err
	}
	u := &Unigram{o: o, norm: m.norm, bos: -1, eos: -1}
	u.texts.New = func() any { return new([]byte) }
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
	l := &u.lattice
	l.unk, l.restarts = -1, true
	var keys, user []trieKey
	minScore := float32(math.MaxFloat32)
	byteIDs := map[byte]int64{}
	for i, p := range m.pieces {
		if s := float64(p.score); math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("the tokenizer's piece %q has the score %v", p.text, p.score)
		}
		id := int32(i)
		l.scores = append(l.scores, p.score)
		switch p.kind {
		case pieceNormal:
			minScore = min(minScore, p.score)
			keys = append(keys, trieKey{p.text, id})
		case pieceUserDefined:
			keys, user = append(keys, trieKey{p.text, id}), append(user, trieKey{p.text, id})
			// More than any piece of a text's own has, so that they win.
			l.scores[i] = float32(0.1 * float64(len(p.text)-1))
		case pieceUnknown:
			if l.unk >= 0 {
				return errors.New("the tokenizer has two unknown pieces")
			}
			l.unk = id
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
	if l.unk < 0 || len(keys) == 0 {
		return errors.New("the tokenizer has no unknown piece, or no others")
	}
	l.unkScore = minScore - unkPenalty
	if m.byteFallback {
		if len(byteIDs) != 256 {
			return fmt.Errorf("the tokenizer has %d of 256 byte pieces", len(byteIDs))
		}
		for b := range 256 {
			l.bytes = append(l.bytes, byteIDs[byte(b)])
		}
	}
	var err error
	if l.trie, err = newTrie(keys); err != nil {
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
	normal := u.texts.Get().(*[]byte)
	*normal = u.norm.normalize(text, (*normal)[:0])
	if u.o.BOS {
		dst = append(dst, u.bos)
	}
	from := len(dst)
	dst = u.lattice.encode(*normal, dst)
	if u.o.MaxTokens > 0 {
		if n := u.o.MaxTokens - u.Specials(); len(dst)-from > n {
			dst = dst[:from+n]
		}
	}
	if u.o.EOS {
		dst = append(dst, u.eos)
	}
	if cap(*normal) <= keep {
		u.texts.Put(normal)
	}
	return dst
}
