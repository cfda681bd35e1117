package models

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"winnow/models/image"
	"winnow/pipeline"
)

// Kind is what a model takes.
type Kind string

const (
	Image Kind = "image"
	Text  Kind = "text"
)

// Role is what an input of a model is for.
type Role string

const (
	RoleImage   Role = "image"    // pixels
	RoleIDs     Role = "ids"      // token ids
	RoleMask    Role = "mask"     // 1 for a token, 0 for padding
	RoleTypeIDs Role = "type_ids" // all 0
)

// Pooling is how an output of several vectors becomes one.
type Pooling string

const (
	PoolNone Pooling = "none" // the output is the vector
	PoolCLS  Pooling = "cls"  // the first one
	PoolMean Pooling = "mean" // the mean over the mask, or of all
	PoolLast Pooling = "last" // the last one where the mask is 1, or of all
)

// Spec describes a model. Specs come from Load and are not changed after.
type Spec struct {
	Name    string `yaml:"name"`    // letters, digits, - and _; the folder below .deps/models
	Licence string `yaml:"licence"` // of the weights
	Source  string `yaml:"source"`  // where they come from
	Get     string `yaml:"get"`     // one line that says how to get files that are not there
	Kind    Kind   `yaml:"kind"`

	Model     File     `yaml:"model"`  // ONNX
	Inputs    []Input  `yaml:"inputs"` // all of the model's inputs
	Output    string   `yaml:"output"` // any tensor of the graph: the model is cut there
	Pooling   Pooling  `yaml:"pooling"`
	Normalize string   `yaml:"normalize"`  // l2 or none
	Dim       int      `yaml:"dim"`        // length of a vector
	OutputDim int      `yaml:"output_dim"` // of the model's; the first dim numbers of it are the vector (Matryoshka)
	Image     *Picture `yaml:"image"`      // what is done to pictures
	Text      *Words   `yaml:"text"`       // what is done to texts
	Batch     Batch    `yaml:"batch"`

	// BatchDependent says that the model's rows depend on their batch mates, as
	// those of dynamically quantised models do. Every row then runs alone, so that
	// vectors do not. Without it such a model is refused.
	BatchDependent bool `yaml:"batch_dependent"`
	// TextTower names the text spec of an image spec's space, by which texts find
	// pictures. It is no part of the fingerprint.
	TextTower string `yaml:"text_tower"`

	path        string // of the file; "" for a shipped spec
	unpinned    []Pin  // what the spec names no hash for
	fingerprint string
}

// Pin is a file whose hash the spec does not state.
type Pin struct {
	Field  string // of the spec: model, or text.tokenizer
	SHA256 string // what the file has; "" before it was looked at
}

// File is a file that a spec needs.
type File struct {
	File   string `yaml:"file"`   // a name, or a path relative to the spec
	SHA256 string `yaml:"sha256"` // 64 hexadecimal digits; left out, the file's own is taken
}

// Input is one of a model's inputs.
type Input struct {
	Name  string `yaml:"name"`
	Role  Role   `yaml:"role"`
	DType string `yaml:"dtype"` // float32, float16, int64 or int32
}

// Picture is what happens to a picture before the model sees it.
type Picture struct {
	Size     Size         `yaml:"size"`     // of the model's input
	Fit      string       `yaml:"fit"`      // squash into the size, crop (shortest side, then the centre), or letterbox (all of it, between bars)
	Fill     Channels     `yaml:"fill"`     // letterbox: colour of the bars, 0 to 255
	Shortest int          `yaml:"shortest"` // crop: length of the shorter side before the crop
	Filter   image.Filter `yaml:"filter"`
	Divide   float64      `yaml:"divide"` // every value is divided by it, then
	Mean     Channels     `yaml:"mean"`   // this is subtracted
	Std      Channels     `yaml:"std"`    // and the rest divided by this
	Layout   string       `yaml:"layout"` // nchw or nhwc
	Channels string       `yaml:"channels"`
	Alpha    string       `yaml:"alpha"`  // white: composited on white; drop: ignored
	EXIF     bool         `yaml:"exif"`   // turn pictures as their EXIF orientation says
	Decode   string       `yaml:"decode"` // exact, or fast: large JPEGs shrink while decoding
}

// Words is what happens to a text before the model sees it.
type Words struct {
	Tokenizer Tokenizer `yaml:"tokenizer"`
	MaxTokens int       `yaml:"max_tokens"` // longer texts are cut, the begin and end ids stay
	BOS       bool      `yaml:"bos"`        // add the begin id
	EOS       bool      `yaml:"eos"`        // add the end id
	Prefix    string    `yaml:"prefix"`     // before every text, such as "query: "
	PadID     int       `yaml:"pad_id"`     // where the mask is 0
	PadTo     int       `yaml:"pad_to"`     // tokens that every text is padded to, for models without a mask; 0: the batch's longest

	Lowercase         bool `yaml:"lowercase"`          // as Python's str.lower, before the prefix is put
	RemovePunctuation bool `yaml:"remove_punctuation"` // ASCII's, and collapse white space, before the prefix is put
}

// Tokenizer is a tokenizer's file.
type Tokenizer struct {
	Kind   string `yaml:"kind"` // sentencepiece, or huggingface: a tokenizer.json
	File   string `yaml:"file"`
	SHA256 string `yaml:"sha256"`
}

// Batch is how many inputs share a run. It is a matter of speed alone.
type Batch struct {
	CPU int `yaml:"cpu"`
	GPU int `yaml:"gpu"`
}

// Size is a height and a width in pixels. In YAML it is [height, width], or one
// number for a square.
type Size struct{ Height, Width int }

func (s *Size) decodeNode(d *decoder, n ast.Node, path string) {
	x := d.numbers(n, path)
	switch len(x) {
	case 0:
		return
	case 1:
		x = append(x, x[0])
	case 2:
	default:
		d.kind(n, path, "a number or [height, width]")
		return
	}
	*s = Size{int(x[0]), int(x[1])}
	if float64(s.Height) != x[0] || float64(s.Width) != x[1] || s.Height < 1 || s.Width < 1 {
		d.kind(n, path, "whole numbers of at least 1")
	}
}

// Channels holds a number for red, green and blue. In YAML it is a list of three,
// or one number for all.
type Channels [3]float64

func (c *Channels) decodeNode(d *decoder, n ast.Node, path string) {
	x := d.numbers(n, path)
	switch len(x) {
	case 0:
	case 1:
		*c = Channels{x[0], x[0], x[0]}
	case 3:
		*c = Channels(x)
	default:
		d.kind(n, path, "one number or three: red, green, blue")
	}
}

//go:embed specs/*.yaml
var shipped embed.FS

// Shipped lists the names of the specs that winnow brings.
func Shipped() []string {
	files, _ := fs.Glob(shipped, "specs/*.yaml")
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// Load reads a spec: a shipped one by its name, or a user's own by the path of its
// YAML file. Problems of the spec come all at once as a *pipeline.UsageError. Of the
// model's files only those are touched that the spec states no hash of: theirs is
// taken, for the fingerprint.
func Load(nameOrPath string) (*Spec, error) {
	s, err := Describe(nameOrPath)
	if err != nil {
		return nil, err
	}
	if err := s.pin(); err != nil {
		return nil, err
	}
	return s, nil
}

// Describe reads a spec as Load does and touches no file of the model. Where the
// spec states no hash of a file, it has no fingerprint.
func Describe(nameOrPath string) (*Spec, error) {
	ext := filepath.Ext(nameOrPath)
	if ext != ".yaml" && ext != ".yml" && !strings.ContainsRune(nameOrPath, filepath.Separator) {
		data, err := shipped.ReadFile("specs/" + nameOrPath + ".yaml")
		if err != nil {
			return nil, pipeline.Usagef("there is no model %q; winnow brings %s, and takes the path of a spec's YAML file", nameOrPath, strings.Join(Shipped(), ", "))
		}
		return parse(nameOrPath+".yaml", "", data)
	}
	path := strings.TrimPrefix(nameOrPath, "file://")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pipeline.Usagef("model spec %s: there is no such file", nameOrPath)
	}
	if err != nil {
		return nil, fmt.Errorf("model spec: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return parse(nameOrPath, path, data)
}

// parse reads and checks a spec. file is its name for people.
func parse(file, path string, data []byte) (*Spec, error) {
	s := &Spec{path: path}
	d := &decoder{file: file}
	if d.decode(data, s); len(d.problems) == 0 {
		s.checkZeros(d)
		s.setDefaults()
		s.check(d)
	}
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b pipeline.Problem) int { return a.Line*1000 + a.Column - b.Line*1000 - b.Column })
		return nil, &pipeline.UsageError{Problems: d.problems}
	}
	if len(s.unpinned) == 0 {
		s.fingerprint = s.hash()
	}
	return s, nil
}

// Tower loads the spec that TextTower names, or returns nil where there is none. A
// path in a user's own spec is relative to it.
func (s *Spec) Tower() (*Spec, error) {
	t, err := s.DescribeTower()
	if err != nil || t == nil {
		return nil, err
	}
	if err := t.pin(); err != nil {
		return nil, fmt.Errorf("text tower of model %s: %w", s.Name, err)
	}
	return t, nil
}

// DescribeTower is Tower as Describe is Load: it touches no file of the model.
func (s *Spec) DescribeTower() (*Spec, error) {
	if s.TextTower == "" {
		return nil, nil
	}
	name := strings.TrimPrefix(s.TextTower, "file://")
	if ext := filepath.Ext(name); s.path != "" && !filepath.IsAbs(name) && (ext == ".yaml" || ext == ".yml") {
		name = filepath.Join(filepath.Dir(s.path), name)
	}
	t, err := Describe(name)
	if err != nil {
		return nil, fmt.Errorf("text tower of model %s: %w", s.Name, err)
	}
	if t.Kind != Text || t.Dim != s.Dim {
		return nil, pipeline.Usagef("model %s: its text_tower %s is of kind %s with vectors of %d numbers, it must be of kind text with %d", s.Name, s.TextTower, t.Kind, t.Dim, s.Dim)
	}
	return t, nil
}

func (s *Spec) setDefaults() {
	set := func(v *string, to string) {
		if *v == "" {
			*v = to
		}
	}
	if s.Pooling == "" {
		s.Pooling = PoolNone
	}
	set(&s.Normalize, "l2")
	if s.OutputDim == 0 {
		s.OutputDim = s.Dim
	}
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if in.Role == RoleImage {
			set(&in.DType, "float32")
		}
		set(&in.DType, "int64")
	}
	batch := Batch{CPU: 32, GPU: 128}
	if p := s.Image; p != nil {
		batch = Batch{CPU: 8, GPU: 64}
		set(&p.Fit, "squash")
		if p.Filter == "" {
			p.Filter = image.Bicubic
		}
		if p.Divide == 0 {
			p.Divide = 1
		}
		if p.Std == (Channels{}) {
			p.Std = Channels{1, 1, 1}
		}
		if p.Fit == "crop" && p.Shortest == 0 {
			p.Shortest = max(p.Size.Height, p.Size.Width)
		}
		set(&p.Layout, "nchw")
		set(&p.Channels, "rgb")
		set(&p.Alpha, "white")
		set(&p.Decode, "exact")
	}
	if s.Batch.CPU == 0 {
		s.Batch.CPU = batch.CPU
	}
	if s.Batch.GPU == 0 {
		s.Batch.GPU = batch.GPU
	}
}

// Fingerprint is 16 hexadecimal digits that change with everything that can
// change a vector, and with nothing else. A spec from Describe may have none.
func (s *Spec) Fingerprint() string { return s.fingerprint }

// Unpinned lists the files whose hash the spec does not state, with the hashes that
// Load took.
func (s *Spec) Unpinned() []Pin { return slices.Clone(s.unpinned) }

// Normalized reports whether vectors have length 1.
func (s *Spec) Normalized() bool { return s.Normalize == "l2" }

// WithDecode is the spec with another way to decode pictures, exact or fast. For
// texts it is the same spec.
func (s *Spec) WithDecode(mode string) (*Spec, error) {
	if mode != "exact" && mode != "fast" {
		return nil, pipeline.Usagef("decode is %q; write exact or fast", mode)
	}
	if s.Image == nil || s.Image.Decode == mode {
		return s, nil
	}
	c, p := *s, *s.Image
	p.Decode = mode
	c.Image = &p
	if c.fingerprint != "" {
		c.fingerprint = c.hash()
	}
	return &c, nil
}
