package index

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// results of a search, as they travel to and from Python.
type results struct {
	Scores []float32 `json:"scores"`
	Rows   []int64   `json:"rows"`
}

type interopCase struct {
	Name   string `json:"name"`
	Params Params `json:"params"`
	results
}

// faiss-cpu finds the same in our files, and we in its.
func TestInterop(t *testing.T) {
	py := cmp.Or(os.Getenv("PYTHON"), filepath.Join("..", "..", ".deps", "venv-interop", "bin", "python"))
	if _, err := os.Stat(py); err != nil {
		t.Skipf("no Python with faiss-cpu at %s: run `make setup`, or name one in $PYTHON", py)
	}
	const n, dim, nq, k = 12_000, 16, 100, 10
	dir := t.TempDir()
	rows, queries := clustered(n, dim, 1500, 1), clustered(nq, dim, 1500, 1)
	floats(t, filepath.Join(dir, "rows.f32"), rows)
	floats(t, filepath.Join(dir, "queries.f32"), queries)
	var cases []interopCase
	for _, kind := range kinds {
		p := planned(t, n, dim, kind, 40)
		p.RecallTarget = 0.9
		if p.Kind != kind {
			t.Fatalf("%s became %s", kind, p.Kind)
		}
		p, err := Build(t.Context(), filepath.Join(dir, kind+".faiss"), p, from(rows, dim, 1000), nil)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, interopCase{kind, p, searchFile(t, filepath.Join(dir, kind+".faiss"), p, queries, k)})
	}
	expect, err := json.Marshal(map[string]any{"dim": dim, "k": k, "cases": cases})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "expect.json"), expect, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(py, filepath.Join("..", "..", "testdata", "interop", "index_check.py"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, c := range cases {
		var want results
		data, err := os.ReadFile(filepath.Join(dir, "theirs-"+c.Name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		got := searchFile(t, filepath.Join(dir, "theirs-"+c.Name+".faiss"), c.Params, queries, k)
		for q := range nq {
			var hits []hit
			for i := q * k; i < (q+1)*k; i++ {
				hits = append(hits, hit{want.Scores[i], want.Rows[i]})
			}
			if err := same(got.Scores[q*k:(q+1)*k], got.Rows[q*k:(q+1)*k], hits); err != nil {
				t.Errorf("faiss-cpu's %s, query %d: %v", c.Name, q, err)
			}
		}
	}
}

func searchFile(t *testing.T, path string, p Params, queries []float32, k int) results {
	t.Helper()
	ix, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	scores, rows, err := ix.Search(t.Context(), queries, k)
	if err != nil {
		t.Fatal(err)
	}
	return results{scores, rows}
}

func floats(t *testing.T, path string, v []float32) {
	t.Helper()
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
