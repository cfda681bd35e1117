package layout

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"winnow/pipeline"
)

// Options of a layout; the zero value of each stands for its default. Names and
// defaults are umap-learn's.
type Options struct {
	Neighbors int     // n_neighbors: how many of a row's neighbours count, itself included; 0: all that the graph has
	MinDist   float64 // min_dist: how close points may lie together, in units of Spread; default 0.1, negative: 0
	Spread    float64 // spread: the scale of the map; default 1
	Epochs    int     // n_epochs: default 500 for up to 10,000 rows, 200 above
	Negatives int     // negative_sample_rate: points pushed away for each that is pulled; default 5
	Seed      uint64
	Landmarks int // most rows that are laid out; the rest is placed by its neighbours; default 200,000

	// Start is where the layout begins, n×2, instead of at the spectral embedding; of
	// a graph in several parts only their centres are used then. nil: nothing is given.
	Start []float32

	Progress pipeline.Progress // nil: quiet
}

func (o Options) withDefaults(n int) (*Options, error) {
	o.Spread = cmp.Or(o.Spread, 1)
	o.MinDist = max(0, cmp.Or(o.MinDist, 0.1))
	o.Negatives = cmp.Or(o.Negatives, 5)
	o.Landmarks = cmp.Or(o.Landmarks, 200_000)
	if o.Epochs == 0 {
		o.Epochs = 500
		if min(n, o.Landmarks) > 10_000 {
			o.Epochs = 200
		}
	}
	if o.Progress == nil {
		o.Progress = pipeline.Quiet
	}
	switch {
	case !(o.Spread > 0) || !(o.MinDist <= o.Spread):
		return nil, fmt.Errorf("layout: min_dist %v must not exceed spread %v, which must be above 0", o.MinDist, o.Spread)
	case o.Epochs < 1 || o.Negatives < 0 || o.Landmarks < 2 || o.Neighbors < 0 || o.Neighbors == 1:
		return nil, fmt.Errorf("layout: epochs %d, negatives %d, landmarks %d or neighbours %d are out of range", o.Epochs, o.Negatives, o.Landmarks, o.Neighbors)
	case o.Start != nil && len(o.Start) != 2*n:
		return nil, fmt.Errorf("layout: %d coordinates to start from are not 2 for each of %d rows", len(o.Start), n)
	}
	return &o, nil
}

// full lays out all rows of a graph.
func full(ctx context.Context, g *Graph, o *Options) ([][2]float32, error) {
	pos, err := begin(ctx, g, o)
	if err != nil {
		return nil, err
	}
	counter := o.Progress.Start("layout", "epochs", int64(o.Epochs))
	defer counter.Done()
	m := newMotion(g, pos, o.Epochs, newForces(o, g.Len()))
	if err := m.run(ctx, o.Epochs, func() { counter.Add(1) }); err != nil {
		return nil, err
	}
	for u := range m.pos {
		pos[m.row(u)] = m.pos[u]
	}
	return pos, nil
}

const (
	extent = 10   // of the map at the beginning
	jitter = 1e-4 // of the first positions, so that no two points share one
	tiny   = 6    // rows of a part of the graph that is too small for a spectral embedding
)

// begin is where the points are before the first epoch: the spectral embedding
// of every connected part of the graph, side by side, in [0, 10]².
func begin(ctx context.Context, g *Graph, o *Options) ([][2]float32, error) {
	n := g.Len()
	pos := make([][2]float32, n)
	part, parts := g.components()
	switch {
	case parts == 1 && o.Start != nil:
		for i := range pos {
			pos[i] = [2]float32{o.Start[2*i], o.Start[2*i+1]}
		}
	case parts == 1 && n > tiny:
		p, err := spectral(ctx, g, o.Seed)
		if err != nil {
			return nil, err
		}
		pos = p
	default:
		if err := beginParts(ctx, g, o, part, parts, pos); err != nil {
			return nil, err
		}
	}
	spreadOut(pos, o.Seed)
	return pos, nil
}

// spreadOut scales each axis to [0, 10] and shakes all points a little.
func spreadOut(pos [][2]float32, seed uint64) {
	for axis := range 2 {
		lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
		for i := range pos {
			lo, hi = min(lo, pos[i][axis]), max(hi, pos[i][axis])
		}
		scale := float32(0)
		if hi > lo {
			scale = extent / (hi - lo)
		}
		for i := range pos {
			r := unit(mix(seed ^ mix(uint64(2*i+axis)+1<<40)))
			pos[i][axis] = (pos[i][axis]-lo)*scale + float32(jitter*(2*r-1))
		}
	}
}

// beginParts gives each connected part a disc whose area is its share of the
// rows, and its spectral embedding there: around the mean of its starts where
// they are given, else along a spiral, largest first.
func beginParts(ctx context.Context, g *Graph, o *Options, part []int32, parts int, pos [][2]float32) error {
	rows := make([][]int32, parts)
	for i, p := range part {
		rows[p] = append(rows[p], int32(i))
	}
	slices.SortStableFunc(rows, func(a, b []int32) int { return cmp.Compare(len(b), len(a)) })
	local := make([]int32, g.Len())
	unitOfStart := startUnit(o.Start)
	before := 0.0
	for _, members := range rows {
		share := float64(len(members)) / float64(g.Len())
		radius := math.Sqrt(share) / 2
		// A spiral by area: what lies before fills the disc inside.
		angle, far := 2.399963*float64(len(rows[0]))*before, math.Sqrt(before+share/2)*1.5
		if before == 0 {
			far = 0
		}
		cx, cy := far*math.Cos(angle), far*math.Sin(angle)
		if o.Start != nil {
			cx, cy = centre(o.Start, members)
			cx, cy = cx*unitOfStart, cy*unitOfStart
		}
		before += share
		inner, err := within(ctx, g, members, local, o.Seed)
		if err != nil {
			return err
		}
		for k, i := range members {
			pos[i] = [2]float32{float32(cx + radius*float64(inner[k][0])), float32(cy + radius*float64(inner[k][1]))}
		}
	}
	return nil
}

// startUnit scales starts so that they spread as far as discs do.
func startUnit(start []float32) float64 {
	most := 0.0
	for _, x := range start {
		most = max(most, math.Abs(float64(x)))
	}
	if most == 0 {
		return 0
	}
	return 1 / most
}

func centre(start []float32, rows []int32) (x, y float64) {
	for _, i := range rows {
		x += float64(start[2*i])
		y += float64(start[2*i+1])
	}
	return x / float64(len(rows)), y / float64(len(rows))
}

// within embeds one part of the graph in [−1, 1]². local is room for row numbers
// within the part.
func within(ctx context.Context, g *Graph, members, local []int32, seed uint64) ([][2]float32, error) {
	if len(members) <= tiny {
		pos := make([][2]float32, len(members))
		for k := range pos {
			angle := 2 * math.Pi * float64(k) / float64(len(members))
			pos[k] = [2]float32{float32(math.Cos(angle)), float32(math.Sin(angle))}
		}
		return pos, nil
	}
	for k, i := range members {
		local[i] = int32(k)
	}
	sub := &Graph{start: make([]int, 1, len(members)+1)}
	for _, i := range members {
		to, w := g.edges(int(i))
		for e, j := range to {
			sub.to, sub.weight = append(sub.to, local[j]), append(sub.weight, w[e])
		}
		sub.start = append(sub.start, len(sub.to))
	}
	return spectral(ctx, sub, seed)
}

// Map is where rows lie.
type Map struct {
	Points    []float32 // n×2
	Landmarks []int32   // the rows that were laid out, rising, where not all were; the others were placed
	Apart     int       // rows that no chain of neighbours ties to the map: they lie around it
}

// UMAP lays out all rows of a graph of neighbours (McInnes, Healy & Melville
// 2018): the fuzzy union of their neighbourhoods, a spectral start, and stochastic
// gradient descent with negative samples, in a fixed order in which the number of
// threads does not matter. The same graph, options and kind of processor give
// the same bytes. Above Options.Landmarks rows as many of them are laid out, and
// the others placed.
func UMAP(ctx context.Context, g *Neighbors, options Options) (*Map, error) {
	n := g.Len()
	o, err := options.withDefaults(n)
	if err != nil {
		return nil, err
	}
	if err := g.check(n); err != nil {
		return nil, err
	}
	if n > o.Landmarks {
		return throughLandmarks(ctx, g, o)
	}
	pos, err := layOut(ctx, g, o)
	if err != nil {
		return nil, err
	}
	return &Map{Points: flat(pos)}, nil
}

func layOut(ctx context.Context, g *Neighbors, o *Options) ([][2]float32, error) {
	if g.Len() < 2 {
		return make([][2]float32, g.Len()), nil
	}
	u, err := Union(ctx, g, o.Neighbors)
	if err != nil {
		return nil, err
	}
	return full(ctx, u, o)
}

func flat(pos [][2]float32) []float32 {
	out := make([]float32, 0, 2*len(pos))
	for _, p := range pos {
		out = append(out, p[0], p[1])
	}
	return out
}
