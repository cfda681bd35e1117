package layout

import (
	"fmt"
	"math"
)

// Neighbors are the nearest rows of each of n rows, as the stage of neighbour
// graphs finds them.
type Neighbors struct {
	K         int       // places a row has, at least 1
	Rows      []int32   // n×K row numbers, nearest first; -1 for none. A row's own number is passed over.
	Distances []float32 // n×K cosine distances, 1 − cosine, in [0, 2]
}

// Len is the number of rows.
func (g *Neighbors) Len() int { return len(g.Rows) / max(g.K, 1) }

// check says what is wrong with a graph whose lists name rows below known.
func (g *Neighbors) check(known int) error {
	if g.K < 1 || len(g.Rows)%g.K != 0 || len(g.Distances) != len(g.Rows) {
		return fmt.Errorf("neighbours: %d row numbers and %d distances are not %d a row", len(g.Rows), len(g.Distances), g.K)
	}
	if known > math.MaxInt32 {
		return fmt.Errorf("neighbours: %d rows are more than %d", known, math.MaxInt32)
	}
	for p, j := range g.Rows {
		if j < -1 || int(j) >= known {
			return fmt.Errorf("neighbours: row %d names row %d, of %d", p/g.K, j, known)
		}
		if d := g.Distances[p]; j >= 0 && !(d > -1e-3 && d < 2.001) {
			return fmt.Errorf("neighbours: rows %d and %d are %v apart: a cosine distance lies in [0, 2]", p/g.K, j, d)
		}
	}
	return nil
}

// list is what a row's places hold: others and how far away they are, nearest
// first, no row twice.
type list struct {
	rows []int32
	far  []float64
}

// read fills l with the others of row i of g, at most limit of them; own is its
// number. Where placed is given, rows whose place there is below 0 are passed over.
func (l *list) read(g *Neighbors, i, own, limit int, placed []int32) {
	l.rows, l.far = l.rows[:0], l.far[:0]
next:
	for p := i * g.K; p < (i+1)*g.K && len(l.rows) < limit; p++ {
		j, d := g.Rows[p], max(0, float64(g.Distances[p]))
		if j < 0 || int(j) == own || placed != nil && placed[j] < 0 {
			continue
		}
		for _, other := range l.rows {
			if other == j {
				continue next
			}
		}
		at := len(l.rows)
		l.rows, l.far = append(l.rows, j), append(l.far, d)
		for ; at > 0 && l.far[at-1] > d; at-- { // lists come sorted: this is for rounding
			l.rows[at], l.far[at] = l.rows[at-1], l.far[at-1]
			l.rows[at-1], l.far[at-1] = j, d
		}
	}
}

const (
	steps     = 64   // of the search for a bandwidth
	tolerance = 1e-5 // of the sum that the search is for
	leastBand = 1e-3 // bandwidth, in mean distances
)

// strengths replaces far by the memberships of McInnes et al. 2018, section 3.1:
// exp(−(d − ρ)/σ), 1 up to ρ, where ρ is the least distance above 0 and σ makes
// the sum log₂ of the number of neighbours, the row itself counted. mean is the
// mean distance of the whole graph. Without local ρ is 0, as for rows that come to
// a map later.
func (l *list) strengths(mean float64, local bool) {
	if len(l.far) == 0 {
		return
	}
	var rho, sum float64
	for _, d := range l.far {
		sum += d
		if rho == 0 && local {
			rho = d
		}
	}
	sigma := bandwidth(l.far, rho, math.Log2(float64(len(l.far)+1)))
	if rho > 0 || !local {
		mean = sum / float64(len(l.far)+1)
	}
	sigma = max(sigma, leastBand*mean)
	for p, d := range l.far {
		l.far[p] = 1
		if d > rho && sigma > 0 {
			l.far[p] = math.Exp((rho - d) / sigma)
		}
	}
}

// bandwidth is the σ at which the memberships sum up to target.
func bandwidth(far []float64, rho, target float64) float64 {
	lo, hi, mid := 0.0, math.Inf(1), 1.0
	for range steps {
		var sum float64
		for _, d := range far {
			if d > rho {
				sum += math.Exp((rho - d) / mid)
			} else {
				sum++
			}
		}
		if math.Abs(sum-target) < tolerance {
			break
		}
		if sum > target {
			hi = mid
			mid = (lo + hi) / 2
		} else if lo = mid; math.IsInf(hi, 1) {
			mid *= 2
		} else {
			mid = (lo + hi) / 2
		}
	}
	return mid
}

// meanDistance is the mean over all lists, every row itself counted as 0 away.
func (g *Neighbors) meanDistance() float64 {
	var sum float64
	n := g.Len()
	for p, j := range g.Rows {
		if j >= 0 && int(j) != p/g.K {
			sum += max(0, float64(g.Distances[p]))
			n++
		}
	}
	return sum / float64(max(n, 1))
}
