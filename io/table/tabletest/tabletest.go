// Package tabletest holds what every table must do, as tests that run on any
// store.
package tabletest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winnow/io/store"
	"winnow/io/table"
)

// Schema is a schema for tables of files that nobody reads.
var Schema = table.Schema{
	{Name: "asset_id", Type: table.String},
	{Name: "vector", Type: table.Array(table.Float, false), Nullable: true, Metadata: map[string]string{"winnow.dim": "3"}},
}

// Run tests that tables on s behave as package table says. Each test works
// under a prefix of its own.
func Run(t *testing.T, s *store.Store) {
	for i, test := range []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"Life", testLife},
		{"Absent", testAbsent},
		{"Paths", testPaths},
		{"Refused", testRefused},
		{"Conflicts", testConflicts},
		{"Transactions", testTransactions},
		{"RaceToAppend", testRaceToAppend},
		{"RaceToReplace", testRaceToReplace},
		{"RaceToCreate", testRaceToCreate},
		{"RaceOfOneTransaction", testRaceOfOneTransaction},
		{"Checkpoints", testCheckpoints},
		{"Vacuum", testVacuum},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, s.Sub(fmt.Sprintf("tables/%02d", i)))
		})
	}
}

// Put writes an object for a data file and returns the file.
func Put(t testing.TB, tab *table.Table, path string, rows int64) table.File {
	t.Helper()
	data := []byte(path + " is no Parquet, and nobody minds")
	if err := tab.Files().WriteAll(t.Context(), path, data); err != nil {
		t.Fatal(err)
	}
	return table.File{Path: path, Size: int64(len(data)), Rows: rows}
}

func commit(t testing.TB, tab *table.Table, c table.Change) int64 {
	t.Helper()
	v, err := tab.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func snapshot(t testing.TB, tab *table.Table, v int64) *table.Snapshot {
	t.Helper()
	s, err := tab.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func paths(s *table.Snapshot) []string {
	var out []string
	for _, f := range s.Files {
		out = append(out, f.Path)
	}
	return out
}

func wantPaths(t testing.TB, s *table.Snapshot, want ...string) {
	t.Helper()
	if got := paths(s); !slices.Equal(got, want) {
		t.Errorf("version %d has %q, want %q", s.Version, got, want)
	}
}

func testLife(t *testing.T, s *store.Store) {
	tab := table.Open(s, "embeddings/image")
	a, b, c := Put(t, tab, "a.parquet", 3), Put(t, tab, "b.parquet", 4), Put(t, tab, "sub/c.parquet", -1)
	a.Stats = table.Stats(3, map[string]any{"asset_id": "a1"}, map[string]any{"asset_id": "a3"}, map[string]int64{"asset_id": 0})
	b.Tags = map[string]string{"winnow.function.apples": "f00d", "é\"": "ü\n"}
	v := commit(t, tab, table.Change{
		Base: -1, Schema: Schema, Properties: map[string]string{"winnow.embedding": "image", "delta.appendOnly": "false"},
		Adds: []table.File{b, a}, AppID: "app", AppVersion: 7, Operation: "CREATE", Info: map[string]string{"run": "r1"},
	})
	if v != 0 {
		t.Fatalf("the first version is %d", v)
	}
	v = commit(t, tab, table.Change{Base: 0, Adds: []table.File{c}, Removes: []string{"a.parquet"}, AppID: "other", AppVersion: 1})
	if v != 1 {
		t.Fatalf("the second version is %d", v)
	}
	wider := append(slices.Clone(Schema), table.Field{Name: "score", Type: table.Float, Nullable: true})
	v = commit(t, tab, table.Change{Base: 1, Schema: wider, Properties: map[string]string{"winnow.embedding": "", "x": "y"}, Rearranged: true})

	for _, tab := range []*table.Table{tab, table.Open(s, "/embeddings/image/")} {
		s0 := snapshot(t, tab, 0)
		wantPaths(t, s0, "a.parquet", "b.parquet")
		if got := s0.Files[0]; got.Stats != a.Stats || got.Rows != 3 || got.Size != a.Size || got.Tags != nil || got.ModTime == 0 {
			t.Errorf("a is %+v", got)
		}
		if got := s0.Files[1]; got.Rows != 4 || !maps.Equal(got.Tags, b.Tags) || got.Stats != `{"numRecords":4}` {
			t.Errorf("b is %+v", got)
		}
		if !s0.Schema.Equal(Schema) || s0.Properties["winnow.embedding"] != "image" || s0.Txns["app"] != 7 || len(s0.Txns) != 1 || s0.Rows() != 7 {
			t.Errorf("version 0 is %+v", s0)
		}
		s2 := snapshot(t, tab, table.Latest)
		wantPaths(t, s2, "b.parquet", "sub/c.parquet")
		if s2.Version != v || !s2.Schema.Equal(wider) || s2.Files[1].Rows != -1 || s2.Rows() != -1 || s2.Bytes() != b.Size+c.Size {
			t.Errorf("version 2 is %+v", s2)
		}
		if want := map[string]string{"delta.appendOnly": "false", "x": "y"}; !maps.Equal(s2.Properties, want) {
			t.Errorf("properties %v", s2.Properties)
		}
		if s2.ID != s0.ID || len(s2.ID) != 36 || time.Since(s2.Created) > time.Hour || s2.Txns["app"] != 7 || s2.Txns["other"] != 1 {
			t.Errorf("version 2 is %+v", s2)
		}
		wantPaths(t, snapshot(t, tab, 1), "b.parquet", "sub/c.parquet")
		if _, err := tab.Snapshot(t.Context(), 3); !errors.Is(err, table.ErrNoVersion) {
			t.Errorf("version 3: %v", err)
		}
		if _, err := tab.Snapshot(t.Context(), -2); !errors.Is(err, table.ErrNoVersion) {
			t.Errorf("version -2: %v", err)
		}
	}
	var history []table.Entry
	for e, err := range tab.History(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, e)
	}
	if len(history) != 3 || history[2].Operation != "CREATE" || history[2].Info["run"] != "r1" || history[2].Added != 2 ||
		history[1].Version != 1 || history[1].Removed != 1 || time.Since(history[0].Time) > time.Hour {
		t.Errorf("history: %+v", history)
	}
}

func testAbsent(t *testing.T, s *store.Store) {
	tab := table.Open(s, "none")
	snap := snapshot(t, tab, table.Latest)
	if snap.Version != -1 || snap.Files == nil || len(snap.Files) != 0 || snap.Schema != nil {
		t.Errorf("an absent table is %+v", snap)
	}
	if _, err := tab.Snapshot(t.Context(), 0); !errors.Is(err, table.ErrNoVersion) {
		t.Errorf("version 0 of an absent table: %v", err)
	}
	for e, err := range tab.History(t.Context()) {
		t.Errorf("history of an absent table: %+v, %v", e, err)
	}
	if _, err := tab.Vacuum(t.Context(), table.VacuumOptions{}); err != nil {
		t.Error(err)
	}
	if err := tab.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
}

func testPaths(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	names := []string{"a b.parquet", "a%20b.parquet", "c:d.parquet", "col=1/ä+&.parquet", "x#?.parquet"}
	var adds []table.File
	for i, n := range names {
		adds = append(adds, Put(t, tab, n, int64(i)))
	}
	commit(t, tab, table.Change{Base: -1, Schema: Schema, Adds: adds})
	wantPaths(t, snapshot(t, table.Open(s, "t"), 0), names...)
	commit(t, tab, table.Change{Base: 0, Removes: names[1:]})
	if err := tab.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantPaths(t, snapshot(t, table.Open(s, "t"), 1), names[0])
}

func testRefused(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	a := Put(t, tab, "a.parquet", 1)
	wrong := a
	wrong.Size++
	for name, c := range map[string]table.Change{
		"no schema":       {Base: -1, Adds: []table.File{a}},
		"wrong size":      {Base: -1, Schema: Schema, Adds: []table.File{wrong}},
		"missing object":  {Base: -1, Schema: Schema, Adds: []table.File{{Path: "b.parquet", Size: 1}}},
		"twice":           {Base: -1, Schema: Schema, Adds: []table.File{a, a}},
		"add and remove":  {Base: -1, Schema: Schema, Adds: []table.File{a}, Removes: []string{"a.parquet"}},
		"empty path":      {Base: -1, Schema: Schema, Adds: []table.File{{}}},
		"in the log":      {Base: -1, Schema: Schema, Adds: []table.File{{Path: "_delta_log/x.parquet"}}},
		"bad base":        {Base: -3, Schema: Schema},
		"bad stats":       {Base: -1, Schema: Schema, Adds: []table.File{{Path: a.Path, Size: a.Size, Stats: "{"}}},
		"bad column":      {Base: -1, Schema: table.Schema{{Name: "a b", Type: table.Long}}},
		"column twice":    {Base: -1, Schema: table.Schema{{Name: "a", Type: table.Long}, {Name: "A", Type: table.Long}}},
		"unknown type":    {Base: -1, Schema: table.Schema{{Name: "a", Type: table.Type{Name: "timestamp_ntz"}}}},
		"unknown element": {Base: -1, Schema: table.Schema{{Name: "a", Type: table.Array(table.Type{Name: "uint8"}, true)}}},
	} {
		if v, err := tab.Commit(t.Context(), c); err == nil {
			t.Errorf("%s: committed as version %d", name, v)
		}
	}
	if v := snapshot(t, tab, table.Latest).Version; v != -1 {
		t.Errorf("the refused changes left version %d", v)
	}
	commit(t, tab, table.Change{Base: -1, Schema: Schema})
	if _, err := tab.Commit(t.Context(), table.Change{Base: 0}); err == nil {
		t.Error("an empty change was committed")
	}
}

func testConflicts(t *testing.T, s *store.Store) {
	other := table.Schema{{Name: "asset_id", Type: table.Long}}
	for i, c := range []struct {
		name     string
		winner   table.Change // commits first, on the same base
		loser    table.Change
		conflict bool
	}{
		{"two appends", table.Change{Adds: files("n1")}, table.Change{Adds: files("n2")}, false},
		{"append and remove", table.Change{Adds: files("n1")}, table.Change{Removes: []string{"o1"}}, false},
		{"different removes", table.Change{Removes: []string{"o1"}}, table.Change{Removes: []string{"o2"}}, false},
		{"same remove", table.Change{Removes: []string{"o1"}}, table.Change{Removes: []string{"o1"}}, true},
		{"same add", table.Change{Adds: files("n1")}, table.Change{Adds: files("n1")}, true},
		{"add of old", table.Change{Adds: files("n1")}, table.Change{Adds: files("o1")}, true},
		{"schema under append", table.Change{Schema: other}, table.Change{Adds: files("n1")}, true},
		{"schema under remove", table.Change{Schema: other}, table.Change{Removes: []string{"o1"}}, true},
		{"two schemas", table.Change{Schema: other}, table.Change{Schema: Schema, Adds: files("n1")}, true},
		{"same schema again", table.Change{Schema: Schema, AppID: "x"}, table.Change{Adds: files("n1")}, false},
		{"property under append", table.Change{Properties: map[string]string{"a": "b"}}, table.Change{Adds: files("n1")}, true},
		{"append under schema", table.Change{Adds: files("n1")}, table.Change{Schema: other}, false},
		{"append under exclusive", table.Change{Adds: files("n1")}, table.Change{Adds: files("n2"), Exclusive: true}, true},
		{"exclusive under append", table.Change{Adds: files("n1"), Exclusive: true}, table.Change{Adds: files("n2")}, false},
		{"later base", table.Change{Adds: files("n1")}, table.Change{Base: 9, Adds: files("n2")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fmt.Sprint(i)
			tab := table.Open(s, root)
			for _, n := range []string{"o1", "o2", "n1", "n2"} {
				if f := Put(t, tab, n, 1); f.Size != size {
					t.Fatal(f.Size)
				}
			}
			commit(t, tab, table.Change{Base: -1, Schema: Schema, Adds: files("o1", "o2")})
			commit(t, tab, c.winner)
			for _, tab := range []*table.Table{table.Open(s, root), tab} {
				v, err := tab.Commit(t.Context(), c.loser)
				if c.conflict != errors.Is(err, table.ErrConflict) || !c.conflict && (err != nil || v != 2) {
					t.Errorf("the second writer got %d, %v", v, err)
				}
				if !c.conflict {
					break
				}
			}
		})
	}
}

// size of what Put writes for the names below.
const size = 34

func files(names ...string) []table.File {
	var out []table.File
	for _, n := range names {
		out = append(out, table.File{Path: n, Size: size, Rows: 1})
	}
	return out
}

func testTransactions(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	for _, n := range []string{"n1", "n2", "n3", "n4"} {
		Put(t, tab, n, 1)
	}
	first := table.Change{Base: -1, Schema: Schema, Adds: files("n1"), AppID: "a", AppVersion: 3}
	commit(t, tab, first)
	second := table.Change{Base: 0, Adds: files("n2"), AppID: "b", AppVersion: 0}
	commit(t, tab, second)
	commit(t, tab, table.Change{Base: 1, Adds: files("n3"), AppID: "a", AppVersion: 4})
	for _, tab := range []*table.Table{tab, table.Open(s, "t")} {
		for range 2 { // the second time past a checkpoint
			if v := commit(t, tab, first); v != 0 {
				t.Errorf("the first transaction again: version %d", v)
			}
			if v := commit(t, tab, second); v != 1 {
				t.Errorf("the second transaction again: version %d", v)
			}
			if err := tab.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantPaths(t, snapshot(t, tab, table.Latest), "n1", "n2", "n3")
	// A transaction alone is a commit.
	if v := commit(t, tab, table.Change{Base: 2, AppID: "c"}); v != 3 {
		t.Errorf("a bare transaction: version %d", v)
	}
	if v := commit(t, tab, table.Change{Base: 3, AppID: "c", AppVersion: 1, Adds: files("n4")}); v != 4 {
		t.Errorf("its successor: version %d", v)
	}
}

// rounds is the number of races: many in a soak, else a tenth.
func rounds(many int) int {
	if os.Getenv("WINNOW_SOAK") != "" {
		return many
	}
	return max(many/10, 1)
}

func testRaceToAppend(t *testing.T, s *store.Store) {
	const writers = 8
	each := rounds(60)
	commit(t, table.Open(s, "t"), table.Change{Base: -1, Schema: Schema})
	var wg sync.WaitGroup
	versions := make([][]int64, writers)
	for w := range writers {
		wg.Go(func() {
			tab := table.Open(s, "t") // as another process
			base := int64(0)
			for i := range each {
				f := Put(t, tab, fmt.Sprintf("w%d-%03d", w, i), 1)
				v, err := tab.Commit(t.Context(), table.Change{Base: base, Adds: []table.File{f}})
				if err != nil {
					t.Error(err)
					return
				}
				versions[w] = append(versions[w], v)
				snap, err := tab.Snapshot(t.Context(), table.Latest)
				if err != nil {
					t.Error(err)
					return
				}
				// One file a version: a reader never sees half a commit.
				if int64(len(snap.Files)) != snap.Version || snap.Version < v {
					t.Errorf("version %d has %d files", snap.Version, len(snap.Files))
				}
				if w%2 == 0 { // the others plan on an old version
					base = v
				}
			}
		})
	}
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(versions...)))
	for i, v := range all {
		if v != int64(i+1) {
			t.Fatalf("the versions are %v", all)
		}
	}
	if snap := snapshot(t, table.Open(s, "t"), table.Latest); len(snap.Files) != writers*each || snap.Version != int64(writers*each) {
		t.Errorf("version %d has %d files, want %d", snap.Version, len(snap.Files), writers*each)
	}
}

// testRaceToReplace lets all writers replace the same file: one does.
func testRaceToReplace(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	const writers = 8
	old := Put(t, tab, "gen0", 1)
	base := commit(t, tab, table.Change{Base: -1, Schema: Schema, Adds: []table.File{old}})
	for r := range rounds(150) {
		var won atomic.Value
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				tab := table.Open(s, "t")
				f := Put(t, tab, fmt.Sprintf("gen%d-%d", r+1, w), 1)
				_, err := tab.Commit(t.Context(), table.Change{Base: base, Adds: []table.File{f}, Removes: []string{old.Path}, Exclusive: w%2 == 0})
				switch {
				case err == nil:
					if won.Swap(f.Path) != nil {
						t.Errorf("round %d: two winners", r)
					}
				case !errors.Is(err, table.ErrConflict):
					t.Errorf("round %d: %v", r, err)
				}
			})
		}
		wg.Wait()
		snap := snapshot(t, tab, table.Latest)
		if won.Load() == nil || len(snap.Files) != 1 || snap.Files[0].Path != won.Load() || snap.Version != base+1 {
			t.Fatalf("round %d: version %d has %q, the winner is %v", r, snap.Version, paths(snap), won.Load())
		}
		old, base = snap.Files[0], snap.Version
	}
}

func testRaceToCreate(t *testing.T, s *store.Store) {
	for r := range rounds(100) {
		root := fmt.Sprint(r)
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				tab := table.Open(s, root)
				f := Put(t, tab, fmt.Sprintf("w%d", w), 1)
				if _, err := tab.Commit(t.Context(), table.Change{Base: -1, Schema: Schema, Properties: map[string]string{"a": "b"}, Adds: []table.File{f}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if snap := snapshot(t, table.Open(s, root), table.Latest); snap.Version != 7 || len(snap.Files) != 8 {
			t.Errorf("version %d has %q", snap.Version, paths(snap))
		}
	}
}

// testRaceOfOneTransaction runs the same job many times at once: it is
// committed once, and all learn its version.
func testRaceOfOneTransaction(t *testing.T, s *store.Store) {
	tab := table.Open(s, "t")
	commit(t, tab, table.Change{Base: -1, Schema: Schema})
	for r := range rounds(100) {
		f := Put(t, tab, fmt.Sprint("round", r), 1)
		c := table.Change{Base: int64(r), Adds: []table.File{f}, AppID: fmt.Sprint("job", r)}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if v, err := table.Open(s, "t").Commit(t.Context(), c); err != nil || v != int64(r+1) {
					t.Errorf("round %d: version %d, %v", r, v, err)
				}
			})
		}
		wg.Wait()
	}
}
