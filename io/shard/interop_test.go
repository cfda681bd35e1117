package shard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// python is a Python with the packages of testdata/interop/requirements.txt:
// $PYTHON, or what make test installs.
func python(t *testing.T) string {
	t.Helper()
	path := cmp.Or(os.Getenv("PYTHON"), filepath.Join("..", "..", ".deps", "venv-interop", "bin", "python"))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no Python with pyarrow, polars, duckdb and deltalake at %s: run `make setup`, or name one in $PYTHON", path)
	}
	return path
}

// Other people's libraries read what is written here, and the other way round.
func TestInterop(t *testing.T) {
	py := python(t)
	const n, dim = RowGroupRows + 400, 12
	dir := t.TempDir()
	b := rows(n, dim)
	_, _, names, cols := scoreRows(n, 3)
	var scores bytes.Buffer
	w, err := NewScoreWriter(&scores, names)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b.AssetID, b.Version, cols); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	expect, err := json.Marshal(map[string]any{
		"dim": dim, "group": RowGroupRows, "asset_id": b.AssetID, "version": b.Version, "content_hash": b.ContentHash, "vectors": b.Vectors,
		"columns": names, "scores": cols,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"shard.parquet": write(t, b), "scores.parquet": scores.Bytes(), "expect.json": expect} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(py, filepath.Join("..", "..", "testdata", "interop", "shard_check.py"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	files, err := filepath.Glob(filepath.Join(dir, "theirs", "*.parquet"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files of other libraries, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".parquet"), func(t *testing.T) { theirs(t, f, b) })
	}
}

// theirs reads a file that another library wrote with the rows of want.
func theirs(t *testing.T, path string, want *Block) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, data)
	if r.Meta().Dim != want.Dim {
		t.Fatalf("dimension %d", r.Meta().Dim)
	}
	got, err := collect(r, ScanOptions{Vectors: true, IDs: true, MaxRows: 300})
	if err != nil {
		t.Fatal(err)
	}
	// delta-rs does not keep the order.
	order := make([]int, got.Len())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(got.AssetID[i], got.AssetID[j]) })
	sorted := &Block{Dim: got.Dim}
	for _, i := range order {
		sorted.AssetID = append(sorted.AssetID, got.AssetID[i])
		sorted.Version = append(sorted.Version, got.Version[i])
		sorted.ContentHash = append(sorted.ContentHash, got.ContentHash[i])
		sorted.Vectors = append(sorted.Vectors, got.Vectors[i*got.Dim:(i+1)*got.Dim]...)
	}
	equalBlocks(t, sorted, want)

	only := []int64{0, 1, 776, 777, 1553, 1554, 3000, int64(want.Len() - 1)}
	some, err := collect(r, ScanOptions{Vectors: true, IDs: true, Only: only})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range only {
		if some.AssetID[i] != got.AssetID[row] || some.Vectors[i*got.Dim+3] != got.Vectors[int(row)*got.Dim+3] {
			t.Errorf("row %d: %s %v", row, some.AssetID[i], some.Vectors[i*got.Dim+3])
		}
	}
}
