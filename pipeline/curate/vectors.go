package curate

import (
	"context"
	"fmt"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline/vec"
)

// Vectors are rows of one embedding, of any length but zero. A row of zeros,
// or with a number that is none, is at distance 1 of everything.
type Vectors struct {
	Name string    // of the embedding
	Dim  int       // numbers a row
	Data []float32 // rows × Dim
	// Compact is Data in half the memory, and instead of it; AppendCompact fills
	// it. Every row is scaled so that its largest number is ±32767, and rounded:
	// a cosine moves by some 1e-5, by √Dim/32767 at most. Products
	// of such rows are whole numbers and exact.
	Compact []int16
	// Rows gives the row of every candidate, -1 for one without a vector. Nil
	// means that candidate i has row i.
	Rows []int
}

// Len is the number of rows.
func (v *Vectors) Len() int { return (len(v.Data) + len(v.Compact)) / v.Dim }

// AppendCompact adds a row of Dim numbers to Compact.
func (v *Vectors) AppendCompact(row []float32) {
	top := 0.0
	for _, x := range row[:v.Dim] {
		top = max(top, math.Abs(float64(x))) // NaN stays
	}
	if !(top > 0 && top <= math.MaxFloat32) {
		v.Compact = append(v.Compact, make([]int16, v.Dim)...)
		return
	}
	for _, x := range row {
		v.Compact = append(v.Compact, int16(math.RoundToEven(float64(x)/top*32767)))
	}
}

func (v *Vectors) check(candidates int) error {
	switch {
	case v == nil:
		return fmt.Errorf("no vectors are given")
	case len(v.Data) > 0 && len(v.Compact) > 0:
		return fmt.Errorf("embedding %s: vectors are given both as they are and compact", v.Name)
	case v.Dim <= 0 || (len(v.Data)+len(v.Compact))%v.Dim != 0:
		return fmt.Errorf("embedding %s: %d numbers are no rows of %d", v.Name, len(v.Data)+len(v.Compact), v.Dim)
	}
	return v.checkRows(candidates)
}

func (v *Vectors) checkRows(candidates int) error {
	if v.Rows == nil && v.Len() != candidates || v.Rows != nil && len(v.Rows) != candidates {
		return fmt.Errorf("embedding %s: rows for %d candidates, want %d", v.Name, max(len(v.Rows), v.Len()), candidates)
	}
	for i, r := range v.Rows {
		if r < -1 || r >= v.Len() {
			return fmt.Errorf("embedding %s: candidate %d has row %d of %d", v.Name, i, r, v.Len())
		}
	}
	return nil
}

// comparable says what is wrong with other rows, if any, beside v.
func (v *Vectors) comparable(other *Vectors, what string) error {
	switch {
	case other == nil:
		return nil
	case other.Dim != v.Dim || (len(other.Data)+len(other.Compact))%other.Dim != 0:
		return fmt.Errorf("%s have %d dimensions, the candidates' have %d", what, other.Dim, v.Dim)
	case len(other.Data) > 0 && len(other.Compact) > 0:
		return fmt.Errorf("%s are given both as they are and compact", what)
	}
	return nil
}

// row is the row number of a candidate, -1 without one.
func (v *Vectors) row(candidate int) int {
	if v.Rows == nil {
		return candidate
	}
	return v.Rows[candidate]
}

// at is a row of Data.
func (v *Vectors) at(row int) []float32 { return v.Data[row*v.Dim : (row+1)*v.Dim] }

// whole is a row of Compact.
func (v *Vectors) whole(row int) []int16 { return v.Compact[row*v.Dim : (row+1)*v.Dim] }

// floats is a row as floating-point numbers, which hold either exactly.
func (v *Vectors) floats(row int) []float32 {
	if v.Compact == nil {
		return v.at(row)
	}
	out := make([]float32, v.Dim)
	for i, x := range v.whole(row) {
		out[i] = float32(x)
	}
	return out
}

// product of row i with row j of w, exact or in a fixed order.
func (v *Vectors) product(i int, w *Vectors, j int) float64 {
	switch {
	case v.Compact == nil && w.Compact == nil:
		return dot(v.at(i), w.at(j))
	case v.Compact != nil && w.Compact != nil:
		return dotWhole(v.whole(i), w.whole(j))
	}
	return dot(v.floats(i), w.floats(j))
}

// dot is the product in double precision. The conversions keep the compiler
// from fusing a product with a sum, so every CPU gives the same bits.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(float64(a[i]) * float64(b[i]))
		s1 += float64(float64(a[i+1]) * float64(b[i+1]))
		s2 += float64(float64(a[i+2]) * float64(b[i+2]))
		s3 += float64(float64(a[i+3]) * float64(b[i+3]))
	}
	for ; i < len(a); i++ {
		s0 += float64(float64(a[i]) * float64(b[i]))
	}
	return (s0 + s1) + (s2 + s3)
}

// dotWhole is the product of whole numbers: exact up to 2^23 dimensions.
func dotWhole(a, b []int16) float64 {
	b = b[:len(a)]
	var s0, s1 int64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += int64(int32(a[i]) * int32(b[i]))
		s1 += int64(int32(a[i+1]) * int32(b[i+1]))
	}
	if i < len(a) {
		s0 += int64(int32(a[i]) * int32(b[i]))
	}
	return float64(s0 + s1)
}

// list is a growing choice of rows.
type list struct {
	v     *Vectors
	then  *Vectors  // what rows are from after change; nil before
	from  int       // the first row of then
	at    []int32   // row numbers
	norms []float64 // squared lengths; 0 for a row that has no direction
	// units are the rows scaled to length 1, for BLAS, where they are kept;
	// elsewhere they are made when they are needed.
	units []float32
	keep  bool
}

func (l *list) len() int { return len(l.at) }

// row is row i: the vectors that it is from, and its number there.
func (l *list) row(i int) (*Vectors, int) {
	if l.then != nil && i >= l.from {
		return l.then, int(l.at[i])
	}
	return l.v, int(l.at[i])
}

// change makes the rows added from now on those of other vectors.
func (l *list) change(to *Vectors) { l.then, l.from = to, l.len() }

func (l *list) add(row int) {
	n2 := l.v.product(row, l.v, row)
	if !(n2 > 0) || math.IsInf(n2, 0) {
		n2 = 0
	}
	l.addKnown(row, n2)
}

// addKnown adds a row whose squared length is known.
func (l *list) addKnown(row int, n2 float64) {
	l.at = append(l.at, int32(row))
	l.norms = append(l.norms, n2)
	if l.keep {
		n := len(l.units)
		l.units = append(l.units, make([]float32, l.v.Dim)...)
		l.unit(l.len()-1, l.units[n:])
	}
}

// copyRow adds row i of another list of the same vectors.
func (l *list) copyRow(from *list, i int) { l.addKnown(int(from.at[i]), from.norms[i]) }

// unit writes row i, scaled to length 1, or zeros.
func (l *list) unit(i int, out []float32) {
	if l.norms[i] == 0 {
		clear(out)
		return
	}
	inv := 1 / math.Sqrt(l.norms[i])
	v, row := l.row(i)
	if v.Compact == nil {
		for j, x := range v.at(row) {
			out[j] = float32(float64(x) * inv)
		}
		return
	}
	inv32 := float32(inv)
	for j, x := range v.whole(row) {
		out[j] = float32(x) * inv32
	}
}

// block is rows [lo, lo+n) scaled to length 1, in room where they are not kept.
func (l *list) block(lo, n int, room *[]float32) []float32 {
	d := l.v.Dim
	if l.keep {
		return l.units[lo*d : (lo+n)*d]
	}
	*room = grow(*room, n*d)
	out := *room
	for i := range n {
		l.unit(lo+i, out[i*d:(i+1)*d])
	}
	return out
}

// distance is the cosine distance of two rows, in [0, 2]; exactly 0 for equal
// rows. A row without a direction is at distance 1 of everything.
func distance(a *list, i int, b *list, j int) float64 {
	n := math.Sqrt(a.norms[i] * b.norms[j])
	if !(n > 0) {
		return 1
	}
	v, row := a.row(i)
	w, to := b.row(j)
	return min(max(1-v.product(row, w, to)/n, 0), 2)
}

// slack bounds by how much a cosine of single precision may be off.
func slack(dim int) float64 { return 2e-5 + 1.2e-7*float64(dim) }

const (
	tileRows = 256  // rows of one side of a product
	tileSet  = 1024 // and of the other
)

// scratch is memory that one goroutine of cosines works in. It is used again
// and again: a selection measures some ten thousand times.
type scratch struct {
	cosines, rows, set []float32
	near               [][]hit // by row of the tile, for closest
}

// hit is a row of a set that may matter to another row.
type hit struct {
	cosine float32
	at     int32
}

var scratches = sync.Pool{New: func() any { return &scratch{} }}

// tile is the cosines of rows [lo, lo+n) with rows [setLo, setLo+setN) of set,
// in single precision and row-major.
type tile struct {
	lo, n, setLo, setN int
	last               bool // for these rows
	cosines            []float32
	room               *scratch
}

// of is the cosines of one row.
func (t *tile) of(row int) []float32 {
	return t.cosines[(row-t.lo)*t.setN : (row-t.lo+1)*t.setN]
}

// cosines calls fn with tiles of rows and set[from:to], each once, from several
// goroutines. A tile of rows is handled by one goroutine, its tiles of set in
// order.
func cosines(ctx context.Context, rows, set *list, from, to int, fn func(*tile)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers())
	step := min(tileRows, max((rows.len()+workers()-1)/workers(), 16))
	for lo := 0; lo < rows.len(); lo += step {
		g.Go(func() error {
			room := scratches.Get().(*scratch)
			defer scratches.Put(room)
			n := min(step, rows.len()-lo)
			room.cosines = grow(room.cosines, n*min(tileSet, to-from))
			a := rows.block(lo, n, &room.rows)
			for setLo := from; setLo < to; setLo += tileSet {
				if err := ctx.Err(); err != nil {
					return err
				}
				t := &tile{lo: lo, n: n, setLo: setLo, setN: min(tileSet, to-setLo), room: room}
				t.last = setLo+t.setN == to
				t.cosines = room.cosines[:n*t.setN]
				vec.MulABT(n, t.setN, rows.v.Dim, a, set.block(setLo, t.setN, &room.set), t.cosines)
				fn(t)
			}
			return nil
		})
	}
	return g.Wait()
}

// grow is s with n elements, of any content.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		s = make([]T, n)
	}
	return s[:n]
}

// closest lowers best[i] to the distance of row i to the closest row of
// set[from:to], and sets which[i] to that row, where it is closer than best[i].
// Of rows at the same distance the first counts.
func closest(ctx context.Context, rows, set *list, from, to int, best []float64, which []int32) error {
	if from >= to {
		return ctx.Err()
	}
	room := slack(rows.v.Dim)
	return cosines(ctx, rows, set, from, to, func(t *tile) {
		if t.setLo == from {
			t.room.near = grow(t.room.near, t.n)
		}
		for i := t.lo; i < t.lo+t.n; i++ {
			near := t.room.near[i-t.lo]
			if t.setLo == from {
				near = near[:0]
			}
			// Below the least cosine a row is not the closest, or not closer than best.
			least := 1 - best[i] - 2*room
			for _, m := range near {
				least = max(least, float64(m.cosine)-2*room)
			}
			bar := float32(least)
			for j, x := range t.of(i) {
				if x >= bar {
					near = append(near, hit{x, int32(t.setLo + j)})
					bar = max(bar, x-float32(2*room))
				}
			}
			t.room.near[i-t.lo] = near
			if !t.last {
				continue
			}
			for _, m := range near {
				if m.cosine < bar {
					continue
				}
				if d := distance(rows, i, set, int(m.at)); d < best[i] {
					best[i], which[i] = d, m.at
				}
			}
		}
	})
}

// all lists all rows of v.
func (v *Vectors) all() *list {
	l := &list{v: v}
	for i := range v.Len() {
		l.add(i)
	}
	return l
}

// Nearest finds the row of set closest to each row of rows: its number and
// cosine distance, in [0, 2]. Of rows at the same distance the first counts.
// An empty set gives -1 and 2.
func Nearest(ctx context.Context, rows, set *Vectors) (which []int, distances []float64, err error) {
	if rows.Dim != set.Dim {
		return nil, nil, fmt.Errorf("rows of %d and %d dimensions cannot be compared", rows.Dim, set.Dim)
	}
	n := rows.Len()
	which, distances = make([]int, n), make([]float64, n)
	at := make([]int32, n)
	for i := range n {
		at[i], distances[i] = -1, math.Nextafter(2, 3)
	}
	err = closest(ctx, rows.all(), set.all(), 0, set.Len(), distances, at)
	for i := range distances {
		distances[i], which[i] = min(distances[i], 2), int(at[i])
	}
	return which, distances, err
}
