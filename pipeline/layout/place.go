package layout

import (
	"context"
	"fmt"
	"math"
)

// Place finds places for m new rows on the map of n old ones, n×2, which stay
// where they are. g are the new rows' neighbours; of the numbers in its lists 0 to
// n−1 are old rows, and n to n+m−1 the new ones in their order. A row begins at
// the mean of its neighbours' places, weighted by their strength, and then has a
// few epochs of its own while all else is still. A row with three old neighbours
// or more depends on the old rows alone, whatever else is new; the others wait
// until their neighbours are placed. It returns the new rows' places, and how many
// of them no chain of neighbours ties to the map: those lie around it.
func Place(ctx context.Context, old []float32, g *Neighbors, options Options) ([]float32, int, error) {
	n, m := len(old)/2, g.Len()
	options.Start = nil
	o, err := options.withDefaults(n)
	if err != nil {
		return nil, 0, err
	}
	if len(old)%2 != 0 || n == 0 {
		return nil, 0, fmt.Errorf("place rows: %d coordinates are no map", len(old))
	}
	if err := g.check(n + m); err != nil {
		return nil, 0, err
	}
	p := &placing{g: g, own: n, o: o, pos: make([][2]float32, n, n+m), at: make([]int32, n+m), forces: newForces(o, n)}
	for i := range n {
		p.pos[i], p.at[i] = [2]float32{old[2*i], old[2*i+1]}, int32(i)
	}
	waiting := make([]int32, m)
	for i := range waiting {
		waiting[i], p.at[n+i] = int32(n+i), -1
	}
	apart, err := p.run(ctx, waiting)
	if err != nil {
		return nil, 0, err
	}
	out := make([]float32, 0, 2*m)
	for _, at := range p.at[n:] {
		out = append(out, p.pos[at][0], p.pos[at][1])
	}
	return out, apart, nil
}

const (
	enough      = 3 // placed neighbours for which a row waits, as long as there are rows that have them
	placeEpochs = 5 // the layout has so many times the epochs of a placement
	placeAlpha  = 0.25
)

// placing is a map that grows. Row r stands at pos[at[r]]; the rows from own on
// have lists in g.
type placing struct {
	*forces
	g   *Neighbors
	own int
	o   *Options
	pos [][2]float32
	at  []int32 // −1: not placed yet
}

// run places all waiting rows, in waves: each wave sees what is placed before it.
func (p *placing) run(ctx context.Context, waiting []int32) (apart int, err error) {
	counter := p.o.Progress.Start("place", "rows", int64(len(waiting)))
	defer counter.Done()
	want := enough
	known := make([]int32, len(waiting))
	for len(waiting) > 0 {
		err := each(ctx, len(waiting), 4096, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				known[i] = p.known(int(waiting[i]))
			}
		})
		if err != nil {
			return 0, err
		}
		var wave, later []int32
		for i, r := range waiting {
			if int(known[i]) >= want {
				wave = append(wave, r)
			} else {
				later = append(later, r)
			}
		}
		if len(wave) == 0 && want == 1 {
			p.around(waiting)
			return len(waiting), nil
		}
		if len(wave) < len(waiting)/16+1 {
			want = max(1, want-1)
		}
		if err := p.wave(ctx, wave); err != nil {
			return 0, err
		}
		waiting = later
		counter.Add(int64(len(wave)))
	}
	return 0, nil
}

// known counts the places of row r's list that are taken by placed rows.
func (p *placing) known(r int) int32 {
	var count int32
	i := r - p.own
	for _, j := range p.g.Rows[i*p.g.K : (i+1)*p.g.K] {
		if j >= 0 && p.at[j] >= 0 && int(j) != r {
			count++
		}
	}
	return count
}

func (p *placing) wave(ctx context.Context, rows []int32) error {
	base := len(p.pos)
	p.pos = append(p.pos, make([][2]float32, len(rows))...)
	err := each(ctx, len(rows), 64, func(lo, hi int) {
		var l list
		var share []uint32
		for i := lo; i < hi; i++ {
			key := p.neighbors(&l, int(rows[i]))
			share = share[:0]
			for _, w := range l.far {
				share = append(share, chance(float32(w), float32(l.far[0])))
			}
			p.pos[base+i] = p.settle(&l, share, key)
		}
	})
	for i, r := range rows {
		p.at[r] = int32(base + i)
	}
	return err
}

// neighbors reads row r's placed neighbours and their strengths, and returns a
// number that is the list's own.
func (p *placing) neighbors(l *list, r int) uint64 {
	l.read(p.g, r-p.own, r, others(p.g, p.o.Neighbors), p.at)
	var key uint64
	for k, j := range l.rows {
		key = mix(key ^ uint64(j)<<32 ^ uint64(math.Float32bits(float32(l.far[k]))))
		l.rows[k] = p.at[j]
	}
	l.strengths(0, false)
	return key
}

// settle is where a row comes to rest. Its neighbours are sorted by strength.
func (p *placing) settle(l *list, share []uint32, key uint64) [2]float32 {
	var x, y, sum float64
	for k, at := range l.rows {
		w := l.far[k]
		x += w * float64(p.pos[at][0])
		y += w * float64(p.pos[at][1])
		sum += w
	}
	place := [2]float32{float32(x / sum), float32(y / sum)}
	if l.far[0] == 1 { // the same vector: begin at its place
		place = p.pos[l.rows[0]]
	}
	epochs := max(1, p.o.Epochs/placeEpochs)
	m := mover{forces: p.forces, state: mix(p.seed ^ key), seen: p.pos}
	for e := range epochs {
		m.alpha = placeAlpha * (1 - float32(e)/float32(epochs))
		for k, at := range l.rows {
			if due(share[k], uint32(e)) {
				dx, dy := m.pulled(place, p.pos[at])
				place[0] += dx
				place[1] += dy
				place = m.pushed(place, -1)
			}
		}
	}
	return place
}

// around puts rows that nothing ties to the map on a circle around it.
func (p *placing) around(rows []int32) {
	var x, y, far float64
	for _, q := range p.pos {
		x += float64(q[0]) / float64(len(p.pos))
		y += float64(q[1]) / float64(len(p.pos))
	}
	for _, q := range p.pos {
		far = max(far, math.Hypot(float64(q[0])-x, float64(q[1])-y))
	}
	far = 1.05*far + 1
	for _, r := range rows {
		h := mix(p.seed ^ mix(uint64(r)))
		angle := 2 * math.Pi * unit(h)
		out := far * (1 + 0.1*unit(mix(h)))
		p.at[r] = int32(len(p.pos))
		p.pos = append(p.pos, [2]float32{float32(x + out*math.Cos(angle)), float32(y + out*math.Sin(angle))})
	}
}
