package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// croppedSpec is the photos' model with another way to look at them: another
// vector space.
const croppedSpec = `name: cropped
licence: Apache-2.0
kind: image
model: {file: efficientnet-lite0/model.onnx, sha256: 58e500782a57ab2b612b80bb2218fa5826ccfad3607d7db28c803a6ec8b2124b}
inputs: [{name: image, role: image}]
output: avg_pool
dim: 1280
image: {size: 224, fit: crop, shortest: 256, mean: 127, std: 128}
`

// useCropped makes a site's config name another image model.
func (s *site) useCropped(t testing.TB) {
	t.Helper()
	s.file(t, "cropped.yaml", croppedSpec)
	raw, err := os.ReadFile(filepath.Join(s.dir, "winnow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.file(t, "winnow.yaml", strings.Replace(string(raw), "model: efficientnet-lite0", "model: ./cropped.yaml", 1))
}

// moved is what `winnow backfill --json` says.
type moved struct {
	Rows  int64
	Moves []struct {
		Embedding                         string
		From, To                          struct{ Fingerprint string }
		Content, Embedded, Todo, Rejected int64
		CutOver                           bool `json:"cut_over"`
		Head                              int64
		Functions                         []struct {
			Name           string
			Before, After  *struct{ Rows, Matches int64 }
			TopCorrelation *float64 `json:"top_correlation"`
		}
	}
}

func (s *site) backfill(t testing.TB, args ...string) *moved {
	t.Helper()
	var m moved
	s.run(t, append([]string{"backfill", "--json"}, args...)...).decode(&m)
	return &m
}

// fingerprintOf is the fingerprint that an embedding's newest head names.
func (s *site) fingerprintOf(t testing.TB, embedding string) string {
	t.Helper()
	heads, err := filepath.Glob(filepath.Join(s.folder(), "embeddings", embedding, "heads", "*.json"))
	if err != nil || len(heads) == 0 {
		t.Fatalf("embedding %s has no head: %v", embedding, err)
	}
	raw, err := os.ReadFile(slices.Max(heads))
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Fingerprint string }
	if err := json.Unmarshal(raw, &h); err != nil {
		t.Fatal(err)
	}
	return h.Fingerprint
}

// TestBackfill moves an embedding to another model: in parts, killed in between,
// while runs go on and bring new assets. In the end every row is as if the model
// had been there from the beginning.
func TestBackfill(t *testing.T) {
	lines := photoLines(t)
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest.jsonl")
	write := func(lines []string) {
		t.Helper()
		if err := os.WriteFile(manifest, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := plan{manifest: "file://" + manifest, allow: "file://" + photosDir(t) + "/", batches: tinyBatches, tasks: 4}
	later := []string{"chelsea-3", "gravel-3", "rocket-3"}
	write(slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return slices.ContainsFunc(later, func(id string) bool { return strings.Contains(l, `"`+id+`"`) })
	}))
	s := newSite(t, p)
	s.run(t, "run")
	before := look(t, s.workspace)
	old := s.fingerprintOf(t, "image")
	s.useCropped(t)

	t.Run("a run changes nothing", func(t *testing.T) {
		s.outcome(t).idle(t)
		same(t, before, look(t, s.workspace))
	})
	var fresh string // the new fingerprint
	t.Run("first part", func(t *testing.T) {
		m := s.backfill(t, "-e", "image", "--limit", "12")
		if m.Rows != 12 || len(m.Moves) != 1 || m.Moves[0].Embedded != 12 || m.Moves[0].Todo != 29 || m.Moves[0].CutOver || m.Moves[0].From.Fingerprint != old {
			t.Fatalf("%+v", m)
		}
		fresh = m.Moves[0].To.Fingerprint
		kept(t, before, look(t, s.workspace))
	})
	t.Run("killed", func(t *testing.T) {
		results := filepath.Join(s.folder(), "embeddings", "image", fresh, "_results", "*.json")
		b := s.start(t, "backfill", "--rate", "10/s")
		for {
			m, err := filepath.Glob(results)
			if err != nil {
				t.Fatal(err)
			}
			if len(m) >= 5 {
				break
			}
			select {
			case <-b.done:
				t.Fatalf("it was not slow enough to be killed\n%s", b.said())
			case <-time.After(time.Millisecond):
			}
		}
		if !b.kill() {
			t.Fatal("it was faster than the kill")
		}
		kept(t, before, look(t, s.workspace))
	})
	t.Run("a run in between", func(t *testing.T) {
		write(lines)
		if o := s.outcome(t); o.Ingest.New != 3 || o.rows("embed") != 6 {
			t.Errorf("ingest: %+v, embedded %d rows; want 3 pictures and 3 texts", o.Ingest, o.rows("embed"))
		}
		if got := s.fingerprintOf(t, "image"); got != old {
			t.Errorf("the embedding moved to %s before all was there", got)
		}
	})
	copied := newSite(t, p) // for the kills below
	for _, f := range filesOf(t, s.folder()) {
		copyFile(t, filepath.Join(s.folder(), f), filepath.Join(copied.folder(), f))
	}
	t.Run("to the end", func(t *testing.T) {
		m := s.backfill(t).Moves[0]
		if !m.CutOver || m.Head != 2 || m.Embedded != 44 || m.Todo != 0 || s.fingerprintOf(t, "image") != fresh {
			t.Fatalf("%+v", m)
		}
		if len(m.Functions) != 3 {
			t.Errorf("the report is of %d functions, want those 3 on pictures", len(m.Functions))
		}
		for _, f := range m.Functions {
			if f.Before == nil || f.After == nil || f.Before.Rows != 44 || f.After.Rows != 44 || f.TopCorrelation == nil || *f.TopCorrelation < 0.5 {
				t.Errorf("%+v", f)
			}
		}
		raw, err := filepath.Glob(filepath.Join(s.folder(), "runs", "*", "backfill-image.json"))
		if err != nil || len(raw) != 1 {
			t.Errorf("reports %v, %v", raw, err)
		}
		again := s.backfill(t, "--compare").Moves
		if len(again) != 1 || !again[0].CutOver || len(again[0].Functions) != 3 || again[0].Functions[0].After.Matches != m.Functions[0].After.Matches {
			t.Errorf("compared afterwards: %+v", again)
		}
	})
	t.Run("like a workspace that never had another model", func(t *testing.T) {
		if o := s.outcome(t); o.rows("embed") != 0 || o.rows("score") != 44 {
			t.Errorf("embedded %d rows, scored %d", o.rows("embed"), o.rows("score"))
		}
		s.outcome(t).idle(t)
		want := newSite(t, p)
		want.useCropped(t)
		want.run(t, "run")
		a, b := embeddingRows(t, want, fresh), embeddingRows(t, s, fresh)
		if d := added(a, b); len(a) != 44 || len(b) != 44 || len(d) > 0 {
			t.Errorf("%d and %d vectors, %v differ", len(a), len(b), d)
		}
		x, y := rowsOf(t, want.workspace, true), rowsOf(t, s.workspace, true)
		for _, f := range []string{"cats", "drinks"} { // over texts, which ran in other batches: equal up to rounding
			delete(x.scores, f)
			delete(y.scores, f)
		}
		sameScores(t, x, y)
	})
	t.Run("from every moment", func(t *testing.T) { backfillMoments(t, copied, p, fresh) })
}

// embeddingRows are the image vectors of one model, by asset and version.
func embeddingRows(t *testing.T, s *site, fingerprint string) map[string]vector {
	t.Helper()
	all := rowsOf(t, s.workspace, true).models[fingerprint]
	if len(all) == 0 {
		t.Fatalf("there are no vectors of %s", fingerprint)
	}
	return all
}

// backfillMoments ends a backfill between any two files that it writes, and lets
// the next call go on: it always ends the same.
func backfillMoments(t *testing.T, start *site, p plan, fresh string) {
	base := filesOf(t, start.folder())
	full := newSite(t, p)
	full.useCropped(t)
	for _, f := range base {
		copyFile(t, filepath.Join(start.folder(), f), filepath.Join(full.folder(), f))
	}
	full.run(t, "backfill")
	want := look(t, full.workspace)
	var files []string
	for _, f := range filesOf(t, full.folder()) {
		if !slices.Contains(base, f) {
			files = append(files, f)
		}
	}
	rng := rand.New(rand.NewPCG(3, 9))
	tried := 0
	for n := range len(files) {
		last := "nothing"
		if n > 0 {
			last = files[n-1]
		}
		if pick := rng.IntN(8) == 0; !soak() && !pick && !strings.Contains(last, "_delta_log") && !strings.Contains(files[n], "heads") {
			continue
		}
		tried++
		s := newSite(t, p)
		s.useCropped(t)
		for _, f := range append(slices.Clone(base), files[:n]...) {
			copyFile(t, filepath.Join(full.folder(), f), filepath.Join(s.folder(), f))
		}
		s.run(t, "backfill")
		if d := differences(want, look(t, s.workspace)); d != "" || s.fingerprintOf(t, "image") != fresh {
			t.Errorf("a kill after %s was written left another workspace, with model %s:\n%s", last, s.fingerprintOf(t, "image"), d)
		}
	}
	t.Logf("%d of %d moments", tried, len(files))
	if tried < 3 {
		t.Errorf("only %d moments were tried", tried)
	}
}
