package text

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// addedToken is a token that is found in texts before they are cut into words.
type addedToken struct {
	ID         int64
	Content    string
	SingleWord bool `json:"single_word"`
	Lstrip     bool
	Rstrip     bool
	Normalized bool
	Special    bool
}

// finder finds tokens in a text: at each place the longest.
type finder struct {
	chars  *charTable
	trie   *trie
	tokens []addedToken
	first  [256]bool // the bytes that tokens start with
}

// newFinder makes a finder of tokens, which are written as names has them. It is
// nil where there are none.
func newFinder(tokens []addedToken, names []string) (*finder, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	f := &finder{chars: chars(), tokens: tokens}
	keys := make([]trieKey, len(tokens))
	for i, name := range names {
		if name == "" {
			return nil, fmt.Errorf("nothing of the token %q is left by the normalizer", tokens[i].Content)
		}
		keys[i] = trieKey{name, int32(i)}
		f.first[name[0]] = true
	}
	var err error
	f.trie, err = newTrie(keys)
	return f, err
}

// match is the longest token at the front of text, or -1.
func (f *finder) match(text []byte) (token int32, size int) {
	token = -1
	node, ok := f.trie.root(), true
	for i, c := range text {
		if node, ok = f.trie.step(node, c); !ok {
			break
		}
		if at := unitValue(node); at >= 0 {
			token, size = at, i+1
		}
	}
	return token, size
}

// find calls word and token with the parts of a text, in their order. A token that
// strips the spaces around it may overlap the one before.
func (f *finder) find(text []byte, word func(start, end int), token func(id int64)) {
	at := 0
	for i := 0; f != nil && i < len(text); {
		if !f.first[text[i]] {
			i++
			continue
		}
		n, size := f.match(text[i:])
		if n < 0 {
			i++
			continue
		}
		start, end := i, i+size
		i = end
		t := &f.tokens[n]
		if t.SingleWord && !f.alone(text, start, end) {
			continue
		}
		if t.Lstrip {
			for start > 0 {
				r, size := utf8.DecodeLastRune(text[:start])
				if f.chars.of(r)&isWhite == 0 {
					break
				}
				start -= size
			}
			start = max(start, at)
		}
		if t.Rstrip {
			end = run(f.chars, text, end, isWhite, true)
		}
		if at < start {
			word(at, start)
		}
		token(t.ID)
		at = end
	}
	if at < len(text) {
		word(at, len(text))
	}
}

// alone tells whether no word goes on at either end of text[start:end].
func (f *finder) alone(text []byte, start, end int) bool {
	if r, size := utf8.DecodeLastRune(text[:start]); size > 0 && f.chars.of(r)&isWord != 0 {
		return false
	}
	r, size := utf8.DecodeRune(text[end:])
	return size == 0 || f.chars.of(r)&isWord == 0
}

// number gives the tokens their ids as the tokenizers library does: those of the
// vocabulary, or the next ones behind it, whatever the file says. Of tokens with
// one id, the last counts.
func number(tokens []addedToken, vocab pieceIDs) ([]addedToken, error) {
	next := int64(len(vocab))
	ids := map[string]int64{}
	at := map[int64]int{}
	var list []addedToken
	for _, t := range tokens {
		if t.Content == "" {
			continue
		}
		id, ok := ids[t.Content]
		if !ok {
			if id, ok = vocab[t.Content]; !ok {
				id = next
				next++
			}
		}
		ids[t.Content] = id
		if t.ID != id && len(vocab) < math.MaxInt32 {
			return nil, fmt.Errorf("the token %q has the id %d, but would get %d: the list of added_tokens is damaged", t.Content, t.ID, id)
		}
		if i, ok := at[id]; ok {
			list[i] = t
			continue
		}
		at[id] = len(list)
		list = append(list, t)
	}
	return list, nil
}

// newFinders makes the two finders: of the tokens that are looked for in the text
// itself, and of those that are looked for in the normalised text.
func newFinders(tokens []addedToken, normalize func(string) string) (raw, normalized *finder, err error) {
	var lists [2][]addedToken
	var names [2][]string
	for _, t := range tokens {
		which, name := 0, t.Content
		if t.Normalized {
			which, name = 1, normalize(t.Content)
		}
		lists[which], names[which] = append(lists[which], t), append(names[which], name)
	}
	raw, err1 := newFinder(lists[0], names[0])
	normalized, err2 := newFinder(lists[1], names[1])
	return raw, normalized, errors.Join(err1, err2)
}
