package function

import (
	"errors"
	"math"
)

// classifierL2 is the weight of ½|w|² beside the weighted mean loss. On pictures
// (classes of 1 to 30 %, 3 to 20 anchors) average precision hardly moves from 1
// to 0.1 and falls below 0.01; the smaller weight spreads the outputs wider.
const classifierL2 = 0.1

// fitClassifier fits a logistic regression in the whitened space, where every
// direction of the corpus counts alike up to the ridge. Positives make half of
// the loss; the other half is split evenly between negatives and a seeded
// background of the corpus.
func (s *Scorer) fitClassifier(pos, neg *anchors, st *Statistics) error {
	b, err := st.eigenbasis()
	if err != nil {
		return err
	}
	away := b.mean
	if len(neg.rows) > 0 {
		away = neg.average(-1)
	}
	s.Lambda = lambdas[largest(weighLambdas(pos, away, st, b))]
	background := withoutAnchors(st.SampleIDs, pos.ids, neg.ids)
	if len(background)+len(neg.rows) == 0 {
		return errors.New("a classifier needs negatives, or rows besides its anchors; use combine: mean")
	}
	d := st.Dim
	whiten := make([]float64, d)
	for j, e := range b.values {
		whiten[j] = 1 / math.Sqrt(e+b.ridge(s.Lambda))
	}
	l := &logistic{dim: d, l2: classifierL2}
	for i, r := range pos.rows {
		l.add(b.into(difference(r, b.mean)), whiten, 1, 0.5*pos.weights[i]/sum(pos.weights))
	}
	half := 0.5
	if len(neg.rows) > 0 && len(background) > 0 {
		half = 0.25
	}
	for i, r := range neg.rows {
		l.add(b.into(difference(r, b.mean)), whiten, -1, half*neg.weights[i]/sum(neg.weights))
	}
	row := make([]float64, d)
	for _, i := range background {
		for j, x := range b.sample[i*d : (i+1)*d] {
			row[j] = float64(x)
		}
		l.add(row, whiten, -1, half/float64(len(background)))
	}
	w, bias, err := l.fit()
	if err != nil {
		return err
	}
	for j := range w {
		w[j] *= whiten[j]
	}
	s.setRow(b.outOf(w), bias, b.mean)
	return nil
}

func sum(xs []float64) float64 {
	t := 0.0
	for _, x := range xs {
		t += x
	}
	return t
}

// logistic minimises Σ mass_i·log(1+exp(−y_i·(w·z_i + b))) + l2/2·|w|². The
// bias b is not penalised; it is the last number of the parameters.
type logistic struct {
	dim  int
	l2   float64
	z    []float32 // n × dim
	y    []float64 // 1 or −1
	mass []float64
}

func (l *logistic) add(row, whiten []float64, y, mass float64) {
	for j, x := range row {
		l.z = append(l.z, float32(x*whiten[j]))
	}
	l.y = append(l.y, y)
	l.mass = append(l.mass, mass)
}

// fit minimises by Newton's method; each step is solved by conjugate gradients,
// so no Dim × Dim matrix is needed. The loss is strictly convex, so the result
// does not depend on the way.
func (l *logistic) fit() (w []float64, bias float64, err error) {
	n, p := len(l.y), l.dim+1
	x := make([]float64, p)
	margin := make([]float64, n) // y·(w·z + b)
	gradient, step := make([]float64, p), make([]float64, p)
	curve, along := make([]float64, n), make([]float64, n)
	loss := l.loss(x, margin)
	first := 0.0
	for range 100 {
		l.derivatives(x, margin, gradient, curve)
		size := math.Sqrt(dot64(gradient, gradient))
		if first == 0 {
			first = size
		}
		if size <= 1e-9*first || size == 0 {
			return x[:l.dim], x[l.dim], nil
		}
		l.newtonStep(gradient, curve, step, along, min(0.1, size/first))
		// Halve the step until the loss falls enough (Armijo).
		slope := dot64(gradient, step)
		if -slope <= 1e-15*loss { // what is left to gain is less than the loss' rounding
			return x[:l.dim], x[l.dim], nil
		}
		l.product(step, along)
		before, t := loss, 1.0
		for try := 0; ; try++ {
			loss = l.lossAt(x, step, margin, along, t)
			if loss <= before+1e-4*t*slope+1e-15*before {
				break
			}
			if try == 40 {
				return nil, 0, errors.New("the classifier's fit does not converge")
			}
			t /= 2
		}
		axpy(t, step, x)
		for i := range margin {
			margin[i] += t * l.y[i] * along[i]
		}
	}
	return nil, 0, errors.New("the classifier's fit does not converge")
}

// product sets out_i = w·z_i + b.
func (l *logistic) product(x, out []float64) {
	w := x[:l.dim]
	parallel((len(out)+255)/256, func(c int) {
		for i := c * 256; i < min((c+1)*256, len(out)); i++ {
			out[i] = dotMixed(w, l.z[i*l.dim:]) + x[l.dim]
		}
	})
}

func dotMixed(w []float64, z []float32) float64 {
	z = z[:len(w)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(w); i += 4 {
		s0 += w[i] * float64(z[i])
		s1 += w[i+1] * float64(z[i+1])
		s2 += w[i+2] * float64(z[i+2])
		s3 += w[i+3] * float64(z[i+3])
	}
	for ; i < len(w); i++ {
		s0 += w[i] * float64(z[i])
	}
	return s0 + s1 + s2 + s3
}

// gather sets out = Σ a_i·(z_i, 1) + l2·(w, 0).
func (l *logistic) gather(a, x, out []float64) {
	for j := range out[:l.dim] {
		out[j] = l.l2 * x[j]
	}
	out[l.dim] = sum(a)
	for i, v := range a {
		o := out[:l.dim]
		for j, z := range l.z[i*l.dim : (i+1)*l.dim] {
			o[j] += v * float64(z)
		}
	}
}

func (l *logistic) loss(x, margin []float64) float64 {
	l.product(x, margin)
	for i, y := range l.y {
		margin[i] *= y
	}
	return l.lossAt(x, x, margin, margin, 0)
}

// lossAt is the loss t steps along; along_i is the step's product with row i.
func (l *logistic) lossAt(x, step, margin, along []float64, t float64) float64 {
	s := 0.0
	for j, w := range x[:l.dim] {
		v := w + t*step[j]
		s += v * v
	}
	s *= l.l2 / 2
	for i, m := range margin {
		s += l.mass[i] * softplus(-m-t*l.y[i]*along[i])
	}
	return s
}

// softplus is log(1+exp(v)), without overflow.
func softplus(v float64) float64 {
	if v > 0 {
		return v + math.Log1p(math.Exp(-v))
	}
	return math.Log1p(math.Exp(v))
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// derivatives sets the gradient and the loss' curvature in every row's product.
func (l *logistic) derivatives(x, margin, gradient, curve []float64) {
	pull := make([]float64, len(margin))
	for i, m := range margin {
		p := sigmoid(-m)
		pull[i] = -l.mass[i] * l.y[i] * p
		curve[i] = l.mass[i] * p * (1 - p)
	}
	l.gather(pull, x, gradient)
}

// newtonStep solves (Hessian)·step = −gradient to the given relative residual.
func (l *logistic) newtonStep(gradient, curve, step, along []float64, tolerance float64) {
	p := len(gradient)
	r, d, hd := make([]float64, p), make([]float64, p), make([]float64, p)
	for j, g := range gradient {
		step[j] = 0
		r[j] = -g
		d[j] = -g
	}
	rr := dot64(r, r)
	target := rr * tolerance * tolerance
	for k := 0; k < 2*p && rr > target; k++ {
		l.product(d, along)
		for i := range along {
			along[i] *= curve[i]
		}
		l.gather(along, d, hd)
		dhd := dot64(d, hd)
		if !(dhd > 0) { // rounding: the direction is flat
			break
		}
		a := rr / dhd
		axpy(a, d, step)
		axpy(-a, hd, r)
		next := dot64(r, r)
		for j := range d {
			d[j] = r[j] + next/rr*d[j]
		}
		rr = next
	}
}
