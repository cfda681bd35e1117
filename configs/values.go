package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// Bytes is a size such as 64MiB or 2GB. The unit is always written.
type Bytes int64

const bytesPattern = `^[0-9]+([.][0-9]+)? ?([kKMGT]i?)?B$`

// unitB are the powers behind the letters of a unit.
var unitB = map[string]float64{
	"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
	"ki": 1 << 10, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// UnmarshalText reads a number and a unit: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	digits := strings.TrimRight(s, " BkKMGTi")
	n, err := strconv.ParseFloat(digits, 64)
	unit, isB := strings.CutSuffix(strings.TrimPrefix(s[len(digits):], " "), "B")
	f, known := unitB[unit]
	if err != nil || !isB || !known || strings.Trim(digits, "0123456789.") != "" {
		return fmt.Errorf("%q is no size; write a number with a unit, such as 64MiB or 2GB", s)
	}
	if n *= f; n < 1 || n > 1<<53 {
		return fmt.Errorf("%q is out of range; write at least 1B and at most 8192TiB", s)
	}
	*b = Bytes(math.Round(n))
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b Bytes) String() string {
	for _, u := range []string{"Ti", "T", "Gi", "G", "Mi", "M", "Ki", "k"} {
		if f := Bytes(unitB[u]); b >= f && b%f == 0 {
			return strconv.FormatInt(int64(b/f), 10) + u + "B"
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// JSONSchema describes the text form.
func (Bytes) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: bytesPattern, Examples: []any{"64MiB", "2GB"}}
}

// Duration is a time span such as 30s or 2m.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, above zero.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no time span; write a number with a unit, such as 30s or 2m", text)
	}
	if v <= 0 {
		return fmt.Errorf("%q is not above zero; write a longer time, such as 30s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d Duration) String() string { return time.Duration(d).String() }

// JSONSchema describes the text form.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$`, Examples: []any{"30s", "2m"}}
}

// Percent is a share such as 1%, kept as the number before the sign: 0 to 100.
type Percent float64

// UnmarshalText reads a number and a percent sign.
func (p *Percent) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(strings.TrimRight(digits, " "), 64)
	switch {
	case !ok || err != nil || math.IsNaN(v):
		return fmt.Errorf("%q is no share; write a number with a percent sign, such as 1%%", text)
	case v < 0 || v > 100:
		return fmt.Errorf("%q is out of range; write 0%% to 100%%", text)
	}
	*p = Percent(v)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'g', -1, 64) + "%" }

// JSONSchema describes the text form.
func (Percent) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+([.][0-9]+)? ?%$`, Examples: []any{"1%"}}
}

// Globs is one path or glob, or a list of them.
type Globs []string

// JSONSchema describes both forms.
func (Globs) JSONSchema() *jsonschema.Schema {
	one := &jsonschema.Schema{Type: "string", MinLength: ptr(uint64(1))}
	return &jsonschema.Schema{
		OneOf:    []*jsonschema.Schema{one, {Type: "array", Items: one, MinItems: ptr(uint64(1))}},
		Examples: []any{"functions/*.yaml"},
	}
}

func (g *Globs) decodeNode(d *decoder, n ast.Node, path string) {
	list, ok := d.unwrap(n).(*ast.SequenceNode)
	if !ok {
		if s, ok := d.text(n, path); ok {
			*g = Globs{s}
		}
		return
	}
	for i, e := range list.Values {
		p := index(path, i)
		d.marks[p] = at(e)
		if s, ok := d.text(e, p); ok {
			*g = append(*g, s)
		}
	}
	if len(list.Values) == 0 {
		d.problem(path, at(n), "functions is an empty list", "name at least one file, or delete the line")
	}
}

func ptr[T any](v T) *T { return &v }

// parts splits a message of the form "what; fix". The fix holds no semicolon.
func parts(err error) (what, fix string) {
	s := err.Error()
	if i := strings.LastIndex(s, "; "); i >= 0 {
		return s[:i], s[i+2:]
	}
	return s, ""
}
