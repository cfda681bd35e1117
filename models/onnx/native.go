package onnx

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/cgo"
	"strings"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// apiVersion is that of the table that onnxruntime_go asks for: ONNX Runtime 1.24.
const apiVersion = 24

// openAPI finds the runtime's table of functions in its loaded library.
func openAPI(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return native(func(text *C.char) C.int { return C.winnow_api_open(name, apiVersion, text) })
}

// native calls a function that returns 0, or something else and a message.
func native(call func(text *C.char) C.int) error {
	text := (*C.char)(C.malloc(C.WINNOW_TEXT))
	defer C.free(unsafe.Pointer(text))
	if call(text) == 0 {
		return nil
	}
	return errors.New(C.GoString(text))
}

// handle is the C pointer in a field of one of onnxruntime_go's structs. The field
// is found by its name, so that another version of the package is an error.
func handle(v any, fields ...string) unsafe.Pointer {
	x := reflect.ValueOf(v)
	for _, f := range fields {
		x = reflect.Indirect(x).FieldByName(f)
	}
	return x.UnsafePointer()
}

func sessionHandle(s *ort.DynamicAdvancedSession) unsafe.Pointer { return handle(s, "s", "ortSession") }

// Providers lists the execution providers that the library was built with, such as
// CUDAExecutionProvider. That one is listed says not that it works here.
func Providers() ([]string, error) {
	if err := Init(); err != nil {
		return nil, err
	}
	const room = 4096
	names := (*C.char)(C.malloc(room))
	defer C.free(unsafe.Pointer(names))
	if err := native(func(text *C.char) C.int { return C.winnow_providers(names, room, text) }); err != nil {
		return nil, fmt.Errorf("ONNX Runtime: its providers: %w", err)
	}
	return strings.Fields(C.GoString(names)), nil
}

// deterministic asks for kernels that give the same numbers every time.
func deterministic(so *ort.SessionOptions) error {
	return native(func(text *C.char) C.int { return C.winnow_deterministic(handle(so, "o"), text) })
}

// node is an operator of a model and the provider that computes it.
type node struct{ provider, operator string }

//export winnowNode
func winnowNode(h C.uintptr_t, provider, operator *C.char) {
	list := cgo.Handle(h).Value().(*[]node)
	*list = append(*list, node{C.GoString(provider), C.GoString(operator)})
}

// assignment lists the nodes of a model that was opened with recordAssignment.
func assignment(s *ort.DynamicAdvancedSession) ([]node, error) {
	var list []node
	h := cgo.NewHandle(&list)
	defer h.Delete()
	err := native(func(text *C.char) C.int {
		return C.winnow_assignment(sessionHandle(s), C.uintptr_t(h), text)
	})
	return list, err
}

// memory is what a session's allocator gives: page-locked for a GPU, from which and
// to which the GPU copies by itself.
type memory struct {
	allocator unsafe.Pointer
	blocks    map[unsafe.Pointer]struct{}
}

// newMemory makes the allocator of a GPU's page-locked memory; of plain memory
// where gpu is negative.
func newMemory(s *ort.DynamicAdvancedSession, gpu int) (*memory, error) {
	m := &memory{blocks: map[unsafe.Pointer]struct{}{}}
	err := native(func(text *C.char) C.int {
		return C.winnow_allocator(sessionHandle(s), C.int(gpu), &m.allocator, text)
	})
	return m, err
}

func (m *memory) allocate(bytes int) (p unsafe.Pointer, err error) {
	err = native(func(text *C.char) C.int { return C.winnow_allocate(m.allocator, C.size_t(bytes), &p, text) })
	if err == nil {
		m.blocks[p] = struct{}{}
	}
	return p, err
}

// free gives back a block of m; another's memory is left alone.
func (m *memory) free(p unsafe.Pointer) {
	if _, ours := m.blocks[p]; ours {
		C.winnow_free(m.allocator, p)
		delete(m.blocks, p)
	}
}

// close gives everything back. It comes before the session's end.
func (m *memory) close() {
	for p := range m.blocks {
		C.winnow_free(m.allocator, p)
	}
	C.winnow_release_allocator(m.allocator)
	m.blocks, m.allocator = nil, nil
}

// runBinding computes a binding's outputs from its inputs, and can be told to stop,
// as onnxruntime_go's RunWithBinding cannot.
func runBinding(s *ort.DynamicAdvancedSession, b *ort.IoBinding, o *ort.RunOptions) error {
	return native(func(text *C.char) C.int {
		return C.winnow_run_binding(sessionHandle(s), handle(o, "o"), handle(b, "o"), text)
	})
}

// bindHostOutput lets the runtime choose the shape of an output in plain memory.
func bindHostOutput(b *ort.IoBinding, name string) error {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	return native(func(text *C.char) C.int { return C.winnow_bind_output_host(handle(b, "o"), cname, text) })
}

// boundOutput copies the one output of a binding.
func boundOutput(b *ort.IoBinding, out *Tensor) error {
	var o C.winnow_output
	if err := native(func(text *C.char) C.int { return C.winnow_bound_output(handle(b, "o"), &o, text) }); err != nil {
		return err
	}
	defer C.winnow_release_value(o.value)
	out.Shape = make([]int64, o.rank)
	for i := range out.Shape {
		out.Shape[i] = int64(o.dims[i])
	}
	if ort.TensorElementDataType(o._type) != ort.TensorElementDataTypeFloat {
		return errors.New("the output has no 32-bit floats")
	}
	if out.Float32 = make([]float32, o.count); o.count > 0 {
		copy(out.Float32, unsafe.Slice((*float32)(o.data), o.count))
	}
	return nil
}

// Driver is what NVIDIA's driver says.
type Driver struct {
	// Version is that of the newest CUDA that the driver serves: 1000 × major + 10 × minor.
	Version int
	GPUs    []GPU
}

// GPU is one card.
type GPU struct {
	Name   string
	Memory uint64 // bytes
	Major  int    // compute capability
	Minor  int
}

// queryDriver asks the driver's library, which is loaded for that. Without a driver
// or without a GPU the error says so. CUDA_VISIBLE_DEVICES counts.
func queryDriver(library string) (*Driver, error) {
	name := C.CString(library)
	defer C.free(unsafe.Pointer(name))
	var loaded, version, count C.int
	err := native(func(text *C.char) C.int { return C.winnow_cuda(name, &loaded, &version, &count, text) })
	switch {
	case loaded == 0:
		return nil, fmt.Errorf("no NVIDIA driver: %w", err)
	case err != nil:
		return nil, fmt.Errorf("the NVIDIA driver does not work: %w", err)
	case count == 0:
		return nil, errors.New("the NVIDIA driver sees no GPU")
	}
	d := &Driver{Version: int(version)}
	for i := range count {
		var g C.winnow_gpu
		if err := native(func(text *C.char) C.int { return C.winnow_cuda_gpu(i, &g, text) }); err != nil {
			return nil, fmt.Errorf("the NVIDIA driver does not tell of GPU %d: %w", i, err)
		}
		d.GPUs = append(d.GPUs, GPU{C.GoString(&g.name[0]), uint64(g.memory), int(g.major), int(g.minor)})
	}
	return d, nil
}

// libraryVersion loads a library and asks the function of it that tells its version,
// as its result or, with pointer, through a pointer.
func libraryVersion(library, function string, pointer bool) (int, error) {
	lib, fn := C.CString(library), C.CString(function)
	defer C.free(unsafe.Pointer(lib))
	defer C.free(unsafe.Pointer(fn))
	result := C.int(1)
	if pointer {
		result = 0
	}
	var version int
	err := native(func(text *C.char) C.int {
		version = int(C.winnow_library_version(lib, fn, result, text))
		if version == 0 {
			return 1
		}
		return 0
	})
	return version, err
}

// preload loads a library, so that others that need it find it.
func preload(library string) error {
	name := C.CString(library)
	defer C.free(unsafe.Pointer(name))
	return native(func(text *C.char) C.int { return C.winnow_preload(name, text) })
}
