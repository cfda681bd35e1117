package text

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// charMap is the compiled character map of a SentencePiece model: strings, and
// what replaces them.
type charMap struct {
	darts        []uint32 // the keys, a double array in the format of darts-clone
	replacements []byte   // the values, each ended by a zero byte
}

// newCharMap reads a map as it stands in a model. It keeps blob.
func newCharMap(blob []byte) (*charMap, error) {
	if len(blob) < 4 {
		return nil, errors.New("the character map is cut")
	}
	size := int(binary.LittleEndian.Uint32(blob))
	if size%4 != 0 || size >= len(blob)-4 || size == 0 {
		return nil, errors.New("the character map is damaged")
	}
	m := &charMap{darts: make([]uint32, size/4), replacements: blob[4+size:]}
	for i := range m.darts {
		m.darts[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	if m.replacements[len(m.replacements)-1] != 0 {
		return nil, errors.New("the character map is damaged")
	}
	return m, nil
}

func dartsOffset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// dartsEnds tells whether a key ends at a unit.
func dartsEnds(unit uint32) bool { return unit>>8&1 == 1 }

// step goes from the offset of a node to its child for byte c.
func (m *charMap) step(node uint32, c byte) (uint32, bool) {
	pos := node ^ uint32(c)
	if pos >= uint32(len(m.darts)) || m.darts[pos]&(1<<31|0xff) != uint32(c) {
		return 0, false
	}
	return pos, true
}

// longest returns the longest key at the front of s and its replacement, which
// the caller must not change; length 0 where there is none.
func (m *charMap) longest(s string) (replacement []byte, length int) { return m.lookup(s, false) }

// shortest is longest, of the shortest key.
func (m *charMap) shortest(s string) (replacement []byte, length int) { return m.lookup(s, true) }

func (m *charMap) lookup(s string, first bool) (replacement []byte, length int) {
	value := uint32(0)
	node := dartsOffset(m.darts[0])
	for i := 0; i < len(s); i++ {
		pos, ok := m.step(node, s[i])
		if !ok {
			break
		}
		unit := m.darts[pos]
		node = pos ^ dartsOffset(unit)
		if dartsEnds(unit) && node < uint32(len(m.darts)) {
			value, length = m.darts[node]&(1<<31-1), i+1
			if first {
				break
			}
		}
	}
	if length == 0 || int(value) >= len(m.replacements) {
		return nil, 0
	}
	r := m.replacements[value:]
	return r[:bytes.IndexByte(r, 0)], length
}
