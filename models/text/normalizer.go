package text

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// normalizer is SentencePiece's: characters are replaced by a map that the model
// carries, and spaces become ▁.
type normalizer struct {
	darts        []uint32 // the map's keys, a double array in the format of darts-clone
	replacements []byte   // the map's values, each ended by a zero byte
	user         *trie    // pieces that are kept as they are, or nil

	addDummyPrefix   bool
	removeExtra      bool
	escape           bool
	whitespaceSuffix bool

	// plain[c]: the ASCII character c stays as it is where no character outside
	// ASCII follows. Most of most texts is such.
	plain [128]bool
}

const space = "\u2581"

// setMap takes the map as it stands in a model.
func (n *normalizer) setMap(blob []byte) error {
	if len(blob) == 0 {
		return nil
	}
	if len(blob) < 4 {
		return errors.New("the character map is cut")
	}
	size := int(binary.LittleEndian.Uint32(blob))
	if size%4 != 0 || size >= len(blob)-4 || size == 0 {
		return errors.New("the character map is damaged")
	}
	n.darts = make([]uint32, size/4)
	for i := range n.darts {
		n.darts[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	n.replacements = blob[4+size:]
	if n.replacements[len(n.replacements)-1] != 0 {
		return errors.New("the character map is damaged")
	}
	return nil
}

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
	if n.darts == nil {
		return true
	}
	pos, ok := n.dartsStep(dartsOffset(n.darts[0]), c)
	if !ok {
		return true
	}
	unit := n.darts[pos]
	if unit>>8&1 == 1 {
		return false
	}
	for d := range byte(128) {
		if _, ok := n.dartsStep(pos^dartsOffset(unit), d); ok {
			return false
		}
	}
	return true
}

func dartsOffset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// dartsStep goes from the offset of a node to its child for byte c.
func (n *normalizer) dartsStep(node uint32, c byte) (uint32, bool) {
	pos := node ^ uint32(c)
	if pos >= uint32(len(n.darts)) || n.darts[pos]&(1<<31|0xff) != uint32(c) {
		return 0, false
	}
	return pos, true
}

// lookup returns the longest key at the front of s and its replacement; length 0
// where there is none.
func (n *normalizer) lookup(s string) (replacement []byte, length int) {
	if n.darts == nil {
		return nil, 0
	}
	value := uint32(0)
	node := dartsOffset(n.darts[0])
	for i := 0; i < len(s); i++ {
		pos, ok := n.dartsStep(node, s[i])
		if !ok {
			break
		}
		unit := n.darts[pos]
		node = pos ^ dartsOffset(unit)
		if unit>>8&1 == 1 && node < uint32(len(n.darts)) {
			value, length = n.darts[node]&(1<<31-1), i+1
		}
	}
	if length == 0 {
		return nil, 0
	}
	if int(value) >= len(n.replacements) {
		return nil, 0
	}
	r := n.replacements[value:]
	return r[:bytes.IndexByte(r, 0)], length
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
	if r, used := n.lookup(s); used > 0 {
		return r, used
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
