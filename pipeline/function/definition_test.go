package function

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestDefinitionYAML(t *testing.T) {
	var d Definition
	err := yaml.UnmarshalWithOptions([]byte(`
name: ripe_apples
embedding: clip
anchors:
  positive: [{asset: fruit-0012}, {asset: fruit-0340, weight: 2}, {text: "a ripe apple"}, {uri: "s3://b/ref.jpg"}, {vector: refs.npy}]
  negative: [{asset: ball-0007}]
combine: max
threshold: {percentile: 99.5}
`), &d, yaml.Strict())
	if err != nil {
		t.Fatal(err)
	}
	want := Definition{
		Name: "ripe_apples", Embedding: "clip", Combine: Max, Threshold: Threshold{Rule: RulePercentile, Value: 99.5},
		Anchors: Anchors{
			Positive: []Anchor{{Asset: "fruit-0012"}, {Asset: "fruit-0340", Weight: 2}, {Text: "a ripe apple"}, {URI: "s3://b/ref.jpg"}, {Vector: "refs.npy"}},
			Negative: []Anchor{{Asset: "ball-0007"}},
		},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got %+v", d)
	}
	if fs := d.Validate(); len(fs) > 0 {
		t.Errorf("faults %+v", fs)
	}
	// What is written back is read as the same.
	data, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var again Definition
	if err := yaml.UnmarshalWithOptions(data, &again, yaml.Strict()); err != nil || !reflect.DeepEqual(again, d) {
		t.Errorf("%v: %s became %+v", err, data, again)
	}
	data, err = json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	again = Definition{}
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, d) {
		t.Errorf("%v: %s became %+v", err, data, again)
	}
}

func TestDefinitionYAMLIsStrict(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"anchors: {positive: [{assets: x}]}", "assets"},
		{"anchors: {positive: [{asset: x, weight: 0}]}", "weight is 0"},
		{"anchors: {positive: [{asset: x, weight: -1}]}", "weight is -1"},
		{"anchors: {positive: [{asset: x, weight: .nan}]}", "weight is NaN"},
		{"threshold: {percentil: 3}", "auto, a number"},
		{"threshold: {percentile: 3, top: 4}", "2 rules"},
		{"threshold: {percentile: many}", "not a number"},
	} {
		var d Definition
		err := yaml.UnmarshalWithOptions([]byte(c.yaml), &d, yaml.Strict())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v lacks %q", c.yaml, err, c.want)
		}
	}
}

func TestThresholdYAML(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want Threshold
		ok   bool
	}{
		{"auto", Threshold{Rule: RuleAuto, Value: 0}, true},
		{"2.5", Threshold{Rule: RuleNumber, Value: 2.5}, true},
		{"-3", Threshold{Rule: RuleNumber, Value: -3}, true},
		{"0", Threshold{Rule: RuleNumber, Value: 0}, true},
		{"1e6", Threshold{Rule: RuleNumber, Value: 1e6}, true},
		{"nan", Threshold{}, false},
		{"{percentile: 0}", Threshold{Rule: RulePercentile, Value: 0}, true},
		{"{percentile: 100}", Threshold{Rule: RulePercentile, Value: 100}, true},
		{"{percentile: 100.1}", Threshold{}, false},
		{"{percentile: -1}", Threshold{}, false},
		{"{top: 500}", Threshold{Rule: RuleTop, Value: 500}, true},
		{"{top: 0}", Threshold{}, false},
		{"{top: 2.5}", Threshold{}, false},
		{"{precision: 0.9}", Threshold{Rule: RulePrecision, Value: 0.9}, true},
		{"{precision: 1}", Threshold{Rule: RulePrecision, Value: 1}, true},
		{"{precision: {at_least: 0.9, label: apple}}", Threshold{Rule: RulePrecision, Value: 0.9, Label: "apple"}, true},
		{"{precision: {label: apple}}", Threshold{}, false},
		{"{precision: {at_least: 0.9, of: apple}}", Threshold{}, false},
		{"{precision: {at_least: 0.9, otherwise: {precision: 0.5}}}", Threshold{}, false},
		{"{precision: 0}", Threshold{}, false},
		{"{precision: 90}", Threshold{}, false},
		{"{}", Threshold{}, false},
		{"[1]", Threshold{}, false},
		{".nan", Threshold{}, false},
		{".inf", Threshold{}, false},
		{"Auto", Threshold{}, false},
		{"true", Threshold{}, false},
	} {
		var v struct {
			Threshold Threshold `yaml:"threshold"`
		}
		err := yaml.UnmarshalWithOptions([]byte("threshold: "+c.yaml), &v, yaml.Strict())
		if (err == nil) != c.ok || v.Threshold != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.yaml, v.Threshold, err, c.want)
		}
	}
	var zero Threshold
	if !zero.Is(RuleAuto) || zero.String() != "auto" {
		t.Errorf("the zero threshold is %s", zero)
	}
}

// Whatever shape a YAML file has, a threshold is refused or makes sense.
func FuzzThreshold(f *testing.F) {
	for _, s := range []string{"auto", "1", "{top: 3}", "{top: 1e300}", "{percentile: .nan}", "{precision: 0x1}", "[a, {b: c}]", "!!binary aGk=", "&a {top: *a}", "~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var th Threshold
		if err := yaml.Unmarshal([]byte(s), &th); err != nil {
			return
		}
		if what, _ := th.check(); what != "" {
			t.Errorf("%q is accepted as %+v: %s", s, th, what)
		}
		if math.IsNaN(th.Value) || math.IsInf(th.Value, 0) {
			t.Errorf("%q gives %v", s, th.Value)
		}
		data, err := yaml.Marshal(th)
		if err != nil {
			t.Fatal(err)
		}
		var again Threshold
		if err := yaml.Unmarshal(data, &again); err != nil || again.String() != th.String() {
			t.Errorf("%q → %+v → %s → %+v, %v", s, th, data, again, err)
		}
	})
}

func TestValidate(t *testing.T) {
	ok := Anchors{Positive: []Anchor{{Asset: "a"}}}
	for _, c := range []struct {
		name string
		d    Definition
		want []string
	}{
		{"nothing", Definition{}, []string{"$.name ", "$.embedding ", "$.anchors.positive "}},
		{"combine", Definition{Name: "f", Embedding: "e", Anchors: ok, Combine: "best"}, []string{`$.combine combine is "best"`}},
		{"threshold", Definition{Name: "f", Embedding: "e", Anchors: ok, Threshold: Threshold{Rule: "most", Value: 1}}, []string{`$.threshold threshold "most"`}},
		{"anchor kinds", Definition{Name: "f", Embedding: "e", Anchors: Anchors{Positive: []Anchor{{}, {Asset: "a", URI: "u"}, {Asset: "b", Weight: -2}}}},
			[]string{"$.anchors.positive[0] ", "$.anchors.positive[1] ", "$.anchors.positive[2].weight "}},
		{"twice", Definition{Name: "f", Embedding: "e", Anchors: Anchors{
			Positive: []Anchor{{Asset: "a"}, {Asset: "a"}, {Text: "a"}}, Negative: []Anchor{{Text: "a"}, {URI: "a"}}}},
			[]string{`$.anchors.positive[1] asset "a" is twice`, `$.anchors.negative[0] text "a" is both`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range c.d.Validate() {
				if f.Fix == "" {
					t.Errorf("%s: no fix", f.What)
				}
				got = append(got, f.Path+" "+f.What)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d faults, want %d: %q", len(got), len(c.want), got)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("fault %q, want %q…", got[i], c.want[i])
				}
			}
		})
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"ripe_apples": true, "A1": true, "x": false, "f": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
		"": false, "1a": false, "_a": false, "a-b": false, "a b": false, "é": false, "select": false, "Select": false, "LEFT": false,
		"labeled": false, "Metadata": false, "apples_match": false, "apples_PCT": false, "a;drop": false, "left_shoe": true,
	} {
		what, fix := CheckName(name)
		if (what == "") != ok || (what == "") != (fix == "") {
			t.Errorf("CheckName(%q) = %q, %q", name, what, fix)
		}
	}
}

func ExampleThreshold() {
	fmt.Println(Auto, Threshold{Rule: RuleNumber, Value: 2.5}, Threshold{Rule: RuleTop, Value: 500})
	// Output: auto 2.5 top 500
}
