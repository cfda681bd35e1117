package diagnose

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/pipeline/vec"
)

// The numbers of this file were computed with scikit-learn, SciPy and
// pycocotools; testdata/interop/diagnose_check.py compares many more.

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < 1e-9) && !(math.IsNaN(got) && math.IsNaN(want)) {
		t.Errorf("%s is %.12g, want %.12g", what, got, want)
	}
}

// one is an item of one class; a guess below 0 is none.
func one(truth, guess int, confidence float64) Item {
	it := Item{Truth: []Object{{Class: truth, Confidence: math.NaN()}}}
	if guess >= 0 {
		it.Guess = []Object{{Class: guess, Confidence: confidence}}
	}
	return it
}

func evaluate(items []Item, classes int, boxes bool, iou float64) *Evaluation {
	t := NewTally(classes, boxes)
	for i := range items {
		t.Add(&items[i], Match(&items[i], boxes, iou))
	}
	return t.Result()
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		k, n      int64
		low, high float64
	}{
		{0, 1, 0, 0.793450685622763},
		{1, 1, 0.206549314377237, 1},
		{7, 23, 0.156040244504, 0.508657562723},
		{30, 30, 0.886486606821, 1},
	} {
		r := NewRate(c.k, c.n)
		if math.Abs(r.Low-c.low) > 1e-8 || math.Abs(r.High-c.high) > 1e-8 {
			t.Errorf("%d of %d: [%.10f, %.10f], want [%.10f, %.10f]", c.k, c.n, r.Low, r.High, c.low, c.high)
		}
	}
	data, err := json.Marshal([]Rate{NewRate(0, 0), NewRate(1, 2)})
	if err != nil || string(data) != `[{"value":null,"low":0,"high":1,"k":0,"n":0},{"value":0.5,"low":0.09453120573423074,"high":0.9054687942657693,"k":1,"n":2}]` {
		t.Errorf("%s, %v", data, err)
	}
	f := F1(6, 2, 4)
	near(t, "F1", f.Value, 2*6.0/(2*6+2+4))
	if !(f.Low < f.Value && f.Value < f.High) {
		t.Errorf("%v is not within its interval", f)
	}
}

func TestMatchWithoutBoxes(t *testing.T) {
	objects := func(classes ...int) (out []Object) {
		for _, c := range classes {
			out = append(out, Object{Class: c})
		}
		return out
	}
	for name, c := range map[string]struct {
		truth, guess []Object
		want         []Pair
	}{
		"right":           {objects(1), objects(1), []Pair{{0, 0, 0}}},
		"confused":        {objects(1), objects(2), []Pair{{0, 0, 0}}},
		"no guess":        {objects(1), nil, []Pair{{0, -1, 0}}},
		"no label":        {nil, objects(1), []Pair{{-1, 0, 0}}},
		"several":         {objects(0, 1, 2), objects(2, 0), []Pair{{0, 1, 0}, {2, 0, 0}, {1, -1, 0}}},
		"one swapped":     {objects(0, 1), objects(0, 3), []Pair{{0, 0, 0}, {1, 1, 0}}},
		"two are no swap": {objects(0, 1), objects(2, 3), []Pair{{0, -1, 0}, {1, -1, 0}, {-1, 0, 0}, {-1, 1, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Match(&Item{Truth: c.truth, Guess: c.guess}, false, 0)); d != "" {
				t.Error(d)
			}
		})
	}
}

func box(class int, confidence float64, b Box) Object {
	return Object{Class: class, Confidence: confidence, Box: b}
}

func TestMatchBoxes(t *testing.T) {
	a, b := Box{0, 0, 10, 10}, Box{100, 0, 10, 10}
	shifted := Box{2, 0, 10, 10} // IoU 8·10/120 = ⅔ with a
	crowd := Object{Class: 0, Box: Box{0, 0, 300, 300}, Crowd: true}
	for name, c := range map[string]struct {
		truth, guess []Object
		iou          float64
		want         []Pair
	}{
		"the surest takes it":      {[]Object{box(0, 0, a)}, []Object{box(0, .2, a), box(0, .9, shifted)}, .5, []Pair{{0, 1, 2. / 3}, {-1, 0, 0}}},
		"too far off":              {[]Object{box(0, 0, a)}, []Object{box(0, .9, shifted)}, .7, []Pair{{0, -1, 0}, {-1, 0, 0}}},
		"confused":                 {[]Object{box(0, 0, a), box(1, 0, b)}, []Object{box(1, .9, a), box(1, .5, b)}, .5, []Pair{{1, 1, 1}, {0, 0, 1}}},
		"on a crowd":               {[]Object{crowd}, []Object{box(0, .9, a), box(0, .8, b)}, .5, nil},
		"better than a crowd":      {[]Object{crowd, box(0, 0, a)}, []Object{box(0, .9, shifted)}, .5, []Pair{{1, 0, 2. / 3}}},
		"of equals the later":      {[]Object{box(0, 0, a), box(0, 0, a)}, []Object{box(0, .9, a)}, .5, []Pair{{1, 0, 1}, {0, -1, 0}}},
		"no confidence is certain": {[]Object{box(0, 0, a)}, []Object{box(0, .9, a), box(0, math.NaN(), a)}, .5, []Pair{{0, 1, 1}, {-1, 0, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Match(&Item{Truth: c.truth, Guess: c.guess}, true, c.iou)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTally(t *testing.T) {
	e := evaluate([]Item{one(0, 0, 1), one(0, 1, 1), one(1, 1, 1), one(1, -1, 0), {Guess: []Object{{Class: 1}}}}, 2, false, 0)
	if d := cmp.Diff([][]int64{{1, 1, 0}, {0, 1, 1}, {0, 1, 0}}, e.Matrix()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Counts{{1, 0, 1, 3}, {1, 2, 1, 1}}, e.Classes); d != "" {
		t.Error(d)
	}
}

func TestAveragePrecision(t *testing.T) {
	// average_precision_score([1,0,1,1,0], [.9,.8,.8,0,0]) and of the other class.
	items := []Item{one(0, 0, .9), one(1, 0, .8), one(0, 0, .8), one(0, -1, 0), one(1, 1, .7)}
	got := AveragePrecision(items, 3)
	near(t, "AP of 0", got[0], 1./3+2./3/3+3./5/3)
	near(t, "AP of 1", got[1], .5+.5*2./5)
	near(t, "AP of a class without labels", got[2], math.NaN())
	for i := range items {
		for g := range items[i].Guess {
			items[i].Guess[g].Confidence = math.NaN()
		}
	}
	near(t, "AP without confidences", AveragePrecision(items, 1+1)[0], math.NaN())
}

func TestCalibration(t *testing.T) {
	r := NewReliability(10)
	for _, c := range []struct {
		p     float64
		right bool
	}{{0, false}, {.1, true}, {.1000001, false}, {.95, true}, {1, true}, {math.NaN(), true}} {
		r.Add(c.p, c.right)
	}
	c := r.Result()
	var n []int64
	for _, b := range c.Bins {
		n = append(n, b.N)
	}
	if d := cmp.Diff([]int64{2, 1, 2}, n); d != "" || c.N != 5 {
		t.Error(d, c)
	}
	near(t, "ECE", c.ECE, (2*math.Abs(.5-.05)+.1000001+2*math.Abs(1-.975))/5)
	if NewReliability(5).Result() != nil {
		t.Error("a calibration of nothing")
	}
}

func TestPaired(t *testing.T) {
	for _, c := range []struct {
		a, b int64
		want float64
	}{{0, 0, 1}, {3, 3, 1}, {0, 9, 0.00390625}, {12, 31, 0.005401572706}} {
		if p := (Paired{OnlyA: c.a, OnlyB: c.b}).P(); math.Abs(p-c.want) > 1e-8 {
			t.Errorf("P of %d and %d is %.10f, want %.10f", c.a, c.b, p, c.want)
		}
	}
	var p Paired
	for _, x := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, true}, {false, false}} {
		p.Add(x[0], x[1])
	}
	d, low, high := p.Difference()
	near(t, "difference", d, .2)
	if p != (Paired{1, 1, 2, 1}) || !(low < d && d < high) {
		t.Errorf("%+v: %v in [%v, %v]", p, d, low, high)
	}
}

// TestPairedIntervalHolds draws paired trials of a known difference: the interval
// holds it as often as it says, within the error of the simulation.
func TestPairedIntervalHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const runs = 4000
	held := 0
	for range runs {
		var p Paired
		for range 40 {
			x := rng.Float64()
			p.Add(x < .5 || x >= .9, x < .5 || x >= .65 && x < .9) // only A .1, only B .25
		}
		if _, low, high := p.Difference(); low <= .15 && .15 <= high {
			held++
		}
	}
	if share := float64(held) / runs; share < .94 || share > .985 {
		t.Errorf("the interval of 95 %% holds in %.3f", share)
	}
}

func TestLows(t *testing.T) {
	all := Counts{TP: 800, FP: 200, FN: 200}
	for name, c := range map[string]struct {
		group Counts
		want  []string
	}{
		"like all others":           {Counts{TP: 16, FP: 4, FN: 4}, nil},
		"low by chance":             {Counts{TP: 14, FP: 4, FN: 6}, nil},
		"finds little":              {Counts{TP: 8, FP: 2, FN: 16}, []string{"recall", "f1"}},
		"guesses wrong":             {Counts{TP: 20, FP: 30, FN: 5}, []string{"precision", "f1"}},
		"few, however bad they are": {Counts{TP: 0, FP: 0, FN: 19}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, l := range Lows(c.group, all, 20) {
				got = append(got, l.Measure)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// blobs are n rows of dim numbers of length 1 around k directions.
func blobs(seed uint64, n, dim, k int, noise float64) ([]float32, []int) {
	rng := rand.New(rand.NewPCG(seed, 9))
	rows, of := make([]float32, n*dim), make([]int, n)
	for i := range n {
		of[i] = rng.IntN(k)
		for j := range dim {
			rows[i*dim+j] = float32(noise * rng.NormFloat64())
		}
		rows[i*dim+of[i]]++
	}
	vec.Normalize(rows, dim)
	return rows, of
}

func TestCluster(t *testing.T) {
	rows, of := blobs(3, 60, 12, 3, .08)
	groups := Cluster(rows, 12)
	if len(groups) != 3 {
		t.Fatalf("%d groups, want 3", len(groups))
	}
	for _, g := range groups {
		for _, i := range g {
			if of[i] != of[g[0]] {
				t.Errorf("rows %d and %d are of one group", i, g[0])
			}
		}
	}
	if !slices.IsSortedFunc(groups, func(a, b []int) int { return len(b) - len(a) }) {
		t.Error("the largest is not first")
	}
	if d := cmp.Diff(groups, Cluster(rows, 12)); d != "" {
		t.Errorf("the same rows give other groups: %s", d)
	}
	single, _ := blobs(4, 40, 64, 1, .1)
	if g := Cluster(single, 64); len(g) != 1 || len(g[0]) != 40 {
		t.Errorf("one cloud became %d groups", len(g))
	}
	if g := Cluster(nil, 12); g != nil {
		t.Error(g)
	}
	same := slices.Repeat([]float32{1, 0}, 9)
	if g := Cluster(same, 2); len(g) != 1 {
		t.Errorf("equal rows became %d groups", len(g))
	}
}

// TestAverageLinkage compares with the slow way: always the nearest two clusters.
func TestAverageLinkage(t *testing.T) {
	for seed := range uint64(20) {
		n := 5 + int(seed)
		rows, _ := blobs(seed, n, 6, 3, .4)
		d := Distances(rows, 6)
		cluster := make([]int, n)
		for i := range cluster {
			cluster[i] = i
		}
		tree := AverageLinkage(d, n)
		for k := n; k > 1; k-- {
			if x := tree.Cut(k); !samePartition(x, cluster) {
				t.Fatalf("seed %d, %d clusters: %v, want %v", seed, k, x, cluster)
			}
			joinNearest(d, n, cluster)
		}
	}
}

func joinNearest(d []float64, n int, cluster []int) {
	best, a, b := math.Inf(1), 0, 0
	for x := range n {
		for y := range x {
			var sum, count float64
			for i := range n {
				for j := range n {
					if cluster[i] == x && cluster[j] == y {
						sum, count = sum+d[i*n+j], count+1
					}
				}
			}
			if count > 0 && sum/count < best {
				best, a, b = sum/count, x, y
			}
		}
	}
	for i := range cluster {
		if cluster[i] == a {
			cluster[i] = b
		}
	}
}

func samePartition(a, b []int) bool {
	for i := range a {
		for j := range i {
			if (a[i] == a[j]) != (b[i] == b[j]) {
				return false
			}
		}
	}
	return true
}

// TestConfident plants wrong labels among items that a model knows well.
func TestConfident(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var items []Item
	planted := map[int]int{}
	for i := range 400 {
		c := rng.IntN(4)
		it := one(c, c, 0)
		p := .7 + .25*rng.Float64()
		it.Guess[0].Confidence = p
		it.Scores = Spread(it.Guess[0], 4)
		if i%40 == 7 {
			it.Truth[0].Class = (c + 1) % 4
			planted[i] = c
		}
		items = append(items, it)
	}
	got := map[int]int{}
	for _, d := range Confident(items, 4) {
		got[d.Item] = d.Likely
		if d.Quality > .2 {
			t.Errorf("item %d has quality %v", d.Item, d.Quality)
		}
	}
	// A model's mistake of middling confidence is below the threshold of its class.
	for i, c := range got {
		if planted[i] != c {
			t.Errorf("item %d is no planted one, or of another class", i)
		}
	}
	if len(got) < 5 {
		t.Errorf("%d of %d found", len(got), len(planted))
	}
	if d := Confident([]Item{{Truth: make([]Object, 2)}, one(0, 0, .5)}, 1); d != nil {
		t.Error(d)
	}
}

func TestNeighbours(t *testing.T) {
	rows, of := blobs(8, 700, 10, 3, .05)
	label := slices.Clone(of)
	want := []int{11, 299, 512}
	for _, i := range want {
		label[i] = (of[i] + 1) % 3
	}
	var got []int
	doubts, polls := Neighbours(rows, 10, label, 700, 10, 3)
	for _, d := range doubts {
		got = append(got, d.Item)
		if d.Likely != of[d.Item] || d.Quality > .2 {
			t.Errorf("%+v", d)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i, p := range polls {
		if doubtful := slices.Contains(want, i); p.Asked != 10 || p.Doubtful() != doubtful || (p.Margin() <= .25) != doubtful {
			t.Errorf("row %d: %+v, margin %v", i, p, p.Margin())
		}
	}
	if d, p := Neighbours(rows[:10], 10, label[:1], 1, 10, 3); d != nil || p != nil {
		t.Error("a row is its own neighbour")
	}
}

func TestMargins(t *testing.T) {
	one := []Object{{Class: 1}}
	items := []Item{{Truth: one, Scores: []Score{{0, .2}, {1, .7}, {2, .1}}}, {Truth: one, Scores: []Score{{0, 1}}}, {Truth: one}, {Scores: []Score{{0, 1}}}}
	want := []float64{.75, 0, math.NaN(), math.NaN()}
	for i, got := range Margins(items, 3) {
		if !(math.Abs(got-want[i]) < 1e-12 || math.IsNaN(got) && math.IsNaN(want[i])) {
			t.Errorf("item %d: %v, want %v", i, got, want[i])
		}
	}
	for _, c := range []struct {
		votes    []int // classes of the neighbours, nearest first; the label is 0
		want     Poll
		margin   float64
		doubtful bool
	}{
		{[]int{0, 0, 0}, Poll{3, 3, -1, 0}, 1, false},
		{[]int{2, 1, 1, 2, 0}, Poll{5, 1, 2, 2}, .4, false},
		{[]int{1, 1, 1, 1, 0}, Poll{5, 1, 1, 4}, .2, true},
		{[]int{1, 1, 2}, Poll{3, 0, 1, 2}, 1. / 6, true},
	} {
		var near []neighbour
		for i := range c.votes {
			near = append(near, neighbour{row: i})
		}
		p := poll(near, c.votes, 0, make([]int, 3))
		if p != c.want || math.Abs(p.Margin()-c.margin) > 1e-12 || p.Doubtful() != c.doubtful {
			t.Errorf("%v: %+v, margin %v, doubtful %v", c.votes, p, p.Margin(), p.Doubtful())
		}
	}
}
