package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"winnow/models/onnx"
)

// readGraph compares the spec with the model's own inputs and outputs, and cuts the
// model where the spec's output is. It returns what to open and under which names;
// the device is still to be said.
func (m *Model) readGraph(path string) (onnx.Options, error) {
	s := m.spec
	o := onnx.Options{Output: s.Output}
	g, err := onnx.Inspect(path)
	if err != nil {
		return o, err
	}
	m.traits(g)
	part := &onnx.Part{Inputs: g.Inputs, Outputs: g.Outputs}
	if !g.Whole(s.Output) {
		cut := onnx.CutOptions{Outputs: []string{s.Output}, Float32: true}
		for _, in := range s.Inputs {
			cut.Inputs = append(cut.Inputs, in.Name)
		}
		if part, err = g.Cut(cut); err != nil {
			return o, err
		}
		o.Data, o.Output = part.Data, part.Outputs[0].Name
	}
	for _, in := range s.Inputs {
		o.Inputs = append(o.Inputs, part.FedAs(in.Name))
	}
	return o, m.checkGraph(g, part)
}

// checkGraph compares the spec with the model's inputs and outputs. part is what
// runs of the model.
func (m *Model) checkGraph(g *onnx.Graph, part *onnx.Part) error {
	s := m.spec
	var errs []error
	for _, have := range g.Inputs {
		named := slices.ContainsFunc(s.Inputs, func(in Input) bool { return in.Name == have.Name })
		fed := part.FedAs(have.Name)
		if !named && slices.ContainsFunc(part.Inputs, func(v onnx.Value) bool { return v.Name == fed }) {
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
	out := part.Outputs[0]
	m.outRank, m.openDim = len(out.Dims), out.Size(1) < 0
	if out.DType != "float32" {
		errs = append(errs, fmt.Errorf("the output %v is not of floats", out))
	}
	return errors.Join(append(errs, s.checkOutput(out))...)
}

// checkOutput compares dim and pooling with the output's shape, as far as the file
// states it.
func (s *Spec) checkOutput(out onnx.Value) error {
	if len(out.Dims) < 2 {
		return nil
	}
	size := int64(1) // of what must be output_dim numbers: all but the batch, or the last
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
	if size != int64(s.OutputDim) {
		fix := "correct dim or pooling in the spec"
		if size > int64(s.OutputDim) && from == len(out.Dims)-1 {
			fix = fmt.Sprintf("correct dim, or write output_dim: %d too to keep the first %d numbers of each", size, s.Dim)
		}
		return fmt.Errorf("the output %v does not give vectors of dim %d; %s", out, s.OutputDim, fix)
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
		if len(have.Dims) != 0 && len(have.Dims) != 2 {
			return fmt.Errorf("the input %v does not take [batch, tokens]", have)
		}
		n := int(have.Size(1))
		if to := m.spec.Text.PadTo; n > 0 && to > 0 && to != n {
			return fmt.Errorf("the input %v takes %d tokens; text.pad_to is %d", have, n, to)
		}
		m.fixedTokens = max(n, m.spec.Text.PadTo, m.fixedTokens)
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
