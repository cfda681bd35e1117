package text

import "unicode/utf8"

// normalizer is SentencePiece's: characters are replaced by a map that the model
// carries, and spaces become ▁.
type normalizer struct {
	chars *charMap // nil: none
	user  *trie    // pieces that are kept as they are, or nil

	addDummyPrefix   bool
	removeExtra      bool
	escape           bool
	whitespaceSuffix bool

	// plain[c]: the ASCII character c stays as it is where no character outside
	// ASCII follows. Most of most texts is such.
	plain [128]bool
}

const space = "\u2581"

// init finds the plain characters. Call it when all else is set.
func (n *normalizer) init() {
	for c := range n.plain {
		n.plain[c] = n.isPlain(byte(c))
	}
}

func (n *normalizer) isPlain(c byte) bool {
	if n.user != nil {
		if _, ok := n.user.step(n.user.root(), c); ok {
			return false
		}
	}
	if n.chars == nil {
		return true
	}
	m := n.chars
	pos, ok := m.step(dartsOffset(m.darts[0]), c)
	if !ok {
		return true
	}
	unit := m.darts[pos]
	if dartsEnds(unit) {
		return false
	}
	for d := range byte(128) {
		if _, ok := m.step(pos^dartsOffset(unit), d); ok {
			return false
		}
	}
	return true
}

// prefix normalises the character, or the rule's key, at the front of s. The
// result is either fresh or the first used bytes of s.
func (n *normalizer) prefix(s string, fresh []byte) (out []byte, used int) {
	if n.user != nil {
		longest := 0
		u, ok := n.user.root(), true
		for i := 0; i < len(s); i++ {
			if u, ok = n.user.step(u, s[i]); !ok {
				break
			}
			if unitValue(u) >= 0 {
				longest = i + 1
			}
		}
		if longest > 0 {
			return append(fresh, s[:longest]...), longest
		}
	}
	if n.chars != nil {
		if r, used := n.chars.longest(s); used > 0 {
			return r, used
		}
	}
	r, used := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && used == 1 {
		return append(fresh, "\ufffd"...), 1
	}
	return append(fresh, s[:used]...), used
}

func (n *normalizer) withoutLeadingSpaces(s string) string {
	var fresh [256]byte
	for len(s) > 0 {
		p, used := n.prefix(s, fresh[:0])
		if len(p) != 1 || p[0] != ' ' {
			break
		}
		s = s[used:]
	}
	return s
}

// normalize appends the normal form of s to out.
func (n *normalizer) normalize(s string, out []byte) []byte {
	var fresh [256]byte
	if n.removeExtra {
		s = n.withoutLeadingSpaces(s)
	}
	if len(s) == 0 {
		return out
	}
	start := len(out)
	mark := " "
	if n.escape {
		mark = space
	}
	if n.addDummyPrefix && !n.whitespaceSuffix {
		out = append(out, mark...)
	}
	afterSpace := n.removeExtra
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf && n.plain[c] && (i+1 == len(s) || s[i+1] < utf8.RuneSelf) {
			i++
			if c != ' ' {
				out = append(out, c)
				afterSpace = false
			} else if !afterSpace {
				out = append(out, mark...)
				afterSpace = n.removeExtra
			}
			continue
		}
		p, used := n.prefix(s[i:], fresh[:0])
		i += used
		for afterSpace && len(p) > 0 && p[0] == ' ' {
			p = p[1:]
		}
		for _, c := range p {
			if c == ' ' {
				out = append(out, mark...)
			} else {
				out = append(out, c)
			}
		}
		if len(p) > 0 {
			afterSpace = p[len(p)-1] == ' '
		}
		afterSpace = afterSpace && n.removeExtra
	}
	if n.removeExtra {
		for len(out)-start >= len(mark) && string(out[len(out)-len(mark):]) == mark {
			out = out[:len(out)-len(mark)]
		}
	}
	if n.addDummyPrefix && n.whitespaceSuffix {
		out = append(out, mark...)
	}
	return out
}
