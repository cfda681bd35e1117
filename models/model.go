package models

import (
	"context"
	"errors"
	"fmt"

	"winnow/models/image"
	"winnow/models/onnx"
	"winnow/models/text"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// Options say where and within which limits a model runs.
type Options struct {
	Device   string       // auto (or empty), cpu, cuda, cuda:N, tensorrt or tensorrt:N
	Sessions int          // runs at one time on each device; 0 is one a core, and two a GPU
	Limits   image.Limits // of one picture; Bytes bounds texts too
	Cache    string       // folder for what TensorRT builds; empty builds it every time
}

// Model is a loaded model. It implements embed.Model and is safe for concurrent
// use.
type Model struct {
	spec     *Spec
	sessions []*onnx.Session // one for each device
	slots    chan *slot      // one for each run at a time
	why      string          // there is no GPU among the devices

	decoder  *image.Decoder
	tok      text.Tokenizer
	maxBytes int64
	pixels   chan *pixels // pictures' buffers that wait for reuse
	table    [3][256]float32

	fixedRows   int  // batch size that the model insists on, or 0
	fixedTokens int  // tokens that the model insists on, or 0
	outRank     int  // dimensions of the output, 0 where the file does not say
	openDim     bool // the file does not say how long the output's vectors are

	half    bool   // most weights, or the inputs, are 16-bit floats
	dynamic string // an operation that looks at a whole batch at once
}

var _ embed.Model = (*Model)(nil)

// New loads a model: its files are found and their hashes checked, the spec is
// compared with what the ONNX file says of itself, and the model is cut where its
// output is. A model whose rows depend on their batch mates is refused, unless its
// spec allows it.
func New(s *Spec, o Options) (*Model, error) {
	paths, err := s.locate(false)
	if err != nil {
		return nil, err
	}
	m := &Model{spec: s}
	file, err := m.readGraph(paths[0])
	if err == nil && s.Kind == Image {
		err = m.setImage(o.Limits)
	}
	if err == nil && s.Kind == Text {
		err = m.setText(paths[1], o.Limits)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	file.Varying, file.Cache = s.Kind == Text, o.Cache
	if err := m.open(paths[0], file, o); err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, err)
	}
	m.pixels = make(chan *pixels, 2*m.Sessions()*m.BatchSize())
	if err := m.checkBatches(context.Background()); err != nil {
		return nil, fmt.Errorf("model %s: %w", s.Name, errors.Join(err, m.Close()))
	}
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

// Close waits for runs that go on and frees the model. No method may be called
// after.
func (m *Model) Close() error { return m.closeSessions() }

// Spec is the model's spec.
func (m *Model) Spec() *Spec { return m.spec }

// Dim implements embed.Model.
func (m *Model) Dim() int { return m.spec.Dim }

// BatchSize implements embed.Model.
func (m *Model) BatchSize() int {
	switch {
	case m.fixedRows > 0:
		return m.fixedRows
	case m.OnGPU():
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
