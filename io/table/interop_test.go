package table_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"winnow/io/store/s3test"
	"winnow/io/table"
)

// python returns an interpreter that has delta-rs and Polars.
func python(t *testing.T) string {
	t.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = filepath.Join("..", "..", ".deps", "venv-interop", "bin", "python")
	}
	if out, err := exec.Command(python, "-c", "import deltalake, polars, pyarrow").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, OTHER READERS ARE NOT TESTED: %s has no deltalake, polars and pyarrow; run `make interop` (%v: %s)", python, err, out)
	}
	return python
}

type row struct {
	AssetID string    `parquet:"asset_id"`
	N       int64     `parquet:"n"`
	Vector  []float32 `parquet:"vector,list"`
}

var realSchema = table.Schema{
	{Name: "asset_id", Type: table.String},
	{Name: "n", Type: table.Long, Nullable: true},
	{Name: "vector", Type: table.Array(table.Float, false), Nullable: true, Metadata: map[string]string{"winnow.name": "the vector"}},
}

// putReal writes a Parquet file with the rows numbered from first.
func putReal(t *testing.T, tab *table.Table, name string, first, n int) table.File {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[row](&buf)
	for i := first; i < first+n; i++ {
		if _, err := w.Write([]row{{id(i), int64(i), []float32{float32(i), 0.5, -1}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tab.Files().WriteAll(t.Context(), name, buf.Bytes()); err != nil {
		t.Fatal(err)
	}
	last := first + n - 1
	return table.File{
		Path: name, Size: int64(buf.Len()), Rows: int64(n),
		Stats: table.Stats(int64(n), map[string]any{"asset_id": id(first), "n": first},
			map[string]any{"asset_id": id(last), "n": last}, map[string]int64{"asset_id": 0, "n": 0}),
		Tags: map[string]string{"winnow.function": name},
	}
}

func id(i int) string { return fmt.Sprintf("i%03d", i) }

// TestPeers lets delta-rs and Polars read what this package writes, from the
// log and from a checkpoint, and this package what delta-rs writes.
func TestPeers(t *testing.T) {
	python := python(t)
	t.Run("Directory", func(t *testing.T) { testPeers(t, python, t.TempDir()) })
	t.Run("S3", func(t *testing.T) { testPeers(t, python, s3test.StartS3(t)) })
}

func testPeers(t *testing.T, python, at string) {
	s := open(t, at)
	tab := table.Open(s, "embeddings/image")
	tab.Warn = func(err error) { t.Error(err) }
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(python, append([]string{filepath.Join("testdata", "peers.py")}, args...)...)
		cmd.Env = append(os.Environ(), "ENDPOINT="+endpoint(s.URL()), "AWS_EC2_METADATA_DISABLED=true")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	live := map[string][]string{}
	const commits = 24
	for i := range commits {
		name := fmt.Sprintf("part-%d.parquet", i)
		// Polars asks S3 for the names as they are escaped in the log, so there
		// only plain ones work; winnow's are.
		if _, local := s.Path(""); local && i%5 == 1 {
			name = fmt.Sprintf("dir %d/ä+&=%d.parquet", i, i)
		}
		c := table.Change{Base: int64(i - 1), Adds: []table.File{putReal(t, tab, name, i*10, 3)}, AppID: "job", AppVersion: int64(i)}
		live[name] = []string{id(i * 10), id(i*10 + 1), id(i*10 + 2)}
		if i == 0 {
			c.Schema, c.Properties = realSchema, map[string]string{"winnow.embedding": "image"}
		}
		if i%4 == 3 {
			gone := fmt.Sprintf("part-%d.parquet", i-1)
			if live[gone] != nil {
				c.Removes = []string{gone}
				delete(live, gone)
			}
		}
		if _, err := tab.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	old := expect(t, tab, 4)
	want := expect(t, tab, table.Latest)
	if all := slices.Sorted(slices.Values(slices.Concat(valuesOf(live)...))); !slices.Equal(all, want.IDs) {
		t.Fatalf("the table holds %q, want %q", want.IDs, all)
	}
	want.Old = &oldVersion{4, old.IDs}
	run("read", plainURL(s.URL())+"/embeddings/image", want.json(t))

	// Only the checkpoint of version 20 and what follows.
	for v := range 20 {
		if err := s.Delete(t.Context(), fmt.Sprintf("embeddings/image/_delta_log/%020d.json", v)); err != nil {
			t.Fatal(err)
		}
	}
	want.Old = nil
	run("read", plainURL(s.URL())+"/embeddings/image", want.json(t))

	// delta-rs appends, deletes a row and writes a checkpoint.
	run("write", plainURL(s.URL())+"/embeddings/image")
	for _, tab := range []*table.Table{tab, table.Open(s, "embeddings/image")} {
		snap, err := tab.Snapshot(t.Context(), table.Latest)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(len(want.IDs) + 2 - 1); snap.Version != commits+1 || snap.Rows() != want {
			t.Errorf("after delta-rs wrote: version %d with %d rows, want %d", snap.Version, snap.Rows(), want)
		}
	}
	f := putReal(t, tab, "last.parquet", 500, 2)
	if _, err := tab.Commit(t.Context(), table.Change{Base: commits, Adds: []table.File{f}}); err != nil {
		t.Fatal(err)
	}
	if err := table.Open(s, "embeddings/image").Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	run("read", plainURL(s.URL())+"/embeddings/image", expect(t, table.Open(s, "embeddings/image"), table.Latest).json(t))
}

// expectation is what peers.py shall find.
type expectation struct {
	Version    int64             `json:"version"`
	Txn        int64             `json:"txn"`
	ID         string            `json:"id"`
	Properties map[string]string `json:"properties"`
	Names      []string          `json:"names"`
	Fields     json.RawMessage   `json:"fields"`
	IDs        []string          `json:"ids"`
	Bytes      int64             `json:"bytes"`
	Old        *oldVersion       `json:"old"`
}

type oldVersion struct {
	Version int64    `json:"version"`
	IDs     []string `json:"ids"`
}

func (e expectation) json(t *testing.T) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expect reads a version with this package and parquet-go.
func expect(t *testing.T, tab *table.Table, v int64) expectation {
	t.Helper()
	snap, err := tab.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := json.Marshal(snap.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var fields struct{ Fields json.RawMessage }
	if err := json.Unmarshal(schema, &fields); err != nil {
		t.Fatal(err)
	}
	e := expectation{
		Version: snap.Version, Txn: snap.Txns["job"], ID: snap.ID, Properties: snap.Properties,
		Fields: fields.Fields, Bytes: snap.Bytes(), Names: []string{},
	}
	for _, f := range snap.Files {
		e.Names = append(e.Names, path.Base(f.Path))
		data, err := tab.Files().Read(t.Context(), f.Path, 0)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[row](bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			e.IDs = append(e.IDs, r.AssetID)
		}
	}
	slices.Sort(e.IDs)
	return e
}

func valuesOf(m map[string][]string) [][]string {
	var out [][]string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// plainURL is a store's URL as the peers take it.
func plainURL(u string) string {
	base, _, _ := strings.Cut(u, "?")
	return strings.TrimPrefix(base, "file://")
}

func endpoint(u string) string {
	_, query, _ := strings.Cut(u, "?")
	values, _ := url.ParseQuery(query)
	return values.Get("endpoint")
}
