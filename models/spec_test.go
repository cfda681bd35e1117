package models

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winnow/pipeline"
)

const someSHA = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const imageYAML = `name: net
licence: MIT
source: https://example.com
kind: image
model: {file: net.onnx, sha256: ` + someSHA + `}
inputs:
  - {name: x, role: image}
output: y
dim: 8
image:
  size: [32, 48]
  fit: crop
  shortest: 64
  mean: [1, 2, 3]
  std: 4
`

const textYAML = `name: bert
kind: text
model:
  file: bert.onnx
  sha256: ` + someSHA + `
inputs:
  - {name: ids, role: ids}
  - {name: mask, role: mask}
output: y
dim: 8
pooling: mean
text:
  tokenizer: {kind: sentencepiece, file: sp.model, sha256: ` + someSHA + `}
  max_tokens: 128
  bos: true
  eos: true
`

func parsed(t *testing.T, yaml string) *Spec {
	t.Helper()
	s, err := parse("spec.yaml", "", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShippedSpecs(t *testing.T) {
	names := Shipped()
	if !slices.Contains(names, "efficientnet-lite0") || !slices.Contains(names, "use-multilingual-v3") {
		t.Fatalf("shipped: %v", names)
	}
	seen := map[string]bool{}
	for _, n := range names {
		s, err := Describe(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Unpinned()) > 0 {
			if s.Name != n || s.Licence == "" || s.Source == "" || s.Get == "" {
				t.Errorf("%s: name %s, licence %s, source %s, get %s", n, s.Name, s.Licence, s.Source, s.Get)
			}
			continue
		}
		if s.Name != n || s.Licence == "" || s.Source == "" || len(s.Fingerprint()) != 16 || seen[s.Fingerprint()] {
			t.Errorf("%s: name %s, licence %s, source %s, fingerprint %s", n, s.Name, s.Licence, s.Source, s.Fingerprint())
		}
		seen[s.Fingerprint()] = true
		// The set-up's own lists must agree, or it makes other files.
		sums := string(readFile(t, "convert/models.sha256")) + string(readFile(t, "convert/more.sha256"))
		for _, f := range s.files() {
			if !strings.Contains(sums, f.SHA256+"  "+n+"/"+f.File) {
				t.Errorf("%s: %s with the hash %s is not in convert/*.sha256", n, f.File, f.SHA256)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	s := parsed(t, imageYAML)
	p := s.Image
	if p.Size != (Size{32, 48}) || p.Filter != "bicubic" || p.Divide != 1 || p.Mean != (Channels{1, 2, 3}) || p.Std != (Channels{4, 4, 4}) ||
		p.Layout != "nchw" || p.Channels != "rgb" || p.Alpha != "white" || p.Decode != "exact" || p.EXIF {
		t.Errorf("image: %+v", p)
	}
	if s.Pooling != PoolNone || !s.Normalized() || s.Inputs[0].DType != "float32" || s.Batch != (Batch{8, 64}) {
		t.Errorf("spec: %+v", s)
	}
	if s := parsed(t, textYAML); s.Inputs[1].DType != "int64" || s.Batch != (Batch{32, 128}) {
		t.Errorf("text spec: %+v", s)
	}
}

// TestFingerprint: what changes a vector changes the fingerprint, what does not
// does not.
func TestFingerprint(t *testing.T) {
	other := strings.Repeat("f", 64)
	for _, c := range []struct {
		yaml, old, new string
		changes        bool
	}{
		{imageYAML, "sha256: " + someSHA, "sha256: " + other, true},
		{imageYAML, "output: y", "output: z", true},
		{imageYAML, "dim: 8", "dim: 9", true},
		{imageYAML, "dim: 8", "dim: 8\nnormalize: none", true},
		{imageYAML, "dim: 8", "dim: 8\npooling: cls", true},
		{imageYAML, "[32, 48]", "[48, 32]", true},
		{imageYAML, "shortest: 64", "shortest: 65", true},
		{imageYAML, "fit: crop\n  shortest: 64", "fit: squash", true},
		{imageYAML, "[1, 2, 3]", "[1, 2, 4]", true},
		{imageYAML, "std: 4", "std: 5", true},
		{imageYAML, "std: 4", "std: 4\n  divide: 255", true},
		{imageYAML, "std: 4", "std: 4\n  filter: lanczos", true},
		{imageYAML, "std: 4", "std: 4\n  layout: nhwc", true},
		{imageYAML, "std: 4", "std: 4\n  channels: bgr", true},
		{imageYAML, "std: 4", "std: 4\n  alpha: drop", true},
		{imageYAML, "std: 4", "std: 4\n  exif: true", true},
		{imageYAML, "std: 4", "std: 4\n  decode: fast", true},
		{textYAML, "file: sp.model, sha256: " + someSHA, "file: sp.model, sha256: " + other, true},
		{textYAML, "max_tokens: 128", "max_tokens: 127", true},
		{textYAML, "bos: true", "bos: false", true},
		{textYAML, "eos: true", "eos: false", true},
		{textYAML, "eos: true", "eos: true\n  prefix: 'query: '", true},
		{textYAML, "eos: true", "eos: true\n  pad_id: 3", true},
		{textYAML, "pooling: mean", "pooling: cls", true},
		{textYAML, "role: mask", "role: mask, dtype: float32", true},
		{imageYAML, "dim: 8", "dim: 8\noutput_dim: 16", true},
		{imageYAML, "dim: 8", "dim: 8\nbatch_dependent: true", true},
		{imageYAML, "dim: 8", "dim: 8\npooling: last", true},
		{imageYAML, "role: image}", "role: image, dtype: float16}", true},
		{imageYAML, "fit: crop\n  shortest: 64", "fit: letterbox", true},
		{strings.Replace(imageYAML, "fit: crop\n  shortest: 64", "fit: letterbox", 1), "fit: letterbox", "fit: letterbox\n  fill: [9, 8, 7]", true},
		{strings.Replace(imageYAML, "fit: crop\n  shortest: 64", "fit: letterbox", 1), "fit: letterbox", "fit: letterbox\n  fill: 0", false},
		{textYAML, "max_tokens: 128", "max_tokens: 128\n  pad_to: 128", true},
		{textYAML, "max_tokens: 128", "max_tokens: 128\n  lowercase: true", true},
		{textYAML, "max_tokens: 128", "max_tokens: 128\n  remove_punctuation: true", true},
		{textYAML, "max_tokens: 128", "max_tokens: 128\n  lowercase: false\n  pad_to: 0", false},
		{textYAML, "  bos: true\n  eos: true\n", "", true},
		{imageYAML, "dim: 8", "dim: 8\noutput_dim: 8\nbatch_dependent: false", false},
		{imageYAML, "dim: 8", "dim: 8\ntext_tower: words", false},
		{imageYAML, "dim: 8", "dim: 8\nget: ask", false},
		{imageYAML, "name: net", "name: web", false},
		{imageYAML, "licence: MIT\n", "", false},
		{imageYAML, "file: net.onnx", "file: other/net.onnx", false},
		{imageYAML, "sha256: " + someSHA, "sha256: " + strings.ToUpper(someSHA), false},
		{imageYAML, "dim: 8", "dim: 8\nbatch: {cpu: 3, gpu: 5}", false},
		{imageYAML, "std: 4", "std: [4, 4.0, 4]\n  filter: bicubic\n  divide: 1", false},
		{textYAML, "  - {name: ids, role: ids}\n  - {name: mask, role: mask}", "  - {name: mask, role: mask}\n  - {name: ids, role: ids}", false},
	} {
		changed := strings.Replace(c.yaml, c.old, c.new, 1)
		if changed == c.yaml {
			t.Fatalf("%q is not in the spec", c.old)
		}
		if got := parsed(t, changed).Fingerprint() != parsed(t, c.yaml).Fingerprint(); got != c.changes {
			t.Errorf("%q → %q: fingerprint changes: %v, want %v", c.old, c.new, got, c.changes)
		}
	}
}

// TestFingerprintsStay: vectors on disk carry these numbers.
func TestFingerprintsStay(t *testing.T) {
	for yaml, want := range map[string]string{imageYAML: "f3d3c00bafe5e4ce", textYAML: "5b3d49331a637c6b"} {
		if got := parsed(t, yaml).Fingerprint(); got != want {
			t.Errorf("fingerprint %s, was %s: all embeddings would be made anew", got, want)
		}
	}
}

func TestWithDecode(t *testing.T) {
	s := parsed(t, imageYAML)
	fast, err := s.WithDecode("fast")
	if err != nil {
		t.Fatal(err)
	}
	if s.Image.Decode != "exact" || fast.Image.Decode != "fast" || fast.Fingerprint() == s.Fingerprint() {
		t.Error("fast is not another spec")
	}
	back, err := fast.WithDecode("exact")
	if err != nil || back.Fingerprint() != s.Fingerprint() {
		t.Errorf("back: %v", err)
	}
	if text := parsed(t, textYAML); must(text.WithDecode("fast")) != text {
		t.Error("a text spec changed")
	}
	if _, err := s.WithDecode("quick"); err == nil {
		t.Error("quick was taken")
	}
}

func must(s *Spec, err error) *Spec {
	if err != nil {
		panic(err)
	}
	return s
}

func TestProblemsComeAllAtOnce(t *testing.T) {
	yaml := `name: "my net"
kind: image
model: {file: net.onnx, sha256: 123}
inputs:
  - {name: x, role: pixels}
dim: 0
pooling: max
image:
  size: [32]
  filter: cubic
  fit: crop
  shortest: 16
  std: [1, 0, 1]
`
	_, err := parse("spec.yaml", "", []byte(yaml))
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("%v", err)
	}
	wants := []string{
		`spec.yaml:1:1: name is "my net"`,
		`spec.yaml:3:25: model.sha256 is "123"`,
		`spec.yaml:5:15: inputs.0.role is "pixels"; write one of image`,
		`spec.yaml:6:1: dim is 0`,
		`spec.yaml:7:1: pooling is "max"`,
		`spec.yaml:10:3: image.filter is "cubic"`,
		`spec.yaml:12:3: image.shortest is 16`,
		`spec.yaml:13:3: image.std is 0`,
		`output is missing`,
	}
	for _, w := range wants {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in\n%v", w, err)
		}
	}
	if !slices.IsSortedFunc(usage.Problems, func(a, b pipeline.Problem) int { return a.Line - b.Line }) {
		t.Errorf("not in the order of lines:\n%v", err)
	}
}

func TestWrongYAML(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", strings.Replace(imageYAML, "  mean:", "  meen:", 1), `spec.yaml:14:3: unknown key "meen"; the keys here are size, fit,`},
		{"twice", imageYAML + "dim: 9\n", `:16:1: the key "dim" is there twice`},
		{"text for a number", strings.Replace(imageYAML, "dim: 8", "dim: eight", 1), "dim must be a whole number, not string"},
		{"fraction", strings.Replace(imageYAML, "dim: 8", "dim: 8.5", 1), "dim must be a whole number"},
		{"number for a list", strings.Replace(imageYAML, "inputs:\n  - {name: x, role: image}", "inputs: 3", 1), "inputs must be a list"},
		{"list for a mapping", strings.Replace(imageYAML, "model: {", "model: [{", 1), "YAML"},
		{"text for yes or no", strings.Replace(textYAML, "bos: true", "bos: maybe", 1), "text.bos must be true or false"},
		{"two means", strings.Replace(imageYAML, "[1, 2, 3]", "[1, 2]", 1), "image.mean must be one number or three"},
		{"size of words", strings.Replace(imageYAML, "[32, 48]", "large", 1), "image.size must be a number or a list of numbers"},
		{"size of 0", strings.Replace(imageYAML, "[32, 48]", "0", 1), "image.size must be whole numbers of at least 1"},
		{"std of 0", strings.Replace(imageYAML, "std: 4", "std: 0", 1), "spec.yaml:15:3: image.std is 0"},
		{"divided by 0", imageYAML + "  divide: 0\n", "spec.yaml:16:3: image.divide is 0"},
		{"no value", strings.Replace(imageYAML, "output: y", "output:", 1), "output has no value"},
		{"nothing", "", "document"},
		{"a list", "- a\n", "the file must be a mapping"},
		{"tabs", "name: a\n\tkind: image\n", "YAML"},
		{"text section of an image", imageYAML + "text: {max_tokens: 4}\n", "section text does not fit"},
		{"no image section", imageYAML[:strings.Index(imageYAML, "image:\n  size")], "section image does not fit"},
		{"unknown kind", strings.Replace(imageYAML, "kind: image", "kind: picture", 1), `spec.yaml:4:1: kind is "picture"; write one of image, text`},
		{"two images", strings.Replace(imageYAML, "role: image}", "role: image}\n  - {name: z, role: image}", 1), "is there twice"},
		{"no ids", strings.Replace(textYAML, "  - {name: ids, role: ids}\n", "", 1), "no input has the role ids"},
		{"float ids", strings.Replace(textYAML, "role: ids}", "role: ids, dtype: float32}", 1), `dtype "float32"`},
		{"unknown tokenizer", strings.Replace(textYAML, "kind: sentencepiece", "kind: wordpiece", 1), "text.tokenizer.kind"},
		{"small output", strings.Replace(imageYAML, "dim: 8", "dim: 8\noutput_dim: 4", 1), "output_dim is 4, dim is 8"},
		{"fill without bars", strings.Replace(imageYAML, "  mean:", "  fill: 0\n  mean:", 1), "spec.yaml:14:3: image.fill has no meaning with fit: crop"},
		{"fill of 256", strings.Replace(imageYAML, "fit: crop\n  shortest: 64", "fit: letterbox\n  fill: [0, 0, 256]", 1), "image.fill has 256"},
		{"fill of a half", strings.Replace(imageYAML, "fit: crop\n  shortest: 64", "fit: letterbox\n  fill: 0.5", 1), "image.fill has 0.5"},
		{"shortest with bars", strings.Replace(imageYAML, "fit: crop", "fit: letterbox", 1), "no meaning with fit: letterbox"},
		{"begin id of a tokenizer.json", strings.Replace(textYAML, "kind: sentencepiece", "kind: huggingface", 1), "spec.yaml:15:3: text.bos is for sentencepiece"},
		{"little padding", strings.Replace(textYAML, "  bos:", "  pad_to: 64\n  bos:", 1), "text.pad_to is 64, text.max_tokens 128"},
		{"text tower of texts", textYAML + "text_tower: x\n", "text_tower in a spec of kind text"},
		{"two lines of get", imageYAML + "get: |\n  a\n  b\n", "get has several lines"},
		{"empty hash", strings.Replace(imageYAML, "sha256: "+someSHA, "sha256: ''", 1), `model.sha256 is ""`},
		{"few tokens", strings.Replace(textYAML, "128", "2", 1), "max_tokens is 2"},
	} {
		_, err := parse("spec.yaml", "", []byte(c.yaml))
		var usage *pipeline.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", c.name, err, c.want)
		}
		if usage != nil && usage.Problems[0].Line == 0 {
			t.Errorf("%s: no line: %v", c.name, err)
		}
	}
}

func TestLoadByNameOrPath(t *testing.T) {
	if _, err := Load("efficientnet"); err == nil || !strings.Contains(err.Error(), "efficientnet-lite0") {
		t.Errorf("an unknown name gave %v", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "net.yaml")
	if _, err := Load(path); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a missing file gave %v", err)
	}
	if err := os.WriteFile(path, []byte(imageYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, p := range []string{path, "net.yaml", "./net.yaml", "file://" + path} {
		if s, err := Load(p); err != nil || s.Name != "net" {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestFilesAreFoundAndChecked(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv(ModelsEnv, filepath.Join(dir, "shared"))
	t.Chdir(dir)
	put := func(path string) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("weights"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spec := put("specs/net.yaml")
	if err := os.WriteFile(spec, []byte(strings.Replace(imageYAML, someSHA, "9f4ba6e7e1b3a2c79e1a5b8b2e7c1d1e6f4c5a6b7c8d9e0f1a2b3c4d5e6f7a8b", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.locate(false); err == nil || !strings.Contains(err.Error(), "put it beside the spec") {
		t.Errorf("a missing model gave %v", err)
	}
	// The later of these wins over those before.
	for _, p := range []string{".deps/models/net/net.onnx", "shared/net.onnx", "shared/net/net.onnx", "specs/net.onnx"} {
		want := put(p)
		if got, err := s.find("net.onnx"); err != nil || got != want {
			t.Errorf("found %s, %v; want %s", got, err, want)
		}
	}
	paths, err := s.locate(false)
	if err == nil || !strings.Contains(err.Error(), "has sha256") {
		t.Errorf("a wrong hash gave %v", err)
	}
	if s.Model.SHA256, err = hashFile(paths[0]); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(paths[0], old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := s.locate(false); err != nil {
		t.Fatal(err)
	}
	// What is remembered is trusted, unless asked not to.
	info, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	changed, inode := changeOf(info)
	remember(memoPath(paths[0]), remembered{info.Size(), info.ModTime(), changed, inode, someSHA})
	if got, err := hashOf(paths[0], false); err != nil || got != someSHA {
		t.Errorf("the hash was taken again: %s, %v", got, err)
	}
	if got, err := hashOf(paths[0], true); err != nil || got != s.Model.SHA256 {
		t.Errorf("the hash was not taken anew: %s, %v", got, err)
	}
	// Other weights of the same size and time, as copies and archives leave them.
	if err := os.WriteFile(paths[0], []byte("WEIGHTS"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(paths[0], old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := s.locate(false); err == nil && changed != 0 {
		t.Error("a file that was changed and dated back was trusted")
	}
	if _, err := s.CheckFiles(); err == nil {
		t.Error("CheckFiles trusted what was remembered")
	}
	if err := os.Chtimes(paths[0], old, old.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.locate(false); err == nil {
		t.Error("a changed file was trusted")
	}
}

// TestUnpinnedFiles: without a hash in the spec the file's own counts, and Describe
// needs no file.
func TestUnpinnedFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	put := func(name, data string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := strings.ReplaceAll(strings.Replace(textYAML, "\n  sha256: "+someSHA, "", 1), ", sha256: "+someSHA, "")
	path := put("bert.yaml", "get: ask the owl\n"+open)
	if s, err := Describe(path); err != nil || s.Fingerprint() != "" || len(s.Unpinned()) != 2 || s.Installed() {
		t.Fatalf("%v, %v", s, err)
	}
	put("bert.onnx", "weights")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "sp.model is not there; to get it: ask the owl. Looked in "+dir) {
		t.Fatalf("error %v", err)
	}
	put("sp.model", "words")
	s, err := Load(path)
	if err != nil || !s.Installed() {
		t.Fatal(err)
	}
	sum, err := hashFile(filepath.Join(dir, "bert.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if pins := s.Unpinned(); pins[0] != (Pin{"model", sum}) || pins[1].Field != "text.tokenizer" {
		t.Errorf("%v", pins)
	}
	// The same hashes in the spec are the same fingerprint.
	pinned := strings.Replace(open, "file: bert.onnx", "file: bert.onnx\n  sha256: "+sum, 1)
	pinned = strings.Replace(pinned, "file: sp.model", "file: sp.model, sha256: "+s.Text.Tokenizer.SHA256, 1)
	if got := parsed(t, pinned).Fingerprint(); got != s.Fingerprint() {
		t.Errorf("fingerprint %s with hashes, %s without", got, s.Fingerprint())
	}
	put("bert.onnx", "others!")
	if again, err := Load(path); err != nil || again.Fingerprint() == s.Fingerprint() {
		t.Errorf("another file, the same fingerprint; %v", err)
	}
}

func TestTower(t *testing.T) {
	dir := t.TempDir()
	put := func(name, data string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("words.yaml", textYAML)
	put("long.yaml", strings.Replace(textYAML, "dim: 8", "dim: 9", 1))
	for tower, want := range map[string]string{"words.yaml": "", "long.yaml": "9 numbers", "net.yaml": "of kind image", "none": `no model "none"`, "": "-"} {
		s, err := Load(put("net.yaml", imageYAML+strings.Repeat("text_tower: "+tower+"\n", min(len(tower), 1))))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Tower()
		switch {
		case want == "-" && (got != nil || err != nil), want == "" && (err != nil || got.Name != "bert"):
			t.Errorf("%q: %v, %v", tower, got, err)
		case len(want) > 1 && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want one about %q", tower, err, want)
		}
	}
}

// TestCanonicalTexts: as Python's s.lower(), and
// " ".join(s.translate(str.maketrans("", "", string.punctuation)).split()).
func TestCanonicalTexts(t *testing.T) {
	for _, c := range []struct{ in, lower, plain string }{
		{"A red, ripe  Apple!", "a red, ripe  apple!", "A red ripe Apple"},
		{"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", ""},
		{" \x1cÄ\u00a0«x»\u3000— ", " \x1cä\u00a0«x»\u3000— ", "Ä «x» —"},
		{"İstanbul ΟΔΟΣ ΣΑΣ Σ Α.Σ Σ'Α ΑΣ'", "i̇stanbul οδος σας σ α.ς σ'α ας'", "İstanbul ΟΔΟΣ ΣΑΣ Σ ΑΣ ΣΑ ΑΣ"},
		{"ẞ ǅ Ω", "ß ǆ ω", "ẞ ǅ Ω"},
	} {
		if got := (&Words{Lowercase: true}).canonical(c.in); got != c.lower {
			t.Errorf("lower %q gave %q, want %q", c.in, got, c.lower)
		}
		if got := (&Words{RemovePunctuation: true}).canonical(c.in); got != c.plain {
			t.Errorf("without punctuation %q gave %q, want %q", c.in, got, c.plain)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(imageYAML)
	f.Add(textYAML)
	f.Fuzz(func(t *testing.T, yaml string) {
		s, err := parse("spec.yaml", "", []byte(yaml))
		if err == nil && len(s.Fingerprint()) != 16 {
			t.Fatal("no fingerprint")
		}
	})
}
