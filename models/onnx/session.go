package onnx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// ErrMemory says that a run found too little memory on its device. A smaller batch
// may fit.
var ErrMemory = errors.New("out of memory")

// Options of a session.
type Options struct {
	Device Device
	// Data is the model itself, where it is not the file as it lies.
	Data []byte
	// Inputs name the model's inputs in the order in which Run gets them.
	Inputs []string
	// Output names the tensor that Run returns.
	Output string
	// Varying says that shapes differ from run to run, as those of texts do: no
	// memory plan is kept for every shape.
	Varying bool
	// Cache is a folder for what TensorRT builds; empty builds it every time.
	Cache string

	bind bool // bind on the processor too: for tests of that way
}

// Session is a loaded model on one device. It is safe for concurrent use.
type Session struct {
	path   string
	device Device
	inputs []string
	output string
	bind   bool
	mu     sync.RWMutex // held for reading while a Run goes on
	s      *ort.DynamicAdvancedSession

	own      sync.Mutex // of what follows
	bindings []*ort.IoBinding
	mem      *memory // nil: Go's own
}

// Tensor is a value that goes in or comes out: its shape, and numbers of one type.
type Tensor struct {
	Shape   []int64
	Float32 []float32
	Int64   []int64
	Int32   []int32
}

// Open loads a model file. A GPU that does not work, or that would leave the work
// to the processor, is an error with the fix.
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
	if o.Device.GPU() || o.bind {
		err = errors.Join(addProvider(so, o.Device, o.Cache), deterministic(so), so.AddSessionConfigEntry("session.record_ep_graph_assignment_info", "1"))
		if err != nil {
			return nil, fmt.Errorf("device %s: %w; %s", o.Device, err, fixOf(o.Device.Kind))
		}
	}
	s := &Session{path: path, device: o.Device, inputs: o.Inputs, output: o.Output, bind: o.bind || o.Device.GPU()}
	if o.Data == nil {
		s.s, err = ort.NewDynamicAdvancedSession(path, o.Inputs, []string{o.Output}, so)
	} else {
		s.s, err = ort.NewDynamicAdvancedSessionWithONNXData(o.Data, o.Inputs, []string{o.Output}, so)
	}
	if err != nil {
		return nil, s.opening(err)
	}
	if s.bind {
		if err := s.prepare(o); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// opening says why a model cannot be loaded.
func (s *Session) opening(err error) error {
	switch {
	case !s.device.GPU():
		return missing(s.path, err)
	case outOfMemory(err):
		return fmt.Errorf("device %s: model %s: %w: %w; free the GPU's memory, take a smaller model, or write device: cpu", s.device, s.path, ErrMemory, shorten(err))
	}
	return fmt.Errorf("device %s: %w; %s", s.device, missing(s.path, err), fixOf(s.device.Kind))
}

// prepare looks at where the operators went, and makes the allocator of the memory
// that a GPU reads by itself.
func (s *Session) prepare(o Options) error {
	gpu := -1
	if s.device.GPU() {
		nodes, err := assignment(s.s)
		if err == nil {
			err = checkNodes(nodes)
		}
		if err != nil {
			return fmt.Errorf("device %s: model %s: %w; a quantised model runs on the processor only: take the float32 or float16 one, or write device: cpu; otherwise %s",
				s.device, s.path, err, fixOf(s.device.Kind))
		}
		gpu = s.device.Number
	}
	mem, err := newMemory(s.s, gpu)
	if err != nil && o.bind {
		return fmt.Errorf("ONNX Runtime: memory of a session: %w", err)
	}
	if err == nil { // else Go's memory serves, a copy slower
		s.mem = mem
	}
	return nil
}

// Device is where the model runs.
func (s *Session) Device() Device { return s.device }

// Close waits for runs that go on and frees the model, and the memory that Grow
// gave. It may be called twice.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return nil
	}
	s.own.Lock()
	defer s.own.Unlock()
	var err error
	for _, b := range s.bindings {
		err = errors.Join(err, b.Destroy())
	}
	if s.mem != nil {
		s.mem.close()
	}
	err = errors.Join(err, s.s.Destroy())
	s.bindings, s.mem, s.s = nil, nil, nil
	return err
}

// Grow returns n numbers of b's memory, or of more where that is too small; their
// values are any. For a GPU it is page-locked memory, which is reused from run to
// run and ends with the session.
func Grow[T float32 | int64 | int32](s *Session, b []T, n int) []T {
	if n <= cap(b) {
		return b[:n]
	}
	s.own.Lock()
	defer s.own.Unlock()
	if s.mem == nil || n == 0 {
		return make([]T, n)
	}
	if cap(b) > 0 {
		s.mem.free(unsafe.Pointer(unsafe.SliceData(b)))
	}
	var one T
	p, err := s.mem.allocate(n * int(unsafe.Sizeof(one)))
	if err != nil {
		return make([]T, n) // no more memory may be locked
	}
	return unsafe.Slice((*T)(p), n)
}

// Run computes out from in, tensors in the order of Options.Inputs. Where out has
// a shape and numbers, they are overwritten and the model's output must have that
// shape; otherwise shape and numbers are set. The numbers of all tensors must not
// be touched until Run returns. When ctx ends, the runtime is told to stop, and Run
// returns the context's cause once it has. Too little memory is ErrMemory.
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
	if s.bind {
		return s.runBound(ctx, values, outputs[0], out)
	}
	err = s.stoppable(ctx, func(opts *ort.RunOptions) error { return s.s.RunWithOptions(values, outputs, opts) })
	if err != nil || out.Float32 != nil {
		return err
	}
	free = append(free, outputs[0])
	t, ok := outputs[0].(*ort.Tensor[float32])
	if !ok {
		return fmt.Errorf("model %s: the output has no 32-bit floats", s.path)
	}
	out.Shape, out.Float32 = slices.Clone([]int64(t.GetShape())), t.GetData()
	return nil
}

// runBound runs with a binding, whose inputs are copied to the GPU as they are
// bound, beside the run of another goroutine. given is out's own memory, or nil.
func (s *Session) runBound(ctx context.Context, in []ort.Value, given ort.Value, out *Tensor) error {
	b, err := s.binding()
	if err != nil {
		return fmt.Errorf("model %s: %w", s.path, shorten(err))
	}
	if err := s.bindAndRun(ctx, b, in, given, out); err != nil {
		return errors.Join(err, b.Destroy())
	}
	b.ClearBoundInputs()
	b.ClearBoundOutputs()
	s.own.Lock()
	s.bindings = append(s.bindings, b)
	s.own.Unlock()
	return nil
}

// binding takes one that waits, or makes one.
func (s *Session) binding() (*ort.IoBinding, error) {
	s.own.Lock()
	defer s.own.Unlock()
	if n := len(s.bindings); n > 0 {
		b := s.bindings[n-1]
		s.bindings = s.bindings[:n-1]
		return b, nil
	}
	return s.s.CreateIoBinding()
}

func (s *Session) bindAndRun(ctx context.Context, b *ort.IoBinding, in []ort.Value, given ort.Value, out *Tensor) error {
	if len(in) != len(s.inputs) {
		return fmt.Errorf("model %s: %d inputs for %d names", s.path, len(in), len(s.inputs))
	}
	for i, v := range in {
		if err := b.BindInput(s.inputs[i], v); err != nil {
			return s.failed(ctx, err)
		}
	}
	bind := func() error { return bindHostOutput(b, s.output) }
	if given != nil {
		bind = func() error { return b.BindOutput(s.output, given) }
	}
	if err := bind(); err != nil {
		return s.failed(ctx, err)
	}
	if err := s.stoppable(ctx, func(opts *ort.RunOptions) error { return runBinding(s.s, b, opts) }); err != nil || given != nil {
		return err
	}
	if err := boundOutput(b, out); err != nil {
		return fmt.Errorf("model %s: %w", s.path, err)
	}
	return nil
}

// stoppable calls the runtime, which stops early when ctx ends.
func (s *Session) stoppable(ctx context.Context, call func(*ort.RunOptions) error) error {
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
	err = call(opts)
	if !stop() {
		<-told // or opts would be freed under it
	}
	if err == nil {
		return nil
	}
	return s.failed(ctx, err)
}

// failed says what the runtime's error means.
func (s *Session) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case outOfMemory(err):
		return fmt.Errorf("model %s on %s: %w: %w", s.path, s.device, ErrMemory, shorten(err))
	}
	return fmt.Errorf("model %s: %w", s.path, shorten(err))
}

// outOfMemory knows the words of ONNX Runtime's arenas, CUDA, cuBLAS, cuDNN and
// TensorRT: the runtime has no code for it.
func outOfMemory(err error) bool {
	text := strings.ToLower(err.Error())
	for _, words := range []string{"failed to allocate memory", "smaller than requested bytes", "out of memory", "outofmemory", "_alloc_failed", "bad_alloc", "bad allocation", "memoryallocation"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
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
