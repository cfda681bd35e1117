package configs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"

	"winnow/pipeline/function"
)

// SchemaKinds are the files that SchemaJSON describes.
var SchemaKinds = []string{"config", "function"}

// SchemaJSON is the JSON Schema (2020-12) of a kind of file: config or function.
func SchemaJSON(kind string) ([]byte, error) {
	var s *jsonschema.Schema
	switch kind {
	case "config":
		s = configSchema()
	case "function":
		s = functionSchema()
	default:
		return nil, fmt.Errorf("there is no schema of %q; ask for %s", kind, oneOf(SchemaKinds))
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

var configSchema = sync.OnceValue(func() *jsonschema.Schema {
	s := reflectSchema(&Config{}, nil)
	s.Title = "winnow config"
	s.Description = "What winnow reads, embeds, searches for and chooses for labeling."
	return s
})

var functionSchema = sync.OnceValue(func() *jsonschema.Schema {
	s := reflectSchema(&function.Definition{}, mapType)
	s.Title = "winnow function"
	s.Description = "A saved similarity search. Its name becomes three columns of where: NAME (the score), NAME_match and NAME_pct."
	s.Required = []string{"name"}
	positive := jsonschema.NewProperties()
	positive.Set("anchors", &jsonschema.Schema{Required: []string{"positive"}})
	s.AnyOf = []*jsonschema.Schema{
		{Required: []string{"embedding", "anchors"}, Properties: positive},
		{Required: []string{"combine_over", "anchors"}, Properties: positive},
		{Required: []string{"like"}},
	}
	s.Not = &jsonschema.Schema{Required: []string{"embedding", "combine_over"}}
	prop(s, "like").MinLength = ptr(uint64(1))
	prop(s, "name").Pattern = namePattern
	prop(s, "name").MaxLength = ptr(uint64(function.MaxName))
	prop(s, "embedding").MinLength = ptr(uint64(1))
	prop(s, "combine").Default = string(function.LDA)
	anchors := prop(s, "anchors")
	prop(anchors, "positive").MinItems = ptr(uint64(1))
	for _, list := range []string{"positive", "negative"} {
		item := prop(anchors, list).Items
		exactlyOne(item, "asset", "text", "uri", "vector")
		for _, k := range []string{"asset", "text", "uri", "vector"} {
			prop(item, k).MinLength = ptr(uint64(1))
		}
		prop(item, "weight").ExclusiveMinimum = "0"
		prop(item, "weight").Default = 1
	}
	return s
})

func reflectSchema(v any, mapper func(reflect.Type) *jsonschema.Schema) *jsonschema.Schema {
	r := jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true,
		Mapper: mapper, LookupComment: describe,
	}
	return r.Reflect(v)
}

func prop(s *jsonschema.Schema, name string) *jsonschema.Schema {
	p, ok := s.Properties.Get(name)
	if !ok {
		panic("configs: the schema has no property " + name)
	}
	return p
}

// mapType describes the types of pipeline/function, which know nothing of schemas.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[function.Over]():
		return overSchema()
	case reflect.TypeFor[function.Combine]():
		s := &jsonschema.Schema{Type: "string"}
		for _, c := range function.Combines {
			s.Enum = append(s.Enum, string(c))
		}
		return s
	case reflect.TypeFor[function.Threshold]():
		return &jsonschema.Schema{Default: "auto", OneOf: []*jsonschema.Schema{
			{Type: "string", Const: "auto", Description: "Found in the histogram of the scores."},
			{Type: "number", Description: "The lowest score of a match."},
			thresholdSchema(),
		}}
	}
	return nil
}

func overSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", MinProperties: ptr(uint64(2)), Examples: []any{map[string]any{"image": 0.7, "text": 0.3}},
		AdditionalProperties: &jsonschema.Schema{Type: "number", ExclusiveMinimum: "0"},
	}
}

// thresholdRule is the long form of a threshold: exactly one of its fields is set.
type thresholdRule struct {
	Percentile *float64       `json:"percentile,omitempty" jsonschema:"minimum=0,maximum=100,example=99.5" jsonschema_description:"So many percent of the rows lie below it."`
	Top        *int64         `json:"top,omitempty" jsonschema:"minimum=1,maximum=9007199254740991,example=500" jsonschema_description:"So many rows match."`
	Precision  *precisionRule `json:"precision,omitempty" jsonschema_description:"The lowest threshold that the labels show to be so precise. It rests on at least 10 labels."`
}

// precisionRule is a threshold by labels: a number, or a mapping.
type precisionRule struct {
	AtLeast   float64             `json:"at_least" jsonschema:"required,exclusiveMinimum=0,maximum=1,example=0.9" jsonschema_description:"The share of right rows among those that match."`
	Label     string              `json:"label,omitempty" jsonschema:"minLength=1,example=apple" jsonschema_description:"The label of right rows. Default: the function's name."`
	Otherwise *function.Threshold `json:"otherwise,omitempty" jsonschema_description:"The threshold while the labels show none that is so precise. Without it that is an error."`
}

// precisionSchema is the long form.
var precisionSchema = sync.OnceValue(func() *jsonschema.Schema {
	type plain precisionRule // without its JSONSchema method
	s := reflectSchema(&plain{}, func(t reflect.Type) *jsonschema.Schema {
		if t != reflect.TypeFor[function.Threshold]() {
			return nil
		}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			{Type: "string", Const: "auto"}, {Type: "number"},
			onlyOne("percentile", "number", "So many percent of the rows lie below it."), onlyOne("top", "integer", "So many rows match."),
		}}
	})
	s.Version = ""
	return s
})

// onlyOne is an object of one key.
func onlyOne(key, kind, what string) *jsonschema.Schema {
	props := jsonschema.NewProperties()
	props.Set(key, &jsonschema.Schema{Type: kind, Description: what})
	return &jsonschema.Schema{Type: "object", Properties: props, AdditionalProperties: jsonschema.FalseSchema, Required: []string{key}}
}

// JSONSchema describes both forms.
func (precisionRule) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf:       []*jsonschema.Schema{{Type: "number", ExclusiveMinimum: "0", Maximum: "1", Examples: []any{0.9}}, precisionSchema()},
		Description: "The lowest threshold that the labels show to be so precise. It rests on at least 10 labels.",
	}
}

func (r *precisionRule) decodeNode(d *decoder, n ast.Node, path string) {
	switch d.untag(n).(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		d.mapping(n, precisionSchema(), reflect.ValueOf(r).Elem(), path)
		if o := r.Otherwise; o != nil && o.Is(function.RulePrecision) {
			d.problem(child(path, "otherwise"), d.marks.find(child(path, "otherwise")), "the threshold otherwise is by precision again", "write auto, a number, {percentile: 99.5} or {top: 500}")
		}
	default:
		d.number(n, prop(precisionSchema(), "at_least"), reflect.ValueOf(&r.AtLeast).Elem(), path)
	}
}

// JSONSchemaExtend demands exactly one rule.
func (thresholdRule) JSONSchemaExtend(s *jsonschema.Schema) {
	exactlyOne(s, "percentile", "top", "precision")
}

var thresholdSchema = sync.OnceValue(func() *jsonschema.Schema {
	s := reflectSchema(&thresholdRule{}, nil)
	s.Version = ""
	return s
})

// descriptions of the fields of pipeline/function's types.
var descriptions = map[string]string{
	"Definition.Name":        "The column in where:. Letters, digits and _, a letter first.",
	"Definition.Embedding":   "The embedding of the config that it searches.",
	"Definition.CombineOver": "Instead of embedding: several of the config's, with their weights. A score is the weighted mean of the function's scores in each; a row that lacks one of the vectors has none.",
	"Definition.Like":        "A function that this one builds on: what is not said here is that one's, and its anchors count beside those named here.",
	"Definition.Anchors":     "The examples.",
	"Definition.Combine":     "How the anchors make one score. lda: linear discriminant against the corpus. mean, max, sum: cosine similarities. classifier: logistic regression against the negatives and the corpus.",
	"Definition.Threshold":   "Which scores are a match.",
	"Anchors.Positive":       "What to find.",
	"Anchors.Negative":       "What not to find.",
	"Anchor.Asset":           "An asset_id of the workspace.",
	"Anchor.Text":            "A text, embedded by the embedding's model.",
	"Anchor.URI":             "An image that is no asset, absolute or relative to this file.",
	"Anchor.Vector":          "A .npy file of one or more vectors, absolute or relative to this file.",
	"Anchor.Weight":          "How much it counts.",
}

func describe(t reflect.Type, field string) string {
	if strings.HasSuffix(t.PkgPath(), "pipeline/function") && field != "" {
		return descriptions[t.Name()+"."+field]
	}
	return ""
}

// exactlyOne demands one of the named properties and no two of them.
func exactlyOne(s *jsonschema.Schema, names ...string) {
	for _, n := range names {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{n}})
	}
}

// propertyNames lists the keys of an object in the order of their declaration.
func propertyNames(s *jsonschema.Schema) []string {
	var names []string
	if s.Properties == nil {
		return nil
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		names = append(names, p.Key)
	}
	return names
}

// hint says what to write for a key that is missing.
func hint(s *jsonschema.Schema, name string) string {
	p := prop(s, name)
	var examples []string
	for _, e := range p.Examples {
		examples = append(examples, fmt.Sprint(e))
	}
	if len(examples) > 0 {
		return fmt.Sprintf("write %s: %s", name, oneOf(examples))
	}
	if p.Description != "" {
		return "add " + name + ": " + strings.ToLower(p.Description[:1]) + strings.TrimSuffix(p.Description[1:], ".")
	}
	return "add " + name
}

var fieldCache sync.Map // reflect.Type → map[string][]int

// fieldsOf maps the keys of a struct to its fields.
func fieldsOf(t reflect.Type) map[string][]int {
	if m, ok := fieldCache.Load(t); ok {
		return m.(map[string][]int)
	}
	m := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			m[name] = f.Index
		}
	}
	fieldCache.Store(t, m)
	return m
}

// namePattern is what function.CheckName wants of the letters of a name.
const namePattern = `^[A-Za-z][A-Za-z0-9_]*$`
