package models

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"winnow/pipeline"
	embedding "winnow/pipeline/embed"
)

// Finding is something that looks wrong with a model.
type Finding struct {
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
	Note bool   `json:"note,omitempty"` // worth knowing, no fault
}

// Examination is what running a model on examples shows.
type Examination struct {
	Examples  int       `json:"examples"`
	Alone     float64   `json:"ms_alone"`    // milliseconds of one item by itself, decoding not counted
	Batch     float64   `json:"ms_in_batch"` // milliseconds an item in a batch of BatchSize
	BatchSize int       `json:"batch_size"`
	Norm      float64   `json:"norm"`             // the mean length of a vector
	Alike     float64   `json:"most_alike"`       // the highest cosine between two different examples
	Moves     float64   `json:"moves"`            // how far a vector of length 1 moves with its batch mates
	Tokens    int       `json:"tokens,omitempty"` // of all example texts
	Unknown   float64   `json:"unknown"`          // share of tokens that the tokenizer does not know
	Findings  []Finding `json:"findings"`
}

func (e *Examination) fault(fix, format string, args ...any) {
	e.Findings = append(e.Findings, Finding{What: fmt.Sprintf(format, args...), Fix: fix})
}

func (e *Examination) note(fix, format string, args ...any) {
	e.Findings = append(e.Findings, Finding{What: fmt.Sprintf(format, args...), Fix: fix, Note: true})
}

// Faults counts the findings that are no notes.
func (e *Examination) Faults() (n int) {
	for _, f := range e.Findings {
		if !f.Note {
			n++
		}
	}
	return n
}

// Examine runs a model on built-in examples and says what looks wrong.
func (m *Model) Examine(ctx context.Context) (*Examination, error) {
	e := &Examination{Findings: []Finding{}, BatchSize: m.BatchSize()}
	m.judgeSpec(e)
	data, err := m.examples()
	if err != nil {
		return nil, err
	}
	var in []embedding.Input
	for i, d := range data {
		x, err := m.Prepare(ctx, pipeline.Item{AssetID: "example"}, d)
		if err != nil {
			return nil, fmt.Errorf("example %d: %w", i, err)
		}
		in = append(in, x)
	}
	e.Examples = len(in)
	vectors, err := m.each(ctx, in, e)
	if err != nil {
		return nil, err
	}
	m.judgeVectors(e, vectors)
	if e.Moves, err = m.Dependence(ctx); err != nil {
		return nil, err
	}
	if m.spec.BatchDependent {
		e.note("", "every row runs alone, since the spec says batch_dependent: true")
	}
	if m.spec.Kind == Text {
		m.judgeTokens(e, data)
		if err := m.judgeLength(ctx, e); err != nil {
			return nil, err
		}
	}
	return e, m.timeBatch(ctx, in, e)
}

// each runs every example by itself.
func (m *Model) each(ctx context.Context, in []embedding.Input, e *Examination) ([][]float32, error) {
	var vectors [][]float32
	best := time.Duration(math.MaxInt64)
	for _, x := range in {
		v := make([]float32, m.spec.Dim)
		begin := time.Now()
		if err := m.Run(ctx, []embedding.Input{x}, v); err != nil {
			return nil, err
		}
		best = min(best, time.Since(begin))
		vectors = append(vectors, v)
	}
	e.Alone = best.Seconds() * 1e3
	return vectors, nil
}

// timeBatch takes the time of full batches, twice.
func (m *Model) timeBatch(ctx context.Context, in []embedding.Input, e *Examination) error {
	batch := make([]embedding.Input, m.BatchSize())
	for i := range batch {
		batch[i] = in[i%len(in)]
	}
	out := make([]float32, len(batch)*m.spec.Dim)
	best := time.Duration(math.MaxInt64)
	for range 2 {
		begin := time.Now()
		if err := m.Run(ctx, batch, out); err != nil {
			return err
		}
		best = min(best, time.Since(begin))
	}
	e.Batch = best.Seconds() * 1e3 / float64(len(batch))
	return nil
}

const mostAlike = 0.99

// judgeVectors looks at the vectors of different examples.
func (m *Model) judgeVectors(e *Examination, vectors [][]float32) {
	var norms []float64
	for i, v := range vectors {
		if fault := embedding.CheckVector(v); fault != nil {
			e.fault("look at the output in winnow model inspect; models in 16-bit floats may overflow", "example %d: %v", i+1, fault.Err)
			continue
		}
		norms = append(norms, math.Sqrt(dot(v, v)))
	}
	if len(norms) < len(vectors) {
		return
	}
	for _, n := range norms {
		e.Norm += n / float64(len(norms))
	}
	unit := !slices.ContainsFunc(norms, func(n float64) bool { return math.Abs(n-1) > 1e-3 })
	switch {
	case m.spec.Normalized() && !unit:
		e.fault("", "vectors have length %.4g, not 1, though normalize is l2", e.Norm)
	case !m.spec.Normalized() && unit:
		e.note("write normalize: l2, which says so and changes nothing", "vectors have length 1 though normalize is none")
	}
	e.Alike = -1
	for i, v := range vectors {
		for j := range i {
			e.Alike = max(e.Alike, dot(v, vectors[j])/norms[i]/norms[j])
		}
	}
	if e.Alike > mostAlike {
		e.fault("is it the right layer (winnow model inspect), pooling, and for pictures divide, mean and std?", "different examples have nearly equal vectors: a cosine of %.4f", e.Alike)
	}
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// judgeSpec looks at what the spec says.
func (m *Model) judgeSpec(e *Examination) {
	for _, p := range m.spec.Unpinned() {
		e.note(fmt.Sprintf("add to %s: sha256: %s", p.Field, p.SHA256), "the spec does not pin %s: another file under its name would be another model", p.Field)
	}
	if m.spec.Licence == "" || m.spec.Source == "" {
		e.note("write licence and source", "the spec does not say under which licence the weights are, or where they come from")
	}
	name := strings.ToLower(m.spec.Output)
	if strings.Contains(name, "logit") || strings.Contains(name, "prob") || m.spec.Kind == Image && m.spec.Dim == 1000 {
		e.note("winnow model inspect lists the layer before the classifier", "the output %s of %d numbers looks like scores of classes; as an embedding they are poor", m.spec.Output, m.spec.Dim)
	}
	if p := m.spec.Image; p != nil {
		m.judgePixels(e, p)
	}
}

// judgePixels looks at what becomes of the values 0 to 255.
func (m *Model) judgePixels(e *Examination, p *Picture) {
	low, high := math.Inf(1), math.Inf(-1)
	for c := range m.table {
		for _, v := range m.table[c] {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
	}
	least, most := min(p.Mean[0], p.Mean[1], p.Mean[2]), max(p.Mean[0], p.Mean[1], p.Mean[2])
	switch {
	case p.Divide == 255 && most > 1:
		e.fault("give mean and std in the range of the divided pixels, 0 to 1, or leave divide out", "image.mean is %v, and pixels are divided by 255 before it is subtracted", p.Mean)
	case p.Divide == 1 && most > 0 && most <= 1:
		e.fault("write image.divide: 255", "image.mean is %v, which looks like one of pixels from 0 to 1, but they go from 0 to 255", p.Mean)
	case high-low > 300 || high > 256 || low < -256:
		e.fault("check image.divide, mean and std", "pixels become numbers from %.4g to %.4g, more than models are trained on", low, high)
	case high-low > 20 && p.Mean == (Channels{}):
		e.note("right where the model scales pixels itself, as EfficientNets of Keras do", "pixels go in as %.4g to %.4g", low, high)
	case high-low < 0.5:
		e.fault("check image.divide, mean and std", "pixels become numbers from %.4g to %.4g, so that the model sees hardly anything", low, high)
	}
	// ImageNet's means fall from red to blue.
	scale := 1.0
	if most > 1 {
		scale = 255
	}
	imageNet := [3]float64{0.485, 0.456, 0.406}
	if least < most && math.Abs(p.Mean[0]/scale-imageNet[2]) < 0.005 && math.Abs(p.Mean[2]/scale-imageNet[0]) < 0.005 {
		e.fault("mean and std are in the order red, green, blue, also with channels: bgr", "image.mean is ImageNet's in the order blue, green, red")
	}
}

// judgeTokens counts what the tokenizer does not know.
func (m *Model) judgeTokens(e *Examination, texts [][]byte) {
	odd := m.tok.Encode("\uf123", nil) // a private character, which no vocabulary has
	if len(odd) == 0 {
		return
	}
	known := m.tok.Encode("a", nil)
	var unknown int64 = -1
	for _, id := range odd {
		if !slices.Contains(known, id) {
			unknown = id // bytes of byte-level vocabularies count too, and do not occur
		}
	}
	count := 0
	for _, t := range texts {
		ids := m.tok.Encode(m.spec.Text.Prefix+m.spec.Text.canonical(string(t)), nil)
		e.Tokens += len(ids) - m.tok.Specials()
		for _, id := range ids {
			if id == unknown {
				count++
			}
		}
	}
	if e.Unknown = float64(count) / float64(max(e.Tokens, 1)); e.Unknown > 0.1 {
		e.fault("is it the tokenizer's file of this model, and does the model know Western languages? lowercase may be missing", "the tokenizer does not know %.0f %% of the example texts' tokens", 100*e.Unknown)
	}
}

// judgeLength runs a text of as many tokens as the spec allows, and looks whether
// padding moves a shorter one.
func (m *Model) judgeLength(ctx context.Context, e *Examination) error {
	longest, err := m.tokenize([]byte(strings.Repeat("a word of the sea ", 4+m.spec.Text.MaxTokens/2)))
	if err != nil {
		return err
	}
	if len(longest.(tokens)) > 2048 { // seconds of work
		longest = longest.(tokens)[:2048]
	}
	v := make([]float32, 2*m.spec.Dim)
	if err := m.Run(ctx, []embedding.Input{longest}, v[:m.spec.Dim]); err != nil {
		if ctx.Err() != nil {
			return err
		}
		e.fault("write fewer text.max_tokens: is there a table of positions that ends earlier?", "a text of %d tokens fails: %v", longest.Len(), err)
		return nil
	}
	short, err := m.tokenize([]byte("a red apple"))
	if err != nil || m.fixedRows == 1 {
		return err
	}
	alone := make([]float32, m.spec.Dim)
	if err := m.run(ctx, []embedding.Input{short}, alone); err != nil {
		return err
	}
	if err := m.run(ctx, []embedding.Input{short, longest}, v); err != nil {
		return err
	}
	normalize(alone)
	normalize(v[:m.spec.Dim])
	by := 0.0
	for i, x := range alone {
		by = max(by, math.Abs(float64(x)-float64(v[i])))
	}
	if by > m.Tolerance() && !m.spec.BatchDependent {
		e.fault("are the roles of the inputs right, is there a mask? Write text.pad_to for models that were trained with padding", "a short text's vector moves by %.2g when it is padded to %d tokens", by, longest.Len())
	}
	return nil
}

//go:embed convert/references/*.jpg
var photos embed.FS

// examples are pictures or texts that have little in common.
func (m *Model) examples() (data [][]byte, err error) {
	if m.spec.Kind == Text {
		for _, t := range []string{
			"A ripe red apple hangs on the tree.",
			"The train to the airport leaves in ten minutes from platform 4.",
			"Der Vertrag endet mit Ablauf des Kalenderjahres.",
			"def add(a, b): return a + b",
			"She laughed, closed the book and went to sleep.",
			"owl",
		} {
			data = append(data, []byte(t))
		}
		return data, nil
	}
	files, err := fs.Glob(photos, "convert/references/*.jpg")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := photos.ReadFile(f)
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	drawn, err := drawing()
	return append(data, drawn), err
}

// drawing is a red ball on a meadow.
func drawing() ([]byte, error) {
	im := image.NewRGBA(image.Rect(0, 0, 320, 240))
	for y := range 240 {
		for x := range 320 {
			c := color.RGBA{120, 180, uint8(255 - y/2), 255}
			if y > 150 {
				c = color.RGBA{40, uint8(110 + (x*7+y*13)%60), 30, 255}
			}
			if (x-160)*(x-160)+(y-130)*(y-130) < 70*70 {
				c = color.RGBA{uint8(230 - (x-100)/3), 30, 25, 255}
			}
			im.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, im)
	return b.Bytes(), err
}
