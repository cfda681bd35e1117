package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// kind is what all values of one metadata name have in common.
type kind int

const (
	kindNone  kind = iota // only nulls so far
	kindBool              // bool
	kindInt               // int64
	kindFloat             // float64
	kindTime              // time.Time
	kindText              // string, or anything mixed, or JSON of lists and maps
)

// metaColumn is one metadata name and the type that holds all its values.
type metaColumn struct {
	Name string
	Kind kind
	Big  bool // has integers that a float64 cannot hold
}

// scoreRange is what the batch's rows score in one function.
type scoreRange struct {
	Min, Max float32 // over the rows that have a score; Min > Max without any
	Matches  int64
	Scored   int64
}

// survey reads the batch once: it checks the rows, counts them and finds the
// type of every metadata name. It holds one entry a name and a function.
func (b *batch) survey(ctx context.Context) error {
	b.ranges = make([]scoreRange, len(b.Info.Functions))
	for i := range b.ranges {
		b.ranges[i] = scoreRange{Min: float32(math.Inf(1)), Max: float32(math.Inf(-1))}
	}
	byName := map[string]int{}
	var seen rowNames
	err := b.each(ctx, func(r *BatchRow) error {
		b.rows++
		if err := b.checkRow(r, &seen); err != nil {
			return err
		}
		for i, s := range r.Scores {
			b.ranges[i].add(s)
		}
		for _, m := range r.Metadata {
			at, ok := byName[m.Name]
			if !ok {
				at = len(b.columns)
				byName[m.Name] = at
				b.columns = append(b.columns, metaColumn{Name: m.Name})
			}
			b.columns[at].add(metaValue(m.Value))
		}
		return nil
	})
	b.surveyed = true
	return err
}

func (r *scoreRange) add(s FunctionScore) {
	if s.Match {
		r.Matches++
	}
	if s.Has() {
		r.Scored++
		r.Min, r.Max = min(r.Min, s.Score), max(r.Max, s.Score)
	}
}

// rowNames finds a metadata name that stands twice in one row.
type rowNames struct {
	row  int64
	last map[string]int64
}

func (s *rowNames) twice(name string) bool {
	if s.last == nil {
		s.last = map[string]int64{}
	}
	if s.last[name] == s.row {
		return true
	}
	s.last[name] = s.row
	return false
}

func (b *batch) checkRow(r *BatchRow, seen *rowNames) error {
	if r == nil {
		return fmt.Errorf("row %d is nil", b.rows)
	}
	if r.AssetID == "" {
		return fmt.Errorf("row %d has no asset_id", b.rows)
	}
	if r.Rank != b.rows {
		return fmt.Errorf("asset %q has rank %d where %d is due: rows must come in rank order, from 1, without gaps", r.AssetID, r.Rank, b.rows)
	}
	if len(r.Scores) != len(b.Info.Functions) {
		return fmt.Errorf("asset %q has %d scores for %d functions", r.AssetID, len(r.Scores), len(b.Info.Functions))
	}
	seen.row = b.rows
	for _, m := range r.Metadata {
		if m.Name == "" {
			return fmt.Errorf("asset %q has a metadata value without a name", r.AssetID)
		}
		if seen.twice(m.Name) {
			return fmt.Errorf("asset %q has metadata %q twice", r.AssetID, m.Name)
		}
	}
	return nil
}

func (c *metaColumn) add(v any) {
	var k kind
	switch v := v.(type) {
	case nil:
		return
	case bool:
		k = kindBool
	case int64:
		k = kindInt
		if int64(float64(v)) != v || v == math.MaxInt64 {
			c.Big = true
		}
	case float64:
		k = kindFloat
	case time.Time:
		k = kindTime
	default:
		k = kindText
	}
	switch {
	case c.Kind == kindNone || c.Kind == k:
		c.Kind = k
	case c.Kind == kindInt && k == kindFloat, c.Kind == kindFloat && k == kindInt:
		c.Kind = kindFloat
	default:
		c.Kind = kindText
	}
	if c.Big && c.Kind == kindFloat {
		c.Kind = kindText // a float64 would change the integer
	}
}

// metaValue brings a metadata value to one of nil, bool, int64, float64, string,
// time.Time (UTC), or json.RawMessage for lists and maps. A NaN, an infinity and
// a nil pointer are nil.
func metaValue(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return validUTF8(v)
	case time.Time:
		return v.UTC()
	case json.Number:
		return numberValue(string(v))
	case json.RawMessage:
		return rawValue(v)
	case []byte:
		return validUTF8(string(v))
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Bool:
		return rv.Bool()
	case reflect.String:
		return validUTF8(rv.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if u := rv.Uint(); u > math.MaxInt64 {
			return strconv.FormatUint(u, 10)
		}
		return int64(rv.Uint())
	case reflect.Float32, reflect.Float64:
		return floatValue(v, rv)
	case reflect.Pointer:
		if rv.IsNil() {
			return nil
		}
		if _, ok := v.(fmt.Stringer); !ok { // *big.Int and its like print themselves
			return metaValue(rv.Elem().Interface())
		}
	case reflect.Slice, reflect.Map, reflect.Array, reflect.Struct:
		if _, ok := v.(fmt.Stringer); ok {
			break
		}
		if raw, err := encodeJSON(jsonSafe(rv)); err == nil {
			return rawValue(raw)
		}
	}
	return validUTF8(fmt.Sprint(v))
}

// floatValue keeps the short decimal form of a float32 (0.1, not 0.10000000149).
func floatValue(v any, rv reflect.Value) any {
	f := rv.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	if rv.Kind() == reflect.Float32 {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
	}
	return f
}

func numberValue(s string) any {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsAny(s, ".eE") {
		return f
	}
	return validUTF8(s)
}

// rawValue decodes JSON scalars and compacts the rest.
func rawValue(raw json.RawMessage) any {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return validUTF8(string(raw))
	}
	switch v := v.(type) {
	case []any, map[string]any:
		out, err := encodeJSON(v) // sorts the keys of maps
		if err != nil {
			return validUTF8(string(raw))
		}
		return json.RawMessage(out)
	default:
		return metaValue(v)
	}
}

// jsonSafe replaces what JSON cannot say (NaN, infinities, maps with other keys
// than strings) inside slices and maps.
func jsonSafe(rv reflect.Value) any {
	switch rv.Kind() {
	case reflect.Slice, reflect.Array:
		out := make([]any, rv.Len())
		for i := range out {
			out[i] = jsonSafeElem(rv.Index(i))
		}
		return out
	case reflect.Map:
		out := make(map[string]any, rv.Len())
		for it := rv.MapRange(); it.Next(); {
			out[fmt.Sprint(it.Key().Interface())] = jsonSafeElem(it.Value())
		}
		return out
	}
	return rv.Interface()
}

func jsonSafeElem(rv reflect.Value) any {
	if !rv.IsValid() || !rv.CanInterface() {
		return nil
	}
	return metaValue(rv.Interface())
}

// metaText is a normalised value as plain text; ok is false for nil.
func metaText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case json.RawMessage:
		return string(v), true
	case time.Time:
		return v.Format(time.RFC3339Nano), true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return fmt.Sprint(v), true
}

func validUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
