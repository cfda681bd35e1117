package layout

import "math"

// curve is 1/(1 + a·x^(2b)), the strength that a distance x in the map stands for.
type curve struct{ a, b float64 }

const curvePoints = 300

// fitCurve finds the curve that is nearest, in squares at 300 places up to 3
// spreads, to 1 up to minDist and exp(−(x − minDist)/spread) beyond: by
// Levenberg's and Marquardt's method.
func fitCurve(minDist, spread float64) curve {
	c, damping := curve{1, 1}, 1e-3
	loss, normal := c.squares(minDist, spread)
	for range 200 {
		// (JᵀJ + λ·diag) step = Jᵀr
		aa, bb := normal.aa*(1+damping), normal.bb*(1+damping)
		det := aa*bb - normal.ab*normal.ab
		da := (bb*normal.ra - normal.ab*normal.rb) / det
		db := (aa*normal.rb - normal.ab*normal.ra) / det
		try := curve{c.a + da, c.b + db}
		better, next := try.squares(minDist, spread)
		if !(better <= loss) || try.a <= 0 || try.b <= 0 {
			if damping *= 4; damping > 1e12 {
				break
			}
			continue
		}
		c, loss, normal, damping = try, better, next, damping/4
		if math.Abs(da) < 1e-10*c.a && math.Abs(db) < 1e-10*c.b {
			break
		}
	}
	return c
}

// normal equations: JᵀJ and Jᵀr of the residuals.
type normalEquations struct{ aa, ab, bb, ra, rb float64 }

func (c curve) squares(minDist, spread float64) (float64, normalEquations) {
	var loss float64
	var eq normalEquations
	for i := range curvePoints {
		x := 3 * spread * float64(i) / (curvePoints - 1)
		want := 1.0
		if x >= minDist {
			want = math.Exp((minDist - x) / spread)
		}
		power := math.Pow(x, 2*c.b)
		f := 1 / (1 + c.a*power)
		r := want - f
		loss += r * r
		if x == 0 {
			continue
		}
		ja, jb := -f*f*power, -f*f*c.a*power*2*math.Log(x)
		eq.aa += ja * ja
		eq.ab += ja * jb
		eq.bb += jb * jb
		eq.ra += ja * r
		eq.rb += jb * r
	}
	return loss, eq
}

const (
	perOctave = 16
	octaves   = 64
	floor     = 1.0 / (1 << 30) // added to squared distances, so that all lie in the table
	firstBits = (127 - 30) * perOctave
)

// table holds a function of the squared distance as a line in each sixteenth of
// an octave from 2⁻³⁰ on: good to 0.3 %, far below the noise of sampling, and
// several times as fast as powers.
type table [perOctave * octaves][2]float32

func newTable(f func(squared float64) float64) *table {
	t := new(table)
	for i := range t {
		lo, hi := edge(i), edge(i+1)
		slope := (f(hi) - f(lo)) / (hi - lo)
		t[i] = [2]float32{float32(f(lo) - slope*lo), float32(slope)}
	}
	return t
}

func edge(i int) float64 {
	return math.Ldexp(1+float64(i%perOctave)/perOctave, i/perOctave-30)
}

// at needs squared ≥ floor.
func (t *table) at(squared float32) float32 {
	line := &t[(math.Float32bits(squared)>>19-firstBits)%(perOctave*octaves)]
	return line[0] + line[1]*squared
}

// attraction is the factor by which an edge shortens the difference of its ends,
// as a function of their squared distance; negative.
func (c curve) attraction(s float64) float64 {
	return -2 * c.a * c.b * math.Pow(s, c.b-1) / (1 + c.a*math.Pow(s, c.b))
}

// repulsion is that of a pair without an edge.
func (c curve) repulsion(s float64) float64 {
	return 2 * c.b / ((0.001 + s) * (1 + c.a*math.Pow(s, c.b)))
}
