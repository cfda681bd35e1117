package layout

import (
	"context"
	"math"
	"slices"
)

// grid sorts points of a map into cells of some two points each on average.
type grid struct {
	points []float32
	x, y   float32 // of the corner
	size   float32 // of a cell
	wide   int     // cells in a line
	high   int
	start  []int32 // of each cell, in rows
	rows   []int32
}

func newGrid(points []float32) *grid {
	n := len(points) / 2
	g := &grid{points: points, x: points[0], y: points[1]}
	right, top := g.x, g.y
	for i := range n {
		g.x, right = min(g.x, points[2*i]), max(right, points[2*i])
		g.y, top = min(g.y, points[2*i+1]), max(top, points[2*i+1])
	}
	g.size = max(float32(math.Sqrt(2*float64(right-g.x)*float64(top-g.y)/float64(n))), max(right-g.x, top-g.y)/float32(n), 1e-6)
	g.wide, g.high = int((right-g.x)/g.size)+1, int((top-g.y)/g.size)+1
	cells := make([]int32, n)
	g.start = make([]int32, g.wide*g.high+1)
	for i := range n {
		cells[i] = int32(g.cell(points[2*i], points[2*i+1]))
		g.start[cells[i]+1]++
	}
	for c := range g.wide * g.high {
		g.start[c+1] += g.start[c]
	}
	at := slices.Clone(g.start)
	g.rows = make([]int32, n)
	for i, c := range cells {
		g.rows[at[c]] = int32(i)
		at[c]++
	}
	return g
}

func (g *grid) column(x float32) int { return min(g.wide-1, int((x-g.x)/g.size)) }
func (g *grid) line(y float32) int   { return min(g.high-1, int((y-g.y)/g.size)) }
func (g *grid) cell(x, y float32) int {
	return g.line(y)*g.wide + g.column(x)
}

// nearest puts the len(out) points nearest to point i, itself left out, into out,
// nearest first, and of points equally near the lower number first.
func (g *grid) nearest(i int, out []int32, far []float64) {
	x, y := g.points[2*i], g.points[2*i+1]
	cx, cy := g.column(x), g.line(y)
	found := 0
	for ring := 0; ring <= max(g.wide, g.high); ring++ {
		// All within (ring − 1) cells have been seen.
		if seen := float64(ring-1) * float64(g.size); found == len(out) && ring > 0 && far[found-1] < seen*seen {
			return
		}
		for ly := max(0, cy-ring); ly <= min(g.high-1, cy+ring); ly++ {
			step := 1
			if ly != cy-ring && ly != cy+ring {
				step = max(1, 2*ring)
			}
			for lx := cx - ring; lx <= cx+ring; lx += step {
				if lx < 0 || lx >= g.wide {
					continue
				}
				c := ly*g.wide + lx
				for _, j := range g.rows[g.start[c]:g.start[c+1]] {
					if int(j) != i {
						found = g.offer(x, y, j, out, far, found)
					}
				}
			}
		}
	}
}

func (g *grid) offer(x, y float32, j int32, out []int32, far []float64, found int) int {
	dx, dy := float64(x)-float64(g.points[2*j]), float64(y)-float64(g.points[2*j+1])
	d := dx*dx + dy*dy
	at := found
	if found == len(out) {
		if at--; d > far[at] || d == far[at] && j > out[at] {
			return found
		}
	} else {
		found++
	}
	for ; at > 0 && (far[at-1] > d || far[at-1] == d && out[at-1] > j); at-- {
		out[at], far[at] = out[at-1], far[at-1]
	}
	out[at], far[at] = j, d
	return found
}

// nearPoints are the k points of a map that are nearest to each of rows.
func nearPoints(ctx context.Context, points []float32, rows []int32, k int) ([]int32, error) {
	g := newGrid(points)
	near := make([]int32, len(rows)*k)
	return near, each(ctx, len(rows), 64, func(lo, hi int) {
		far := make([]float64, k)
		for i := lo; i < hi; i++ {
			g.nearest(int(rows[i]), near[i*k:(i+1)*k], far)
		}
	})
}
