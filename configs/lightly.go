package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// SelectionConfig is a selection_config of LightlyOne: what of it winnow can do.
// Its words are those of https://docs.lightly.ai/docs/selection. The checker
// turns it into Select, Conditions, Size and Proportion of the batch.
type SelectionConfig struct {
	NSamples          *int            `json:"n_samples,omitempty" jsonschema:"minimum=-1,maximum=10000000,example=200" jsonschema_description:"How many assets to choose at most; -1 where proportion_samples says it."`
	ProportionSamples *float64        `json:"proportion_samples,omitempty" jsonschema:"minimum=0,maximum=1,example=0.01" jsonschema_description:"The share of the rows that where and exclude leave."`
	Strategies        []LightlyObject `json:"strategies" jsonschema:"required,minItems=1" jsonschema_description:"Pairs of an input and a strategy."`
}

// LightlyObject is a pair of what to look at and what to wish of it.
type LightlyObject struct {
	Input    LightlyInput    `json:"input" jsonschema:"required" jsonschema_description:"What to look at."`
	Strategy LightlyStrategy `json:"strategy" jsonschema:"required" jsonschema_description:"What to wish of it."`
}

// LightlyInput is what a strategy looks at.
type LightlyInput struct {
	Type       string `json:"type" jsonschema:"required,enum=EMBEDDINGS,enum=SCORES,enum=METADATA,enum=PREDICTIONS,enum=RANDOM" jsonschema_description:"EMBEDDINGS is the first embedding of pictures, else the first one."`
	Task       string `json:"task,omitempty" jsonschema:"minLength=1,example=fruit-v7" jsonschema_description:"Of SCORES and PREDICTIONS: a model of predictions."`
	Score      string `json:"score,omitempty" jsonschema:"minLength=1,example=uncertainty_least_confidence" jsonschema_description:"Of SCORES: uncertainty_least_confidence."`
	Key        string `json:"key,omitempty" jsonschema:"minLength=1,example=weather.temperature" jsonschema_description:"Of METADATA: the field."`
	Name       string `json:"name,omitempty" jsonschema:"enum=CLASS_DISTRIBUTION,enum=CATEGORY_COUNT" jsonschema_description:"Of PREDICTIONS: CLASS_DISTRIBUTION."`
	RandomSeed *int64 `json:"random_seed,omitempty" jsonschema:"minimum=0,maximum=9007199254740991" jsonschema_description:"Of RANDOM. Default: the batch's seed."`
}

// LightlyStrategy is what is wished of an input.
type LightlyStrategy struct {
	Type                string   `json:"type" jsonschema:"required,enum=DIVERSITY,enum=WEIGHTS,enum=THRESHOLD,enum=BALANCE,enum=SIMILARITY,enum=TYPICALITY" jsonschema_description:"The kind of wish."`
	Strength            *float64 `json:"strength,omitempty" jsonschema:"minimum=-1000000,maximum=1000000,example=0.6" jsonschema_description:"The exponent in the product. Default: 1."`
	MinDistance         *float64 `json:"stopping_condition_minimum_distance,omitempty" jsonschema:"minimum=0,maximum=2,example=0.2" jsonschema_description:"Of DIVERSITY: the least Euclidean distance between chosen vectors of length 1."`
	Threshold           *float64 `json:"threshold,omitempty" jsonschema_description:"Of THRESHOLD: the number to compare with."`
	Operation           string   `json:"operation,omitempty" jsonschema:"enum=BIGGER,enum=BIGGER_EQUAL,enum=SMALLER,enum=SMALLER_EQUAL" jsonschema_description:"Of THRESHOLD: how to compare."`
	Distribution        string   `json:"distribution,omitempty" jsonschema:"enum=UNIFORM,enum=INPUT,enum=TARGET" jsonschema_description:"Of BALANCE. Default: TARGET."`
	Target              Shares   `json:"target,omitempty" jsonschema_description:"Of BALANCE: shares by value; the other values share the rest."`
	NumNearestNeighbors *int     `json:"num_nearest_neighbors,omitempty" jsonschema:"minimum=2,maximum=1000,example=20" jsonschema_description:"Of TYPICALITY: the density is that of so many neighbours."`
}

// Shares are shares by value.
type Shares map[string]float64

// JSONSchema describes a mapping of numbers.
func (Shares) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: shareSchema(), MinProperties: ptr(uint64(1))}
}

func (s *Shares) decodeNode(d *decoder, n ast.Node, path string) { *s = d.shares(n, path) }

// notOurs are keys of a selection_config that LightlyOne knows and winnow cannot
// honour, with what to write instead.
var notOurs = map[string]string{
	"dataset_id":                            "the assets to compare with must be in this workspace: write select: [{similarity: {to: {embedding: image, assets: [ID, …]}}}]",
	"tag_name":                              "the assets to compare with must be in this workspace: write select: [{similarity: {to: {embedding: image, assets: [ID, …]}}}]",
	"categories":                            "write a condition such as where: \"prediction IN ('car', 'bus')\"",
	"lightly_path_regex":                    "take parts of paths in SQL: balance: {by: \"regexp_extract(uri, 'cam([0-9]+)', 1)\", target: uniform}",
	"auto_tasks":                            "winnow labels nothing by itself: list a model's output under predictions",
	"stopping_condition_minimum_typicality": "write a size that ends the batch earlier",
	"stopping_condition_max_sum":            "write a size that ends the batch, or quotas",
	"target_range":                          "write a size that ends the batch, or quotas",
}

// thresholds are the operators of THRESHOLD.
var thresholds = map[string]string{"BIGGER": ">", "BIGGER_EQUAL": ">=", "SMALLER": "<", "SMALLER_EQUAL": "<="}

// lightly turns batch i's selection_config into winnow's own words.
func (k *checker) lightly(path string, b *Batch) {
	c := b.SelectionConfig
	for _, own := range []string{"select", "size", "proportion"} {
		if k.given(child(path, own)) {
			k.add(child(path, own), "keep one of the two", "%s stands beside a selection_config, which says it too", own)
		}
	}
	path = child(path, "selection_config")
	switch n, p := c.NSamples, c.ProportionSamples; {
	case n != nil && *n >= 0 && p != nil:
		k.add(child(path, "proportion_samples"), "keep one of the two", "n_samples and proportion_samples are both given")
	case n != nil && *n > 0:
		b.Size = *n
	case p != nil && *p > 0:
		b.Proportion = *p
	case !tells(k.told, path):
		k.add(path, "add n_samples: 200, or proportion_samples: 0.01", "the selection_config does not say how many rows to choose")
	}
	b.Select, b.Conditions = nil, nil
	for i, s := range c.Strategies {
		p := index(child(path, "strategies"), i)
		if tells(k.told, p) {
			continue
		}
		k.strategy(p, s, b)
	}
	if len(b.Select) == 0 && len(c.Strategies) > 0 && !tells(k.told, path) && !k.found(path) {
		seed := b.Seed // thresholds alone: any of the rows that pass
		b.Select = []Objective{{Random: &Random{Seed: seed}}}
	}
}

// found reports whether the checker has added a problem of the value at path.
func (k *checker) found(path string) bool { return tells(k.added, path) }

// strategy translates one pair.
func (k *checker) strategy(path string, s LightlyObject, b *Batch) {
	kind := s.Input.Type + " " + s.Strategy.Type
	k.unused(path, s)
	strength := 0.0
	if s.Strategy.Strength != nil {
		if strength = *s.Strategy.Strength; strength == 0 {
			k.add(path+".strategy.strength", "write another number, or delete the strategy", "with strength 0 the strategy has no effect")
			return
		}
	}
	o := Objective{}
	switch kind {
	case "EMBEDDINGS DIVERSITY", "EMBEDDINGS TYPICALITY":
		k.spaceStrategy(path, s, strength, &o)
	case "RANDOM WEIGHTS":
		r := &Random{Seed: b.Seed}
		if s.Input.RandomSeed != nil {
			r.Seed = uint64(*s.Input.RandomSeed)
		}
		o.Random = r
	case "METADATA WEIGHTS", "SCORES WEIGHTS":
		if by, ok := k.lightlyInput(path+".input", s.Input); ok {
			o.Weights = &Weights{By: by, Strength: strength}
		}
	case "METADATA THRESHOLD", "SCORES THRESHOLD":
		k.thresholdStrategy(path, s, b)
		return
	case "METADATA BALANCE", "PREDICTIONS BALANCE":
		k.balanceStrategy(path, s, strength, &o)
	case "EMBEDDINGS SIMILARITY":
		k.add(path+".strategy.type", "write select: [{similarity: {to: ripe_apples}}] with a function, or {to: {embedding: image, assets: [ID, …]}}", "SIMILARITY looks into a dataset of LightlyOne's")
	default:
		k.add(path+".strategy.type", "LightlyOne takes EMBEDDINGS with DIVERSITY, TYPICALITY or SIMILARITY, METADATA and SCORES with WEIGHTS or THRESHOLD, METADATA and PREDICTIONS with BALANCE, RANDOM with WEIGHTS",
			"%s does not go with %s here", s.Strategy.Type, s.Input.Type)
	}
	if !reflect.ValueOf(o).IsZero() {
		b.Select = append(b.Select, o)
	}
}

// uses are the keys that a type takes beside its type.
var uses = map[string]string{
	"EMBEDDINGS": "", "SCORES": "task score", "METADATA": "key", "PREDICTIONS": "task name", "RANDOM": "random_seed",
	"DIVERSITY": "strength stopping_condition_minimum_distance", "WEIGHTS": "strength", "THRESHOLD": "threshold operation",
	"BALANCE": "strength distribution target", "SIMILARITY": "strength", "TYPICALITY": "strength num_nearest_neighbors",
}

// unused refuses keys that the type does not look at: they would be lost.
func (k *checker) unused(path string, s LightlyObject) {
	for side, kind := range map[string]string{"input": s.Input.Type, "strategy": s.Strategy.Type} {
		p := child(path, side)
		for mark := range k.c.marks {
			key, ok := strings.CutPrefix(mark, p+".")
			if !ok || strings.ContainsAny(key, ".[") || key == "type" || slices.Contains(strings.Fields(uses[kind]), key) {
				continue
			}
			fix := "delete it"
			if key == "task" {
				fix = "vectors of objects are not kept: embed crops as assets of their own, or delete the task"
			}
			k.add(mark, fix, "%s is no key of %s", key, kind)
		}
	}
}

// spaceStrategy translates what looks at vectors. LightlyOne measures Euclidean
// distances d between vectors of length 1, winnow cosine distances: d²/2. So the
// distance is squared and halved, and half the strength gives the same order.
func (k *checker) spaceStrategy(path string, s LightlyObject, strength float64, o *Objective) {
	embedding := ""
	for _, e := range k.c.Embeddings {
		if embedding == "" || e.Of == "image" && !k.ofImage(embedding) {
			embedding = e.Name
		}
	}
	if s.Strategy.Type == "TYPICALITY" {
		o.Typicality = &Typicality{Embedding: embedding, Strength: strength}
		if n := s.Strategy.NumNearestNeighbors; n != nil {
			o.Typicality.Neighbors = *n
		}
		return
	}
	if strength < 0 {
		k.add(path+".strategy.strength", "write select: [{typicality: {embedding: "+embedding+"}}] for rows that lie close together", "diversity has no opposite here")
		return
	}
	if strength == 0 {
		strength = 1
	}
	o.Diversity = &Diversity{Embedding: embedding, Strength: strength / 2}
	if d := s.Strategy.MinDistance; d != nil {
		o.Diversity.MinDistance = *d * *d / 2
	}
}

func (k *checker) ofImage(embedding string) bool {
	e, _ := k.c.Embedding(embedding)
	return e.Of == "image"
}

// lightlyInput is the SQL of a number or a value that an input looks at.
func (k *checker) lightlyInput(path string, in LightlyInput) (sql string, ok bool) {
	switch in.Type {
	case "METADATA":
		switch {
		case in.Key == "":
			k.add(path, "add key: and the field's name", "METADATA lacks key")
		case strings.HasPrefix(in.Key, "lightly."):
			k.add(path+".key", "put the number into the manifest's metadata and name that field", "%s is computed by LightlyOne's worker", in.Key)
		default:
			return "metadata." + quotedPath(in.Key), true
		}
		return "", false
	case "SCORES":
		const known = "uncertainty_least_confidence"
		if in.Score != known {
			k.add(path+".score", "write "+known+", or put the numbers into metadata and name that field as METADATA", "the score %q needs more of the prediction than its class and confidence", in.Score)
			return "", false
		}
		return k.predicted(path, in, "1 - confidence", "1 - max(confidence)")
	}
	if in.Name != "" && in.Name != "CLASS_DISTRIBUTION" {
		k.add(path+".name", "write CLASS_DISTRIBUTION", "%s counts objects, which are not kept", in.Name)
		return "", false
	}
	return k.predicted(path, in, "prediction", "first(prediction ORDER BY confidence DESC NULLS LAST, prediction)")
}

// predicted is the SQL of what a model said: the column where the config has one
// model, else a look into the predictions.
func (k *checker) predicted(path string, in LightlyInput, column, aggregate string) (string, bool) {
	var models []string
	for _, p := range k.c.Predictions {
		if p.Model != "" && !slices.Contains(models, p.Model) {
			models = append(models, p.Model)
		}
	}
	if !slices.Contains(models, in.Task) {
		k.add(path+".task", meant(in.Task, models, "add it to predictions"), "there are no predictions of a model %q", in.Task)
		return "", false
	}
	if len(models) == 1 {
		return column, true
	}
	return fmt.Sprintf("(SELECT %s FROM predictions p WHERE p.asset_id = rows.asset_id AND p.model = '%s')", aggregate, strings.ReplaceAll(in.Task, "'", "''")), true
}

// quotedPath quotes the parts of a dotted name.
func quotedPath(key string) string {
	parts := strings.Split(key, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

func (k *checker) thresholdStrategy(path string, s LightlyObject, b *Batch) {
	if s.Strategy.Threshold == nil || s.Strategy.Operation == "" {
		k.add(path+".strategy", "write {type: THRESHOLD, threshold: 20, operation: BIGGER_EQUAL}", "THRESHOLD needs a threshold and an operation")
		return
	}
	if value, ok := k.lightlyInput(path+".input", s.Input); ok {
		b.Conditions = append(b.Conditions, fmt.Sprintf("%s %s %s", value, thresholds[s.Strategy.Operation], strconv.FormatFloat(*s.Strategy.Threshold, 'g', -1, 64)))
	}
}

func (k *checker) balanceStrategy(path string, s LightlyObject, strength float64, o *Objective) {
	st := s.Strategy
	by, ok := k.lightlyInput(path+".input", s.Input)
	switch {
	case !ok:
		return
	case strength < 0:
		k.add(path+".strategy.strength", "write a strength above 0", "balance has no opposite here")
		return
	case st.Distribution == "UNIFORM" || st.Distribution == "INPUT":
		if st.Target != nil {
			k.add(path+".strategy.target", "delete it, or write distribution: TARGET", "distribution %s takes no target", st.Distribution)
			return
		}
		o.Balance = &Balance{By: by, Strength: strength, Target: BalanceTarget{Word: strings.ToLower(st.Distribution)}}
	case st.Target == nil:
		k.add(path+".strategy", "write target: {sunny: 0.5, rainy: 0.3}, or distribution: UNIFORM", "BALANCE needs a target")
	default:
		k.sum(path+".strategy.target", st.Target)
		o.Balance = &Balance{By: by, Strength: strength, Target: BalanceTarget{Shares: maps.Clone(st.Target)}}
	}
}
