package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const textsConfig = `
workspace: file://./workspace
sources: [{name: texts, manifest: file://./texts.jsonl}]
embeddings: [{name: text, model: use-multilingual-v3, of: text}]
`

// TestTwentyThousandTexts builds a real IVF index and compares searches by it
// with exact ones.
func TestTwentyThousandTexts(t *testing.T) {
	const rows = 20000
	needModels(t)
	s := &site{dir: t.TempDir()}
	s.workspace = "file://" + s.dir + "/workspace"
	s.file(t, "winnow.yaml", textsConfig)
	var lines strings.Builder
	for i, text := range sentences(rows, 1) {
		raw, err := json.Marshal(map[string]string{"asset_id": fmt.Sprintf("t%05d", i), "text": text})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(raw)
		lines.WriteByte('\n')
	}
	s.file(t, "texts.jsonl", lines.String())

	var o outcome
	p := s.run(t, "run", "--json")
	p.decode(&o)
	if o.Ingest.New != rows || o.rows("embed") != rows {
		t.Fatalf("ingest: %+v, embedded %d rows; want %d", o.Ingest, o.rows("embed"), rows)
	}
	usage := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%d texts in %v, peak memory %d MiB", rows, p.took.Round(time.Millisecond), usage.Maxrss/1024)

	var meta struct {
		Kind     string
		Rows     int64
		NList    int
		NProbe   int
		Recall10 float64 `json:"recall_at_10"`
		Target   float64 `json:"recall_target"`
	}
	files, err := filepath.Glob(filepath.Join(s.folder(), "indexes", "text", "*", "index.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("there are the indexes %v (%v), want one", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		t.Fatal(err)
	}
	t.Logf("index: %+v", meta)
	if meta.Kind != "ivf_flat" || meta.Rows != rows || meta.Recall10 < 0.95 || meta.Recall10 < meta.Target || meta.NProbe >= meta.NList {
		t.Errorf("index.json says %s", raw)
	}
	s.searches(t)
}

type found struct {
	By      string
	Results []struct {
		AssetID string `json:"asset_id"`
		Score   float64
	}
}

// searches runs 20 queries by the index and exactly.
func (s *site) searches(t *testing.T) {
	const k = 10
	queries := append(sentences(16, 2), "ein roter Apfel auf dem Tisch", "ένα βιβλίο", "un perro grande corre", "青い車")
	hits := 0
	for _, q := range queries {
		var by, exact found
		a := s.start(t, "search", "--json", "-t", q)
		b := s.start(t, "search", "--json", "--exact", "-t", q)
		a.want(0).decode(&by)
		b.want(0).decode(&exact)
		if !strings.Contains(by.By, "IVF") || exact.By != "exact" {
			t.Fatalf("the searches were done by %q and by %q", by.By, exact.By)
		}
		if len(by.Results) != k || len(exact.Results) != k {
			t.Fatalf("query %q found %d rows, exactly %d; want %d", q, len(by.Results), len(exact.Results), k)
		}
		scores := map[string]float64{}
		for i, h := range exact.Results {
			scores[h.AssetID] = h.Score
			if i > 0 && h.Score > exact.Results[i-1].Score {
				t.Errorf("query %q: the exact results are not in order: %+v", q, exact.Results)
			}
		}
		least := exact.Results[k-1].Score
		for _, h := range by.Results {
			want, ok := scores[h.AssetID]
			switch {
			case ok && math.Abs(h.Score-want) <= 1e-5:
				hits++
			case ok:
				t.Errorf("query %q: %s has score %v by the index and %v exactly", q, h.AssetID, h.Score, want)
			case h.Score > least+1e-5:
				t.Errorf("query %q: %s has score %v and is not among the exact results, which end at %v", q, h.AssetID, h.Score, least)
			case math.Abs(h.Score-least) <= 1e-6:
				hits++ // a tie for the last place
			}
		}
	}
	// The index keeps to 95 % on average over its own queries; these are a sample
	// of 200 neighbours, whose standard error is 1.5 %.
	all := k * len(queries)
	t.Logf("the index found %d of %d", hits, all)
	if least := 0.95 - math.Sqrt(0.95*0.05/float64(all)); float64(hits) < least*float64(all) {
		t.Errorf("the index found %d of %d, want 95 %%", hits, all)
	}
}

// sentences makes n different sentences.
func sentences(n int, seed uint64) []string {
	var (
		adjectives = strings.Fields("red blue green old new small large quiet loud bright dark broken clean heavy light wooden golden cheap rare frozen")
		subjects   = strings.Fields("apple dog car house teacher river engine violin garden storm letter train doctor bridge cat ship market camera child mountain")
		verbs      = strings.Fields("finds watches carries breaks paints follows sells hides repairs crosses forgets opens measures hears moves")
		objects    = strings.Fields("book door stone lamp coin bottle map flower window ticket key boat song picture basket wheel chair knife shirt bell")
		places     = []string{"in the morning", "near the station", "under a tree", "at school", "by the sea", "in winter", "on the roof", "after the rain", "without a word", "for a friend", "in Berlin", "at the market"}
	)
	rng := rand.New(rand.NewPCG(seed, 20))
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	seen := map[string]bool{}
	out := make([]string, 0, n)
	for len(out) < n {
		s := fmt.Sprintf("the %s %s %s a %s %s %s", pick(adjectives), pick(subjects), pick(verbs), pick(adjectives), pick(objects), pick(places))
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
