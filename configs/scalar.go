package configs

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"github.com/invopop/jsonschema"

	"winnow/pipeline/function"
)

// text returns a scalar as text, with environment variables put in. A number or
// true stays as it is written: an asset_id may look like one.
func (d *decoder) text(n ast.Node, path string) (string, bool) {
	var raw string
	switch v := d.untag(n).(type) {
	case *ast.StringNode:
		raw = v.Value
	case *ast.LiteralNode:
		raw = v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	default:
		d.wrongKind(n, path, "text")
		return "", false
	}
	text, faults := expand(raw, d.env)
	if m, ok := d.marks[path]; ok && text == raw {
		m.text = d.place(d.untag(n))
		d.marks[path] = m
	}
	for _, f := range faults {
		d.problem(path, at(n), f.what, f.fix)
	}
	return text, len(faults) == 0
}

// place finds where the characters of a text stand, if they stand as written.
func (d *decoder) place(n ast.Node) textPlace {
	p := at(n)
	switch v := n.(type) {
	case *ast.LiteralNode:
		if v.Start.Type != token.LiteralType || p.line >= len(d.lines) {
			return textPlace{}
		}
		first := d.lines[p.line]
		return textPlace{p.line + 1, len(first) - len(strings.TrimLeft(first, " ")) + 1}
	case *ast.StringNode:
		if p.line > len(d.lines) {
			return textPlace{}
		}
		skip := 0
		if quoted(v) {
			skip = 1
		}
		rest := []rune(strings.TrimPrefix(d.lines[p.line-1], "\ufeff"))
		if begin := p.column - 1 + skip; begin < len(rest) && strings.HasPrefix(string(rest[begin:]), v.Value) {
			return textPlace{p.line, begin + 1}
		}
	}
	return textPlace{}
}

// untag resolves aliases and the tags that only say what a scalar is.
func (d *decoder) untag(n ast.Node) ast.Node {
	n = d.unwrap(n)
	if t, ok := n.(*ast.TagNode); ok && t.Value != nil {
		switch token.ReservedTagKeyword(t.Start.Value) {
		case token.StringTag, token.IntegerTag, token.FloatTag:
			return d.unwrap(t.Value)
		}
	}
	return n
}

// over reads embeddings with their weights.
func (d *decoder) over(n ast.Node, path string) function.Over {
	list, ok := d.entries(n, path, 0)
	if !ok {
		d.wrongKind(n, path, "embeddings with their weights: {image: 0.7, text: 0.3}")
		return nil
	}
	out := function.Over{}
	for _, e := range list {
		var w float64
		p := child(path, e.key)
		d.marks[p] = e.at
		before := len(d.problems)
		d.number(e.value, overSchema().AdditionalProperties, reflect.ValueOf(&w).Elem(), p)
		if out[e.key] = w; len(d.problems) > before {
			out[e.key] = 1 // told
		}
	}
	return out
}

// threshold reads auto, a number, or a mapping of one rule.
func (d *decoder) threshold(n ast.Node, path string) function.Threshold {
	switch node := d.untag(n).(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		var r thresholdRule
		before := len(d.problems)
		d.mapping(n, thresholdSchema(), reflect.ValueOf(&r).Elem(), path)
		var set []function.Threshold
		if r.Percentile != nil {
			set = append(set, function.Threshold{Rule: function.RulePercentile, Value: *r.Percentile})
		}
		if r.Top != nil {
			set = append(set, function.Threshold{Rule: function.RuleTop, Value: float64(*r.Top)})
		}
		if r.Precision != nil {
			p := r.Precision
			set = append(set, function.Threshold{Rule: function.RulePrecision, Value: p.AtLeast, Label: p.Label, Otherwise: p.Otherwise})
		}
		if len(set) == 1 {
			return set[0]
		}
		if len(d.problems) == before {
			d.problem(path, at(n), fmt.Sprintf("threshold has %d rules", len(set)), "write one of percentile, top and precision")
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		t := function.Threshold{Rule: function.RuleNumber}
		d.number(n, &jsonschema.Schema{}, reflect.ValueOf(&t.Value).Elem(), path)
		return t
	case *ast.StringNode:
		if text, ok := d.text(n, path); ok && text != string(function.RuleAuto) {
			d.problem(path, at(n), fmt.Sprintf("threshold is %q", text), "write auto, a number, {percentile: 99.5}, {top: 500} or {precision: 0.9}")
		}
	default:
		d.wrongKind(node, path, "auto, a number, {percentile: 99.5}, {top: 500} or {precision: 0.9}")
	}
	return function.Threshold{}
}

// words say in plain language what a pattern allows.
var words = map[string]string{
	`^[a-z][a-z0-9_-]{0,63}$`:                "use small letters, digits, _ and -, a letter first, at most 64",
	`^[a-z0-9][a-z0-9_-]{0,63}$`:             "use small letters, digits, _ and -, at most 64",
	namePattern:                              "use letters, digits and _, a letter first",
	`^(image|text|caption|metadata[.].+)$`:   "write image, text, caption or metadata.NAME",
	`^(auto|cpu|(cuda|tensorrt)(:[0-9]+)?)$`: "write auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N",
}

var compiled sync.Map // pattern → *regexp.Regexp

func matches(pattern, text string) bool {
	re, ok := compiled.Load(pattern)
	if !ok {
		re, _ = compiled.LoadOrStore(pattern, regexp.MustCompile(pattern))
	}
	return re.(*regexp.Regexp).MatchString(text)
}

func (d *decoder) checkText(n ast.Node, s *jsonschema.Schema, text, path string) {
	switch {
	case s.MinLength != nil && strings.TrimSpace(text) == "":
		d.problem(path, at(n), label(path)+" is empty", "give it a value, or delete the line")
	case s.MaxLength != nil && uint64(len([]rune(text))) > *s.MaxLength:
		d.problem(path, at(n), fmt.Sprintf("%s is longer than %d characters", label(path), *s.MaxLength), "shorten it")
	case len(s.Enum) > 0 && !slices.Contains(s.Enum, any(text)):
		d.problem(path, at(n), fmt.Sprintf("%s is %q", label(path), text), meant(text, texts(s.Enum), "write "+oneOf(texts(s.Enum))))
	case s.Pattern != "" && !matches(s.Pattern, text):
		d.problem(path, at(n), fmt.Sprintf("%s is %q", label(path), text), words[s.Pattern])
	}
}

func texts(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = fmt.Sprint(v)
	}
	return out
}

// number fills an integer or a float, from a number or from an environment
// variable that holds one.
func (d *decoder) number(n ast.Node, s *jsonschema.Schema, v reflect.Value, path string) {
	want := "a whole number"
	if v.Kind() == reflect.Float64 {
		want = "a number"
	}
	node := d.untag(n)
	text, raw := "", ""
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
		ok := false
		raw = keyText(node)
		if text, ok = d.text(n, path); !ok {
			return
		}
	case *ast.InfinityNode, *ast.NanNode:
		d.problem(path, at(n), fmt.Sprintf("%s is %s", label(path), node.GetToken().Value), "write a finite number")
		return
	default:
		d.wrongKind(n, path, want)
		return
	}
	if text == raw && quoted(node) && looksNumeric(text) {
		d.problem(path, at(n), fmt.Sprintf("%s is the text %q", label(path), text), "write "+want+" without quotes")
		return
	}
	x, ok := new(big.Float).SetString(strings.ReplaceAll(text, "_", ""))
	if !ok || x.IsInf() {
		d.problem(path, at(n), fmt.Sprintf("%s is %q", label(path), text), "write "+want)
		return
	}
	if what := outside(s, x); what != "" {
		d.problem(path, at(n), fmt.Sprintf("%s is %s", label(path), text), "write "+want+" "+what)
		return
	}
	if v.Kind() == reflect.Float64 {
		f, _ := x.Float64()
		if math.IsInf(f, 0) {
			d.problem(path, at(n), fmt.Sprintf("%s is %s", label(path), text), "write a finite number")
			return
		}
		v.SetFloat(f)
		return
	}
	i, acc := x.Int64()
	if acc != big.Exact || v.Kind() == reflect.Uint64 && i < 0 {
		d.problem(path, at(n), fmt.Sprintf("%s is %s", label(path), text), "write "+want)
		return
	}
	if v.Kind() == reflect.Uint64 {
		v.SetUint(uint64(i))
		return
	}
	v.SetInt(i)
}

func quoted(n ast.Node) bool {
	t := n.GetToken().Type
	return t == token.SingleQuoteType || t == token.DoubleQuoteType
}

func looksNumeric(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// outside says which range of the schema x is outside of, or "".
func outside(s *jsonschema.Schema, x *big.Float) string {
	var lo, hi string
	ok := true
	cmp := func(n json.Number, bad func(int) bool) string {
		if n == "" {
			return ""
		}
		b, _ := new(big.Float).SetString(n.String())
		ok = ok && !bad(x.Cmp(b))
		return n.String()
	}
	if v := cmp(s.Minimum, func(c int) bool { return c < 0 }); v != "" {
		lo = "from " + v
	}
	if v := cmp(s.ExclusiveMinimum, func(c int) bool { return c <= 0 }); v != "" {
		lo = "above " + v
	}
	if v := cmp(s.Maximum, func(c int) bool { return c > 0 }); v != "" {
		hi = "up to " + v
	}
	if ok {
		return ""
	}
	return strings.TrimSpace(lo + " " + hi)
}
