package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// gpu skips a test where there is no GPU that works.
func gpu(t testing.TB) []Device {
	t.Helper()
	list, _, err := Devices(CUDA)
	if err != nil {
		t.Skipf("SKIPPED, no CUDA device: %v", err)
	}
	return list
}

func TestParseDevice(t *testing.T) {
	for _, c := range []struct {
		name string
		want request
		ok   bool
	}{
		{"", request{auto, -1}, true},
		{"auto", request{auto, -1}, true},
		{"cpu", request{CPU, 0}, true},
		{"cuda", request{CUDA, -1}, true},
		{"cuda:0", request{CUDA, 0}, true},
		{"cuda:12", request{CUDA, 12}, true},
		{"tensorrt", request{TensorRT, -1}, true},
		{"tensorrt:3", request{TensorRT, 3}, true},
		{"gpu", request{}, false},
		{"cuda:", request{}, false},
		{"cuda:-1", request{}, false},
		{"cuda:x", request{}, false},
		{"cuda:99999999999", request{}, false},
		{"cpu:0", request{}, false},
		{"auto:0", request{}, false},
		{"CUDA", request{}, false},
	} {
		got, err := parseDevice(c.name)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %+v, %v", c.name, got, err)
		}
		if (CheckDevice(c.name) == nil) != c.ok {
			t.Errorf("CheckDevice(%q)", c.name)
		}
	}
	if KindOf("tensorrt:1") != TensorRT || KindOf("cpu") != CPU || KindOf("") != auto || KindOf("x") != auto {
		t.Error("KindOf")
	}
}

// TestDevices puts faults where the driver and the provider are asked.
func TestDevices(t *testing.T) {
	two := func() (*Driver, error) {
		return &Driver{13000, []GPU{{Name: "H100"}, {Name: "H100"}}}, nil
	}
	none := func() (*Driver, error) { return nil, errors.New("no NVIDIA driver: libcuda.so.1: not found") }
	works := func(Device) error { return nil }
	broken := func(d Device) error { return fmt.Errorf("no cuBLAS for %s", d.Kind) }
	for _, c := range []struct {
		device string
		m      machine
		want   string // devices
		why    string // in the reason, or in the error where want is empty
	}{
		{"cpu", machine{none, broken}, "cpu", ""},
		{"auto", machine{two, works}, "cuda:0 cuda:1", ""},
		{"", machine{two, works}, "cuda:0 cuda:1", ""},
		{"auto", machine{none, works}, "cpu", "no NVIDIA driver"},
		{"auto", machine{two, broken}, "cpu", "no cuBLAS for cuda"},
		{"cuda", machine{two, works}, "cuda:0 cuda:1", ""},
		{"cuda:1", machine{two, works}, "cuda:1", ""},
		{"tensorrt", machine{two, works}, "tensorrt:0 tensorrt:1", ""},
		{"tensorrt:0", machine{two, works}, "tensorrt:0", ""},
		{"cuda:2", machine{two, works}, "", "device cuda:2: the driver knows GPUs 0 to 1 only (2 × H100); correct the number"},
		{"cuda", machine{none, works}, "", "device cuda: no NVIDIA driver: libcuda.so.1: not found; run where"},
		{"cuda:0", machine{two, broken}, "", "device cuda:0: no cuBLAS for cuda; it needs onnxruntime-gpu"},
		{"tensorrt", machine{two, broken}, "", "TensorRT 10"},
		{"gpu", machine{two, works}, "", "use auto, cpu"},
	} {
		list, why, err := c.m.devices(c.device)
		var names []string
		for _, d := range list {
			names = append(names, d.String())
		}
		got := strings.Join(names, " ")
		said := why
		if err != nil {
			said = err.Error()
		}
		if got != c.want || (err == nil) != (c.want != "") || !strings.Contains(said, c.why) || c.why == "" && said != "" {
			t.Errorf("%q: %q, why %q, error %v", c.device, got, why, err)
		}
	}
}

func TestCheckNodes(t *testing.T) {
	nodes := []node{{"CUDAExecutionProvider", "Conv"}, {"CPUExecutionProvider", "Shape"}, {"CPUExecutionProvider", "Gather"}}
	if err := checkNodes(nodes); err != nil {
		t.Errorf("shapes on the processor: %v", err)
	}
	err := checkNodes(append(nodes, node{"CPUExecutionProvider", "QLinearConv"}, node{"CPUExecutionProvider", "MatMulInteger"}, node{"CPUExecutionProvider", "QLinearConv"}))
	if err == nil || !strings.Contains(err.Error(), "3 of the model's 4 large operators") || !strings.Contains(err.Error(), "MatMulInteger, QLinearConv") {
		t.Errorf("a quantised model: %v", err)
	}
}

func TestOutOfMemory(t *testing.T) {
	for text, want := range map[string]bool{
		"BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 17179869184": true,
		"Available memory of 512 is smaller than requested bytes of 1024":                                  true,
		"CUDA failure 2: out of memory ; GPU=0 ; hostname=x":                                               true,
		"CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0":                                             true,
		"CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED":                                                       true,
		"std::bad_alloc":                             true,
		"TensorRT: Error Code 2: OutOfMemory (":      true,
		"CUDA failure 700: an illegal memory access": false,
		"Got invalid dimensions for input":           false,
	} {
		if outOfMemory(errors.New(text)) != want {
			t.Errorf("%q", text)
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{
		"/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse Unknown provider option: \"no_such\".": "Unknown provider option: \"no_such\"",
		"[ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:187 Parse Failed to parse provider option \"device_id\": CUDA failure 36: API call is not supported in the installed CUDA driver ; GPU=-1 ; hostname=vm ; file=/x.cc ; line=70 ; expr=cudaGetDeviceCount(&n);":                                                                      "Failed to parse provider option \"device_id\": CUDA failure 36: API call is not supported in the installed CUDA driver",
		"/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* f(size_t) Failed to allocate memory for requested buffer of size 1024":                                                                                                                                                                                                    "Failed to allocate memory for requested buffer of size 1024",
		"Got invalid dimensions for input: x.": "Got invalid dimensions for input: x",
	} {
		if got := shorten(fmt.Errorf("Error running network: %w", errors.New(text))).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func bound(t testing.TB, name string, o Options) *Session {
	o.bind = true
	return open(t, name, o)
}

// TestBinding goes the GPU's way on the processor: bound inputs and outputs, memory
// of the session's allocator, and where the operators went.
func TestBinding(t *testing.T) {
	s := bound(t, "means.onnx", Options{Inputs: []string{"pixels"}, Output: "means"})
	want := []float32{0, 1, 2, 0, 2, 4}
	in := picture(2)
	in.Float32 = Grow[float32](s, nil, 144)
	copy(in.Float32, picture(2).Float32)
	for range 3 {
		var out Tensor
		if err := s.Run(t.Context(), []Tensor{in}, &out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.Float32, want) || !slices.Equal(out.Shape, []int64{2, 3, 1, 1}) {
			t.Errorf("got %v of shape %v", out.Float32, out.Shape)
		}
		given := Tensor{Shape: []int64{2, 3, 1, 1}, Float32: Grow[float32](s, nil, 6)}
		if err := s.Run(t.Context(), []Tensor{in}, &given); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(given.Float32, want) {
			t.Errorf("got %v in the given tensor", given.Float32)
		}
	}
	if len(s.bindings) != 1 {
		t.Errorf("%d bindings wait after one run at a time", len(s.bindings))
	}
	wrong := picture(1)
	wrong.Shape = []int64{1, 3, 6, 4}
	var out Tensor
	if err := s.Run(t.Context(), []Tensor{wrong}, &out); err == nil || strings.Contains(err.Error(), ".cc:") {
		t.Errorf("a wrong shape: %v", err)
	}
	if err := s.Run(t.Context(), nil, &out); err == nil {
		t.Error("no input, no error")
	}
	small := Tensor{Shape: []int64{1, 3, 1, 1}, Float32: make([]float32, 3)}
	if err := s.Run(t.Context(), []Tensor{in}, &small); err == nil {
		t.Error("an output of the wrong shape was taken")
	}
	nodes, err := assignment(s.s)
	if err != nil || len(nodes) == 0 || nodes[0].provider != "CPUExecutionProvider" || nodes[0].operator == "" {
		t.Errorf("assignment: %v, %v", nodes, err)
	}
}

func TestGrow(t *testing.T) {
	s := bound(t, "means.onnx", Options{Inputs: []string{"pixels"}, Output: "means"})
	a := Grow[int64](s, nil, 10)
	if len(a) != 10 || len(s.mem.blocks) != 1 {
		t.Fatalf("%d numbers, %d blocks", len(a), len(s.mem.blocks))
	}
	b := Grow(s, a, 4)
	if len(b) != 4 || &a[0] != &b[0] {
		t.Error("memory that is large enough was not kept")
	}
	if c := Grow(s, b, 11); len(c) != 11 || len(s.mem.blocks) != 1 {
		t.Errorf("after growth %d blocks", len(s.mem.blocks))
	}
	if c := Grow(s, make([]int64, 2), 3); len(c) != 3 || len(s.mem.blocks) != 2 {
		t.Error("Go's memory did not grow")
	}
	plain := means(t)
	if c := Grow[float32](plain, nil, 5); len(c) != 5 || plain.mem != nil {
		t.Error("on the processor")
	}
}

// TestBindingStops cancels a bound run that would take days, from many goroutines.
func TestBindingStops(t *testing.T) {
	s := bound(t, "loop.onnx", Options{Inputs: []string{"times"}, Output: "sum"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var out Tensor
			if err := s.Run(ctx, []Tensor{{Shape: []int64{1}, Int64: []int64{1 << 40}}}, &out); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a run that was cut ended with %v", err)
			}
		})
	}
	wg.Wait()
	var out Tensor
	if err := s.Run(t.Context(), []Tensor{{Shape: []int64{1}, Int64: []int64{5}}}, &out); err != nil || out.Float32[0] != 5 {
		t.Errorf("after a cancelled run: %v, %v", out.Float32, err)
	}
}

// TestManySessions opens and closes sessions and their memory: what is left behind
// shows as growth.
func TestManySessions(t *testing.T) {
	library(t)
	cycle := func() {
		s, err := Open("testdata/means.onnx", Options{Inputs: []string{"pixels"}, Output: "means", bind: true})
		if err != nil {
			t.Fatal(err)
		}
		in := picture(2)
		in.Float32 = Grow[float32](s, nil, 1<<18)[:len(in.Float32)] // 1 MiB
		clear(in.Float32)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				var out Tensor
				if err := s.Run(t.Context(), []Tensor{in}, &out); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		cycle()
	}
	before := resident(t)
	for range 60 {
		cycle()
	}
	if grown := resident(t) - before; grown > 24<<20 {
		t.Errorf("60 sessions left %d MiB", grown>>20)
	}
}

// resident is the memory of the process in bytes.
func resident(t *testing.T) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("SKIPPED, this system does not tell the memory of a process")
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestProviders(t *testing.T) {
	library(t)
	list, err := Providers()
	if err != nil || !slices.Contains(list, "CPUExecutionProvider") {
		t.Errorf("%v, %v", list, err)
	}
}

// TestDriver reads the answers of a driver's library, and its faults, through the
// same functions as NVIDIA's.
func TestDriver(t *testing.T) {
	if _, err := queryDriver("libnone-such.so.1"); err == nil || !strings.Contains(err.Error(), "no NVIDIA driver") {
		t.Errorf("no library: %v", err)
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("SKIPPED, no C compiler")
	}
	dir := t.TempDir()
	build := func(name string, flags ...string) string {
		lib := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), compiler, append(flags, "-shared", "-fPIC", "-o", lib, "testdata/driver.c")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return lib
	}
	d, err := queryDriver(build("good.so", "-DCOUNT=2"))
	if err != nil || d.Version != 13000 || len(d.GPUs) != 2 || d.GPUs[1] != (GPU{"Card 1", 80 << 30, 9, 0}) {
		t.Errorf("%+v, %v", d, err)
	}
	for name, c := range map[string][2]string{
		"cuInit":           {"-DINIT=999", "does not work: cuInit: words of 999 (999)"},
		"no device":        {"-DINIT=100", "cuInit: words of 100 (100)"},
		"no GPU":           {"-DCOUNT=0", "sees no GPU"},
		"cuDeviceGetName":  {"-DNAME=3", "does not tell of GPU 0: cuDeviceGetName"},
		"another library":  {"-DcuInit=other", "it is no NVIDIA driver"},
		"cuDeviceTotalMem": {"-DMEMORY=2", "cuDeviceTotalMem"},
	} {
		if _, err := queryDriver(build(strings.ReplaceAll(name, " ", "-")+".so", c[0])); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCUDAIsAskedFor: a GPU that is not there is an error with its fix.
func TestCUDAIsAskedFor(t *testing.T) {
	library(t)
	if _, err := ReadDriver(); err == nil {
		t.Skip("SKIPPED, there is a GPU")
	}
	o := Options{Device: Device{CUDA, 0}, Inputs: []string{"pixels"}, Output: "means"}
	if s, err := Open("testdata/means.onnx", o); err == nil {
		s.Close()
		t.Error("a session without a GPU")
	} else if !strings.Contains(err.Error(), "device cuda:0") || !strings.Contains(err.Error(), "onnxruntime-gpu") || strings.Contains(err.Error(), ".cc:") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

// TestOnGPU compares every GPU with the processor.
func TestOnGPU(t *testing.T) {
	for _, d := range gpu(t) {
		s := open(t, "means.onnx", Options{Device: d, Inputs: []string{"pixels"}, Output: "means"})
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				for range 50 {
					var out Tensor
					if err := s.Run(t.Context(), []Tensor{picture(n + 1)}, &out); err != nil || out.Float32[len(out.Float32)-1] != float32(2*(n+1)) {
						t.Errorf("on %s: %v, %v", d, out.Float32, err)
					}
				}
			})
		}
		wg.Wait()
		if s.mem == nil {
			t.Errorf("%s: no page-locked memory", d)
		}
	}
}
