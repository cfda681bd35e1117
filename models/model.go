package models

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"winnow/models/image"
	"winnow/models/onnx"
	"winnow/models/text"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// Options say where and within which limits a model runs.
type Options struct {
	Device   string       // auto (or empty), cpu, cuda or cuda:N
	Sessions int          // runs at one time; 0 is one a core, and two a GPU
	Limits   image.Limits // of one picture; Bytes bounds texts too
}

// Model is a loaded model. It implements embed.Model and is safe for concurrent
// use.
type Model struct {
	spec    *Spec
	session *onnx.Session
	slots   chan *slot // one for each run at a time

	decoder  *image.Decoder
	tok      text.Tokenizer
	maxBytes int64
	pixels   chan *pixels // pictures' buffers that wait for reuse
	table    [3][256]float32

	fixedRows   int // batch size that the model insists on, or 0
	fixedTokens int // tokens that the model insists on, or 0
	outRank     int // dimensions of the output, 0 where the file does not say
}

var _ embed.Model = (*Model)(nil)

// New loads a model: its files are found and their hashes checked, and the spec is
// compared with what the ONNX file says of itself.
func New(s *Spec, o Options) (*Model, error) {
	paths, err := s.locate(false)
	if err != nil {
		return nil, err
	}
	m := &Model{spec: s}
	graph, err := onnx.Inspect(paths[0])
	if err == nil {
		err = m.checkGraph(graph)
	}
	if err == nil && s.Kind == Image {
		err = m.setImage(o.Limits)
	}
	if err == nil && s.Kind == Text {
		err = m.setText(paths[1], o.Limits)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	names := make([]string, len(s.Inputs))
	for i, in := range s.Inputs {
		names[i] = in.Name
	}
	m.session, err = onnx.Open(paths[0], onnx.Options{Device: o.Device, Inputs: names, Output: s.Output, Varying: s.Kind == Text})
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	n := o.Sessions
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
		if m.gpu() {
			n = 2 // one fills its tensors while the other runs
		}
	}
	m.slots = make(chan *slot, n)
	for range n {
		m.slots <- &slot{}
	}
	m.pixels = make(chan *pixels, 2*n*m.BatchSize())
	return m, nil
}

func (m *Model) setImage(l image.Limits) (err error) {
	p := m.spec.Image
	m.decoder, err = image.NewDecoder(image.Options{
		Height: p.Size.Height, Width: p.Size.Width, Crop: p.Fit == "crop", Shortest: p.Shortest, Filter: p.Filter,
		Letterbox: p.Fit == "letterbox", Fill: [3]uint8{uint8(p.Fill[0]), uint8(p.Fill[1]), uint8(p.Fill[2])},
		EXIF: p.EXIF, DropAlpha: p.Alpha == "drop", Fast: p.Decode == "fast",
	}, l)
	// In single precision and in this order, as numpy and torchvision do it.
	for c := range m.table {
		for v := range m.table[c] {
			m.table[c][v] = (float32(v)/float32(p.Divide) - float32(p.Mean[c])) / float32(p.Std[c])
		}
	}
	return err
}

func (m *Model) setText(path string, l image.Limits) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	w := m.spec.Text
	most := w.MaxTokens
	if m.fixedTokens > 0 {
		most = min(most, m.fixedTokens)
	}
	if m.maxBytes = l.Bytes; m.maxBytes <= 0 {
		m.maxBytes = 16 << 20
	}
	u, err := text.NewSentencePiece(data, text.Options{BOS: w.BOS, EOS: w.EOS, MaxTokens: most})
	if err != nil {
		return fmt.Errorf("tokenizer %s: %w", path, err)
	}
	m.tok = u
	return nil
}

// checkGraph compares the spec with the model's own inputs and outputs.
func (m *Model) checkGraph(g *onnx.Graph) error {
	s := m.spec
	var errs []error
	for _, have := range g.Inputs {
		if !slices.ContainsFunc(s.Inputs, func(in Input) bool { return in.Name == have.Name }) {
			errs = append(errs, fmt.Errorf("the model has an input %v that the spec does not name; add it under inputs", have))
		}
	}
	for _, in := range s.Inputs {
		i := slices.IndexFunc(g.Inputs, func(v onnx.Value) bool { return v.Name == in.Name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("the model has no input %q; it has %s", in.Name, list(g.Inputs)))
			continue
		}
		errs = append(errs, m.checkInput(in, g.Inputs[i]))
	}
	i := slices.IndexFunc(g.Outputs, func(v onnx.Value) bool { return v.Name == s.Output })
	if i < 0 {
		return errors.Join(append(errs, fmt.Errorf("the model has no output %q; it has %s", s.Output, list(g.Outputs)))...)
	}
	out := g.Outputs[i]
	m.outRank = len(out.Dims)
	if out.DType != "float32" {
		errs = append(errs, fmt.Errorf("the output %v is not float32", out))
	}
	return errors.Join(append(errs, s.checkOutput(out))...)
}

// checkOutput compares dim and pooling with the output's shape, as far as the file
// states it.
func (s *Spec) checkOutput(out onnx.Value) error {
	if len(out.Dims) < 2 {
		return nil
	}
	size := int64(1) // of what must be dim numbers: all but the batch, or the last
	from := 1
	if s.Pooling != PoolNone {
		from = len(out.Dims) - 1
		if len(out.Dims) != 3 {
			return fmt.Errorf("pooling %s needs an output of [batch, tokens, dim], and this is %v", s.Pooling, out)
		}
	}
	for i := from; i < len(out.Dims); i++ {
		n := out.Size(i)
		if n < 0 {
			return nil
		}
		size *= n
	}
	if size != int64(s.Dim) {
		return fmt.Errorf("the output %v does not give vectors of dim %d; correct dim or pooling in the spec", out, s.Dim)
	}
	return nil
}

func list(values []onnx.Value) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = v.String()
	}
	return strings.Join(names, ", ")
}

func (m *Model) checkInput(in Input, have onnx.Value) error {
	if have.DType != in.DType {
		return fmt.Errorf("the input %v is not %s as the spec says", have, in.DType)
	}
	if n := have.Size(0); n > 0 {
		m.fixedRows = int(n)
	}
	if in.Role != RoleImage {
		if n := have.Size(1); n > 0 {
			m.fixedTokens = int(n)
		}
		return nil
	}
	p := m.spec.Image
	want := []int64{-1, 3, int64(p.Size.Height), int64(p.Size.Width)}
	if p.Layout == "nhwc" {
		want = []int64{-1, int64(p.Size.Height), int64(p.Size.Width), 3}
	}
	for i, w := range want[1:] {
		if n := have.Size(i + 1); len(have.Dims) != 4 || n > 0 && n != w {
			return fmt.Errorf("the input %v does not take pictures of %d × %d in the layout %s; correct image.size or image.layout in the spec", have, p.Size.Height, p.Size.Width, p.Layout)
		}
	}
	return nil
}

// Close waits for runs that go on and frees the model. No method may be called
// after.
func (m *Model) Close() error { return m.session.Close() }

// Spec is the model's spec.
func (m *Model) Spec() *Spec { return m.spec }

// Device is where the model runs: cpu or cuda:N. With Options.Device auto this says
// what was chosen.
func (m *Model) Device() string { return m.session.Device() }

func (m *Model) gpu() bool { return strings.HasPrefix(m.session.Device(), "cuda") }

// Dim implements embed.Model.
func (m *Model) Dim() int { return m.spec.Dim }

// BatchSize implements embed.Model.
func (m *Model) BatchSize() int {
	switch {
	case m.fixedRows > 0:
		return m.fixedRows
	case m.gpu():
		return m.spec.Batch.GPU
	}
	return m.spec.Batch.CPU
}

// Sessions implements embed.Model.
func (m *Model) Sessions() int { return cap(m.slots) }

// pixels is a decoded picture: height × width × 3 bytes.
type pixels struct {
	b []byte
	m *Model
}

func (*pixels) Len() int { return 0 }

func (p *pixels) Release() {
	select {
	case p.m.pixels <- p:
	default: // enough wait already
	}
}

// tokens is a tokenised text.
type tokens []int64

func (t tokens) Len() int { return len(t) }
func (tokens) Release()   {}

// Prepare implements embed.Model: it decodes a picture or tokenises a text, which
// are data.
func (m *Model) Prepare(ctx context.Context, _ pipeline.Item, data []byte) (embed.Input, error) {
	if m.spec.Kind == Text {
		return m.tokenize(data)
	}
	var p *pixels
	select {
	case p = <-m.pixels:
	default:
		p = &pixels{make([]byte, m.decoder.Size()), m}
	}
	if err := m.decoder.Decode(ctx, data, p.b); err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

func (m *Model) tokenize(data []byte) (embed.Input, error) {
	switch {
	case len(data) == 0:
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text is empty")
	case int64(len(data)) > m.maxBytes:
		return nil, pipeline.Rowf(pipeline.ReasonTooLarge, "the text has %d bytes, the limit is %d", len(data), m.maxBytes)
	case !utf8.Valid(data):
		return nil, pipeline.Rowf(pipeline.ReasonInvalidUTF8, "the text is not valid UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text has nothing but spaces")
	}
	return tokens(m.tok.Encode(m.spec.Text.Prefix+string(data), nil)), nil
}
