package text

import (
	"cmp"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// form is one of Unicode's normal forms (UAX #15). It is done here rather than by
// package norm as a whole, which puts U+034F into long rows of marks and knows
// characters that the tokenizers library, of Unicode 9, does not.
type form struct {
	of      norm.Form // NFD or NFKD
	compose bool
	chars   *charTable
}

// decomposed is a character of a decomposition.
type decomposed struct {
	r     rune
	class uint8
	zero  bool // comes from the front of the text, as normal.zero has it
}

// Hangul syllables are composed by arithmetic.
const (
	hangulBase, hangulEnd = 0xac00, 0xd7a4
	leadBase, leadCount   = 0x1100, 19
	vowelBase, vowelCount = 0x1161, 21
	tailBase, tailCount   = 0x11a7, 28
	hangulRow             = vowelCount * tailCount
	firstComposed         = 0x300 // below, the composed forms change nothing
	firstDecomposed       = 0xa0
	longRun               = 16 // marks; longer rows are sorted by merging
)

func (f *form) apply(n *normal) {
	if f.isNormal(n.text) {
		return
	}
	out, zero := n.spare[:0], 0
	emit := func() {
		f.order(n.chars)
		list := n.chars
		if f.compose {
			list = compose(list)
		}
		for _, c := range list {
			out = utf8.AppendRune(out, c.r)
			if c.zero {
				zero = len(out)
			}
		}
		n.chars = n.chars[:0]
	}
	n.chars = n.chars[:0]
	for i := 0; i < len(n.text); {
		r, size := utf8.DecodeRune(n.text[i:])
		if r < utf8.RuneSelf {
			emit() // nothing of ASCII combines with what is before it
		}
		n.chars = f.decompose(n.chars, r, n.text[i:i+size], i < n.zero)
		i += size
	}
	emit()
	n.become(out, zero)
}

// isNormal tells whether a text surely is in the form already.
func (f *form) isNormal(text []byte) bool {
	below := rune(firstDecomposed)
	if f.compose && f.of == norm.NFD {
		below = firstComposed
	}
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r >= below {
			return false
		}
		i += size
	}
	return true
}

func (f *form) decompose(list []decomposed, r rune, text []byte, zero bool) []decomposed {
	if f.chars.of(r)&isActive == 0 {
		return append(list, decomposed{r, 0, zero})
	}
	if r >= hangulBase && r < hangulEnd {
		s := r - hangulBase
		list = append(list, decomposed{leadBase + s/hangulRow, 0, zero}, decomposed{vowelBase + s%hangulRow/tailCount, 0, zero})
		if t := s % tailCount; t > 0 {
			list = append(list, decomposed{tailBase + t, 0, zero})
		}
		return list
	}
	p := f.of.Properties(text)
	d := p.Decomposition()
	if d == nil {
		return append(list, decomposed{r, p.CCC(), zero})
	}
	for len(d) > 0 {
		r, size := utf8.DecodeRune(d)
		list = append(list, decomposed{r, f.class(r, d[:size]), zero})
		d = d[size:]
	}
	return list
}

func (f *form) class(r rune, text []byte) uint8 {
	if f.chars.of(r)&isActive == 0 {
		return 0
	}
	return norm.NFD.Properties(text).CCC()
}

// order sorts each row of marks by class.
func (f *form) order(list []decomposed) {
	for i := 0; i < len(list); i++ {
		if list[i].class == 0 {
			continue
		}
		j := i + 1
		for j < len(list) && list[j].class != 0 {
			j++
		}
		row := list[i:j]
		if len(row) > longRun {
			slices.SortStableFunc(row, func(a, b decomposed) int { return cmp.Compare(a.class, b.class) })
		} else {
			for k := 1; k < len(row); k++ {
				for m := k; m > 0 && row[m].class < row[m-1].class; m-- {
					row[m], row[m-1] = row[m-1], row[m]
				}
			}
		}
		i = j
	}
}

// compose composes an ordered list in place.
func compose(list []decomposed) []decomposed {
	pairs := compositions()
	n, starter := 0, -1
	for _, c := range list {
		if starter >= 0 {
			last := list[n-1].class
			if n-1 == starter || last != 0 && last < c.class {
				if r, ok := composed(pairs, list[starter].r, c.r); ok {
					list[starter].r = r
					continue
				}
			}
		}
		if c.class == 0 {
			starter = n
		}
		list[n] = c
		n++
	}
	return list[:n]
}

func composed(pairs map[[2]rune]rune, a, b rune) (rune, bool) {
	if l, v := a-leadBase, b-vowelBase; l >= 0 && l < leadCount && v >= 0 && v < vowelCount {
		return hangulBase + (l*vowelCount+v)*tailCount, true
	}
	if s, t := a-hangulBase, b-tailBase; s >= 0 && a < hangulEnd && s%tailCount == 0 && t > 0 && t < tailCount {
		return a + t, true
	}
	r, ok := pairs[[2]rune{a, b}]
	return r, ok
}

// compositions tells what two characters compose to.
var compositions = sync.OnceValue(func() map[[2]rune]rune {
	pairs := map[[2]rune]rune{}
	table := chars()
	var buf [utf8.UTFMax]byte
	for r := rune(firstDecomposed); r < 0x20000; r++ {
		if table.of(r)&isActive == 0 || r >= hangulBase && r < hangulEnd {
			continue
		}
		text := utf8.AppendRune(buf[:0], r)
		d := norm.NFD.Properties(text).Decomposition()
		if d == nil || string(norm.NFC.Bytes(text)) != string(text) {
			continue
		}
		last, size := utf8.DecodeLastRune(d)
		first, n := utf8.DecodeRune(norm.NFC.Bytes(d[:len(d)-size]))
		if n > 0 {
			pairs[[2]rune{first, last}] = r
		}
	}
	return pairs
})
