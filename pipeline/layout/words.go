package layout

import (
	"strings"
	"unicode"

	"github.com/clipperhouse/uax29/v2/words"
	"golang.org/x/text/unicode/norm"
)

// Scripts without spaces between words: their runs of letters are cut into all
// short pieces, of which the frequent ones turn out to be words.
var (
	unspaced = []*unicode.RangeTable{unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}
	// particles of Japanese stand at the ends of runs of hiragana, beside other scripts.
	particles = "のはがをにでとへも"
)

const (
	shortestThai, longestThai = 3, 8 // letters of a piece
	longestPiece              = 4    // of Chinese and Japanese
	longestWord               = 40   // letters; longer ones are no words
)

// script of a letter that matters for cutting; 0: words have spaces between.
func script(r rune) rune {
	switch {
	case unicode.Is(unicode.Han, r):
		return 'H'
	case unicode.Is(unicode.Hiragana, r):
		return 'h'
	case unicode.In(r, unspaced...):
		return 't'
	}
	return 0
}

// terms calls fn with each word of a text, as it stands there: Unicode's words
// (UAX 29) with a letter in them, and for scripts without spaces pieces of their
// runs.
func terms(text string, fn func(term string)) {
	var run []rune
	var kind, before rune
	flush := func(after rune) {
		pieces(run, kind, before, after, fn)
		run = run[:0]
	}
	for it := words.FromString(norm.NFKC.String(text)); it.Next(); {
		word := []rune(it.Value())
		s := script(word[0])
		if s != kind || s == 0 {
			flush(s)
			before, kind = kind, s
		}
		switch {
		case s != 0:
			run = append(run, word...)
		case len(word) > 1 && len(word) <= longestWord && strings.ContainsFunc(string(word), unicode.IsLetter):
			fn(string(word))
		}
	}
	flush(0)
}

// pieces cuts a run of letters of one script without spaces; before and after are
// the scripts beside it.
func pieces(run []rune, kind, before, after rune, fn func(string)) {
	shortest, longest := 2, longestPiece
	switch kind {
	case 0:
		return
	case 'h':
		if before == 'H' && len(run) > 1 && strings.ContainsRune(particles, run[0]) {
			run = run[1:]
		}
		if len(run) > 1 && strings.ContainsRune(particles, run[len(run)-1]) && (len(run) > 2 || after == 'H') {
			run = run[:len(run)-1]
		}
	case 'H':
		if len(run) == 1 {
			shortest = 1
		}
	case 't':
		shortest, longest = shortestThai, longestThai
	}
	for i := range run {
		for n := shortest; n <= longest && i+n <= len(run); n++ {
			if kind == 't' && i+n < len(run) && unicode.Is(unicode.Mn, run[i+n]) || unicode.Is(unicode.Mn, run[i]) {
				continue // a mark belongs to the letter before it
			}
			fn(string(run[i : i+n]))
		}
	}
}
