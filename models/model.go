package models

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"unicode/utf8"

	"winnow/models/image"
	"winnow/models/onnx"
	"winnow/models/text"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// Options say where and within which limits a model runs.
type Options struct {
	Device   string // auto (default), cpu, cuda or cuda:N
	Sessions int    // default: one a core
	Limits   image.Limits
}

// Model is a loaded model. It implements embed.Model and is safe for concurrent
// use.
type Model struct {
	spec      *Spec
	sessions  chan *onnx.Session
	n         int
	decoder   *image.Decoder
	tok       text.Tokenizer
	pixels    sync.Pool // *pixels
	scale     [3]float32
	shift     [3]float32
	inputs    []string
	floatMask bool
}

var _ embed.Model = (*Model)(nil)

// New loads a model: its files are found and verified, and one session a core is
// opened.
func New(s *Spec, o Options) (_ *Model, err error) {
	path, err := s.find(s.File.Path)
	if err != nil {
		return nil, err
	}
	if err := verify(path, s.File.SHA256); err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	m := &Model{spec: s, n: o.Sessions}
	if m.n <= 0 {
		m.n = runtime.GOMAXPROCS(0)
	}
	if err := m.prepare(o); err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	if err := m.checkTensors(path); err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	m.sessions = make(chan *onnx.Session, m.n)
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	for range m.n {
		sess, err := onnx.Open(path, m.inputs, []string{s.Output}, o.Device)
		if err != nil {
			return nil, err
		}
		m.sessions <- sess
	}
	return m, nil
}

// prepare makes the decoder or the tokenizer, and the list of inputs.
func (m *Model) prepare(o Options) (err error) {
	s := m.spec
	if s.Kind == Image {
		m.inputs = []string{s.Inputs.Image}
		for c := range 3 {
			m.scale[c], m.shift[c] = float32(s.Image.Std[c]), float32(s.Image.Mean[c])
		}
		size := 3 * s.Image.Width * s.Image.Height
		m.pixels.New = func() any { return &pixels{b: make([]byte, size), m: m} }
		m.decoder, err = image.NewDecoder(s.Image.options(), o.Limits)
		return err
	}
	for _, in := range []string{s.Inputs.IDs, s.Inputs.Mask, s.Inputs.TypeIDs} {
		if in != "" {
			m.inputs = append(m.inputs, in)
		}
	}
	path, err := s.find(s.Text.Tokenizer.Path)
	if err != nil {
		return err
	}
	if err := verify(path, s.Text.Tokenizer.SHA256); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m.tok, err = text.NewUnigram(data, text.Options{BOS: s.Text.AddBOS, EOS: s.Text.AddEOS, MaxTokens: s.Text.MaxTokens})
	return err
}

// checkTensors compares the names in the spec with the model's.
func (m *Model) checkTensors(path string) error {
	in, out, err := onnx.Inspect(path)
	if err != nil {
		return err
	}
	var have []string
	for _, i := range in {
		have = append(have, i.Name)
		if i.Name == m.spec.Inputs.Mask {
			m.floatMask = i.Type == "float32"
		}
		if !slices.Contains(m.inputs, i.Name) {
			return fmt.Errorf("the model has an input %q that the spec does not name; add it under inputs", i.Name)
		}
	}
	for _, want := range m.inputs {
		if !slices.Contains(have, want) {
			return fmt.Errorf("the model has no input %q; it has %q", want, have)
		}
	}
	have = nil
	for _, o := range out {
		have = append(have, o.Name)
	}
	if !slices.Contains(have, m.spec.Output) {
		return fmt.Errorf("the model has no output %q; it has %q", m.spec.Output, have)
	}
	return nil
}

// Close frees the sessions. No method may be called after.
func (m *Model) Close() error {
	var err error
	for {
		select {
		case s := <-m.sessions:
			err = errors.Join(err, s.Close())
		default:
			return err
		}
	}
}

// Spec is the model's spec.
func (m *Model) Spec() *Spec { return m.spec }

// Dim implements embed.Model.
func (m *Model) Dim() int { return m.spec.Dim }

// BatchSize implements embed.Model.
func (m *Model) BatchSize() int { return m.spec.Batch }

// Sessions implements embed.Model.
func (m *Model) Sessions() int { return m.n }

// pixels is a decoded picture: height × width × 3 bytes.
type pixels struct {
	b []byte
	m *Model
}

func (*pixels) Len() int   { return 0 }
func (p *pixels) Release() { p.m.pixels.Put(p) }

// tokens is a tokenised text.
type tokens []int64

func (t tokens) Len() int { return len(t) }
func (tokens) Release()   {}

// Prepare implements embed.Model: it decodes a picture or tokenises a text.
func (m *Model) Prepare(ctx context.Context, _ pipeline.Item, data []byte) (embed.Input, error) {
	if m.spec.Kind == Image {
		p := m.pixels.Get().(*pixels)
		if err := m.decoder.Decode(ctx, data, p.b); err != nil {
			p.Release()
			return nil, err
		}
		return p, nil
	}
	if !utf8.Valid(data) {
		return nil, pipeline.Rowf(pipeline.ReasonInvalidUTF8, "the text is not valid UTF-8")
	}
	if len(data) == 0 {
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text is empty")
	}
	return tokens(m.tok.Encode(string(data), nil)), nil
}

// Run implements embed.Model. A batch of texts is padded to its longest.
func (m *Model) Run(ctx context.Context, in []embed.Input, out []float32) error {
	var inputs []onnx.Tensor
	var masks []int // tokens of each text
	if m.spec.Kind == Image {
		inputs = []onnx.Tensor{m.imageTensor(in)}
	} else {
		inputs, masks = m.textTensors(in)
	}
	var s *onnx.Session
	select {
	case s = <-m.sessions:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	data, shape, err := s.Run(ctx, inputs)
	m.sessions <- s
	if err != nil {
		return err
	}
	if err := m.pool(data, shape, masks, len(in), out); err != nil {
		return err
	}
	if m.spec.Normalized() {
		for i := range in {
			normalize(out[i*m.spec.Dim : (i+1)*m.spec.Dim])
		}
	}
	return nil
}

func (m *Model) imageTensor(in []embed.Input) onnx.Tensor {
	i := m.spec.Image
	plane := i.Width * i.Height
	data := make([]float32, len(in)*3*plane)
	for k, x := range in {
		if x == nil {
			continue
		}
		m.fill(data[k*3*plane:(k+1)*3*plane], x.(*pixels).b)
	}
	shape := []int64{int64(len(in)), 3, int64(i.Height), int64(i.Width)}
	if i.Layout == "nhwc" {
		shape = []int64{int64(len(in)), int64(i.Height), int64(i.Width), 3}
	}
	return onnx.Tensor{Shape: shape, Float: data}
}

// fill writes (value − mean) / std in the model's layout and channel order.
func (m *Model) fill(dst []float32, b []byte) {
	i := m.spec.Image
	plane := i.Width * i.Height
	for c := range 3 {
		from := c
		if i.Channels == "bgr" {
			from = 2 - c
		}
		at, step := c*plane, 1
		if i.Layout == "nhwc" {
			at, step = c, 3
		}
		var table [256]float32
		for v := range table {
			table[v] = (float32(v) - m.shift[c]) / m.scale[c]
		}
		for p := range plane {
			dst[at+p*step] = table[b[3*p+from]]
		}
	}
}

func (m *Model) textTensors(in []embed.Input) (inputs []onnx.Tensor, lengths []int) {
	longest := 1
	for _, x := range in {
		if x != nil {
			longest = max(longest, x.Len())
		}
	}
	n := len(in) * longest
	ids := make([]int64, n)
	mask, floats := make([]int64, n), make([]float32, n)
	lengths = make([]int, len(in))
	for i := range ids {
		ids[i] = m.spec.Text.Pad
	}
	for k, x := range in {
		if x == nil {
			mask[k*longest], floats[k*longest] = 1, 1 // an empty slot divides by no zero
			continue
		}
		lengths[k] = x.Len()
		copy(ids[k*longest:], x.(tokens))
		for t := range lengths[k] {
			mask[k*longest+t], floats[k*longest+t] = 1, 1
		}
	}
	shape := []int64{int64(len(in)), int64(longest)}
	inputs = []onnx.Tensor{{Shape: shape, Int64: ids}}
	if m.spec.Inputs.Mask != "" {
		if m.floatMask {
			inputs = append(inputs, onnx.Tensor{Shape: shape, Float: floats})
		} else {
			inputs = append(inputs, onnx.Tensor{Shape: shape, Int64: mask})
		}
	}
	if m.spec.Inputs.TypeIDs != "" {
		inputs = append(inputs, onnx.Tensor{Shape: shape, Int64: make([]int64, n)})
	}
	return inputs, lengths
}

// pool makes one vector a row of the model's output.
func (m *Model) pool(data []float32, shape []int64, lengths []int, n int, out []float32) error {
	dim := m.spec.Dim
	if m.spec.Pooling == "none" {
		if len(data) != n*dim {
			return fmt.Errorf("output %s of model %s has shape %v, want [%d, %d]; correct dim or pooling in the spec", m.spec.Output, m.spec.Name, shape, n, dim)
		}
		copy(out, data)
		return nil
	}
	if len(shape) != 3 || shape[0] != int64(n) || shape[2] != int64(dim) {
		return fmt.Errorf("output %s of model %s has shape %v; pooling %s wants [%d, tokens, %d]", m.spec.Output, m.spec.Name, shape, m.spec.Pooling, n, dim)
	}
	steps := int(shape[1])
	for i := range n {
		v := out[i*dim : (i+1)*dim]
		rows := data[i*steps*dim : (i+1)*steps*dim]
		if m.spec.Pooling == "cls" {
			copy(v, rows)
			continue
		}
		count := steps
		if lengths != nil {
			count = max(1, min(steps, lengths[i]))
		}
		sum := make([]float64, dim)
		for t := range count {
			for j, x := range rows[t*dim : (t+1)*dim] {
				sum[j] += float64(x)
			}
		}
		for j := range v {
			v[j] = float32(sum[j] / float64(count))
		}
	}
	return nil
}

// normalize scales a vector to length 1; zeros stay.
func normalize(v []float32) {
	s := 0.0
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	if s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
		return
	}
	k := 1 / math.Sqrt(s)
	for i, x := range v {
		v[i] = float32(float64(x) * k)
	}
}
