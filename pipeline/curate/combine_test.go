package curate

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

func soak() bool { return os.Getenv("WINNOW_SOAK") != "" }

// draw makes a request of any objectives, quotas and ways to drop duplicates,
// with gaps, ties, copies and missing values in all of them.
func draw(seed uint64, n, d int) Request {
	rng := rand.New(rand.NewPCG(seed, 77))
	cs, v := candidates(seed, n, d)
	g := &drawn{rng: rng, n: n, v: v}
	for i := range cs {
		cs[i].Size = g.number()
		if rng.IntN(9) == 0 {
			cs[i].Score = math.NaN()
		}
	}
	r := Request{Candidates: cs, Size: rng.IntN(n + n/4 + 2), KeepSeed: seed}
	r.Exact = rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		r.Looks = g.looks()
	}
	if rng.IntN(2) == 0 {
		r.Near = append(r.Near, Near{g.vectors(), []float64{0, 0.001, 0.05, 0.3, 2}[rng.IntN(5)]})
	}
	r.Keep = []Keep{"", KeepBest, KeepFirst, KeepLargest, KeepRandom, KeepTypical}[rng.IntN(6)]
	if r.Keep == KeepTypical && len(r.Near) == 0 {
		r.Keep = KeepBest
	}
	for range rng.IntN(5) {
		r.Objectives = append(r.Objectives, g.objective())
	}
	if rng.IntN(4) == 0 {
		r.Objectives = append(r.Objectives, Objective{Name: "time", Ordered: &Ordered{Values: g.numbers(), Descending: rng.IntN(2) == 0}})
	}
	for range rng.IntN(3) {
		q := Quota{Name: "camera", Of: g.classes(), AtMost: rng.IntN(5)}
		if q.AtMost == 0 || rng.IntN(2) == 0 {
			q.Share = []float64{0.01, 0.29, 1}[rng.IntN(3)]
		}
		r.Quotas = append(r.Quotas, q)
	}
	return r
}

type drawn struct {
	rng *rand.Rand
	n   int
	v   *Vectors
}

// number has ties, gaps, and sometimes the largest numbers there are.
func (g *drawn) number() float64 {
	switch g.rng.IntN(20) {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(g.rng.IntN(2)*2 - 1)
	case 2:
		return []float64{math.MaxFloat64, -math.MaxFloat64, 0, math.Copysign(0, -1)}[g.rng.IntN(4)]
	case 3, 4, 5:
		return g.rng.NormFloat64()
	}
	return float64(g.rng.IntN(7) - 3)
}

func (g *drawn) numbers() []float64 {
	out := make([]float64, g.n)
	for i := range out {
		out[i] = g.number()
	}
	return out
}

// vectors are some candidates' rows, in any order, perhaps compact, with rows
// of zeros and rows that are no numbers.
func (g *drawn) vectors() *Vectors {
	v := &Vectors{Name: "image", Dim: g.v.Dim, Data: append([]float32(nil), g.v.Data...)}
	odd := []float32{0, float32(math.NaN()), float32(math.Inf(1)), 1e30, 1e-30, math.MaxFloat32}
	for range g.rng.IntN(4) {
		x, row := odd[g.rng.IntN(len(odd))], v.at(g.rng.IntN(g.n))
		for i := range row {
			row[i] = x
		}
	}
	if g.rng.IntN(2) == 0 {
		v.Rows = g.rng.Perm(g.n)
		for i := range v.Rows {
			if g.rng.IntN(8) == 0 {
				v.Rows[i] = -1
			}
		}
	}
	if g.rng.IntN(3) == 0 {
		v = compact(v)
	}
	return v
}

func compact(v *Vectors) *Vectors {
	c := &Vectors{Name: v.Name, Dim: v.Dim, Rows: v.Rows}
	for i := range v.Len() {
		c.AppendCompact(v.at(i))
	}
	return c
}

// few are rows that are no candidates', and copies of some that are.
func (g *drawn) few() *Vectors {
	_, v := candidates(g.rng.Uint64(), 1+g.rng.IntN(12), g.v.Dim)
	v.Data = append(v.Data, g.v.at(g.rng.IntN(g.n))...)
	if g.rng.IntN(3) == 0 {
		v = compact(v)
	}
	return v
}

func (g *drawn) classes() *Classes {
	c := &Classes{}
	most := 1 + g.rng.IntN(8)
	if g.rng.IntN(5) == 0 {
		most = g.n
	}
	for range g.n {
		name := fmt.Sprint("c", int(float64(most)*math.Pow(g.rng.Float64(), 2)))
		if g.rng.IntN(10) == 0 {
			c.Add(nil)
		} else {
			c.Add(&name)
		}
	}
	return c
}

func (g *drawn) looks() *Looks {
	l := &Looks{Hashes: make([]uint64, g.n), Bits: []int{0, 1, 3, 4, 6, 9, 15, 16, 24, 64}[g.rng.IntN(10)]}
	for i := range l.Hashes {
		l.Hashes[i] = g.rng.Uint64()
		if i > 0 && g.rng.IntN(2) == 0 { // some bits from another
			l.Hashes[i] = l.Hashes[g.rng.IntN(i)]
			for range g.rng.IntN(20) {
				l.Hashes[i] ^= 1 << g.rng.IntN(64)
			}
		}
	}
	if g.rng.IntN(2) == 0 {
		l.Known = make([]bool, g.n)
		for i := range l.Known {
			l.Known[i] = g.rng.IntN(6) > 0
		}
	}
	return l
}

func (g *drawn) objective() Objective {
	o := Objective{Name: "o"}
	if g.rng.IntN(2) == 0 {
		o.Strength = new([]float64{0, 1, -1, 0.3, 2.5, -0.7, 40, -300, 1e6}[g.rng.IntN(9)])
	}
	switch g.rng.IntN(7) {
	case 0, 1:
		o.Diversity = &Diversity{Vectors: g.vectors(), MinDistance: []float64{0, 0, 0, 0.02, 0.4, 2}[g.rng.IntN(6)]}
		if g.rng.IntN(2) == 0 {
			o.Diversity.Existing = g.few()
		}
	case 2:
		o.Typicality = &Typicality{Vectors: g.vectors(), K: g.rng.IntN(4) * 3}
		if g.rng.IntN(2) == 0 {
			ref := g.few()
			ref.Rows = make([]int, g.n)
			for i := range ref.Rows {
				ref.Rows[i] = g.rng.IntN(ref.Len()+1) - 1
			}
			o.Typicality.Reference = ref
		}
	case 3:
		o.Similarity = &Similarity{Vectors: g.vectors(), To: g.few()}
	case 4:
		o.Weights = &Weights{g.numbers()}
	case 5:
		o.Balance = &Balance{By: g.classes(), Target: []Target{TargetUniform, TargetInput, TargetShares}[g.rng.IntN(3)]}
		if o.Balance.Target == TargetShares {
			o.Balance.Shares = map[string]float64{"c0": 0.5, "c1": 0, "c2": 0.2, "none": 0.1}
		}
	case 6:
		o.Random = &Random{g.rng.Uint64()}
	}
	return o
}

// checkRun compares a request's result with the plain way's.
func checkRun(t *testing.T, r Request) {
	t.Helper()
	got, err := Run(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	kept, dropped := refDedupe(r)
	if !reflect.DeepEqual(got.Duplicates, dropped) {
		t.Fatalf("%d duplicates, want %d: %v, want %v", len(got.Duplicates), len(dropped), got.Duplicates, dropped)
	}
	want := refSelect(r, kept)
	picks := make([]int, len(got.Picks))
	for k, p := range got.Picks {
		picks[k] = p.Index
		if p.Rank != k+1 || p.ID != r.Candidates[p.Index].ID || p.Reason == "" || p.Closest == p.Index {
			t.Fatalf("pick %d is %+v", k, p)
		}
		if !(p.Distance >= 0 && p.Distance <= 2) || strings.Contains(p.Reason, "%!") {
			t.Fatalf("pick %d is %+v", k, p)
		}
	}
	if !reflect.DeepEqual(picks, append([]int{}, want...)) {
		at := 0
		for at < min(len(picks), len(want)) && picks[at] == want[at] {
			at++
		}
		t.Fatalf("%d picks, want %d; they differ from pick %d on: %v, want %v", len(picks), len(want), at, picks[at:min(at+3, len(picks))], want[at:min(at+3, len(want))])
	}
}

func describe(r Request) string {
	var out []string
	for _, o := range r.Objectives {
		s := reflect.ValueOf(o)
		for i := 2; i < s.NumField(); i++ {
			if !s.Field(i).IsNil() {
				out = append(out, fmt.Sprintf("%s^%g", s.Type().Field(i).Name, o.strength()))
			}
		}
	}
	b, _ := json.Marshal(out)
	return fmt.Sprintf("%d candidates, size %d, keep %q, exact %v, looks %v, near %d, quotas %d, objectives %s", len(r.Candidates), r.Size, r.Keep, r.Exact, r.Looks != nil, len(r.Near), len(r.Quotas), b)
}

func TestAnyCombinationEqualsReference(t *testing.T) {
	runs := 150
	if soak() {
		runs = 6000
	}
	for seed := range uint64(runs) {
		n := []int{1, 2, 5, 30, 90, 300}[seed%6]
		r := draw(seed, n, []int{1, 2, 7, 33}[seed/6%4])
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { checkRun(t, r) }) {
			t.Fatalf("seed %d: %s", seed, describe(r))
		}
	}
}

func FuzzRun(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, 40, 3)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n, d int) {
		if n < 1 || n > 120 || d < 1 || d > 40 {
			t.Skip()
		}
		checkRun(t, draw(seed, n, d))
	})
}
