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

// from streams rows in blocks of a size.
func from(rows []float32, dim, block int) Source {
	return func(ctx context.Context, yield func([]float32, int, int64) error) error {
		buf := make([]float32, block*dim)
		for lo := 0; lo < len(rows)/dim; lo += block {
			n := copy(buf, rows[lo*dim:min(lo+block, len(rows)/dim)*dim]) / dim
			if err := yield(buf[:n*dim], n, int64(lo)); err != nil {
				return err
			}
		}
		return nil
	}
}

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
	for _, kind := range []string{Flat, IVF} {
		t.Run(kind, func(t *testing.T) {
			p := Choose(n, dim)
			if kind == IVF {
				p.Kind, p.NList, p.Factory, p.Queries = IVF, 30, "IVF30,Flat", 200
			}
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
	p := Choose(n, dim)
	if p.Kind != IVF {
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
		p := Choose(n, dim)
		p.Kind, p.NList, p.Factory, p.Queries, p.RecallTarget = IVF, 50, "IVF50,Flat", 300, target
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
	for _, c := range []struct {
		rows  int64
		dim   int
		kind  string
		nlist int
	}{
		{0, 64, Flat, 0}, {785, 1280, Flat, 0}, {9_999, 64, Flat, 0}, {10_000, 64, IVF, 230},
		{20_000, 64, IVF, 487}, {1_000_000, 384, IVF, 4000}, {100_000_000, 384, IVF, 8962}, {1_000_000, 65536, IVF, 52},
	} {
		p := Choose(c.rows, c.dim)
		if p.Kind != c.kind || p.NList != c.nlist {
			t.Errorf("%d × %d: %s with %d lists, want %s with %d", c.rows, c.dim, p.Kind, p.NList, c.kind, c.nlist)
		}
		if err := p.check(); err != nil {
			t.Errorf("%d × %d: %v", c.rows, c.dim, err)
		}
		if p.Kind == IVF && (p.TrainRows < minPerList*p.NList || int64(p.TrainRows+p.Queries) > p.Rows || 4*p.TrainRows*p.Dim > maxTrainBytes) {
			t.Errorf("%d × %d: %d training rows for %d lists", c.rows, c.dim, p.TrainRows, p.NList)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	const n, dim = 500, 8
	rows := clustered(n, dim, 5, 1)
	nan := slices.Clone(rows)
	nan[123*dim] = float32(math.NaN())
	stop := errors.New("stop")
	plan := func(kind string) Params {
		p := Choose(n, dim)
		if kind == IVF {
			p.Kind, p.NList, p.Factory, p.Queries = IVF, 5, "IVF5,Flat", 50
		}
		return p
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		change func(p *Params)
		src    Source
		says   string
	}{
		"too few rows":  {src: from(rows[:499*dim], dim, 100), says: "499 rows, 500 were planned"},
		"too many rows": {src: from(append(slices.Clone(rows), rows[:dim]...), dim, 100), says: "more than the planned 500"},
		"nan":           {src: from(nan, dim, 100), says: "row 123 is not finite"},
		"another dim": {src: func(_ context.Context, yield func([]float32, int, int64) error) error {
			return yield(rows[:10], 2, 0)
		}, says: "10 numbers"},
		"a gap": {src: func(_ context.Context, yield func([]float32, int, int64) error) error {
			return yield(rows[:dim], 1, 1)
		}, says: "starts at row 1"},
		"source fails": {src: func(context.Context, func([]float32, int, int64) error) error { return stop }, says: "stop"},
		"cancelled":    {ctx: cancelled, src: from(rows, dim, 100), says: "context canceled"},
		"metric":       {change: func(p *Params) { p.Metric = "l2" }, says: "metric"},
		"target":       {change: func(p *Params) { p.RecallTarget = 1.5 }, says: "recall target"},
		"kind":         {change: func(p *Params) { p.Kind = "hnsw" }, says: "kind"},
		"no folder":    {src: from(rows, dim, 100), says: "no such file"},
	} {
		for _, kind := range []string{Flat, IVF} {
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
			if err == nil || !strings.Contains(err.Error(), c.says) {
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
