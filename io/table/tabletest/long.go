package tabletest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"winnow/io/store"
	"winnow/io/table"
)

// testCheckpoints makes a table whose log is longer than a page of a list, and
// reads it from every side.
func testCheckpoints(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	tab.Warn = func(err error) { t.Error(err) }
	n := int64(rounds(1100) + 20)
	for i := range n {
		name := fmt.Sprintf("f%04d", i)
		c := table.Change{Base: i - 1, Adds: []table.File{Put(t, tab, name, i)}, AppID: "job", AppVersion: i}
		switch {
		case i == 0:
			c.Schema = Schema
		case i%3 == 0:
			c.Removes = []string{fmt.Sprintf("f%04d", i-1)}
		}
		if v := commit(t, tab, c); v != i {
			t.Fatalf("version %d, want %d", v, i)
		}
	}
	// Version v has all files up to it but those that a multiple of 3 removed.
	want := func(v int64) (out []string) {
		for i := range v + 1 {
			if i%3 != 2 || i+1 > v {
				out = append(out, fmt.Sprintf("f%04d", i))
			}
		}
		return out
	}
	for _, v := range []int64{n - 1, 0, 1, 9, 10, 11, 25, n - 2, n / 2} {
		fresh := table.Open(s, "t")
		snap := snapshot(t, fresh, v)
		wantPaths(t, snap, want(v)...)
		if snap.Txns["job"] != v || !snap.Schema.Equal(Schema) {
			t.Errorf("version %d: %+v", v, snap)
		}
		for _, f := range snap.Files {
			if fmt.Sprintf("f%04d", f.Rows) != f.Path || f.Stats == "" || f.ModTime == 0 {
				t.Errorf("version %d has %+v", v, f)
			}
		}
	}
	var checkpoints int64
	for o, err := range s.List(t.Context(), "t/_delta_log/") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Key, ".checkpoint.parquet") {
			checkpoints++
		}
	}
	if checkpoints != (n-1)/10 {
		t.Errorf("%d commits made %d checkpoints", n, checkpoints)
	}
	// The log before a checkpoint may go.
	for v := range int64(15) {
		if err := s.Delete(t.Context(), fmt.Sprintf("t/_delta_log/%020d.json", v)); err != nil {
			t.Fatal(err)
		}
	}
	fresh := table.Open(s, "t")
	wantPaths(t, snapshot(t, fresh, table.Latest), want(n-1)...)
	wantPaths(t, snapshot(t, fresh, 20), want(20)...)
	if _, err := fresh.Snapshot(t.Context(), 5); !errors.Is(err, table.ErrNoVersion) {
		t.Errorf("a version without its log: %v", err)
	}
	commit(t, fresh, table.Change{Base: n - 1, AppID: "more"})
	// Neither a damaged hint nor a missing one matters.
	for _, hint := range []string{"{", `{"version":7}`, `{"version":999999}`, ""} {
		var err error
		if hint == "" {
			err = s.Delete(t.Context(), "t/_delta_log/_last_checkpoint")
		} else {
			err = s.WriteAll(t.Context(), "t/_delta_log/_last_checkpoint", []byte(hint))
		}
		if err != nil {
			t.Fatal(err)
		}
		wantPaths(t, snapshot(t, table.Open(s, "t"), table.Latest), want(n-1)...)
		wantPaths(t, snapshot(t, table.Open(s, "t"), 21), want(21)...)
	}
}

func testVacuum(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	for _, n := range []string{"a.parquet", "b.parquet", "c.parquet", "d/e.parquet", "d/orphan.parquet", "orphan.parquet",
		"notes.txt", "elsewhere/batch.parquet"} {
		Put(t, tab, n, 1)
	}
	file := func(n string) []table.File { return []table.File{Put(t, tab, n, 1)} }
	commit(t, tab, table.Change{Base: -1, Schema: Schema, Adds: file("a.parquet")})
	commit(t, tab, table.Change{Base: 0, Adds: file("b.parquet"), Removes: []string{"a.parquet"}})
	commit(t, tab, table.Change{Base: 1, Adds: slices.Concat(file("c.parquet"), file("d/e.parquet")), Removes: []string{"b.parquet"}})
	none, err := tab.Vacuum(t.Context(), table.VacuumOptions{Age: 1})
	if err != nil || len(none.Paths) > 0 {
		t.Errorf("files younger than a day were taken: %+v, %v", none, err)
	}
	if _, err := tab.Vacuum(t.Context(), table.VacuumOptions{Keep: []int64{17}}); !errors.Is(err, table.ErrNoVersion) {
		t.Errorf("an unknown version is to be kept: %v", err)
	}
	wantPaths(t, snapshot(t, tab, table.Latest), "c.parquet", "d/e.parquet")
}
