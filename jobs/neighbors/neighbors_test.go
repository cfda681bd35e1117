package neighbors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"winnow/jobs/embed"
	"winnow/jobs/ingest"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/graph"
)

const dim = 6

// site is a workspace with vectors from files.
type site struct {
	*testing.T
	dir   string
	files int
	runs  int
	rows  map[string][]float32 // as they should be
	w     *workspace.Workspace
}

func newSite(t *testing.T) *site {
	s := &site{T: t, dir: t.TempDir(), rows: map[string][]float32{}}
	s.write("winnow.yaml", fmt.Sprintf(`workspace: ./ws
sources: [{manifest: ./m.jsonl, mode: snapshot}]
embeddings: [{name: v, of: text, neighbors: {k: 7}, vectors: {files: './v*.jsonl', dim: %d}}]
`, dim))
	t.Cleanup(func() { s.must(s.w.Close()) })
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) write(name, text string) {
	s.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o666))
}

// add brings rows in as a file of their own: every third is a copy of another row.
func (s *site) add(n int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	var b strings.Builder
	ids := slices.Sorted(maps.Keys(s.rows))
	for i := range n {
		id, v := fmt.Sprintf("f%d-%03d", s.files, i), make([]float32, dim)
		for j := range v {
			v[j] = float32(r.NormFloat64())
		}
		if i%3 == 2 && len(ids) > 0 {
			v = slices.Clone(s.rows[ids[r.IntN(len(ids))]])
			v[0] += 0.01 * float32(i%2)
		}
		s.rows[id] = v
		ids = append(ids, id)
		raw, err := json.Marshal(map[string]any{"asset_id": id, "vector": v})
		s.must(err)
		b.Write(append(raw, '\n'))
	}
	s.write(fmt.Sprintf("v%d.jsonl", s.files), b.String())
	s.files++
}

// load ingests and embeds, and opens the workspace anew.
func (s *site) load() *workspace.Live {
	s.Helper()
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.rows)) {
		fmt.Fprintf(&b, "{\"asset_id\": %q, \"text\": \"t\"}\n", id)
	}
	s.write("m.jsonl", b.String())
	if s.w != nil {
		s.must(s.w.Close())
	}
	app := &job.App{Globals: job.Globals{Config: filepath.Join(s.dir, "winnow.yaml"), Cache: filepath.Join(s.dir, "cache"), Run: fmt.Sprintf("r%d", time.Now().UnixNano())},
		Out: io.Discard, Err: io.Discard, Log: zap.NewNop(), Progress: pipeline.Quiet, Now: time.Now, Getenv: func(string) (string, bool) { return "", false }}
	var err error
	s.w, err = workspace.Open(s.Context(), app)
	s.must(err)
	_, err = ingest.Run(s.Context(), s.w, ingest.Options{AllowRemoval: true})
	s.must(err)
	s.w.Forget()
	es := &embed.Stage{W: s.w}
	defer es.Close()
	s.must(stage.All(s.Context(), s.w, es, &stage.Summary{}))
	s.w.Forget()
	l, err := s.w.Live(s.Context(), s.w.Config.Embeddings[0])
	s.must(err)
	if l.Rows != int64(len(s.rows)) {
		s.Fatalf("%d live rows, want %d", l.Rows, len(s.rows))
	}
	return l
}

// find runs the stage, and checks the table against a comparison of all rows.
func (s *site) find(l *workspace.Live, most float64) *stage.Summary {
	s.Helper()
	sum := &stage.Summary{}
	s.runs++
	s.w.App.Run = fmt.Sprintf("r%d", s.runs)
	st := &Stage{W: s.w, most: most}
	s.must(st.all(s.Context(), sum))
	g, err := Open(s.Context(), s.w, l, 7)
	s.must(err)
	if g == nil {
		s.Fatal("there is no table of these rows")
	}
	var ids []string
	s.must(l.IDs(s.Context(), func(_ int, _ int64, id string) error { ids = append(ids, strings.Clone(id)); return nil }))
	seen := 0
	s.must(g.Each(s.Context(), func(first int64, rows []Row) error {
		for i, r := range rows {
			if seen++; r.AssetID != ids[first+int64(i)] {
				s.Fatalf("row %d is %s, want %s", first+int64(i), r.AssetID, ids[first+int64(i)])
			}
			s.check(r, ids, g.K)
		}
		return nil
	}))
	if seen != len(ids) {
		s.Fatalf("%d rows, want %d", seen, len(ids))
	}
	return sum
}

func (s *site) check(r Row, ids []string, k int) {
	s.Helper()
	var want []float32
	for id, v := range s.rows {
		if id != r.AssetID {
			want = append(want, graph.Cosine(s.rows[r.AssetID], v))
		}
	}
	slices.SortFunc(want, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) })
	want = want[:min(k, len(want))]
	if len(r.Neighbors) != len(want) {
		s.Fatalf("%s has %d neighbours, want %d", r.AssetID, len(r.Neighbors), len(want))
	}
	seen := map[int32]bool{}
	for i, n := range r.Neighbors {
		exact := graph.Cosine(s.rows[r.AssetID], s.rows[ids[n.Row]])
		if math.Abs(float64(n.Cosine-want[i])) > 1e-6 || math.Abs(float64(n.Cosine-exact)) > 1e-6 || seen[n.Row] || ids[n.Row] == r.AssetID {
			s.Fatalf("%s: neighbour %d is %s at %v (%v), want %v", r.AssetID, i, ids[n.Row], n.Cosine, exact, want[i])
		}
		seen[n.Row] = true
	}
}

// data are the names and bytes of the table's live files.
func (s *site) data(l *workspace.Live) map[string]string {
	root := workspace.NeighborsRoot(l.Embedding.Name, l.Fingerprint)
	snap, err := s.w.Snapshot(s.Context(), root)
	s.must(err)
	out := map[string]string{}
	for _, f := range snap.Files {
		b, err := os.ReadFile(filepath.Join(s.dir, "ws", root, f.Path))
		s.must(err)
		out[f.Path] = string(b)
	}
	return out
}

func TestNeighbors(t *testing.T) {
	for _, c := range []struct {
		name string
		most float64
	}{{"all compared", 0}, {"by an index", 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.add(5, 1)
			l := s.load()
			s.find(l, c.most)

			s.add(300, 2)
			l = s.load()
			if sum := s.find(l, c.most); sum.Rows != 305 {
				t.Errorf("%d rows", sum.Rows)
			}
			if sum := s.find(l, c.most); sum.Tasks != 0 {
				t.Error("the same rows were looked at again")
			}
			first := s.data(l)

			// New rows, and rows that go.
			s.add(30, 3)
			for i, id := range slices.Sorted(maps.Keys(s.rows)) {
				if i%17 == 0 {
					delete(s.rows, id)
				}
			}
			l = s.load()
			s.find(l, c.most)
			if len(first) == 0 || maps.Equal(first, s.data(l)) {
				t.Error("the table did not change")
			}
			if old, err := Open(t.Context(), s.w, l, 8); old != nil || err != nil {
				t.Errorf("7 neighbours are given as 8: %v", err)
			}
		})
	}
}

// TestCarriedIsFound: what goes on from an earlier table is what a new
// workspace finds.
func TestCarriedIsFound(t *testing.T) {
	s := newSite(t)
	s.add(200, 5)
	s.find(s.load(), 0)
	s.add(40, 6)
	l := s.load()
	s.find(l, 0)
	carried := s.data(l)
	s.must(os.RemoveAll(filepath.Join(s.dir, "ws", "neighbors")))
	s.find(l, 0)
	values := func(m map[string]string) []string { return slices.Sorted(maps.Values(m)) }
	if !slices.Equal(values(carried), values(s.data(l))) {
		t.Error("the table's bytes depend on what was there before")
	}
}

func TestStaleIndex(t *testing.T) {
	s := newSite(t)
	s.add(50, 1)
	s.load()
	_, err := (&Stage{W: s.w, most: 1}).Plan(t.Context(), "r")
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "winnow index") {
		t.Errorf("got %v", err)
	}
}
