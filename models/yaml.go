package models

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"winnow/pipeline"
)

// place is a line and column, from 1.
type place struct{ line, column int }

// decoder fills a Spec from YAML and collects every problem on the way.
type decoder struct {
	file     string
	places   map[string]place // of each value, by its dotted path
	problems []pipeline.Problem
}

// nodeDecoder is a value with more than one form in YAML.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node, path string)
}

func placeOf(n ast.Node) place {
	tk := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		tk = m.Values[0].Key.GetToken() // the mapping's own token is its first colon
	}
	if tk == nil || tk.Position == nil {
		return place{1, 1}
	}
	return place{tk.Position.Line, max(tk.Position.Column, 1)}
}

func (d *decoder) add(at place, fix, format string, args ...any) {
	d.problems = append(d.problems, pipeline.Problem{File: d.file, Line: at.line, Column: at.column, What: fmt.Sprintf(format, args...), Fix: fix})
}

// wrong notes a problem of the value at path, or of what should hold it.
func (d *decoder) wrong(path, fix, format string, args ...any) {
	at, ok := d.places[path]
	for outer := path; !ok && outer != ""; {
		outer = outer[:max(strings.LastIndexByte(outer, '.'), 0)]
		at, ok = d.places[outer]
	}
	d.add(at, fix, format, args...)
}

// decode reads data into v, a pointer to a struct with yaml tags.
func (d *decoder) decode(data []byte, v any) {
	d.places = map[string]place{"": {1, 1}}
	defer func() { // the parser has panicked on damaged input before
		if r := recover(); r != nil {
			d.add(place{1, 1}, "check its indentation and quotes", "the file cannot be read as YAML")
		}
	}()
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, what := place{1, 1}, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			at, what = place{p.Line, max(p.Column, 1)}, syntax.GetMessage()
		}
		d.add(at, "check its indentation and quotes", "YAML: %s", what)
		return
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		d.add(place{1, 1}, "a spec is one YAML document", "the file holds %d YAML documents, or an empty one", len(f.Docs))
		return
	}
	d.value(f.Docs[0].Body, reflect.ValueOf(v).Elem(), "")
}

func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	if _, there := d.places[path]; !there {
		d.places[path] = placeOf(n)
	}
	if own, ok := v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			d.kind(n, path, "a list")
			return
		}
		for i, item := range seq.Values {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			d.value(item, v.Index(i), fmt.Sprintf("%s.%d", path, i))
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) kind(n ast.Node, path, want string) {
	name := path
	if name == "" {
		name = "the file"
	}
	d.add(placeOf(n), "", "%s must be %s, not %s", name, want, strings.ToLower(n.Type().YAMLName()))
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		d.kind(n, path, "a mapping of keys to values")
		return
	}
	fields, names := map[string]int{}, []string{}
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" {
			fields[tag], names = i, append(names, tag)
		}
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		key := p.Key.GetToken().Value
		at := placeOf(p.Key)
		i, known := fields[key]
		switch {
		case !known:
			d.add(at, "the keys here are "+strings.Join(names, ", "), "unknown key %q", key)
			continue
		case seen[key]:
			d.add(at, "keep one", "the key %q is there twice", key)
			continue
		}
		seen[key] = true
		inner := join(path, key)
		d.places[inner] = at
		if p.Value == nil || p.Value.Type() == ast.NullType {
			d.add(at, "", "%s has no value", inner)
			continue
		}
		d.value(p.Value, v.Field(i), inner)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	if t, ok := n.(*ast.TagNode); ok {
		n = t.Value
	}
	switch v.Kind() {
	case reflect.String:
		switch s := n.(type) {
		case *ast.StringNode:
			v.SetString(s.Value)
		case *ast.LiteralNode:
			v.SetString(s.Value.Value)
		case *ast.IntegerNode, *ast.FloatNode: // a hash may look like a number
			v.SetString(n.GetToken().Value)
		default:
			d.kind(n, path, "text")
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else {
			d.kind(n, path, "true or false")
		}
	case reflect.Int:
		if x, ok := number(n); ok && x == float64(int64(x)) {
			v.SetInt(int64(x))
		} else {
			d.kind(n, path, "a whole number")
		}
	case reflect.Float64:
		if x, ok := number(n); ok {
			v.SetFloat(x)
		} else {
			d.kind(n, path, "a number")
		}
	}
}

func number(n ast.Node) (float64, bool) {
	switch x := n.(type) {
	case *ast.IntegerNode:
		switch i := x.Value.(type) {
		case int64:
			return float64(i), true
		case uint64:
			return float64(i), true
		}
	case *ast.FloatNode:
		return x.Value, true
	}
	return 0, false
}

// numbers reads one number or a list of them.
func (d *decoder) numbers(n ast.Node, path string) []float64 {
	if x, ok := number(n); ok {
		return []float64{x}
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.kind(n, path, "a number or a list of numbers")
		return nil
	}
	var out []float64
	for _, item := range seq.Values {
		x, ok := number(item)
		if !ok {
			d.kind(item, path, "a list of numbers")
			return nil
		}
		out = append(out, x)
	}
	return out
}

// oneOf checks that a word is one of those that are allowed.
func oneOf[T ~string](d *decoder, path string, got T, allowed ...T) {
	if slices.Contains(allowed, got) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	if got == "" {
		d.wrong(path, "write one of "+strings.Join(words, ", "), "%s is missing", path)
		return
	}
	d.wrong(path, "write one of "+strings.Join(words, ", "), "%s is %q", path, got)
}
