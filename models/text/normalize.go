package text

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
	"golang.org/x/text/unicode/norm"
)

// normal is a text on its way through the normalizers of a tokenizer.json.
type normal struct {
	text, spare []byte
	// zero is how many bytes of text came from the first character of the original:
	// Metaspace asks what stands at its front. It is 0 where the text is no front.
	zero  int
	chars []decomposed
}

// become replaces the text by out, which was written into spare.
func (n *normal) become(out []byte, zero int) { n.text, n.spare, n.zero = out, n.text, zero }

// each replaces every character by what fn appends for it.
func (n *normal) each(fn func(out []byte, r rune, char []byte) []byte) {
	out, zero := n.spare[:0], 0
	for i := 0; i < len(n.text); {
		r, size := utf8.DecodeRune(n.text[i:])
		out = fn(out, r, n.text[i:i+size])
		if i < n.zero {
			zero = len(out)
		}
		i += size
	}
	n.become(out, zero)
}

// step is a normalizer.
type step interface{ apply(n *normal) }

// readSteps reads a normalizer, and those in it.
func readSteps(raw component) ([]step, error) {
	kind, err := raw.kind()
	if err != nil || kind == "" {
		return nil, err
	}
	table := chars()
	var one step
	switch kind {
	case "Sequence":
		var v struct {
			Type        string
			Normalizers []component
		}
		if err := raw.into(&v); err != nil {
			return nil, err
		}
		var list []step
		for _, c := range v.Normalizers {
			more, err := readSteps(c)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
		}
		return list, nil
	case "BertNormalizer":
		one, err = readBert(raw)
	case "NFC", "NFD", "NFKC", "NFKD":
		f := &form{of: norm.NFD, compose: kind == "NFC" || kind == "NFKC", chars: table}
		if kind == "NFKC" || kind == "NFKD" {
			f.of = norm.NFKD
		}
		one, err = f, raw.bare()
	case "Lowercase":
		one, err = lowercase{}, raw.bare()
	case "StripAccents":
		one, err = dropMarks{table}, raw.bare()
	case "Nmt":
		one, err = nmt{}, raw.bare()
	case "ByteLevel":
		one, err = byteLetters{}, raw.bare()
	case "Strip":
		v := struct {
			Type       string
			StripLeft  bool `json:"strip_left"`
			StripRight bool `json:"strip_right"`
		}{}
		err = raw.into(&v)
		one = strip{table, v.StripLeft, v.StripRight}
	case "Prepend":
		var v struct{ Type, Prepend string }
		err = raw.into(&v)
		one = prepend(v.Prepend)
	case "Replace":
		one, err = readReplace(raw)
	case "Precompiled":
		one, err = readPrecompiled(raw)
	default:
		err = fmt.Errorf("the normalizer %q is not supported", kind)
	}
	return []step{one}, err
}

type lowercase struct{}

func (lowercase) apply(n *normal) {
	if i := bytes.IndexFunc(n.text, func(r rune) bool { return r >= utf8.RuneSelf }); i < 0 {
		for k, c := range n.text {
			n.text[k] = lowerByte(c)
		}
		return
	}
	n.each(func(out []byte, r rune, _ []byte) []byte { return appendLower(out, r) })
}

type dropMarks struct{ chars *charTable }

func (d dropMarks) apply(n *normal) {
	n.each(func(out []byte, r rune, char []byte) []byte {
		if d.chars.of(r)&isMark != 0 {
			return out
		}
		return append(out, char...)
	})
}

type nmt struct{}

func (nmt) apply(n *normal) {
	n.each(func(out []byte, r rune, char []byte) []byte {
		switch {
		case r >= 1 && r <= 8, r == 0xb, r >= 0xe && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return out
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029,
			r == 0x2581, r == 0xfeff, r == 0xfffd:
			return append(out, ' ')
		}
		return append(out, char...)
	})
}

// byteLetters writes each byte as the letter that GPT-2 gave it.
type byteLetters struct{}

func (byteLetters) apply(n *normal) {
	n.each(func(out []byte, _ rune, char []byte) []byte { return appendByteLetters(out, char) })
}

type strip struct {
	chars       *charTable
	left, right bool
}

func (s strip) apply(n *normal) {
	white := func(r rune) bool { return s.chars.of(r)&isWhite != 0 }
	if s.right {
		n.text = bytes.TrimRightFunc(n.text, white)
	}
	if s.left {
		kept := bytes.TrimLeftFunc(n.text, white)
		n.zero -= len(n.text) - len(kept)
		n.text = append(n.text[:0], kept...)
	}
	n.zero = min(max(n.zero, 0), len(n.text))
}

type prepend string

func (p prepend) apply(n *normal) {
	if len(n.text) == 0 {
		return
	}
	zero := n.zero
	if zero > 0 {
		zero += len(p)
	}
	n.become(append(append(n.spare[:0], p...), n.text...), zero)
}

// replace puts content where its pattern matches.
type replace struct {
	pattern matcher
	content string
}

func readReplace(raw component) (step, error) {
	var v struct {
		Type    string
		Pattern pattern
		Content string
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	m, err := v.Pattern.matcher()
	return &replace{m, v.Content}, err
}

func (p *replace) apply(n *normal) {
	start, end := p.pattern.next(n.text, 0)
	if start < 0 {
		return
	}
	out, zero, at := n.spare[:0], 0, 0
	for start >= 0 {
		out = append(out, n.text[at:start]...)
		if at < n.zero {
			zero = len(out) - max(0, start-n.zero)
		}
		out = append(out, p.content...)
		if end <= n.zero {
			zero = len(out)
		}
		at = end
		start, end = p.pattern.next(n.text, at)
	}
	if at < n.zero {
		zero = len(out) + n.zero - at
	}
	n.become(append(out, n.text[at:]...), zero)
}

// precompiled is the character map of a SentencePiece model, in the tokenizers
// library's reading: a cluster of less than 6 bytes is replaced as a whole by what
// the shortest key at its front stands for, else each character is.
type precompiled struct {
	keys *charMap
	// plain[c]: the character c of ASCII stays as it is.
	plain [utf8.RuneSelf]bool
}

const maxCluster = 6

func readPrecompiled(raw component) (step, error) {
	var v struct {
		Type                string
		PrecompiledCharsmap string `json:"precompiled_charsmap"`
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	blob, err := base64.StdEncoding.DecodeString(v.PrecompiledCharsmap)
	if err != nil {
		return nil, fmt.Errorf("precompiled_charsmap: %w", err)
	}
	p := &precompiled{}
	if p.keys, err = newCharMap(blob); err != nil {
		return nil, fmt.Errorf("precompiled_charsmap: %w", err)
	}
	if !utf8.Valid(p.keys.replacements) {
		return nil, errors.New("precompiled_charsmap: a replacement is no UTF-8")
	}
	for c := range p.plain {
		_, used := p.keys.shortest(string(rune(c)))
		p.plain[c] = used == 0 && c != '\r'
	}
	return p, nil
}

func (p *precompiled) apply(n *normal) {
	i := p.plainRun(n.text, 0)
	if i == len(n.text) {
		return
	}
	text := string(n.text)
	o := origin{text: text, zero: n.zero}
	out := n.spare[:0]
	for at := 0; at < len(text); {
		if i > at {
			out = append(out, text[at:i]...)
			o.replace(text[at:i], len(out), text[at:i])
			at = i
			continue
		}
		size := clusterLen(text[at:])
		out = p.cluster(out, text[at:at+size], &o)
		at += size
		i = p.plainRun(n.text, at)
	}
	n.become(out, o.out)
}

// origin follows where characters come from as the tokenizers library does it for
// character maps, which loses count where it drops the first character.
type origin struct {
	text string
	at   int // in text, behind what was replaced
	zero int // normal.zero of text
	out  int // of the result
}

// replace notes that old became what now ends the result, which has a length of size.
func (o *origin) replace(old string, size int, now string) {
	if o.at > o.zero || o.zero == 0 {
		return
	}
	start := size - len(now)
	left := utf8.RuneCountInString(old)
	for i, r := range now {
		from := o.at - 1
		if left > 0 {
			from = o.at
			o.skip(1)
			left--
		}
		if from < o.zero {
			o.out = start + i + utf8.RuneLen(r)
		}
	}
	if size > 0 {
		o.skip(left)
	}
}

func (o *origin) skip(n int) {
	for ; n > 0; n-- {
		_, size := utf8.DecodeRuneInString(o.text[o.at:])
		o.at += size
	}
}

// plainRun returns the end of the characters from at on that stay as they are and
// are clusters of their own.
func (p *precompiled) plainRun(text []byte, at int) int {
	for at < len(text) && text[at] < utf8.RuneSelf && p.plain[text[at]] && (at+1 == len(text) || text[at+1] < utf8.RuneSelf) {
		at++
	}
	return at
}

func clusterLen(s string) int {
	if len(s) > 1 && s[0] == '\r' && s[1] == '\n' {
		return 2
	}
	clusters := graphemes.FromString(s)
	if !clusters.Next() {
		return len(s)
	}
	return len(clusters.Value())
}

func (p *precompiled) cluster(out []byte, s string, o *origin) []byte {
	if len(s) < maxCluster {
		if r, used := p.keys.shortest(s); used > 0 {
			out = append(out, r...)
			o.replace(s, len(out), string(r))
			return out
		}
	}
	for len(s) > 0 {
		_, size := utf8.DecodeRuneInString(s)
		if r, used := p.keys.shortest(s[:size]); used > 0 {
			out = append(out, r...)
			o.replace(s[:size], len(out), string(r))
		} else {
			out = append(out, s[:size]...)
			o.replace(s[:size], len(out), s[:size])
		}
		s = s[size:]
	}
	return out
}
