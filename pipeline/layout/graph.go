package layout

import (
	"context"
	"slices"
)

// Graph is an undirected weighted graph of n rows: the union of the fuzzy sets of
// all rows' neighbours.
type Graph struct {
	start  []int     // n+1: row i's edges are start[i] to start[i+1]
	to     []int32   // rising within a row
	weight []float32 // in (0, 1], the same both ways
}

// Len is the number of rows.
func (g *Graph) Len() int { return len(g.start) - 1 }

// edges of row i.
func (g *Graph) edges(i int) ([]int32, []float32) {
	lo, hi := g.start[i], g.start[i+1]
	return g.to[lo:hi], g.weight[lo:hi]
}

// Union is the fuzzy union of the rows' neighbourhoods: where i names j with
// strength a and j names i with b, both have an edge of a + b − ab. Of each row
// the nearest neighbors − 1 others count; 0: all. It takes 8 bytes an edge, some
// 1.5·K edges a row, and while it works 8·K more.
func Union(ctx context.Context, g *Neighbors, neighbors int) (*Graph, error) {
	n := g.Len()
	if err := g.check(n); err != nil {
		return nil, err
	}
	k := others(g, neighbors)
	out := &half{k: k, to: make([]int32, n*k), weight: make([]float32, n*k), size: make([]int32, n)}
	mean := g.meanDistance()
	err := each(ctx, n, 256, func(lo, hi int) {
		var l list
		for i := lo; i < hi; i++ {
			l.read(g, i, i, k, nil)
			l.strengths(mean, true)
			out.put(i, &l)
		}
	})
	if err != nil {
		return nil, err
	}
	return out.union(ctx)
}

// others is how many of a list count.
func others(g *Neighbors, neighbors int) int {
	if neighbors < 2 {
		return g.K
	}
	return min(g.K, neighbors-1)
}

// half is a directed graph of at most k edges a row, by rising target.
type half struct {
	k      int
	to     []int32
	weight []float32
	size   []int32
}

func (h *half) put(i int, l *list) {
	base := i * h.k
	for p, j := range l.rows {
		at := base + p
		for ; at > base && h.to[at-1] > j; at-- {
			h.to[at], h.weight[at] = h.to[at-1], h.weight[at-1]
		}
		h.to[at], h.weight[at] = j, float32(l.far[p])
	}
	h.size[i] = int32(len(l.rows))
}

func (h *half) row(i int) ([]int32, []float32) {
	lo := i * h.k
	hi := lo + int(h.size[i])
	return h.to[lo:hi], h.weight[lo:hi]
}

// union adds the edges to their reverses.
func (h *half) union(ctx context.Context) (*Graph, error) {
	n := len(h.size)
	back := h.reverse()
	g := &Graph{start: make([]int, n+1)}
	err := each(ctx, n, 1024, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a, _ := h.row(i)
			g.start[i+1] = merge(a, nil, back.to[back.start[i]:back.start[i+1]], nil, nil, nil)
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range n {
		g.start[i+1] += g.start[i]
	}
	g.to, g.weight = make([]int32, g.start[n]), make([]float32, g.start[n])
	return g, each(ctx, n, 1024, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			a, aw := h.row(i)
			b, bw := back.edges(i)
			to, w := g.edges(i)
			merge(a, aw, b, bw, to, w)
		}
	})
}

// reverse turns all edges round. Sources rise within a row, for they are gone
// through in order.
func (h *half) reverse() *Graph {
	n := len(h.size)
	g := &Graph{start: make([]int, n+1)}
	for i := range n {
		to, _ := h.row(i)
		for _, j := range to {
			g.start[j+1]++
		}
	}
	for i := range n {
		g.start[i+1] += g.start[i]
	}
	g.to, g.weight = make([]int32, g.start[n]), make([]float32, g.start[n])
	at := slices.Clone(g.start[:n])
	for i := range n {
		to, w := h.row(i)
		for p, j := range to {
			g.to[at[j]], g.weight[at[j]] = int32(i), w[p]
			at[j]++
		}
	}
	return g
}

// merge writes the union of two sorted lists of edges to (to, w), unless w is
// nil, and returns its size.
func merge(a []int32, aw []float32, b []int32, bw []float32, to []int32, w []float32) int {
	n, p, q := 0, 0, 0
	for p < len(a) || q < len(b) {
		left := q == len(b) || p < len(a) && a[p] <= b[q]
		right := p == len(a) || q < len(b) && b[q] <= a[p]
		if w != nil {
			var x, y float32
			if left {
				to[n], x = a[p], aw[p]
			}
			if right {
				to[n], y = b[q], bw[q]
			}
			w[n] = x + y - x*y
		}
		if left {
			p++
		}
		if right {
			q++
		}
		n++
	}
	return n
}

// components numbers the connected parts of a graph by their first rows, and
// returns each row's and how many there are.
func (g *Graph) components() ([]int32, int) {
	part := slices.Repeat([]int32{-1}, g.Len())
	var stack []int32
	count := 0
	for i := range part {
		if part[i] >= 0 {
			continue
		}
		part[i] = int32(count)
		stack = append(stack, int32(i))
		for len(stack) > 0 {
			i := int(stack[len(stack)-1])
			stack = stack[:len(stack)-1]
			to, _ := g.edges(i)
			for _, j := range to {
				if part[j] < 0 {
					part[j] = int32(count)
					stack = append(stack, j)
				}
			}
		}
		count++
	}
	return part, count
}
