package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"winnow/io/store"
	"winnow/io/store/s3test"
)

// testS3 runs with manifest, photos and workspace in a bucket.
func testS3(t *testing.T, ref *site) {
	bucket, query, _ := strings.Cut(s3test.StartS3(t), "?")
	at := func(prefix string) string { return bucket + "/" + prefix + "?" + query }
	upload(t, photosDir(t), at("photos"))
	s := newSite(t, plan{manifest: at("photos/manifest.jsonl"), allow: at("photos/"), workspace: at("winnow/workspace")})
	p := s.run(t, "run")
	t.Logf("the run took %v", p.took)
	want, got := rowsOf(t, ref.workspace, false), rowsOf(t, s.workspace, false)
	sameVectors(t, want, got)
	sameScores(t, want, got)
	if len(want.batches) != 2 {
		t.Errorf("there are %d batches", len(want.batches))
	}
	for name, ids := range want.batches {
		if !slices.Equal(ids, got.batches[name]) {
			t.Errorf("batch %s chose %v, in the folder %v", name, got.batches[name], ids)
		}
	}
	files := look(t, s.workspace)
	for _, name := range []string{"batch.html", "batch.jsonl", "labelbox/data_rows.json", "lineage.json"} {
		if n := len(slices.Collect(func(yield func(string) bool) {
			for key := range files.under("batches/") {
				if strings.HasSuffix(key, "/"+name) && !yield(key) {
					return
				}
			}
		})); n != 2 {
			t.Errorf("%d batches have a file %s, want 2", n, name)
		}
	}
	s.outcome(t).idle(t)
	same(t, files, look(t, s.workspace))
}

// upload copies the files of a folder to a store.
func upload(t *testing.T, dir, url string) {
	t.Helper()
	ctx := background(t)
	s, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WriteAll(ctx, e.Name(), raw); err != nil {
			t.Fatal(err)
		}
	}
}

// sameVectors compares content hashes and vectors bit by bit.
func sameVectors(t *testing.T, want, got *data) {
	t.Helper()
	for name, rows := range want.vectors {
		if a, b := slices.Sorted(maps.Keys(rows)), slices.Sorted(maps.Keys(got.vectors[name])); !slices.Equal(a, b) {
			t.Errorf("embedding %s has the rows %v, want %v", name, b, a)
			continue
		}
		var bad []string
		for id, w := range rows {
			g := got.vectors[name][id]
			if w.hash != g.hash {
				bad = append(bad, fmt.Sprintf("%s has content hash %s, want %s", id, g.hash, w.hash))
			} else if !slices.Equal(w.values, g.values) {
				bad = append(bad, fmt.Sprintf("%s has another vector", id))
			}
		}
		slices.Sort(bad)
		if len(bad) > 0 {
			t.Errorf("embedding %s, %d rows differ:\n  %s", name, len(bad), strings.Join(bad, "\n  "))
		}
	}
}

func sameScores(t *testing.T, want, got *data) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(want.scores)), slices.Sorted(maps.Keys(got.scores)); !slices.Equal(a, b) {
		t.Errorf("there are scores of %v, want %v", b, a)
	}
	for f, rows := range want.scores {
		var bad []string
		for id, w := range rows {
			if g, ok := got.scores[f][id]; !ok || g != w {
				bad = append(bad, fmt.Sprintf("%s has %v, want %v", id, g, w))
			}
		}
		slices.Sort(bad)
		if len(bad) > 0 {
			t.Errorf("function %s, %d of %d scores differ:\n  %s", f, len(bad), len(rows), strings.Join(bad, "\n  "))
		}
	}
}
