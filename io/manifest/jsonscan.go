package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// jsonMember is a name and value of a JSON object.
type jsonMember struct {
	key string
	raw []byte // the value as it stands in the file, valid JSON
}

// maxDepth bounds how deep JSON values may nest.
const maxDepth = 256

// scanner checks JSON text while it takes it apart. It accepts what RFC 8259
// does, except for halves of surrogate pairs: they stand for no character, and
// DuckDB refuses the whole file for one.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fault(format string, args ...any) error {
	return fmt.Errorf("character %d: %s", utf8.RuneCount(s.data[:min(s.pos, len(s.data))])+1, fmt.Sprintf(format, args...))
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// members appends the members of the object that data is to out.
func members(data []byte, out []jsonMember) ([]jsonMember, error) {
	s := scanner{data: data}
	s.space()
	if s.peek() != '{' {
		if err := s.value(0); err != nil {
			return out, err
		}
		return out, errors.New("this is no JSON object")
	}
	err := s.object(0, func(key, raw []byte) error {
		name, err := unquote(key)
		out = append(out, jsonMember{name, raw})
		return err
	})
	if err != nil {
		return out, err
	}
	if s.space(); s.pos != len(s.data) {
		return out, s.fault("there is more after the object")
	}
	return out, nil
}

// elements calls fn for the elements of an array that is known to be valid.
func elements(raw []byte, fn func(raw []byte) error) error {
	s := scanner{data: raw}
	s.space()
	return s.array(0, fn)
}

// object reads an object and calls fn, if any, with each name (quoted) and value.
func (s *scanner) object(depth int, fn func(key, raw []byte) error) error {
	s.pos++ // {
	if s.space(); s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		start := s.pos
		if s.peek() != '"' {
			return s.fault("a name in quotes is missing")
		}
		if err := s.text(); err != nil {
			return err
		}
		key := s.data[start:s.pos]
		if s.space(); s.peek() != ':' {
			return s.fault("a colon is missing")
		}
		s.pos++
		s.space()
		start = s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if fn != nil {
			if err := fn(key, s.data[start:s.pos]); err != nil {
				return err
			}
		}
		if end, err := s.next('}'); end || err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int, fn func(raw []byte) error) error {
	s.pos++ // [
	if s.space(); s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		start := s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if fn != nil {
			if err := fn(s.data[start:s.pos]); err != nil {
				return err
			}
		}
		if end, err := s.next(']'); end || err != nil {
			return err
		}
	}
}

// next reads a comma, or the end of an object or array.
func (s *scanner) next(closer byte) (end bool, err error) {
	s.space()
	switch s.peek() {
	case ',':
		s.pos++
		return false, nil
	case closer:
		s.pos++
		return true, nil
	}
	return false, s.fault("a comma or %c is missing", closer)
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return s.fault("values nest deeper than %d", maxDepth)
	}
	switch c := s.peek(); {
	case c == '"':
		return s.text()
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth, nil)
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case s.pos >= len(s.data):
		return s.fault("the row ends too early")
	}
	for _, w := range []string{"NaN", "Infinity"} { // what Python's json writes
		if strings.HasPrefix(string(s.data[s.pos:min(s.pos+len(w), len(s.data))]), w) {
			return s.fault("%s is no JSON; write null, or a number", w)
		}
	}
	return s.fault("a value is missing")
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return s.fault("a value is missing")
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return s.fault("a digit is missing")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.fault("a digit is missing")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.fault("a digit is missing")
		}
	}
	return nil
}

func (s *scanner) text() error {
	s.pos++ // "
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.fault("a control character in a string; write it as an escape")
		default:
			s.pos++
		}
	}
	return s.fault("a string does not end")
}

func (s *scanner) escape() error {
	s.pos++ // \
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		hi, err := s.hex()
		switch {
		case err != nil:
			return err
		case hi >= 0xdc00 && hi < 0xe000:
			return s.fault("half of a surrogate pair")
		case hi < 0xd800 || hi >= 0xe000:
			return nil
		}
		if s.peek() != '\\' {
			return s.fault("half of a surrogate pair")
		}
		s.pos++
		if s.peek() != 'u' {
			return s.fault("half of a surrogate pair")
		}
		lo, err := s.hex()
		if err == nil && (lo < 0xdc00 || lo >= 0xe000) {
			err = s.fault("half of a surrogate pair")
		}
		return err
	}
	return s.fault("an unknown escape")
}

// hex reads u and four hexadecimal digits.
func (s *scanner) hex() (v int, err error) {
	s.pos++ // u
	for range 4 {
		c := s.peek()
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | int(c-'A'+10)
		default:
			return 0, s.fault("four hexadecimal digits are missing")
		}
		s.pos++
	}
	return v, nil
}

// unquote returns the text of a valid JSON string.
func unquote(raw []byte) (string, error) {
	for _, c := range raw {
		if c == '\\' {
			var s string
			err := json.Unmarshal(raw, &s)
			return s, err
		}
	}
	return string(raw[1 : len(raw)-1]), nil
}

// appendJSONString appends s, valid UTF-8, as a JSON string.
func appendJSONString[T string | []byte](b []byte, s T) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
