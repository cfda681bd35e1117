package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// indexed is a site whose vectors come from files.
type indexed struct {
	*site
	t       *testing.T
	dim     int
	centres []float32
	ids     []string
}

// indexOf is what index.json says, as far as these tests look.
type indexOf struct {
	ID      string  `json:"id"`
	Number  int     `json:"number"`
	Kind    string  `json:"kind"`
	Rows    int     `json:"rows"`
	Dead    int     `json:"dead"`
	Recall  float64 `json:"recall_at_10"`
	Trained struct{ Folder string }
	Parts   []struct {
		Rows  int
		Lists struct{ Folder, Name string }
	}
}

func newIndexed(t *testing.T, kind string) *indexed {
	s := &indexed{site: &site{dir: t.TempDir()}, t: t, dim: 16}
	s.workspace = "file://" + s.dir + "/workspace"
	s.file(t, "winnow.yaml", fmt.Sprintf(`workspace: file://./workspace
sources: [{manifest: "file://./rows-*.jsonl", mode: snapshot}]
embeddings:
  - {name: v, of: text, vectors: {files: "file://./v-*.jsonl", dim: %d}, index: {kind: %s, memory: 50MB}}
`, s.dim, kind))
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 * s.dim {
		s.centres = append(s.centres, float32(rng.NormFloat64()))
	}
	return s
}

// add writes a manifest of n rows and their vectors.
func (s *indexed) add(n int) {
	rng := rand.New(rand.NewPCG(2, uint64(len(s.ids))))
	var rows, vectors strings.Builder
	part := fmt.Sprintf("%05d", len(s.ids))
	for range n {
		id := fmt.Sprintf("r%05d", len(s.ids))
		s.ids = append(s.ids, id)
		c := rng.IntN(50) * s.dim
		v := make([]float64, s.dim)
		for j := range v {
			v[j] = float64(s.centres[c+j]) + 0.5*rng.NormFloat64()
		}
		raw, err := json.Marshal(map[string]any{"asset_id": id, "vector": v})
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&rows, "{\"asset_id\": %q, \"text\": \"text of %s\"}\n", id, id)
		vectors.Write(append(raw, '\n'))
	}
	s.file(s.t, "rows-"+part+".jsonl", rows.String())
	s.file(s.t, "v-"+part+".jsonl", vectors.String())
}

// newest is the index that counts.
func (s *indexed) newest() *indexOf {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.folder(), "indexes", "v", "*", "index.json"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("there is no index (%v)", err)
	}
	slices.Sort(files)
	raw, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		s.t.Fatal(err)
	}
	m := &indexOf{}
	if err := json.Unmarshal(raw, m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// index runs winnow index and checks what it says.
func (s *indexed) index(says string, args ...string) *indexOf {
	s.t.Helper()
	p := s.run(s.t, append([]string{"index"}, args...)...)
	if !strings.Contains(p.said(), says) {
		s.t.Errorf("winnow index says\n%s\nwithout %q", p.said(), says)
	}
	return s.newest()
}

// compare searches for rows by the index and exactly, and returns the share of the
// exact rows that the index found.
func (s *indexed) compare(ids ...string) float64 {
	s.t.Helper()
	got, of := 0, 0
	for _, id := range ids {
		var by, exact found
		a, b := s.start(s.t, "search", "--json", "-a", id), s.start(s.t, "search", "--json", "--exact", "-a", id)
		a.want(0).decode(&by)
		b.want(0).decode(&exact)
		if !strings.Contains(by.By, "index") || len(by.Results) != 10 {
			s.t.Fatalf("%d rows by %s", len(by.Results), by.By)
		}
		for _, w := range exact.Results {
			of++
			for _, h := range by.Results {
				if h.AssetID == w.AssetID {
					got++
					if math.Abs(h.Score-w.Score) > 1e-5 {
						s.t.Errorf("%s near %s: cosine %v by the index, %v exactly", h.AssetID, id, h.Score, w.Score)
					}
				}
			}
		}
	}
	return float64(got) / float64(of)
}

// An index is built in tasks by several processes, grows by segments, loses rows, and
// is compacted, whatever its kind; what it finds are the cosines of the exact search.
func TestIndexGrows(t *testing.T) {
	for _, c := range []struct {
		kind string
		rows int
	}{{"ivf_flat", 11_000}, {"ivf_sq8", 3_000}, {"ivf_pq", 11_500}} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			s := newIndexed(t, c.kind)
			s.add(c.rows)
			s.run(t, "ingest")
			s.run(t, "embed")
			s.run(t, "index", "--run", "r", "--plan")
			s.run(t, "index", "--run", "r", "--task", "0/2")
			s.run(t, "index", "--run", "r", "--task", "1/2")
			s.run(t, "index", "--run", "r", "--commit")
			base := s.index("nothing new")
			if base.Kind != c.kind || base.Rows != c.rows || base.Recall < 0.95 || len(base.Parts) != 1 {
				t.Fatalf("%+v", base)
			}
			if left, _ := filepath.Glob(filepath.Join(s.folder(), "indexes", "v", "*", "lists", "*")); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
			for range 2 {
				s.add(300)
				s.run(t, "ingest")
				s.run(t, "embed")
				s.index("grew by a segment of 300 rows")
			}
			m := s.newest()
			if len(m.Parts) != 3 || m.Parts[0] != base.Parts[0] || m.Rows != c.rows+600 || m.Trained != base.Trained {
				t.Fatalf("%+v", m)
			}
			if r := s.compare(s.ids[5], s.ids[c.rows+7], s.ids[c.rows+301]); r < 0.85 {
				t.Errorf("recall %.2f", r)
			}
			if err := os.Remove(filepath.Join(s.dir, fmt.Sprintf("rows-%05d.jsonl", c.rows))); err != nil {
				t.Fatal(err)
			}
			s.run(t, "ingest", "--allow-removal")
			if r := s.compare(s.ids[5], s.ids[c.rows+301]); r < 0.85 { // at once
				t.Errorf("recall %.2f", r)
			}
			if m = s.index("marked 300 rows as dead"); m.Dead != 300 || len(m.Parts) != 3 {
				t.Errorf("%+v", m)
			}
			if p := s.run(t, "status"); !strings.Contains(p.said(), "2 segments, 300 dead, recall@10") {
				t.Errorf("winnow status says\n%s", p.said())
			}
			if m = s.index("compacted to", "--compact"); m.Dead != 0 || len(m.Parts) != 1 || m.Rows != c.rows+300 {
				t.Errorf("%+v", m)
			}
			if r := s.compare(s.ids[5], s.ids[c.rows+301]); r < 0.85 {
				t.Errorf("recall %.2f", r)
			}
			s.index("nothing new", "--compact")
			// Whatever happened to it, it can be built anew.
			if err := os.Truncate(filepath.Join(s.folder(), "indexes", "v", m.ID, m.Parts[0].Lists.Name), 1000); err != nil {
				t.Fatal(err)
			}
			p := s.start(t, "search", "-a", s.ids[5])
			p.want(1)
			if !strings.Contains(p.said(), "winnow index") {
				t.Errorf("a damaged index: %s", p.said())
			}
			if m = s.index("that was asked for", "--rebuild"); m.Rows != c.rows+300 {
				t.Errorf("%+v", m)
			}
			if r := s.compare(s.ids[5]); r < 0.8 {
				t.Errorf("recall %.2f", r)
			}
		})
	}
}
