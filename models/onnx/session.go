package onnx

import (
	"context"
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"
)

// Info is one input or output of a model. A dimension of -1 is free.
type Info struct {
	Name  string
	Type  string // such as float32, int64
	Shape []int64
}

// Inspect lists the inputs and outputs of a model file.
func Inspect(path string) (inputs, outputs []Info, err error) {
	if err := Init(); err != nil {
		return nil, nil, err
	}
	in, out, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read model %s: %w", path, err)
	}
	return infos(in), infos(out), nil
}

func infos(list []ort.InputOutputInfo) []Info {
	var out []Info
	for _, i := range list {
		name := i.DataType.String()
		switch i.DataType {
		case ort.TensorElementDataTypeFloat:
			name = "float32"
		case ort.TensorElementDataTypeInt64:
			name = "int64"
		case ort.TensorElementDataTypeInt32:
			name = "int32"
		}
		out = append(out, Info{i.Name, name, i.Dimensions})
	}
	return out
}

// Session runs one model on one thread. It is used by one goroutine at a time.
type Session struct {
	s    *ort.DynamicAdvancedSession
	path string
}

// Open loads a model for a device: auto, cpu, cuda or cuda:N. auto takes the CPU.
func Open(path string, inputs, outputs []string, device string) (*Session, error) {
	if err := Init(); err != nil {
		return nil, err
	}
	o, err := options(device)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Destroy() }()
	s, err := ort.NewDynamicAdvancedSession(path, inputs, outputs, o)
	if err != nil {
		return nil, fmt.Errorf("load model %s: %w", path, err)
	}
	return &Session{s, path}, nil
}

// Close frees the session.
func (s *Session) Close() error { return s.s.Destroy() }

// Tensor is the data of an input: exactly one of Float, Int64 and Int32 is set.
type Tensor struct {
	Shape []int64
	Float []float32
	Int64 []int64
	Int32 []int32
}

func (t Tensor) value() (ort.Value, error) {
	shape := ort.NewShape(t.Shape...)
	switch {
	case t.Float != nil:
		return ort.NewTensor(shape, t.Float)
	case t.Int64 != nil:
		return ort.NewTensor(shape, t.Int64)
	case t.Int32 != nil:
		return ort.NewTensor(shape, t.Int32)
	}
	return nil, errors.New("a tensor without data")
}

// Run computes the one output, float32, and returns its data and shape. When ctx
// ends, the run is told to end and waited for: its tensors live in Go's memory.
func (s *Session) Run(ctx context.Context, inputs []Tensor) (data []float32, shape []int64, err error) {
	values := make([]ort.Value, len(inputs))
	defer func() {
		for _, v := range values {
			if v != nil {
				err = errors.Join(err, v.Destroy())
			}
		}
	}()
	for i, t := range inputs {
		if values[i], err = t.value(); err != nil {
			return nil, nil, fmt.Errorf("input %d of model %s: %w", i, s.path, err)
		}
	}
	ro, err := ort.NewRunOptions()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, ro.Destroy()) }()
	out := []ort.Value{nil}
	if err := s.wait(ctx, values, out, ro); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, out[0].Destroy()) }()
	t, ok := out[0].(*ort.Tensor[float32])
	if !ok {
		return nil, nil, fmt.Errorf("the output of model %s is %v, want float32", s.path, out[0].DataType())
	}
	return append([]float32(nil), t.GetData()...), append([]int64(nil), t.GetShape()...), nil
}

// wait runs the session and, when ctx ends first, terminates the run and waits
// for it.
func (s *Session) wait(ctx context.Context, in, out []ort.Value, ro *ort.RunOptions) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			stopped <- ro.Terminate()
		case <-done:
			stopped <- nil
		}
	}()
	err := s.s.RunWithOptions(in, out, ro)
	close(done)
	terr := <-stopped
	if ctx.Err() != nil {
		for _, v := range out {
			if v != nil {
				_ = v.Destroy()
			}
		}
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("run model %s: %w", s.path, err)
	}
	return terr
}
