package text

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// words remembers how short words were cut; most words of most texts come again
// and again. It has a fixed size: a word takes the place of another one.
type words []word

// word is a short word, and what it was cut into.
type word struct {
	key   wordKey
	ids   [6]int32
	size  uint8 // in bytes; 0: no word is here
	n     uint8 // of ids
	slack float32
	reach float32
}

const (
	longestWord = 24 // bytes
	wordBits    = 13 // of the number of words that are remembered: 512 kB
)

type wordKey [3]uint64

// keyOf packs a word of 1 to longestWord bytes.
func keyOf(w []byte) (k wordKey) {
	n := len(w)
	switch {
	case n >= 16:
		k[0], k[1] = binary.LittleEndian.Uint64(w), binary.LittleEndian.Uint64(w[8:])
		k[2] = binary.LittleEndian.Uint64(w[n-8:]) >> (8 * (24 - n)) // a shift by 64 gives 0
	case n >= 8:
		k[0] = binary.LittleEndian.Uint64(w)
		k[1] = binary.LittleEndian.Uint64(w[n-8:]) >> (8 * (16 - n))
	case n >= 4:
		k[0] = uint64(binary.LittleEndian.Uint32(w)) | uint64(binary.LittleEndian.Uint32(w[n-4:]))<<(8*(n-4))
	default:
		k[0] = uint64(w[0]) | uint64(w[n/2])<<(8*(n/2)) | uint64(w[n-1])<<(8*(n-1))
	}
	return k
}

// at returns the place of a word of 1 to longestWord bytes, and whether it is there.
func (c *words) at(text []byte) (*word, bool) {
	if *c == nil {
		*c = make(words, 1<<wordBits)
	}
	k := keyOf(text)
	h := k[0]*0x9e3779b97f4a7c15 ^ bits.RotateLeft64(k[1]*0xc2b2ae3d27d4eb4f, 31) ^ bits.RotateLeft64(k[2]*0x165667b19e3779f9, 17)
	h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
	w := &(*c)[h>>(64-wordBits)]
	if int(w.size) == len(text) && w.key == k {
		return w, true
	}
	return w, false
}

// set puts a word in w's place, where its ids are few enough.
func (w *word) set(text []byte, ids []int64) bool {
	if len(ids) > len(w.ids) {
		return false
	}
	w.key, w.size, w.n = keyOf(text), uint8(len(text)), uint8(len(ids))
	for i, id := range ids {
		w.ids[i] = int32(id)
	}
	return true
}

// wordLen is where the next word after that at the front of text begins: at the
// next ▁ behind another character.
func wordLen(text []byte) int {
	i := 0
	for i+2 < len(text) && text[i] == space[0] && text[i+1] == space[1] && text[i+2] == space[2] {
		i += len(space)
	}
	for ; i+2 < len(text); i++ {
		if text[i] == space[0] && text[i+1] == space[1] && text[i+2] == space[2] {
			return i
		}
	}
	return len(text)
}

// splits tells whether no key crosses the beginning of a word, where wordLen sees
// it: then each word can be cut alone.
func splits(keys []trieKey) bool {
	for _, k := range keys {
		if strings.Contains(strings.TrimLeft(k.key, space), space) {
			return false
		}
	}
	return true
}

// joinUnknown makes one id of unknown characters on both sides of dst[at], where
// a word begins. The text begins at dst[from].
func joinUnknown(dst []int64, from, at int, unk int32) []int64 {
	if at > from && at < len(dst) && dst[at] == int64(unk) && dst[at-1] == int64(unk) {
		dst = append(dst[:at], dst[at+1:]...)
	}
	return dst
}
