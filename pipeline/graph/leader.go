package graph

import (
	"winnow/pipeline/vec"
)

// Leaders choose the rows of a group that stay: rows come in order of preference,
// and each one stays that is near to none of those that stay already. So every row
// that goes has a near one that stays, which the groups of Union do not promise:
// their chains may join rows that are far from each other. This is leader
// clustering (Hartigan, 1975, chapter 3). Memory is that of the rows that stay;
// time that of rows × rows that stay.
type Leaders struct {
	dim   int
	least float32
	near  func(a, b int) bool // also says that two rows (by their places) are near; may be nil

	kept   []float32
	norms  []float64
	places []int32 // of the kept rows, in the order in which rows came
	n      int32
}

// NewLeaders returns Leaders of rows of dim numbers, which are near from a cosine of
// least on, or where near says so of their places in the order of Add.
func NewLeaders(dim int, least float32, near func(a, b int) bool) *Leaders {
	return &Leaders{dim: dim, least: least, near: near}
}

// Add takes the next rows. of tells for each the place of the first row that stays
// and is near, its own where it stays; cosines are those of the two.
func (l *Leaders) Add(rows []float32) (of []int32, cosines []float32) {
	for at := 0; at < len(rows); at += tileQueries * l.dim {
		o, c := l.tile(rows[at:min(at+tileQueries*l.dim, len(rows))])
		of, cosines = append(of, o...), append(cosines, c...)
	}
	return of, cosines
}

// tile compares some rows with those that stayed before by products of single
// precision, and those that may matter, and each other, in double precision.
func (l *Leaders) tile(rows []float32) (of []int32, cosines []float32) {
	n, before := len(rows)/l.dim, len(l.places)
	of, cosines = make([]int32, n), make([]float32, n)
	var scores []float32
	if before > 16 {
		scores = make([]float32, n*before)
		vec.MulABT(n, before, l.dim, rows, l.kept, scores)
	}
	room := slack(l.dim)
	for i := range n {
		v := rows[i*l.dim : (i+1)*l.dim]
		norm, place := dot(v, v), l.n
		l.n++
		of[i], cosines[i] = place, 1
		for k, other := range l.places {
			also := l.near != nil && l.near(int(place), int(other))
			if !also && k < before && scores != nil && scores[i*before+k] < l.least-room {
				continue
			}
			c := cosine(dot(v, l.kept[k*l.dim:(k+1)*l.dim]), norm, l.norms[k])
			if also || c >= l.least {
				of[i], cosines[i] = other, c
				break
			}
		}
		if of[i] == place {
			l.kept, l.norms, l.places = append(l.kept, v...), append(l.norms, norm), append(l.places, place)
		}
	}
	return of, cosines
}

// slack bounds by how much a cosine of single precision may be off.
func slack(dim int) float32 { return float32(1e-5 + 1.2e-7*float64(dim)) }
