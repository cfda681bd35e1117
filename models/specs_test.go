package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"winnow/models/onnx"
)

// expectation is what the original library makes of a picture or a text; see
// testdata/models/README.md.
type expectation struct {
	Picture string    `json:"picture"` // a path from the repository's root
	Text    string    `json:"text"`
	Vector  []float32 `json:"vector"`
}

func (e expectation) data(t *testing.T) []byte {
	if e.Picture == "" {
		return []byte(e.Text)
	}
	data, err := os.ReadFile(filepath.Join("..", e.Picture))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func expectations(t *testing.T) map[string][]expectation {
	t.Helper()
	raw, err := os.ReadFile("../testdata/models/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string][]expectation
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// tinyOf are the specs whose tiny model has another name.
var tinyOf = map[string]string{
	"all-minilm-l6-v2": "bert", "bge-small-en-v1.5": "bert", "e5-small-v2": "bert", "dinov2-base": "dinov2-small",
}

// tiny is a shipped spec with the files and the length of vectors of its tiny model,
// and with edits: pairs of old and new text.
func tiny(t *testing.T, name string, dim int, edits ...string) *Model {
	t.Helper()
	if err := onnx.Init(); err != nil {
		t.Skipf("SKIPPED, no model is run: %v", err)
	}
	raw, err := os.ReadFile("specs/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := name
	if f, ok := tinyOf[name]; ok {
		folder = f
	}
	dir, err := filepath.Abs("../testdata/models/" + folder)
	if err != nil {
		t.Fatal(err)
	}
	spec := regexp.MustCompile(`(?m)(, |^ *)sha256: [0-9a-f]{64}`).ReplaceAllString(string(raw), "")
	spec = regexp.MustCompile(`(?m)^dim: [0-9]+`).ReplaceAllString(spec, fmt.Sprintf("dim: %d", dim))
	spec = regexp.MustCompile(`file: ([a-z.]+)`).ReplaceAllString(spec, "file: "+dir+"/$1")
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(spec, edits[i]) {
			t.Fatalf("the spec %s has no %q", name, edits[i])
		}
		spec = strings.Replace(spec, edits[i], edits[i+1], 1)
	}
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	return load(t, file, Options{Sessions: 1})
}

// worst is the smallest cosine of a model's vectors to those expected.
func worst(t *testing.T, m *Model, want []expectation) (cos float64, of string) {
	t.Helper()
	cos = 2
	for _, e := range want {
		if c := cosine(run(t, m, prepare(t, m, e.data(t))), e.Vector); !(c >= cos) {
			cos, of = c, e.Picture+e.Text
		}
	}
	return cos, of
}

// TestSpecsEqualOriginals runs the shipped specs on tiny random models that were made
// with the original libraries, and holds the vectors against the originals' own.
func TestSpecsEqualOriginals(t *testing.T) {
	all := expectations(t)
	all["dinov2-base"] = all["dinov2-small"]
	for _, name := range Shipped() {
		want := all[name]
		if want == nil {
			if name != "efficientnet-lite0" && name != "use-multilingual-v3" { // they have references of their own
				t.Errorf("%s has no tiny model in testdata/models", name)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := tiny(t, name, len(want[0].Vector))
			if cos, of := worst(t, m, want); !(cos >= 0.999999) {
				t.Errorf("%s: cosine %.8f to the original's vector", of, cos)
			}
		})
	}
}

// TestOtherSpecsDiffer makes each property of the specs wrong, one by one: the tiny
// models notice.
func TestOtherSpecsDiffer(t *testing.T) {
	all := expectations(t)
	for _, c := range []struct{ name, from, to string }{
		{"clip-vit-b32", "bicubic", "bilinear"},
		{"clip-vit-b32", "fit: crop\n  shortest: 224", "fit: squash"},
		{"clip-vit-b32", "shortest: 224", "shortest: 225"},
		{"clip-vit-b32", "0.48145466", "0.5"},
		{"clip-vit-b32", "channels: rgb", "channels: bgr"},
		{"clip-vit-b32", "alpha: drop", "alpha: white"},
		{"clip-vit-b32", "exif: false", "exif: true"},
		{"siglip-base-patch16-224", "fit: squash", "fit: crop"},
		{"siglip-base-patch16-224", "bicubic", "bilinear"},
		{"siglip-base-patch16-224", "std: 0.5", "std: 0.501"},
		{"dinov2-small", "shortest: 256", "shortest: 224"},
		{"dinov2-small", "0.456", "0.4578275"},
		{"efficientnet-b2", "shortest: 288", "shortest: 300"},
		{"efficientnet-b2", "bicubic", "bilinear"},
		{"resnet50", "bilinear", "bicubic"},
		{"resnet50", "shortest: 256", "shortest: 235"},
		{"clip-vit-b32-text", "max_tokens: 77", "max_tokens: 76"},
		{"siglip-base-patch16-224-text", "eos: true", "eos: false"},
		{"siglip-base-patch16-224-text", "lowercase: true", "lowercase: false"},
		{"siglip-base-patch16-224-text", "remove_punctuation: true", "remove_punctuation: false"},
		{"siglip-base-patch16-224-text", "pad_id: 1", "pad_id: 0"},
		{"all-minilm-l6-v2", "pooling: mean", "pooling: cls"},
		{"all-minilm-l6-v2", "max_tokens: 256", "max_tokens: 128"},
		{"bge-small-en-v1.5", "pooling: cls", "pooling: mean"},
		{"e5-small-v2", `prefix: "query: "`, `prefix: "passage: "`},
		{"multilingual-e5-small", `prefix: "query: "`, `prefix: "query:"`},
	} {
		t.Run(c.name+"/"+strings.Fields(c.to)[0]+strings.Fields(c.to)[len(strings.Fields(c.to))-1], func(t *testing.T) {
			want := all[c.name]
			m := tiny(t, c.name, len(want[0].Vector), c.from, c.to)
			if cos, _ := worst(t, m, want); cos >= 0.99999 {
				t.Errorf("%q for %q: cosine %.8f all the same", c.to, c.from, cos)
			}
		})
	}
}
