package layout

import (
	"cmp"
	"context"
	"slices"
)

// throughLandmarks lays out a sample of the rows and places the others.
func throughLandmarks(ctx context.Context, g *Neighbors, o *Options) (*Map, error) {
	n := g.Len()
	marks := landmarks(g, o.Landmarks, o.Seed)
	sub, err := among(ctx, g, marks)
	if err != nil {
		return nil, err
	}
	inner := *o
	if o.Start != nil {
		inner.Start = make([]float32, 0, 2*len(marks))
		for _, i := range marks {
			inner.Start = append(inner.Start, o.Start[2*i], o.Start[2*i+1])
		}
	}
	pos, err := layOut(ctx, sub, &inner)
	if err != nil {
		return nil, err
	}
	p := &placing{g: g, o: o, pos: make([][2]float32, 0, n), at: slices.Repeat([]int32{-1}, n), forces: newForces(o, len(marks))}
	p.pos = append(p.pos, pos...)
	for k, i := range marks {
		p.at[i] = int32(k)
	}
	waiting := make([]int32, 0, n-len(marks))
	for i, at := range p.at {
		if at < 0 {
			waiting = append(waiting, int32(i))
		}
	}
	apart, err := p.run(ctx, waiting)
	if err != nil {
		return nil, err
	}
	out := make([]float32, 0, 2*n)
	for _, at := range p.at {
		out = append(out, p.pos[at][0], p.pos[at][1])
	}
	return &Map{Points: out, Landmarks: marks, Apart: apart}, nil
}

// landmarks chooses count rows, rising, evenly over all neighbourhoods: in a
// random order rows become landmarks that are in no landmark's list, then those
// that are in one, and so on. So every dense or thin part of the data, and every
// connected one, has landmarks in proportion to its rows.
func landmarks(g *Neighbors, count int, seed uint64) []int32 {
	n := g.Len()
	order, keys := make([]int32, n), make([]uint64, n)
	for i := range order {
		order[i], keys[i] = int32(i), mix(seed^mix(uint64(i)+1<<41))
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(cmp.Compare(keys[a], keys[b]), cmp.Compare(a, b)) })
	covered := make([]int32, n) // by how many landmarks; −1: is one
	var marks []int32
	for level := int32(0); len(marks) < count; level++ {
		for _, i := range order {
			if len(marks) == count {
				break
			}
			if covered[i] < 0 || covered[i] > level {
				continue
			}
			covered[i] = -1
			marks = append(marks, i)
			for _, j := range g.Rows[int(i)*g.K : (int(i)+1)*g.K] {
				if j >= 0 && covered[j] >= 0 {
					covered[j]++
				}
			}
		}
	}
	slices.Sort(marks)
	return marks
}

// reach is how many rows a search for a landmark's nearest landmarks goes through
// at most.
const reach = 2048

// among are the nearest landmarks of each landmark, by the length of the shortest
// way through lists of neighbours. Vectors of many numbers leave a row in
// directions that have little in common, so squared lengths add up, and with them
// cosine distances, which are half of them.
func among(ctx context.Context, g *Neighbors, marks []int32) (*Neighbors, error) {
	number := slices.Repeat([]int32{-1}, g.Len())
	for k, i := range marks {
		number[i] = int32(k)
	}
	out := &Neighbors{K: g.K, Rows: slices.Repeat([]int32{-1}, len(marks)*g.K), Distances: make([]float32, len(marks)*g.K)}
	return out, each(ctx, len(marks), 256, func(lo, hi int) {
		w := ways{g: g, far: map[int32]float32{}}
		for k := lo; k < hi; k++ {
			w.nearest(marks[k], number, out.Rows[k*g.K:(k+1)*g.K], out.Distances[k*g.K:(k+1)*g.K])
		}
	})
}

// ways are the shortest ways from one row (Dijkstra 1959).
type ways struct {
	g    *Neighbors
	far  map[int32]float32 // the shortest way seen so far
	heap []step
}

type step struct {
	far float32
	row int32
}

func (a step) before(b step) bool { return a.far < b.far || a.far == b.far && a.row < b.row }

func (w *ways) nearest(from int32, number, rows []int32, distances []float32) {
	clear(w.far)
	w.heap = w.heap[:0]
	w.far[from] = 0
	w.push(step{0, from})
	found := 0
	for gone := 0; len(w.heap) > 0 && gone < reach && found < len(rows); {
		s := w.pop()
		if s.far > w.far[s.row] {
			continue // a shorter way was found since
		}
		gone++
		if k := number[s.row]; k >= 0 && s.row != from {
			rows[found], distances[found] = k, min(s.far, 2)
			found++
		}
		base := int(s.row) * w.g.K
		for p, j := range w.g.Rows[base : base+w.g.K] {
			if j < 0 {
				continue
			}
			far := s.far + max(0, w.g.Distances[base+p])
			if known, ok := w.far[j]; !ok || far < known {
				w.far[j] = far
				w.push(step{far, j})
			}
		}
	}
}

func (w *ways) push(s step) {
	w.heap = append(w.heap, s)
	i := len(w.heap) - 1
	for i > 0 && s.before(w.heap[(i-1)/2]) {
		w.heap[i] = w.heap[(i-1)/2]
		i = (i - 1) / 2
	}
	w.heap[i] = s
}

func (w *ways) pop() step {
	top, last := w.heap[0], w.heap[len(w.heap)-1]
	w.heap = w.heap[:len(w.heap)-1]
	if len(w.heap) == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= len(w.heap) {
			break
		}
		if c+1 < len(w.heap) && w.heap[c+1].before(w.heap[c]) {
			c++
		}
		if !w.heap[c].before(last) {
			break
		}
		w.heap[i] = w.heap[c]
		i = c
	}
	w.heap[i] = last
	return top
}
