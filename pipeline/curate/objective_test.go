package curate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func classes(names ...string) *Classes {
	c := &Classes{}
	for _, n := range names {
		if n == "" {
			c.Add(nil)
		} else {
			c.Add(&n)
		}
	}
	return c
}

func TestObjectivesSayWhy(t *testing.T) {
	cs := []Candidate{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
	v := &Vectors{Name: "image", Dim: 2, Data: []float32{1, 0, 0.8, 0.6, 0, 1, -1, 0}}
	to := &Vectors{Dim: 2, Data: []float32{0, 2}}
	by := classes("front", "front", "rear", "")
	for _, c := range []struct {
		name       string
		objectives []Objective
		want       string
	}{
		{"similarity", []Objective{{Name: "ripe", Similarity: &Similarity{Vectors: v, To: to}}}, "c #1 by ripe 1.00, b #2 by ripe 0.60"},
		{"away", []Objective{{Name: "ripe", Strength: new(-1.0), Similarity: &Similarity{Vectors: v, To: to}}},
			"a #1 by ripe 0.00 (strength -1), d #2 by ripe 0.00 (strength -1)"},
		{"typicality", []Objective{{Name: "typicality", Typicality: &Typicality{Vectors: v, K: 1}}}, "a #1 by typicality 5.00, b #2 by typicality 5.00"},
		{"balance", []Objective{{Name: "camera", Balance: &Balance{By: by, Target: TargetUniform}}},
			"a #1 for the balance of camera front (0 of 1.5), c #2 for the balance of camera rear (0 of 1.5)"},
		{"order", []Objective{{Name: "time", Ordered: &Ordered{Values: []float64{3, 1, 2, math.NaN()}}}}, "b #1 in the order of time, c #2 in the order of time"},
		{"the other order", []Objective{{Name: "time", Ordered: &Ordered{Values: []float64{3, 1, 2, math.NaN()}, Descending: true}}}, "a #1 in the order of time, c #2 in the order of time"},
		{"ties in order", []Objective{{Name: "w", Weights: &Weights{[]float64{1, 1, 1, 0}}}, {Name: "time", Ordered: &Ordered{Values: []float64{3, 1, 2, 0}}}}, "b #1 by w 1.00, c #2 by w 1.00"},
		{"near", []Objective{{Name: "diversity", Strength: new(-2.0), Diversity: &Diversity{Vectors: v}}}, "a #1: the best to start from, b #2 nearest to picked: 0.20"},
		{"nothing counts", []Objective{{Name: "w", Strength: new(0.0), Weights: &Weights{[]float64{1, 2, 3, 4}}}}, "a #1 by w 1.00 (strength 0), b #2 by w 2.00 (strength 0)"},
		{"balance beside", []Objective{{Name: "camera", Balance: &Balance{By: by, Target: TargetShares, Shares: map[string]float64{"rear": 1}}}, {Name: "w", Weights: &Weights{[]float64{4, 3, 2, 1}}}},
			"c #1 by camera rear (0 of 3) × w 2.00, a #2 by camera front (0 of 0) × w 4.00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Request{Candidates: cs, Objectives: c.objectives, Size: 3}
			res, err := Run(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range res.Picks[:2] {
				got = append(got, p.ID+" "+p.Reason)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%s\nwant %s", s, c.want)
			}
		})
	}
}

func TestBalanceReachesItsTarget(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	n := 2000
	cs, by := make([]Candidate, n), &Classes{}
	noise := make([]float64, n)
	for i := range cs {
		cs[i].ID = fmt.Sprintf("%05d", i)
		name := "rare"
		if rng.IntN(10) > 0 {
			name = []string{"often", "common"}[i%2]
		}
		by.Add(&name)
		noise[i] = rng.Float64()
	}
	for _, c := range []struct {
		target Target
		shares map[string]float64
		want   map[string]int
	}{
		{TargetUniform, nil, map[string]int{"rare": 33, "often": 33, "common": 33}},
		{TargetInput, nil, map[string]int{"rare": 10, "often": 45, "common": 45}},
		{TargetShares, map[string]float64{"rare": 0.5, "often": 0.3}, map[string]int{"rare": 50, "often": 30, "common": 20}},
		{TargetShares, map[string]float64{"rare": 1}, map[string]int{"rare": 100}},
	} {
		res, err := Run(t.Context(), Request{Candidates: cs, Size: 100, Objectives: []Objective{
			{Name: "b", Balance: &Balance{By: by, Target: c.target, Shares: c.shares}}, {Name: "w", Weights: &Weights{noise}}}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, p := range res.Picks {
			got[by.Names[by.Of[p.Index]]]++
		}
		for name, want := range c.want {
			if got[name] < want-3 || got[name] > want+3 {
				t.Errorf("%s %v: %v, want about %v", c.target, c.shares, got, c.want)
			}
		}
	}
}

func TestQuotas(t *testing.T) {
	cs := make([]Candidate, 100)
	camera, day := &Classes{}, &Classes{}
	for i := range cs {
		cs[i] = Candidate{ID: fmt.Sprintf("%03d", i), Score: float64(i)}
		c, d := fmt.Sprint("c", i/40), fmt.Sprint("d", i%2)
		camera.Add(&c)
		if i%10 == 0 {
			day.Add(nil)
		} else {
			day.Add(&d)
		}
	}
	for _, c := range []struct {
		quotas []Quota
		size   int
		want   int
		over   bool
	}{
		{[]Quota{{Name: "camera", Of: camera, AtMost: 5}}, 50, 15, true},
		{[]Quota{{Name: "camera", Of: camera, AtMost: 5}}, 10, 10, true},
		{[]Quota{{Name: "camera", Of: camera, Share: 0.29}}, 100, 29 + 29 + 20, true},
		{[]Quota{{Name: "camera", Of: camera, Share: 0.001}}, 50, 3, true},
		{[]Quota{{Name: "camera", Of: camera, AtMost: 9, Share: 0.1}, {Name: "day", Of: day, AtMost: 3}}, 50, 5 + 3 + 3 + 5, true},
		{[]Quota{{Name: "day", Of: day, AtMost: 100}}, 0, 100, false},
	} {
		res, err := Run(t.Context(), Request{Candidates: cs, Size: c.size, Quotas: c.quotas})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Picks) > c.size && c.size > 0 || len(res.Picks) != c.want && c.want != 16 || (res.OverQuota > 0) != c.over {
			t.Errorf("%+v: %d picks, want %d; %d over quota", c.quotas[0], len(res.Picks), c.want, res.OverQuota)
		}
		for _, q := range c.quotas {
			count := make([]int, len(q.Of.Names))
			for _, p := range res.Picks {
				if k := q.Of.Of[p.Index]; k >= 0 {
					if count[k]++; count[k] > q.limit(max(c.size, 1)) && c.size > 0 {
						t.Errorf("%s %s has %d picks", q.Name, q.Of.Names[k], count[k])
					}
				}
			}
		}
	}
}

func TestObjectiveErrors(t *testing.T) {
	cs := []Candidate{{ID: "a"}, {ID: "b"}}
	ok := &Vectors{Name: "image", Dim: 2, Data: make([]float32, 4)}
	two := classes("x", "y")
	both := &Vectors{Name: "image", Dim: 2, Data: make([]float32, 4), Compact: make([]int16, 4)}
	one := func(o Objective) Request { return Request{Candidates: cs, Objectives: []Objective{o}} }
	balance := func(target Target, shares map[string]float64) Request {
		return one(Objective{Name: "b", Balance: &Balance{By: two, Target: target, Shares: shares}})
	}
	quota := func(q Quota) Request { q.Name = "q"; return Request{Candidates: cs, Quotas: []Quota{q}} }
	order := Objective{Name: "t", Ordered: &Ordered{Values: []float64{1, 2}}}
	for want, r := range map[string]Request{
		"there is no row to be similar to":              one(Objective{Name: "s", Similarity: &Similarity{Vectors: ok, To: &Vectors{Dim: 2}}}),
		"rows to be similar to have 3 dimensions":       one(Objective{Name: "s", Similarity: &Similarity{Vectors: ok, To: &Vectors{Dim: 3, Data: make([]float32, 3)}}}),
		"-1 nearest neighbours":                         one(Objective{Name: "t", Typicality: &Typicality{Vectors: ok, K: -1}}),
		"reference rows have 1 dimensions":              one(Objective{Name: "t", Typicality: &Typicality{Vectors: ok, Reference: &Vectors{Dim: 1}}}),
		"rows for 1 candidates, want 2":                 one(Objective{Name: "t", Typicality: &Typicality{Vectors: ok, Reference: &Vectors{Dim: 2, Data: make([]float32, 2)}}}),
		"both as they are and compact":                  one(Objective{Name: "d", Diversity: &Diversity{Vectors: both}}),
		"no classes are given":                          one(Objective{Name: "b", Balance: &Balance{}}),
		"the target is \"\"":                            balance("", nil),
		"the share of x is 2":                           balance(TargetShares, map[string]float64{"x": 2}),
		"2 shares make 1.5":                             balance(TargetShares, map[string]float64{"x": 1, "z": 0.5}),
		"0 shares make 0":                               balance(TargetShares, nil),
		"strength 2e+06, not from":                      one(Objective{Name: "r", Strength: new(2e6), Random: &Random{}}),
		"an order has none":                             one(Objective{Name: "t", Strength: new(1.0), Ordered: order.Ordered}),
		"one order at most":                             {Candidates: cs, Objectives: []Objective{order, order}},
		"3 values for 2 candidates":                     one(Objective{Name: "t", Ordered: &Ordered{Values: make([]float64, 3)}}),
		"quota of q: neither a number nor a share":      quota(Quota{Of: two}),
		"quota of q: at most -1":                        quota(Quota{Of: two, AtMost: -1}),
		"quota of q: a share of 1.5":                    quota(Quota{Of: two, Share: 1.5}),
		"quota of q: a share of NaN":                    quota(Quota{Of: two, Share: math.NaN()}),
		"quota of q: classes for 1 candidates":          quota(Quota{Of: classes("x"), AtMost: 1}),
		"quota of q: candidate 0 has class 7 of 1":      quota(Quota{Of: &Classes{Of: []int32{7, 0}, Names: []string{"x"}}, AtMost: 1}),
		"perceptual hashes for 1 candidates":            {Candidates: cs, Looks: &Looks{Hashes: []uint64{1}}},
		"65 different bits":                             {Candidates: cs, Looks: &Looks{Hashes: []uint64{1, 2}, Bits: 65}},
		"there is no embedding to be typical in":        {Candidates: cs, Keep: KeepTypical},
		"first, largest, typical or random":             {Candidates: cs, Keep: "newest"},
		"objective \"d\": embedding image: candidate 1": one(Objective{Name: "d", Diversity: &Diversity{Vectors: &Vectors{Name: "image", Dim: 2, Data: ok.Data, Rows: []int{0, 5}}}}),
	} {
		if _, err := Run(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestCompactIsClose(t *testing.T) {
	_, v := candidates(11, 300, 64)
	c := compact(v)
	a, b := v.all(), c.all()
	worst := 0.0
	for i := range 300 {
		for j := range 300 {
			worst = max(worst, math.Abs(distance(a, i, a, j)-distance(b, i, b, j)))
		}
		if d := distance(b, i, b, i); d != 0 {
			t.Fatalf("row %d is %v from itself", i, d)
		}
	}
	if worst > 3e-5 {
		t.Errorf("a distance moved by %v", worst)
	}
}

// What a sample of a quarter changes: how the ranks agree (Spearman), and how
// much less dense, by all rows, the tenth is that is most typical by the sample.
func TestTypicalityOfSample(t *testing.T) {
	for _, c := range []struct {
		name        string
		power       float64 // 1: clusters of equal sizes; more: of unequal ones
		ranks, less float64
	}{{"equal clusters", 1, 0.8, 0.12}, {"unequal clusters", 3, 0.8, 0.08}} {
		cs, v := unequal(6000, 16, c.power)
		left := make([]int, len(cs))
		for i := range left {
			left[i] = i
		}
		means := func(n int) []float64 {
			m, err := (&Typicality{Vectors: v, Sample: n, Seed: 5}).means(t.Context(), cs, left)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		all, some := means(-1), means(1500)
		ranks, less := spearman(all, some), tenth(all, some)/tenth(all, all)-1
		t.Logf("%s: ranks agree to %.3f, the most typical tenth is %.3f less dense", c.name, ranks, less)
		if ranks < c.ranks || less > c.less {
			t.Errorf("%s: ranks agree to %.3f, want %v; %.3f less dense, want %v", c.name, ranks, c.ranks, less, c.less)
		}
		slices.Reverse(left) // the draw does not depend on the order
		again := means(1500)
		if slices.Reverse(again); !slices.Equal(some, again) {
			t.Errorf("%s: another order gives other densities", c.name)
		}
	}
}

// unequal draws rows in a hundred clusters.
func unequal(n, d int, power float64) ([]Candidate, *Vectors) {
	rng := rand.New(rand.NewPCG(9, 10))
	cs, mid := make([]Candidate, n), make([]float32, 100*d)
	v := &Vectors{Name: "image", Dim: d}
	for i := range mid {
		mid[i] = float32(rng.NormFloat64())
	}
	for i := range cs {
		cs[i].ID = fmt.Sprintf("%06d", i)
		at := int(100 * math.Pow(rng.Float64(), power))
		for j := range d {
			v.Data = append(v.Data, mid[at*d+j]+0.7*float32(rng.NormFloat64()))
		}
	}
	return cs, v
}

// tenth is the mean over all of the tenth of rows that is least by.
func tenth(all, by []float64) float64 {
	at := make([]int, len(all))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int { return compareDown(by[j], by[i]) })
	sum := 0.0
	for _, i := range at[:len(at)/10] {
		sum += all[i]
	}
	return sum
}

func spearman(a, b []float64) float64 {
	rank := func(x []float64) []float64 {
		at := make([]int, len(x))
		for i := range at {
			at[i] = i
		}
		slices.SortFunc(at, func(i, j int) int { return compareDown(x[i], x[j]) })
		out := make([]float64, len(x))
		for r, i := range at {
			out[i] = float64(r)
		}
		return out
	}
	ra, rb, sum := rank(a), rank(b), 0.0
	for i := range ra {
		sum += (ra[i] - rb[i]) * (ra[i] - rb[i])
	}
	n := float64(len(a))
	return 1 - 6*sum/(n*(n*n-1))
}

// Many candidates, and all kinds of objectives at once.
func TestManyEqualReference(t *testing.T) {
	n, k := 1500, 120
	if soak() {
		n, k = 20000, 1000
	}
	cs, v := candidates(21, n, 32)
	g := &drawn{rng: rand.New(rand.NewPCG(8, 8)), n: n, v: v}
	_, existing := candidates(22, 50, 32)
	values := make([]float64, n)
	for i := range values {
		values[i] = g.rng.Float64()
	}
	diversity := Objective{Name: "diversity", Diversity: &Diversity{Vectors: v, Existing: existing, MinDistance: 0.01}}
	for name, objectives := range map[string][]Objective{
		"diversity": {diversity},
		"compact":   {{Name: "diversity", Diversity: &Diversity{Vectors: compact(v)}}},
		"all": {diversity, {Name: "typicality", Typicality: &Typicality{Vectors: v, Sample: -1}},
			{Name: "similarity", Strength: new(-0.5), Similarity: &Similarity{Vectors: v, To: existing}}, {Name: "w", Weights: &Weights{values}},
			{Name: "balance", Strength: new(2.0), Balance: &Balance{By: g.classes(), Target: TargetInput}}, {Name: "random", Strength: new(0.1), Random: &Random{4}}},
	} {
		t.Run(name, func(t *testing.T) {
			checkRun(t, Request{Candidates: cs, Exact: true, Objectives: objectives, Size: k, Quotas: []Quota{{Name: "q", Of: g.classes(), Share: 0.4}}})
		})
	}
}
