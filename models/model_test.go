package models

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"winnow/models/onnx"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// referenced are the models that make setup brings, with vectors in testdata.
var referenced = []string{"efficientnet-lite0", "use-multilingual-v3"}

// load opens a model for one test.
func load(t testing.TB, nameOrPath string, o Options) *Model {
	t.Helper()
	m := open(t, nameOrPath, o)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// open opens a model, or skips the test where make setup has not been run.
func open(t testing.TB, nameOrPath string, o Options) *Model {
	t.Helper()
	s, err := Load(nameOrPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Init(); err != nil {
		t.Skipf("SKIPPED, no model is run: %v", err)
	}
	if _, err := s.find(s.Model.File); err != nil {
		t.Skipf("SKIPPED, model %s is not compared with its reference: %v", nameOrPath, err)
	}
	m, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var (
	sharedMu sync.Mutex
	sharedBy = map[string]*Model{}
)

// sharedModel is a shipped model that the tests load once: reading a vocabulary
// takes seconds under the race detector.
func sharedModel(t testing.TB, name string) *Model {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if sharedBy[name] == nil {
		sharedBy[name] = open(t, name, Options{Sessions: 3})
	}
	return sharedBy[name]
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, m := range sharedBy {
		if err := m.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func prepare(t testing.TB, m *Model, data []byte) embed.Input {
	t.Helper()
	in, err := m.Prepare(context.Background(), pipeline.Item{}, data)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func run(t testing.TB, m *Model, in ...embed.Input) []float32 {
	t.Helper()
	out := make([]float32, len(in)*m.Dim())
	if err := m.Run(context.Background(), in, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reference is what testdata/make.py wrote down.
type reference struct {
	Pictures, Sentences []string
	vectors             []float32
}

func readReference(t testing.TB) (r reference) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, "testdata/vectors.json"), &r); err != nil {
		t.Fatal(err)
	}
	raw := readFile(t, "testdata/vectors.f32")
	for i := 0; i < len(raw); i += 4 {
		r.vectors = append(r.vectors, math.Float32frombits(binary.LittleEndian.Uint32(raw[i:])))
	}
	if len(r.vectors) != len(r.Pictures)*1280+len(r.Sentences)*512 {
		t.Fatalf("%d numbers", len(r.vectors))
	}
	return r
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func furthest(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
	}
	return d
}

// items are the reference's pictures or sentences as a model takes them.
func (r reference) items(t testing.TB, m *Model) (data [][]byte, vectors []float32) {
	t.Helper()
	if m.spec.Kind == Image {
		for _, p := range r.Pictures {
			data = append(data, readFile(t, filepath.Join("testdata", p)))
		}
		return data, r.vectors[:len(r.Pictures)*1280]
	}
	for _, s := range r.Sentences {
		data = append(data, []byte(s))
	}
	return data, r.vectors[len(r.Pictures)*1280:]
}

func TestVectorsEqualPython(t *testing.T) {
	for _, name := range referenced {
		t.Run(name, func(t *testing.T) {
			m := sharedModel(t, name)
			data, want := readReference(t).items(t, m)
			for i, d := range data {
				got, w := run(t, m, prepare(t, m, d)), want[i*m.Dim():(i+1)*m.Dim()]
				if c := cosine(got, w); c < 0.999999 || furthest(got, w) > 1e-5 {
					t.Errorf("item %d: cosine %.8f, numbers differ by up to %.2g", i, c, furthest(got, w))
				}
				if err := embed.CheckVector(got); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestNeighboursDoNotMatter holds the vector of a row alone against its vectors in
// batches with others, with empty slots, and in another place.
func TestNeighboursDoNotMatter(t *testing.T) {
	for _, name := range referenced {
		t.Run(name, func(t *testing.T) {
			m := sharedModel(t, name)
			data, _ := readReference(t).items(t, m)
			var in []embed.Input
			for _, d := range data {
				in = append(in, prepare(t, m, d))
			}
			alone := make([][]float32, len(in))
			for i, x := range in {
				alone[i] = run(t, m, x)
			}
			batch := append([]embed.Input{nil}, in...)
			slices.Reverse(batch)
			batch = append(batch, nil)
			all := run(t, m, batch...)
			for k, x := range batch {
				if x == nil {
					continue
				}
				i := len(in) - 1 - k
				if d := furthest(all[k*m.Dim():(k+1)*m.Dim()], alone[i]); d > 1e-6 {
					t.Errorf("item %d moves by %.2g with its neighbours", i, d)
				}
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	m := sharedModel(t, "efficientnet-lite0")
	data, want := readReference(t).items(t, m)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, d := range data {
				in, err := m.Prepare(context.Background(), pipeline.Item{}, d)
				if err != nil {
					t.Error(err)
					return
				}
				out := make([]float32, m.Dim())
				if err := m.Run(context.Background(), []embed.Input{in}, out); err != nil {
					t.Error(err)
				}
				in.Release()
				if cosine(out, want[i*m.Dim():(i+1)*m.Dim()]) < 0.999999 {
					t.Errorf("item %d differs under load", i)
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelWaits(t *testing.T) {
	m := sharedModel(t, "use-multilingual-v3")
	in := make([]embed.Input, 256)
	for i := range in {
		in[i] = prepare(t, m, []byte(strings.Repeat("an apple on a tree ", 200)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	out := make([]float32, len(in)*m.Dim())
	if err := m.Run(ctx, in, out); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a cancelled run gave %v", err)
	}
	if got := run(t, m, in[0]); embed.CheckVector(got) != nil {
		t.Error("no vector after a cancelled run")
	}
}

func TestTextFaults(t *testing.T) {
	own := *sharedModel(t, "use-multilingual-v3")
	m := &own
	m.maxBytes = 1000
	for _, c := range []struct{ text, want string }{
		{"", pipeline.ReasonEmpty},
		{" \t\n", pipeline.ReasonEmpty},
		{"a\xff", pipeline.ReasonInvalidUTF8},
		{strings.Repeat("a", 1001), pipeline.ReasonTooLarge},
	} {
		_, err := m.Prepare(context.Background(), pipeline.Item{}, []byte(c.text))
		var row *pipeline.RowError
		if !errors.As(err, &row) || row.Reason != c.want {
			t.Errorf("%q: %v, want reason %s", c.text[:min(len(c.text), 10)], err, c.want)
		}
	}
	m.maxBytes = 1 << 20
	if n := prepare(t, m, []byte(strings.Repeat("word ", 5000))).Len(); n != m.spec.Text.MaxTokens {
		t.Errorf("a long text has %d tokens", n)
	}
}

// userSpec writes a spec with its model and tokenizer and returns its path.
// format's %s are the hashes of model and tokenizer.
func userSpec(t *testing.T, model, spec string) string {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{"onnx/testdata/" + model: "m.onnx", "text/testdata/bytes.model": "t.model"} {
		if err := os.WriteFile(filepath.Join(dir, to), readFile(t, from), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := hashFile(from)
		if err != nil {
			t.Fatal(err)
		}
		spec = strings.ReplaceAll(spec, "SHA("+to+")", sum)
	}
	path := filepath.Join(dir, "spec.yaml")
	if err := os.WriteFile(path, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const wordsSpec = `
name: words
kind: text
model: {file: m.onnx, sha256: SHA(m.onnx)}
inputs:
  - {name: ids, role: ids}
  - {name: mask, role: mask}
  - {name: types, role: type_ids}
output: hidden
dim: 4
pooling: POOLING
normalize: none
text:
  tokenizer: {kind: sentencepiece, file: t.model, sha256: SHA(t.model)}
  max_tokens: 6
  bos: true
  eos: true
`

// TestPooling checks a model whose word vectors are known: i, -i, i·i and 1 of
// token i.
func TestPooling(t *testing.T) {
	ids := tokens{1, 5, 7, 2} // the bytes model's begin and end are 1 and 2
	for pooling, want := range map[string][]float32{
		"cls":  {1, -1, 1, 1},
		"mean": {15. / 4, -15. / 4, 79. / 4, 1},
		"last": {2, -2, 4, 1},
	} {
		m := load(t, userSpec(t, "words.onnx", strings.ReplaceAll(wordsSpec, "POOLING", pooling)), Options{Sessions: 1})
		got := run(t, m, tokens{1, 2}, ids, nil, tokens{1, 3, 3, 3, 3, 2})
		if !slices.Equal(got[4:8], want) {
			t.Errorf("pooling %s gave %v, want %v", pooling, got[4:8], want)
		}
		if in := prepare(t, m, []byte("the cat sat on the mat")).(tokens); len(in) != 6 || in[0] != 1 || in[5] != 2 {
			t.Errorf("ids %v", in)
		}
	}
}

const picturesSpec = `
name: pictures
kind: image
model: {file: m.onnx, sha256: SHA(m.onnx)}
inputs: [{name: pixels, role: image}]
output: means
dim: 3
normalize: none
image:
  size: [4, 6]
  divide: 255
  mean: [0, 0.5, 0]
  std: [1, 0.5, 2]
  `

// TestPictureTensors checks models that give the mean of each channel.
func TestPictureTensors(t *testing.T) {
	picture := readFile(t, "image/testdata/tiny.png") // one pixel
	for _, c := range []struct {
		model, more string
		batch       int
		order       [3]int
	}{
		{"means.onnx", "layout: nchw", 8, [3]int{0, 1, 2}},
		{"means.onnx", "channels: bgr", 8, [3]int{2, 1, 0}},
		{"pairs.onnx", "layout: nhwc", 2, [3]int{0, 1, 2}},
		{"pairs.onnx", "layout: nhwc\n  channels: bgr", 2, [3]int{2, 1, 0}},
	} {
		m := load(t, userSpec(t, c.model, picturesSpec+c.more+"\n"), Options{Sessions: 1})
		if m.BatchSize() != c.batch {
			t.Errorf("%s: batches of %d, want %d", c.model, m.BatchSize(), c.batch)
		}
		in := prepare(t, m, picture)
		px := in.(*pixels).b
		var want [3]float32
		for i, ch := range c.order {
			mean, std := [3]float32{0, 0.5, 0}, [3]float32{1, 0.5, 2}
			want[i] = (float32(px[ch])/255 - mean[ch]) / std[ch]
		}
		got := run(t, m, in)
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-6 {
				t.Errorf("%s, %s: %v, want %v", c.model, c.more, got, want)
			}
		}
		in.Release()
	}
}

// TestBatchDependence: a dynamically quantised model is refused with the reason,
// and accepted with the flag; its rows then run alone.
func TestBatchDependence(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	spec := strings.NewReplacer("output: means", "output: vector", "dim: 3", "dim: 8").Replace(picturesSpec)
	s, err := Load(userSpec(t, "dynamic.onnx", spec))
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Init(); err != nil {
		t.Skipf("SKIPPED, no model is run: %v", err)
	}
	for range 2 { // nothing is remembered of it
		if _, err := New(s, Options{}); err == nil || !strings.Contains(err.Error(), "DynamicQuantizeLinear") || !strings.Contains(err.Error(), "batch_dependent: true") ||
			pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Fatalf("error %v", err)
		}
	}
	m := load(t, userSpec(t, "dynamic.onnx", "batch_dependent: true\n"+spec), Options{Sessions: 1})
	black, loud := &pixels{make([]byte, 72), m}, &pixels{make([]byte, 72), m}
	for i := range loud.b {
		black.b[i], loud.b[i] = byte(i/20), byte(i*97)
	}
	if alone, all := run(t, m, black), run(t, m, loud, nil, black); !slices.Equal(alone, all[16:]) {
		t.Errorf("alone %v, with others %v", alone, all[16:])
	}
	if d, err := m.Dependence(context.Background()); err != nil || d != 0 {
		t.Errorf("dependence %v, %v", d, err)
	}
}

// TestGoodModelsAreRemembered: the probe runs once for a fingerprint.
func TestGoodModelsAreRemembered(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	m := load(t, userSpec(t, "means.onnx", picturesSpec+"layout: nchw\n"), Options{Sessions: 1})
	raw, err := os.ReadFile(m.batchMemo())
	if err != nil || !strings.Contains(string(raw), "moves") {
		t.Errorf("remembered %s, %v", raw, err)
	}
}

// TestHalfPrecisionModel: a model that takes and gives 16-bit floats.
func TestHalfPrecisionModel(t *testing.T) {
	m := load(t, userSpec(t, "half.onnx", strings.NewReplacer("role: image}", "role: image, dtype: float16}", "divide: 255", "divide: 1", "0.5, 0]", "0, 0]", "[1, 0.5, 2]", "1").Replace(picturesSpec)), Options{Sessions: 1})
	p := &pixels{slices.Repeat([]byte{1, 2, 4}, 24), m}
	if got := run(t, m, p, p); !slices.Equal(got, []float32{1, 2, 4, 1, 2, 4}) || m.Tolerance() != mostMoveHalf {
		t.Errorf("got %v, tolerance %v", got, m.Tolerance())
	}
}

// TestCutAtAnInnerTensor takes a tensor that is no output, of a graph that has
// another input and an output of no use here.
func TestCutAtAnInnerTensor(t *testing.T) {
	spec := strings.NewReplacer("output: means", "output: /visual/pool", "dim: 3", "dim: 4\noutput_dim: 5", "[4, 6]", "8").Replace(picturesSpec)
	m := load(t, userSpec(t, "towers.onnx", spec), Options{Sessions: 1})
	in := &pixels{make([]byte, 192), m}
	for i := range in.b {
		in.b[i] = byte(i * 31)
	}
	got := run(t, m, in)
	whole := load(t, userSpec(t, "towers.onnx", strings.Replace(spec, "dim: 4\noutput_dim: 5", "dim: 5", 1)), Options{Sessions: 1})
	if want := run(t, whole, in); !slices.Equal(got, want[:4]) {
		t.Errorf("got %v, want the first 4 of %v", got, want)
	}
}

func TestNewComparesSpecAndModel(t *testing.T) {
	if err := onnx.Init(); err != nil {
		t.Skipf("SKIPPED, no model is run: %v", err)
	}
	for _, c := range []struct{ name, model, spec, want string }{
		{"output", "means.onnx", strings.Replace(picturesSpec, "output: means", "output: mean", 1), `no tensor "mean"; its outputs are means`},
		{"input", "means.onnx", strings.Replace(picturesSpec, "name: pixels", "name: image", 1), `no input "image"`},
		{"dim", "means.onnx", strings.Replace(picturesSpec, "dim: 3", "dim: 4", 1), "dim 4"},
		{"size", "means.onnx", strings.Replace(picturesSpec, "[4, 6]", "[4, 4]", 1), "image.size"},
		{"layout", "pairs.onnx", picturesSpec, "layout nchw"},
		{"dtype", "words.onnx", strings.Replace(strings.Replace(wordsSpec, "POOLING", "mean", 1), "role: ids}", "role: ids, dtype: int32}", 1), "is not int32"},
		{"type_ids", "words.onnx", strings.Replace(strings.Replace(wordsSpec, "POOLING", "mean", 1), "  - {name: types, role: type_ids}\n", "", 1), "types int64[batch,tokens] that the spec does not name"},
		{"pooling", "means.onnx", strings.Replace(picturesSpec, "normalize:", "pooling: mean\nnormalize:", 1), "pooling mean"},
	} {
		s, err := Load(userSpec(t, c.model, c.spec))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err = New(s, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", c.name, err, c.want)
		}
	}
}

func TestRunChecksItsArguments(t *testing.T) {
	m := load(t, userSpec(t, "pairs.onnx", picturesSpec+"layout: nhwc\n"), Options{Sessions: 1})
	in := prepare(t, m, readFile(t, "image/testdata/tiny.png"))
	for n, size := range map[int]int{1: 2, 3: 9, 0: 0} {
		if err := m.Run(context.Background(), slices.Repeat([]embed.Input{in}, n), make([]float32, size)); err == nil {
			t.Errorf("a batch of %d with room for %d numbers was taken", n, size)
		}
	}
}

func TestCheckVector(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, v := range [][]float32{{0, 0}, {1, nan}, {inf, 0}, {}} {
		if embed.CheckVector(v) == nil {
			t.Errorf("%v was taken", v)
		}
	}
	if err := embed.CheckVector([]float32{0, 1}); err != nil {
		t.Error(err)
	}
}

func BenchmarkModel(b *testing.B) {
	for _, name := range referenced {
		m := load(b, name, Options{Sessions: 1})
		data, _ := readReference(b).items(b, m)
		for _, size := range []int{1, 4, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				var in []embed.Input
				for range size {
					in = append(in, prepare(b, m, data[1]))
				}
				out := make([]float32, size*m.Dim())
				for b.Loop() {
					if err := m.Run(context.Background(), in, out); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
