package index

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"winnow/pipeline/vec"
)

// k-means finds the clusters that are there, the same with any number of goroutines.
func TestKMeans(t *testing.T) {
	const n, dim, k = 5000, 12, 20
	rows := clustered(n, dim, k, 3)
	count := func(int64) {}
	centres, err := kmeans(t.Context(), rows, dim, k, 1, count)
	if err != nil {
		t.Fatal(err)
	}
	nearest, mean := make([]int32, n), 0.0
	if err := assign(t.Context(), rows, centres, dim, nearest, count); err != nil {
		t.Fatal(err)
	}
	for i, c := range nearest { // against a plain loop
		row := rows[i*dim : (i+1)*dim]
		best := math.Inf(-1)
		for j := range k {
			best = max(best, vec.Dot(row, centres[j*dim:(j+1)*dim]))
		}
		got := vec.Dot(row, centres[int(c)*dim:(int(c)+1)*dim])
		if got < best-1e-5 {
			t.Fatalf("row %d: centre %d at %v, the nearest at %v", i, c, got, best)
		}
		mean += got / n
	}
	for c := range k {
		if l := vec.Dot(centres[c*dim:(c+1)*dim], centres[c*dim:(c+1)*dim]); math.Abs(l-1) > 1e-5 {
			t.Errorf("centre %d has length² %v", c, l)
		}
	}
	t.Logf("mean cosine to the centre %.3f", mean)
	if mean < 0.8 { // 0.87 where each cluster has its own
		t.Errorf("mean cosine to the centre %.3f", mean)
	}
	before := runtime.GOMAXPROCS(1)
	again, err := kmeans(t.Context(), rows, dim, k, 1, count)
	runtime.GOMAXPROCS(before)
	if err != nil || !slices.Equal(centres, again) {
		t.Errorf("one goroutine finds other centres (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kmeans(ctx, rows, dim, k, 1, count); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// More centres than different rows: the rest are next to others, none is lost.
func TestKMeansOfEqualRows(t *testing.T) {
	const n, dim, k = 400, 8, 50
	rows := make([]float32, n*dim)
	for i := range n {
		rows[i*dim+i%3] = 1
	}
	centres, err := kmeans(t.Context(), rows, dim, k, 1, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if firstNotFinite(centres) >= 0 {
		t.Error("a centre is not finite")
	}
	build(t, planned(t, n, dim, IVFFlat, 50), rows)
}

// An index that cannot reach its recall is an error that says what to do, and leaves
// nothing.
func TestRecallIsMissed(t *testing.T) {
	const n, dim = 2000, 8
	rows := clustered(n, dim, 10, 1)
	for kind, says := range map[string]string{IVFFlat: "lower recall", IVFSQ8: "lower recall, or choose kind: ivf_flat"} {
		p := planned(t, n, dim, kind, 10)
		dir := t.TempDir()
		trained, merged := filepath.Join(dir, "trained"), filepath.Join(dir, "base")
		q, err := Train(t.Context(), trained, p, from(rows, dim, 500), nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, truth, err := allLists(t.Context(), dir, trained, p, from(rows, dim, 500), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Merge(t.Context(), merged, p, parts); err != nil {
			t.Fatal(err)
		}
		for i := range truth.nearest { // neighbours that nobody finds
			for j := range truth.nearest[i] {
				truth.nearest[i][j] = hit{2, int64(n + j)}
			}
		}
		err = Tune(t.Context(), merged, &p, q, truth, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "0.95") {
			t.Errorf("%s: %v", kind, err)
		}
		data := truth.Encode()
		for _, cut := range []int{0, 7, len(data) / 2, len(data) - 1} {
			if _, err := DecodeTruth(data[:cut], q); !errors.Is(err, ErrDamaged) {
				t.Errorf("%d bytes of the truth: %v", cut, err)
			}
			if _, err := DecodeQueries(q.Encode()[:cut/8]); !errors.Is(err, ErrDamaged) {
				t.Errorf("%d bytes of the queries: %v", cut/8, err)
			}
		}
		if back, err := DecodeTruth(data, q); err != nil || !slices.Equal(back.nearest[3], truth.nearest[3]) {
			t.Errorf("the truth came back as %v, %v", back, err)
		}
	}
}
