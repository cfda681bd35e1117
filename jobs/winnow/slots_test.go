package main

import (
	"path/filepath"
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
	taken := map[string]string{} // asset → batch and slot
	for _, x := range first.Batches {
		if n := len(rows.slots[x.Name+"/"+x.Slot]); int64(n) != x.Rows || n == 0 {
			t.Errorf("batch %s/%s has %d rows, the run said %d", x.Name, x.Slot, n, x.Rows)
		}
	}
	if len(rows.slots) != 6 {
		t.Errorf("there are %d batches, want two for each of three slots", len(rows.slots))
	}
	for slot, ids := range rows.slots {
		name, _, _ := strings.Cut(slot, "/")
		if want := map[string]int{"cats": 4, "mixed": 5}[name]; len(ids) != want {
			t.Errorf("batch %s has %d rows, want %d", slot, len(ids), want)
		}
		for _, id := range ids {
			if before := taken[id]; before != "" {
				t.Errorf("%s is in %s and in %s", id, slot, before)
			}
			taken[id] = slot
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
	t.Run("until no row is left", func(t *testing.T) { useUp(t, s, b, len(taken)) })
}

// useUp takes batch after batch until all rows are taken.
func useUp(t *testing.T, s *site, before contents, taken int) {
	type result struct {
		Functions []struct {
			Name      string
			Threshold *float64
		}
		Batches []struct {
			Rows  int
			Picks []string
		}
	}
	curate := func(args ...string) (r result, code int) {
		p := s.start(t, append([]string{"curate", "--json"}, args...)...).want(0, 3)
		p.decode(&r)
		return r, p.code
	}
	dry, _ := curate("--slot", "c", "--dry-run")
	if len(dry.Batches) != 2 || len(dry.Batches[0].Picks) != 4 {
		t.Errorf("a dry run shows %+v", dry)
	}
	same(t, before, look(t, s.workspace))
	for _, slot := range []string{"c", "d", "e"} {
		r, code := curate("--slot", slot)
		got := 0
		for _, b := range r.Batches {
			got += b.Rows
		}
		if want := min(9, 44-taken); got != want || (code == 0) != (want == 9) {
			t.Errorf("slot %s took %d rows and left with %d, want %d rows", slot, got, code, want)
		}
		taken += got
		for _, f := range r.Functions {
			if f.Name == "cats" && (f.Threshold == nil) != (slot == "e") {
				t.Errorf("slot %s: the threshold of the top of what is left is %v", slot, f.Threshold)
			}
		}
	}
	if taken != 44 {
		t.Errorf("%d rows were taken", taken)
	}
}
