package text

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// wordModel cuts words into pieces of a vocabulary. It is safe for concurrent use.
type wordModel interface {
	// encode appends the ids of a word, which is valid UTF-8 and not empty.
	encode(word []byte, dst []int64) []int64
}

// pieceIDs maps pieces to ids.
type pieceIDs map[string]int64

func (v pieceIDs) check() error {
	if len(v) == 0 {
		return errors.New("it has no vocab")
	}
	for piece, id := range v {
		if id < 0 || id > math.MaxInt32 {
			return fmt.Errorf("the piece %q has the id %d", piece, id)
		}
	}
	return nil
}

// trie puts the vocabulary into a trie whose numbers are places in ids.
func (v pieceIDs) trie() (t *trie, ids []int64, err error) {
	keys := make([]trieKey, 0, len(v))
	ids = make([]int64, 0, len(v))
	for piece, id := range v {
		if piece != "" {
			keys = append(keys, trieKey{piece, int32(len(ids))})
			ids = append(ids, id)
		}
	}
	t, err = newTrie(keys)
	return t, ids, err
}

// wordPiece takes the longest piece at the front of a word, and so on.
type wordPiece struct {
	trie     *trie
	ids      []int64
	inner    uint64 // the trie's node behind the prefix of pieces inside words
	hasInner bool
	unk      int64
	maxChars int
}

func readWordPiece(raw component) (wordModel, pieceIDs, error) {
	var v struct {
		Type     string
		Unk      *string `json:"unk_token"`
		Prefix   *string `json:"continuing_subword_prefix"`
		MaxChars *int    `json:"max_input_chars_per_word"`
		Vocab    pieceIDs
	}
	if err := raw.into(&v); err != nil {
		return nil, nil, err
	}
	switch {
	case v.Unk == nil:
		return nil, nil, raw.lacks("unk_token")
	case v.Prefix == nil:
		return nil, nil, raw.lacks("continuing_subword_prefix")
	case v.MaxChars == nil:
		return nil, nil, raw.lacks("max_input_chars_per_word")
	}
	if err := v.Vocab.check(); err != nil {
		return nil, nil, fmt.Errorf("WordPiece: %w", err)
	}
	w := &wordPiece{maxChars: *v.MaxChars}
	var ok bool
	if w.unk, ok = v.Vocab[*v.Unk]; !ok {
		return nil, nil, fmt.Errorf("WordPiece: the unk_token %q is not in the vocabulary", *v.Unk)
	}
	var err error
	if w.trie, w.ids, err = v.Vocab.trie(); err != nil {
		return nil, nil, fmt.Errorf("WordPiece: %w", err)
	}
	w.inner, w.hasInner = w.trie.root(), true
	for i := 0; i < len(*v.Prefix) && w.hasInner; i++ {
		w.inner, w.hasInner = w.trie.step(w.inner, (*v.Prefix)[i])
	}
	return w, v.Vocab, nil
}

func (w *wordPiece) encode(word []byte, dst []int64) []int64 {
	if len(word) > w.maxChars && utf8.RuneCount(word) > w.maxChars {
		return append(dst, w.unk)
	}
	from := len(dst)
	node := w.trie.root()
	for i := 0; i < len(word); {
		if i > 0 {
			if !w.hasInner {
				return append(dst[:from], w.unk)
			}
			node = w.inner
		}
		end, best := i, int32(-1)
		for j := i; j < len(word); {
			var ok bool
			if node, ok = w.trie.step(node, word[j]); !ok {
				break
			}
			j++
			if at := unitValue(node); at >= 0 {
				end, best = j, at
			}
		}
		if best < 0 {
			return append(dst[:from], w.unk)
		}
		dst = append(dst, w.ids[best])
		i = end
	}
	return dst
}
