package graph

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"winnow/pipeline/seeded"
	"winnow/pipeline/vec"
)

// random makes n rows of length 1, every fourth a near copy of an earlier one.
func random(n, dim int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([]float32, n*dim)
	for i := range n {
		v := rows[i*dim : (i+1)*dim]
		for j := range v {
			v[j] = float32(r.NormFloat64())
		}
		if i > 4 && i%4 == 0 {
			of := r.IntN(i)
			noise := []float32{0, 0.02, 0.1, 0.2}[r.IntN(4)]
			for j := range v {
				v[j] = rows[of*dim+j] + noise*v[j]/float32(math.Sqrt(float64(dim)))
			}
		}
		vec.Normalize(v, dim)
	}
	return rows
}

// source streams rows in blocks of uneven size.
func source(rows []float32, dim int) Source {
	return func(_ context.Context, yield func(int, []float32) error) error {
		n := len(rows) / dim
		for first, step := 0, 1; first < n; step = step%97*3 + 1 {
			m := min(step, n-first)
			block := slices.Clone(rows[first*dim : (first+m)*dim])
			if err := yield(first, block); err != nil {
				return err
			}
			for i := range block {
				block[i] = float32(math.NaN()) // it is used again
			}
			first += m
		}
		return nil
	}
}

func queries(rows []float32, dim int, at ...int32) *Queries {
	q := &Queries{Dim: dim, Rows: at}
	for _, i := range at {
		q.Vectors = append(q.Vectors, rows[int(i)*dim:(int(i)+1)*dim]...)
	}
	return q
}

func all(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// plainCosine is the textbook's.
func plainCosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// plainNearest sorts all rows by their cosine.
func plainNearest(rows []float32, dim, of, k int) []Neighbor {
	var out []Neighbor
	for j := range len(rows) / dim {
		if j != of {
			out = append(out, Neighbor{int32(j), float32(min(plainCosine(rows[of*dim:(of+1)*dim], rows[j*dim:(j+1)*dim]), 1))})
		}
	}
	slices.SortFunc(out, compare)
	return out[:min(k, len(out))]
}

func same(t *testing.T, what string, got, want []Neighbor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d neighbours, want %d", what, len(got), len(want))
	}
	for i := range got {
		// The reference adds up in another order, so ties to the last bit may swap.
		if math.Abs(float64(got[i].Cosine-want[i].Cosine)) > 1e-7 {
			t.Fatalf("%s: neighbour %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func find(t *testing.T, rows []float32, dim, k int) *Lists {
	t.Helper()
	n := len(rows) / dim
	q, out := queries(rows, dim, all(n)...), NewLists(n, k+Slack)
	if err := Nearest(t.Context(), q, source(rows, dim), out); err != nil {
		t.Fatal(err)
	}
	if err := Measure(t.Context(), q, source(rows, dim), out); err != nil {
		t.Fatal(err)
	}
	out.Sort(k)
	return out
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ n, dim, k int }{{1, 3, 5}, {2, 8, 1}, {10, 4, 15}, {700, 24, 15}, {1500, 7, 3}} {
		rows := random(c.n, c.dim, uint64(c.n))
		got := find(t, rows, c.dim, c.k)
		for i := range c.n {
			want := plainNearest(rows, c.dim, i, c.k)
			same(t, "row", got.Of(i), want)
			for k, x := range got.Of(i) {
				if int(x.Row) == i || k > 0 && !got.Of(i)[k-1].before(x) {
					t.Fatalf("row %d: %v", i, got.Of(i))
				}
			}
		}
		old := runtime.GOMAXPROCS(1)
		one := find(t, rows, c.dim, c.k)
		runtime.GOMAXPROCS(old)
		if !slices.Equal(one.items, got.items) {
			t.Error("the lists depend on the number of processors")
		}
	}
}

func TestEqualRowsAreAtOne(t *testing.T) {
	rows := slices.Repeat([]float32{0.6, 0.8, 0}, 40)
	got := find(t, rows, 3, 5)
	if want := []Neighbor{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}; !slices.Equal(got.Of(20), want) {
		t.Errorf("got %v", got.Of(20))
	}
}

func TestMergeOfPartsIsTheWhole(t *testing.T) {
	const n, dim, k, cut = 400, 12, 9, 300
	rows := random(n, dim, 3)
	whole := find(t, rows, dim, k)
	old := find(t, rows[:cut*dim], dim, k)
	fresh := NewLists(cut, k+Slack)
	q := queries(rows, dim, all(cut)...)
	for i := range q.Rows {
		q.Rows[i] = -1
	}
	part := source(rows[cut*dim:], dim)
	if err := Nearest(t.Context(), q, part, fresh); err != nil {
		t.Fatal(err)
	}
	if err := Measure(t.Context(), q, part, fresh); err != nil {
		t.Fatal(err)
	}
	for i := range cut {
		for j := range fresh.Of(i) {
			fresh.Of(i)[j].Row += cut
		}
	}
	fresh.Sort(k)
	for i := range cut {
		if got := Merge(old.Of(i), fresh.Of(i), k); !slices.Equal(got, whole.Of(i)) {
			t.Fatalf("row %d: %v, want %v", i, got, whole.Of(i))
		}
	}
}

func TestMeasureMisses(t *testing.T) {
	rows := random(10, 4, 1)
	l := NewLists(1, 3)
	l.Offer(0, Neighbor{12, 0.5})
	if err := Measure(t.Context(), queries(rows, 4, 0), source(rows, 4), l); err == nil {
		t.Error("a row that is not there was measured")
	}
	if err := Nearest(t.Context(), &Queries{Dim: 4, Rows: []int32{1}, Vectors: make([]float32, 3)}, source(rows, 4), l); err == nil {
		t.Error("three numbers made a row of four")
	}
}

func TestWithin(t *testing.T) {
	const n, dim = 500, 16
	rows := random(n, dim, 9)
	q := queries(rows, dim, 3, 8, 100, 499)
	got := map[[2]int32]float32{}
	var mu sync.Mutex
	err := Within(t.Context(), q, source(rows, dim), 0.9, func() {}, func(int, int32) bool { return false }, func(query int, row int32, c float32) {
		mu.Lock()
		defer mu.Unlock()
		got[[2]int32{q.Rows[query], row}] = c
	})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, i := range q.Rows {
		for _, x := range plainNearest(rows, dim, int(i), n) {
			if x.Cosine >= 0.9 {
				want++
				if c := got[[2]int32{i, x.Row}]; math.Abs(float64(c-x.Cosine)) > 1e-6 {
					t.Errorf("%d and %d: %v, want %v", i, x.Row, c, x.Cosine)
				}
			}
		}
	}
	if len(got) != want || want == 0 {
		t.Errorf("%d pairs, want %d", len(got), want)
	}
}

func TestUnion(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		n := 1 + r.IntN(60)
		u, label := NewUnion(n), all(n) // label: relabelled by hand
		for range r.IntN(2 * n) {
			a, b := int32(r.IntN(n)), int32(r.IntN(n))
			if u.Join(a, b) != (label[a] != label[b]) {
				t.Fatal("Join does not know whether they were two")
			}
			from, to := max(label[a], label[b]), min(label[a], label[b])
			for i := range label {
				if label[i] == from {
					label[i] = to
				}
			}
		}
		var want [][]int32
		for root := range int32(n) {
			var g []int32
			for i, l := range label {
				if l == root {
					g = append(g, int32(i))
				}
			}
			if len(g) > 1 {
				want = append(want, g)
			}
		}
		if got := u.Groups(); !slices.EqualFunc(got, want, slices.Equal[[]int32]) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func TestLead(t *testing.T) {
	// A chain: each is near the next, the ends are far apart.
	var rows []float32
	for _, degrees := range []float64{0, 10, 20, 30, 40} {
		rows = append(rows, float32(math.Cos(degrees*math.Pi/180)), float32(math.Sin(degrees*math.Pi/180)))
	}
	least := float32(math.Cos(11 * math.Pi / 180))
	l := NewLeaders(2, least, nil)
	of, cosines := l.Add(rows[:4])
	of2, cosines2 := l.Add(rows[4:])
	of, cosines = append(of, of2...), append(cosines, cosines2...)
	if want := []int32{0, 0, 2, 2, 4}; !slices.Equal(of, want) {
		t.Errorf("of %v, want %v", of, want)
	}
	for i, k := range of {
		if c := plainCosine(rows[2*i:2*i+2], rows[2*k:2*k+2]); math.Abs(c-float64(cosines[i])) > 1e-6 || cosines[i] < least {
			t.Errorf("row %d: cosine %v, want %v", i, cosines[i], c)
		}
	}
	also := NewLeaders(2, least, func(a, b int) bool { return a == 4 && b == 0 })
	if of, _ := also.Add(rows); of[4] != 0 {
		t.Errorf("the last row is of %d", of[4])
	}
}

func TestLeadManyRows(t *testing.T) {
	const n, dim = 900, 6
	rows := random(n, dim, 11)
	of, _ := NewLeaders(dim, 0.95, nil).Add(rows)
	var kept []int
	for i := range n {
		want := i
		for _, k := range kept {
			if plainCosine(rows[i*dim:(i+1)*dim], rows[k*dim:(k+1)*dim]) >= 0.95 {
				want = k
				break
			}
		}
		if want == i {
			kept = append(kept, i)
		}
		if int(of[i]) != want {
			t.Fatalf("row %d is of %d, want %d", i, of[i], want)
		}
	}
	if len(kept) < 100 || len(kept) == n {
		t.Errorf("%d rows stay: no test", len(kept))
	}
}

func TestAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	hashes := make([]uint64, 2000)
	for i := range hashes {
		if hashes[i] = r.Uint64(); i > 0 && i%2 == 0 {
			hashes[i] = hashes[r.IntN(i)]
			for range r.IntN(9) {
				hashes[i] ^= 1 << r.IntN(64)
			}
		}
	}
	for _, most := range []int{0, 3, 6, 15} {
		got, want := NewUnion(len(hashes)), NewUnion(len(hashes))
		if err := Alike(t.Context(), all(len(hashes)), hashes, most, func(a, b int32) { got.Join(a, b) }); err != nil {
			t.Fatal(err)
		}
		for i, a := range hashes {
			for j, b := range hashes[:i] {
				if bits.OnesCount64(a^b) <= most {
					want.Join(int32(i), int32(j))
				}
			}
		}
		if !slices.EqualFunc(got.Groups(), want.Groups(), slices.Equal[[]int32]) {
			t.Errorf("%d bits: other groups", most)
		}
	}
}

func TestEarlier(t *testing.T) {
	for _, n := range []int{1, 2, 300, 2500} {
		const dim = 12
		rows := random(n, dim, uint64(n))
		of, cosines, err := Earlier(t.Context(), rows, dim)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			want, best := -1, -1.0
			for j := range i {
				if c := plainCosine(rows[i*dim:(i+1)*dim], rows[j*dim:(j+1)*dim]); c > best {
					want, best = j, c
				}
			}
			if math.Abs(best-float64(cosines[i])) > 1e-6 || int(of[i]) != want && best < 1-1e-6 {
				t.Fatalf("row %d of %d: %d at %v, want %d at %v", i, n, of[i], cosines[i], want, best)
			}
		}
	}
}

// plainMeans is Lloyd's algorithm by the book, from the same first centres.
func plainMeans(rows []float32, dim, k int, centers []float32) (of []int) {
	n := len(rows) / dim
	assign := func() []int {
		now := make([]int, n)
		for i := range n {
			best := -2.0
			for c := range k {
				if x := plainCosine(rows[i*dim:(i+1)*dim], centers[c*dim:(c+1)*dim]); x > best {
					now[i], best = c, x
				}
			}
		}
		return now
	}
	for range iterations {
		of = assign()
		for c := range k {
			sum := make([]float32, dim)
			for i := range n {
				if of[i] == c {
					for j := range dim {
						sum[j] += rows[i*dim+j]
					}
				}
			}
			vec.Normalize(sum, dim)
			copy(centers[c*dim:], sum)
		}
	}
	return assign()
}

func TestTrain(t *testing.T) {
	const n, dim, k = 1200, 8, 7
	rows := random(n, dim, 21)
	// One step from the first centres tells which they were.
	first := &Clusters{Dim: dim}
	order := all(n)
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Compare(seeded.Hash(5, strconv.Itoa(int(a))), seeded.Hash(5, strconv.Itoa(int(b))))
	})
	for _, i := range order[:k] {
		first.Centers = append(first.Centers, rows[int(i)*dim:(int(i)+1)*dim]...)
	}
	c, err := Train(t.Context(), rows, dim, k, 5)
	if err != nil {
		t.Fatal(err)
	}
	of, cosines := c.Assign(rows)
	want := plainMeans(rows, dim, k, first.Centers)
	different := 0
	for i := range of {
		if int(of[i]) != want[i] {
			different++
		}
		if x := plainCosine(rows[i*dim:(i+1)*dim], c.Centers[int(of[i])*dim:(int(of[i])+1)*dim]); math.Abs(x-float64(cosines[i])) > 1e-5 {
			t.Fatalf("row %d: cosine %v, want %v", i, cosines[i], x)
		}
	}
	if different > 2 { // rounding
		t.Errorf("%d of %d rows are in another cluster than by the book", different, n)
	}
	if _, err := Train(t.Context(), rows, dim, n+1, 1); err == nil {
		t.Error("more clusters than rows")
	}
	// Copies only: centres that lose their rows must not end it.
	if _, err := Train(t.Context(), slices.Repeat([]float32{1, 0}, 50), 2, 5, 1); err != nil {
		t.Error(err)
	}
}
