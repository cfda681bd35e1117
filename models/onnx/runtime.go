// Package onnx runs models by ONNX Runtime: the library is loaded once a
// process, sessions have one thread each, and a cancelled run is ended and
// waited for before its tensors are freed.
package onnx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// LibraryEnv names the library's file, before all other places.
const LibraryEnv = "ONNXRUNTIME_LIB"

var (
	initOnce sync.Once
	initErr  error
	library  string
)

// Init loads ONNX Runtime. It is called by Open; a command may call it earlier to
// report what is missing.
func Init() error {
	initOnce.Do(func() {
		if library, initErr = FindLibrary(); initErr != nil {
			return
		}
		ort.SetSharedLibraryPath(library)
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			initErr = fmt.Errorf("load ONNX Runtime from %s: %w; run make setup, or name another with %s", library, err, LibraryEnv)
		}
	})
	return initErr
}

// Version is the version of the loaded library, and its file.
func Version() (version, file string, err error) {
	if err := Init(); err != nil {
		return "", "", err
	}
	return ort.GetVersion(), library, nil
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// FindLibrary looks for ONNX Runtime: in $ONNXRUNTIME_LIB, in .deps/lib above the
// working directory and above the executable, and in the system's folders.
func FindLibrary() (string, error) {
	if p := os.Getenv(LibraryEnv); p != "" {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("ONNX Runtime: %s names %s: %w", LibraryEnv, p, err)
		}
		return p, nil
	}
	var tried []string
	for _, p := range candidates() {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
		tried = append(tried, p)
	}
	return "", fmt.Errorf("ONNX Runtime was not found (looked for %s); run make setup, or name the library with %s", strings.Join(tried, ", "), LibraryEnv)
}

func candidates() []string {
	var out []string
	for _, dir := range Above(filepath.Join(".deps", "lib")) {
		out = append(out, filepath.Join(dir, libraryName()))
	}
	for _, dir := range []string{"/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"} {
		out = append(out, filepath.Join(dir, libraryName()))
	}
	return out
}

// Above lists the folders named rel in the working directory, the folder of the
// executable, and all folders above these, that exist.
func Above(rel string) []string {
	var starts, out []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			if p := filepath.Join(dir, rel); isDir(p) {
				out = append(out, p)
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return out
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

// ErrNoDevice says that a device was asked for and is not there.
var ErrNoDevice = errors.New("no such device")

// options are the session options for a device: auto, cpu, cuda or cuda:N.
func options(device string) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(o.SetIntraOpNumThreads(1), o.SetInterOpNumThreads(1),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll))
	if name, index, _ := strings.Cut(device, ":"); err == nil && name == "cuda" {
		err = appendCUDA(o, index)
	}
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

func appendCUDA(o *ort.SessionOptions, index string) error {
	c, err := ort.NewCUDAProviderOptions()
	if err == nil {
		defer func() { _ = c.Destroy() }()
		if index == "" {
			index = "0"
		}
		if err = c.Update(map[string]string{"device_id": index}); err == nil {
			err = o.AppendExecutionProviderCUDA(c)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: cuda:%s: %w; install onnxruntime-gpu with its CUDA and cuDNN libraries beside %s, or write device: cpu", ErrNoDevice, index, err, library)
	}
	return nil
}
