package curate

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"

	"winnow/pipeline/seeded"
)

const (
	defaultNeighbours = 20
	defaultSample     = 8192
	// leastMean keeps densities finite: copies have a mean distance of 0.
	leastMean = 1e-9
)

// means returns, by position in left, the mean cosine distance to the nearest
// rows of the reference; NaN where the candidate has no vector or is alone.
func (t *Typicality) means(ctx context.Context, cs []Candidate, left []int) ([]float64, error) {
	ref, k := t.Reference, t.K
	if ref == nil {
		ref = t.Vectors
	}
	if k == 0 {
		k = defaultNeighbours
	}
	rows, at := &list{v: t.Vectors}, make([]int, 0, len(left))
	for p, i := range left {
		if r := t.Vectors.row(i); r >= 0 {
			rows.add(r)
			at = append(at, p)
		}
	}
	set := &list{v: ref, keep: true}
	for _, r := range t.sample(cs, ref) {
		set.add(r)
	}
	self := make([]int32, len(at)) // own row in the reference
	for n, p := range at {
		self[n] = int32(ref.row(left[p]))
	}
	found, err := meanOfNearest(ctx, rows, set, self, k)
	if err != nil {
		return nil, err
	}
	out := slices.Repeat([]float64{math.NaN()}, len(left))
	for n, p := range at {
		out[p] = found[n]
	}
	return out, nil
}

// sample draws rows of the reference. A row's place in the draw is that of the
// candidate it belongs to, or else of its own numbers, so that the order of the
// rows does not matter.
func (t *Typicality) sample(cs []Candidate, ref *Vectors) []int {
	n, want := ref.Len(), t.Sample
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if want == 0 {
		want = defaultSample
	}
	if want < 0 || n <= want {
		return all
	}
	owner := make([]string, n)
	owned := make([]bool, n)
	for i, c := range cs {
		if r := ref.row(i); r >= 0 && (!owned[r] || c.ID < owner[r]) {
			owner[r], owned[r] = c.ID, true
		}
	}
	place := make([]uint64, n)
	for r := range place {
		if owned[r] {
			place[r] = seeded.Hash(t.Seed, owner[r])
		} else {
			place[r] = seeded.Hash(t.Seed, content(ref, r))
		}
	}
	slices.SortFunc(all, func(a, b int) int {
		if c := cmp.Compare(place[a], place[b]); c != 0 {
			return c
		}
		return cmp.Compare(owner[a], owner[b])
	})
	return all[:want]
}

// content is a digest of a row's numbers.
func content(v *Vectors, row int) string {
	h := fnv.New128a()
	var b [4]byte
	for _, x := range v.floats(row) {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
		h.Write(b[:])
	}
	return string(h.Sum(nil))
}

// meanOfNearest is the mean distance of each row to the k nearest of set, or
// to all where there are fewer; self[i] is a row number of set's vectors that
// is row i itself, and no neighbour.
func meanOfNearest(ctx context.Context, rows, set *list, self []int32, k int) ([]float64, error) {
	room := slack(rows.v.Dim)
	out := slices.Repeat([]float64{math.NaN()}, rows.len())
	nearest := make([]*shortlist, rows.len())
	err := cosines(ctx, rows, set, 0, set.len(), func(t *tile) {
		for i := t.lo; i < t.lo+t.n; i++ {
			if nearest[i] == nil {
				nearest[i] = &shortlist{k: k, room: room, least: float32(math.Inf(-1))}
			}
			s := nearest[i]
			for j, x := range t.of(i) {
				if x >= s.least && set.at[t.setLo+j] != self[i] {
					s.add(x, int32(t.setLo+j))
				}
			}
			if t.last {
				out[i] = s.mean(rows, i, set)
				nearest[i] = nil
			}
		}
	})
	return out, err
}

// shortlist holds the rows that may be among the k nearest.
type shortlist struct {
	k     int
	room  float64
	least float32 // below it no row can be
	found []hit
}

func (s *shortlist) add(cosine float32, at int32) {
	s.found = append(s.found, hit{cosine, at})
	if len(s.found) >= 4*s.k+64 {
		s.prune()
	}
}

func (s *shortlist) prune() {
	slices.SortFunc(s.found, func(a, b hit) int { return cmp.Compare(b.cosine, a.cosine) })
	if len(s.found) <= s.k {
		return
	}
	s.least = float32(float64(s.found[s.k-1].cosine) - 2*s.room)
	n := s.k
	for n < len(s.found) && s.found[n].cosine >= s.least {
		n++
	}
	s.found = s.found[:n]
}

// mean of the exact distances of row i to the k nearest.
func (s *shortlist) mean(rows *list, i int, set *list) float64 {
	s.prune()
	d := make([]float64, len(s.found))
	for n, f := range s.found {
		d[n] = distance(rows, i, set, int(f.at))
	}
	slices.Sort(d)
	d = d[:min(s.k, len(d))]
	if len(d) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, x := range d {
		sum += x
	}
	return sum / float64(len(d))
}
