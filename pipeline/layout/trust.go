package layout

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"winnow/pipeline/vec"
)

const (
	exactTrust  = 20_000 // rows up to which all count
	sampledRows = 2_000  // that count beyond
)

// Trustworthiness says how far neighbours on a map can be trusted to be neighbours
// by their vectors (Venna & Kaski 2001): 1 − Σ(rank − k)·2/(n·k·(2n − 3k − 1)) over
// the k nearest points of each, where rank is a point's place by cosine distance
// and only ranks above k count. 1 is the best. points are n×2, vectors n rows of
// dim numbers of length 1, k < n/2. Up to 20,000 rows it is exact; beyond it is
// the mean over 2,000 rows drawn by the seed, each still ranked among all, and
// the returned standard error says how far that may be off. It reads the vectors
// twice, front to back, and takes 4·dim bytes for each of 2,000·(k + 1) rows.
func Trustworthiness(ctx context.Context, points []float32, dim, k int, seed uint64, read Source) (value, standardError float64, err error) {
	return trustOf(ctx, points, dim, k, exactTrust, sampledRows, seed, read)
}

// trustOf is Trustworthiness with a sample of so many rows above exact.
func trustOf(ctx context.Context, points []float32, dim, k, exact, sampled int, seed uint64, read Source) (value, standardError float64, err error) {
	n := len(points) / 2
	if k < 1 || 2*k >= n {
		return 0, 0, fmt.Errorf("trustworthiness: %d neighbours of %d rows: there must be more than twice as many rows", k, n)
	}
	for i, x := range points {
		if x-x != 0 {
			return 0, 0, fmt.Errorf("trustworthiness: row %d lies at %v", i/2, x)
		}
	}
	t := &trust{n: n, dim: dim, k: k, rows: everyRow(n)}
	if n > exact {
		t.rows = sample(n, sampled, seed)
	}
	near, err := nearPoints(ctx, points, t.rows, k)
	if err != nil {
		return 0, 0, err
	}
	t.near = near
	var sum, squares float64
	// A part of the rows at a time, so that memory stays bounded when all count.
	for lo := 0; lo < len(t.rows); lo += sampledRows {
		losses, err := t.part(ctx, lo, min(lo+sampledRows, len(t.rows)), read)
		if err != nil {
			return 0, 0, err
		}
		for _, x := range losses {
			sum += x
			squares += x * x
		}
	}
	m := float64(len(t.rows))
	scale := 2 / (float64(k) * float64(2*n-3*k-1))
	if len(t.rows) < n {
		variance := max(0, squares/m-sum/m*sum/m)
		standardError = scale * math.Sqrt(variance/(m-1)*(1-m/float64(n)))
	}
	return 1 - scale*sum/m, standardError, nil
}

func everyRow(n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// sample draws count of n rows, rising.
func sample(n, count int, seed uint64) []int32 {
	rows := everyRow(n)
	for i := range count {
		r := mix(seed ^ mix(uint64(i)+1<<42))
		j := i + int(unit(r)*float64(n-i))
		rows[i], rows[j] = rows[j], rows[i]
	}
	rows = rows[:count]
	slices.Sort(rows)
	return rows
}

type trust struct {
	n, dim, k int
	rows      []int32
	near      []int32 // k points that are nearest on the map, for each of rows
}

// part returns the sum of ranks above k for each of rows lo to hi.
func (t *trust) part(ctx context.Context, lo, hi int, read Source) ([]float64, error) {
	own, near, err := t.gather(ctx, lo, hi, read)
	if err != nil {
		return nil, err
	}
	m, k, dim := hi-lo, t.k, t.dim
	cosine := make([]float32, m*k) // of each row and its near points, by the product that ranks them, too
	rank := make([]int32, m*k)     // 1 and so many rows that are nearer
	for i := range m {
		vec.MulABT(1, k, dim, own[i*dim:], near[i*k*dim:], cosine[i*k:])
	}
	for from := 0; from < t.n; from += block {
		rows, err := readRows(ctx, read, from, min(from+block, t.n), dim)
		if err != nil {
			return nil, err
		}
		b := len(rows) / dim
		err = each(ctx, m, 128, func(a, z int) {
			all := make([]float32, (z-a)*b)
			vec.MulABT(z-a, b, dim, own[a*dim:z*dim], rows, all)
			for i := a; i < z; i++ {
				t.count(lo+i, from, all[(i-a)*b:(i-a+1)*b], cosine[i*k:(i+1)*k], rank[i*k:(i+1)*k])
			}
		})
		if err != nil {
			return nil, err
		}
	}
	losses := make([]float64, m)
	for i := range losses {
		for _, r := range rank[i*k : (i+1)*k] {
			losses[i] += float64(max(0, int(r)+1-k))
		}
	}
	return losses, nil
}

// slack is how far two products of the same vectors may differ by rounding.
const slack = 2e-6

// count adds the rows of one block that are nearer to the at-th row than its near
// points are; all are the block's cosines. Of rows as far away as a near point
// the one of the lower number comes first.
func (t *trust) count(at, from int, all, cosine []float32, rank []int32) {
	own := int(t.rows[at]) - from
	least := slices.Min(cosine) - slack
	for r, x := range all {
		if x < least || r == own {
			continue
		}
		for p, c := range cosine {
			j := int(t.near[at*t.k+p]) - from
			if r != j && (x > c+slack || x >= c-slack && r < j) {
				rank[p]++
			}
		}
	}
}

// gather reads the vectors of rows lo to hi and of their near points.
func (t *trust) gather(ctx context.Context, lo, hi int, read Source) (own, near []float32, err error) {
	type want struct {
		row int32
		to  []float32
	}
	m, dim := hi-lo, t.dim
	own, near = make([]float32, m*dim), make([]float32, m*t.k*dim)
	wants := make([]want, 0, m*(t.k+1))
	for i := range m {
		wants = append(wants, want{t.rows[lo+i], own[i*dim : (i+1)*dim]})
		for p := range t.k {
			q := i*t.k + p
			wants = append(wants, want{t.near[lo*t.k+q], near[q*dim : (q+1)*dim]})
		}
	}
	slices.SortStableFunc(wants, func(a, b want) int { return cmp.Compare(a.row, b.row) })
	for from := 0; from < t.n && len(wants) > 0; from += block {
		to := min(from+block, t.n)
		if int(wants[0].row) >= to {
			continue
		}
		rows, err := readRows(ctx, read, from, to, dim)
		if err != nil {
			return nil, nil, err
		}
		for len(wants) > 0 && int(wants[0].row) < to {
			r := int(wants[0].row) - from
			copy(wants[0].to, rows[r*dim:(r+1)*dim])
			wants = wants[1:]
		}
	}
	return own, near, nil
}
