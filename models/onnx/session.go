package onnx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// Options of a session.
type Options struct {
	// Device is cpu (or empty), auto, cuda or cuda:N. auto is the CPU in this
	// version. A device that was asked for and is not there is an error.
	Device string
	// Inputs name the model's inputs in the order in which Run gets them.
	Inputs []string
	// Output names the tensor that Run returns.
	Output string
	// Varying says that shapes differ from run to run, as those of texts do: no
	// memory plan is kept for every shape.
	Varying bool
	// Data is the model where it is not the file's, such as a part that was cut out
	// of it. It may be changed once Open has returned.
	Data []byte
}

// Session is a loaded model. It is safe for concurrent use.
type Session struct {
	path   string
	device string
	mu     sync.RWMutex // held for reading while a Run goes on
	s      *ort.DynamicAdvancedSession
}

// Tensor is a value that goes in or comes out: its shape, and numbers of one type.
type Tensor struct {
	Shape   []int64
	Float32 []float32
	Int64   []int64
	Int32   []int32
}

// Open loads a model file.
func Open(path string, o Options) (*Session, error) {
	if err := Init(); err != nil {
		return nil, err
	}
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime: %w", err)
	}
	defer so.Destroy()
	err = errors.Join(
		so.SetIntraOpNumThreads(1),
		so.SetInterOpNumThreads(1),
		so.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		so.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
		so.SetMemPattern(!o.Varying),
	)
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime: %w", err)
	}
	device, err := useDevice(so, o.Device)
	if err != nil {
		return nil, err
	}
	var s *ort.DynamicAdvancedSession
	if o.Data != nil {
		s, err = ort.NewDynamicAdvancedSessionWithONNXData(o.Data, o.Inputs, []string{o.Output}, so)
	} else {
		s, err = ort.NewDynamicAdvancedSession(path, o.Inputs, []string{o.Output}, so)
	}
	if err != nil {
		return nil, missing(path, err)
	}
	return &Session{path: path, device: device, s: s}, nil
}

// CheckDevice reports whether a device's name is one that Open knows.
func CheckDevice(device string) error {
	_, _, err := parseDevice(device)
	return err
}

// parseDevice splits "cuda:1".
func parseDevice(device string) (kind string, number int, err error) {
	kind, n, numbered := strings.Cut(device, ":")
	switch {
	case device == "" || device == "cpu" || device == "auto":
		return "cpu", 0, nil
	case kind == "cuda":
		if numbered {
			number, err = strconv.Atoi(n)
		}
		if err == nil && number >= 0 {
			return "cuda", number, nil
		}
	}
	return "", 0, fmt.Errorf("device %q: use auto, cpu, cuda or cuda:N", device)
}

// useDevice adds the provider of a device and returns the device's full name.
func useDevice(so *ort.SessionOptions, device string) (string, error) {
	kind, number, err := parseDevice(device)
	if err != nil || kind == "cpu" {
		return kind, err
	}
	name := fmt.Sprintf("cuda:%d", number)
	fix := "it needs onnxruntime-gpu's library with libonnxruntime_providers_cuda.so beside it, CUDA 13 and cuDNN 9; use device: cpu where there is no GPU"
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return "", fmt.Errorf("device %s: %w; %s", name, shorten(err), fix)
	}
	defer cuda.Destroy()
	if err := cuda.Update(map[string]string{"device_id": strconv.Itoa(number)}); err != nil {
		return "", fmt.Errorf("device %s: %w; %s", name, shorten(err), fix)
	}
	if err := so.AppendExecutionProviderCUDA(cuda); err != nil {
		return "", fmt.Errorf("device %s: %w; %s", name, shorten(err), fix)
	}
	return name, nil
}

// Device is where the model runs: cpu or cuda:N.
func (s *Session) Device() string { return s.device }

// Close waits for runs that go on and frees the model. It may be called twice.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return nil
	}
	err := s.s.Destroy()
	s.s = nil
	return err
}

// Run computes out from in, tensors in the order of Options.Inputs. Where out has
// a shape and numbers, they are overwritten and the model's output must have that
// shape; otherwise shape and numbers are set. The numbers of all tensors must not
// be touched until Run returns. When ctx ends, the runtime is told to stop, and Run
// returns the context's cause once it has.
func (s *Session) Run(ctx context.Context, in []Tensor, out *Tensor) (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.s == nil {
		return fmt.Errorf("model %s: the session is closed", s.path)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// C keeps the addresses of the numbers from here to the end of the run.
	var pin runtime.Pinner
	defer pin.Unpin()
	var free []ort.Value
	defer func() {
		for _, v := range free {
			err = errors.Join(err, v.Destroy())
		}
	}()
	values := make([]ort.Value, len(in))
	for i := range in {
		if values[i], err = in[i].value(&pin); err != nil {
			return fmt.Errorf("model %s: input %d: %w", s.path, i, err)
		}
		free = append(free, values[i])
	}
	outputs := []ort.Value{nil}
	if out.Float32 != nil {
		if outputs[0], err = out.value(&pin); err != nil {
			return fmt.Errorf("model %s: output: %w", s.path, err)
		}
		free = append(free, outputs[0])
	}
	if err := s.run(ctx, values, outputs); err != nil {
		return err
	}
	if out.Float32 != nil {
		return nil
	}
	free = append(free, outputs[0])
	t, ok := outputs[0].(*ort.Tensor[float32])
	if !ok {
		return fmt.Errorf("model %s: the output has no 32-bit floats", s.path)
	}
	out.Shape, out.Float32 = slices.Clone([]int64(t.GetShape())), t.GetData()
	return nil
}

// run calls the runtime, which stops early when ctx ends.
func (s *Session) run(ctx context.Context, in, out []ort.Value) error {
	opts, err := ort.NewRunOptions()
	if err != nil {
		return fmt.Errorf("ONNX Runtime: %w", err)
	}
	defer opts.Destroy()
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = opts.Terminate()
	})
	err = s.s.RunWithOptions(in, out, opts)
	if !stop() {
		<-told // or opts would be freed under it
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("model %s: %w", s.path, shorten(err))
}

func (t *Tensor) value(pin *runtime.Pinner) (ort.Value, error) {
	shape := ort.NewShape(t.Shape...)
	switch {
	case t.Float32 != nil:
		return pinnedTensor(pin, shape, t.Float32)
	case t.Int64 != nil:
		return pinnedTensor(pin, shape, t.Int64)
	case t.Int32 != nil:
		return pinnedTensor(pin, shape, t.Int32)
	}
	return nil, errors.New("a tensor without numbers")
}

func pinnedTensor[T ort.TensorData](pin *runtime.Pinner, shape ort.Shape, data []T) (ort.Value, error) {
	if int64(len(data)) != shape.FlattenedSize() || len(data) == 0 {
		return nil, fmt.Errorf("%d numbers for the shape %v", len(data), shape)
	}
	pin.Pin(&data[0])
	return ort.NewTensor(shape, data)
}
