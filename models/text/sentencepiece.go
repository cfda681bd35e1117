package text

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Unigram is a SentencePiece model of type unigram (Kudo 2018): the best
// segmentation under the pieces' scores, found by Viterbi over a trie.
type Unigram struct {
	norm     normalizer
	pieces   *trie
	score    []float32 // by id
	unkScore float32
	unk      int64
	bos, eos int64 // -1: the model has none
	addBOS   bool
	addEOS   bool
	own      []entry   // user-defined pieces: they pass normalisation as they are
	free     sync.Pool // *lattice
}

// The types of pieces in a SentencePiece model.
const (
	pieceNormal      = 1
	pieceUnknown     = 2
	pieceControl     = 3
	pieceUserDefined = 4
	pieceUnused      = 5
)

// unkPenalty is how much worse an unknown character is than the worst piece.
const unkPenalty = 10

// LoadSentencePiece reads a .model file. Models that are not unigram, or that
// have byte pieces, are refused.
func LoadSentencePiece(path string, addBOS, addEOS bool) (*Unigram, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	u := &Unigram{bos: 1, eos: 2, addBOS: addBOS, addEOS: addEOS}
	u.norm.defaults()
	b := newTrieBuilder()
	if err := u.parse(data, b); err != nil {
		return nil, fmt.Errorf("tokenizer %s: not a SentencePiece unigram model: %w", path, err)
	}
	u.pieces = b.build()
	if len(u.own) > 0 {
		b = newTrieBuilder()
		for _, e := range u.own {
			b.add(e.s, e.id)
		}
		u.norm.own = b.build()
	}
	u.free.New = func() any { return &lattice{} }
	return u, nil
}

var errProto = errors.New("damaged protocol buffer")

// fields calls fn for every field of a message: v holds bytes, x a number.
func fields(b []byte, fn func(num protowire.Number, v []byte, x uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errProto
		}
		b = b[n:]
		var v []byte
		var x uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			x, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var f uint32
			f, n = protowire.ConsumeFixed32(b)
			x = uint64(f)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errProto
		}
		if err := fn(num, v, x); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// parse reads ModelProto: 1 pieces, 2 trainer_spec, 3 normalizer_spec.
func (u *Unigram) parse(data []byte, b *trieBuilder) error {
	lowest, highest := float32(math.Inf(1)), float32(math.Inf(-1))
	kind := uint64(1)
	err := fields(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			return u.piece(v, b, &lowest, &highest)
		case 2:
			return u.trainer(v, &kind)
		case 3:
			return u.norm.parse(v)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case kind != 1:
		return fmt.Errorf("its type is %d, only unigram (1) is supported", kind)
	case len(u.score) == 0:
		return errors.New("it has no pieces")
	case u.bos >= int64(len(u.score)) || u.eos >= int64(len(u.score)):
		return errors.New("its special tokens are no pieces")
	}
	u.unkScore = lowest - unkPenalty
	for _, e := range u.own { // a user-defined piece always wins
		u.score[e.id] = float32(float64(float32(len(e.s))*highest) - 0.1)
	}
	return nil
}

// piece reads SentencePiece: 1 piece, 2 score, 3 type.
func (u *Unigram) piece(msg []byte, b *trieBuilder, lowest, highest *float32) error {
	var text string
	var score float32
	typ := uint64(pieceNormal)
	err := fields(msg, func(num protowire.Number, v []byte, x uint64) error {
		switch num {
		case 1:
			text = string(v)
		case 2:
			score = math.Float32frombits(uint32(x))
		case 3:
			typ = x
		}
		return nil
	})
	if err != nil {
		return err
	}
	id := int32(len(u.score))
	u.score = append(u.score, score)
	switch typ {
	case pieceNormal:
		*lowest, *highest = min(*lowest, score), max(*highest, score)
		b.add(text, id)
	case pieceUserDefined:
		u.own = append(u.own, entry{text, id})
		b.add(text, id)
	case pieceUnknown:
		u.unk = int64(id)
	case pieceControl, pieceUnused:
	default:
		return fmt.Errorf("piece %d, %q, has type %d; byte pieces are not supported", id, text, typ)
	}
	return nil
}

// trainer reads TrainerSpec: 3 model_type, 41 bos_id, 42 eos_id.
func (u *Unigram) trainer(msg []byte, kind *uint64) error {
	return fields(msg, func(num protowire.Number, _ []byte, x uint64) error {
		switch num {
		case 3:
			*kind = x
		case 41:
			u.bos = int64(int32(x))
		case 42:
			u.eos = int64(int32(x))
		}
		return nil
	})
}

// lattice is the working memory of one Encode.
type lattice struct {
	text []byte
	best []float32
	from []int32 // start of the piece that ends here; -1 unreached
	id   []int32
}

func (l *lattice) reset(n int) {
	if cap(l.best) < n+1 {
		l.best, l.from, l.id = make([]float32, n+1), make([]int32, n+1), make([]int32, n+1)
	}
	l.best, l.from, l.id = l.best[:n+1], l.from[:n+1], l.id[:n+1]
	for i := range l.from {
		l.from[i] = -1
	}
	l.best[0] = 0
}

// Encode implements Tokenizer.
func (u *Unigram) Encode(text string, dst []int64) []int64 {
	l := u.free.Get().(*lattice)
	defer u.free.Put(l)
	l.text = u.norm.normalize(text, l.text[:0])
	u.viterbi(l)
	if u.addBOS && u.bos >= 0 {
		dst = append(dst, u.bos)
	}
	dst = u.backtrack(l, dst)
	if u.addEOS && u.eos >= 0 {
		dst = append(dst, u.eos)
	}
	if cap(l.text) > 1<<20 { // one long text does not keep its memory
		*l = lattice{}
	}
	return dst
}

// viterbi finds the best segmentation. Of equal ones the first found stays, as
// in SentencePiece.
func (u *Unigram) viterbi(l *lattice) {
	s, n := l.text, len(l.text)
	l.reset(n)
	unk := int32(u.unk)
	for i := 0; i < n; {
		_, width := utf8.DecodeRune(s[i:])
		here := l.best[i]
		single := false
		u.pieces.prefixes(s[i:], func(length int, id int32) {
			c := here + u.score[id]
			if e := i + length; l.from[e] < 0 || c > l.best[e] {
				l.best[e], l.from[e], l.id[e] = c, int32(i), id
			}
			single = single || length == width
		})
		if !single {
			c := here + u.unkScore
			if e := i + width; l.from[e] < 0 || c > l.best[e] {
				l.best[e], l.from[e], l.id[e] = c, int32(i), unk
			}
		}
		i += width
	}
}

// backtrack appends the ids of the best path. Neighbouring unknowns become one.
func (u *Unigram) backtrack(l *lattice, dst []int64) []int64 {
	start := len(dst)
	for e := len(l.text); e > 0; e = int(l.from[e]) {
		id := int64(l.id[e])
		if id == u.unk && len(dst) > start && dst[len(dst)-1] == u.unk {
			continue
		}
		dst = append(dst, id)
	}
	for a, b := start, len(dst)-1; a < b; a, b = a+1, b-1 {
		dst[a], dst[b] = dst[b], dst[a]
	}
	return dst
}

// normalizer is SentencePiece's text normalisation: a map from byte sequences to
// replacements, compiled into a double array (Darts), and rules for spaces.
type normalizer struct {
	units  []uint32 // of the double array
	blob   []byte   // replacements, each ended by a zero byte
	dummy  bool     // put a space in front
	trim   bool     // remove spaces at the ends and doubled ones
	escape bool     // write spaces as U+2581
	own    *trie    // user-defined pieces; nil when there are none
}

func (n *normalizer) defaults() { n.dummy, n.trim, n.escape = true, true, true }

// parse reads NormalizerSpec: 2 precompiled_charsmap, 3 add_dummy_prefix,
// 4 remove_extra_whitespaces, 5 escape_whitespaces.
func (n *normalizer) parse(msg []byte) error {
	return fields(msg, func(num protowire.Number, v []byte, x uint64) error {
		switch num {
		case 2:
			return n.charsmap(v)
		case 3:
			n.dummy = x != 0
		case 4:
			n.trim = x != 0
		case 5:
			n.escape = x != 0
		}
		return nil
	})
}

func (n *normalizer) charsmap(v []byte) error {
	if len(v) == 0 {
		return nil
	}
	if len(v) < 4 {
		return errProto
	}
	size := int(binary.LittleEndian.Uint32(v))
	if size > len(v)-4 || size%4 != 0 {
		return errProto
	}
	for i := 4; i < 4+size; i += 4 {
		n.units = append(n.units, binary.LittleEndian.Uint32(v[i:]))
	}
	n.blob = v[4+size:]
	if len(n.blob) > 0 && n.blob[len(n.blob)-1] != 0 {
		return errProto
	}
	return nil
}

// offset is the distance from a unit of the double array to its children.
func offset(unit uint32) uint32 { return (unit >> 10) << ((unit & (1 << 9)) >> 6) }

// longest finds the longest prefix of s that the map replaces: where its
// replacement begins, and its length; 0 when there is none.
func (n *normalizer) longest(s string) (value, length int) {
	if len(n.units) == 0 {
		return 0, 0
	}
	pos := offset(n.units[0])
	for i := 0; i < len(s); i++ {
		pos ^= uint32(s[i])
		if int(pos) >= len(n.units) {
			break
		}
		unit := n.units[pos]
		if unit&(1<<31|0xff) != uint32(s[i]) {
			break
		}
		pos ^= offset(unit)
		if unit>>8&1 == 1 && int(pos) < len(n.units) {
			if v := int(n.units[pos] & (1<<31 - 1)); v < len(n.blob) {
				value, length = v, i+1
			}
		}
	}
	return value, length
}

// next normalises the first characters of s: what they become, and how many
// bytes they were.
func (n *normalizer) next(s string) ([]byte, int) {
	if n.own != nil {
		longest := 0
		n.own.prefixes([]byte(s[:min(len(s), maxOwn)]), func(length int, _ int32) { longest = length })
		if longest > 0 {
			return []byte(s[:longest]), longest
		}
	}
	if v, length := n.longest(s); length > 0 {
		e := v
		for n.blob[e] != 0 {
			e++
		}
		return n.blob[v:e], length
	}
	_, width := utf8.DecodeRuneInString(s)
	return nil, width // as it is
}

// maxOwn bounds the bytes of a user-defined piece that is looked for.
const maxOwn = 256

const space = "\u2581"

// normalize appends the normalised text to out.
func (n *normalizer) normalize(s string, out []byte) []byte {
	if n.trim {
		for len(s) > 0 {
			r, width := n.next(s)
			if r == nil && s[:width] != " " || len(r) > 0 && string(r) != " " {
				break
			}
			s = s[width:]
		}
	}
	if len(s) == 0 {
		return out
	}
	sp := " "
	if n.escape {
		sp = space
	}
	start := len(out)
	if n.dummy {
		out = append(out, sp...)
	}
	after := n.trim // the last character was a space
	for len(s) > 0 {
		r, width := n.next(s)
		if r == nil {
			if c := s[0]; c != ' ' { // the common case: a character that stays
				out, after = append(out, s[:width]...), false
			} else if !after {
				out, after = append(out, sp...), n.trim
			}
			s = s[width:]
			continue
		}
		s = s[width:]
		for after && len(r) > 0 && r[0] == ' ' {
			r = r[1:]
		}
		for _, c := range r {
			if c == ' ' {
				out = append(out, sp...)
			} else {
				out = append(out, c)
			}
		}
		if len(r) > 0 {
			after = n.trim && r[len(r)-1] == ' '
		}
	}
	if n.trim {
		for len(out)-start >= len(sp) && string(out[len(out)-len(sp):]) == sp {
			out = out[:len(out)-len(sp)]
		}
	}
	return out
}
