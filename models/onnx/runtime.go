// Package onnx runs models in ONNX Runtime.
//
// One Session serves many goroutines at once: each Run uses the one thread that it
// is called on, so the caller decides how many cores work.
package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// LibraryEnv names the environment variable that names the library, or the
// folder that holds it.
const LibraryEnv = "ONNXRUNTIME_LIB"

var libraryName = map[string]string{"darwin": "libonnxruntime.dylib", "windows": "onnxruntime.dll"}[runtime.GOOS]

func init() {
	if libraryName == "" {
		libraryName = "libonnxruntime.so"
	}
}

// FindLibrary finds ONNX Runtime's library. In order: $ONNXRUNTIME_LIB, .deps/lib in
// the working directory and those above it, the same from winnow's own directory,
// lib beside winnow's directory, /usr/local/lib, and where the loader looks.
func FindLibrary() (string, error) {
	if v := os.Getenv(LibraryEnv); v != "" {
		path := inFolder(v)
		if path == "" {
			return "", fmt.Errorf("%s=%s: there is no such file, nor %s in such a folder", LibraryEnv, v, libraryName)
		}
		return path, nil
	}
	var dirs []string
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, upwards(wd)...)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			dir := filepath.Dir(exe)
			dirs = append(dirs, upwards(dir)...)
			dirs = append(dirs, dir, filepath.Join(dir, "..", "lib"))
		}
	}
	dirs = append(dirs, "/usr/local/lib")
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	for _, d := range dirs {
		if path := inFolder(d); path != "" {
			return path, nil
		}
	}
	return libraryName, nil // the loader's own cache, or its error
}

// upwards lists .deps/lib in a directory and those above it.
func upwards(dir string) []string {
	var out []string
	for {
		out = append(out, filepath.Join(dir, ".deps", "lib"))
		parent := filepath.Dir(dir)
		if parent == dir {
			return out
		}
		dir = parent
	}
}

// inFolder returns path itself where it is a file, or the library in it.
func inFolder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if !info.IsDir() {
		return path
	}
	if whole := filepath.Join(path, libraryName); isFile(whole) {
		return whole
	}
	// pip's wheels have the versioned name alone.
	found, _ := filepath.Glob(filepath.Join(path, libraryName+".*"))
	for i := len(found) - 1; i >= 0; i-- {
		if isFile(found[i]) {
			return found[i]
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

var environment struct {
	sync.Mutex
	library string
}

// Init loads the library once for the process. Sessions call it themselves.
func Init() error {
	environment.Lock()
	defer environment.Unlock()
	if environment.library != "" {
		return nil
	}
	const fix = "winnow needs ONNX Runtime 1.24 or newer: run make setup, or set " + LibraryEnv + " to its library"
	path, err := FindLibrary()
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	// What the runtime would log as an error comes back as one.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("load ONNX Runtime from %s: %w; %s", path, err, fix)
	}
	if err := openAPI(path); err != nil {
		return fmt.Errorf("load ONNX Runtime from %s: %w; %s", path, err, fix)
	}
	environment.library = path
	return nil
}

// Version returns the version and the path of the library. It loads it.
func Version() (version, path string, err error) {
	if err := Init(); err != nil {
		return "", "", err
	}
	return ort.GetVersion(), environment.library, nil
}

// missing says that a model file is not there in fewer words than the runtime.
func missing(path string, err error) error {
	if _, serr := os.Stat(path); errors.Is(serr, fs.ErrNotExist) {
		return fmt.Errorf("model %s: there is no such file", path)
	}
	return fmt.Errorf("model %s: %w", path, shorten(err))
}

var (
	codeRE  = regexp.MustCompile(`^\[ONNXRuntimeError\] : \d+ : \w+ : `)
	placeRE = regexp.MustCompile(`^\S+\.(h|cc):\d+ \w+ `)
	cudaRE  = regexp.MustCompile(`(?s) *; GPU=-?\d+ *;.*`)
)

// shorten drops the C++ source places and the wrapper's words that come before
// the runtime's messages, and what CUDA's failures say of the machine.
func shorten(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	text := cudaRE.ReplaceAllString(strings.TrimSuffix(err.Error(), "."), "")
	if i := strings.LastIndex(text, ") "); i > 0 && strings.Contains(text[:i], ".cc:") && i < len(text)-2 {
		text = text[i+2:]
	}
	text = placeRE.ReplaceAllString(codeRE.ReplaceAllString(text, ""), "")
	return errors.New(text)
}
