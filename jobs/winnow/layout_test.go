package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layers maps the first folder of a package to the folders it may import.
// pipeline ← (io, models, configs) ← jobs ← jobs/winnow.
var layers = map[string][]string{
	"pipeline": {"pipeline"},
	"models":   {"models", "pipeline"},
	"configs":  {"configs", "pipeline"},
	"io":       {"io", "pipeline"},
	"jobs":     {"jobs", "io", "models", "configs", "pipeline"},
	"testdata": {"testdata", "jobs", "io", "models", "configs", "pipeline"},
}

// shared are the io packages that other io packages may import.
var shared = []string{"winnow/io/store", "winnow/io/query"}

// forbidden are module prefixes that a layer must stay free of.
var forbidden = map[string][]string{
	"pipeline": {"gocloud.dev", "go.uber.org/zap", "github.com/duckdb", "github.com/yalue", "github.com/blevesearch", "github.com/parquet-go", "github.com/apache/arrow"},
	"configs":  {"gocloud.dev", "go.uber.org/zap", "github.com/duckdb", "github.com/yalue", "github.com/blevesearch"},
	"models":   {"gocloud.dev", "go.uber.org/zap", "github.com/duckdb", "github.com/blevesearch"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "winnow/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestImportsGoOneWay(t *testing.T) {
	all := packages(t)
	if len(all) < 15 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		for _, imp := range p.Imports {
			if why := broken(p.ImportPath, imp); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imp, why)
			}
		}
	}
}

// broken says which rule an import breaks, or nothing.
func broken(from, imp string) string {
	layer := strings.Split(from, "/")[1]
	for _, f := range forbidden[layer] {
		if strings.HasPrefix(imp, f) {
			return layer + " stays free of " + f
		}
	}
	if !strings.HasPrefix(imp, "winnow/") {
		return ""
	}
	to := strings.Split(imp, "/")[1]
	allowed := false
	for _, l := range layers[layer] {
		allowed = allowed || l == to
	}
	switch {
	case !allowed:
		return layer + " may import " + strings.Join(layers[layer], ", ") + " only"
	case imp == "winnow/jobs/winnow":
		return "main is imported by nobody"
	case layer == "io" && to == "io" && room(from) != room(imp):
		for _, s := range shared {
			if room(imp) == s {
				return ""
			}
		}
		return "among io packages only store and query may be imported"
	case layer == "jobs" && to == "jobs" && strings.HasPrefix(from, "winnow/jobs/internal/") && !strings.HasPrefix(imp, "winnow/jobs/internal/"):
		return "jobs/internal is below the jobs"
	}
	return ""
}

// room is the first three elements of a path: winnow/io/store/storetest → winnow/io/store.
func room(path string) string {
	parts := strings.SplitN(path, "/", 4)
	return strings.Join(parts[:min(3, len(parts))], "/")
}

func TestImportRulesCatch(t *testing.T) {
	for _, c := range []struct{ from, imp string }{
		{"winnow/models", "winnow/io/store"},
		{"winnow/io/table", "winnow/models"},
		{"winnow/io/table", "winnow/io/shard"},
		{"winnow/pipeline/vec", "winnow/io/store"},
		{"winnow/pipeline", "go.uber.org/zap"},
		{"winnow/configs", "winnow/io/store"},
		{"winnow/jobs/internal/job", "winnow/jobs/embed"},
		{"winnow/jobs/embed", "winnow/jobs/winnow"},
	} {
		if broken(c.from, c.imp) == "" {
			t.Errorf("%s importing %s was not caught", c.from, c.imp)
		}
	}
	for _, c := range []struct{ from, imp string }{
		{"winnow/io/table", "winnow/io/store"},
		{"winnow/jobs/run", "winnow/jobs/embed"},
		{"winnow/io/store/storetest", "winnow/io/store"},
	} {
		if why := broken(c.from, c.imp); why != "" {
			t.Errorf("%s importing %s: %s", c.from, c.imp, why)
		}
	}
}

// lengths that need a reason: a file over the limit says why in its header, with
// the words "over 600 lines because".
func TestNoLongFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != ".." && strings.HasPrefix(name, ".") || name == "build" || name == "workspace" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".py", ".sh", ".cpp", ".h":
		default:
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := strings.Count(string(b), "\n"); n > 600 && !strings.Contains(string(b[:min(len(b), 2000)]), "over 600 lines because") {
			t.Errorf("%s has %d lines", path, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := filepath.Glob(filepath.Join(root, "io", "*.go")); len(m) > 0 {
		t.Errorf("io/ has Go files of its own: %v", m)
	}
}
