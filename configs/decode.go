package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"

	"winnow/pipeline"
	"winnow/pipeline/function"
)

// decoder fills Go values from YAML nodes and notes every problem on the way.
// What is wrong stays at its zero value, so that later checks can go on.
type decoder struct {
	file     string
	env      func(string) (string, bool)
	anchors  map[string]ast.Node
	marks    marks
	problems []pipeline.Problem
	told     []string // paths of the problems
	merges   int      // << followed so far
	lines    []string // of the file
}

// nodeDecoder is a type with more than one form in YAML.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node, path string)
}

// decodeFile reads data into v, a pointer to a struct that schema describes.
func decodeFile(file string, data []byte, env func(string) (string, bool), schema *jsonschema.Schema, v any) *decoder {
	d := &decoder{file: file, env: env, anchors: map[string]ast.Node{}, marks: marks{"$": {line: 1, column: 1}}, lines: strings.Split(string(data), "\n")}
	body, problem := parse(file, data)
	if problem != nil {
		d.problems = append(d.problems, *problem)
		return d
	}
	ast.Walk(anchorVisitor{d}, body)
	d.marks["$"] = at(body)
	d.value(body, schema, reflect.ValueOf(v).Elem(), "$")
	return d
}

type anchorVisitor struct{ d *decoder }

func (v anchorVisitor) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		name := a.Name.GetToken().Value
		if v.d.anchors[name] != nil {
			v.d.problem("&"+name, at(a), fmt.Sprintf("the YAML anchor &%s is defined twice", name), "give one another name")
		}
		v.d.anchors[name] = a.Value
	}
	return v
}

// problem notes a problem of the value at path.
func (d *decoder) problem(path string, p position, what, fix string) {
	d.told = append(d.told, path)
	d.problems = append(d.problems, pipeline.Problem{File: d.file, Line: p.line, Column: p.column, What: what, Fix: fix})
}

// tells reports whether a problem is noted of the value at path, of one that
// holds it, or of one within.
func tells(told []string, path string) bool {
	return slices.ContainsFunc(told, func(p string) bool { return within(p, path) || within(path, p) })
}

func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// unwrap follows aliases, anchors and explicit keys to the node that they stand for.
func (d *decoder) unwrap(n ast.Node) ast.Node {
	for range 32 {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.MappingKeyNode:
			n = v.Value
		case *ast.AliasNode:
			target := d.anchors[v.Value.GetToken().Value]
			if target == nil {
				return n
			}
			n = target
		default:
			return n
		}
	}
	return n
}

// value fills v from n. Tags of the field stand in schema.
func (d *decoder) value(n ast.Node, s *jsonschema.Schema, v reflect.Value, path string) {
	if _, ok := d.marks[path]; !ok {
		d.marks[path] = at(n)
	}
	if a, ok := d.unwrap(n).(*ast.AliasNode); ok {
		d.problem(path, at(n), fmt.Sprintf("the YAML anchor of *%s is not defined", a.Value.GetToken().Value), "put text that begins with * in quotes")
		return
	}
	switch p := v.Addr().Interface().(type) {
	case nodeDecoder:
		p.decodeNode(d, n, path)
		return
	case *function.Threshold:
		*p = d.threshold(n, path)
		return
	case *function.Over:
		*p = d.over(n, path)
		return
	case encoding.TextUnmarshaler:
		if text, ok := d.text(n, path); ok {
			if err := p.UnmarshalText([]byte(text)); err != nil {
				what, fix := parts(err)
				d.problem(path, at(n), label(path)+": "+what, fix)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, s, v.Elem(), path)
	case reflect.Struct:
		d.mapping(n, s, v, path)
	case reflect.Slice:
		d.sequence(n, s, v, path)
	case reflect.String:
		if text, ok := d.text(n, path); ok {
			d.checkText(n, s, text, path)
			v.SetString(text)
		}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		d.number(n, s, v, path)
	case reflect.Bool:
		d.truth(n, v, path)
	default:
		panic(fmt.Sprintf("configs: a field of type %s is declared, which the decoder does not know", v.Type()))
	}
}

// entry is one key of a mapping.
type entry struct {
	key   string
	at    position
	value ast.Node
}

// entries lists the keys of a mapping, those that << brings in last.
func (d *decoder) entries(n ast.Node, path string, depth int) (list []entry, ok bool) {
	var pairs []*ast.MappingValueNode
	switch v := d.unwrap(n).(type) {
	case *ast.MappingNode:
		pairs = v.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{v}
	default:
		return nil, false
	}
	first := map[string]position{}
	var merged []entry
	for _, p := range pairs {
		if p.Key.IsMergeKey() {
			more, ok := d.merge(p.Value, path, depth)
			if !ok {
				d.problem(child(path, "<<"), at(p.Key), "<< needs a mapping, or a list of mappings", "write <<: *name of a YAML anchor")
			}
			merged = append(merged, more...)
			continue
		}
		key := keyText(d.unwrap(p.Key))
		if before, twice := first[key]; twice {
			d.problem(child(path, key), at(p.Key), fmt.Sprintf("%s is given twice, first in line %d", key, before.line), "keep one of the two")
			continue
		}
		first[key] = at(p.Key)
		list = append(list, entry{key, at(p.Key), p.Value})
	}
	for _, e := range merged {
		if _, own := first[e.key]; !own {
			first[e.key] = e.at
			list = append(list, e)
		}
	}
	return list, true
}

func (d *decoder) merge(n ast.Node, path string, depth int) ([]entry, bool) {
	if d.merges++; depth >= 8 || d.merges > 1000 { // a mapping that merges itself, or a bomb
		return nil, false
	}
	if seq, ok := d.unwrap(n).(*ast.SequenceNode); ok {
		var all []entry
		for _, e := range seq.Values {
			more, ok := d.entries(e, path, depth+1)
			if !ok {
				return nil, false
			}
			all = append(all, more...)
		}
		return all, true
	}
	return d.entries(n, path, depth+1)
}

func keyText(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	if tk := n.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

func (d *decoder) mapping(n ast.Node, s *jsonschema.Schema, v reflect.Value, path string) {
	list, ok := d.entries(n, path, 0)
	if !ok {
		d.wrongKind(n, path, "a mapping with the keys "+strings.Join(propertyNames(s), ", "))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for _, e := range list {
		seen[e.key] = true
		prop, known := s.Properties.Get(e.key)
		if !known {
			d.unknown(e, s, path)
			continue
		}
		p := child(path, e.key)
		d.value(e.value, prop, v.FieldByIndex(fields[e.key]), p)
	}
	for _, name := range s.Required {
		if !seen[name] {
			d.missing(s, path, name)
		}
	}
	d.defaults(s, v, func(name string) bool { return seen[name] })
}

// missing notes that the mapping at path lacks a key.
func (d *decoder) missing(s *jsonschema.Schema, path, name string) {
	what := name + " is missing"
	if path != "$" {
		what = label(path) + " lacks " + name
	}
	d.problem(child(path, name), d.marks[path], what, hint(s, name))
}

func (d *decoder) unknown(e entry, s *jsonschema.Schema, path string) {
	names := propertyNames(s)
	if e.key == "" {
		d.problem(child(path, e.key), e.at, "a key is empty", "write one of "+strings.Join(names, ", "))
		return
	}
	if fix := notOurs[e.key]; fix != "" && strings.Contains(path, ".selection_config") {
		d.problem(child(path, e.key), e.at, e.key+" cannot be honoured here", fix)
		return
	}
	where := "the file"
	if path != "$" {
		where = label(path)
	}
	d.problem(child(path, e.key), e.at, fmt.Sprintf("%s is no key of %s", strconv.Quote(e.key), where), keyFix(e.key, names))
}

func keyFix(key string, known []string) string {
	if n := nearest(key, known); n != "" {
		return "did you mean " + n + "?"
	}
	return "known keys: " + strings.Join(known, ", ")
}

// defaults fills what is absent, at every depth. The types of pipeline/function
// are left alone: their zero values stand for their defaults.
func (d *decoder) defaults(s *jsonschema.Schema, v reflect.Value, given func(string) bool) {
	if v.Type().PkgPath() != reflect.TypeFor[Config]().PkgPath() {
		return
	}
	for name, i := range fieldsOf(v.Type()) {
		prop, ok := s.Properties.Get(name)
		if !ok || given(name) {
			continue
		}
		f := v.FieldByIndex(i)
		if f.Kind() == reflect.Struct && prop.Properties != nil {
			d.defaults(prop, f, func(string) bool { return false })
			continue
		}
		setDefault(f, prop.Default)
	}
}

// setDefault puts a default of a schema into a field. The defaults are constants
// of this package, so a misfit is a bug.
func setDefault(f reflect.Value, def any) {
	switch def := def.(type) {
	case nil:
	case []any:
		for _, e := range def {
			v := reflect.New(f.Type().Elem())
			if t, ok := v.Interface().(encoding.TextUnmarshaler); ok {
				if err := t.UnmarshalText([]byte(fmt.Sprint(e))); err != nil {
					panic("configs: " + err.Error())
				}
			} else {
				v.Elem().Set(reflect.ValueOf(e))
			}
			f.Set(reflect.Append(f, v.Elem()))
		}
	default:
		text := fmt.Sprint(def)
		if t, ok := f.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := t.UnmarshalText([]byte(text)); err != nil {
				panic("configs: " + err.Error())
			}
			return
		}
		var err error
		switch f.Kind() {
		case reflect.String:
			f.SetString(text)
		case reflect.Int, reflect.Int64:
			var i int64
			i, err = strconv.ParseInt(text, 10, 64)
			f.SetInt(i)
		case reflect.Uint64:
			var u uint64
			u, err = strconv.ParseUint(text, 10, 64)
			f.SetUint(u)
		case reflect.Float64:
			var x float64
			x, err = strconv.ParseFloat(text, 64)
			f.SetFloat(x)
		default:
			err = fmt.Errorf("a field of type %s has a default", f.Type())
		}
		if err != nil {
			panic("configs: " + err.Error())
		}
	}
}

func (d *decoder) sequence(n ast.Node, s *jsonschema.Schema, v reflect.Value, path string) {
	seq, ok := d.unwrap(n).(*ast.SequenceNode)
	if !ok {
		d.wrongKind(n, path, "a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	texts := map[string]bool{}
	for i, e := range seq.Values {
		d.value(e, s.Items, out.Index(i), index(path, i))
		if text := out.Index(i); s.UniqueItems && text.Kind() == reflect.String && text.String() != "" {
			if texts[text.String()] {
				d.problem(index(path, i), at(e), fmt.Sprintf("%s holds %q twice", label(path), text.String()), "keep one of the two")
			}
			texts[text.String()] = true
		}
	}
	if s.MinItems != nil && uint64(len(seq.Values)) < *s.MinItems {
		d.problem(path, at(n), label(path)+" is an empty list", "name at least one, or delete the line")
	}
	v.Set(out)
}

// truth reads true or false.
func (d *decoder) truth(n ast.Node, v reflect.Value, path string) {
	b, ok := d.untag(n).(*ast.BoolNode)
	if !ok {
		d.wrongKind(n, path, "true or false")
		return
	}
	v.SetBool(b.Value)
}

func (d *decoder) wrongKind(n ast.Node, path, want string) {
	found := ""
	switch v := d.unwrap(n).(type) {
	case *ast.NullNode:
		d.problem(path, at(n), label(path)+" has no value", "give it one, or delete the line")
		return
	case *ast.MappingNode, *ast.MappingValueNode:
		found = "a mapping"
	case *ast.SequenceNode:
		found = "a list"
	case *ast.TagNode:
		found = "the YAML tag " + v.Start.Value
	default:
		found = strconv.Quote(keyText(v))
	}
	d.problem(path, at(n), fmt.Sprintf("%s is %s", label(path), found), "write "+want)
}

// label names a value for people: "size", "entry 2 of emit", "batches[0]".
func label(path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	if i := strings.IndexByte(last, '['); i >= 0 {
		if k, err := strconv.Atoi(strings.TrimSuffix(last[i+1:], "]")); err == nil {
			return fmt.Sprintf("entry %d of %s", k+1, last[:i])
		}
	}
	if last == "$" {
		return "the file"
	}
	return last
}
