package table

import (
	"slices"
	"testing"
	"time"
)

func TestVacuumTakesWhatNobodyNeeds(t *testing.T) {
	s := memory(t)
	tab := Open(s, "t")
	add := func(base int64, name string, removes ...string) {
		t.Helper()
		c := Change{Base: base, Adds: []File{put(t, s, name)}, Removes: removes}
		if base < 0 {
			c.Schema = testSchema
		}
		if _, err := tab.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	add(-1, "a.parquet")
	add(0, "b.parquet", "a.parquet")
	add(1, "d/c.parquet", "b.parquet")
	for _, n := range []string{"orphan.parquet", "d/orphan.parquet", "notes.txt", "elsewhere/batch.parquet", "_delta_log/x.parquet"} {
		put(t, s, n)
	}
	now := time.Now()
	all := []string{"a.parquet", "b.parquet", "d/orphan.parquet", "orphan.parquet"}
	for _, c := range []struct {
		name string
		o    VacuumOptions
		want []string
	}{
		{"too young", VacuumOptions{now: now.Add(23 * time.Hour)}, nil},
		{"asked for less than a day", VacuumOptions{Age: time.Minute, now: now.Add(23 * time.Hour)}, nil},
		{"a week", VacuumOptions{Age: 7 * 24 * time.Hour, now: now.Add(6 * 24 * time.Hour)}, nil},
		{"old", VacuumOptions{now: now.Add(25 * time.Hour)}, all},
		{"keep 0", VacuumOptions{Keep: []int64{0}, now: now.Add(25 * time.Hour)}, all[1:]},
		{"keep 0 and 1", VacuumOptions{Keep: []int64{0, 1, 2}, now: now.Add(25 * time.Hour)}, all[2:]},
	} {
		c.o.DryRun = true
		out, err := tab.Vacuum(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.Paths, c.want) {
			t.Errorf("%s: %q, want %q", c.name, out.Paths, c.want)
		}
	}
	// Not only in a fresh log: a checkpoint remembers removed files too.
	if err := tab.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := Open(s, "t").Vacuum(t.Context(), VacuumOptions{Keep: []int64{1}, now: now.Add(25 * time.Hour)})
	if err != nil || !slices.Equal(out.Paths, []string{"a.parquet", "d/orphan.parquet", "orphan.parquet"}) || out.Bytes != 9+16+14 {
		t.Errorf("took %+v, %v", out, err)
	}
	var left []string
	for o, err := range tab.Files().List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key[0] != '_' {
			left = append(left, o.Key)
		}
	}
	if want := []string{"b.parquet", "d/c.parquet", "elsewhere/batch.parquet", "notes.txt"}; !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}
