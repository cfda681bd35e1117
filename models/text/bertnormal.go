package text

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertNormal is BERT's basic clean-up.
type bertNormal struct {
	chars                          *charTable
	clean, chinese, accents, lower bool
	decompose                      *form
	// ascii is what becomes of the characters of ASCII; dropped ones are in drop.
	ascii, drop [utf8.RuneSelf]byte
}

func readBert(raw component) (step, error) {
	var v struct {
		Type         string
		CleanText    *bool `json:"clean_text"`
		Chinese      *bool `json:"handle_chinese_chars"`
		StripAccents *bool `json:"strip_accents"`
		Lowercase    *bool
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	for name, p := range map[string]*bool{"clean_text": v.CleanText, "handle_chinese_chars": v.Chinese, "lowercase": v.Lowercase} {
		if p == nil {
			return nil, raw.lacks(name)
		}
	}
	b := &bertNormal{chars: chars(), clean: *v.CleanText, chinese: *v.Chinese, accents: *v.Lowercase, lower: *v.Lowercase}
	if v.StripAccents != nil {
		b.accents = *v.StripAccents
	}
	b.decompose = &form{of: norm.NFD, chars: b.chars}
	for i := range b.ascii {
		c := byte(i)
		switch p := b.chars.of(rune(i)); {
		case b.clean && p&isControl != 0:
			b.drop[i] = 1
		case b.clean && p&isWhite != 0:
			c = ' '
		case b.lower:
			c = lowerByte(c)
		}
		b.ascii[i] = c
	}
	return b, nil
}

func (b *bertNormal) apply(n *normal) {
	out, zero := n.spare[:0], 0
	active, marks, high := false, false, false
	for i := 0; i < len(n.text); {
		size := 1
		if c := n.text[i]; c < utf8.RuneSelf {
			if b.drop[c] == 0 {
				out = append(out, b.ascii[c])
			}
		} else {
			var r rune
			r, size = utf8.DecodeRune(n.text[i:])
			p := b.chars.of(r)
			active, marks = active || p&isActive != 0, marks || p&isNonspacing != 0
			high = true
			switch {
			case b.clean && p&isControl != 0:
			case b.clean && p&isWhite != 0:
				out = append(out, ' ')
			case b.chinese && p&isCJK != 0:
				out = append(append(append(out, ' '), n.text[i:i+size]...), ' ')
			default:
				out = append(out, n.text[i:i+size]...)
			}
		}
		if i < n.zero {
			zero = len(out)
		}
		i += size
	}
	n.become(out, zero)
	if !high {
		return
	}
	if b.accents && active {
		b.decompose.apply(n)
	}
	if b.accents && (active || marks) || b.lower {
		b.finish(n)
	}
}

// finish drops the accents and lowers what is not ASCII. The decomposition may
// have brought capitals of ASCII.
func (b *bertNormal) finish(n *normal) {
	out, zero := n.spare[:0], 0
	for i := 0; i < len(n.text); {
		size := 1
		if c := n.text[i]; c < utf8.RuneSelf {
			if b.lower {
				c = lowerByte(c)
			}
			out = append(out, c)
		} else {
			var r rune
			r, size = utf8.DecodeRune(n.text[i:])
			switch {
			case b.accents && b.chars.of(r)&isNonspacing != 0:
			case b.lower:
				out = appendLower(out, r)
			default:
				out = append(out, n.text[i:i+size]...)
			}
		}
		if i < n.zero {
			zero = len(out)
		}
		i += size
	}
	n.become(out, zero)
}
