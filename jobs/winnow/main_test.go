package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"winnow": main})
}

// TestScripts runs what a user types. Each script has a folder of its own; $ROOT
// is the repository. Beside testscript's commands there are
//
//	photos DIR           copy the 44 real pictures of testdata/photos and their manifest
//	clip DIR             write the specs clip.yaml and clip-text.yaml of a tiny random CLIP
//	fixture KIND FILE    make a file with a fault
//	status N CMD...      run a command that exits with N
func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, ".deps", "models", "efficientnet-lite0", "model.onnx")); err != nil {
		t.Fatal("the models are missing; run: make setup")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join(root, "testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("HOME", e.WorkDir) // caches and completion files stay inside
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
			e.Setenv("WINNOW_MODELS", filepath.Join(root, ".deps", "models"))
			e.Setenv("ONNXRUNTIME_LIB", filepath.Join(root, ".deps", "lib", "libonnxruntime.so"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"photos": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(copyPhotos(root, ts.MkAbs(args[0]))) },
			"clip": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(writeTinyClip(root, ts.MkAbs(args[0])))
			},
			"fixture": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(fixture(args[0], ts.MkAbs(args[1]))) },
			"status":  exitStatus,
		},
	})
}

// exitStatus runs a command and checks its exit status.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func copyPhotos(root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "testdata", "photos", "*.j*"))
	if err != nil {
		return err
	}
	if len(files) != 45 {
		return fmt.Errorf("testdata/photos has %d files, want 44 pictures and a manifest", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fixture makes a file with a fault. The kind manifest replaces a manifest by one
// with 43 good rows, a good one with a second id, and every fault of a line or an
// asset; it stands beside the pictures that copyPhotos made.
func fixture(kind, path string) error {
	var data []byte
	switch kind {
	case "empty":
	case "text":
		data = []byte("this is no picture, whatever its name says\n")
	case "truncated":
		whole, err := os.ReadFile(filepath.Join(filepath.Dir(path), "rocket-0.jpg"))
		if err != nil {
			return err
		}
		data = whole[:len(whole)/2]
	case "flat": // a PNG whose header says 0 × 0
		header := append([]byte("IHDR"), 0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0)
		data = append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\r"), header...)
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(header))
	case "manifest":
		files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*-*.jpg"))
		if err != nil {
			return err
		}
		var b strings.Builder
		for i, f := range files {
			fmt.Fprintf(&b, "{\"asset_id\": \"good-%d\", \"uri\": %q}\n", i, filepath.Base(f))
		}
		b.WriteString(`{"asset_id": "good-0", "uri": "coffee-1.jpg"}` + "\n")
		b.WriteString(`{"uri": "coffee-2.jpg"}` + "\n")
		b.WriteString("{\"asset_id\": \"caf\xe9\", \"uri\": \"coffee-2.jpg\"}\n")
		b.WriteString(`{"asset_id": "long", "uri": "coffee-2.jpg", "note": "` + strings.Repeat("x", 40<<20) + `"}` + "\n")
		b.WriteString(`{"asset_id": "broken", "uri": ` + "\n")
		b.WriteString(`{"asset_id": "outside", "uri": "file:///etc/passwd"}` + "\n")
		for _, name := range []string{"gone.jpg", "empty.jpg", "truncated.jpg", "text.png", "flat.png"} {
			fmt.Fprintf(&b, "{\"asset_id\": %q, \"uri\": %q}\n", strings.TrimSuffix(name, filepath.Ext(name)), name)
		}
		data = []byte(b.String())
	default:
		return fmt.Errorf("no fixture %q", kind)
	}
	return os.WriteFile(path, data, 0o644)
}
