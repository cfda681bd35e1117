package text

import (
	"bytes"
	"unicode/utf8"
)

// The expressions that byte-level tokenizers cut texts with, scanned by hand: one
// of them has a look-ahead, which Go's expressions have not, and all are faster so.
const (
	gpt2Regex = contractionsRegex + `| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+` + regexTail
	clipRegex = contractionsRegex + `|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`

	contractionsRegex = `'s|'t|'re|'ve|'m|'ll|'d`
)

const isOther = isWhite | isL | isN // what [^\s\p{L}\p{N}] leaves out

// run is the end of the characters from i on that have one of bits, or have none
// of them.
func run(chars *charTable, text []byte, i int, bits uint16, have bool) int {
	for i < len(text) {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		if (chars.of(r)&bits != 0) != have {
			break
		}
		i += size
	}
	return i
}

// wordRun is the end of the letters, of the numbers or of the others at i.
func wordRun(chars *charTable, text []byte, i int) int {
	if i >= len(text) {
		return i
	}
	r, _ := utf8.DecodeRune(text[i:])
	switch p := chars.of(r); {
	case p&isL != 0:
		return run(chars, text, i, isL, true)
	case p&isN != 0:
		return run(chars, text, i, isN, true)
	case p&isWhite != 0:
		return i
	}
	return run(chars, text, i, isOther, false)
}

// contraction is the length of an English contraction at the front of text.
func contraction(text []byte) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		two := byte('e')
		if text[1] == 'l' {
			two = 'l'
		}
		if len(text) > 2 && text[2] == two {
			return 3
		}
	}
	return 0
}

type gpt2 struct{ chars *charTable }

// next: at any place, some part of the expression matches.
func (g *gpt2) next(text []byte, i int) (int, int) {
	if i >= len(text) {
		return -1, -1
	}
	if n := contraction(text[i:]); n > 0 {
		return i, i + n
	}
	word := i
	if text[i] == ' ' {
		word++
	}
	if end := wordRun(g.chars, text, word); end > word {
		return i, end
	}
	return i, whiteTail(g.chars, text, i)
}

type clip struct {
	chars    *charTable
	specials bool
}

func (c *clip) next(text []byte, from int) (int, int) {
	i := run(c.chars, text, from, isWhite, true)
	if i == len(text) {
		return -1, -1
	}
	if c.specials && text[i] == '<' {
		for _, s := range []string{"<|startoftext|>", "<|endoftext|>"} {
			if bytes.HasPrefix(text[i:], []byte(s)) {
				return i, i + len(s)
			}
		}
	}
	if n := contraction(text[i:]); n > 0 {
		return i, i + n
	}
	r, size := utf8.DecodeRune(text[i:])
	if c.chars.of(r)&isN != 0 {
		return i, i + size
	}
	return i, wordRun(c.chars, text, i)
}

// byteLetter is the letter that GPT-2 writes for each byte: what can be seen in
// Latin-1 is itself, and the others follow behind.
var byteLetter = func() (letters [256]string) {
	hidden := rune(0x100)
	for b := range letters {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= 0xa1 && r != 0xad) {
			r = hidden
			hidden++
		}
		letters[b] = string(r)
	}
	return letters
}()

func appendByteLetters(out, text []byte) []byte {
	for _, b := range text {
		out = append(out, byteLetter[b]...)
	}
	return out
}
