package function

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"winnow/pipeline"
)

// Vector is an anchor with its vector.
type Vector struct {
	Kind   string    // asset, text, uri or vector, as Anchor.Kind
	ID     string    // what it refers to; rows of a vector file are told apart by "#0", "#1"…
	Hash   string    // of its content; "" stands for the hash of Values
	Weight float64   // 0 stands for 1
	Values []float32 // Dim numbers of any length but zero
}

func (v Vector) weight() float64 {
	if v.Weight == 0 {
		return 1
	}
	return v.Weight
}

func (v Vector) String() string { return fmt.Sprintf("%s %q", cmp.Or(v.Kind, "asset"), v.ID) }

// inOrder sorts anchors, so that their order in the file does not move a score
// by a bit.
func inOrder(vs []Vector) []Vector {
	vs = slices.Clone(vs)
	slices.SortStableFunc(vs, func(a, b Vector) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Hash, b.Hash),
			cmp.Compare(a.weight(), b.weight()), slices.Compare(a.Values, b.Values))
	})
	return vs
}

// Scorer is a fitted function.
//
// Its score of a unit row x is made from the products p_i = Rows_i·x: p_0 +
// Offset for lda, mean and sum; 1/(1+exp(−p_0−Offset)) for classifier; for max
// the largest p of the first Positives rows, or −(the largest other p)² where
// that is larger.
type Scorer struct {
	Name        string
	Version     string // see VersionOf
	Embedding   string
	Fingerprint string // of the embedding
	Statistics  string // id; "" when the combination does not use them
	Combine     Combine
	Dim         int
	Rows        []float32 // n × Dim
	Offset      float64
	Positives   int       // max: rows that are positive anchors
	Lambda      float64   // lda, classifier: the ridge with the largest share
	Deviation   float64   // mean, max and sum as a part of a function over several embeddings: of its scores in the corpus' sample
	Shares      []float64 // lda: the share of each λ of {0.3, 1, 3, 10, 30, 100, 1000} in the row
}

// anchors are a function's resolved anchors: unit rows in double precision.
type anchors struct {
	rows    [][]float64
	weights []float64
	ids     []string // of asset anchors, else ""
	keys    []string // kind, id and hash: tell anchors apart whatever their order
}

// Fit fits a function to its anchors. st describes the embedding that they lie
// in; mean, max and sum use only its Embedding, Fingerprint and Dim, but for the
// Deviation of parts. What is
// wrong with the anchors is a *pipeline.UsageError that lists every finding.
func Fit(def *Definition, positives, negatives []Vector, st *Statistics) (*Scorer, error) {
	var faults pipeline.UsageError
	pos := resolve(def.Name, positives, st.Dim, &faults)
	neg := resolve(def.Name, negatives, st.Dim, &faults)
	if len(positives) == 0 {
		faults.Problems = append(faults.Problems, pipeline.Problem{
			What: fmt.Sprintf("function %s: no positive anchor is left", def.Name), Fix: "name an example that is in the workspace",
		})
	}
	if len(faults.Problems) > 0 {
		return nil, &faults
	}
	s := &Scorer{
		Name: def.Name, Version: VersionOf(def, positives, negatives, st),
		Embedding: st.Embedding, Fingerprint: st.Fingerprint, Combine: def.How(), Dim: st.Dim,
	}
	if def.UsesStatistics() {
		s.Statistics = st.ID
	}
	var err error
	switch s.Combine {
	case LDA:
		err = s.fitLDA(pos, neg, st)
	case Mean:
		err = s.fitMean(pos, neg)
	case Max:
		s.fitMax(pos, neg)
	case Sum:
		s.fitSum(pos, neg)
	case Classifier:
		err = s.fitClassifier(pos, neg, st)
	default:
		err = fmt.Errorf("combine %q is unknown; write one of %s", def.Combine, joinCombines())
	}
	if err == nil && def.Partial() && !s.Combine.UsesStatistics() {
		err = s.measure(st)
	}
	if err != nil {
		return nil, pipeline.Usagef("function %s: %v", def.Name, err)
	}
	return s, nil
}

func resolve(name string, vs []Vector, dim int, faults *pipeline.UsageError) *anchors {
	a := &anchors{}
	for _, v := range inOrder(vs) {
		row, err := unit64(v.Values, dim)
		if err == nil && !validWeight(v.weight()) {
			err = fmt.Errorf("its weight is %v, not above 0", v.Weight)
		}
		if err != nil {
			faults.Problems = append(faults.Problems, pipeline.Problem{
				What: fmt.Sprintf("function %s: anchor %s: %v", name, v, err), Fix: "replace the anchor",
			})
			continue
		}
		id := ""
		if v.Kind == "" || v.Kind == "asset" {
			id = v.ID
		}
		a.rows = append(a.rows, row)
		a.weights = append(a.weights, v.weight())
		a.ids = append(a.ids, id)
		a.keys = append(a.keys, v.Kind+"\x00"+v.ID+"\x00"+v.Hash)
	}
	return a
}

// unit64 returns v scaled to unit length in double precision.
func unit64(v []float32, dim int) ([]float64, error) {
	if len(v) != dim {
		return nil, fmt.Errorf("its vector has %d dimensions, the embedding has %d", len(v), dim)
	}
	n2 := norm2(v)
	if math.IsNaN(n2) || math.IsInf(n2, 0) {
		return nil, fmt.Errorf("its vector is not finite")
	}
	if n2 == 0 {
		return nil, fmt.Errorf("its vector is zero")
	}
	row := make([]float64, dim)
	for i, x := range v {
		row[i] = float64(x) / math.Sqrt(n2)
	}
	return row, nil
}

// average is the weighted mean of the anchors; skip is left out, -1 skips none.
func (a *anchors) average(skip int) []float64 {
	avg := make([]float64, len(a.rows[0]))
	total := 0.0
	for i, r := range a.rows {
		if i == skip {
			continue
		}
		total += a.weights[i]
		axpy(a.weights[i], r, avg)
	}
	for j := range avg {
		avg[j] /= total
	}
	return avg
}

// setRow sets the scorer's only row to w and its offset to b − w·mean, with
// the w that single precision leaves.
func (s *Scorer) setRow(w []float64, b float64, mean []float64) {
	s.Rows = make([]float32, len(w))
	s.Offset = b
	for i, x := range w {
		s.Rows[i] = float32(x)
		if mean != nil {
			s.Offset -= float64(s.Rows[i]) * mean[i]
		}
	}
}

// fitMean sets the row to normalise(2·avg⁺ − avg⁻).
func (s *Scorer) fitMean(pos, neg *anchors) error {
	q := pos.average(-1)
	if len(neg.rows) > 0 {
		avg := neg.average(-1)
		for i := range q {
			q[i] = 2*q[i] - avg[i]
		}
	}
	n := math.Sqrt(dot64(q, q))
	if n < 1e-6 {
		return fmt.Errorf("its anchors cancel each other out, so their mean points nowhere; use combine: max, or fewer anchors")
	}
	for i := range q {
		q[i] /= n
	}
	s.setRow(q, 0, nil)
	return nil
}

// fitMax keeps a row an anchor, shorter by its weight's share of the heaviest.
func (s *Scorer) fitMax(pos, neg *anchors) {
	heaviest := 0.0
	for _, a := range []*anchors{pos, neg} {
		for _, w := range a.weights {
			heaviest = max(heaviest, w)
		}
	}
	for _, a := range []*anchors{pos, neg} {
		for i, r := range a.rows {
			for _, x := range r {
				s.Rows = append(s.Rows, float32(x*a.weights[i]/heaviest))
			}
		}
	}
	s.Positives = len(pos.rows)
}

// fitSum sets the row to the weighted sum of positives minus that of negatives.
func (s *Scorer) fitSum(pos, neg *anchors) {
	w := make([]float64, s.Dim)
	for i, r := range pos.rows {
		axpy(pos.weights[i], r, w)
	}
	for i, r := range neg.rows {
		axpy(-neg.weights[i], r, w)
	}
	s.setRow(w, 0, nil)
}

// axpy adds a·x to y.
func axpy(a float64, x, y []float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

func dot64(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
