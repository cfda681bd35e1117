// Package models loads models by their specs: a YAML file that says which ONNX
// file it is, what goes in, which tensor comes out, and what happens before and
// after. Any ONNX model that turns an image or a text into a vector works by
// writing such a spec.
package models

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"lukechampine.com/blake3"

	"winnow/models/image"
	"winnow/models/onnx"
	"winnow/pipeline"
)

// Kind is what a model sees.
type Kind string

// The kinds of models.
const (
	Image Kind = "image"
	Text  Kind = "text"
)

// Spec describes a model.
type Spec struct {
	Name      string     `yaml:"name" json:"name"`
	Licence   string     `yaml:"licence" json:"-"` // of the weights
	Kind      Kind       `yaml:"kind" json:"kind"`
	File      File       `yaml:"file" json:"file"`
	Inputs    Inputs     `yaml:"inputs" json:"inputs"`
	Output    string     `yaml:"output" json:"output"`             // the tensor that holds the vectors
	Pooling   string     `yaml:"pooling" json:"pooling,omitempty"` // of a [batch, tokens, dim] output: none (default), cls, mean
	Normalize string     `yaml:"normalize" json:"normalize"`       // l2 (default) or none
	Dim       int        `yaml:"dim" json:"dim"`                   // numbers a vector
	Batch     int        `yaml:"batch" json:"batch"`               // inputs a batch; a batch's size moves a vector's last bits
	Image     *ImageSpec `yaml:"image" json:"image,omitempty"`
	Text      *TextSpec  `yaml:"text" json:"text,omitempty"`

	dir string // of the spec file; "" for shipped ones
}

// File is a file of a model, beside its spec or in the models' folder.
type File struct {
	Path   string `yaml:"path" json:"-"`
	SHA256 string `yaml:"sha256" json:"sha256"`
}

// Inputs names the model's input tensors. Empty ones do not exist.
type Inputs struct {
	Image   string `yaml:"image" json:"image,omitempty"`       // [batch, 3, height, width] or [batch, height, width, 3], float32
	IDs     string `yaml:"ids" json:"ids,omitempty"`           // [batch, tokens], int64
	Mask    string `yaml:"mask" json:"mask,omitempty"`         // 1 for tokens, 0 for padding; int64 or float32 as the model has it
	TypeIDs string `yaml:"type_ids" json:"type_ids,omitempty"` // zeros, int64
}

// ImageSpec says how a picture becomes a tensor: resized, then (value − mean) /
// std, with values from 0 to 255.
type ImageSpec struct {
	Width    int          `yaml:"width" json:"width"`
	Height   int          `yaml:"height" json:"height"`
	Resize   string       `yaml:"resize" json:"resize"`               // squash (default), or crop: shorter side to `shortest`, then the middle
	Shortest int          `yaml:"shortest" json:"shortest,omitempty"` // of crop; default the larger of width and height
	Filter   image.Filter `yaml:"filter" json:"filter"`               // nearest, box, bilinear, bicubic, lanczos
	Mean     []float64    `yaml:"mean" json:"mean"`
	Std      []float64    `yaml:"std" json:"std"`
	Layout   string       `yaml:"layout" json:"layout"`           // nchw (default) or nhwc
	Channels string       `yaml:"channels" json:"channels"`       // rgb (default) or bgr
	EXIF     bool         `yaml:"exif" json:"exif,omitempty"`     // turn as the EXIF orientation says
	Decode   string       `yaml:"decode" json:"decode,omitempty"` // exact (default), or fast: large JPEGs shrink while they are decoded
}

// TextSpec says how a text becomes ids.
type TextSpec struct {
	Tokenizer Tokenizer `yaml:"tokenizer" json:"tokenizer"`
	AddBOS    bool      `yaml:"add_bos" json:"add_bos"`
	AddEOS    bool      `yaml:"add_eos" json:"add_eos"`
	MaxTokens int       `yaml:"max_tokens" json:"max_tokens"` // special tokens included; what is longer is cut
	Pad       int64     `yaml:"pad" json:"pad"`               // id of padding
}

// Tokenizer is the file that a tokenizer is read from.
type Tokenizer struct {
	Kind   string `yaml:"kind" json:"kind"` // sentencepiece
	Path   string `yaml:"path" json:"-"`
	SHA256 string `yaml:"sha256" json:"sha256"`
}

//go:embed specs/*.yaml
var shipped embed.FS

// Shipped lists the names of the specs that winnow brings.
func Shipped() []string {
	files, err := fs.Glob(shipped, "specs/*.yaml")
	if err != nil {
		panic(err) // a wrong pattern
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	sort.Strings(names)
	return names
}

// Load reads a spec: a shipped one by name, any other by the path of its file.
// Everything wrong with it is reported at once, as a *pipeline.UsageError.
func Load(name string) (*Spec, error) {
	data, err := shipped.ReadFile("specs/" + name + ".yaml")
	file, dir := name, ""
	if err != nil {
		if !strings.ContainsAny(name, `/\`) && !strings.HasSuffix(name, ".yaml") {
			return nil, pipeline.Usagef("there is no model %q; winnow brings %s, and takes the path of any model spec", name, strings.Join(Shipped(), ", "))
		}
		if data, err = os.ReadFile(name); err != nil {
			return nil, &pipeline.UsageError{Problems: []pipeline.Problem{{File: name, What: "the model spec cannot be read: " + errors.Unwrap(err).Error()}}}
		}
		dir = filepath.Dir(name)
	}
	return parse(file, dir, data)
}

func parse(file, dir string, data []byte) (*Spec, error) {
	s := &Spec{dir: dir}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(s); err != nil {
		p := pipeline.Problem{File: file, What: err.Error()}
		var ye yaml.Error
		if errors.As(err, &ye) {
			p.What = ye.GetMessage()
			if t := ye.GetToken(); t != nil && t.Position != nil {
				p.Line, p.Column = t.Position.Line, t.Position.Column
			}
		}
		return nil, &pipeline.UsageError{Problems: []pipeline.Problem{p}}
	}
	s.defaults()
	if what := s.check(); len(what) > 0 {
		var u pipeline.UsageError
		for _, w := range what {
			u.Problems = append(u.Problems, pipeline.Problem{File: file, What: w})
		}
		return nil, &u
	}
	return s, nil
}

func or(s *string, d string) {
	if *s == "" {
		*s = d
	}
}

func (s *Spec) defaults() {
	or(&s.Pooling, "none")
	or(&s.Normalize, "l2")
	if i := s.Image; i != nil {
		or(&i.Resize, "squash")
		or((*string)(&i.Filter), string(image.Bicubic))
		or(&i.Layout, "nchw")
		or(&i.Channels, "rgb")
		or(&i.Decode, "exact")
		if s.Batch == 0 {
			s.Batch = 4
		}
	}
	if s.Text != nil && s.Batch == 0 {
		s.Batch = 32
	}
}

// check returns everything that is wrong.
func (s *Spec) check() []string {
	var out []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	one := func(field, v string, of ...string) {
		for _, x := range of {
			if v == x {
				return
			}
		}
		out = append(out, fmt.Sprintf("%s is %q; write one of %s", field, v, strings.Join(of, ", ")))
	}
	want(s.Name != "", "name is missing")
	want(s.Output != "", "output is missing: name the tensor that holds the vectors")
	want(s.Dim > 0 && s.Dim <= 65536, "dim is %d; write the length of a vector", s.Dim)
	want(s.Batch > 0 && s.Batch <= 1024, "batch is %d; write 1 to 1024", s.Batch)
	one("normalize", s.Normalize, "l2", "none")
	one("pooling", s.Pooling, "none", "cls", "mean")
	want(s.File.Path != "", "file.path is missing")
	want(isSHA(s.File.SHA256), "file.sha256 is not 64 hexadecimal digits; sha256sum prints them")
	switch s.Kind {
	case Image:
		want(s.Text == nil, "an image model has no text section")
		want(s.Inputs.Image != "", "inputs.image is missing: name the input tensor")
		if s.Image == nil {
			return append(out, "the image section is missing")
		}
		out = append(out, s.Image.check()...)
		one("image.resize", s.Image.Resize, "squash", "crop")
		one("image.layout", s.Image.Layout, "nchw", "nhwc")
		one("image.channels", s.Image.Channels, "rgb", "bgr")
		one("image.decode", s.Image.Decode, "exact", "fast")
	case Text:
		want(s.Image == nil, "a text model has no image section")
		want(s.Inputs.IDs != "", "inputs.ids is missing: name the input tensor")
		if s.Text == nil {
			return append(out, "the text section is missing")
		}
		t := s.Text
		one("text.tokenizer.kind", t.Tokenizer.Kind, "sentencepiece")
		want(t.Tokenizer.Path != "", "text.tokenizer.path is missing")
		want(isSHA(t.Tokenizer.SHA256), "text.tokenizer.sha256 is not 64 hexadecimal digits")
		want(t.MaxTokens >= 3, "text.max_tokens is %d; write at least 3", t.MaxTokens)
	default:
		one("kind", string(s.Kind), string(Image), string(Text))
	}
	return out
}

func (i *ImageSpec) check() []string {
	var out []string
	if len(i.Mean) != 3 || len(i.Std) != 3 {
		out = append(out, "image.mean and image.std take three numbers each, for values from 0 to 255")
	}
	for _, x := range i.Std {
		if !(x > 0) {
			out = append(out, "image.std must be above 0")
			break
		}
	}
	if _, err := image.NewDecoder(i.options(), image.Limits{}); err != nil {
		out = append(out, "image: "+err.Error())
	}
	return out
}

func (i *ImageSpec) options() image.Options {
	return image.Options{Width: i.Width, Height: i.Height, Crop: i.Resize == "crop", Shortest: i.Shortest, Filter: i.Filter, EXIF: i.EXIF, Fast: i.Decode == "fast"}
}

func isSHA(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}

// Normalized reports whether the vectors have length 1.
func (s *Spec) Normalized() bool { return s.Normalize == "l2" }

// fingerprintVersion counts changes of the code that move vectors.
//
//	1: first
const fingerprintVersion = 1

// Fingerprint is a hash of everything that changes a vector: 16 hexadecimal
// digits. Names, paths and licences do not.
func (s *Spec) Fingerprint() string {
	c := *s
	c.Name = ""
	raw, err := json.Marshal(struct {
		Version int
		Spec    Spec
	}{fingerprintVersion, c})
	if err != nil {
		panic(err) // numbers that are no JSON were refused by check
	}
	sum := blake3.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// ModelsEnv names a folder of models: each in a folder of its spec's name.
const ModelsEnv = "WINNOW_MODELS"

// find looks for a file of the model: beside its spec, in $WINNOW_MODELS/<name>/,
// in .deps/models/<name>/ above the working directory and the executable, and in
// the system's folder.
func (s *Spec) find(file string) (string, error) {
	if filepath.IsAbs(file) {
		return file, nil
	}
	var dirs []string
	if s.dir != "" {
		dirs = append(dirs, s.dir)
	}
	if d := os.Getenv(ModelsEnv); d != "" {
		dirs = append(dirs, filepath.Join(d, s.Name))
	}
	for _, d := range onnx.Above(filepath.Join(".deps", "models")) {
		dirs = append(dirs, filepath.Join(d, s.Name))
	}
	dirs = append(dirs, "/usr/local/share/winnow/models/"+s.Name)
	for _, d := range dirs {
		if p := filepath.Join(d, file); exists(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("model %s: %s was not found in %s; run make setup, or name the models' folder with %s", s.Name, file, strings.Join(dirs, ", "), ModelsEnv)
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}
