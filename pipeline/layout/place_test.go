package layout

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"winnow/pipeline/vec"
)

// placed lays out the first old of all rows and returns their map, the others'
// neighbours, and all rows.
func placed(t *testing.T, n, old, dim, k int) (*Map, *Neighbors, []float32) {
	t.Helper()
	rows := clouds(11, n, dim, 6, 0.4)
	m, err := UMAP(t.Context(), nearest(rows[:old*dim], dim, k, 0), Options{Seed: 3, Epochs: 60})
	if err != nil {
		t.Fatal(err)
	}
	return m, nearest(rows, dim, k, old), rows
}

func TestPlaceLeavesOldRowsInPlace(t *testing.T) {
	const n, old, dim, k = 600, 450, 10, 12
	m, g, rows := placed(t, n, old, dim, k)
	before := asBytes(t, m.Points)
	var first []byte
	var points []float32
	withProcessors(func(threads int) {
		var apart int
		var err error
		points, apart, err = Place(t.Context(), m.Points, g, Options{Seed: 3, Epochs: 60})
		if err != nil || apart != 0 || len(points) != 2*(n-old) {
			t.Fatalf("%d coordinates, %d rows apart, %v", len(points), apart, err)
		}
		b := asBytes(t, points)
		if first == nil {
			first = b
		}
		if !bytes.Equal(first, b) {
			t.Errorf("%d threads give other places", threads)
		}
	})
	if !bytes.Equal(before, asBytes(t, m.Points)) {
		t.Error("old rows were moved")
	}
	all, _, err := Trustworthiness(t.Context(), append(slices.Clone(m.Points), points...), dim, k, 1, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	alone, _, err := Trustworthiness(t.Context(), m.Points, dim, k, 1, InMemory(rows[:old*dim], dim))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("trustworthiness %.4f, of the old rows alone %.4f", all, alone)
	if all < alone-0.02 {
		t.Errorf("trustworthiness %.4f with the new rows, %.4f without", all, alone)
	}
}

func TestPlaceDoesNotDependOnOtherNewRows(t *testing.T) {
	const n, old, dim, k = 500, 400, 10, 12
	m, g, _ := placed(t, n, old, dim, k)
	together, _, err := Place(t.Context(), m.Points, g, Options{Seed: 3, Epochs: 60})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for i := range n - old {
		one := &Neighbors{K: k, Rows: slices.Clone(g.Rows[i*k : (i+1)*k]), Distances: g.Distances[i*k : (i+1)*k]}
		known := 0
		for p, j := range one.Rows {
			if j < old {
				known++
			} else {
				one.Rows[p] = -1
			}
		}
		if known < enough {
			continue
		}
		alone, _, err := Place(t.Context(), m.Points, one, Options{Seed: 3, Epochs: 60})
		if err != nil {
			t.Fatal(err)
		}
		if alone[0] != together[2*i] || alone[1] != together[2*i+1] {
			t.Fatalf("new row %d lies at %v alone, at %v among others", i, alone, together[2*i:2*i+2])
		}
		compared++
	}
	if compared < 50 {
		t.Errorf("only %d rows were compared", compared)
	}
}

func TestPlaceWithoutOldNeighbours(t *testing.T) {
	old := []float32{0, 0, 1, 0, 0, 1}
	g := &Neighbors{K: 2, Distances: make([]float32, 10), Rows: []int32{
		0, 1, // tied to the map
		3, -1, // by row 3
		4, -1, // by row 4
		7, -1, 6, -1, // to each other only
	}}
	for i := range g.Distances {
		g.Distances[i] = 0.2
	}
	points, apart, err := Place(t.Context(), old, g, Options{})
	if err != nil || apart != 2 {
		t.Fatalf("%d rows apart, want 2, %v", apart, err)
	}
	for i := range 5 {
		far := math.Hypot(float64(points[2*i])-1./3, float64(points[2*i+1])-1./3)
		if math.IsNaN(far) || i >= 3 && far < 1 {
			t.Errorf("row %d lies at %v", i, points[2*i:2*i+2])
		}
	}
	if _, _, err := Place(t.Context(), nil, g, Options{}); err == nil {
		t.Error("rows were placed on no map")
	}
}

func TestLandmarks(t *testing.T) {
	const n, dim, k = 1200, 6, 8
	rows := clouds(12, n, dim, 7, 0.05) // seven parts
	g := nearest(rows, dim, k, 0)
	marks := landmarks(g, 400, 5)
	if len(marks) != 400 || !slices.IsSorted(marks) || len(slices.Compact(slices.Clone(marks))) != 400 {
		t.Fatalf("%d landmarks, or not rising", len(marks))
	}
	per := make([]int, 7)
	for _, i := range marks {
		per[i%7]++
	}
	for c, count := range per {
		if count < 45 || count > 70 { // 57 each
			t.Errorf("part %d has %d of 400 landmarks", c, count)
		}
	}
	// ways against the plain relaxation of all edges
	sub, err := among(t.Context(), g, marks)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(marks); at += 37 {
		far := plainWays(g, int(marks[at]))
		for p := range k {
			j := sub.Rows[at*k+p]
			if got, want := sub.Distances[at*k+p], far[marks[j]]; math.Abs(float64(got)-want) > 1e-5 {
				t.Errorf("landmark %d is %v from %d, want %v", j, got, at, want)
			}
		}
		closer := 0
		for k, i := range marks {
			if k != at && far[i] < float64(sub.Distances[at*g.K+g.K-1])-1e-5 {
				closer++
			}
		}
		if closer > k-1 {
			t.Errorf("landmark %d: %d others are nearer than its last", at, closer)
		}
	}
}

func plainWays(g *Neighbors, from int) []float64 {
	far := slices.Repeat([]float64{math.Inf(1)}, g.Len())
	far[from] = 0
	for changed := true; changed; {
		changed = false
		for p, j := range g.Rows {
			if d := far[p/g.K] + float64(g.Distances[p]); d < far[j]-1e-12 {
				far[j], changed = d, true
			}
		}
	}
	return far
}

func TestPCAWithThreads(t *testing.T) {
	const n, dim = 1500, 140 // several blocks and strips
	rows := clouds(13, n, dim, 9, 0.3)
	var first []float64
	withProcessors(func(int) {
		c, err := PCA(t.Context(), n, dim, 2, InMemory(rows, dim))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = c.Axes[0]
		}
		if !slices.Equal(first, c.Axes[0]) {
			t.Error("threads change the axes")
		}
	})
}

func TestPCA(t *testing.T) {
	const n, dim = 1500, 140
	rows := clouds(13, n, dim, 9, 0.3)
	c, err := PCA(t.Context(), n, dim, 2, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	mean := make([]float64, dim)
	for i, x := range rows {
		mean[i%dim] += float64(x) / n
	}
	cov := make([]float64, dim*dim)
	for r := range n {
		for i := range dim {
			for j := range i + 1 {
				cov[i*dim+j] += (float64(rows[r*dim+i]) - mean[i]) * (float64(rows[r*dim+j]) - mean[j]) / n
			}
		}
	}
	values, vectors, err := vec.Eigh(cov, dim)
	if err != nil {
		t.Fatal(err)
	}
	var total float64
	for _, v := range values {
		total += v
	}
	points, err := c.Project(t.Context(), n, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	for a := range 2 {
		want := vectors[(dim-1-a)*dim : (dim-a)*dim]
		var dot float64
		for j, x := range want {
			dot += x * c.Axes[a][j]
		}
		if math.Abs(math.Abs(dot)-1) > 1e-6 || math.Abs(c.Shares[a]-values[dim-1-a]/total) > 1e-6 {
			t.Errorf("axis %d: cosine %v, share %v, want %v", a, dot, c.Shares[a], values[dim-1-a]/total)
		}
		for i := 0; i < n; i += 97 {
			var x float64
			for j := range dim {
				x += (float64(rows[i*dim+j]) - mean[j]) * want[j]
			}
			if math.Abs(math.Abs(x)-math.Abs(float64(points[2*i+a]))) > 1e-5 {
				t.Fatalf("row %d lies at %v along axis %d, want %v", i, points[2*i+a], a, x)
			}
		}
	}
	if _, err := PCA(t.Context(), 3, 4, 5, nil); err == nil {
		t.Error("five axes of four numbers")
	}
}

func TestTrustworthiness(t *testing.T) {
	const n, dim, k = 260, 6, 9
	rows := clouds(14, n, dim, 4, 0.5)
	points := make([]float32, 2*n) // the first two numbers: a bad map
	for i := range n {
		copy(points[2*i:], rows[i*dim:i*dim+2])
	}
	points[7], points[9] = points[5], points[5]
	flatMap := slices.Repeat([]float32{1}, 2*n) // all points in one place
	for name, points := range map[string][]float32{"two numbers": points, "one place": flatMap} {
		got, e, err := Trustworthiness(t.Context(), points, dim, k, 1, InMemory(rows, dim))
		if err != nil {
			t.Fatal(err)
		}
		if want := plainTrust(rows, points, dim, k); math.Abs(got-want) > 1e-5 || e != 0 {
			t.Errorf("%s: %v ± %v, want %v", name, got, e, want)
		}
	}
	if _, _, err := Trustworthiness(t.Context(), points[:20], dim, k, 1, nil); err == nil {
		t.Error("nine neighbours of ten rows")
	}
}

func TestTrustworthinessOfASample(t *testing.T) {
	const n, dim, k = 3000, 4, 5
	rows := clouds(15, n, dim, 50, 0.3)
	points := make([]float32, 2*n)
	for i := range n {
		copy(points[2*i:], rows[i*dim:i*dim+2])
	}
	a, e, err := trustOf(t.Context(), points, dim, k, 1000, 300, 1, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := trustOf(t.Context(), points, dim, k, 1000, 300, 2, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := trustOf(t.Context(), points, dim, k, n, 0, 1, InMemory(rows, dim))
	if err != nil {
		t.Fatal(err)
	}
	if a == b || e <= 0 || math.Abs(a-all) > 4*e || math.Abs(b-all) > 4*e {
		t.Errorf("two samples: %v ± %v and %v, all rows: %v", a, e, b, all)
	}
}

// plainTrust is the definition.
func plainTrust(rows, points []float32, dim, k int) float64 {
	n := len(points) / 2
	byVector := nearest(rows, dim, n-1, 0)
	var sum float64
	for i := range n {
		near := everyRow(n)
		near = slices.DeleteFunc(near, func(j int32) bool { return int(j) == i })
		far := func(j int32) float64 {
			return math.Pow(float64(points[2*i])-float64(points[2*j]), 2) + math.Pow(float64(points[2*i+1])-float64(points[2*j+1]), 2)
		}
		slices.SortStableFunc(near, func(a, b int32) int {
			switch {
			case far(a) < far(b):
				return -1
			case far(a) > far(b):
				return 1
			}
			return 0
		})
		for _, j := range near[:k] {
			rank := slices.Index(byVector.Rows[i*(n-1):(i+1)*(n-1)], j) + 1
			sum += float64(max(0, rank-k))
		}
	}
	return 1 - sum*2/(float64(n)*float64(k)*float64(2*n-3*k-1))
}
