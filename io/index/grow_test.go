package index

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winnow/io/store"
)

// grown is an index in the making: rows of shards, some of them dead.
type grown struct {
	t      *testing.T
	s      *store.Store // of the embedding
	dim    int
	shards [][]float32
	dead   map[Place]bool
	m      *Meta
}

func shardName(i int) string { return fmt.Sprintf("s%d.parquet", i) }

func (g *grown) ids(shard int) IDSource {
	return func(_ context.Context, yield func(IDBlock) error) error {
		var b IDBlock
		for row := range int64(len(g.shards[shard]) / g.dim) {
			b.IDs, b.Versions, b.Rows = append(b.IDs, fmt.Sprintf("%d-%d", shard, row)), append(b.Versions, "v"), append(b.Rows, row)
		}
		return yield(b)
	}
}

func (g *grown) spec(shard int) Spec {
	n := int64(shard + 1)
	if g.m != nil {
		n = g.m.Number + 1
	}
	return Spec{ID: fmt.Sprintf("%08d", n), Number: n, Embedding: "image", Fingerprint: "f00d", Live: fmt.Sprint(n), Shards: []string{shardName(shard)}}
}

// create makes the base of the first shard.
func (g *grown) create(kind string, nlist int) {
	g.t.Helper()
	sp := g.spec(0)
	sp.Params = planned(g.t, len(g.shards[0])/g.dim, g.dim, kind, nlist)
	if sp.Params.Kind != kind {
		g.t.Fatalf("%s became %s", kind, sp.Params.Kind)
	}
	var err error
	if g.m, err = Create(g.t.Context(), g.s.Sub(sp.ID), sp, from(g.shards[0], g.dim, 500), g.ids(0), nil); err != nil {
		g.t.Fatal(err)
	}
}

func (g *grown) open(options ...Option) *Folder {
	g.t.Helper()
	f, err := OpenFolder(g.t.Context(), g.s.Sub(g.m.ID), g.t.TempDir(), options...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { f.Close() })
	return f
}

// extend adds a shard (-1: none), or folds.
func (g *grown) extend(shard int, fold bool) {
	g.t.Helper()
	ctx := g.t.Context()
	f := g.open()
	sp := g.spec(max(shard, 0))
	gr := &Growth{Fold: fold, Dead: int64(len(g.dead)), Live: func(p Place) bool { return !g.dead[p] }}
	if shard >= 0 {
		rows := from(g.shards[shard], g.dim, 300)
		gr.Rows, gr.IDs = int64(len(g.shards[shard])/g.dim), g.ids(shard)
		p := g.m.Params
		p.Rows = gr.Rows
		var err error
		if gr.Queries, err = ReadQueries(ctx, rows, g.dim, ChooseQueries(p, p.Rows)); err != nil {
			g.t.Fatal(err)
		}
		trained := ""
		if p.Kind != Flat {
			if trained, err = local(ctx, g.s.Sub(g.m.ID), g.m, g.m.Trained, g.t.TempDir()); err != nil {
				g.t.Fatal(err)
			}
		}
		for lo := int64(0); lo < gr.Rows; lo += 400 {
			hi := min(lo+400, gr.Rows)
			path := filepath.Join(g.t.TempDir(), "lists")
			if _, err := Lists(ctx, path, trained, p, rows, lo, hi, &Queries{Dim: g.dim}, nil); err != nil {
				g.t.Fatal(err)
			}
			gr.Lists = append(gr.Lists, MergePart{Path: path, Rows: hi - lo})
		}
	}
	var err error
	if g.m, err = Extend(ctx, g.s.Sub(sp.ID), f, sp, gr); err != nil {
		g.t.Fatal(err)
	}
}

// refiner reads vectors from the shards.
func (g *grown) refiner() Refiner {
	return func(_ context.Context, places []Place, out []float32) error {
		for i, p := range places {
			var shard int
			if _, err := fmt.Sscanf(p.Shard, "s%d.parquet", &shard); err != nil {
				return err
			}
			copy(out[i*g.dim:(i+1)*g.dim], g.shards[shard][p.Row*int64(g.dim):])
		}
		return nil
	}
}

// check searches for rows of all shards and compares with a plain loop over the rows
// that should be there.
func (g *grown) check(dead bool, least float64) {
	g.t.Helper()
	f := g.open(WithVectors(g.refiner()))
	var all []float32
	var names []string
	for i, s := range g.shards[:g.seen()] {
		for row := range len(s) / g.dim {
			if dead || !g.dead[Place{shardName(i), int64(row)}] {
				all, names = append(all, s[row*g.dim:(row+1)*g.dim]...), append(names, fmt.Sprintf("%d-%d", i, row))
			}
		}
	}
	if int64(len(names)) != g.m.Rows {
		g.t.Fatalf("%d rows, the index has %d", len(names), g.m.Rows)
	}
	const k, step = 10, 37
	got, of := 0, 0
	for q := 0; q < len(names); q += step {
		query := all[q*g.dim : (q+1)*g.dim]
		found, err := f.Search(g.t.Context(), query, k)
		if err != nil {
			g.t.Fatal(err)
		}
		if h := found[0][0]; h.AssetID != names[q] || math.Abs(float64(h.Score)-1) > 1e-5 {
			g.t.Fatalf("row %s found %+v first", names[q], h)
		}
		for _, w := range oracle(all, query, g.dim, k) {
			of++
			if i := slices.IndexFunc(found[0], func(h Hit) bool { return h.AssetID == names[w.row] }); i >= 0 {
				got++
				if math.Abs(float64(found[0][i].Score-w.score)) > 1e-5 {
					g.t.Fatalf("row %s: cosine %v, not %v", names[w.row], found[0][i].Score, w.score)
				}
			}
		}
	}
	recall := float64(got) / float64(of)
	g.t.Logf("%s, %d parts, %d rows: recall %.3f", g.m.Factory, len(g.m.Parts), g.m.Rows, recall)
	if recall < least {
		g.t.Errorf("recall %.3f, want %.3f", recall, least)
	}
}

// seen is the number of shards that the index is of.
func (g *grown) seen() int {
	n := 0
	for _, p := range g.m.Parts {
		n += len(p.Shards)
	}
	return n
}

// An index that grows by segments, loses rows and is compacted finds what a plain loop
// over its rows finds, whatever its kind.
func TestGrow(t *testing.T) {
	for _, c := range []struct {
		kind          string
		n, dim, nlist int
	}{{Flat, 2000, 16, 0}, {IVFFlat, 3000, 16, 30}, {IVFSQ8, 3000, 16, 30}, {IVFPQ, 12_000, 16, 40}} {
		t.Run(c.kind, func(t *testing.T) {
			all := clustered(c.n+3000, c.dim, 100, 1)
			g := &grown{t: t, s: openStore(t, "file://"+t.TempDir()), dim: c.dim, dead: map[Place]bool{}}
			for lo := 0; lo < len(all); {
				n := c.n * c.dim
				if lo > 0 {
					n = 1000 * c.dim
				}
				g.shards = append(g.shards, all[lo:lo+n])
				lo += n
			}
			least := 0.93
			if c.kind == Flat {
				least = 1
			}
			g.create(c.kind, c.nlist)
			base := g.m.Parts[0].Lists
			g.extend(1, false)
			g.extend(2, false)
			if len(g.m.Parts) != 3 || g.m.Parts[0].Lists != base {
				t.Fatalf("%d parts, the base is %+v", len(g.m.Parts), g.m.Parts[0].Lists)
			}
			g.check(true, least)
			if c.kind != Flat && (g.m.Drift.NewRecall < 0.9 || g.m.Drift.NewRows != 1000 || g.m.Drift.Retrain != "") {
				t.Errorf("drift of like rows: %+v", g.m.Drift)
			}
			for row := int64(0); row < 900; row += 3 {
				g.dead[Place{shardName(int(row) % 2), row}] = true
			}
			g.extend(-1, false) // they are only counted
			if g.m.Dead != int64(len(g.dead)) || len(g.m.Parts) != 3 {
				t.Errorf("%d dead, %d parts", g.m.Dead, len(g.m.Parts))
			}
			g.check(true, least)
			g.extend(3, true)
			if len(g.m.Parts) != 1 || g.m.Dead != 0 {
				t.Errorf("compacted to %d parts with %d dead rows", len(g.m.Parts), g.m.Dead)
			}
			g.check(false, least)
			if err := Verify(t.Context(), g.s.Sub(g.m.ID)); err != nil {
				t.Error(err)
			}
			all2, err := List(t.Context(), g.s)
			if err != nil || len(all2) != 5 || all2[4].ID != g.m.ID {
				t.Errorf("%d versions, %v", len(all2), err)
			}
		})
	}
}

// Rows that look like nothing the lists were made from ask for training anew.
func TestDriftRetrains(t *testing.T) {
	const n, dim = 4000, 16
	g := &grown{t: t, s: openStore(t, "file://"+t.TempDir()), dim: dim, dead: map[Place]bool{}}
	other := clustered(3000, dim, 1, 7) // one far cluster
	g.shards = [][]float32{clustered(n, dim, 100, 1), other, clustered(9000, dim, 100, 1)}
	g.create(IVFFlat, 40)
	g.extend(1, false)
	if d := g.m.Drift; !strings.Contains(d.Retrain, "imbalance") || d.Imbalance < 1.5*d.Trained {
		t.Errorf("drift: %+v", d)
	}
	g.m, g.shards[1] = nil, g.shards[2]
	g.s = openStore(t, "file://"+t.TempDir())
	g.create(IVFFlat, 40)
	g.extend(1, false)
	if d := g.m.Drift; !strings.Contains(d.Retrain, "4000 when it was trained") {
		t.Errorf("drift: %+v", d)
	}
}

// The centroids of large indexes are found by a graph.
func TestGraphOfCentroids(t *testing.T) {
	const n, dim = 6000, 16
	rows := clustered(n, dim, 60, 1)
	p := planned(t, n, dim, IVFFlat, 60)
	p.HNSW = true
	p.Factory = p.factory()
	ix, path := build(t, p, rows)
	if p = ix.Params(); p.Recall10 < p.RecallTarget {
		t.Errorf("%+v", p)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := Build(t.Context(), again, p, from(rows, dim, 1000), nil); err != nil {
		t.Fatal(err)
	}
	if fileHash(t, path) != fileHash(t, again) {
		t.Error("a second build of the same rows made another file")
	}
	conformExact(t, ix, rows)
}

// Training ends soon after its context, and leaves nothing.
func TestTrainingIsInterrupted(t *testing.T) {
	const n, dim = 60_000, 64
	rows := clustered(n, dim, 2000, 1)
	p := planned(t, n, dim, IVFFlat, 0)
	p.NList, p.TrainRows = 1500, 50_000
	p.Factory = p.factory()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var stopped time.Time
	time.AfterFunc(300*time.Millisecond, func() { stopped = time.Now(); cancel() })
	_, err := Train(ctx, filepath.Join(dir, "x"), p, from(rows, dim, 1000), nil)
	took := time.Since(stopped)
	if err == nil {
		t.Skip("this machine trains in less than 0.3 s")
	}
	if ctx.Err() == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	t.Logf("ended %v after it was cancelled", took)
	if took > 20*time.Second {
		t.Errorf("it went on for %v", took)
	}
	// FAISS works on as if nothing had been.
	build(t, planned(t, 3000, dim, IVFFlat, 20), rows[:3000*dim])
}
