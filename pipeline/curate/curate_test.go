package curate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRunEqualsReference(t *testing.T) {
	seed := uint64(42)
	for _, n := range []int{1, 2, 40, 700, 1500} {
		cs, v := candidates(uint64(n), max(n, 3), 12)
		cs = cs[:n]
		v.Data = v.Data[:n*12]
		gaps := &Vectors{Name: "gaps", Dim: 12, Data: v.Data, Rows: make([]int, n)}
		values := make([]float64, n)
		for i := range values {
			gaps.Rows[i] = (i + 3) % n
			if i%7 == 0 {
				gaps.Rows[i] = -1
			}
			values[i] = float64((i*31)%17) - 5
			if i%11 == 10 {
				values[i] = math.NaN()
			}
		}
		_, existing := candidates(uint64(n)+1, 30, 12)
		existing.Data = append(existing.Data, v.Data[:12]...)
		for name, r := range map[string]Request{
			"priority":           {Size: 30},
			"keep first":         {Keep: KeepFirst, Exact: true, Near: []Near{{v, 0.01}}},
			"exact":              {Exact: true},
			"near":               {Near: []Near{{v, 0.003}}, Size: 100},
			"copies":             {Near: []Near{{v, 0}}},
			"near with gaps":     {Exact: true, Near: []Near{{v, 0.001}, {gaps, 0.2}}},
			"everything is near": {Near: []Near{{v, 2}}},
			"top":                {Objectives: []Objective{{Name: "w", Weights: &Weights{values}}}, Size: 50},
			"bottom":             {Objectives: []Objective{{Name: "w", Strength: new(-1.0), Weights: &Weights{values}}}, Size: 50},
			"random":             {Objectives: []Objective{{Name: "random", Random: &Random{seed}}}, Size: 50},
			"diverse":            {Objectives: []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: v}}}, Size: 60},
			"diverse, all":       {Near: []Near{{v, 0.1}}, Objectives: []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: v, MinDistance: 0.3}}}},
			"diverse, gaps":      {Objectives: []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: gaps, MinDistance: 0.05}}}, Size: 60},
			"diverse, existing":  {Objectives: []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: v, Existing: existing}}}, Size: 60},
			"diverse and heavy": {Exact: true, Objectives: []Objective{
				{Name: "diversity", Strength: new(0.7), Diversity: &Diversity{Vectors: v, MinDistance: 0.02}}, {Name: "w", Weights: &Weights{values}}}, Size: 60},
			"gaps and heavy": {Objectives: []Objective{
				{Name: "diversity", Diversity: &Diversity{Vectors: gaps}}, {Name: "w", Strength: new(2.0), Weights: &Weights{values}}}, Size: 60},
			"two spaces at random": {Objectives: []Objective{
				{Name: "a", Diversity: &Diversity{Vectors: v}}, {Name: "b", Strength: new(2.0), Diversity: &Diversity{Vectors: gaps}}, {Name: "random", Strength: new(0.2), Random: &Random{seed}}}, Size: 40},
		} {
			t.Run(fmt.Sprintf("%s of %d", name, n), func(t *testing.T) {
				r.Candidates = cs
				got, err := Run(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				kept, dropped := refDedupe(r)
				if !reflect.DeepEqual(got.Duplicates, dropped) {
					t.Fatalf("%d duplicates, want %d: %v, want %v", len(got.Duplicates), len(dropped), got.Duplicates, dropped)
				}
				want := refSelect(r, kept)
				if len(got.Picks) != len(want) {
					t.Fatalf("%d picks, want %d", len(got.Picks), len(want))
				}
				for k, p := range got.Picks {
					if p.Index != want[k] || p.Rank != k+1 || p.ID != cs[p.Index].ID || p.Reason == "" {
						t.Fatalf("pick %d is %+v, want candidate %d", k, p, want[k])
					}
				}
			})
		}
	}
}

// The order in which candidates come must not matter.
func TestRunDoesNotDependOnOrder(t *testing.T) {
	seed := uint64(1)
	cs, v := candidates(5, 400, 8)
	values := make([]float64, len(cs))
	for i := range values {
		values[i] = cs[i].Score
	}
	run := func(at []int) string {
		r := Request{Exact: true, Size: 50}
		w := &Vectors{Name: "image", Dim: 8, Data: v.Data}
		var vals []float64
		for _, i := range at {
			r.Candidates = append(r.Candidates, cs[i])
			w.Rows = append(w.Rows, i)
			vals = append(vals, values[i])
		}
		r.Near = []Near{{w, 0.01}}
		r.Objectives = []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: w}}, {Name: "score", Weights: &Weights{vals}}, {Name: "random", Random: &Random{seed}}}
		res, err := Run(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range res.Picks {
			out = append(out, p.ID+" "+p.Reason)
		}
		return strings.Join(out, "\n") + res.Funnel.String()
	}
	rng := rand.New(rand.NewPCG(1, 1))
	want := run(rng.Perm(len(cs)))
	for range 4 {
		if got := run(rng.Perm(len(cs))); got != want {
			t.Fatalf("another order gives\n%s\nwant\n%s", got, want)
		}
	}
}

func TestPicksSayWhy(t *testing.T) {
	cs := []Candidate{{ID: "a", Score: 1}, {ID: "b", Score: 3}, {ID: "c", Score: 2}}
	v := &Vectors{Name: "image", Dim: 2, Data: []float32{1, 0, 0.6, 0.8, 0, 1}}
	apples := []float64{4.206, 1, 2}
	seed := uint64(3)
	for _, c := range []struct {
		name       string
		objectives []Objective
		want       []string
		value      float64
	}{
		{"none", nil, []string{"b #1 by priority 3", "c #2 by priority 2"}, 3},
		{"top", []Objective{{Name: "ripe_apples", Weights: &Weights{apples}}}, []string{"a #1 by ripe_apples 4.21", "c #2 by ripe_apples 2.00"}, 4.206},
		{"diversity", []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: v}}}, []string{"b #1: the best to start from", "a #2 farthest from picked: 0.40"}, 2},
		{"both", []Objective{{Name: "diversity", Diversity: &Diversity{Vectors: v}}, {Name: "ripe_apples", Weights: &Weights{apples}}},
			[]string{"a #1 by diversity 2.00 × ripe_apples 4.21", "c #2 by diversity 1.00 × ripe_apples 2.00"}, 1},
		{"random", []Objective{{Name: "random", Random: &Random{seed}}}, []string{"", ""}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := Run(t.Context(), Request{Candidates: cs, Objectives: c.objectives, Size: 2})
			if err != nil {
				t.Fatal(err)
			}
			for k, p := range res.Picks {
				if got := p.ID + " " + p.Reason; got != c.want[k] && c.want[k] != "" {
					t.Errorf("pick %d: %q, want %q", k, got, c.want[k])
				}
			}
			if c.value >= 0 && math.Abs(res.Picks[0].Value-c.value) > 1e-12 {
				t.Errorf("value %v, want %v", res.Picks[0].Value, c.value)
			}
			if c.name == "random" && (res.Picks[0].Reason != "#1 at random" || res.Picks[0].Value <= res.Picks[1].Value) {
				t.Errorf("picks %+v", res.Picks)
			}
			if c.name == "diversity" && (res.Picks[0].Closest != -1 || res.Picks[1].Closest != 1) {
				t.Errorf("closest %d and %d, want -1 and 1", res.Picks[0].Closest, res.Picks[1].Closest)
			}
		})
	}
}

func TestFunnel(t *testing.T) {
	cs := []Candidate{{ID: "a", Hash: "x"}, {ID: "b", Hash: "x"}, {ID: "c"}, {ID: "d"}}
	v := &Vectors{Name: "image", Dim: 1, Data: []float32{1, -1}, Rows: []int{0, 0, -1, 1}}
	res, err := Run(t.Context(), Request{
		Candidates: cs, Exact: true, Near: []Near{{v, 0.05}}, Objectives: []Objective{{Name: "d", Diversity: &Diversity{Vectors: v}}}, Size: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	f := Funnel{}
	f.Add("all", 1204331)
	f.Add("where", 8210)
	f.Steps = append(f.Steps, res.Funnel.Steps...)
	want := "all 1,204,331 → where 8,210 → content deduped 3 → image deduped at 0.05 3 → with vectors 2 → selected 1"
	if f.String() != want {
		t.Errorf("%s\nwant %s", f, want)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 12345678: "12,345,678"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestRequestErrors(t *testing.T) {
	cs := []Candidate{{ID: "a"}, {ID: "b"}}
	ok := &Vectors{Name: "image", Dim: 2, Data: make([]float32, 4)}
	seed := uint64(0)
	for name, c := range map[string]struct {
		r    Request
		want string
	}{
		"twice":           {Request{Candidates: []Candidate{{ID: "a"}, {ID: "a"}}}, "candidate a comes twice"},
		"size":            {Request{Candidates: cs, Size: -1}, "size is -1"},
		"keep":            {Request{Candidates: cs, Keep: "last"}, `keep is "last"`},
		"no vectors":      {Request{Candidates: cs, Near: []Near{{nil, 0}}}, "no vectors"},
		"distance":        {Request{Candidates: cs, Near: []Near{{ok, math.NaN()}}}, "distance NaN in image"},
		"too few rows":    {Request{Candidates: cs, Near: []Near{{&Vectors{Name: "v", Dim: 4, Data: make([]float32, 4)}, 0}}}, "rows for 1 candidates, want 2"},
		"ragged":          {Request{Candidates: cs, Near: []Near{{&Vectors{Name: "v", Dim: 3, Data: make([]float32, 4)}, 0}}}, "no rows of 3"},
		"row":             {Request{Candidates: cs, Near: []Near{{&Vectors{Name: "v", Dim: 2, Data: make([]float32, 4), Rows: []int{0, 2}}, 0}}}, "candidate 1 has row 2 of 2"},
		"no kind":         {Request{Candidates: cs, Objectives: []Objective{{Name: "o"}}}, `objective "o" must be exactly one`},
		"two kinds":       {Request{Candidates: cs, Objectives: []Objective{{Name: "o", Diversity: &Diversity{Vectors: ok}, Random: &Random{seed}}}}, "it is 2"},
		"values":          {Request{Candidates: cs, Objectives: []Objective{{Name: "o", Weights: &Weights{[]float64{1}}}}}, "1 values for 2"},
		"strength":        {Request{Candidates: cs, Objectives: []Objective{{Name: "o", Strength: new(math.Inf(1)), Random: &Random{seed}}}}, "strength +Inf"},
		"minimum":         {Request{Candidates: cs, Objectives: []Objective{{Name: "o", Diversity: &Diversity{Vectors: ok, MinDistance: 3}}}}, "minimum distance is 3"},
		"other dimension": {Request{Candidates: cs, Objectives: []Objective{{Name: "o", Diversity: &Diversity{Vectors: ok, Existing: &Vectors{Dim: 3}}}}}, "existing rows have 3"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Run(t.Context(), c.r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v lacks %q", err, c.want)
			}
		})
	}
	res, err := Run(t.Context(), Request{Size: 5})
	if err != nil || len(res.Picks) != 0 {
		t.Errorf("no candidates: %v, %v", res, err)
	}
}

func TestRunStopsWithContext(t *testing.T) {
	cs, v := candidates(6, 300, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []Request{
		{Candidates: cs, Near: []Near{{v, 0.1}}},
		{Candidates: cs, Objectives: []Objective{{Name: "d", Diversity: &Diversity{Vectors: v}}}, Size: 5},
		{Candidates: cs, Size: 5},
	} {
		if _, err := Run(ctx, r); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestNearest(t *testing.T) {
	_, rows := candidates(7, 500, 10)
	_, set := candidates(8, 90, 10)
	set.Data = append(set.Data, rows.Data[:100]...) // exact hits, and again
	set.Data = append(set.Data, rows.Data[:100]...)
	which, distances, err := Nearest(t.Context(), rows, set)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows.Len() {
		best, at := 3.0, -1
		for j := range set.Len() {
			if d := refDistance(rows.at(i), set.at(j)); d < best {
				best, at = d, j
			}
		}
		if which[i] != at || distances[i] != best {
			t.Fatalf("row %d: %d at %v, want %d at %v", i, which[i], distances[i], at, best)
		}
	}
	which, distances, err = Nearest(t.Context(), rows, &Vectors{Dim: 10})
	if err != nil || which[3] != -1 || distances[3] != 2 {
		t.Errorf("nothing to be near to: %v, %v, %v", which[3], distances[3], err)
	}
	opposite := &Vectors{Dim: 1, Data: []float32{-1}}
	if which, distances, err = Nearest(t.Context(), &Vectors{Dim: 1, Data: []float32{1}}, opposite); err != nil || which[0] != 0 || distances[0] != 2 {
		t.Errorf("the opposite: %v, %v, %v", which, distances, err)
	}
	if _, _, err := Nearest(t.Context(), rows, &Vectors{Dim: 3}); err == nil {
		t.Error("other dimensions are compared")
	}
}

func TestGainHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var h gainHeap
	var want []bound
	for i := range 300 {
		b := bound{float64(rng.IntN(20)), int32(i)}
		h.push(b)
		want = append(want, b)
	}
	slices.SortFunc(want, func(a, b bound) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i := range want {
		if got := h.pop(); got != want[i] {
			t.Fatalf("pop %d = %v, want %v", i, got, want[i])
		}
	}
}

func benchCandidates(n, d int) ([]Candidate, *Vectors) {
	rng := rand.New(rand.NewPCG(9, 9))
	cs := make([]Candidate, n)
	v := &Vectors{Name: "image", Dim: d, Data: make([]float32, n*d)}
	mid := make([]float32, 100*d)
	for i := range mid {
		mid[i] = float32(rng.NormFloat64())
	}
	for i := range cs {
		cs[i] = Candidate{ID: fmt.Sprintf("%06d", i), Score: rng.Float64()}
		for j := range d {
			v.Data[i*d+j] = mid[i%100*d+j] + 0.7*float32(rng.NormFloat64())
		}
	}
	return cs, v
}

func BenchmarkDedupe20000x1280(b *testing.B) {
	cs, v := benchCandidates(20000, 1280)
	for b.Loop() {
		if _, err := Run(b.Context(), Request{Candidates: cs, Near: []Near{{v, 0.05}}, Size: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiverse20000x1280(b *testing.B) {
	cs, v := benchCandidates(20000, 1280)
	for _, size := range []int{200, 2000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for b.Loop() {
				if _, err := Run(b.Context(), Request{Candidates: cs, Objectives: []Objective{{Name: "d", Diversity: &Diversity{Vectors: v}}}, Size: size}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
