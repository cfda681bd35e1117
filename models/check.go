package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"winnow/models/image"
)

var (
	nameForm   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	sha256Form = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// checkZeros finds zeros that a default would hide.
func (s *Spec) checkZeros(d *decoder) {
	zero := func(path string, is bool) {
		if _, there := d.places[path]; there && is {
			d.wrong(path, "write what values are divided by, or leave it out", "%s is 0", path)
		}
	}
	if p := s.Image; p != nil {
		zero("image.divide", p.Divide == 0)
		zero("image.std", p.Std == Channels{})
	}
}

// check finds what is wrong with a spec that was read without problems.
func (s *Spec) check(d *decoder) {
	if !nameForm.MatchString(s.Name) {
		d.wrong("name", "use letters, digits, '.', '-' and '_'", "name is %q", s.Name)
	}
	oneOf(d, "kind", s.Kind, Image, Text)
	s.checkFile(d, "model", s.Model.File, &s.Model.SHA256)
	s.checkInputs(d)
	if s.Output == "" {
		d.wrong("output", "name the model's output tensor", "output is missing")
	}
	oneOf(d, "pooling", s.Pooling, PoolNone, PoolCLS, PoolMean, PoolLast)
	oneOf(d, "normalize", s.Normalize, "l2", "none")
	if s.Dim < 1 || s.Dim > 1<<16 {
		d.wrong("dim", "write the length of the model's vectors", "dim is %d", s.Dim)
	}
	if s.OutputDim < s.Dim || s.OutputDim > 1<<16 {
		d.wrong("output_dim", "write the length of the model's output, of which the first dim numbers are taken, or leave it out", "output_dim is %d, dim is %d", s.OutputDim, s.Dim)
	}
	if s.TextTower != "" && s.Kind == Text {
		d.wrong("text_tower", "remove it; the image spec names its text tower", "text_tower in a spec of kind text")
	}
	if strings.ContainsAny(s.Get, "\r\n") {
		d.wrong("get", "write one line", "get has several lines")
	}
	if s.Batch.CPU < 1 || s.Batch.GPU < 1 || s.Batch.CPU > 4096 || s.Batch.GPU > 4096 {
		d.wrong("batch", "sizes are 1 to 4096", "batch has a size of %d or %d", s.Batch.CPU, s.Batch.GPU)
	}
	section := func(name Kind, there bool) {
		if there != (s.Kind == name) && (s.Kind == Image || s.Kind == Text) {
			d.wrong(string(name), "specs of kind "+string(name)+" have one, others have not", "the section %s does not fit kind %s", name, s.Kind)
		}
	}
	section(Image, s.Image != nil)
	section(Text, s.Text != nil)
	if s.Image != nil {
		s.Image.check(d)
	}
	if s.Text != nil {
		s.Text.check(s, d)
	}
}

// checkFile checks a file and its hash, and notes where there is none.
func (s *Spec) checkFile(d *decoder, path, file string, sum *string) {
	if file == "" {
		d.wrong(join(path, "file"), "name the file; it is looked for beside the spec first", "%s.file is missing", path)
	}
	if _, there := d.places[join(path, "sha256")]; !there {
		s.unpinned = append(s.unpinned, Pin{Field: path})
	} else if !sha256Form.MatchString(*sum) {
		d.wrong(join(path, "sha256"), "write the 64 digits that sha256sum prints for the file, or leave it out", "%s.sha256 is %q", path, *sum)
	}
	*sum = strings.ToLower(*sum)
}

func (s *Spec) checkInputs(d *decoder) {
	allowed := map[Role][]string{
		RoleImage: {"float32", "float16"}, RoleIDs: {"int64", "int32"}, RoleMask: {"int64", "int32", "float32"}, RoleTypeIDs: {"int64", "int32"},
	}
	roles, need := []Role{RoleIDs, RoleMask, RoleTypeIDs}, RoleIDs
	switch s.Kind {
	case Image:
		roles, need = []Role{RoleImage}, RoleImage
	case Text:
	default:
		return // which roles there are depends on it
	}
	seen := map[string]bool{}
	for i, in := range s.Inputs {
		at := fmt.Sprintf("inputs.%d", i)
		if in.Name == "" {
			d.wrong(at, "write the input's name in the ONNX file", "an input has no name")
		}
		if !slices.Contains(roles, in.Role) {
			oneOf(d, at+".role", in.Role, roles...)
			continue
		}
		if !slices.Contains(allowed[in.Role], in.DType) {
			d.wrong(at+".dtype", "write one of "+strings.Join(allowed[in.Role], ", "), "the input %s has dtype %q", in.Name, in.DType)
		}
		if seen[in.Name] || seen["role "+string(in.Role)] {
			d.wrong(at, "keep one", "the input %s, or its role %s, is there twice", in.Name, in.Role)
		}
		seen[in.Name], seen["role "+string(in.Role)] = true, true
	}
	if !seen["role "+string(need)] {
		d.wrong("inputs", "list the model's inputs with their roles", "no input has the role %s", need)
	}
}

func (p *Picture) check(d *decoder) {
	if p.Size.Height == 0 {
		d.wrong("image.size", "write the height and width that the model takes", "image.size is missing")
	}
	oneOf(d, "image.fit", p.Fit, "squash", "crop", "letterbox")
	oneOf(d, "image.filter", p.Filter, image.Filters...)
	oneOf(d, "image.layout", p.Layout, "nchw", "nhwc")
	oneOf(d, "image.channels", p.Channels, "rgb", "bgr")
	oneOf(d, "image.alpha", p.Alpha, "white", "drop")
	oneOf(d, "image.decode", p.Decode, "exact", "fast")
	side := max(p.Size.Height, p.Size.Width)
	switch {
	case p.Fit == "crop" && p.Shortest < side:
		d.wrong("image.shortest", "the crop cannot be larger than what it is cut from", "image.shortest is %d, image.size needs %d", p.Shortest, side)
	case p.Fit != "crop" && p.Shortest != 0:
		d.wrong("image.shortest", "write fit: crop, or remove it", "image.shortest has no meaning with fit: %s", p.Fit)
	case side > 1<<12 || p.Shortest > 1<<12:
		d.wrong("image.size", "sides are at most 4096", "image.size is too large")
	}
	if _, there := d.places["image.fill"]; there && (p.Fit == "squash" || p.Fit == "crop") {
		d.wrong("image.fill", "write fit: letterbox, or remove it", "image.fill has no meaning with fit: %s", p.Fit)
	}
	for _, v := range p.Fill {
		if v != float64(uint8(min(max(v, 0), 255))) { // NaN too
			d.wrong("image.fill", "write whole numbers from 0 to 255: red, green, blue", "image.fill has %v", v)
			break
		}
	}
	finite := func(path string, v float64, zero bool) {
		if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 && !zero {
			d.wrong(path, "", "%s is %v", path, v)
		}
	}
	finite("image.divide", p.Divide, false)
	for i := range p.Mean {
		finite("image.mean", p.Mean[i], true)
		finite("image.std", p.Std[i], false)
	}
}

func (w *Words) check(s *Spec, d *decoder) {
	oneOf(d, "text.tokenizer.kind", w.Tokenizer.Kind, "sentencepiece", "huggingface")
	s.checkFile(d, "text.tokenizer", w.Tokenizer.File, &w.Tokenizer.SHA256)
	if w.Tokenizer.Kind == "huggingface" {
		for _, key := range []string{"text.bos", "text.eos"} {
			if _, there := d.places[key]; there {
				d.wrong(key, "remove it", "%s is for sentencepiece; a tokenizer.json says itself which special tokens it adds", key)
			}
		}
	}
	if w.MaxTokens < 3 || w.MaxTokens > 1<<16 {
		d.wrong("text.max_tokens", "write how many tokens the model takes, 3 to 65536", "text.max_tokens is %d", w.MaxTokens)
	}
	if w.PadID < 0 {
		d.wrong("text.pad_id", "ids are 0 or more", "text.pad_id is %d", w.PadID)
	}
	if w.PadTo != 0 && (w.PadTo < w.MaxTokens || w.PadTo > 1<<16) {
		d.wrong("text.pad_to", "write text.max_tokens or more, or 0 to pad to the longest of a batch", "text.pad_to is %d, text.max_tokens %d", w.PadTo, w.MaxTokens)
	}
}

// hash is the fingerprint: of canonical JSON, so that the order of fields, names
// and places of files do not matter.
func (s *Spec) hash() string {
	type object = map[string]any
	o := object{
		"format": 1, "model": s.Model.SHA256, "output": s.Output, "pooling": s.Pooling, "normalize": s.Normalize, "dim": s.Dim,
	}
	// Fields that came later count where they are not left at their default.
	if s.OutputDim != s.Dim {
		o["output_dim"] = s.OutputDim
	}
	if s.BatchDependent {
		o["batch_dependent"] = true
	}
	inputs := object{}
	for _, in := range s.Inputs {
		inputs[in.Name] = object{"role": in.Role, "dtype": in.DType}
	}
	o["inputs"] = inputs
	if p := s.Image; p != nil {
		picture := object{
			"decoder": image.Generation, "height": p.Size.Height, "width": p.Size.Width, "fit": p.Fit, "shortest": p.Shortest, "filter": p.Filter,
			"divide": p.Divide, "mean": p.Mean, "std": p.Std, "layout": p.Layout, "channels": p.Channels, "alpha": p.Alpha, "exif": p.EXIF, "decode": p.Decode,
		}
		if p.Fill != (Channels{}) {
			picture["fill"] = p.Fill
		}
		o["image"] = picture
	}
	if w := s.Text; w != nil {
		words := object{
			"tokenizer": w.Tokenizer.Kind, "vocabulary": w.Tokenizer.SHA256, "max_tokens": w.MaxTokens, "bos": w.BOS, "eos": w.EOS, "prefix": w.Prefix, "pad_id": w.PadID,
		}
		if w.PadTo != 0 {
			words["pad_to"] = w.PadTo
		}
		if w.Lowercase {
			words["lowercase"] = true
		}
		if w.RemovePunctuation {
			words["remove_punctuation"] = true
		}
		o["text"] = words
	}
	b, err := json.Marshal(o) // keys in order
	if err != nil {
		panic(err) // numbers were checked to be finite
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
