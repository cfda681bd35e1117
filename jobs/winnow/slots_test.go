package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const smallBatches = `
batches:
  - name: cats
    where: cats_match
    select: [{top: cats}]
    size: 4
    emit: [jsonl, parquet, html]
  - name: mixed
    select: [{diversity: {embedding: image}}]
    size: 5
    emit: [jsonl, parquet, html]
`

// TestSlots chooses batches for named slots, and without a name.
func TestSlots(t *testing.T) {
	s := newSite(t, plan{batches: smallBatches})
	first := s.outcome(t)
	copyOf := newSite(t, plan{batches: smallBatches})
	for _, f := range filesOf(t, s.folder()) {
		copyFile(t, filepath.Join(s.folder(), f), filepath.Join(copyOf.folder(), f))
	}

	s.run(t, "curate", "--slot", "a")
	a := look(t, s.workspace)
	if n := len(a.under("batches/cats/a/", "batches/mixed/a/")); n != 8 {
		t.Fatalf("slot a has %d files, want 8", n)
	}
	s.run(t, "curate", "--slot", "a")
	same(t, a, look(t, s.workspace))
	s.run(t, "curate") // unchanged inputs: the round of the first run
	same(t, a, look(t, s.workspace))
	s.outcome(t, "--slot", "a").idle(t)

	copyOf.run(t, "curate", "--slot", "a") // somewhere else, another time: the same choice
	same(t, a, look(t, copyOf.workspace))

	s.run(t, "curate", "--slot", "b")
	rows := rowsOf(t, s.workspace, false)
	taken := map[string]string{}
	for _, slot := range []string{first.Batches[0].Slot, "a", "b"} {
		for _, name := range []string{"cats", "mixed"} {
			ids := rows.slots[name+"/"+slot]
			if want := map[string]int{"cats": 4, "mixed": 5}[name]; slot != first.Batches[0].Slot && len(ids) != want {
				t.Errorf("batch %s/%s has %d rows, want %d", name, slot, len(ids), want)
			}
			for _, id := range ids {
				if before := taken[id]; before != "" {
					t.Errorf("batch %s/%s takes %s, which is in %s", name, slot, id, before)
				}
				taken[id] = name + "/" + slot
			}
		}
	}
	b := look(t, s.workspace)
	s.run(t, "curate", "--slot", "a") // an old slot keeps its batch
	same(t, b, look(t, s.workspace))
	for _, name := range []string{"cats", "mixed"} {
		ids := rows.slots[name+"/b"]
		for _, id := range ids {
			if !strings.Contains(b["batches/"+name+"/b/batch.jsonl"].text, `"`+id+`"`) {
				t.Errorf("batch.jsonl of %s/b lacks %s", name, id)
			}
		}
	}
	var out struct {
		Batches []struct {
			Name     string
			Picks    []string
			Existing bool
		}
	}
	p := s.start(t, "curate", "--slot", "c", "--dry-run", "--json").want(0, 3)
	p.decode(&out)
	if !slices.ContainsFunc(out.Batches, func(x struct {
		Name     string
		Picks    []string
		Existing bool
	}) bool {
		return len(x.Picks) > 0
	}) {
		t.Errorf("a dry run shows no picks: %+v", out)
	}
	same(t, b, look(t, s.workspace))
}
