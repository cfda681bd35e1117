package models

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"winnow/models/onnx"
)

// tinyModel is a spec of the smallest picture model.
func tinyModel(t *testing.T) string {
	return userSpec(t, "means.onnx", picturesSpec+"layout: nchw\nbatch: {cpu: 4, gpu: 16}\n")
}

// plainPicture is a JPEG of one colour.
func plainPicture(t testing.TB) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSessionsFollowTheCores: GOMAXPROCS is a container's share of the machine.
func TestSessionsFollowTheCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	m := load(t, tinyModel(t), Options{Device: "cpu"})
	if m.Sessions() != 3 || len(m.sessions) != 1 || m.Device() != "cpu" || m.Kind() != onnx.CPU || m.OnGPU() || m.Why() != "" {
		t.Errorf("%d runs at a time in %d sessions on %s, why %q", m.Sessions(), len(m.sessions), m.Device(), m.Why())
	}
}

// TestSeveralDevices spreads runs over several sessions, as over several GPUs.
func TestSeveralDevices(t *testing.T) {
	m := load(t, tinyModel(t), Options{Device: "cpu", Sessions: 1})
	spec := m.Spec()
	paths, err := spec.locate(false)
	if err != nil {
		t.Fatal(err)
	}
	two := &Model{spec: spec, decoder: m.decoder, table: m.table, outRank: m.outRank, pixels: m.pixels}
	file := onnx.Options{Inputs: []string{"pixels"}, Output: "means"}
	if err := two.openAll(paths[0], file, []onnx.Device{{}, {}}, 2); err != nil {
		t.Fatal(err)
	}
	if two.Sessions() != 4 || two.Device() != "cpu,cpu" {
		t.Errorf("%d runs at a time on %s", two.Sessions(), two.Device())
	}
	a, b := <-two.slots, <-two.slots
	if a.session == b.session {
		t.Error("the first two runs share a device while another is free")
	}
	two.slots <- a
	two.slots <- b
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := two.together(t.Context(), 5, 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := two.Close(); err != nil {
		t.Error(err)
	}
}

// TestDeviceErrors: a GPU that is asked for and is not there fails; auto goes on.
func TestDeviceErrors(t *testing.T) {
	spec := tinyModel(t)
	m := load(t, spec, Options{})
	if _, err := onnx.ReadDriver(); err == nil {
		t.Skip("SKIPPED, there is a GPU")
	}
	if m.Device() != "cpu" || !strings.Contains(m.Why(), "no NVIDIA driver") {
		t.Errorf("auto is %s, since %q", m.Device(), m.Why())
	}
	for _, device := range []string{"cuda", "cuda:1", "tensorrt"} {
		m, err := New(m.Spec(), Options{Device: device})
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "device "+device+": no NVIDIA driver") || !strings.Contains(err.Error(), "write device: cpu") {
			t.Errorf("%s: %v", device, err)
		}
	}
}

// TestGPUBreaksAsTheModelLoads: the driver and the provider answered, and then no
// session can be made. auto takes the processor and says why; cuda fails.
func TestGPUBreaksAsTheModelLoads(t *testing.T) {
	m := load(t, tinyModel(t), Options{Device: "cpu"})
	if _, err := onnx.ReadDriver(); err == nil {
		t.Skip("SKIPPED, there is a GPU")
	}
	defer func(find func(string) ([]onnx.Device, string, error)) { findDevices = find }(findDevices)
	findDevices = func(string) ([]onnx.Device, string, error) {
		return []onnx.Device{{Kind: onnx.CUDA, Number: 0}, {Kind: onnx.CUDA, Number: 1}}, "", nil
	}
	auto, err := New(m.Spec(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer auto.Close()
	if auto.Device() != "cpu" || !strings.Contains(auto.Why(), "device cuda:0") {
		t.Errorf("auto is %s, since %q", auto.Device(), auto.Why())
	}
	if err := auto.together(t.Context(), 3, 1); err != nil {
		t.Error(err)
	}
	if m, err := New(m.Spec(), Options{Device: "cuda"}); err == nil {
		m.Close()
		t.Error("cuda went on without a GPU")
	} else if !strings.Contains(err.Error(), "device cuda:0") || !strings.Contains(err.Error(), "write device: cpu") {
		t.Error(err)
	}
}

// TestFindBatch times a real model, whatever the numbers are.
func TestFindBatch(t *testing.T) {
	m := load(t, tinyModel(t), Options{Device: "cpu"})
	if n, rate, err := m.FindBatch(t.Context()); err != nil || n < 1 || n > mostRows || rate <= 0 {
		t.Errorf("a batch of %d, %v rows a second, %v", n, rate, err)
	}
	if b := m.Batched(7); b.BatchSize() != 7 {
		t.Error("a size that is not kept")
	}
	if b := m.Batched(0); b.BatchSize() != 4 {
		t.Error("a plan without a size")
	}
}

// TestVectorsOnGPU compares every GPU with the processor, by the picture model.
func TestVectorsOnGPU(t *testing.T) {
	if _, _, err := onnx.Devices(onnx.CUDA); err != nil {
		t.Skipf("SKIPPED, no CUDA device: %v", err)
	}
	plain := plainPicture(t)
	if photo, err := os.ReadFile("../testdata/photos/astronaut-0.jpg"); err == nil {
		plain = photo
	}
	for _, name := range referenced {
		cpu, gpu := load(t, name, Options{Device: "cpu"}), load(t, name, Options{Device: "cuda"})
		data := plain
		if gpu.Spec().Kind == Text {
			data = []byte("a red apple")
		}
		for range gpu.Sessions() {
			want, got := run(t, cpu, prepare(t, cpu, data)), run(t, gpu, prepare(t, gpu, data))
			if c := cosine(want, got); c < 0.9999 {
				t.Errorf("%s on %s: cosine %v", name, gpu.Device(), c)
			}
		}
		if n, _, err := gpu.FindBatch(t.Context()); err != nil || n < 1 {
			t.Errorf("%s: a batch of %d, %v", name, n, err)
		}
	}
}
