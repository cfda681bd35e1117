package text

import (
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Properties of a character, as the tokenizers library knows them: its parts follow
// different versions of Unicode, and tables.go says what each of them takes for what.
const (
	isWhite      = 1 << iota // Unicode's White_Space, which \s is too
	isControl                // dropped by BertNormalizer's clean_text
	isCJK                    // set apart by BertNormalizer's handle_chinese_chars
	isNonspacing             // dropped by BertNormalizer's strip_accents
	isMark                   // dropped by StripAccents
	isPunct                  // cut off by BertPreTokenizer and Punctuation
	isNumeric                // cut off by Digits
	isWord                   // \w of Whitespace and of added tokens
	isActive                 // has a decomposition or a combining class
	isL                      // \p{L} of a pattern, and so on
	isN
	isM
	isP
	isD
	isW
)

// charTable holds the properties of all characters, 256 to a page.
type charTable struct {
	page  [(unicode.MaxRune + 1) >> 8]uint16
	pages [][256]uint16
}

func (t *charTable) of(r rune) uint16 {
	if uint32(r) > unicode.MaxRune {
		return 0
	}
	return t.pages[t.page[r>>8]][r&0xff]
}

// chars is the table, made when it is first asked for.
var chars = sync.OnceValue(newCharTable)

// cjkBlocks are what BertNormalizer calls Chinese characters.
var cjkBlocks = [][2]rune{
	{0x3400, 0x4dbf},
	{0x4e00, 0x9fff},
	{0xf900, 0xfaff},
	{0x20000, 0x2a6df},
	{0x2a700, 0x2b81f},
	{0x2b920, 0x2ceaf},
	{0x2f800, 0x2fa1f},
}

func newCharTable() *charTable {
	all := make([]uint16, unicode.MaxRune+1)
	mark := func(lo, hi rune, bit uint16) {
		for i := range all[lo : hi+1] {
			all[int(lo)+i] |= bit
		}
	}
	for _, r := range unicode.White_Space.R16 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			mark(c, c, isWhite)
		}
	}
	for _, r := range cjkBlocks {
		mark(r[0], r[1], isCJK)
	}
	for _, p := range []struct {
		points string
		bit    uint16
	}{
		{pointsControl, isControl}, {pointsNonspacing, isNonspacing}, {pointsMark, isMark}, {pointsPunct, isPunct},
		{pointsNumeric, isNumeric}, {pointsWord, isWord}, {pointsActive, isActive}, {pointsL, isL}, {pointsN, isN},
		{pointsM, isM}, {pointsP, isP}, {pointsD, isD}, {pointsW, isW},
	} {
		last := rune(0)
		for word := range strings.FieldsSeq(p.points) {
			gap, more, _ := strings.Cut(word, "-")
			lo := last + base36(gap)
			last = lo + base36(more)
			mark(lo, last, p.bit)
		}
	}
	t := &charTable{}
	seen := map[[256]uint16]uint16{}
	for i := range t.page {
		page := [256]uint16(all[i<<8:])
		at, ok := seen[page]
		if !ok {
			at = uint16(len(t.pages))
			seen[page] = at
			t.pages = append(t.pages, page)
		}
		t.page[i] = at
	}
	return t
}

func base36(s string) rune {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 36, 21)
	if err != nil {
		panic("tables.go: " + err.Error())
	}
	return rune(n)
}

// ranges lists the characters that fn has, as first and last ones.
func ranges(fn func(rune) bool) (list [][2]rune) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !fn(r) {
			continue
		}
		if n := len(list); n > 0 && list[n-1][1] == r-1 {
			list[n-1][1] = r
		} else {
			list = append(list, [2]rune{r, r})
		}
	}
	return list
}

// appendLower appends the lower case of r. A final sigma is like any other, as
// each character is looked at alone.
func appendLower(out []byte, r rune) []byte {
	switch {
	case r == 'İ':
		return append(out, "i\u0307"...)
	case r < 0x80:
		return append(out, lowerByte(byte(r)))
	}
	if low, ok := newLower[r]; ok {
		return utf8.AppendRune(out, low)
	}
	return utf8.AppendRune(out, unicode.ToLower(r))
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
