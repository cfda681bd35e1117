package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"winnow": main})
}

// TestScripts runs what a user types. Each script has a folder of its own; $ROOT
// is the repository, $PHOTOS a few real pictures.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join(root, "testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("PHOTOS", filepath.Join(root, "testdata", "photos"))
			e.Setenv("HOME", e.WorkDir) // caches and completion files stay inside
			e.Setenv("TMPDIR", e.Getenv("WORK")+"/.tmp")
			e.Setenv("WINNOW_MODELS", filepath.Join(root, ".deps", "models"))
			e.Setenv("ONNXRUNTIME_LIB", filepath.Join(root, ".deps", "lib", "libonnxruntime.so"))
			return os.MkdirAll(e.Getenv("TMPDIR"), 0o755)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "models" { // false only before make setup
				_, err := os.Stat(filepath.Join(root, ".deps", "models", "efficientnet-lite0", "model.onnx"))
				return err == nil, nil
			}
			return false, nil
		},
	})
}
