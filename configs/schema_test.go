package configs

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"winnow/pipeline/function"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs; if that is right: go test ./configs -update\n-want +got:\n%s", path, d)
	}
}

func TestSchemaFiles(t *testing.T) {
	for _, kind := range SchemaKinds {
		got, err := SchemaJSON(kind)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "schema/"+kind+".json", got)
	}
	if _, err := SchemaJSON("batch"); err == nil {
		t.Error("a schema of nothing")
	}
}

// validator compiles a schema with another library than the one that made it.
func validator(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	raw, err := SchemaJSON(kind)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(kind+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain reads YAML as a JSON document, as an editor does.
func plain(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var exampleEnv = map[string]string{"BUCKET": "curation", "AWS_REGION": "eu-west-1"}

// TestExamples loads every config that this repository shows, and validates it
// and its functions against the schemas that editors use.
func TestExamples(t *testing.T) {
	configSchema, functionSchema := validator(t, "config"), validator(t, "function")
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	functions := 0
	for _, file := range append(files, "demo/winnow.yaml") {
		t.Run(file, func(t *testing.T) {
			if ps := problems(t, file, exampleEnv); ps != nil {
				t.Fatal(strings.Join(ps, "\n"))
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := configSchema.Validate(plain(t, raw)); err != nil {
				t.Error(err)
			}
			c, err := Load(file, lookup(exampleEnv))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range c.Definitions {
				functions++
				raw, err := os.ReadFile(f.File)
				if err != nil {
					t.Fatal(err)
				}
				if err := functionSchema.Validate(plain(t, raw)); err != nil {
					t.Errorf("%s: %v", f.File, err)
				}
			}
		})
	}
	if functions < 7 {
		t.Errorf("only %d functions", functions)
	}
}

// TestFullExample holds the promise of its first line: every key is there.
func TestFullExample(t *testing.T) {
	raw, err := os.ReadFile("examples/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	d := decodeFile("full.yaml", raw, lookup(nil), configSchema(), &c)
	seen := map[string]bool{}
	for path := range d.marks {
		seen[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "[]")] = true
	}
	walk("$", configSchema(), func(path string, s *invopop.Schema) {
		if !seen[path] {
			t.Errorf("%s is not in examples/full.yaml", path)
		}
	})
}

// walk visits every key that a schema knows.
func walk(path string, s *invopop.Schema, fn func(path string, s *invopop.Schema)) {
	if s.Items != nil {
		walk(path+"[]", s.Items, fn)
	}
	for _, form := range s.OneOf {
		walk(path, form, fn)
	}
	if s.Properties == nil {
		return
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		fn(child(path, p.Key), p.Value)
		walk(child(path, p.Key), p.Value, fn)
	}
}

// TestEveryKeyIsExplained keeps the declarations whole: each key has a
// description, and each pattern has words for people.
func TestEveryKeyIsExplained(t *testing.T) {
	for _, s := range []*invopop.Schema{configSchema(), functionSchema()} {
		walk("$", s, func(path string, s *invopop.Schema) {
			if s.Description == "" {
				t.Errorf("%s of the %s has no description", path, s.Title)
			}
			own := map[string]bool{bytesPattern: true}
			if s.Pattern != "" && words[s.Pattern] == "" && !own[s.Pattern] && !strings.Contains(s.Pattern, "ns|us") && !strings.Contains(s.Pattern, "%") {
				t.Errorf("%s has a pattern without words: %s", path, s.Pattern)
			}
		})
	}
}

// TestSchemaRefuses makes mistakes that an editor should mark.
func TestSchemaRefuses(t *testing.T) {
	config, fn := validator(t, "config"), validator(t, "function")
	for _, c := range []struct{ from, to string }{
		{"mode: append", "mode: apend"}, {"size: 200", "size: 0"}, {"size: 200", "sise: 200"}, {"workspace: file://./workspace\n", ""},
		{"distance: 0.05", "distance: 3"}, {"[{top: ripe_apples}]", "[{top: a, random: {}}]"}, {"[{top: ripe_apples}]", "[{weigths: a}]"}, {"[{top: ripe_apples}]", "[{weights: {strength: 1}}]"}, {"[{top: ripe_apples}]", "[{balance: {by: a, target: even}}]"},
		{"of: caption", "of: title"}, {"[labelbox, jsonl, html]", "[labelbx]"}, {"functions: functions/*.yaml", "functions: 5"},
		{"functions: functions/*.yaml", "limits: {bytes: 64}"}, {"functions: functions/*.yaml", "limits: {timeout: 30}"},
		{"functions: functions/*.yaml", "max_rejects: 1"}, {"functions: functions/*.yaml", "device: gpu"}, {"name: fruit", "name: Fruit"},
	} {
		if config.Validate(plain(t, []byte(strings.Replace(goodConfig, c.from, c.to, 1)))) == nil {
			t.Errorf("the schema takes %q for %q", c.to, c.from)
		}
	}
	if err := config.Validate(plain(t, []byte(goodConfig))); err != nil {
		t.Error(err)
	}
	const threshold = "{percentile: 99.5}"
	for _, c := range []struct{ from, to string }{
		{"combine: lda", "combine: average"}, {threshold, "automatic"}, {threshold, "{percentile: 101}"}, {threshold, "{top: 1, precision: 0.5}"},
		{threshold, "{precision: {label: apple}}"}, {threshold, "{precision: {at_least: 0.9, otherwise: {precision: 0.5}}}"},
		{threshold, "{}"}, {threshold, "{top: 0}"}, {"{asset: fruit-0012}", "{asset: a, text: b}"}, {"{asset: fruit-0012}", "{weight: 1}"}, {"weight: 2", "weight: 0"},
		{"name: ripe_apples", "name: ripe-apples"}, {"embedding: image\n", ""},
	} {
		if fn.Validate(plain(t, []byte(strings.Replace(goodFunction, c.from, c.to, 1)))) == nil {
			t.Errorf("the schema takes %q for %q", c.to, c.from)
		}
	}
	for _, good := range []string{threshold, "auto", "0.5", "3", "{top: 500}", "{precision: 0.9}",
		"{precision: {at_least: 0.9}}", "{precision: {at_least: 0.9, label: apple, otherwise: auto}}", "{precision: {at_least: 1, otherwise: {top: 5}}}"} {
		if err := fn.Validate(plain(t, []byte(strings.Replace(goodFunction, threshold, good, 1)))); err != nil {
			t.Errorf("threshold %s: %v", good, err)
		}
	}
}

// TestNamesAgree compares the pattern that editors see with what counts.
func TestNamesAgree(t *testing.T) {
	re := regexp.MustCompile(namePattern)
	for _, name := range []string{"a", "A1", "ripe_apples", "1a", "_a", "a-b", "ä", "a b", ""} {
		what, _ := function.CheckName(name)
		if re.MatchString(name) != (what == "") {
			t.Errorf("name %q: the pattern says %v, CheckName says %q", name, re.MatchString(name), what)
		}
	}
}
