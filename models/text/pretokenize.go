package text

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// span is a part of the text of a cuts: a word to be, or a token that was found.
type span struct {
	start, end int
	zero       int   // its first bytes that came from the first character of the original
	id         int64 // of the token, or -1
}

// cuts is a text that is being cut into words.
type cuts struct {
	text, spare []byte
	spans, next []span
	parts       []part
}

// part is a piece of a span that a pattern matches, or does not.
type part struct {
	start, end int
	match      bool
}

// add appends the word text[start:end] of the span s to next.
func (c *cuts) add(s span, start, end int) {
	if start < end {
		c.next = append(c.next, span{start, end, min(max(0, s.zero-(start-s.start)), end-start), -1})
	}
}

// split puts what fn adds to next in the place of each word.
func (c *cuts) split(fn func(s span)) {
	c.next = c.next[:0]
	for _, s := range c.spans {
		if s.id >= 0 {
			c.next = append(c.next, s)
		} else {
			fn(s)
		}
	}
	c.spans, c.next = c.next, c.spans
}

// rewrite replaces the text of each word by what fn appends for it; zero is how
// much of that came from the first character.
func (c *cuts) rewrite(fn func(out []byte, s span, word []byte) (text []byte, zero int)) {
	out := c.spare[:0]
	for i, s := range c.spans {
		if s.id >= 0 {
			continue
		}
		start := len(out)
		out, s.zero = fn(out, s, c.text[s.start:s.end])
		s.start, s.end = start, len(out)
		c.spans[i] = s
	}
	c.text, c.spare = out, c.text
}

// cutter is a pre-tokenizer.
type cutter interface{ cut(c *cuts) }

// readCutters reads a pre_tokenizer, and those in it.
func readCutters(raw component) ([]cutter, error) {
	kind, err := raw.kind()
	if err != nil || kind == "" {
		return nil, err
	}
	table := chars()
	var one cutter
	switch kind {
	case "Sequence":
		var v struct {
			Type          string
			Pretokenizers []component
		}
		if err := raw.into(&v); err != nil {
			return nil, err
		}
		var list []cutter
		for _, c := range v.Pretokenizers {
			more, err := readCutters(c)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
		}
		return list, nil
	case "BertPreTokenizer":
		one, err = bertCutter{table}, raw.bare()
	case "WhitespaceSplit":
		one, err = &splitter{pattern: class{table, isWhite, false}, behavior: removed}, raw.bare()
	case "Whitespace":
		one, err = wordCutter{table}, raw.bare()
	case "Punctuation":
		v := struct {
			Type     string
			Behavior behavior
		}{Behavior: isolated}
		err = raw.into(&v)
		one = &splitter{pattern: class{table, isPunct, false}, behavior: v.Behavior}
	case "Digits":
		v := struct {
			Type       string
			Individual bool `json:"individual_digits"`
		}{}
		err = raw.into(&v)
		s := &splitter{pattern: class{table, isNumeric, false}, behavior: contiguous}
		if v.Individual {
			s.behavior = isolated
		}
		one = s
	case "CharDelimiterSplit":
		var v struct{ Type, Delimiter string }
		if err = raw.into(&v); err == nil && utf8.RuneCountInString(v.Delimiter) != 1 {
			err = fmt.Errorf("the delimiter %q is not one character", v.Delimiter)
		}
		one = &splitter{pattern: literal(v.Delimiter), behavior: removed}
	case "Split":
		one, err = readSplit(raw)
	case "ByteLevel":
		one, err = readByteLevel(raw)
	case "Metaspace":
		one, err = readMetaspace(raw)
	default:
		err = fmt.Errorf("the pre-tokenizer %q is not supported", kind)
	}
	return []cutter{one}, err
}

// behavior is what becomes of the matches of a pattern that splits.
type behavior string

const (
	removed            behavior = "Removed"
	isolated           behavior = "Isolated"
	mergedWithPrevious behavior = "MergedWithPrevious"
	mergedWithNext     behavior = "MergedWithNext"
	contiguous         behavior = "Contiguous"
)

func (b *behavior) UnmarshalText(text []byte) error {
	switch *b = behavior(text); *b {
	case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous:
		return nil
	}
	return fmt.Errorf("the behavior %q is not supported", text)
}

// splitter cuts where its pattern matches, or with invert where it does not.
type splitter struct {
	pattern  matcher
	behavior behavior
	invert   bool
}

func readSplit(raw component) (cutter, error) {
	var v struct {
		Type     string
		Pattern  pattern
		Behavior behavior
		Invert   bool
	}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	if v.Behavior == "" {
		return nil, raw.lacks("behavior")
	}
	m, err := v.Pattern.matcher()
	return &splitter{m, v.Behavior, v.Invert}, err
}

func (p *splitter) cut(c *cuts) {
	c.split(func(s span) {
		c.parts = c.parts[:0]
		word := c.text[s.start:s.end]
		for at := 0; at < len(word); {
			start, end := p.pattern.next(word, at)
			if start < 0 {
				start, end = len(word), len(word)
			}
			if start > at {
				c.parts = append(c.parts, part{s.start + at, s.start + start, p.invert})
			}
			if end > start {
				c.parts = append(c.parts, part{s.start + start, s.start + end, !p.invert})
			}
			at = end
		}
		p.behave(c, s)
	})
}

// behave adds the parts as the behavior says.
func (p *splitter) behave(c *cuts, s span) {
	parts := c.parts
	for i := 0; i < len(parts); {
		j := i + 1
		switch p.behavior {
		case removed:
			if parts[i].match {
				i = j
				continue
			}
		case contiguous:
			for j < len(parts) && parts[j].match == parts[i].match {
				j++
			}
		case mergedWithPrevious:
			// Of several matches in a row, the first goes with what is before it.
			if !parts[i].match && j < len(parts) && parts[j].match {
				j++
			}
		case mergedWithNext:
			// Of several matches in a row, the last goes with what is behind it.
			if parts[i].match && j < len(parts) && !parts[j].match {
				j++
			}
		}
		c.add(s, parts[i].start, parts[j-1].end)
		i = j
	}
}

// bertCutter cuts at white space and cuts off punctuation.
type bertCutter struct{ chars *charTable }

func (b bertCutter) cut(c *cuts) {
	c.split(func(s span) {
		from := s.start
		for i := s.start; i < s.end; {
			r, size := rune(c.text[i]), 1
			if r >= utf8.RuneSelf {
				r, size = utf8.DecodeRune(c.text[i:])
			}
			if p := b.chars.of(r); p&(isWhite|isPunct) != 0 {
				c.add(s, from, i)
				if from = i + size; p&isWhite == 0 {
					c.add(s, i, from)
				}
			}
			i += size
		}
		c.add(s, from, s.end)
	})
}

// wordCutter keeps what \w+|[^\w\s]+ matches.
type wordCutter struct{ chars *charTable }

func (w wordCutter) cut(c *cuts) {
	c.split(func(s span) {
		text := c.text[:s.end]
		for i := s.start; i < s.end; {
			end := run(w.chars, text, i, isWord, true)
			if end == i {
				end = run(w.chars, text, i, isWord|isWhite, false)
			}
			c.add(s, i, end)
			if i = end; end < s.end {
				r, size := utf8.DecodeRune(text[i:])
				if w.chars.of(r)&(isWord|isWhite) == isWhite {
					i += size
				}
			}
		}
	})
}

// byteLevel is GPT-2's: texts are cut by its expression, and each byte is written
// as a letter.
type byteLevel struct {
	prefixSpace bool
	scan        *splitter // or nil
}

func readByteLevel(raw component) (*byteLevel, error) {
	v := struct {
		Type        string
		PrefixSpace *bool `json:"add_prefix_space"`
		TrimOffsets bool  `json:"trim_offsets"` // of no effect on ids
		UseRegex    bool  `json:"use_regex"`
	}{UseRegex: true}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	if v.PrefixSpace == nil {
		return nil, raw.lacks("add_prefix_space")
	}
	b := &byteLevel{prefixSpace: *v.PrefixSpace}
	if v.UseRegex {
		b.scan = &splitter{pattern: &gpt2{chars()}, behavior: isolated}
	}
	return b, nil
}

func (b *byteLevel) cut(c *cuts) {
	if b.prefixSpace {
		c.rewrite(func(out []byte, s span, word []byte) ([]byte, int) {
			if word[0] != ' ' {
				out = append(out, ' ')
				if s.zero > 0 {
					s.zero++
				}
			}
			return append(out, word...), s.zero
		})
	}
	if b.scan != nil {
		b.scan.cut(c)
	}
	c.rewrite(func(out []byte, s span, word []byte) ([]byte, int) {
		from := len(out)
		out = appendByteLetters(out, word[:s.zero])
		zero := len(out) - from
		return appendByteLetters(out, word[s.zero:]), zero
	})
}

// metaspace writes spaces as a mark, puts one in front, and cuts before each.
type metaspace struct {
	mark          []byte
	first, always bool
	split         bool
}

func readMetaspace(raw component) (*metaspace, error) {
	v := struct {
		Type        string
		Replacement string
		StrRep      string `json:"str_rep"` // the replacement once more, in old files
		PrefixSpace *bool  `json:"add_prefix_space"`
		Scheme      string `json:"prepend_scheme"`
		Split       *bool
	}{Scheme: "always"}
	if err := raw.into(&v); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(v.Replacement) != 1 {
		return nil, fmt.Errorf("pre-tokenizer Metaspace: the replacement %q is not one character", v.Replacement)
	}
	if v.PrefixSpace != nil && !*v.PrefixSpace && v.Scheme != "never" {
		return nil, errors.New("pre-tokenizer Metaspace: add_prefix_space is false, but prepend_scheme is not never")
	}
	m := &metaspace{mark: []byte(v.Replacement), split: v.Split == nil || *v.Split}
	switch v.Scheme {
	case "always":
		m.always = true
	case "first":
		m.first = true
	case "never":
	default:
		return nil, fmt.Errorf("pre-tokenizer Metaspace: the prepend_scheme %q is not supported", v.Scheme)
	}
	return m, nil
}

func (m *metaspace) cut(c *cuts) {
	c.rewrite(func(out []byte, s span, word []byte) ([]byte, int) {
		zero, marked := s.zero, bytes.HasPrefix(word, m.mark) || word[0] == ' '
		if !marked && (m.always || m.first && zero > 0) {
			out = append(out, m.mark...)
			if zero > 0 {
				zero += len(m.mark)
			}
		}
		for i, b := range word {
			if b != ' ' {
				out = append(out, b)
				continue
			}
			out = append(out, m.mark...)
			if i < s.zero {
				zero += len(m.mark) - 1
			}
		}
		return out, zero
	})
	if !m.split {
		return
	}
	c.split(func(s span) {
		from := s.start
		for i := s.start + 1; i < s.end; i++ {
			if c.text[i] == m.mark[0] && bytes.HasPrefix(c.text[i:s.end], m.mark) {
				c.add(s, from, i)
				from = i
			}
		}
		c.add(s, from, s.end)
	})
}
