package onnx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// library skips a test where ONNX Runtime is not installed.
func library(t testing.TB) {
	t.Helper()
	if err := Init(); err != nil {
		t.Skipf("SKIPPED, no model is run: %v", err)
	}
}

func open(t testing.TB, name string, o Options) *Session {
	t.Helper()
	library(t)
	s, err := Open(filepath.Join("testdata", name), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func means(t testing.TB) *Session {
	return open(t, "means.onnx", Options{Inputs: []string{"pixels"}, Output: "means"})
}

// picture is n pictures of 3 × 4 × 6 numbers: picture k's are k + 1 and its channels'.
func picture(n int) Tensor {
	data := make([]float32, n*3*4*6)
	for i := range data {
		data[i] = float32(i/72+1) * float32(i/24%3)
	}
	return Tensor{Shape: []int64{int64(n), 3, 4, 6}, Float32: data}
}

func TestRun(t *testing.T) {
	s := means(t)
	want := []float32{0, 1, 2, 0, 2, 4}
	var out Tensor
	if err := s.Run(context.Background(), []Tensor{picture(2)}, &out); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Float32, want) || !slices.Equal(out.Shape, []int64{2, 3, 1, 1}) {
		t.Errorf("got %v of shape %v", out.Float32, out.Shape)
	}
	given := Tensor{Shape: []int64{2, 3, 1, 1}, Float32: make([]float32, 6)}
	if err := s.Run(context.Background(), []Tensor{picture(2)}, &given); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(given.Float32, want) {
		t.Errorf("got %v in the given tensor", given.Float32)
	}
	if s.Device().String() != "cpu" {
		t.Errorf("device %s", s.Device())
	}
}

func TestConcurrentRuns(t *testing.T) {
	s := means(t)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 20 {
				var out Tensor
				if err := s.Run(context.Background(), []Tensor{picture(n + 1)}, &out); err != nil {
					t.Error(err)
				} else if out.Float32[len(out.Float32)-1] != float32(2*(n+1)) {
					t.Errorf("batch of %d: %v", n+1, out.Float32)
				}
			}
		})
	}
	wg.Wait()
}

func TestWrongTensorsAreErrors(t *testing.T) {
	s := means(t)
	wrong := picture(1)
	wrong.Shape = []int64{1, 3, 6, 4}
	short := picture(2)
	short.Float32 = short.Float32[:100]
	for name, in := range map[string]Tensor{
		"wrong shape": wrong, "too few numbers": short, "no numbers": {Shape: []int64{1, 3, 4, 6}},
		"wrong type": {Shape: []int64{1, 3, 4, 6}, Int64: make([]int64, 72)},
	} {
		var out Tensor
		if err := s.Run(context.Background(), []Tensor{in}, &out); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), ".cc:") {
			t.Errorf("%s: the message names C++ sources: %v", name, err)
		}
	}
	small := Tensor{Shape: []int64{1, 3, 1, 1}, Float32: make([]float32, 3)}
	if err := s.Run(context.Background(), []Tensor{picture(2)}, &small); err == nil {
		t.Error("an output of the wrong shape was taken")
	}
}

// TestCancelEndsARun starts a run that would take days.
func TestCancelEndsARun(t *testing.T) {
	s := open(t, "loop.onnx", Options{Inputs: []string{"times"}, Output: "sum"})
	long := []Tensor{{Shape: []int64{1}, Int64: []int64{1 << 40}}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	var out Tensor
	if err := s.Run(ctx, long, &out); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a run that was cut ended with %v", err)
	}
	why := errors.New("enough")
	ctx2, cancel2 := context.WithCancelCause(context.Background())
	cancel2(why)
	if err := s.Run(ctx2, long, &out); !errors.Is(err, why) {
		t.Fatalf("a run under a context that had ended gave %v", err)
	}
	short := []Tensor{{Shape: []int64{1}, Int64: []int64{5}}}
	if err := s.Run(context.Background(), short, &out); err != nil || out.Float32[0] != 5 {
		t.Errorf("after a cancelled run: %v, %v", out.Float32, err)
	}
}

func TestCloseWaitsForRuns(t *testing.T) {
	library(t)
	s, err := Open(filepath.Join("testdata", "loop.onnx"), Options{Inputs: []string{"times"}, Output: "sum"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 4)
	for range 4 {
		go func() {
			var out Tensor
			ended <- s.Run(ctx, []Tensor{{Shape: []int64{1}, Int64: []int64{1 << 40}}}, &out)
		}()
	}
	cancel()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	for range 4 {
		if err := <-ended; err == nil {
			t.Error("a cancelled run gave no error")
		}
	}
	var out Tensor
	if err := s.Run(context.Background(), nil, &out); err == nil {
		t.Error("a closed session runs")
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	library(t)
	junk := filepath.Join(t.TempDir(), "junk.onnx")
	if err := os.WriteFile(junk, []byte("this is no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, want string
		o                Options
	}{
		{"missing file", "testdata/none.onnx", "no such file", Options{}},
		{"no model", junk, "junk.onnx", Options{}},
	} {
		c.o.Inputs, c.o.Output = []string{"pixels"}, "means"
		s, err := Open(c.path, c.o)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", c.name, err, c.want)
		}
	}
}

func TestInspect(t *testing.T) {
	g, err := Inspect("testdata/words.onnx")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range append(g.Inputs, g.Outputs...) {
		got = append(got, v.String())
	}
	want := []string{"ids int64[batch,tokens]", "mask int64[batch,tokens]", "types int64[batch,tokens]", "hidden float32[batch,tokens,4]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if out := g.Outputs[0]; out.Size(2) != 4 || out.Size(0) != -1 || out.Size(7) != -1 {
		t.Errorf("sizes of %v", out)
	}
	whole, err := os.ReadFile("testdata/words.onnx")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.onnx")
	for n := 0; n < len(whole); n += 7 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		// The version fields at the end may be missing, nothing else.
		if _, err := Inspect(path); err == nil && n < len(whole)-20 {
			t.Errorf("a model cut to %d of %d bytes was taken", n, len(whole))
		}
	}
}

func TestInspectRefusesWeightsElsewhere(t *testing.T) {
	field := func(num protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
	}
	model := field(7, append(field(5, append(field(8, []byte("w")), field(13, nil)...)), field(12, field(1, []byte("y")))...))
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(path); err == nil || !strings.Contains(err.Error(), "one file") {
		t.Errorf("got %v", err)
	}
}

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(LibraryEnv, filepath.Join(dir, "none.so"))
	if _, err := FindLibrary(); err == nil || !strings.Contains(err.Error(), LibraryEnv) {
		t.Errorf("a wrong %s gave %v", LibraryEnv, err)
	}
	versioned := filepath.Join(dir, libraryName+".1.32.0")
	if err := os.WriteFile(versioned, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(LibraryEnv, dir)
	if got, err := FindLibrary(); err != nil || got != versioned {
		t.Errorf("in a folder of a wheel: %s, %v", got, err)
	}
	t.Setenv(LibraryEnv, "")
	deps := filepath.Join(dir, ".deps", "lib")
	inner := filepath.Join(dir, "a", "b")
	for _, d := range []string{deps, inner} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(deps, libraryName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inner)
	if got, err := FindLibrary(); err != nil || !strings.HasSuffix(got, filepath.Join(".deps", "lib", libraryName)) {
		t.Errorf("above the working directory: %s, %v", got, err)
	}
}

func FuzzInspect(f *testing.F) {
	whole, err := os.ReadFile("testdata/words.onnx")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	path := filepath.Join(f.TempDir(), "model.onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Inspect(path)
	})
}
