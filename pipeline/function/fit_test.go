package function

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// scoreAll fits and scores rows by a Pass.
func scoreAll(t testing.TB, def *Definition, pos, neg []Vector, st *Statistics, rows []refRow) ([]float32, *Scorer) {
	t.Helper()
	s, err := Fit(def, pos, neg, st)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPass(st.Dim, []*Scorer{s})
	if err != nil {
		t.Fatal(err)
	}
	out := [][]float32{make([]float32, len(rows))}
	p.Score(flat(rows), len(rows), out)
	return out[0], s
}

func TestFitEqualsReference(t *testing.T) {
	rows := corpus(1, 400, 16, 12)
	mean, cov := refMoments(rows)
	sample := func(st *Statistics) (s []refRow) {
		for i, id := range st.SampleIDs {
			s = append(s, refRow{id, st.Sample[i*st.Dim : (i+1)*st.Dim]})
		}
		return s
	}
	weighted := anchorsOf(rows, 0, 12, 24, 36)
	weighted[1].Weight, weighted[3].Weight = 2.5, 0.25
	for _, c := range []struct {
		name     string
		pos, neg []Vector
	}{
		{"one", anchorsOf(rows, 0), nil},
		{"two", anchorsOf(rows, 0, 12), nil},
		{"three", anchorsOf(rows, 0, 12, 24), nil},
		{"many", anchorsOf(rows, 0, 12, 24, 36, 48, 60, 72, 84, 96, 108), nil},
		{"weighted", weighted, nil},
		{"negatives", anchorsOf(rows, 1, 13, 25, 37), anchorsOf(rows, 2, 3, 14)},
		{"weighted negatives", weighted, weightedCopy(anchorsOf(rows, 2, 3, 14), 3, 1, 0.5)},
	} {
		for _, combine := range Combines {
			t.Run(string(combine)+"/"+c.name, func(t *testing.T) {
				st := statisticsOf(t, rows, SampleOptions{Keep: 120})
				got, s := scoreAll(t, &Definition{Name: "f", Combine: combine}, c.pos, c.neg, st, rows)
				var want func([]float32) float64
				switch combine {
				case LDA:
					shares := refShares(c.pos, c.neg, mean, cov, sample(st), len(rows))
					for l, x := range shares {
						if math.Abs(s.Shares[l]-x) > 1e-9 {
							t.Fatalf("shares of λ = %v, want %v", s.Shares, shares)
						}
					}
					if largest := refLambdas[slices.Index(shares, slices.Max(shares))]; s.Lambda != largest {
						t.Fatalf("λ = %v, want %v", s.Lambda, largest)
					}
					want = refLDA(c.pos, c.neg, mean, cov, shares)
				case Mean:
					want = refMean(c.pos, c.neg)
				case Max:
					want = refMax(c.pos, c.neg)
				case Sum:
					want = refSum(c.pos, c.neg)
				case Classifier:
					want = refClassifier(c.pos, c.neg, mean, cov, s.Lambda, sample(st))
				}
				for i, r := range rows {
					if w := want(r.v); math.Abs(float64(got[i])-w) > 1e-5*max(1, math.Abs(w)) {
						t.Fatalf("row %d: score %v, want %v", i, got[i], w)
					}
				}
			})
		}
	}
}

func weightedCopy(vs []Vector, weights ...float64) []Vector {
	for i := range vs {
		vs[i].Weight = weights[i]
	}
	return vs
}

// The corpus' own scores have mean 0 and standard deviation 1.
func TestLDAScoresAreStandardised(t *testing.T) {
	rows := corpus(2, 700, 40, 9)
	st := statisticsOf(t, rows, SampleOptions{})
	got, _ := scoreAll(t, &Definition{Name: "f"}, anchorsOf(rows, 0, 9, 18, 27), nil, st, rows)
	m, v := 0.0, 0.0
	for _, x := range got {
		m += float64(x) / float64(len(got))
	}
	for _, x := range got {
		v += (float64(x) - m) * (float64(x) - m) / float64(len(got))
	}
	if math.Abs(m) > 1e-5 || math.Abs(v-1) > 1e-4 {
		t.Errorf("mean %v, variance %v; want 0, 1", m, v)
	}
}

func TestLambdaRules(t *testing.T) {
	small, large := corpus(3, 199, 16, 4), corpus(3, 200, 16, 4)
	for _, c := range []struct {
		rows []refRow
		pos  []int
		want float64
	}{
		{small, []int{0, 4, 8, 12}, 1000},
		{small, []int{0}, 1000},
		{large, []int{0, 4}, 100},
		{large, []int{0}, 100},
	} {
		_, s := scoreAll(t, &Definition{Name: "f"}, anchorsOf(c.rows, c.pos...), nil, statisticsOf(t, c.rows, SampleOptions{}), c.rows)
		if s.Lambda != c.want {
			t.Errorf("%d rows, %d positives: λ = %v, want %v", len(c.rows), len(c.pos), s.Lambda, c.want)
		}
	}
}

// With a ridge without end, lda ranks like the product with avg⁺ − μ.
func TestLDAWithLargeRidgeIsCentredMean(t *testing.T) {
	rows := corpus(4, 150, 32, 5) // a small corpus: λ is 1000
	st := statisticsOf(t, rows, SampleOptions{})
	pos := anchorsOf(rows, 0, 5, 10)
	got, _ := scoreAll(t, &Definition{Name: "f"}, pos, nil, st, rows)
	mean, cov := refMoments(rows)
	delta := refMinus(refAverage(pos, -1), mean)
	w := refSolve(refRidge(cov, 1e12), delta)
	var order, want []int
	for i, r := range rows {
		order, want = append(order, i), append(want, i)
		// The reference itself, in the limit, is the centred mean up to scale.
		if i > 0 && (refDot(w, r.v) > refDot(w, rows[0].v)) != (refDot(delta, r.v) > refDot(delta, rows[0].v)) {
			t.Fatalf("the reference ranks row %d otherwise", i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return compareDown(float64(got[a]), float64(got[b])) })
	slices.SortFunc(want, func(a, b int) int { return compareDown(refDot(delta, rows[a].v), refDot(delta, rows[b].v)) })
	// λ = 1000 is not quite infinite: allow neighbours to swap.
	for i := range order {
		if j := slices.Index(want, order[i]); j < i-1 || j > i+1 {
			t.Errorf("row %d is at place %d, want %d", order[i], i, j)
		}
	}
}

func compareDown(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// Fewer rows than dimensions leave the covariance without full rank.
func TestFitRankDeficient(t *testing.T) {
	rows := corpus(5, 210, 300, 3)
	st := statisticsOf(t, rows, SampleOptions{})
	for _, combine := range []Combine{LDA, Classifier} {
		got, _ := scoreAll(t, &Definition{Name: "f", Combine: combine}, anchorsOf(rows, 0, 3, 6), nil, st, rows)
		inside, outside := 0.0, 0.0
		for i := 9; i < len(rows); i++ {
			if math.IsNaN(float64(got[i])) || math.IsInf(float64(got[i]), 0) {
				t.Fatalf("%s: row %d scores %v", combine, i, got[i])
			}
			if i%3 == 0 {
				inside += float64(got[i]) / 67
			} else {
				outside += float64(got[i]) / 134
			}
		}
		if inside <= outside {
			t.Errorf("%s: the positives' cluster scores %v, the others %v", combine, inside, outside)
		}
	}
}

// What must not matter: the scale of weights, the order of anchors, the
// length of vectors; and an anchor of weight 2 is the anchor twice.
func TestFitProperties(t *testing.T) {
	rows := corpus(6, 400, 20, 8)
	st := statisticsOf(t, rows, SampleOptions{Keep: 200})
	rng := rand.New(rand.NewPCG(6, 6))
	for round := range 8 {
		at := rng.Perm(60)
		pos := weightedCopy(anchorsOf(rows, at[:5]...), 1, 2, 3, 0.5, 1.5)
		neg := weightedCopy(anchorsOf(rows, at[5:8]...), 1, 0.3, 2)
		if round%2 == 1 {
			neg = nil
		}
		for _, combine := range Combines {
			def := &Definition{Name: "f", Combine: combine}
			base, s := scoreAll(t, def, pos, neg, st, rows)
			check := func(what string, pos, neg []Vector, scale, tolerance float64) {
				t.Helper()
				got, _ := scoreAll(t, def, pos, neg, st, rows)
				for i := range got {
					if d := math.Abs(float64(got[i]) - scale*float64(base[i])); d > tolerance*max(1, math.Abs(scale*float64(base[i]))) {
						t.Fatalf("%s: %s moves row %d from %v to %v", combine, what, i, base[i], got[i])
					}
				}
			}
			for _, factor := range []float64{4, 1e-9, 1e9} {
				heavier := func(vs []Vector) []Vector {
					vs = slices.Clone(vs)
					for i := range vs {
						vs[i].Weight *= factor
					}
					return vs
				}
				scale := 1.0
				if combine == Sum {
					scale = factor
				}
				check("scaling all weights", heavier(pos), heavier(neg), scale, 1e-6)
			}
			shuffled := slices.Clone(pos)
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			check("the order of anchors", shuffled, neg, 1, 0)
			longer := slices.Clone(pos)
			for i := range longer {
				longer[i].Values = slices.Clone(longer[i].Values)
				for j := range longer[i].Values {
					longer[i].Values[j] *= 8
				}
			}
			check("the length of the anchors", longer, neg, 1, 1e-6)
			if got := VersionOf(def, shuffled, neg, st); got != s.Version {
				t.Errorf("%s: the order of anchors changes the version", combine)
			}
			switch combine { // choosing λ leaves out one of two copies, so lda and classifier may differ
			case Mean, Sum:
				twice := append(slices.Clone(pos), pos[1])
				twice[1].Weight, twice[5].Weight = 1, 1
				check("splitting a weight of 2", twice, neg, 1, 1e-6)
			}
		}
	}
}

func TestFitIdenticalVectors(t *testing.T) {
	rows := corpus(7, 300, 12, 1)
	for i := range rows {
		rows[i].v = rows[0].v
	}
	st := statisticsOf(t, rows, SampleOptions{})
	// An anchor that is the whole corpus cannot be told from it.
	_, err := Fit(&Definition{Name: "same"}, anchorsOf(rows, 0, 1, 2), nil, st)
	if err == nil || !strings.Contains(err.Error(), "function same") || !strings.Contains(err.Error(), "no direction") {
		t.Errorf("error %v", err)
	}
	// Another anchor can, though the corpus has no variance to measure in.
	other := corpus(8, 3, 12, 3)
	for _, combine := range Combines {
		got, _ := scoreAll(t, &Definition{Name: "f", Combine: combine}, anchorsOf(other, 0, 1, 2), nil, st, append(rows[:3:3], other...))
		for i, x := range got {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Errorf("%s: row %d scores %v", combine, i, x)
			}
		}
		if got[3] <= got[0] {
			t.Errorf("%s: the anchor scores %v, the corpus %v", combine, got[3], got[0])
		}
	}
}

func TestFitErrors(t *testing.T) {
	rows := corpus(9, 300, 8, 3)
	st := statisticsOf(t, rows, SampleOptions{})
	nan := slices.Clone(rows[0].v)
	nan[3] = float32(math.NaN())
	inf := slices.Clone(rows[0].v)
	inf[0] = float32(math.Inf(1))
	minus := slices.Clone(rows[0].v)
	for i := range minus {
		minus[i] = -minus[i]
	}
	for _, c := range []struct {
		name     string
		def      Definition
		pos, neg []Vector
		want     []string
	}{
		{"none", Definition{Name: "a"}, nil, nil, []string{"function a: no positive anchor"}},
		{"all at once", Definition{Name: "b"},
			[]Vector{{ID: "p1", Values: rows[0].v[:7]}, {ID: "p2", Values: nan}, {ID: "fine", Values: rows[1].v}},
			[]Vector{{Kind: "vector", ID: "n.npy#3", Values: make([]float32, 8)}, {ID: "n2", Values: inf}, {ID: "n3", Weight: -1, Values: rows[2].v}},
			[]string{
				`function b: anchor asset "p1": its vector has 7 dimensions, the embedding has 8`,
				`function b: anchor asset "p2": its vector is not finite`,
				`function b: anchor vector "n.npy#3": its vector is zero`,
				`function b: anchor asset "n2": its vector is not finite`,
				`function b: anchor asset "n3": its weight is -1`,
			}},
		{"cancel", Definition{Name: "c", Combine: Mean}, []Vector{{ID: "x", Values: rows[0].v}, {ID: "y", Values: minus}}, nil,
			[]string{"function c: its anchors cancel each other out"}},
		{"no difference", Definition{Name: "d"}, anchorsOf(rows, 1), []Vector{{ID: "copy", Values: rows[1].v}}, []string{"function d: ", "its negatives"}},
		{"unknown", Definition{Name: "e", Combine: "best"}, anchorsOf(rows, 1), nil, []string{`function e: combine "best"`, "classifier"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Fit(&c.def, c.pos, c.neg, st)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	rows := corpus(10, 30, 8, 3)
	st := &Statistics{ID: "s1", Fingerprint: "f1", Dim: 8}
	other := &Statistics{ID: "s2", Fingerprint: "f1", Dim: 8}
	model := &Statistics{ID: "s1", Fingerprint: "f2", Dim: 8}
	pos, neg := anchorsOf(rows, 1, 2, 3), anchorsOf(rows, 4)
	with := func(f func(p []Vector)) []Vector {
		p := slices.Clone(pos)
		f(p)
		return p
	}
	seen := map[string]string{}
	add := func(what string, same string, def Definition, pos, neg []Vector, st *Statistics) {
		t.Helper()
		v := VersionOf(&def, pos, neg, st)
		if before, ok := seen[v]; ok && before != same {
			t.Errorf("%s has the version of %s", what, before)
		} else if !ok && same != "" {
			t.Errorf("%s does not have the version of %s", what, same)
		}
		if same == "" {
			seen[v] = what
		}
	}
	lda := Definition{Name: "f"}
	add("lda", "", lda, pos, neg, st)
	add("lda by its name", "lda", Definition{Name: "f", Combine: LDA}, pos, neg, st)
	add("another name", "lda", Definition{Name: "g"}, pos, neg, st)
	add("another threshold", "lda", Definition{Name: "f", Threshold: Threshold{Rule: RuleTop, Value: 5}}, pos, neg, st)
	add("weight 1", "lda", lda, with(func(p []Vector) { p[0].Weight = 1 }), neg, st)
	add("another order", "lda", lda, with(func(p []Vector) { p[0], p[2] = p[2], p[0] }), neg, st)
	add("vectors elsewhere", "lda", lda, with(func(p []Vector) { p[0].Values = nil }), neg, st)
	add("weight 2", "", lda, with(func(p []Vector) { p[0].Weight = 2 }), neg, st)
	add("another id", "", lda, with(func(p []Vector) { p[0].ID = "z" }), neg, st)
	add("another kind", "", lda, with(func(p []Vector) { p[0].Kind = "text" }), neg, st)
	add("another content", "", lda, with(func(p []Vector) { p[0].Hash = "z" }), neg, st)
	add("no hash", "", lda, with(func(p []Vector) { p[0].Hash = "" }), neg, st)
	add("no hash, another vector", "", lda, with(func(p []Vector) { p[0].Hash = ""; p[0].Values = rows[9].v }), neg, st)
	add("swapped", "", lda, neg, pos, st)
	add("without negatives", "", lda, pos, nil, st)
	add("other statistics", "", lda, pos, neg, other)
	add("another model", "", lda, pos, neg, model)
	for _, c := range Combines[1:] {
		add(string(c), "", Definition{Combine: c}, pos, neg, st)
		same := string(c)
		if c == Classifier {
			same = ""
		}
		add(string(c)+" with other statistics", same, Definition{Combine: c}, pos, neg, other)
	}
}

func TestScorersRoundTrip(t *testing.T) {
	rows := corpus(11, 300, 10, 4)
	st := statisticsOf(t, rows, SampleOptions{})
	var scorers []*Scorer
	for i, c := range Combines {
		s, err := Fit(&Definition{Name: fmt.Sprint("f", i), Combine: c}, anchorsOf(rows, 0, 4, 8), anchorsOf(rows, 1, 2), st)
		if err != nil {
			t.Fatal(err)
		}
		scorers = append(scorers, s)
	}
	data, err := EncodeScorers(scorers)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeScorers(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scorers {
		if fmt.Sprintf("%v", *again[i]) != fmt.Sprintf("%v", *s) {
			t.Errorf("%s: %v became %v", s.Name, *s, *again[i])
		}
	}
	if _, err := EncodeScorers([]*Scorer{scorers[0], scorers[0]}); err == nil {
		t.Error("two functions of one name are encoded")
	}
	if _, err := DecodeStatistics(data); err == nil || !strings.Contains(err.Error(), "winnow functions") {
		t.Errorf("functions are read as statistics: %v", err)
	}
}
