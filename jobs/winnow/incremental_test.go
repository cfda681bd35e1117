package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tinyBatches leave rows for every round of the test.
const tinyBatches = `
batches:
  - {name: cats, where: cats_match, select: [{top: cats}], size: 2}
  - {name: mixed, select: [{random: {seed: 5}}], size: 3}
`

// TestIncremental changes the inputs of a workspace step by step: each run works
// on what is new, and leaves everything else as it is, bit by bit.
func TestIncremental(t *testing.T) {
	lines := photoLines(t)
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest.jsonl")
	write := func(lines []string) {
		t.Helper()
		if err := os.WriteFile(manifest, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := plan{manifest: "file://" + manifest, allow: "file://" + photosDir(t) + "/", batches: tinyBatches, without: []string{"people"}}
	later := []string{"chelsea-3", "gravel-3", "rocket-3"}
	write(slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return slices.ContainsFunc(later, func(id string) bool { return strings.Contains(l, `"`+id+`"`) })
	}))
	s := newSite(t, p)
	s.run(t, "run")
	start, rows := look(t, s.workspace), rowsOf(t, s.workspace, true)

	t.Run("three more photos", func(t *testing.T) {
		write(lines)
		o := s.outcome(t)
		if o.Ingest.New != 3 || o.Ingest.Changed+o.Ingest.Removed+o.Ingest.Rejected != 0 || o.rows("embed") != 6 {
			t.Errorf("ingest: %+v, embedded %d rows; want 3 new, and 3 pictures and 3 texts embedded", o.Ingest, o.rows("embed"))
		}
		now, more := look(t, s.workspace), rowsOf(t, s.workspace, true)
		kept(t, start.under("embeddings/", "scores/", "stats/"), now)
		for _, e := range []string{"image", "text"} {
			if got := added(rows.vectors[e], more.vectors[e]); !slices.Equal(got, later) {
				t.Errorf("embedding %s has new rows of %v, want %v", e, got, later)
			}
		}
		start, rows = now, more
	})
	t.Run("one more function", func(t *testing.T) {
		p.without = nil
		s.write(t, p)
		if o := s.outcome(t); o.rows("embed") != 0 || o.rows("score") != 44 {
			t.Errorf("embedded %d rows and scored %d, want 0 and 44", o.rows("embed"), o.rows("score"))
		}
		now, more := look(t, s.workspace), rowsOf(t, s.workspace, true)
		kept(t, start.under("assets/", "embeddings/", "scores/text/", "stats/", "indexes/"), now)
		for name := range start.under("scores/image/") {
			if _, ok := now[name]; ok && strings.HasSuffix(name, ".parquet") {
				t.Errorf("%s is live still: it lacks the function's column", name)
			}
		}
		if len(more.scores["people"]) != 44 {
			t.Errorf("the new function scored %d rows, want 44", len(more.scores["people"]))
		}
		old := &data{scores: maps.Clone(more.scores)}
		delete(old.scores, "people")
		sameScores(t, rows, old)
		start, rows = now, more
	})
	t.Run("one function less", func(t *testing.T) {
		p.without = []string{"drinks"}
		s.write(t, p)
		s.run(t, "run")
		now, more := look(t, s.workspace), rowsOf(t, s.workspace, true)
		kept(t, start.under("assets/", "embeddings/", "scores/image/", "stats/", "indexes/"), now)
		if schema := now["scores/text (schema)"].text; strings.Contains(schema, "drinks") || !strings.Contains(schema, "cats") {
			t.Errorf("the table's schema is %s", schema)
		}
		left := &data{scores: maps.Clone(rows.scores)}
		delete(left.scores, "drinks")
		sameScores(t, left, more)
		start, rows = now, more
	})
	t.Run("another caption", func(t *testing.T) {
		changed := slices.Clone(lines)
		for i, l := range changed {
			changed[i] = strings.Replace(l, "a cup of coffee on a wooden table, cut 2", "an espresso, seen from above", 1)
		}
		write(changed)
		o := s.outcome(t)
		if o.Ingest.Changed != 1 || o.Ingest.New+o.Ingest.Removed != 0 || o.rows("embed") != 1 {
			t.Errorf("ingest: %+v, embedded %d rows; want 1 changed and 1 embedded", o.Ingest, o.rows("embed"))
		}
		now, more := look(t, s.workspace), rowsOf(t, s.workspace, true)
		kept(t, start.under("embeddings/", "scores/image/", "stats/"), now)
		if got := added(rows.vectors["image"], more.vectors["image"]); len(got) != 0 {
			t.Errorf("pictures were embedded again: %v", got)
		}
		if got := added(rows.vectors["text"], more.vectors["text"]); !slices.Equal(got, []string{"coffee-2"}) {
			t.Errorf("embedding text has new rows of %v, want coffee-2", got)
		}
	})
	s.outcome(t).idle(t)
}

// photoLines are the lines of the photos' manifest, with absolute URIs.
func photoLines(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(photosDir(t), "manifest.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), `"uri": "`, `"uri": "`+photosDir(t)+"/")
	return strings.Split(strings.TrimSpace(text), "\n")
}

// kept fails t unless everything of before is there, unchanged.
func kept(t *testing.T, before, now contents) {
	t.Helper()
	here := contents{}
	for name := range before {
		if o, ok := now[name]; ok {
			here[name] = o
		}
	}
	if d := differences(before, here); d != "" || len(before) == 0 {
		t.Errorf("what was there (%d objects) was not kept:\n%s", len(before), d)
	}
}

// added are the asset ids of the rows that are new, and fails to hide changed
// ones: a row of the same asset and version with other values counts too.
func added(before, now map[string]vector) []string {
	var ids []string
	for name, v := range now {
		if old, ok := before[name]; !ok || old.hash != v.hash || !slices.Equal(old.values, v.values) {
			id, _, _ := strings.Cut(name, "@")
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
