package model

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"winnow/jobs/internal/job"
	"winnow/models/onnx"
	"winnow/pipeline"
)

// InspectCmd is the command model inspect.
type InspectCmd struct {
	File string `arg:"" type:"existingfile" help:"An ONNX file."`
}

// Help shows examples.
func (*InspectCmd) Help() string {
	return `Lists what an ONNX file takes and gives, and its layers that may serve as embeddings, each with the
lines for a model spec. Any tensor may be the output of a spec: the model is cut there when it is loaded.

Examples:
  winnow model inspect model.onnx
  winnow model inspect model.onnx --json | jq -r '.layers[0].yaml'

Exit status: 0 done, 1 failed, 2 usage.`
}

// Tensor is an input, an output or a layer.
type Tensor struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"` // numbers, names of sizes that vary, or "?"
}

func tensors(values []onnx.Value) []Tensor {
	out := make([]Tensor, len(values))
	for i, v := range values {
		out[i] = tensor(v)
	}
	return out
}

func tensor(v onnx.Value) Tensor { return Tensor{v.Name, v.DType, append([]string{}, v.Dims...)} }

// Layer is a tensor that may serve as an embedding.
type Layer struct {
	Tensor
	Op   string `json:"op"`
	What string `json:"what"`
	YAML string `json:"yaml"` // lines of a spec
}

// Inspected is what a file is.
type Inspected struct {
	File       string   `json:"file"`
	Bytes      int64    `json:"bytes"`
	Parameters int64    `json:"parameters"`
	Opset      int64    `json:"opset"`
	Producer   string   `json:"producer,omitempty"`
	Nodes      int      `json:"nodes"`
	Inputs     []Tensor `json:"inputs"`
	Outputs    []Tensor `json:"outputs"`
	Layers     []Layer  `json:"layers"`
	Warning    string   `json:"warning,omitempty"` // why some shapes or the layers are not known
	Spec       string   `json:"spec,omitempty"`    // a spec to begin with
}

// Run inspects and prints.
func (c *InspectCmd) Run(ctx context.Context, app *job.App) error {
	r, err := inspect(ctx, c.File)
	if err != nil {
		return err
	}
	return app.Print(r, r.Print)
}

func inspect(ctx context.Context, file string) (*Inspected, error) {
	g, err := onnx.Inspect(file)
	if err != nil {
		return nil, err
	}
	r := &Inspected{
		File: file, Bytes: g.Size, Parameters: g.Parameters, Opset: g.Opset, Producer: g.Producer, Nodes: len(g.Nodes),
		Inputs: tensors(g.Inputs), Outputs: tensors(g.Outputs), Layers: []Layer{},
	}
	layers, err := g.Layers(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		r.Warning = err.Error()
	}
	for _, l := range layers {
		yaml := fmt.Sprintf("output: %s\ndim: %d\n", quote(l.Name), l.Dim)
		if l.Pooling != "none" {
			yaml += "pooling: " + l.Pooling + "\n"
		}
		r.Layers = append(r.Layers, Layer{Tensor: tensor(l.Value), Op: l.Op, What: l.What, YAML: yaml})
	}
	if len(r.Layers) > 0 {
		r.Spec = specFor(g, r.Layers[0])
	}
	return r, nil
}

// quote writes a name so that YAML reads it as text.
func quote(name string) string {
	for _, r := range name {
		if !strings.ContainsRune("_-./", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Sprintf("%q", name)
		}
	}
	if name == "" || strings.Trim(name, "0123456789.-") == "" || strings.HasPrefix(name, "-") {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// specFor drafts a spec: what the file says, and what its user has to know.
func specFor(g *onnx.Graph, layer Layer) string {
	var b strings.Builder
	base := filepath.Base(g.Path)
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("._-", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, strings.TrimSuffix(base, filepath.Ext(base)))
	picture, size, layout := false, "224", "nchw"
	var inputs strings.Builder
	for _, v := range g.InputsOf(layer.Name) {
		role := "ids"
		switch low := strings.ToLower(v.Name); {
		case len(v.Dims) == 4:
			role, picture = "image", true
			h, w := v.Size(2), v.Size(3)
			if v.Size(3) == 3 {
				layout, h, w = "nhwc", v.Size(1), v.Size(2)
			}
			if h > 0 && w > 0 {
				size = fmt.Sprintf("[%d, %d]", h, w)
			}
		case strings.Contains(low, "mask"):
			role = "mask"
		case strings.Contains(low, "type"):
			role = "type_ids"
		}
		fmt.Fprintf(&inputs, "  - {name: %s, role: %s, dtype: %s}\n", quote(v.Name), role, v.DType)
	}
	kind := "text"
	if picture {
		kind = "image"
	}
	fmt.Fprintf(&b, "name: %s\nkind: %s\nmodel: {file: %s}\ninputs:\n%s%s", name, kind, quote(base), inputs.String(), layer.YAML)
	if picture {
		fmt.Fprintf(&b, "image:   # as the model was trained\n  size: %s\n  fit: squash        # or crop, letterbox\n  divide: 255\n  mean: [0.485, 0.456, 0.406]\n  std: [0.229, 0.224, 0.225]\n  layout: %s\n", size, layout)
	} else {
		fmt.Fprint(&b, "text:\n  tokenizer: {kind: huggingface, file: tokenizer.json}\n  max_tokens: 512   # as the model was trained\n")
	}
	return b.String()
}

// Print writes what a file is for people.
func (r *Inspected) Print(out io.Writer) {
	producer := ""
	if r.Producer != "" {
		producer = ", made by " + r.Producer
	}
	fmt.Fprintf(out, "%s: %s, %s parameters, %d operations, opset %d%s\n", r.File, bytesOf(r.Bytes), short(r.Parameters), r.Nodes, r.Opset, producer)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	show := func(t Tensor) string { return t.DType + "[" + strings.Join(t.Shape, ", ") + "]" }
	for _, t := range r.Inputs {
		fmt.Fprintf(tw, "  input\t%s\t%s\n", t.Name, show(t))
	}
	for _, t := range r.Outputs {
		fmt.Fprintf(tw, "  output\t%s\t%s\n", t.Name, show(t))
	}
	tw.Flush()
	if len(r.Layers) > 0 {
		fmt.Fprintln(out, "\nlayers for embeddings, the likeliest first, with the lines of a spec (pooling may be cls or last, too):")
	}
	for _, l := range r.Layers {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", l.What, l.Op, show(l.Tensor), strings.ReplaceAll(strings.TrimSpace(l.YAML), "\n", "; "))
	}
	tw.Flush()
	if r.Warning != "" {
		fmt.Fprintf(out, "\n%s\n", r.Warning)
	}
	if r.Spec != "" {
		fmt.Fprintf(out, "\na spec to begin with; winnow model check says what is wrong with it:\n\n    %s\n", strings.ReplaceAll(strings.TrimSpace(r.Spec), "\n", "\n    "))
	}
}

func bytesOf(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func short(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}

// CutCmd is the command model cut.
type CutCmd struct {
	File   string `arg:"" type:"existingfile" help:"An ONNX file."`
	Tensor string `arg:"" help:"The tensor that becomes the output."`
	Out    string `short:"o" required:"" help:"The file to write." placeholder:"FILE" type:"path"`
}

// Help shows examples.
func (*CutCmd) Help() string {
	return `Writes an ONNX file that computes one tensor of another: its output is that tensor, and what the tensor
does not need is left out. A spec needs no such file, since its output may name any tensor; other
programs may, and a large model whose rest is dead weight becomes smaller.

Example:
  winnow model cut classifier.onnx avg_pool -o features.onnx

Exit status: 0 done, 1 failed, 2 usage.`
}

// Run cuts and writes.
func (c *CutCmd) Run(_ context.Context, app *job.App) error {
	if from, err := os.Stat(c.File); err == nil {
		if to, err := os.Stat(c.Out); err == nil && os.SameFile(from, to) {
			return pipeline.Usagef("%s would be written over itself, and the rest of the model be lost; write to another file", c.File)
		}
	}
	g, err := onnx.Inspect(c.File)
	if err != nil {
		return err
	}
	p, err := g.Cut(onnx.CutOptions{Outputs: []string{c.Tensor}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, p.Data, 0o644); err != nil {
		return err
	}
	result := struct {
		File    string   `json:"file"`
		Bytes   int      `json:"bytes"`
		Inputs  []Tensor `json:"inputs"`
		Outputs []Tensor `json:"outputs"`
	}{c.Out, len(p.Data), tensors(p.Inputs), tensors(p.Outputs)}
	return app.Print(result, func(out io.Writer) {
		fmt.Fprintf(out, "wrote %s: %s of %s, output %v\n", c.Out, bytesOf(int64(len(p.Data))), bytesOf(g.Size), p.Outputs[0])
	})
}
