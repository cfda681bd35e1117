package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func soak() bool { return os.Getenv("WINNOW_SOAK") != "" }

// testKill kills runs at seeded random moments and sometimes the next run as
// well, and then lets one run to its end.
func testKill(t *testing.T, want contents, took time.Duration) {
	kills := 5
	if soak() {
		kills = 100
	}
	rng := rand.New(rand.NewPCG(7, 11))
	hit := 0
	for i := range kills {
		s := newSite(t, plan{})
		moments := []float64{rng.Float64()}
		if rng.IntN(3) == 0 {
			moments = append(moments, rng.Float64())
		}
		var at []string
		for _, m := range moments {
			p, begun := s.start(t, "run"), time.Now()
			after := time.Duration(m * float64(took))
			select {
			case <-time.After(after):
			case <-p.done:
			}
			state := "after its end"
			if p.kill() {
				hit++
				state = fmt.Sprintf("with %d files", len(filesOf(t, s.folder())))
			} else {
				p.want(0)
				took = min(took, time.Since(begun)) // the machine is faster than at the first run
			}
			at = append(at, fmt.Sprintf("%v, %s", after.Round(time.Millisecond), state))
		}
		s.run(t, "run")
		if d := differences(want, look(t, s.workspace)); d != "" {
			t.Errorf("kill %d (at %s) left another workspace:\n%s", i, strings.Join(at, " and "), d)
		}
		t.Logf("kill %d at %s", i, strings.Join(at, " and "))
	}
	if hit == 0 {
		t.Errorf("none of %d kills met a running process", kills)
	}
}

// aims are the moments at which a kind of file appears.
var aims = []struct {
	name, glob string
	n          int // files of the kind
	always     bool
}{
	{"first shard", "embeddings/*/*/*.parquet", 1, true},
	{"third result", "embeddings/*/*/_results/*.json", 3, false},
	{"plan of the scores", "runs/*/score/plan.json", 1, false},
	{"first scores committed", "scores/*/_delta_log/*.json", 1, true},
	{"first file of a batch", "batches/*/*/batch.*", 1, true},
	{"assets committed", "assets/_delta_log/*.json", 1, false},
	{"plan of the vectors", "runs/*/embed/plan.json", 1, false},
	{"first vectors committed", "embeddings/*/*/_delta_log/*.json", 1, false},
	{"first index", "indexes/*/*/base.faiss", 1, false},
	{"first index finished", "indexes/*/*/index.json", 1, false},
	{"statistics", "stats/*/*/*.safetensors", 1, false},
	{"second fitted function", "stats/*/*/functions/*", 2, false},
	{"first file of scores", "scores/*/*.parquet", 1, false},
	{"lineage of a batch", "batches/*/*/lineage.json", 1, false},
	{"first batch committed", "batched/_delta_log/*.json", 1, false},
	{"first file of the second batch", "batches/mixed/*/batch.*", 1, false},
}

// testAimedKill kills a run right when a kind of file appears. In short: three
// kinds, since TestEveryMoment goes through all commits.
func testAimedKill(t *testing.T, want contents) {
	for _, a := range aims {
		if !a.always && !soak() {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			s := newSite(t, plan{})
			p := s.start(t, "run")
			seen := func() bool {
				m, err := filepath.Glob(filepath.Join(s.folder(), filepath.FromSlash(a.glob)))
				if err != nil {
					t.Fatal(err)
				}
				return len(m) >= a.n
			}
			tick := time.NewTicker(200 * time.Microsecond)
			defer tick.Stop()
			for ended := false; !seen(); {
				if ended {
					t.Fatalf("no file is like %s\n%s", a.glob, p.said())
				}
				select {
				case <-p.done:
					ended = true
				case <-tick.C:
				}
			}
			if !p.kill() {
				p.want(0)
				t.Logf("the run was faster than the kill")
			}
			s.run(t, "run")
			same(t, want, look(t, s.workspace))
		})
	}
}

// TestEveryMoment starts runs from what a killed one leaves behind: for a moment
// between any two files, a workspace with the files up to it. Two of the assets
// cannot be embedded, so their rejects are part of it.
func TestEveryMoment(t *testing.T) {
	before := plan{manifest: badPhotos(t, 41), allow: "file:///", without: []string{"space"}}
	first := newSite(t, before)
	first.start(t, "run").want(3)
	want := look(t, first.workspace)
	if count(want, "rejects/") == 0 {
		t.Fatal("nothing was rejected")
	}
	t.Run("of a first run", func(t *testing.T) { moments(t, nil, first, before) })

	// The next run meets new assets, a changed text and picture, a new function,
	// and one function less.
	after := plan{manifest: badPhotos(t, 44), allow: "file:///", without: []string{"drinks"}}
	next := newSite(t, after)
	for _, f := range filesOf(t, first.folder()) {
		copyFile(t, filepath.Join(first.folder(), f), filepath.Join(next.folder(), f))
	}
	next.start(t, "run").want(0, 3)
	t.Run("of a next run", func(t *testing.T) { moments(t, first, next, after) })
}

// moments runs from every moment between the workspaces of two sites; before is
// nil where nothing was there. In short: after each commit, and from a seeded
// twentieth of the others.
func moments(t *testing.T, before, after *site, p plan) {
	want := look(t, after.workspace)
	old := map[string]bool{}
	var base []string
	if before != nil {
		base = filesOf(t, before.folder())
		was := look(t, before.workspace)
		if differences(was, want) == "" {
			t.Fatal("the run changed nothing")
		}
	}
	for _, f := range base {
		if sameFile(t, filepath.Join(before.folder(), f), filepath.Join(after.folder(), f)) {
			old[f] = true
		}
	}
	var files []string // written by the run
	for _, f := range filesOf(t, after.folder()) {
		if !old[f] {
			files = append(files, f)
		}
	}
	rng := rand.New(rand.NewPCG(5, 3))
	tried := 0
	for n := range len(files) {
		last := "nothing"
		if n > 0 {
			last = files[n-1]
		}
		if pick := rng.IntN(20) == 0; !soak() && !pick && !strings.Contains(last, "_delta_log") {
			continue
		}
		tried++
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSite(t, p)
			for _, f := range base {
				copyFile(t, filepath.Join(before.folder(), f), filepath.Join(s.folder(), f))
			}
			for _, f := range files[:n] {
				copyFile(t, filepath.Join(after.folder(), f), filepath.Join(s.folder(), f))
			}
			s.start(t, "run").want(0, 3)
			if d := differences(want, look(t, s.workspace)); d != "" {
				t.Errorf("a kill after %s was written left another workspace:\n%s", last, d)
			}
		})
	}
	t.Logf("%d of %d moments", tried, len(files))
	if tried < 6 {
		t.Errorf("only %d moments were tried", tried)
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y)
}

// badPhotos writes a manifest of the first n photos, two of which are broken; of
// all of them with a changed caption and another picture.
func badPhotos(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	from := photosDir(t)
	jpeg, err := os.ReadFile(filepath.Join(from, "moon-2.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut.jpg"), jpeg[:len(jpeg)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	lines := photoLines(t)
	text := strings.Join(lines[:n], "\n") + "\n"
	text = strings.Replace(text, from+"/moon-2.jpg", dir+"/cut.jpg", 1)
	text = strings.Replace(text, from+"/coffee-1.jpg", dir+"/missing.jpg", 1)
	if n == len(lines) {
		text = strings.Replace(text, "a tabby cat looks up, cut 1", "a cat that sleeps", 1)
		text = strings.Replace(text, from+"/grass-3.jpg", from+"/gravel-0.jpg", 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.jsonl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + dir + "/manifest.jsonl"
}

// rank orders files of one moment: the clock of file systems is coarse, and a
// commit comes after what it names.
func rank(path string) int {
	switch base := filepath.Base(path); {
	case strings.Contains(path, "_delta_log"):
		return 3
	case strings.Contains(path, "_results"):
		return 2
	case base == "index.json" || base == "lineage.json" || base == "plan.json" || base == "run.json":
		return 1
	}
	return 0
}

// filesOf lists the files of a workspace's folder in the order in which they
// were written, locks left out.
func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	type file struct {
		path string
		time time.Time
	}
	var all []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // nothing was written yet
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || strings.HasPrefix(rel, "locks") {
			return err
		}
		fi, err := d.Info()
		all = append(all, file{rel, fi.ModTime()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b file) int {
		return cmp.Or(a.time.Compare(b.time), rank(a.path)-rank(b.path), cmp.Compare(a.path, b.path))
	})
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.path
	}
	return names
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
