package function

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// What follows is the plain way to do what the package does: loops in double
// precision, a dense solver, no eigenvectors, no blocks.

type refRow struct {
	id string
	v  []float32
}

// corpus draws rows around a few centres that share a common offset, as
// embeddings do, and scales them to unit length.
func corpus(seed uint64, n, d, centres int) []refRow {
	rng := rand.New(rand.NewPCG(seed, 1))
	common := gauss(rng, d)
	mid := make([][]float64, centres)
	for c := range mid {
		mid[c] = gauss(rng, d)
		for j := range mid[c] {
			mid[c][j] = mid[c][j]*0.6 + common[j]
		}
	}
	rows := make([]refRow, n)
	for i := range rows {
		v := gauss(rng, d)
		for j := range v {
			v[j] = v[j]*0.5 + mid[i%centres][j]
		}
		rows[i] = refRow{fmt.Sprintf("row-%05d", i), unit32(v)}
	}
	return rows
}

func gauss(rng *rand.Rand, d int) []float64 {
	v := make([]float64, d)
	for j := range v {
		v[j] = rng.NormFloat64()
	}
	return v
}

func unit32(v []float64) []float32 {
	n := 0.0
	for _, x := range v {
		n += x * x
	}
	u := make([]float32, len(v))
	for j, x := range v {
		u[j] = float32(x / math.Sqrt(n))
	}
	return u
}

func statisticsOf(t testing.TB, rows []refRow, o SampleOptions) *Statistics {
	t.Helper()
	o.Dim = len(rows[0].v)
	if o.Embedding == "" {
		o.Embedding, o.Fingerprint = "image", "f00d"
	}
	b, err := NewBuilder(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := b.Add([]string{r.id}, r.v); err != nil {
			t.Fatal(err)
		}
	}
	st, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func anchorsOf(rows []refRow, at ...int) []Vector {
	var vs []Vector
	for _, i := range at {
		vs = append(vs, Vector{ID: rows[i].id, Values: rows[i].v, Hash: fmt.Sprintf("h%d", i)})
	}
	return vs
}

// flat lays rows after each other.
func flat(rows []refRow) []float32 {
	var out []float32
	for _, r := range rows {
		out = append(out, r.v...)
	}
	return out
}

func refDot(a []float64, b []float32) float64 {
	s := 0.0
	for j := range a {
		s += a[j] * float64(b[j])
	}
	return s
}

func refUnit(v []float32) []float64 {
	n := 0.0
	for _, x := range v {
		n += float64(x) * float64(x)
	}
	u := make([]float64, len(v))
	for j, x := range v {
		u[j] = float64(x) / math.Sqrt(n)
	}
	return u
}

func refAverage(vs []Vector, skip int) []float64 {
	avg := make([]float64, len(vs[0].Values))
	total := 0.0
	for i, v := range vs {
		if i == skip {
			continue
		}
		total += v.weight()
		for j, x := range refUnit(v.Values) {
			avg[j] += v.weight() * x
		}
	}
	for j := range avg {
		avg[j] /= total
	}
	return avg
}

// refSolve solves a·x = b by elimination with pivots.
func refSolve(a [][]float64, b []float64) []float64 {
	n := len(b)
	x := slices.Clone(b)
	m := make([][]float64, n)
	for i := range m {
		m[i] = slices.Clone(a[i])
	}
	for c := range n {
		p := c
		for r := c; r < n; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[p][c]) {
				p = r
			}
		}
		m[c], m[p], x[c], x[p] = m[p], m[c], x[p], x[c]
		for r := c + 1; r < n; r++ {
			f := m[r][c] / m[c][c]
			for k := c; k < n; k++ {
				m[r][k] -= f * m[c][k]
			}
			x[r] -= f * x[c]
		}
	}
	for r := n - 1; r >= 0; r-- {
		for k := r + 1; k < n; k++ {
			x[r] -= m[r][k] * x[k]
		}
		x[r] /= m[r][r]
	}
	return x
}

func refMoments(rows []refRow) (mean []float64, cov [][]float64) {
	d := len(rows[0].v)
	mean = make([]float64, d)
	for _, r := range rows {
		for j, x := range r.v {
			mean[j] += float64(x) / float64(len(rows))
		}
	}
	cov = make([][]float64, d)
	for i := range cov {
		cov[i] = make([]float64, d)
		for j := range cov[i] {
			for _, r := range rows {
				cov[i][j] += (float64(r.v[i]) - mean[i]) * (float64(r.v[j]) - mean[j]) / float64(len(rows))
			}
		}
	}
	return mean, cov
}

// refRidge is Σ + λ·(tr Σ/d)·I.
func refRidge(cov [][]float64, lambda float64) [][]float64 {
	t := 0.0
	for i := range cov {
		t += cov[i][i] / float64(len(cov))
	}
	m := make([][]float64, len(cov))
	for i := range m {
		m[i] = slices.Clone(cov[i])
		m[i][i] += lambda * t
	}
	return m
}

func refMinus(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for j := range a {
		d[j] = a[j] - b[j]
	}
	return d
}

var refLambdas = []float64{0.3, 1, 3, 10, 30, 100, 1000}

// refShares weighs each λ by its prior and by 1/rank of every positive that is
// left out; weights count positives several times, or in part, but leave their
// number as it is.
func refShares(pos, neg []Vector, mean []float64, cov [][]float64, sample []refRow, total int) []float64 {
	if total < 200 {
		return []float64{0, 0, 0, 0, 0, 0, 1}
	}
	if len(pos) < 3 {
		return []float64{0, 0, 0, 0, 0, 1, 0}
	}
	away := mean
	if len(neg) > 0 {
		away = refAverage(neg, -1)
	}
	weight, all := 0.0, 0.0
	for _, p := range pos {
		weight += p.weight()
	}
	shares := make([]float64, len(refLambdas))
	for l, lambda := range refLambdas {
		shares[l] = math.Exp(-math.Abs(math.Log10(lambda) - math.Log10(30)))
		for i, p := range pos {
			w := refSolve(refRidge(cov, lambda), refMinus(refAverage(pos, i), away))
			mine, rank := refDot(w, p.Values), 1
			for _, r := range sample {
				if !slices.ContainsFunc(pos, func(v Vector) bool { return v.ID == r.id }) && refDot(w, r.v) > mine {
					rank++
				}
			}
			shares[l] *= math.Pow(1/float64(rank), p.weight()*float64(len(pos))/weight)
		}
		all += shares[l]
	}
	for l := range shares {
		shares[l] /= all
	}
	return shares
}

func refLDA(pos, neg []Vector, mean []float64, cov [][]float64, shares []float64) func([]float32) float64 {
	away := mean
	if len(neg) > 0 {
		away = refAverage(neg, -1)
	}
	deviation := func(w []float64) float64 {
		v := 0.0
		for i := range w {
			for j := range w {
				v += w[i] * cov[i][j] * w[j]
			}
		}
		return math.Sqrt(v)
	}
	blend := make([]float64, len(mean))
	for l, lambda := range refLambdas {
		w := refSolve(refRidge(cov, lambda), refMinus(refAverage(pos, -1), away))
		sd := deviation(w)
		for j := range w {
			blend[j] += shares[l] * w[j] / sd
		}
	}
	sd, m := deviation(blend), 0.0
	for j, x := range blend {
		m += x * mean[j]
	}
	return func(x []float32) float64 { return (refDot(blend, x) - m) / sd }
}

func refMean(pos, neg []Vector) func([]float32) float64 {
	q := refAverage(pos, -1)
	if len(neg) > 0 {
		for j, x := range refAverage(neg, -1) {
			q[j] = 2*q[j] - x
		}
	}
	n := 0.0
	for _, x := range q {
		n += x * x
	}
	return func(x []float32) float64 { return refDot(q, x) / math.Sqrt(n) }
}

func refMax(pos, neg []Vector) func([]float32) float64 {
	heaviest := 0.0
	for _, v := range append(slices.Clone(pos), neg...) {
		heaviest = max(heaviest, v.weight())
	}
	best := func(vs []Vector, x []float32) float64 {
		b := math.Inf(-1)
		for _, v := range vs {
			b = max(b, v.weight()/heaviest*refDot(refUnit(v.Values), x))
		}
		return b
	}
	return func(x []float32) float64 {
		p, n := best(pos, x), best(neg, x)
		if n > p {
			return -n * n
		}
		return p
	}
}

func refSum(pos, neg []Vector) func([]float32) float64 {
	return func(x []float32) float64 {
		s := 0.0
		for _, v := range pos {
			s += v.weight() * refDot(refUnit(v.Values), x)
		}
		for _, v := range neg {
			s -= v.weight() * refDot(refUnit(v.Values), x)
		}
		return s
	}
}

// refClassifier minimises the classifier's loss by gradient descent, in the
// space that the inverse square root of the ridged covariance spans. Ridge
// regression in any rotation of that space is the same, so Cholesky serves.
func refClassifier(pos, neg []Vector, mean []float64, cov [][]float64, lambda float64, background []refRow) func([]float32) float64 {
	d := len(mean)
	chol := refCholesky(refRidge(cov, lambda))
	whiten := func(x []float64) []float64 { // L⁻¹(x − μ)
		z := refMinus(x, mean)
		for i := range z {
			for k := range i {
				z[i] -= chol[i][k] * z[k]
			}
			z[i] /= chol[i][i]
		}
		return z
	}
	type sample struct {
		z       []float64
		y, mass float64
	}
	var data []sample
	add := func(vs []Vector, y, mass float64) {
		total := 0.0
		for _, v := range vs {
			total += v.weight()
		}
		for _, v := range vs {
			data = append(data, sample{whiten(refUnit(v.Values)), y, mass * v.weight() / total})
		}
	}
	var ground []Vector
	for _, r := range background {
		if !slices.ContainsFunc(append(slices.Clone(pos), neg...), func(v Vector) bool { return v.ID == r.id }) {
			ground = append(ground, Vector{Values: r.v})
		}
	}
	add(pos, 1, 0.5)
	if len(neg) > 0 {
		add(neg, -1, 0.25)
		add(ground, -1, 0.25)
	} else {
		add(ground, -1, 0.5)
	}
	w, bias := make([]float64, d), 0.0
	largest := 0.0
	for _, s := range data {
		n := 1.0
		for _, x := range s.z {
			n += x * x
		}
		largest += s.mass * n / 4
	}
	rate := 1 / (largest + classifierL2)
	vw, vb := make([]float64, d), 0.0 // Nesterov's momentum
	for step := range 20000 {
		g, gb := make([]float64, d), 0.0
		m := float64(step) / float64(step+3)
		aw, ab := make([]float64, d), bias+m*vb
		for j := range aw {
			aw[j] = w[j] + m*vw[j]
			g[j] = classifierL2 * aw[j]
		}
		for _, s := range data {
			f := ab
			for j, x := range s.z {
				f += aw[j] * x
			}
			p := -s.mass * s.y / (1 + math.Exp(s.y*f))
			gb += p
			for j, x := range s.z {
				g[j] += p * x
			}
		}
		size := gb * gb
		for j := range w {
			size += g[j] * g[j]
			next := aw[j] - rate*g[j]
			vw[j], w[j] = next-w[j], next
		}
		next := ab - rate*gb
		vb, bias = next-bias, next
		if size < 1e-22 {
			break
		}
	}
	return func(x []float32) float64 {
		f := bias
		for j, z := range whiten(refUnit(x)) {
			f += w[j] * z
		}
		return 1 / (1 + math.Exp(-f))
	}
}

func refCholesky(a [][]float64) [][]float64 {
	l := make([][]float64, len(a))
	for i := range a {
		l[i] = make([]float64, len(a))
		for j := 0; j <= i; j++ {
			s := a[i][j]
			for k := range j {
				s -= l[i][k] * l[j][k]
			}
			if i == j {
				l[i][j] = math.Sqrt(s)
			} else {
				l[i][j] = s / l[j][j]
			}
		}
	}
	return l
}
