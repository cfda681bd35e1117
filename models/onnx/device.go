package onnx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// The kinds of devices.
const (
	CPU      = "cpu"
	CUDA     = "cuda"
	TensorRT = "tensorrt"
)

// Device is one place where a model runs. The zero value is the processor.
type Device struct {
	Kind   string // CPU (or empty), CUDA or TensorRT
	Number int    // of the GPU
}

// String is cpu, cuda:N or tensorrt:N.
func (d Device) String() string {
	if !d.GPU() {
		return CPU
	}
	return fmt.Sprintf("%s:%d", d.Kind, d.Number)
}

// GPU reports whether d is one.
func (d Device) GPU() bool { return d.Kind == CUDA || d.Kind == TensorRT }

const auto = "auto"

// request is what a device's name asks for.
type request struct {
	kind   string // auto, CPU, CUDA or TensorRT
	number int    // -1: all GPUs
}

func parseDevice(device string) (request, error) {
	kind, n, numbered := strings.Cut(device, ":")
	switch {
	case device == "" || device == auto:
		return request{auto, -1}, nil
	case device == CPU:
		return request{CPU, 0}, nil
	case (kind == CUDA || kind == TensorRT) && !numbered:
		return request{kind, -1}, nil
	case kind == CUDA || kind == TensorRT:
		if number, err := strconv.ParseUint(n, 10, 16); err == nil {
			return request{kind, int(number)}, nil
		}
	}
	return request{}, fmt.Errorf("device %q: use auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N", device)
}

// CheckDevice reports whether a device's name is one that Devices knows.
func CheckDevice(device string) error {
	_, err := parseDevice(device)
	return err
}

// KindOf is the kind of device that a name asks for: CPU, CUDA, TensorRT, or auto
// where that depends on the machine.
func KindOf(device string) string {
	r, err := parseDevice(device)
	if err != nil {
		return auto
	}
	return r.kind
}

const (
	driverFix   = "run where there is an NVIDIA GPU and its driver (containers: docker run --gpus all, or the nvidia.com/gpu resource), or write device: cpu"
	providerFix = "it needs onnxruntime-gpu's library with libonnxruntime_providers_cuda.so beside it, CUDA 13, cuDNN 9 and a driver of version 580 or newer (Dockerfile, target cuda, shows how); name the library with " +
		LibraryEnv + ", or write device: cpu"
	tensorFix = "it needs onnxruntime-gpu's library with libonnxruntime_providers_tensorrt.so beside it, TensorRT 10, CUDA 13, cuDNN 9 and a driver of version 580 or newer; name the library with " +
		LibraryEnv + ", or write device: cuda or cpu"
)

func fixOf(kind string) string {
	if kind == TensorRT {
		return tensorFix
	}
	return providerFix
}

// machine is what Devices asks of a machine; tests put faults in its place.
type machine struct {
	driver   func() (*Driver, error)
	provider func(Device) error
}

var thisMachine = machine{driver: ReadDriver, provider: tryProvider}

// ReadDriver asks NVIDIA's driver for its GPUs. Without a driver, or a GPU, the
// error says so.
func ReadDriver() (*Driver, error) { return queryDriver("libcuda.so.1") }

// Devices finds the devices that a name asks for: every GPU for cuda and tensorrt,
// one for cuda:N. A GPU that was asked for and does not work is an error with the
// fix. auto is every GPU where the driver and the CUDA provider work, else the
// processor; why says what kept it from a GPU.
func Devices(device string) (list []Device, why string, err error) {
	return thisMachine.devices(device)
}

func (m machine) devices(device string) (list []Device, why string, err error) {
	r, err := parseDevice(device)
	if err != nil {
		return nil, "", err
	}
	if r.kind == CPU {
		return []Device{{}}, "", nil
	}
	kind := r.kind
	if kind == auto {
		kind = CUDA
	}
	list, err = m.gpus(kind, r.number)
	switch {
	case err == nil:
		return list, "", nil
	case r.kind == auto:
		return []Device{{}}, err.Error(), nil
	}
	return nil, "", fmt.Errorf("device %s: %w", device, err)
}

// gpus lists the GPUs of a number (-1: all) if the provider of the kind works.
func (m machine) gpus(kind string, number int) ([]Device, error) {
	d, err := m.driver()
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, driverFix)
	}
	if number >= len(d.GPUs) {
		return nil, fmt.Errorf("the driver knows GPUs 0 to %d only (%s); correct the number, and look at CUDA_VISIBLE_DEVICES", len(d.GPUs)-1, d.Names())
	}
	var list []Device
	for i := range d.GPUs {
		if number < 0 || i == number {
			list = append(list, Device{kind, i})
		}
	}
	if err := m.provider(list[0]); err != nil {
		return nil, fmt.Errorf("%w; %s", err, fixOf(kind))
	}
	return list, nil
}

// Names lists the GPUs' names: "2 × NVIDIA H100".
func (d *Driver) Names() string {
	var names []string
	count := map[string]int{}
	for _, g := range d.GPUs {
		if count[g.Name]++; count[g.Name] == 1 {
			names = append(names, g.Name)
		}
	}
	for i, n := range names {
		if count[n] > 1 {
			names[i] = fmt.Sprintf("%d × %s", count[n], n)
		}
	}
	return strings.Join(names, ", ")
}

// tryProvider loads the provider of a device.
func tryProvider(d Device) error {
	if err := Init(); err != nil {
		return err
	}
	so, err := ort.NewSessionOptions()
	if err != nil {
		return shorten(err)
	}
	err = addProvider(so, d, "")
	return errors.Join(err, so.Destroy())
}

var preloaded sync.Once

// cudaLibraries are what the providers need, each after those that it needs itself.
var cudaLibraries = []string{"libcudart.so.13", "libnvJitLink.so.13", "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcufft.so.12", "libcurand.so.10", "libcudnn.so.9"}

// cudaPath finds one of NVIDIA's libraries where pip and the image put them: beside
// the runtime, or in the folders of NVIDIA's wheels. Empty: it may be in the loader's
// places.
func cudaPath(library, name string) string {
	dirs := []string{filepath.Dir(library)}
	if real, err := filepath.EvalSymlinks(library); err == nil {
		wheels, _ := filepath.Glob(filepath.Join(filepath.Dir(real), "..", "..", "nvidia", "*", "lib"))
		dirs = append(append(dirs, filepath.Dir(real)), wheels...)
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	return ""
}

// preloadCUDA loads NVIDIA's libraries, so that LD_LIBRARY_PATH need not name their
// folders. One that fails is missed, and named, by what needs it.
func preloadCUDA(library string) {
	for _, name := range cudaLibraries {
		if path := cudaPath(library, name); path != "" {
			_ = preload(path)
		}
	}
}

// CUDAVersions are those of the CUDA runtime and of cuDNN that a session would load,
// such as 13.5 and 9.28.1; empty where there is none.
func CUDAVersions() (cuda, cudnn string) {
	_, library, err := Version()
	if err != nil {
		return "", ""
	}
	at := func(name string) string {
		if path := cudaPath(library, name); path != "" {
			return path
		}
		return name
	}
	if v, err := libraryVersion(at("libcudart.so.13"), "cudaRuntimeGetVersion", true); err == nil {
		cuda = CUDAVersion(v)
	}
	if v, err := libraryVersion(at("libcudnn.so.9"), "cudnnGetVersion", false); err == nil {
		cudnn = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	}
	return cuda, cudnn
}

// CUDAVersion writes a version as people do: 13050 is 13.5.
func CUDAVersion(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// addProvider adds the provider of a GPU to a session's options.
func addProvider(so *ort.SessionOptions, d Device, cache string) error {
	if !d.GPU() {
		return nil
	}
	environment.Lock()
	library := environment.library
	environment.Unlock()
	preloaded.Do(func() { preloadCUDA(library) })
	if d.Kind == TensorRT {
		if err := addTensorRT(so, d.Number, cache); err != nil {
			return err
		}
	}
	return addCUDA(so, d.Number) // also of what TensorRT cannot do
}

func addCUDA(so *ort.SessionOptions, number int) error {
	o, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return shorten(err)
	}
	defer o.Destroy()
	err = o.Update(map[string]string{
		"device_id": strconv.Itoa(number),
		// As exact as the processor: no products of 10-bit fractions, and kernels that
		// are chosen by rule, not by a race that another one wins tomorrow.
		"use_tf32":               "0",
		"cudnn_conv_algo_search": "HEURISTIC",
		"arena_extend_strategy":  "kSameAsRequested",
	})
	if err == nil {
		err = so.AppendExecutionProviderCUDA(o)
	}
	if err != nil {
		return shorten(err)
	}
	return nil
}

func addTensorRT(so *ort.SessionOptions, number int, cache string) error {
	o, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return shorten(err)
	}
	defer o.Destroy()
	settings := map[string]string{"device_id": strconv.Itoa(number)}
	if cache != "" { // engines take minutes to build
		if err := os.MkdirAll(cache, 0o700); err != nil {
			return err
		}
		settings["trt_engine_cache_enable"], settings["trt_engine_cache_path"] = "1", cache
		settings["trt_timing_cache_enable"], settings["trt_timing_cache_path"] = "1", cache
	}
	if err = o.Update(settings); err == nil {
		err = so.AppendExecutionProviderTensorRT(o)
	}
	if err != nil {
		return shorten(err)
	}
	return nil
}

// heavy are the operators that take a model's time.
var heavy = []string{"Conv", "MatMul", "Gemm", "Attention", "LSTM", "GRU", "Einsum"}

// checkNodes refuses a session of a GPU whose heavy operators were left to the
// processor: it would run, slowly, and nobody would know. That small ones are there,
// such as those that compute shapes, is the rule.
func checkNodes(nodes []node) error {
	var left []string
	total := 0
	for _, n := range nodes {
		if !slices.ContainsFunc(heavy, func(h string) bool { return strings.Contains(n.operator, h) }) {
			continue
		}
		total++
		if n.provider == "CPUExecutionProvider" {
			left = append(left, n.operator)
		}
	}
	if len(left) == 0 {
		return nil
	}
	n := len(left)
	slices.Sort(left)
	return fmt.Errorf("%d of the model's %d large operators would run on the processor (%s)", n, total, strings.Join(slices.Compact(left), ", "))
}
