package text

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// matcher finds the next place at or behind from where a pattern matches. Matches
// are not empty; start is -1 where there is none. The text is valid UTF-8.
type matcher interface {
	next(text []byte, from int) (start, end int)
}

// pattern is a pattern of a tokenizer.json: a string, or a regular expression in
// Oniguruma's language.
type pattern struct{ String, Regex *string }

func (p pattern) matcher() (matcher, error) {
	switch {
	case p.String != nil && p.Regex == nil:
		if *p.String == "" {
			return nil, errors.New("an empty pattern")
		}
		return literal(*p.String), nil
	case p.Regex != nil && p.String == nil:
		m, err := newRegex(*p.Regex)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q is not supported: %w", *p.Regex, err)
		}
		return m, nil
	}
	return nil, errors.New("a pattern is either a String or a Regex")
}

type literal string

func (l literal) next(text []byte, from int) (int, int) {
	i := bytes.Index(text[from:], []byte(l))
	if i < 0 {
		return -1, -1
	}
	return from + i, from + i + len(l)
}

// class matches single characters that have one of the bits; with run, as many
// as there are.
type class struct {
	chars *charTable
	bits  uint16
	run   bool
}

func (c class) next(text []byte, from int) (int, int) {
	start := -1
	for i := from; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[i:])
		}
		in := c.chars.of(r)&c.bits != 0
		switch {
		case in && !c.run:
			return i, i + size
		case in && start < 0:
			start = i
		case !in && start >= 0:
			return start, i
		}
		i += size
	}
	if start < 0 {
		return -1, -1
	}
	return start, len(text)
}

// wholeRegex is an expression that Go's engine reads in the same way.
type wholeRegex struct{ re *regexp.Regexp }

func (w wholeRegex) next(text []byte, from int) (int, int) {
	m := w.re.FindIndex(text[from:])
	if m == nil {
		return -1, -1
	}
	return from + m[0], from + m[1]
}

// regexTail ends the expressions of GPT-2 and its kin. Go has no look-ahead, so
// that its part, white space that leaves its last character to the word behind it,
// is done by hand.
const regexTail = `|\s+(?!\S)|\s+`

// tailRegex is an expression with that tail: head is what stands before, and only
// matches at the front.
type tailRegex struct {
	head  *regexp.Regexp
	chars *charTable
}

func (t *tailRegex) next(text []byte, from int) (int, int) {
	for i := from; i < len(text); {
		if m := t.head.FindIndex(text[i:]); m != nil {
			return i, i + m[1]
		}
		if end := whiteTail(t.chars, text, i); end > i {
			return i, end
		}
		_, size := utf8.DecodeRune(text[i:])
		i += size
	}
	return -1, -1
}

// whiteTail is the end of the match of \s+(?!\S)|\s+ at i, or i.
func whiteTail(chars *charTable, text []byte, i int) int {
	end, last := i, i
	for end < len(text) {
		r, size := rune(text[end]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[end:])
		}
		if chars.of(r)&isWhite == 0 {
			break
		}
		last = end
		end += size
	}
	if end < len(text) && last > i {
		return last
	}
	return end
}

// newRegex makes a matcher of an expression, by hand for those that are met often.
func newRegex(expr string) (matcher, error) {
	table := chars()
	switch expr {
	case `\s+`:
		return class{table, isWhite, true}, nil
	case `\s`:
		return class{table, isWhite, false}, nil
	case gpt2Regex:
		return &gpt2{table}, nil
	}
	for _, specials := range []string{``, `<\|startoftext\|>|<\|endoftext\|>|`} {
		if expr == specials+clipRegex {
			return &clip{table, specials != ""}, nil
		}
	}
	head, hasTail := strings.CutSuffix(expr, regexTail)
	goExpr, err := translate(head)
	if err != nil {
		return nil, err
	}
	if hasTail {
		goExpr = `\A(?:` + goExpr + `)`
	}
	re, err := regexp.Compile(goExpr)
	if err != nil {
		// Go's words would show the long classes that translate put in.
		return nil, errors.New("the regular expressions of Go do not know it")
	}
	if re.MatchString("") {
		return nil, errors.New("it matches the empty string")
	}
	if hasTail {
		return &tailRegex{re, table}, nil
	}
	return wholeRegex{re}, nil
}

// foldedLetters is the only group without case that is understood: classes fold in
// other ways here and there.
var foldedLetters = regexp.MustCompile(`^\(\?i:['a-zA-Z|]+\)`)

// translate turns an expression of Oniguruma's Ruby syntax into Go's, where the two
// agree on what it matches, and refuses it elsewhere. Classes are written out, as
// Go's know other characters.
func translate(expr string) (string, error) {
	var out strings.Builder
	inClass := false
	for i := 0; i < len(expr); {
		rest := expr[i:]
		c := rest[0]
		if c == '\\' {
			used, err := translateEscape(&out, rest, inClass)
			if err != nil {
				return "", err
			}
			i += used
			continue
		}
		switch {
		case inClass && (c == '[' || strings.HasPrefix(rest, "&&")):
			return "", errors.New("a class in a class")
		case inClass && c == ']':
			inClass = false
		case inClass:
		case c == '[':
			if strings.HasPrefix(rest, "[]") || strings.HasPrefix(rest, "[^]") {
				return "", errors.New("an empty class")
			}
			inClass = true
		case c == '^' || c == '$':
			return "", fmt.Errorf("it has the anchor %c", c)
		case strings.HasPrefix(rest, "(?") && !strings.HasPrefix(rest, "(?:") && !foldedLetters.MatchString(rest):
			return "", fmt.Errorf("it has the group %s", rest[:min(len(rest), 3)])
		case strings.HasPrefix(rest, "{,"):
			return "", errors.New("it has a repetition without a lower bound")
		}
		out.WriteByte(c)
		i++
	}
	if inClass {
		return "", errors.New("a class is not closed")
	}
	return out.String(), nil
}

// translateEscape writes the escape at the front of rest and returns its length.
func translateEscape(out *strings.Builder, rest string, inClass bool) (int, error) {
	if len(rest) < 2 {
		return 0, errors.New("it ends in a backslash")
	}
	c := rest[1]
	switch {
	case strings.IndexByte("rntfv", c) >= 0 || c < utf8.RuneSelf && isASCIIPunct(c):
		out.WriteString(rest[:2])
		return 2, nil
	case c >= utf8.RuneSelf:
		return 0, errors.New("it has a backslash before a letter")
	}
	name, not := string(c), c >= 'A' && c <= 'Z'
	used := 2
	if c == 'p' || c == 'P' {
		end := strings.IndexByte(rest, '}')
		if end < 0 || rest[2] != '{' {
			return 0, errors.New(`it has a \p without a name`)
		}
		name, used = "p"+rest[3:end], end+1
	}
	bit, ok := map[string]uint16{
		"s": isWhite, "d": isD, "w": isW, "S": isWhite, "D": isD, "W": isW, "pL": isL, "pN": isN, "pM": isM, "pP": isP,
	}[name]
	if !ok {
		return 0, fmt.Errorf("it has %s", rest[:used])
	}
	if next := rest[used:]; inClass && len(next) > 1 && next[0] == '-' && next[1] != ']' {
		return 0, fmt.Errorf("it has a range that starts at %s", rest[:used])
	}
	writeClass(out, bit, not, inClass)
	return used, nil
}

// onlyBareWord is what Oniguruma takes for \w outside of classes only.
const onlyBareWord = "²³¹¼½¾"

// notBare stands for a class without onlyBareWord, beside isW.
const notBare = 1 << 15

var knownRanges sync.Map // of [][2]rune, by bit

// rangesOf lists the characters that have bit. Looking through all of them takes
// some milliseconds.
func rangesOf(bit uint16) [][2]rune {
	if list, ok := knownRanges.Load(bit); ok {
		return list.([][2]rune)
	}
	table := chars()
	list := ranges(func(r rune) bool {
		return table.of(r)&bit&^notBare != 0 && (bit&notBare == 0 || !strings.ContainsRune(onlyBareWord, r))
	})
	knownRanges.Store(bit, list)
	return list
}

func writeClass(out *strings.Builder, bit uint16, not, inClass bool) {
	if !inClass {
		out.WriteByte('[')
	}
	next := rune(0)
	write := func(lo, hi rune) {
		if lo <= hi {
			fmt.Fprintf(out, `\x{%x}-\x{%x}`, lo, hi)
		}
	}
	if inClass && bit == isW {
		bit |= notBare
	}
	for _, r := range rangesOf(bit) {
		if not {
			write(next, r[0]-1)
		} else {
			write(r[0], r[1])
		}
		next = r[1] + 1
	}
	if not {
		write(next, utf8.MaxRune)
	}
	if !inClass {
		out.WriteByte(']')
	}
}

func isASCIIPunct(c byte) bool {
	return c >= '!' && c <= '/' || c >= ':' && c <= '@' || c >= '[' && c <= '`' || c >= '{' && c <= '~'
}
