package configs

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// Exclude is one kind of rows that a batch leaves out: exactly one of its fields
// is set.
type Exclude struct {
	Rows  string // "batched" or "labeled"
	Batch string // name of a batch: all its rows, of every slot
	IDs   string // a file of asset ids
}

// The words of exclude.
const (
	ExcludeBatched = "batched"
	ExcludeLabeled = "labeled"
)

// excludeRule is the long form of an Exclude.
type excludeRule struct {
	Batch string `json:"batch,omitempty" jsonschema:"minLength=1,example=fruit" jsonschema_description:"The rows that another batch took, in all its rounds."`
	IDs   string `json:"ids,omitempty" jsonschema:"minLength=1,example=./done.txt" jsonschema_description:"A file of asset ids: one a line (.txt), or JSON Lines, CSV or Parquet with an asset_id."`
}

// JSONSchemaExtend demands exactly one key.
func (excludeRule) JSONSchemaExtend(s *jsonschema.Schema) { exactlyOne(s, "batch", "ids") }

// JSONSchema describes both forms.
func (Exclude) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Enum: []any{ExcludeBatched, ExcludeLabeled}, Description: "batched: what any batch took. labeled: what has a label."},
		part[excludeRule](),
	}}
}

// UnmarshalText reads the short form.
func (x *Exclude) UnmarshalText(text []byte) error {
	*x = Exclude{Rows: string(text)}
	return nil
}

// MarshalJSON writes the form that users write.
func (x Exclude) MarshalJSON() ([]byte, error) {
	if x.Rows != "" {
		return json.Marshal(x.Rows)
	}
	return json.Marshal(excludeRule{x.Batch, x.IDs})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (x *Exclude) UnmarshalJSON(raw []byte) error {
	var r excludeRule
	err := either(raw, &x.Rows, &r)
	x.Batch, x.IDs = r.Batch, r.IDs
	return err
}

func (x *Exclude) decodeNode(d *decoder, n ast.Node, path string) {
	if !isMapping(d.unwrap(n)) {
		if text, ok := d.text(n, path); ok {
			d.checkText(n, &jsonschema.Schema{Enum: []any{ExcludeBatched, ExcludeLabeled}}, text, path)
			x.Rows = text
		}
		return
	}
	var r excludeRule
	d.mapping(n, part[excludeRule](), reflect.ValueOf(&r).Elem(), path)
	d.one(n, path, "batch", "ids")
	x.Batch, x.IDs = r.Batch, r.IDs
}

// Dedupe keeps one of each group of rows that are alike: that lie close together
// in an embedding, or whose pictures have nearly the same hash.
type Dedupe struct {
	Embedding string  `json:"embedding,omitempty" jsonschema:"minLength=1" jsonschema_description:"The embedding to measure in."`
	Distance  float64 `json:"distance,omitempty" jsonschema:"minimum=0,maximum=2,example=0.05" jsonschema_description:"Rows at most this far apart, in cosine distance (1 - cosine), are duplicates."`
	PHash     *int    `json:"phash,omitempty" jsonschema:"minimum=0,maximum=32,example=6" jsonschema_description:"Pictures whose perceptual hashes of 64 bits differ in at most so many bits are duplicates: scaled and recompressed copies."`
	Keep      string  `json:"keep,omitempty" jsonschema:"enum=best,enum=first,enum=largest,enum=typical,enum=random,default=best" jsonschema_description:"Which of them stays: the one with the best score, with the smallest asset_id, with the most pixels (or the longest text), the one in the densest region of the embedding, or any."`
}

// JSONSchemaExtend demands a whole rule.
func (Dedupe) JSONSchemaExtend(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"embedding"}}, {Required: []string{"phash"}}}
	s.DependentRequired = map[string][]string{"embedding": {"distance"}, "distance": {"embedding"}}
}

// Quota caps how many rows of one kind a batch may hold.
type Quota struct {
	Per    string  `json:"per" jsonschema:"required,minLength=1,example=metadata.camera,example=label" jsonschema_description:"A column, or any SQL value: rows of the same value are of one kind. Rows without a value are not capped."`
	AtMost int     `json:"at_most,omitempty" jsonschema:"minimum=1,maximum=10000000,example=50" jsonschema_description:"Rows of one kind."`
	Share  float64 `json:"share,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1,example=0.2" jsonschema_description:"Rows of one kind as a share of the batch's size, rounded down; one at least."`
}

// JSONSchemaExtend demands a cap.
func (Quota) JSONSchemaExtend(s *jsonschema.Schema) {
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"at_most"}}, {Required: []string{"share"}}}
}

// Objective is one way to choose: exactly one of its fields is set.
type Objective struct {
	Top        string      `json:"top,omitempty" jsonschema:"minLength=1,example=ripe_apples" jsonschema_description:"The rows with the highest score of this function, or the highest value of this number column."`
	Random     *Random     `json:"random,omitempty" jsonschema_description:"A seeded random choice."`
	Diversity  *Diversity  `json:"diversity,omitempty" jsonschema_description:"Rows far from each other: each next one is farthest from all that are chosen."`
	Typicality *Typicality `json:"typicality,omitempty" jsonschema_description:"Rows in dense regions of an embedding: many others look like them."`
	Similarity *Similarity `json:"similarity,omitempty" jsonschema_description:"Rows near a function or near some assets."`
	Weights    *Weights    `json:"weights,omitempty" jsonschema_description:"Rows with a high value. The short form names the value: weights: ripe_apples."`
	Balance    *Balance    `json:"balance,omitempty" jsonschema_description:"Kinds of rows in given shares."`
	Ordered    *Ordered    `json:"ordered,omitempty" jsonschema_description:"Rows in the order of a value. Alone or last, where it decides among equals."`
}

// objectives are the keys of an Objective.
var objectives = []string{"top", "random", "diversity", "typicality", "similarity", "weights", "balance", "ordered"}

// JSONSchemaExtend demands exactly one objective in an entry of select.
func (Objective) JSONSchemaExtend(s *jsonschema.Schema) { exactlyOne(s, objectives...) }

// Random is a seeded random choice.
type Random struct {
	Seed uint64 `json:"seed,omitempty" jsonschema:"minimum=0,maximum=9007199254740991" jsonschema_description:"Default: the batch's seed."`
}

// Diversity chooses rows far from each other. Its strength is 1 where it is 0.
type Diversity struct {
	Embedding   string  `json:"embedding" jsonschema:"required,minLength=1" jsonschema_description:"The embedding to measure in."`
	MinDistance float64 `json:"min_distance,omitempty" jsonschema:"minimum=0,maximum=2,example=0.1" jsonschema_description:"Stop when no row is left that is at least so far, in cosine distance, from all chosen ones."`
	Strength    float64 `json:"strength,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1000000,example=1" jsonschema_description:"The exponent of this objective in the product. Default: 1."`
}

// Typicality chooses rows in dense regions. Its strength is 1 where it is 0.
type Typicality struct {
	Embedding string  `json:"embedding" jsonschema:"required,minLength=1" jsonschema_description:"The embedding to measure in."`
	Neighbors int     `json:"neighbors,omitempty" jsonschema:"minimum=1,maximum=1000,example=20" jsonschema_description:"The density is that of so many nearest neighbours. Default: 20."`
	Strength  float64 `json:"strength,omitempty" jsonschema:"minimum=-1000000,maximum=1000000,example=1" jsonschema_description:"The exponent of this objective in the product; a negative one chooses outliers. Default: 1."`
}

// Similarity chooses rows near a set. Its strength is 1 where it is 0.
type Similarity struct {
	To       SimilarTo `json:"to" jsonschema:"required" jsonschema_description:"A function, by its scores; or {embedding: image, assets: [a, b]}, by the cosine to the nearest of them."`
	Strength float64   `json:"strength,omitempty" jsonschema:"minimum=-1000000,maximum=1000000,example=1" jsonschema_description:"The exponent of this objective in the product; a negative one pushes away. Default: 1."`
}

// SimilarTo is what rows should be near to: a function, or assets in an embedding.
type SimilarTo struct {
	Function  string
	Embedding string
	Assets    []string
}

// similarRule is the long form of a SimilarTo.
type similarRule struct {
	Embedding string   `json:"embedding" jsonschema:"required,minLength=1" jsonschema_description:"The embedding to measure in."`
	Assets    []string `json:"assets" jsonschema:"required,minItems=1,uniqueItems=true,minLength=1" jsonschema_description:"Ids of assets of the workspace."`
}

// JSONSchema describes both forms.
func (SimilarTo) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", MinLength: ptr(uint64(1)), Description: "A function."}, part[similarRule]()}}
}

// MarshalJSON writes the form that users write.
func (t SimilarTo) MarshalJSON() ([]byte, error) {
	if t.Function != "" {
		return json.Marshal(t.Function)
	}
	return json.Marshal(similarRule{t.Embedding, t.Assets})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (t *SimilarTo) UnmarshalJSON(raw []byte) error {
	var r similarRule
	err := either(raw, &t.Function, &r)
	t.Embedding, t.Assets = r.Embedding, r.Assets
	return err
}

func (t *SimilarTo) decodeNode(d *decoder, n ast.Node, path string) {
	if !isMapping(d.unwrap(n)) {
		if text, ok := d.text(n, path); ok {
			d.checkText(n, &jsonschema.Schema{MinLength: ptr(uint64(1))}, text, path)
			t.Function = text
		}
		return
	}
	var r similarRule
	d.mapping(n, part[similarRule](), reflect.ValueOf(&r).Elem(), path)
	t.Embedding, t.Assets = r.Embedding, r.Assets
}

// Weights chooses rows with a high value. Its strength is 1 where it is 0.
type Weights struct {
	By       string
	Strength float64
}

// weightsRule is the long form of Weights.
type weightsRule struct {
	By       string  `json:"by" jsonschema:"required,minLength=1,example=confidence,example=metadata.blur,example=1 - confidence" jsonschema_description:"A function, a column of numbers, or any SQL number."`
	Strength float64 `json:"strength,omitempty" jsonschema:"minimum=-1000000,maximum=1000000,example=-1" jsonschema_description:"The exponent of this objective in the product; a negative one chooses low values. Default: 1."`
}

// JSONSchema describes both forms.
func (Weights) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", MinLength: ptr(uint64(1)), Description: "The value."}, part[weightsRule]()}}
}

// MarshalJSON writes the long form.
func (w Weights) MarshalJSON() ([]byte, error) { return json.Marshal(weightsRule(w)) }

// UnmarshalJSON is the inverse of MarshalJSON.
func (w *Weights) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, (*weightsRule)(w)) }

func (w *Weights) decodeNode(d *decoder, n ast.Node, path string) {
	if !isMapping(d.unwrap(n)) {
		if text, ok := d.text(n, path); ok {
			d.checkText(n, &jsonschema.Schema{MinLength: ptr(uint64(1))}, text, path)
			w.By = text
		}
		return
	}
	d.mapping(n, part[weightsRule](), reflect.ValueOf((*weightsRule)(w)).Elem(), path)
}

// Balance chooses kinds of rows in given shares. Its strength is 1 where it is 0.
type Balance struct {
	By       string        `json:"by" jsonschema:"required,minLength=1,example=metadata.camera,example=prediction" jsonschema_description:"A column, or any SQL value: rows of the same value are of one kind."`
	Target   BalanceTarget `json:"target" jsonschema:"required" jsonschema_description:"uniform: as many rows of each kind; input: the shares of the rows to choose from; or shares by value, such as {front: 0.5, rear: 0.3}: the other kinds share the rest."`
	Strength float64       `json:"strength,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1000000,example=1" jsonschema_description:"The exponent of this objective in the product. Default: 1."`
}

// BalanceTarget is the word uniform or input, or shares by value.
type BalanceTarget struct {
	Word   string
	Shares map[string]float64
}

// The words of a BalanceTarget.
const (
	TargetUniform = "uniform"
	TargetInput   = "input"
)

var targetWords = []any{TargetUniform, TargetInput}

func shareSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", Minimum: "0", Maximum: "1"}
}

// JSONSchema describes both forms.
func (BalanceTarget) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Enum: targetWords},
		{Type: "object", AdditionalProperties: shareSchema(), MinProperties: ptr(uint64(1))},
	}}
}

// MarshalJSON writes the form that users write.
func (t BalanceTarget) MarshalJSON() ([]byte, error) {
	if t.Word != "" {
		return json.Marshal(t.Word)
	}
	return json.Marshal(t.Shares)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (t *BalanceTarget) UnmarshalJSON(raw []byte) error { return either(raw, &t.Word, &t.Shares) }

func (t *BalanceTarget) decodeNode(d *decoder, n ast.Node, path string) {
	if !isMapping(d.unwrap(n)) {
		if text, ok := d.text(n, path); ok {
			d.checkText(n, &jsonschema.Schema{Enum: targetWords}, text, path)
			t.Word = text
		}
		return
	}
	t.Shares = d.shares(n, path)
}

// shares reads a mapping of values to shares.
func (d *decoder) shares(n ast.Node, path string) map[string]float64 {
	list, ok := d.entries(n, path, 0)
	if !ok {
		d.wrongKind(n, path, "shares by value, such as {front: 0.5, rear: 0.5}")
		return nil
	}
	shares := map[string]float64{}
	for _, e := range list {
		var share float64
		p := child(path, e.key)
		d.marks[p] = at(e.value)
		d.number(e.value, shareSchema(), reflect.ValueOf(&share).Elem(), p)
		shares[e.key] = share
	}
	if len(list) == 0 {
		d.problem(path, at(n), label(path)+" names no value", "write shares by value, such as {front: 0.5, rear: 0.5}")
	}
	return shares
}

// Ordered chooses rows in the order of a value.
type Ordered struct {
	By         string `json:"by" jsonschema:"required,minLength=1,example=metadata.taken" jsonschema_description:"A function, a column of numbers, times or texts, or any SQL value."`
	Descending bool   `json:"descending,omitempty" jsonschema_description:"The largest first."`
}

// part is the schema of a type that is one of several forms.
func part[T any]() *jsonschema.Schema {
	var zero T
	s := reflectSchema(&zero, nil)
	s.Version = ""
	return s
}

// either decodes a JSON string into text, and anything else into v.
func either(raw []byte, text *string, v any) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, text)
	}
	return json.Unmarshal(raw, v)
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// one demands exactly one of the keys of a mapping.
func (d *decoder) one(n ast.Node, path string, keys ...string) {
	given := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { _, ok := d.marks[child(path, k)]; return !ok })
	if len(given) != 1 && !tells(d.told, path) {
		d.problem(path, at(n), fmt.Sprintf("%s has %d of %s", label(path), len(given), oneOf(keys)), "write one of them")
	}
}
