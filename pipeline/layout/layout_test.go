package layout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"winnow/pipeline/vec"
)

// clouds are n rows of dim numbers of length 1 around a few centres; row i belongs
// to centre i mod of.
func clouds(seed uint64, n, dim, of int, wide float64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	centres := make([]float64, of*dim)
	for i := range centres {
		centres[i] = rng.NormFloat64()
	}
	rows := make([]float32, n*dim)
	for i := range rows {
		rows[i] = float32(centres[i/dim%of*dim+i%dim] + wide*rng.NormFloat64())
	}
	vec.Normalize(rows, dim)
	return rows
}

// nearest is the plain graph of neighbours of rows from on, among all.
func nearest(rows []float32, dim, k, from int) *Neighbors {
	n := len(rows) / dim
	g := &Neighbors{K: k}
	far, order := make([]float64, n), make([]int32, 0, n)
	for i := from; i < n; i++ {
		order = order[:0]
		for j := range n {
			if far[j] = max(0, 1-vec.Dot(rows[i*dim:(i+1)*dim], rows[j*dim:(j+1)*dim])); j != i {
				order = append(order, int32(j))
			}
		}
		if k+1 < n/8 { // most are farther than the k-th of some
			some := slices.Clone(far[:n/8])
			slices.Sort(some)
			order = slices.DeleteFunc(order, func(j int32) bool { return far[j] > some[k+1] })
		}
		slices.SortFunc(order, func(a, b int32) int { return cmp.Or(cmp.Compare(far[a], far[b]), cmp.Compare(a, b)) })
		for _, j := range order[:k] {
			g.Rows, g.Distances = append(g.Rows, j), append(g.Distances, float32(far[j]))
		}
	}
	return g
}

func asBytes(t *testing.T, x []float32) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, x); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCurve(t *testing.T) {
	for _, c := range []struct{ minDist, spread, a, b float64 }{ // SciPy 1.17's curve_fit
		{0.1, 1, 1.5769434605, 0.8950608780},
		{0, 1, 1.9328083980, 0.7904949737},
		{0.5, 1, 0.5830300204, 1.3341669926},
		{0.99, 1, 0.1193053001, 1.9163904157},
		{0.25, 2, 0.4162734968, 0.9218551323},
		{0.001, 0.5, 5.7762989864, 0.7925153076},
	} {
		got := fitCurve(c.minDist, c.spread)
		if math.Abs(got.a-c.a) > 1e-5*c.a || math.Abs(got.b-c.b) > 1e-5*c.b {
			t.Errorf("min_dist %v, spread %v: a, b = %v, want %v, %v", c.minDist, c.spread, got, c.a, c.b)
		}
	}
}

func TestTable(t *testing.T) {
	for _, minDist := range []float64{0, 0.1, 0.9} {
		c := fitCurve(minDist, 1)
		for name, f := range map[string]func(float64) float64{"attraction": c.attraction, "repulsion": c.repulsion} {
			table := newTable(f)
			for s := floor; s < 1e9; s *= 1.0173 {
				if got, want := float64(table.at(float32(s))), f(float64(float32(s))); math.Abs(got-want) > 0.005*math.Abs(want) {
					t.Fatalf("min_dist %v: %s of %v is %v, want %v", minDist, name, s, got, want)
				}
			}
		}
	}
}

func TestStrengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for trial := range 200 {
		l := &list{}
		for i := range 2 + rng.IntN(20) {
			l.rows, l.far = append(l.rows, int32(i)), append(l.far, 0.1+rng.Float64())
		}
		slices.Sort(l.far)
		want := math.Log2(float64(len(l.far) + 1))
		l.strengths(1, trial%2 == 0)
		var sum float64
		for _, w := range l.far {
			sum += w
		}
		if math.Abs(sum-want) > 1e-4 || trial%2 == 0 && l.far[0] != 1 || !slices.IsSortedFunc(l.far, func(a, b float64) int { return cmp.Compare(b, a) }) {
			t.Fatalf("strengths %v sum up to %v, want %v", l.far, sum, want)
		}
	}
}

func TestUnionIsSymmetricAndRight(t *testing.T) {
	const n, k = 200, 7
	g := nearest(clouds(1, n, 8, 5, 0.5), 8, k, 0)
	g.Rows[3*k+2], g.Rows[4*k+1], g.Rows[5*k] = -1, 4, g.Rows[5*k+1] // a gap, the row itself, a row twice
	u, err := Union(t.Context(), g, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[[2]int]float64{}
	for i := range n {
		var l list
		l.read(g, i, i, k, nil)
		l.strengths(g.meanDistance(), true)
		for p, j := range l.rows {
			want[[2]int{i, int(j)}] = l.far[p]
		}
	}
	edges := 0
	for i := range n {
		to, w := u.edges(i)
		if !slices.IsSorted(to) {
			t.Fatalf("edges of row %d: %v", i, to)
		}
		for e, j := range to {
			a, b := want[[2]int{i, int(j)}], want[[2]int{int(j), i}]
			if s := a + b - a*b; math.Abs(s-float64(w[e])) > 1e-6 || s == 0 {
				t.Errorf("edge %d-%d: %v, want %v", i, j, w[e], s)
			}
			if back, v := u.edges(int(j)); v[slices.Index(back, int32(i))] != w[e] {
				t.Errorf("edge %d-%d is not the same both ways", i, j)
			}
			edges++
		}
	}
	both := 0
	for e := range want {
		if _, ok := want[[2]int{e[1], e[0]}]; ok {
			both++
		}
	}
	if edges != 2*len(want)-both {
		t.Errorf("%d edges, want %d", edges, 2*len(want)-both)
	}
}

func TestGraphsThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		g    Neighbors
		want string
	}{
		{Neighbors{K: 2, Rows: []int32{1, 2, 0}, Distances: []float32{0, 0, 0}}, "3 row numbers"},
		{Neighbors{K: 1, Rows: []int32{1, 2}, Distances: []float32{0, 0}}, "row 1 names row 2, of 2"},
		{Neighbors{K: 1, Rows: []int32{1, 0}, Distances: []float32{0, float32(math.NaN())}}, "are NaN apart"},
	} {
		if _, err := UMAP(t.Context(), &c.g, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.g, err, c.want)
		}
	}
}

func TestLabels(t *testing.T) {
	for n := range 100 {
		m := motion{n: n}
		seen := map[int]bool{}
		for i := range n {
			u := m.label(i)
			if u < 0 || u >= n || seen[u] || m.row(u) != i {
				t.Fatalf("of %d rows %d has label %d, which is row %d", n, i, u, m.row(u))
			}
			seen[u] = true
		}
	}
}

func TestSpectral(t *testing.T) {
	const n = 300
	u, err := Union(t.Context(), nearest(clouds(4, n, 3, 1, 1), 3, 8, 0), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, parts := u.components(); parts != 1 {
		t.Fatalf("%d parts: the test needs one", parts)
	}
	pos, err := spectral(t.Context(), u, 1)
	if err != nil {
		t.Fatal(err)
	}
	degree := make([]float64, n)
	dense := make([]float64, n*n)
	for i := range n {
		_, w := u.edges(i)
		for _, x := range w {
			degree[i] += float64(x)
		}
	}
	for i := range n {
		to, w := u.edges(i)
		for e, j := range to {
			dense[i*n+int(j)] = float64(w[e]) / math.Sqrt(degree[i]*degree[j])
		}
	}
	_, vectors, err := vec.Eigh(dense, n)
	if err != nil {
		t.Fatal(err)
	}
	for axis := range 2 {
		var dot, length float64
		for i, x := range vectors[(n-2-axis)*n : (n-1-axis)*n] {
			dot += x * float64(pos[i][axis])
			length += float64(pos[i][axis]) * float64(pos[i][axis])
		}
		if c := math.Abs(dot) / math.Sqrt(length); c < 0.9999 {
			t.Errorf("axis %d: cosine %v to the exact eigenvector", axis, c)
		}
	}
}

// withProcessors calls fn with one, two and five threads.
func withProcessors(fn func(threads int)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, p := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(p)
		fn(p)
	}
}

func TestUMAPIsReproducible(t *testing.T) {
	const n, dim = 1100, 8
	rows := clouds(5, n, dim, 6, 0.6)
	g := nearest(rows, dim, 10, 0)
	for name, o := range map[string]Options{"all": {Seed: 7, Epochs: 12}, "landmarks": {Seed: 7, Epochs: 12, Landmarks: 1050}} {
		var first []byte
		withProcessors(func(threads int) {
			m, err := UMAP(t.Context(), g, o)
			if err != nil {
				t.Fatal(err)
			}
			b := asBytes(t, m.Points)
			if first == nil {
				first = b
			}
			if !bytes.Equal(first, b) {
				t.Errorf("%s: %d threads give another map", name, threads)
			}
		})
		o.Seed = 8
		m, err := UMAP(t.Context(), g, o)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(first, asBytes(t, m.Points)) {
			t.Errorf("%s: another seed gives the same map", name)
		}
	}
}

func TestUMAPCanBeTrusted(t *testing.T) {
	const n, dim = 600, 12
	rows := clouds(6, n, dim, 8, 0.4)
	g := nearest(rows, dim, 14, 0)
	start := make([]float32, 2*n)
	for i := range start {
		start[i] = float32(unit(mix(uint64(i))))
	}
	for _, c := range []struct {
		name string
		o    Options
		want float64
	}{
		{"spectral", Options{Seed: 1, Epochs: 100}, 0.93},
		{"given start", Options{Seed: 1, Epochs: 100, Start: start}, 0.93},
		{"landmarks", Options{Seed: 1, Epochs: 100, Landmarks: 250}, 0.89},
		{"seven neighbours", Options{Seed: 1, Epochs: 100, Neighbors: 7}, 0.92},
	} {
		m, err := UMAP(t.Context(), g, c.o)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := Trustworthiness(t.Context(), m.Points, dim, 14, 1, InMemory(rows, dim))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: trustworthiness %.4f", c.name, v)
		if v < c.want {
			t.Errorf("%s: trustworthiness %.4f, want %v", c.name, v, c.want)
		}
	}
}

func TestSmallGraphs(t *testing.T) {
	for n := range 24 {
		rows := clouds(uint64(n), n, 4, 3, 0.1)
		g := &Neighbors{K: 3}
		if n > 3 {
			g = nearest(rows, 4, 3, 0)
		} else {
			g.Rows, g.Distances = slices.Repeat([]int32{-1}, 3*n), make([]float32, 3*n)
		}
		m, err := UMAP(t.Context(), g, Options{Epochs: 20})
		if err != nil {
			t.Fatalf("%d rows: %v", n, err)
		}
		if len(m.Points) != 2*n {
			t.Fatalf("%d rows: %d coordinates", n, len(m.Points))
		}
		for _, x := range m.Points {
			if math.IsNaN(float64(x)) || math.Abs(float64(x)) > 1e4 {
				t.Fatalf("%d rows: a coordinate is %v", n, x)
			}
		}
	}
}

func TestEqualRows(t *testing.T) {
	const n, k = 60, 5
	g := &Neighbors{K: k, Distances: make([]float32, n*k)}
	for i := range n {
		for p := range k {
			g.Rows = append(g.Rows, int32((i+p+1)%n))
		}
	}
	m, err := UMAP(t.Context(), g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Points {
		if x-x != 0 {
			t.Fatalf("a coordinate is %v", x)
		}
	}
}

func TestCancelled(t *testing.T) {
	g := nearest(clouds(9, 100, 4, 2, 1), 4, 5, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := UMAP(ctx, g, Options{}); err == nil {
		t.Error("a cancelled layout returned a map")
	}
}
