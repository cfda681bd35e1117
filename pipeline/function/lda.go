package function

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"winnow/pipeline/seeded"
	"winnow/pipeline/vec"
)

// lambdas are the ridges that leave-one-out weighs, in units of the mean
// variance of a coordinate.
var lambdas = []float64{0.3, 1, 3, 10, 30, 100, 1000}

const (
	fewPositives = 3    // below, leave-one-out has nothing to go by …
	fewLambda    = 100  // … and this ridge is used
	smallCorpus  = 200  // rows; below, the covariance is not to be trusted …
	smallLambda  = 1000 // … and this ridge makes lda the centred mean, in effect
	maxLeftOut   = 1000 // positives that leave-one-out leaves out; a seeded choice of more

	// usualLambda is the best ridge on most pictures and texts with few anchors;
	// before any evidence, one that is ten times away from it counts 1/e as much.
	usualLambda = 30
)

// basis is the covariance's eigenbasis, in which every ridge is a division.
type basis struct {
	mean   []float64
	values []float64 // eigenvalues, none negative
	u      []float64 // row j is eigenvector j
	u32    []float32
	spread float64   // the unit of λ: tr Σ/d, or 1 when all rows are the same
	sample []float32 // the statistics' sample, centred, in the basis
}

// eigenbasis computes the basis on the first call. All functions of one
// embedding share it. It is safe for concurrent use.
func (s *Statistics) eigenbasis() (*basis, error) {
	s.once.Do(func() { s.basis, s.err = newBasis(s) })
	return s.basis, s.err
}

func newBasis(s *Statistics) (*basis, error) {
	d := s.Dim
	values, u, err := vec.Eigh(s.Cov, d)
	if err != nil {
		return nil, fmt.Errorf("eigenvectors of the covariance of embedding %s: %w", s.Embedding, err)
	}
	b := &basis{mean: s.Mean, values: values, u: u, u32: make([]float32, d*d), spread: s.spread()}
	for i, e := range b.values {
		b.values[i] = max(e, 0) // rounding
	}
	if !(b.spread > 0) {
		b.spread = 1
	}
	for i, x := range u {
		b.u32[i] = float32(x)
	}
	n := len(s.SampleIDs)
	b.sample = make([]float32, n*d)
	if n > 0 {
		centred := make([]float32, n*d)
		for i := range n {
			for j := range d {
				centred[i*d+j] = float32(float64(s.Sample[i*d+j]) - s.Mean[j])
			}
		}
		vec.MulABT(n, d, d, centred, b.u32, b.sample)
	}
	return b, nil
}

// into expresses a difference of rows in the basis.
func (b *basis) into(x []float64) []float64 {
	d := len(x)
	p := make([]float64, d)
	for j := range p {
		p[j] = dot64(b.u[j*d:(j+1)*d], x)
	}
	return p
}

// outOf is the inverse of into.
func (b *basis) outOf(p []float64) []float64 {
	d := len(p)
	x := make([]float64, d)
	for j, a := range p {
		axpy(a, b.u[j*d:(j+1)*d], x)
	}
	return x
}

// ridge is what λ adds to every eigenvalue.
func (b *basis) ridge(lambda float64) float64 { return lambda * b.spread }

// fitLDA fits w = Σ share_λ·w_λ/sd_λ with w_λ = (Σ + λ·(tr Σ/d)·I)⁻¹ (avg⁺ − avg⁻),
// where sd_λ is the standard deviation of the corpus' scores under w_λ, and
// scales it so that they have mean 0 and standard deviation 1 under w.
func (s *Scorer) fitLDA(pos, neg *anchors, st *Statistics) error {
	b, err := st.eigenbasis()
	if err != nil {
		return err
	}
	away := b.mean
	if len(neg.rows) > 0 {
		away = neg.average(-1)
	}
	delta := difference(pos.average(-1), away)
	if math.Sqrt(dot64(delta, delta)) < 1e-6 {
		return fmt.Errorf("the average of its positives is that of %s, so there is no direction to look in", whatIs(neg))
	}
	s.Shares = weighLambdas(pos, away, st, b)
	s.Lambda = lambdas[largest(s.Shares)]
	along := b.into(delta)
	w, part := make([]float64, len(along)), make([]float64, len(along))
	for l, share := range s.Shares {
		if share == 0 {
			continue
		}
		for j, x := range along {
			part[j] = x / (b.values[j] + b.ridge(lambdas[l]))
		}
		axpy(share/b.deviation(part), part, w)
	}
	sd := b.deviation(w)
	for j := range w {
		w[j] /= sd
	}
	s.setRow(b.outOf(w), 0, b.mean)
	return nil
}

// deviation is the standard deviation of the corpus along w, which is in the
// basis. A corpus that does not vary along w has none to measure in: the floor
// keeps rounding from being blown up to a score.
func (b *basis) deviation(w []float64) float64 {
	variance, size := 0.0, 0.0
	for j, x := range w {
		variance += x * x * b.values[j]
		size += x * x
	}
	return math.Sqrt(max(variance, 1e-8*size))
}

func whatIs(neg *anchors) string {
	if len(neg.rows) > 0 {
		return "its negatives"
	}
	return "the whole corpus"
}

func difference(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

// weighLambdas returns the share of each of lambdas, 1 in all: in proportion to
// exp(−|log₁₀(λ/usualLambda)|)·Π 1/rank, where the ranks are those of positives
// that are left out of the fit, among the sampled rows, under λ. Few positives
// spread the shares, many settle on one λ. A product of n ranks is taken as the
// n-th power of their mean, weighted like the positives. Rows that are positives
// themselves do not count.
func weighLambdas(pos *anchors, away []float64, st *Statistics, b *basis) []float64 {
	shares := make([]float64, len(lambdas))
	switch {
	case st.Total < smallCorpus:
		shares[slices.Index(lambdas, smallLambda)] = 1
		return shares
	case len(pos.rows) < fewPositives:
		shares[slices.Index(lambdas, fewLambda)] = 1
		return shares
	}
	lo := newLeaveOut(pos, away, st, b)
	const chunk = 16 // positives at once: bounds the memory
	left := pos.choose(maxLeftOut, st.Seed)
	weight := 0.0
	for _, i := range left {
		weight += pos.weights[i]
	}
	for i := 0; i < len(left); i += chunk {
		lo.add(left[i:min(i+chunk, len(left))])
	}
	best := math.Inf(-1)
	for l, r := range lo.rank {
		shares[l] = -float64(len(left))*r/weight - math.Abs(math.Log10(lambdas[l]/usualLambda))
		best = max(best, shares[l])
	}
	total := 0.0
	for l := range shares {
		shares[l] = math.Exp(shares[l] - best)
		total += shares[l]
	}
	for l := range shares {
		shares[l] /= total
	}
	return shares
}

// largest is the position of the largest share, of equal ones the last.
func largest(shares []float64) int {
	best := 0
	for l, x := range shares {
		if x >= shares[best]*(1-1e-9) { // equal but for rounding
			best = l
		}
	}
	return best
}

// leaveOut ranks positives by directions that were fitted without them.
type leaveOut struct {
	b      *basis
	pos    *anchors
	sample int       // rows of the sample
	rivals []int     // those that are no positives
	mine   []float32 // the positives, centred, in the basis
	sum    []float64 // their weighted sum
	total  float64   // and weight
	away   []float64 // centred, in the basis
	rank   []float64 // of each λ: the weighted sum of the logarithms of ranks
}

func newLeaveOut(pos *anchors, away []float64, st *Statistics, b *basis) *leaveOut {
	d := st.Dim
	lo := &leaveOut{
		b: b, pos: pos, sample: len(st.SampleIDs), rivals: withoutAnchors(st.SampleIDs, pos.ids),
		mine: make([]float32, len(pos.rows)*d), sum: make([]float64, d),
		away: b.into(difference(away, b.mean)), rank: make([]float64, len(lambdas)),
	}
	centred := make([]float32, 0, len(lo.mine))
	for _, r := range pos.rows {
		for j, x := range r {
			centred = append(centred, float32(x-b.mean[j]))
		}
	}
	vec.MulABT(len(pos.rows), d, d, centred, b.u32, lo.mine)
	for i, w := range pos.weights {
		lo.total += w
		for j, x := range lo.mine[i*d : (i+1)*d] {
			lo.sum[j] += w * float64(x)
		}
	}
	return lo
}

// add leaves out the given positives, one at a time.
func (lo *leaveOut) add(left []int) {
	d := len(lo.sum)
	rows := make([]float32, 0, len(left)*len(lambdas)*d)
	own := make([]float64, 0, len(left)*len(lambdas))
	w := make([]float64, d)
	for _, i := range left {
		mine, weight := lo.mine[i*d:(i+1)*d], lo.pos.weights[i]
		for _, lambda := range lambdas {
			ridge, size := lo.b.ridge(lambda), 0.0
			for j, x := range mine {
				delta := (lo.sum[j]-weight*float64(x))/(lo.total-weight) - lo.away[j]
				w[j] = delta / (lo.b.values[j] + ridge)
				size += w[j] * w[j]
			}
			scale := 1 / max(math.Sqrt(size), math.SmallestNonzeroFloat32) // keeps single precision in range
			score := 0.0
			for j, x := range mine {
				rows = append(rows, float32(w[j]*scale))
				score += w[j] * scale * float64(x)
			}
			own = append(own, score)
		}
	}
	scores := make([]float32, len(own)*lo.sample)
	if lo.sample > 0 {
		vec.MulABT(len(own), lo.sample, d, rows, lo.b.sample, scores)
	}
	for k, mine := range own {
		above := 0
		for _, r := range lo.rivals {
			if float64(scores[k*lo.sample+r]) > mine+1e-6 { // a copy of the positive is no rival
				above++
			}
		}
		lo.rank[k%len(lambdas)] += lo.pos.weights[left[k/len(lambdas)]] * math.Log(float64(1+above))
	}
}

// withoutAnchors returns the positions of the sampled rows that are no anchors.
func withoutAnchors(sample []string, lists ...[]string) []int {
	anchor := map[string]bool{}
	for _, l := range lists {
		for _, id := range l {
			anchor[id] = id != ""
		}
	}
	var rows []int
	for i, id := range sample {
		if !anchor[id] {
			rows = append(rows, i)
		}
	}
	return rows
}

// choose returns the positions of all anchors, or of a seeded choice of n.
func (a *anchors) choose(n int, seed uint64) []int {
	at := make([]int, len(a.rows))
	for i := range at {
		at[i] = i
	}
	if len(at) > n {
		slices.SortStableFunc(at, func(i, j int) int {
			return cmp.Compare(seeded.Hash(seed, a.keys[i]), seeded.Hash(seed, a.keys[j]))
		})
		at = at[:n]
	}
	return at
}
