package onnx

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func inspect(t testing.TB, name string) *Graph {
	t.Helper()
	g, err := Inspect(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// write puts a model into a file of its own.
func write(t testing.TB, model []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCutEqualsPython cuts a model at every tensor and compares with what Python
// reads from the whole model.
func TestCutEqualsPython(t *testing.T) {
	library(t)
	raw, err := os.ReadFile("testdata/towers.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		Name    string
		Shape   []int64
		Numbers []float64
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	pixels := Tensor{Shape: []int64{2, 3, 8, 8}, Float32: make([]float32, 2*3*8*8)}
	for i := range pixels.Float32 {
		pixels.Float32[i] = float32(i%17-8) / 8
	}
	inputs := map[string]Tensor{"pixels": pixels, "ids": {Shape: []int64{4, 3}, Int64: []int64{1, 2, 3, 4, 5, 6, 7, 8, 19, 0, 0, 1}}}
	g := inspect(t, "towers.onnx")
	for _, w := range want {
		p, err := g.Cut(CutOptions{Outputs: []string{w.Name}})
		if err != nil {
			t.Fatal(err)
		}
		if out := p.Outputs[0]; out.Name != w.Name || out.DType != "float32" || len(out.Dims) != len(w.Shape) {
			t.Errorf("%s: its output is %v, shape %v", w.Name, out, w.Shape)
		}
		var in []Tensor
		var names []string
		for _, v := range p.Inputs {
			in, names = append(in, inputs[v.Name]), append(names, v.Name)
		}
		s, err := Open(g.Path, Options{Data: p.Data, Inputs: names, Output: w.Name})
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		var out Tensor
		if err := s.Run(context.Background(), in, &out); err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		if !slices.Equal(out.Shape, w.Shape) {
			t.Errorf("%s: shape %v, want %v", w.Name, out.Shape, w.Shape)
		}
		for i, x := range w.Numbers {
			if math.Abs(float64(out.Float32[i])-x) > 1e-5*max(1, math.Abs(x)) {
				t.Errorf("%s: number %d is %v, want %v", w.Name, i, out.Float32[i], x)
				break
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCutClassifier cuts the shipped classifier at its outputs and at the tensors
// that they are made of: the numbers are those of the whole model, bit for bit.
func TestCutClassifier(t *testing.T) {
	library(t)
	path := filepath.Join("..", "..", ".deps", "models", "efficientnet-lite0", "model.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED, the shipped classifier is not here: %v", err)
	}
	g, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	in := []Tensor{{Shape: []int64{2, 3, 224, 224}, Float32: make([]float32, 2*3*224*224)}}
	for i := range in[0].Float32 {
		in[0].Float32[i] = float32(i*7919%255-127) / 128
	}
	run := func(data []byte, output string) []float32 {
		t.Helper()
		s, err := Open(path, Options{Data: data, Inputs: []string{"image"}, Output: output})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var out Tensor
		if err := s.Run(context.Background(), in, &out); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(out.Float32)
	}
	pool := g.Nodes[slices.IndexFunc(g.Nodes, func(n Node) bool { return slices.Contains(n.Outputs, "avg_pool") })].Inputs[0]
	for tensor, declared := range map[string]string{"avg_pool": "avg_pool", "logits": "logits", pool: "avg_pool"} {
		p, err := g.Cut(CutOptions{Outputs: []string{tensor}})
		if err != nil {
			t.Fatal(err)
		}
		if tensor != "logits" && int64(len(p.Data)) > g.Size-1280*1000*4 {
			t.Errorf("%s: %d of %d bytes are left, with the classifier's weights", tensor, len(p.Data), g.Size)
		}
		if got, want := run(p.Data, tensor), run(nil, declared); len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s differs from the whole model's %s", tensor, declared)
		}
	}
}

// TestCutLeavesTheRestBehind: a picture's tower has neither the words nor their
// input, and keeps the body, the function and the metadata.
func TestCutLeavesTheRestBehind(t *testing.T) {
	whole := inspect(t, "towers.onnx")
	for _, c := range []struct {
		output          string
		keep            []string
		inputs, weights string
		nodes           int
	}{
		{"image_embeds", nil, "pixels", "conv_w fc_w fc_b", 9},
		{"/visual/pool", nil, "pixels", "conv_w", 6},
		{"/visual/pool", []string{"ids"}, "pixels ids", "conv_w", 6},
		{"last_hidden", nil, "ids", "words ln_w ln_b", 2},
		{"similarity", nil, "pixels ids", "conv_w fc_w fc_b words ln_w ln_b proj_w", 15},
	} {
		p, err := whole.Cut(CutOptions{Outputs: []string{c.output}, Inputs: c.keep})
		if err != nil {
			t.Fatal(err)
		}
		g, err := Inspect(write(t, p.Data))
		if err != nil {
			t.Fatal(err)
		}
		var weights []string
		for _, w := range g.Weights {
			weights = append(weights, w.Name)
		}
		if in := strings.ReplaceAll(names(g.Inputs), ",", ""); in != c.inputs || strings.Join(weights, " ") != c.weights || len(g.Nodes) != c.nodes || names(g.Outputs) != c.output {
			t.Errorf("%s: inputs %s, weights %v, %d operations, outputs %v", c.output, in, weights, len(g.Nodes), g.Outputs)
		}
		if g.Opset != 17 || len(g.model) != len(whole.model) {
			t.Errorf("%s: opset %d, %d fields beside the graph of %d", c.output, g.Opset, len(g.model), len(whole.model))
		}
	}
	if whole.Parameters != 5*3*3*3+5*6+6+20*4+4+4+4*6+2 {
		t.Errorf("%d parameters", whole.Parameters)
	}
}

// TestCutKeepsSeveral gives several outputs in the order that was asked for.
func TestCutKeepsSeveral(t *testing.T) {
	g := inspect(t, "towers.onnx")
	p, err := g.Cut(CutOptions{Outputs: []string{"text_embeds", "image_embeds"}})
	if err != nil || names(p.Outputs) != "text_embeds, image_embeds" || names(p.Inputs) != "pixels, ids" {
		t.Errorf("%v, %v", p, err)
	}
}

func TestCutSaysWhyNot(t *testing.T) {
	g := inspect(t, "towers.onnx")
	for output, want := range map[string]string{
		"pixels":       "is an input of the model",
		"fc_w":         "is a weight",
		"doubled":      "inside the body of an operation If",
		"visual/flats": "no tensor",
		"a/pool":       "similar names: pooled, /visual/pool",
		"":             "no tensor",
	} {
		if _, err := g.Cut(CutOptions{Outputs: []string{output}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one about %q", output, err, want)
		}
	}
	g.Size = 3 << 30
	if _, err := g.Cut(CutOptions{Outputs: []string{"stem"}}); err == nil || !strings.Contains(err.Error(), "more than 2 GB") {
		t.Errorf("a model of 3 GB gave %v", err)
	}
}

// TestHalfPrecision feeds and reads float32 where the model has float16.
func TestHalfPrecision(t *testing.T) {
	library(t)
	g := inspect(t, "half.onnx")
	if g.Whole("means") || !inspect(t, "means.onnx").Whole("means") {
		t.Error("Whole is wrong")
	}
	p, err := g.Cut(CutOptions{Outputs: []string{"means"}, Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(g.Path, Options{Data: p.Data, Inputs: []string{p.FedAs("pixels")}, Output: p.Outputs[0].Name})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out Tensor
	if err := s.Run(context.Background(), []Tensor{picture(2)}, &out); err != nil {
		t.Fatal(err)
	}
	if want := []float32{0, 1, 2, 0, 2, 4}; !slices.Equal(out.Float32, want) {
		t.Errorf("got %v, want %v", out.Float32, want)
	}
}

func message(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

// TestHostileGraphs: what no tool writes is an error, not a crash.
func TestHostileGraphs(t *testing.T) {
	out := message(12, message(1, []byte("y")))
	deep := message(1, message(2, []byte("y")))
	for range 200 {
		deep = message(1, message(5, message(6, deep)))
	}
	for name, c := range map[string]struct {
		model []byte
		want  string
	}{
		"two graphs":   {append(message(7, out), message(7, out)...), "two graphs"},
		"no output":    {message(7, deep[:0]), "no graph"},
		"deep bodies":  {message(7, append(deep, out...)), "too deep"},
		"huge shape":   {message(7, append(message(5, []byte{8, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), out...)), "has the shape"},
		"long name":    {message(7, append(message(1, message(1, make([]byte, 1<<17))), out...)), "short one"},
		"not messages": {[]byte{7 << 3, 5}, "no message"},
	} {
		if _, err := Inspect(write(t, c.model)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
	// A circle ends.
	circle := append(message(1, append(message(1, []byte("a")), message(2, []byte("y"))...)), message(1, append(message(1, []byte("y")), message(2, []byte("a"))...))...)
	g, err := Inspect(write(t, message(7, append(circle, out...))))
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{g: g, needed: map[string]bool{}, o: CutOptions{Outputs: []string{"y"}}}
	if err := c.choose(); err != nil || !c.nodes[0] || !c.nodes[1] {
		t.Errorf("%v, %v", c.nodes, err)
	}
}

// FuzzCut reads any bytes as a model and cuts it at each of its first tensors. A
// part can be read again and has its output.
func FuzzCut(f *testing.F) {
	for _, name := range []string{"words.onnx", "towers.onnx", "half.onnx", "loop.onnx", "dynamic.onnx"} {
		whole, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "model.onnx")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := Inspect(path)
		if err != nil {
			return
		}
		for _, n := range g.Nodes[:min(len(g.Nodes), 5)] {
			for _, name := range n.Outputs[:min(len(n.Outputs), 3)] {
				c := &cutter{g: g, needed: map[string]bool{}, o: CutOptions{Outputs: []string{name}, Float32: true}}
				if c.choose() != nil {
					continue
				}
				c.casts()
				p, err := c.write()
				if err != nil {
					t.Fatal(err)
				}
				again := filepath.Join(dir, "part.onnx")
				if err := os.WriteFile(again, p.Data, 0o600); err != nil {
					t.Fatal(err)
				}
				g2, err := Inspect(again)
				if err != nil {
					t.Fatalf("the part at %q cannot be read: %v", name, err)
				}
				if len(g2.Outputs) != 1 || g2.Outputs[0].Name != p.Outputs[0].Name || len(g2.Nodes) > len(g.Nodes)+2+len(g.Inputs) {
					t.Fatalf("the part at %q has the outputs %v", name, g2.Outputs)
				}
			}
		}
	})
}
