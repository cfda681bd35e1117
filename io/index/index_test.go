package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"winnow/pipeline/vec"
)

// clustered makes n unit rows around centres, which is what embeddings look
// like and what IVF needs.
func clustered(n, dim, centres int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := make([]float32, centres*dim)
	for i := range c {
		c[i] = float32(rng.NormFloat64())
	}
	x := make([]float32, n*dim)
	for i := range n {
		k := rng.IntN(centres)
		for j := range dim {
			x[i*dim+j] = c[k*dim+j] + 0.5*float32(rng.NormFloat64())
		}
	}
	vec.Normalize(x, dim)
	return x
}

// held are rows in memory, streamed in blocks of a size.
type held struct {
	rows       []float32
	dim, block int
}

func from(rows []float32, dim, block int) Vectors { return held{rows, dim, block} }

func (h held) Range(_ context.Context, lo, hi int64, yield func([]float32, int, int64) error) error {
	hi = min(hi, int64(len(h.rows)/h.dim))
	buf := make([]float32, h.block*h.dim)
	for ; lo < hi; lo += int64(h.block) {
		n := copy(buf, h.rows[lo*int64(h.dim):min(lo+int64(h.block), hi)*int64(h.dim)]) / h.dim
		if err := yield(buf[:n*h.dim], n, lo); err != nil {
			return err
		}
	}
	return nil
}

func (h held) Pick(_ context.Context, rows []int64, yield func([]float32, int) error) error {
	for _, r := range rows {
		if int(r) >= len(h.rows)/h.dim {
			return nil
		}
		if err := yield(h.rows[int(r)*h.dim:(int(r)+1)*h.dim], 1); err != nil {
			return err
		}
	}
	return nil
}

// planned is a plan of a kind with few lists.
func planned(t testing.TB, n, dim int, kind string, nlist int) Params {
	t.Helper()
	p, err := Choose(int64(n), dim, Wish{Kind: kind, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p.Kind != Flat && nlist > 0 {
		p.NList, p.TrainRows = nlist, int(p.Rows)-p.Queries
		p.Factory = p.factory()
	}
	return p
}

var kinds = []string{Flat, IVFFlat, IVFSQ8, IVFPQ}

func build(t testing.TB, p Params, rows []float32) (*Index, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base.faiss")
	p, err := Build(t.Context(), path, p, from(rows, p.Dim, 1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	})
	return ix, path
}

// oracle is a plain loop: no BLAS, no heap.
func oracle(rows, query []float32, dim, k int) []hit {
	var all []hit
	for i := range len(rows) / dim {
		all = append(all, hit{float32(vec.Dot(query, rows[i*dim:(i+1)*dim])), int64(i)})
	}
	slices.SortFunc(all, compareHits)
	return all[:min(k, len(all))]
}

// same compares a result with the oracle's: equal rows, but for rows whose
// scores differ by rounding only.
func same(scores []float32, rows []int64, want []hit) error {
	for i, w := range want {
		if math.Abs(float64(scores[i]-w.score)) > 1e-5 {
			return fmt.Errorf("place %d: score %v of row %d, want %v of row %d", i, scores[i], rows[i], w.score, w.row)
		}
		if rows[i] == w.row {
			continue
		}
		if !slices.ContainsFunc(want, func(o hit) bool { return o.row == rows[i] && math.Abs(float64(o.score-w.score)) < 1e-5 }) &&
			math.Abs(float64(w.score-want[len(want)-1].score)) > 1e-5 {
			return fmt.Errorf("place %d: row %d, want %d", i, rows[i], w.row)
		}
	}
	return nil
}

// The conformance suite: what holds for every kind of index.
func TestConformance(t *testing.T) {
	const n, dim = 3000, 24
	rows := clustered(n, dim, 40, 1)
	copy(rows[70*dim:], rows[7*dim:8*dim]) // equal rows
	copy(rows[2999*dim:], rows[7*dim:8*dim])
	for _, kind := range []string{Flat, IVFFlat} {
		t.Run(kind, func(t *testing.T) {
			p := planned(t, n, dim, kind, 30)
			ix, path := build(t, p, rows)
			t.Run("exact", func(t *testing.T) { conformExact(t, ix, rows) })
			t.Run("ties", func(t *testing.T) { conformTies(t, ix, rows) })
			t.Run("few rows", func(t *testing.T) { conformFew(t, ix, rows) })
			t.Run("bad input", func(t *testing.T) { conformBad(t, ix, rows) })
			t.Run("cancel", func(t *testing.T) { conformCancel(t, ix, rows) })
			t.Run("reopen", func(t *testing.T) { conformReopen(t, ix, path, rows) })
			t.Run("concurrent", func(t *testing.T) { conformConcurrent(t, ix, rows) })
			t.Run("close", func(t *testing.T) { conformClose(t, path, ix.Params()) })
		})
	}
}

func conformExact(t *testing.T, ix *Index, rows []float32) {
	dim := ix.p.Dim
	q := clustered(300, dim, 40, 2)
	for _, k := range []int{1, 10, 100} {
		scores, found, err := ix.SearchProbes(t.Context(), q, k, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			if err := same(scores[i*k:(i+1)*k], found[i*k:(i+1)*k], oracle(rows, q[i*dim:(i+1)*dim], dim, k)); err != nil {
				t.Fatalf("k %d, query %d: %v", k, i, err)
			}
		}
	}
}

func conformTies(t *testing.T, ix *Index, rows []float32) {
	dim := ix.p.Dim
	for k := 1; k <= 3; k++ {
		_, found, err := ix.Search(t.Context(), rows[7*dim:8*dim], k)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int64{7, 70, 2999}[:k]; !slices.Equal(found, want) {
			t.Errorf("k %d: rows %v, want %v", k, found, want)
		}
	}
}

func conformFew(t *testing.T, ix *Index, rows []float32) {
	n := int(ix.p.Rows)
	k := n + 5
	scores, found, err := ix.Search(t.Context(), rows[:ix.p.Dim], k)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for i := range n {
		seen[found[i]] = true
	}
	if len(seen) != n || seen[-1] {
		t.Errorf("%d different rows of %d", len(seen), n)
	}
	for i := n; i < k; i++ {
		if found[i] != -1 || !math.IsInf(float64(scores[i]), -1) {
			t.Errorf("place %d: row %d, score %v", i, found[i], scores[i])
		}
	}
	// None of no queries.
	if scores, found, err := ix.Search(t.Context(), nil, 3); err != nil || len(scores)+len(found) != 0 {
		t.Errorf("no queries: %v %v %v", scores, found, err)
	}
}

func conformBad(t *testing.T, ix *Index, rows []float32) {
	dim := ix.p.Dim
	nan := slices.Clone(rows[:2*dim])
	nan[dim+3] = float32(math.NaN())
	inf := slices.Clone(rows[:dim])
	inf[0] = float32(math.Inf(1))
	for name, c := range map[string]struct {
		q []float32
		k int
	}{
		"short": {rows[:dim-1], 3}, "k 0": {rows[:dim], 0}, "negative k": {rows[:dim], -1}, "nan": {nan, 3}, "infinite": {inf, 3},
		"huge k": {rows[:dim], math.MaxInt},
	} {
		if _, _, err := ix.Search(t.Context(), c.q, c.k); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := ix.Search(t.Context(), nan, 3); err == nil || !strings.Contains(err.Error(), "query 1") {
		t.Errorf("the error does not name the query: %v", err)
	}
}

func conformCancel(t *testing.T, ix *Index, rows []float32) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ix.Search(ctx, rows, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func conformReopen(t *testing.T, ix *Index, path string, rows []float32) {
	again, err := Open(path, ix.p)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	// A second build of the same rows, cut into other blocks.
	path2 := filepath.Join(t.TempDir(), "again.faiss")
	p := ix.p
	p.NProbe, p.Recall10 = 0, 0
	p, err = Build(t.Context(), path2, p, from(rows, p.Dim, 1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p != ix.p {
		t.Errorf("built again it is %+v, was %+v", p, ix.p)
	}
	twin, err := Open(path2, p)
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	q := clustered(100, p.Dim, 40, 3)
	s1, r1, _ := ix.Search(t.Context(), q, 10)
	for name, other := range map[string]*Index{"reopened": again, "rebuilt": twin} {
		s2, r2, err := other.Search(t.Context(), q, 10)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r1, r2) || !slices.Equal(s1, s2) {
			t.Errorf("%s: other results", name)
		}
	}
}

func conformConcurrent(t *testing.T, ix *Index, rows []float32) {
	dim := ix.p.Dim
	_, want, err := ix.Search(t.Context(), rows[:20*dim], 5)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 3 {
				_, got, err := ix.Search(t.Context(), rows[:20*dim], 5)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("err %v, rows differ", err)
				}
			}
		})
	}
	wg.Wait()
}

func conformClose(t *testing.T, path string, p Params) {
	ix, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup // searches that go on are not harmed
	q := clustered(50, p.Dim, 40, 4)
	for range 4 {
		wg.Go(func() {
			for {
				if _, _, err := ix.Search(t.Context(), q, 5); err != nil {
					if !errors.Is(err, errClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range 2 {
		if err := ix.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

// 20,000 rows: a real IVF index, its recall, and what all its lists find.
func TestIVFReachesItsRecall(t *testing.T) {
	const n, dim = 20_000, 64
	rows := clustered(n, dim, 200, 1)
	p := planned(t, n, dim, Auto, 0)
	if p.Kind != IVFFlat {
		t.Fatalf("%d rows make a %s index", n, p.Kind)
	}
	ix, _ := build(t, p, rows)
	p = ix.Params()
	if p.Recall10 < p.RecallTarget || p.NProbe < 1 || p.NProbe >= p.NList {
		t.Fatalf("%+v", p)
	}
	const nq = 500
	q := clustered(nq, dim, 200, 1)[:nq*dim] // the rows' own clusters
	for i := range q {
		q[i] += 0.02 * float32(i%7)
	}
	vec.Normalize(q, dim)
	exact := newExact(q, dim, 10)
	exact.add(rows, n, 0)
	_, found, err := ix.Search(t.Context(), q, 10)
	if err != nil {
		t.Fatal(err)
	}
	scores, all, err := ix.SearchProbes(t.Context(), q, 10, p.NList)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for i := range nq {
		want := exact.best[i].sorted()
		for _, w := range want {
			if slices.Contains(found[i*10:(i+1)*10], w.row) {
				got++
			}
		}
		if err := same(scores[i*10:(i+1)*10], all[i*10:(i+1)*10], want); err != nil {
			t.Fatalf("query %d with all lists: %v", i, err)
		}
	}
	recall := float64(got) / (nq * 10)
	t.Logf("nlist %d, nprobe %d, recall %.4f on held-out rows, %.4f on new queries", p.NList, p.NProbe, p.Recall10, recall)
	if recall < p.RecallTarget-0.02 {
		t.Errorf("recall %.3f on new queries, index.json says %.3f", recall, p.Recall10)
	}
}

func TestTuneRaisesProbes(t *testing.T) {
	const n, dim = 3000, 24
	rows := clustered(n, dim, 500, 1) // no clusters to speak of: lists help little
	probes := 0
	for _, target := range []float64{0.5, 0.9, 0.99, 1} {
		p := planned(t, n, dim, IVFFlat, 50)
		p.RecallTarget = target
		p, err := Build(t.Context(), filepath.Join(t.TempDir(), "x"), p, from(rows, dim, 999), nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Recall10 < target || p.NProbe <= probes {
			t.Errorf("target %v: recall %v with %d lists, before %d", target, p.Recall10, p.NProbe, probes)
		}
		probes = p.NProbe
	}
}

func TestChoose(t *testing.T) {
	const MB, GB = 1_000_000, 1_000_000_000
	for _, c := range []struct {
		rows    int64
		dim     int
		wish    Wish
		factory string
	}{
		{0, 64, Wish{}, "Flat"}, {785, 1280, Wish{}, "Flat"}, {9_999, 64, Wish{}, "Flat"},
		{10_000, 64, Wish{}, "IVF230,Flat"}, {20_000, 64, Wish{}, "IVF487,Flat"}, {500_000, 384, Wish{}, "IVF2828,Flat"},
		{1_000_000, 384, Wish{}, "IVF4000,SQ8"}, {1_000_000, 384, Wish{Memory: 2 * GB}, "IVF4000,Flat"},
		{2_000_000, 384, Wish{}, "IVF5564,SQ8"}, {2_000_000, 384, Wish{Memory: 500 * MB}, "OPQ96_384,IVF2782,PQ96np"},
		{10_000_000, 384, Wish{}, "OPQ64_384,IVF5564,PQ64np"}, {100_000_000, 384, Wish{Memory: 4 * GB}, "OPQ32_384,IVF22257_HNSW32,PQ32np"},
		{1_000_000_000, 768, Wish{Memory: GB}, "OPQ16_768,IVF2782,PQ16np"}, {1_000_000, 65536, Wish{Memory: 50 * GB}, "OPQ128_65536,IVF1630,PQ128np"},
		{5_000, 64, Wish{Kind: IVFFlat}, "IVF115,Flat"}, {60, 64, Wish{Kind: IVFPQ}, "Flat"}, {1_000_000, 10, Wish{Kind: IVFPQ}, "OPQ2_10,IVF4000,PQ2np"},
		{50_000_000, 8, Wish{Memory: 300 * MB}, "IVF28284_HNSW32,SQ8"}, {50_000_000, 384, Wish{Kind: Flat}, "Flat"},
	} {
		p, err := Choose(c.rows, c.dim, c.wish)
		if err != nil || p.Factory != c.factory {
			t.Errorf("%d × %d, %+v: %s, want %s (%v)", c.rows, c.dim, c.wish, p.Factory, c.factory, err)
		}
		if p.Kind != Flat && (p.TrainRows < minPerList*p.NList || int64(p.TrainRows+p.Queries) > p.Rows || 4*int64(p.TrainRows)*int64(p.Dim) > p.Memory/3) {
			t.Errorf("%d × %d: %d training rows for %d lists", c.rows, c.dim, p.TrainRows, p.NList)
		}
	}
	for says, w := range map[string]Wish{"kind": {Kind: "hnsw"}, "memory": {Memory: 1000}, "recall": {Recall: 1.5}} {
		if _, err := Choose(100_000, 64, w); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if _, err := Choose(100_000, 3, Wish{Kind: IVFPQ}); err == nil {
		t.Error("three numbers were product quantised")
	}
}

// odd yields one block, whatever is asked for.
type odd struct {
	v     []float32
	n     int
	first int64
	err   error
}

func (o odd) Range(_ context.Context, _, _ int64, yield func([]float32, int, int64) error) error {
	if o.err != nil {
		return o.err
	}
	return yield(o.v, o.n, o.first)
}

func (o odd) Pick(_ context.Context, _ []int64, yield func([]float32, int) error) error { return o.err }

func TestBuildRefuses(t *testing.T) {
	const n, dim = 500, 8
	rows := clustered(n, dim, 5, 1)
	nan := slices.Clone(rows)
	nan[123*dim] = float32(math.NaN())
	stop := errors.New("stop")
	plan := func(kind string) Params {
		return planned(t, n, dim, kind, 5)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		change func(p *Params)
		src    Vectors
		says   string
	}{
		"too few rows": {src: from(rows[:499*dim], dim, 100), says: "499 rows, 500 were planned|449 of 450 chosen rows were read"},
		"nan":          {src: from(nan, dim, 100), says: "row 123 is not finite"},
		"another dim":  {src: odd{rows[:10], 2, 0, nil}, says: "numbers of dim|chosen rows"},
		"a gap":        {src: odd{rows[:dim], 1, 1, nil}, says: "starts at row 1|chosen rows"},
		"source fails": {src: odd{err: stop}, says: "stop"},
		"cancelled":    {ctx: cancelled, src: from(rows, dim, 100), says: "context canceled"},
		"metric":       {change: func(p *Params) { p.Metric = "l2" }, says: "metric"},
		"target":       {change: func(p *Params) { p.RecallTarget = 1.5 }, says: "recall target"},
		"kind":         {change: func(p *Params) { p.Kind = "hnsw" }, says: "kind"},
		"no folder":    {src: from(rows, dim, 100), says: "no such file"},
	} {
		for _, kind := range []string{Flat, IVFFlat} {
			p, dir := plan(kind), t.TempDir()
			if c.change != nil {
				c.change(&p)
			}
			path := filepath.Join(dir, "base.faiss")
			if name == "no folder" {
				path = filepath.Join(dir, "missing", "base.faiss")
			}
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := Build(ctx, path, p, c.src, nil)
			if err == nil || !slices.ContainsFunc(strings.Split(c.says, "|"), func(s string) bool { return strings.Contains(err.Error(), s) }) {
				t.Errorf("%s, %s: err = %v", name, kind, err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s, %s: %s is left", name, kind, left[0].Name())
			}
		}
	}
}

func TestChooser(t *testing.T) {
	const total, want, rounds = 20, 5, 20_000
	count := make([]int, total)
	for seed := range uint64(rounds) {
		c := newChooser(seed, 1, want, total)
		n := 0
		for i := range total {
			if c.next() {
				count[i]++
				n++
			}
		}
		if n != want {
			t.Fatalf("seed %d picks %d", seed, n)
		}
	}
	for i, n := range count { // 5000 ± 5 standard deviations of 61
		if n < 4690 || n > 5310 {
			t.Errorf("thing %d was picked %d times of %d", i, n, rounds*want/total)
		}
	}
}
