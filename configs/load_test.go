package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"winnow/pipeline"
	"winnow/pipeline/function"
)

const goodConfig = `workspace: file://./workspace
sources:
  - manifest: file://./data/manifest.jsonl
    mode: append
    fields: {asset_id: global_key, uri: row_data}
    allow: ["file://./data/"]
labels: [{manifest: "file://./labels/*.jsonl"}]
embeddings:
  - {name: image, model: efficientnet-lite0, of: image}
  - {name: text, model: use-multilingual-v3, of: caption}
functions: functions/*.yaml
batches:
  - name: fruit
    where: ripe_apples_match AND NOT labeled
    dedupe: {embedding: image, distance: 0.05}
    select: [{top: ripe_apples}]
    size: 200
    emit: [labelbox, jsonl, html]
`

const goodFunction = `name: ripe_apples
embedding: image
anchors:
  positive:
    - {asset: fruit-0012}
    - asset: fruit-0340
      weight: 2
    - {uri: ./ref.jpg}
  negative: [{asset: ball-0007}]
combine: lda
threshold: {percentile: 99.5}
`

// tree writes files below a fresh folder and makes it the working directory, so
// that messages show short paths.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func good(extra ...string) map[string]string {
	m := map[string]string{"winnow.yaml": goodConfig, "functions/ripe_apples.yaml": goodFunction}
	for i := 0; i < len(extra); i += 2 {
		m[extra[i]] = extra[i+1]
	}
	return m
}

// problems of a config as "file:line:column: what; fix".
func problems(t *testing.T, path string, env map[string]string, checks ...Check) []string {
	t.Helper()
	_, err := Load(path, lookup(env), checks...)
	if err == nil {
		return nil
	}
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("error is %T: %v", err, err)
	}
	out := make([]string, len(usage.Problems))
	for i, p := range usage.Problems {
		out[i] = p.String()
	}
	return out
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

// usual is how an embedding is indexed where the config does not say.
var usual = Index{Memory: 1_000_000_000, Recall: 0.95, Kind: "auto"}

func TestLoad(t *testing.T) {
	tree(t, good())
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	wd, _ := os.Getwd()
	want := &Config{
		Workspace: wd + "/workspace",
		Sources: []Source{{
			Name: "file://./data/manifest.jsonl", Manifest: wd + "/data/manifest.jsonl", Mode: "append",
			Fields: Fields{AssetID: "global_key", URI: "row_data"}, Allow: []string{wd + "/data/"},
		}},
		Labels: []Labels{{Manifest: wd + "/labels/*.jsonl"}},
		Embeddings: []Embedding{
			{Name: "image", Model: "efficientnet-lite0", Of: "image", Index: usual},
			{Name: "text", Model: "use-multilingual-v3", Of: "caption", Index: usual},
		},
		Functions: Globs{"functions/*.yaml"},
		Batches: []Batch{{
			Name: "fruit", Where: "ripe_apples_match AND NOT labeled", Exclude: []Exclude{{Rows: "batched"}, {Rows: "labeled"}},
			Dedupe: &Dedupe{Embedding: "image", Distance: 0.05, Keep: "best"}, Select: []Objective{{Top: "ripe_apples"}},
			Size: 200, Emit: []string{"labelbox", "jsonl", "html"}, Seed: 1,
		}},
		Device: "auto",
		Limits: Limits{Bytes: 64 << 20, Pixels: 100_000_000, Line: 8 << 20, Timeout: Duration(time.Minute), Memory: 1_000_000_000},
		Seed:   1,
		Definitions: []*Function{{
			Definition: &function.Definition{
				Name: "ripe_apples", Embedding: "image", Combine: function.LDA,
				Anchors: function.Anchors{
					Positive: []function.Anchor{{Asset: "fruit-0012"}, {Asset: "fruit-0340", Weight: 2}, {URI: "./ref.jpg"}},
					Negative: []function.Anchor{{Asset: "ball-0007"}},
				},
				Threshold: function.Threshold{Rule: function.RulePercentile, Value: 99.5},
			},
			File: wd + "/functions/ripe_apples.yaml",
		}},
		File: "winnow.yaml",
		Env:  map[string]string{},
	}
	fields := map[string]string{"asset_id": "global_key", "uri": "row_data"}
	if d := cmp.Diff(fields, c.Sources[0].Fields.Map()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	opts := []cmp.Option{cmpopts.IgnoreUnexported(Config{}, Function{})}
	if d := cmp.Diff(want, c, opts...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if dir := c.Definitions[0].Dir(); dir != wd+"/functions" {
		t.Errorf("Dir = %s", dir)
	}

	// A plan freezes the config as JSON.
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Config
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	back.Env = c.Env // which does not travel
	if d := cmp.Diff(c, &back, opts...); d != "" {
		t.Errorf("through JSON, -before +after:\n%s", d)
	}
	if p := back.Problem("$.batches[0].where", "x", "y"); p.Line != 0 || p.File != "winnow.yaml" {
		t.Errorf("a problem of a frozen config: %+v", p)
	}
}

// TestOneMistake makes one mistake in a good config at a time.
func TestOneMistake(t *testing.T) {
	cases := []struct{ name, from, to, want string }{
		{"unknown key", "size: 200", "size: 200\n    sise: 3", `winnow.yaml:18:5: "sise" is no key of entry 1 of batches; did you mean size?`},
		{"unknown key at the top", "functions:", "function:", `winnow.yaml:11:1: "function" is no key of the file; did you mean functions?|winnow.yaml:14:12: there is no function "ripe_apples"; add it to functions, or take the column out|winnow.yaml:16:20: there is no function "ripe_apples"; name a function, confidence or metadata.NAME`},
		{"unknown key, nothing near", "    size: 200", "    size: 200\n    zzzzzzz: 1", `winnow.yaml:18:5: "zzzzzzz" is no key of entry 1 of batches; known keys: name, where, exclude, dedupe, select, size, emit, seed, labelbox, uri_rewrite, quotas, proportion, stay_away, selection_config`},
		{"key twice", "size: 200", "size: 200\n    size: 300", `winnow.yaml:18:5: size is given twice, first in line 17; keep one of the two`},
		{"missing key", "workspace: file://./workspace\n", "", `winnow.yaml:1:1: workspace is missing; write workspace: file://./workspace or s3://bucket/prefix?region=eu-west-1`},
		{"missing key of an entry", "    size: 200\n", "", `winnow.yaml:13:5: entry 1 of batches lacks size; add size: how many assets to choose at most`},
		{"no value", "size: 200", "size:", `winnow.yaml:17:10: size has no value; give it one, or delete the line`},
		{"text for a number", "size: 200", "size: many", `winnow.yaml:17:11: size is "many"; write a whole number`},
		{"quoted number", "size: 200", `size: "200"`, `winnow.yaml:17:11: size is the text "200"; write a whole number without quotes`},
		{"fraction", "size: 200", "size: 1.5", `winnow.yaml:17:11: size is 1.5; write a whole number`},
		{"zero", "size: 200", "size: 0", `winnow.yaml:17:11: size is 0; write a whole number from 1 up to 10000000`},
		{"list for a number", "size: 200", "size: [200]", `winnow.yaml:17:11: size is a list; write a whole number`},
		{"text for a list", "emit: [labelbox, jsonl, html]", "emit: html", `winnow.yaml:18:11: emit is "html"; write a list`},
		{"mapping for text", "name: fruit", "name: {a: b}", `winnow.yaml:13:11: name is a mapping; write text`},
		{"text for a mapping", "dedupe: {embedding: image, distance: 0.05}", "dedupe: image", `winnow.yaml:15:13: dedupe is "image"; write a mapping with the keys embedding, distance, phash, keep`},
		{"unknown word", "mode: append", "mode: apend", `winnow.yaml:4:11: mode is "apend"; did you mean append?`},
		{"unknown word, nothing near", "mode: append", "mode: z", `winnow.yaml:4:11: mode is "z"; write append or snapshot`},
		{"unknown format", "emit: [labelbox, jsonl, html]", "emit: [labelbx]", `winnow.yaml:18:12: entry 1 of emit is "labelbx"; did you mean labelbox?`},
		{"same format twice", "emit: [labelbox, jsonl, html]", "emit: [html, jsonl, html]", `winnow.yaml:18:25: emit holds "html" twice; keep one of the two`},
		{"empty list", "emit: [labelbox, jsonl, html]", "emit: []", `winnow.yaml:18:11: emit is an empty list; name at least one, or delete the line`},
		{"blank text", "where: ripe_apples_match AND NOT labeled", "where: '  '", `winnow.yaml:14:12: where is empty; give it a value, or delete the line`},
		{"function in where", "ripe_apples_match AND", "x = 'no_match' AND ripe_aples_match AND metadata.x_pct > 0 AND", `winnow.yaml:14:31: there is no function "ripe_aples"; did you mean ripe_apples?`},
		{"function in quoted where", "where: ripe_apples_match AND NOT labeled", "where: \"ä > 0 AND apples_pct > 1\"", `winnow.yaml:14:23: there is no function "apples"; write ripe_apples`},
		{"function in escaped where", "where: ripe_apples_match AND NOT labeled", "where: \"\\x61 > 0 AND apples_pct > 1\"", `winnow.yaml:14:12: there is no function "apples"; write ripe_apples`},
		{"function in literal where", "where: ripe_apples_match AND NOT labeled", "where: |\n      a > 0 -- b_match\n      AND ä > apples_pct", `winnow.yaml:16:15: there is no function "apples"; write ripe_apples`},
		{"function in folded where", "where: ripe_apples_match AND NOT labeled", "where: >-\n      a > 0\n      AND apples_pct > 1", `winnow.yaml:14:12: there is no function "apples"; write ripe_apples`},
		{"name with capitals", "name: fruit", "name: Fruit Salad", `winnow.yaml:13:11: name is "Fruit Salad"; use small letters, digits, _ and -, at most 64`},
		{"field of an embedding", "of: caption", "of: captions", `winnow.yaml:10:50: of is "captions"; write image, text, caption or metadata.NAME`},
		{"decode of texts", "of: caption", "of: caption, decode: fast", `winnow.yaml:10:67: texts are not decoded; take it out`},
		{"index", "of: image", "of: image, index: {memory: 1MB, recall: 1.5, kind: hnsw}", "winnow.yaml:9:73: an index cannot be built in 1MB; give it at least 50MB|winnow.yaml:9:86: recall is 1.5; write a number above 0 up to 1|winnow.yaml:9:97: kind is \"hnsw\"; write auto, flat, ivf_flat, ivf_sq8 or ivf_pq"},
		{"decode", "of: image", "of: image, decode: quick", `winnow.yaml:9:65: decode is "quick"; write exact or fast`},
		{"distance over 2", "distance: 0.05", "distance: 5", `winnow.yaml:15:42: distance is 5; write a number from 0 up to 2`},
		{"infinite distance", "distance: 0.05", "distance: .inf", `winnow.yaml:15:42: distance is .inf; write a finite number`},
		{"embedding of dedupe", "dedupe: {embedding: image", "dedupe: {embedding: images", `winnow.yaml:15:25: there is no embedding "images"; did you mean image?`},
		{"function of top", "top: ripe_apples", "top: ripe_aples", `winnow.yaml:16:20: there is no function "ripe_aples"; did you mean ripe_apples?`},
		{"two objectives of a kind", "select: [{top: ripe_apples}]", "select: [{typicality: {embedding: imag}}]", `winnow.yaml:16:39: there is no embedding "imag"; did you mean image?`},
		{"two objectives in one", "select: [{top: ripe_apples}]", "select: [{top: ripe_apples, random: {}}]", `winnow.yaml:16:14: an objective has both top and random; write each as an entry of its own`},
		{"empty objective", "select: [{top: ripe_apples}]", "select: [{}]", `winnow.yaml:16:14: an objective is empty; write top, random, diversity, typicality, similarity, weights, balance or ordered`},
		{"diversity without embedding", "{top: ripe_apples}", "{diversity: {min_distance: 0.1}}", `winnow.yaml:16:26: diversity lacks embedding; add embedding: the embedding to measure in`},
		{"embedding twice", "name: text, model", "name: image, model", `winnow.yaml:10:12: embeddings has "image" twice, first in line 9; give one of them another name`},
		{"scheme of the workspace", "workspace: file://./workspace", "workspace: s4://bucket/x", `winnow.yaml:1:12: s4:// is no storage that winnow knows here; did you mean s3? (or a path)`},
		{"host in a file URL", "workspace: file://./workspace", "workspace: file://workspace/x", `winnow.yaml:1:12: "file://workspace/x" names a host; write file://./workspace/x for a path beside the config, or file:///workspace/x`},
		{"no bucket", "workspace: file://./workspace", "workspace: s3:///x", `winnow.yaml:1:12: "s3:///x" names no bucket; write s3://bucket/prefix`},
		{"credentials", "workspace: file://./workspace", "workspace: s3://key:secret@bucket/x", `winnow.yaml:1:12: the address carries credentials; take them out: they come from the environment or the cloud's own configuration`},
		{"web manifest", "manifest: file://./data/manifest.jsonl", "manifest: https://example.com/m.jsonl", `winnow.yaml:3:15: https:// is no storage that winnow knows here; write file, s3, gs, azblob or mem (or a path)`},
		{"no function file", "functions: functions/*.yaml", "functions: funktions/*.yaml", `winnow.yaml:11:12: no file fits "funktions/*.yaml"; write a path or glob relative to the config file, or delete the line`},
		{"folder of functions", "functions: functions/*.yaml", "functions: functions/", `winnow.yaml:11:12: "functions/" is a folder; write functions/*.yaml`},
		{"functions elsewhere", "functions: functions/*.yaml", "functions: s3://b/*.yaml", `winnow.yaml:11:12: functions are read from local files, and "s3://b/*.yaml" is none; write a path such as functions/*.yaml`},
		{"environment", "workspace: file://./workspace", "workspace: ${HOMELESS}/x", `winnow.yaml:1:12: the environment variable HOMELESS is not set; set it, or write its value here`},
		{"open environment", "workspace: file://./workspace", "workspace: ${HOMELESS/x", `winnow.yaml:1:12: ${ is not closed; write ${NAME}, or $${ for the characters themselves`},
		{"odd environment", "workspace: file://./workspace", `workspace: "${A B}/x"`, `winnow.yaml:1:12: ${A B} names no environment variable; write ${NAME}, or $${ for the characters themselves`},
		{"max_rejects without %", "functions:", "max_rejects: 5\nfunctions:", `winnow.yaml:11:14: max_rejects: "5" is no share; write a number with a percent sign, such as 1%`},
		{"max_rejects over 100", "functions:", "max_rejects: 101%\nfunctions:", `winnow.yaml:11:14: max_rejects: "101%" is out of range; write 0% to 100%`},
		{"bytes without unit", "functions:", "limits: {bytes: 64}\nfunctions:", `winnow.yaml:11:17: bytes: "64" is no size; write a number with a unit, such as 64MiB or 2GB`},
		{"timeout without unit", "functions:", "limits: {timeout: 30}\nfunctions:", `winnow.yaml:11:19: timeout: "30" is no time span; write a number with a unit, such as 30s or 2m`},
		{"negative timeout", "functions:", "limits: {timeout: -3s}\nfunctions:", `winnow.yaml:11:19: timeout: "-3s" is not above zero; write a longer time, such as 30s`},
		{"negative seed", "functions:", "seed: -1\nfunctions:", `winnow.yaml:11:7: seed is -1; write a whole number from 0 up to 9007199254740991`},
		{"device", "functions:", "device: gpu\nfunctions:", `winnow.yaml:11:9: device is "gpu"; write auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N`},
		{"labelbox options", "emit: [labelbox, jsonl, html]", "labelbox: {priority: 9}", `winnow.yaml:18:15: the batch has options for labelbox and does not emit it; add labelbox to emit, or delete the options|winnow.yaml:18:26: priority is 9; write a whole number from 1 up to 5`},
		{"rules for no tool", "emit: [labelbox, jsonl, html]", "emit: [jsonl]\n    uri_rewrite: [{from: a, to: b}]", `winnow.yaml:19:18: the batch rewrites URIs for labeling tools and emits for none; add a labeling tool to emit, or delete the rules`},
		{"labelbox reads no s3", "emit: [labelbox, jsonl, html]", "emit: [labelbox]\n    labelbox: {uri_rewrite: [{from: a, to: s3://b}]}", `winnow.yaml:19:44: Labelbox does not read s3:// addresses; write an https:// address`},
		{"tab", "  - name: fruit", "\t- name: fruit", "winnow.yaml:13:1: YAML: found character '\t' that cannot start any token; indent with spaces"},
		{"open bracket", `allow: ["file://./data/"]`, `allow: ["file://./data/"`, `winnow.yaml:7:1: YAML: ',' or ']' must be specified; close the bracket; text with [ ] { } or , goes in quotes`},
		{"colon in text", "where: ripe_apples_match AND NOT labeled", "where: a: b", `winnow.yaml:14:12: YAML: mapping value is not allowed in this context; put text that holds a colon in quotes`},
		{"two documents", "labels:", "---\nlabels:", `winnow.yaml:8:1: the file holds more than one YAML document; give each its own file`},
		{"unknown alias", "name: fruit", "name: *fruit", `winnow.yaml:13:11: the YAML anchor of *fruit is not defined; put text that begins with * in quotes`},
		{"anchor twice", "allow: [\"file://./data/\"]", "allow: [&a x, &a y]", `winnow.yaml:6:19: the YAML anchor &a is defined twice; give one another name`},
		{"not UTF-8", "name: fruit", "name: fr\xffuit", `winnow.yaml:13:13: the file is not UTF-8; save it as UTF-8`},
		{"two sources of one name", "labels:", "  - manifest: file://./data/manifest.jsonl\nlabels:", `winnow.yaml:7:5: two sources are called "file://./data/manifest.jsonl"; give one of them a name: of its own`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(goodConfig, c.from) != 1 {
				t.Fatalf("%q stands %d times in the good config", c.from, strings.Count(goodConfig, c.from))
			}
			tree(t, good("winnow.yaml", strings.Replace(goodConfig, c.from, c.to, 1)))
			if d := cmp.Diff(strings.Split(c.want, "|"), problems(t, "winnow.yaml", nil)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestOneFunctionMistake makes one mistake in a good function file at a time.
func TestOneFunctionMistake(t *testing.T) {
	cases := []struct{ name, from, to, want string }{
		{"unknown key", "combine: lda", "combin: lda", `10:1: "combin" is no key of the file; did you mean combine?`},
		{"no name", "name: ripe_apples\n", "", `1:1: name is missing; add name: the column in where:. Letters, digits and _, a letter first`},
		{"bad name", "name: ripe_apples", "name: ripe-apples", `1:7: name is "ripe-apples"; use letters, digits and _, a letter first`},
		{"reserved name", "name: ripe_apples", "name: caption", `1:7: the name "caption" is a column of winnow's own; choose another name`},
		{"name with a suffix", "name: ripe_apples", "name: ripe_match", `1:7: the name "ripe_match" ends like the columns that winnow adds to a function; choose a name without _match or _pct at its end`},
		{"no positives", "  positive:\n    - {asset: fruit-0012}\n    - asset: fruit-0340\n      weight: 2\n    - {uri: ./ref.jpg}\n", "", `4:3: anchors lacks positive; add positive: what to find`},
		{"anchor of two kinds", "{asset: fruit-0012}", "{asset: fruit-0012, text: apple}", `5:7: an anchor has 2 of asset, text, uri and vector; write exactly one of asset, text, uri and vector`},
		{"anchor of no kind", "{asset: fruit-0012}", "{weight: 2}", `5:7: an anchor has 0 of asset, text, uri and vector; write exactly one of asset, text, uri and vector`},
		{"anchor key", "{asset: fruit-0012}", "{aset: fruit-0012}", `5:8: "aset" is no key of entry 1 of positive; did you mean asset?`},
		{"positive and negative", "{asset: ball-0007}", "{asset: fruit-0012}", `9:14: asset "fruit-0012" is both a positive and a negative anchor; remove it from one of the two`},
		{"twice", "{uri: ./ref.jpg}", "{asset: fruit-0012}", `8:7: asset "fruit-0012" is twice among the positive anchors; keep one, with a weight if it counts more`},
		{"weight 0", "weight: 2", "weight: 0", `7:15: weight is 0; write a number above 0`},
		{"weight NaN", "weight: 2", "weight: .nan", `7:15: weight is .nan; write a finite number`},
		{"weight beyond float32", "weight: 2", "weight: 1e300", `7:15: weight is 1e+300; write a number above 0, at most 3.4e38`},
		{"weight beyond float64", "weight: 2", "weight: 1e999", `7:15: weight is 1e999; write a finite number`},
		{"combine", "combine: lda", "combine: average", `10:10: combine is "average"; write lda, mean, max, sum or classifier`},
		{"embedding", "embedding: image", "embedding: imge", `2:12: the config has no embedding "imge"; did you mean image?`},
		{"uri on texts", "embedding: image", "embedding: text", `8:13: a uri anchor is an image, and the embedding text is of caption; write a text or an asset`},
		{"threshold word", "threshold: {percentile: 99.5}", "threshold: automatic", `11:12: threshold is "automatic"; write auto, a number, {percentile: 99.5}, {top: 500} or {precision: 0.9}`},
		{"threshold rule", "{percentile: 99.5}", "{percentil: 99.5}", `11:13: "percentil" is no key of threshold; did you mean percentile?`},
		{"threshold range", "{percentile: 99.5}", "{percentile: 101}", `11:25: percentile is 101; write a number from 0 up to 100`},
		{"two rules", "{percentile: 99.5}", "{percentile: 99, top: 3}", `11:12: threshold has 2 rules; write one of percentile, top and precision`},
		{"precision twice", "{percentile: 99.5}", "{precision: {at_least: 0.9, otherwise: {precision: 0.5}}}", `11:51: the threshold otherwise is by precision again; write auto, a number, {percentile: 99.5} or {top: 500}`},
		{"precision of no share", "{percentile: 99.5}", "{precision: {at_least: 90}}", `11:35: at_least is 90; write a number above 0 up to 1`},
		{"precision without a share", "{percentile: 99.5}", "{precision: {label: apple}}", `11:24: precision lacks at_least; write at_least: 0.9`},
		{"no rule", "{percentile: 99.5}", "{}", `11:12: threshold has 0 rules; write one of percentile, top and precision`},
		{"top of a fraction", "{percentile: 99.5}", "{top: 1.5}", `11:18: top is 1.5; write a whole number`},
		{"threshold list", "{percentile: 99.5}", "[1]", `11:12: threshold is a list; write auto, a number, {percentile: 99.5}, {top: 500} or {precision: 0.9}`},
		{"empty file", goodFunction, "# nothing\n", `1:1: the file is empty; see winnow init for a file to begin with`},
		{"a list", goodFunction, "- 1\n", `1:1: the file is a list; write a mapping with the keys name, embedding, combine_over, like, anchors, combine, threshold`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(goodFunction, c.from) {
				t.Fatalf("%q does not stand in the good function", c.from)
			}
			config := strings.NewReplacer("{top: ripe_apples}", "{random: {}}", "ripe_apples_match AND ", "").Replace(goodConfig)
			tree(t, good("winnow.yaml", config, "functions/ripe_apples.yaml", strings.Replace(goodFunction, c.from, c.to, 1)))
			var want []string
			for w := range strings.SplitSeq(c.want, "|") {
				want = append(want, "functions/ripe_apples.yaml:"+w)
			}
			if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestPrecisionNeedsLabels(t *testing.T) {
	tree(t, good(
		"winnow.yaml", strings.Replace(goodConfig, "labels: [{manifest: \"file://./labels/*.jsonl\"}]\n", "", 1),
		"functions/ripe_apples.yaml", strings.Replace(goodFunction, "{percentile: 99.5}", "{precision: 0.9}", 1)))
	want := []string{"functions/ripe_apples.yaml:11:12: a threshold by precision needs labels, and the config names none; add labels: to the config, or write another threshold"}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestTwoFunctionsOfOneName(t *testing.T) {
	tree(t, good("functions/x.yaml", strings.Replace(goodFunction, "ripe_apples", "Ripe_Apples", 1)))
	want := []string{"functions/x.yaml:1:7: the function Ripe_Apples is defined in functions/ripe_apples.yaml too; give one of them another name"}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestAllMistakesAtOnce reads one config with many mistakes, and two function
// files, and wants them all in one go.
func TestAllMistakesAtOnce(t *testing.T) {
	const config = `workspace: s4://bucket
sources:
  - manifest: https://example.com/m.jsonl
    mod: append
    fields: {asset: id}
    allow: []
embeddings:
  - {name: Image, model: efficientnet-lite0, of: image}
  - {name: text, model: use-multilingual-v3, of: title}
functions: [functions/*.yaml, more/*.yaml]
batches:
  - name: fruit
    size: -3
    dedupe: {embedding: txt, distance: far}
    select: [{top: confidnece}, {weights: ripe_apples}]
    emit: [htm, html]
  - name: fruit
    select: [{random: {sed: 1}}]
    size: 10
    where:
max_rejects: 3
device: tpu
limits: {bytes: 64, pixles: 3}
`
	const apples = `name: ripe_apples
embedding: texts
anchors:
  positive: [{asset: a, text: b}, {asset: c, weight: -1}]
combine: avg
treshold: auto
`
	tree(t, map[string]string{"winnow.yaml": config, "functions/apples.yaml": apples, "functions/z.yaml": "name: [\n"})
	want := []string{
		`winnow.yaml:1:12: s4:// is no storage that winnow knows here; did you mean s3? (or a path)`,
		`winnow.yaml:3:15: https:// is no storage that winnow knows here; write file, s3, gs, azblob or mem (or a path)`,
		`winnow.yaml:4:5: "mod" is no key of entry 1 of sources; did you mean mode?`,
		`winnow.yaml:5:14: "asset" is no key of fields; known keys: asset_id, uri, text, caption, version, media_type`,
		`winnow.yaml:6:12: allow is an empty list; name at least one, or delete the line`,
		`winnow.yaml:8:12: name is "Image"; use small letters, digits, _ and -, a letter first, at most 64`,
		`winnow.yaml:9:50: of is "title"; write image, text, caption or metadata.NAME`,
		`winnow.yaml:10:31: no file fits "more/*.yaml"; write a path or glob relative to the config file, or delete the line`,
		`winnow.yaml:13:11: size is -3; write a whole number from 1 up to 10000000`,
		`winnow.yaml:14:25: there is no embedding "txt"; did you mean text?`,
		`winnow.yaml:14:40: distance is "far"; write a number`,
		`winnow.yaml:16:12: entry 1 of emit is "htm"; did you mean html?`,
		`winnow.yaml:17:11: batches has "fruit" twice, first in line 12; give one of them another name`,
		`winnow.yaml:18:24: "sed" is no key of random; did you mean seed?`,
		`winnow.yaml:20:11: where has no value; give it one, or delete the line`,
		`winnow.yaml:21:14: max_rejects: "3" is no share; write a number with a percent sign, such as 1%`,
		`winnow.yaml:22:9: device is "tpu"; write auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N`,
		`winnow.yaml:23:17: bytes: "64" is no size; write a number with a unit, such as 64MiB or 2GB`,
		`winnow.yaml:23:21: "pixles" is no key of limits; did you mean pixels?`,
		`functions/apples.yaml:2:12: the config has no embedding "texts"; did you mean text?`,
		`functions/apples.yaml:4:14: an anchor has 2 of asset, text, uri and vector; write exactly one of asset, text, uri and vector`,
		`functions/apples.yaml:4:54: weight is -1; write a number above 0`,
		`functions/apples.yaml:5:10: combine is "avg"; write lda, mean, max, sum or classifier`,
		`functions/apples.yaml:6:1: "treshold" is no key of the file; did you mean threshold?`,
		`functions/z.yaml:1:7: YAML: sequence end token ']' not found; check the indentation, brackets and quotes before it`,
	}
	got := problems(t, "winnow.yaml", nil)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if len(got) < 15 {
		t.Errorf("%d problems", len(got))
	}
}

func TestMissingFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	want := []string{"winnow.yaml: there is no such file; make one with: winnow init, or name another with --config"}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if err := os.Mkdir("folder", 0o755); err != nil {
		t.Fatal(err)
	}
	want = []string{"folder: it cannot be read: is a directory; name a file that this user may read"}
	if d := cmp.Diff(want, problems(t, "folder", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{"BUCKET": "curation", "N": "50", "EMPTY": "", "D": "0.25"}
	config := strings.NewReplacer("file://./workspace", "s3://${BUCKET}/w?region=${EMPTY}", "size: 200", "size: ${N}",
		"distance: 0.05", `distance: "${D}"`, "NOT labeled", "text <> '$${N} $N' # ${UNKNOWN} in a comment").Replace(goodConfig)
	tree(t, good("winnow.yaml", config))
	c, err := Load("winnow.yaml", lookup(env))
	if err != nil {
		t.Fatal(err)
	}
	b := c.Batches[0]
	if d := cmp.Diff(map[string]string{"BUCKET": "curation", "N": "50", "EMPTY": "", "D": "0.25"}, c.Env); d != "" {
		t.Errorf("Env, -want +got:\n%s", d)
	}
	got := []any{c.Workspace, b.Size, b.Dedupe.Distance, b.Where}
	want := []any{"s3://curation/w?region=", 50, 0.25, "ripe_apples_match AND text <> '${N} $N'"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestAddresses resolves addresses against the config's folder, not the working
// directory, and finds where assets may be read from by default.
func TestAddresses(t *testing.T) {
	tree(t, nil)
	wd, _ := os.Getwd()
	dir := filepath.Join(wd, "a b%1")
	for _, c := range []struct{ address, want, home string }{
		{"data/m.jsonl", dir + "/data/m.jsonl", dir + "/data/"},
		{"./photos/**/*.jpg", dir + "/photos/**/*.jpg", dir + "/photos/"},
		{"../m.csv", wd + "/m.csv", wd + "/"},
		{"/abs/m.parquet", "/abs/m.parquet", "/abs/"},
		{"file://./data/my%20file", dir + "/data/my file", dir + "/data/"},
		{"file:///abs/m", "/abs/m", "/abs/"},
		{"file://localhost/abs/m", "/abs/m", "/abs/"},
		{"photos/", dir + "/photos/", dir + "/photos/"},
		{"./p/*.{jpg,png}", dir + "/p/*.{jpg,png}", dir + "/p/"},
		{"./{a,b}/*.jpg", dir + "/{a,b}/*.jpg", dir + "/"},
		{"s3://b/p/*.jsonl?region=x", "s3://b/p/*.jsonl?region=x", "s3://b/?region=x"},
		{"gs://b", "gs://b", "gs://b/"},
		{"azblob://c/p", "azblob://c/p", "azblob://c/"},
		{"mem://", "mem://", "mem:///"},
	} {
		got, f := resolve(dir, c.address, storeSchemes)
		if f != nil || got != c.want {
			t.Errorf("resolve(%q) = %q, %v; want %q", c.address, got, f, c.want)
		}
		if home(got) != c.home {
			t.Errorf("home(%q) = %q, want %q", got, home(got), c.home)
		}
	}
}

func TestConfigInFolderWithGlobCharacters(t *testing.T) {
	tree(t, map[string]string{"a[1]*/winnow.yaml": goodConfig, "a[1]*/functions/f.yaml": goodFunction, "a1x/functions/g.yaml": "bad"})
	c, err := Load("a[1]*/winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Definitions) != 1 {
		t.Errorf("%d functions", len(c.Definitions))
	}
}

func TestYAMLAnchorsAndMerge(t *testing.T) {
	config := strings.Replace(goodConfig, "batches:\n", `batches:
  - &base
    name: base
    select: [{random: {seed: 7}}]
    size: 3
    seed: 9
  - <<: *base
    name: more
`, 1)
	tree(t, good("winnow.yaml", config))
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	more := c.Batches[1]
	if more.Name != "more" || more.Size != 3 || more.Seed != 9 || more.Select[0].Random.Seed != 7 {
		t.Errorf("merged batch: %+v", more)
	}
}

func TestSeedsAreInherited(t *testing.T) {
	config := strings.Replace(goodConfig, "select: [{top: ripe_apples}]", "select: [{random: {}}, {random: {seed: 0}}]", 1) + "    seed: 8\n" +
		"  - {name: other, select: [{random: {}}], size: 1}\nseed: 5\n"
	tree(t, good("winnow.yaml", config))
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Batches
	got := []uint64{c.Seed, b[0].Seed, b[0].Select[0].Random.Seed, b[0].Select[1].Random.Seed, b[1].Seed, b[1].Select[0].Random.Seed}
	if d := cmp.Diff([]uint64{5, 8, 8, 0, 5, 5}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestExcludeNothing(t *testing.T) {
	tree(t, good("winnow.yaml", goodConfig+"    exclude: []\n"))
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Batches[0].Exclude; e == nil || len(e) != 0 {
		t.Errorf("exclude = %#v", e)
	}
}

func TestChecksSeeBrokenConfigs(t *testing.T) {
	look := func(model string) (Model, error) {
		switch model {
		case "efficientnet-lite0":
			return Model{Image: true}, nil
		case "use-multilingual-v3":
			return Model{Text: true}, nil
		}
		if strings.HasSuffix(model, "bad.yaml") {
			return Model{}, &pipeline.UsageError{Problems: []pipeline.Problem{{File: "bad.yaml", Line: 3, Column: 1, What: "dim is 0"}}}
		}
		return Model{}, fmt.Errorf("there is no model %q; write efficientnet-lite0", model)
	}
	config := strings.NewReplacer("of: caption}", "of: caption}\n  - {name: wrong, model: efficientnet-lite0, of: text}\n  - {name: gone, model: nonesuch, of: image}\n  - {name: bad, model: ./bad.yaml, of: image}\n  - {name: bad2, model: ./bad.yaml, of: image}",
		"size: 200", "size: none").Replace(goodConfig)
	tree(t, good("winnow.yaml", config, "functions/ripe_apples.yaml", strings.Replace(goodFunction, "{uri: ./ref.jpg}", "{text: an apple}", 1)))
	want := []string{
		`winnow.yaml:11:50: the model efficientnet-lite0 embeds images, not texts; write of: image, or name a text model`,
		`winnow.yaml:12:25: there is no model "nonesuch"; write efficientnet-lite0`,
		`winnow.yaml:21:11: size is "none"; write a whole number`,
		`bad.yaml:3:1: dim is 0`,
		`functions/ripe_apples.yaml:8:14: the model of the embedding image embeds no texts; write an asset or a uri, or choose an image model whose spec names a text_tower`,
	}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil, CheckModels(look))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestLoadFunctionsAlone(t *testing.T) {
	tree(t, good("functions/b.yaml", strings.Replace(goodFunction, "ripe_apples", "b", 1)))
	fns, err := LoadFunctions(".", []string{"functions/*.yaml", "functions/b.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(fns) != 2 || fns[0].Name != "b" || fns[1].Name != "ripe_apples" {
		t.Errorf("%d functions: %v", len(fns), fns)
	}
	if _, err := LoadFunctions(".", []string{"nothing.yaml"}, nil); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"append", "snapshot", "labelbox", "size", "min_distance"}
	for in, want := range map[string]string{
		"apend": "append", "APPEND": "append", "snapshto": "snapshot", "sise": "size", "sz": "", "labelboks": "labelbox",
		"mindistance": "min_distance", "zebra": "", "": "", "x": "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestWindowsFiles reads line ends and a byte order mark of Windows editors, and
// still counts lines and columns right.
func TestWindowsFiles(t *testing.T) {
	windows := func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") }
	tree(t, good("winnow.yaml", windows(goodConfig), "functions/ripe_apples.yaml", windows(goodFunction)))
	c, err := Load("winnow.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Batches[0].Where != "ripe_apples_match AND NOT labeled" || len(c.Definitions[0].Anchors.Positive) != 3 {
		t.Errorf("read %+v", c.Batches[0])
	}
	tree(t, good("winnow.yaml", windows(strings.Replace(goodConfig, "ripe_apples_match AND", "ripe_aples_match AND", 1))))
	want := []string{`winnow.yaml:14:12: there is no function "ripe_aples"; did you mean ripe_apples?`}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
