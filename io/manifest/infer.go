package manifest

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"winnow/io/query"
)

// Bounds of what becomes a typed nested column. What lies beyond is kept as
// JSON text, which `->>` still reaches into.
const (
	maxShapeDepth = 8
	maxShapeNames = 200
)

// kinds are the sorts of values that a column was seen to hold.
type kinds uint16

const (
	sawNull   kinds = 1 << iota
	sawBool         // true, false
	sawInt          // a whole number of 64 bits
	sawBig          // a whole number of more
	sawFloat        // any other number
	sawDate         // a string such as 2024-02-29
	sawTime         // a string such as 2024-02-29T23:59:59.5+01:00
	sawString       // any other string
	sawList
	sawObject
)

// shape learns the type of a column from all of its values: DuckDB's own
// inference fails at names that differ by case alone, drops the offset of
// timestamps and rewrites UUIDs.
type shape struct {
	saw    kinds
	elem   *shape            // of lists
	fields map[string]*named // of objects, by name in small letters
	opaque bool              // an object has names that no column could have
	rounds int               // objects seen
}

type named struct {
	name  string
	round int // the last object that had it
	shape
}

// add learns from one value, valid JSON.
func (s *shape) add(raw []byte, depth int) {
	switch raw[0] {
	case 'n':
		s.saw |= sawNull
	case 't', 'f':
		s.saw |= sawBool
	case '"':
		s.saw |= stringKind(raw[1 : len(raw)-1])
	case '[':
		s.saw |= sawList
		s.addList(raw, depth)
	case '{':
		s.saw |= sawObject
		s.addObject(raw, depth)
	default:
		s.saw |= numberKind(raw)
	}
}

func (s *shape) addList(raw []byte, depth int) {
	if depth >= maxShapeDepth {
		s.opaque = true
		return
	}
	if s.elem == nil {
		s.elem = &shape{}
	}
	_ = elements(raw, func(raw []byte) error { // valid, so there is no error
		s.elem.add(raw, depth+1)
		return nil
	})
}

func (s *shape) addObject(raw []byte, depth int) {
	if s.opaque || depth >= maxShapeDepth {
		s.opaque = true
		return
	}
	if s.fields == nil {
		s.fields = map[string]*named{}
	}
	s.rounds++
	sc := scanner{data: raw}
	_ = sc.object(0, func(key, raw []byte) error {
		name := string(key[1 : len(key)-1])
		low := strings.ToLower(name)
		f := s.fields[low]
		if f == nil {
			if s.opaque || !isPlain(name) || len(s.fields) >= maxShapeNames {
				s.opaque = true
				return nil
			}
			f = &named{name: name}
			s.fields[low] = f
		}
		if f.name != name || f.round == s.rounds { // case alone tells them apart, or nothing does
			s.opaque = true
		}
		f.round = s.rounds
		f.add(raw, depth+1)
		return nil
	})
}

// isPlain tells whether a nested name may stand in a Delta table.
func isPlain(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return name != ""
}

// typ returns the narrowest plain type that holds all values.
func (s *shape) typ() query.Type {
	switch saw := s.saw &^ sawNull; {
	case saw == 0:
		return query.Null
	case saw == sawBool:
		return query.Boolean
	case saw == sawInt:
		return query.BigInt
	case saw&^(sawInt|sawFloat) == 0:
		return query.Double
	case saw == sawDate:
		return query.Date
	case saw&^(sawDate|sawTime) == 0:
		return query.Timestamp
	case saw == sawList && !s.opaque:
		if elem := s.elem.typ(); elem.Name != query.Null.Name {
			return query.ListOf(elem)
		}
		return query.ListOf(query.Varchar)
	case saw == sawObject && !s.opaque:
		var fields []query.TypeField
		for _, f := range s.fields {
			if t := f.typ(); t.Name != query.Null.Name {
				fields = append(fields, query.TypeField{Name: f.name, Type: t})
			}
		}
		if len(fields) == 0 {
			break
		}
		slices.SortFunc(fields, func(a, b query.TypeField) int { return strings.Compare(a.Name, b.Name) })
		return query.StructOf(fields...)
	}
	return query.Varchar
}

func numberKind(raw []byte) kinds {
	for _, c := range raw {
		if c == '.' || c == 'e' || c == 'E' {
			if _, err := strconv.ParseFloat(string(raw), 64); err != nil {
				return sawString // beyond what a DOUBLE holds
			}
			return sawFloat
		}
	}
	if len(raw) < 19 {
		return sawInt
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
		return sawBig
	}
	return sawInt
}

// stringKind tells dates and times from other strings.
func stringKind(s []byte) kinds {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return sawString
	}
	if len(s) == 10 {
		if t, err := time.Parse(time.DateOnly, string(s)); err == nil && t.Year() > 0 {
			return sawDate
		}
		return sawString
	}
	if len(s) > 35 || s[10] != 'T' && s[10] != ' ' {
		return sawString
	}
	iso := string(s[:10]) + "T" + string(s[11:])
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, iso); err == nil && t.UTC().Year() > 0 && t.UTC().Year() < 10000 && !bytes.ContainsRune(s, ',') {
			return sawTime
		}
	}
	return sawString
}

// textKind is what the field of a CSV file, a JSON string here, would be as a
// JSON value. Numbers with leading zeros stay text: they are codes.
func textKind(raw []byte) kinds {
	s := raw[1 : len(raw)-1]
	switch {
	case len(s) == 4 && strings.EqualFold(string(s), "true"), len(s) == 5 && strings.EqualFold(string(s), "false"):
		return sawBool
	case len(s) > 0 && (s[0] == '-' || s[0] >= '0' && s[0] <= '9'):
		sc := scanner{data: s}
		if sc.number() == nil && sc.pos == len(s) {
			return numberKind(s)
		}
	}
	return stringKind(s)
}
