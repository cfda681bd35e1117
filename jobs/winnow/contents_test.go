package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"lukechampine.com/blake3"

	"winnow/io/store"
	"winnow/io/table"
)

// object is one live object of a workspace, or one fact of a table.
type object struct {
	hash string
	size int
	text string // of small texts, to show what differs
}

func (o object) String() string { return fmt.Sprintf("%s, %d bytes", o.hash, o.size) }

// contents is what counts in a workspace, by name: the live files of every table
// and its schema, statistics and fitted functions, finished indexes, and the
// files of batches. What a run leaves for itself (plans, results, locks, logs)
// is not in it, and neither is the name of the run in lineage.json.
type contents map[string]object

const biggestText = 256 << 10

func newObject(data []byte) object {
	sum := blake3.Sum256(data)
	o := object{hash: hex.EncodeToString(sum[:8]), size: len(data)}
	if len(data) < biggestText && !bytes.ContainsRune(data, 0) {
		o.text = string(data)
	}
	return o
}

func read(ctx context.Context, t testing.TB, s *store.Store, key string) []byte {
	t.Helper()
	data, err := s.Read(ctx, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// look reads the contents of a workspace.
func look(t testing.TB, url string) contents {
	t.Helper()
	ctx := background(t)
	s, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := contents{}
	tables := map[string]bool{}
	for o, err := range s.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		switch first, _, _ := strings.Cut(o.Key, "/"); first {
		case "locks", "runs":
			continue
		case "stats":
			c[o.Key] = newObject(read(ctx, t, s, o.Key))
		case "indexes":
			if !strings.Contains(o.Key, "/_results/") {
				c.index(ctx, t, s, o.Key)
			}
		case "batches":
			data := read(ctx, t, s, o.Key)
			if path.Base(o.Key) == "lineage.json" {
				data = withoutRun(t, data)
			}
			c[o.Key] = newObject(data)
		default:
			if root, _, ok := strings.Cut(o.Key, "/_delta_log/"); ok {
				tables[root] = true
			}
		}
	}
	for root := range tables {
		c.table(ctx, t, s, root)
	}
	if len(c) == 0 {
		t.Fatalf("%s is empty", url)
	}
	return c
}

// index adds a file of an index, unless the index is not finished.
func (c contents) index(ctx context.Context, t testing.TB, s *store.Store, key string) {
	t.Helper()
	if _, err := s.Stat(ctx, path.Dir(key)+"/index.json"); err == nil {
		c[key] = newObject(read(ctx, t, s, key))
	}
}

func (c contents) table(ctx context.Context, t testing.TB, s *store.Store, root string) {
	t.Helper()
	snap, err := table.Open(s, root).Snapshot(ctx, table.Latest)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := json.MarshalIndent(snap.Schema, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	c[root+" (schema)"] = newObject(schema)
	for _, f := range snap.Files {
		data := read(ctx, t, s, root+"/"+f.Path)
		if int64(len(data)) != f.Size {
			t.Errorf("%s/%s has %d bytes, the log says %d", root, f.Path, len(data), f.Size)
		}
		c[root+"/"+f.Path] = newObject(data)
		about, err := json.MarshalIndent(struct {
			Rows int64
			Tags map[string]string
		}{f.Rows, f.Tags}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		c[root+"/"+f.Path+" (log)"] = newObject(about)
	}
}

// withoutRun drops the name of the run from a lineage.
func withoutRun(t testing.TB, data []byte) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m["run"] == nil {
		t.Errorf("lineage.json names no run: %s", data)
	}
	delete(m, "run")
	out, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// under are the entries below some folders.
func (c contents) under(prefixes ...string) contents {
	out := contents{}
	for name, o := range c {
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				out[name] = o
			}
		}
	}
	return out
}

// differences says in what got is not want: names, hashes, and the lines of
// small texts.
func differences(want, got contents) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, g := want[name], got[name]
		switch _, ok := got[name]; {
		case !ok:
			fmt.Fprintf(&b, "  missing    %s (%s)\n", name, w)
		case w.hash != g.hash:
			fmt.Fprintf(&b, "  different  %s: %s, want %s\n", name, g, w)
			if w.text != "" && g.text != "" {
				d := cmp.Diff(strings.Split(w.text, "\n"), strings.Split(g.text, "\n"))
				fmt.Fprintf(&b, "%s\n", d[:min(len(d), 2000)])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			fmt.Fprintf(&b, "  too much   %s (%s)\n", name, got[name])
		}
	}
	return b.String()
}

// same fails t unless a workspace holds what it should.
func same(t testing.TB, want, got contents) {
	t.Helper()
	if d := differences(want, got); d != "" {
		t.Errorf("the workspace differs:\n%s", d)
	}
}
