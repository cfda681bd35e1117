package layout

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// forces move points: an edge that is due pulls, and pushes from a few points
// drawn at random follow.
type forces struct {
	pull, push *table
	negatives  int
	seed       uint64
	drawn      uint32 // pushes come from points 0 to drawn−1
}

func newForces(o *Options, drawn int, pulls float64) *forces {
	c := fitCurve(o.MinDist, o.Spread)
	return &forces{
		pull:      newTable(func(s float64) float64 { return pulls * c.attraction(s) }),
		push:      newTable(c.repulsion),
		negatives: o.Negatives,
		seed:      o.Seed,
		drawn:     uint32(drawn),
	}
}

// clip is the longest step along an axis before alpha.
const clip = 4

func clipped(x float32) float32 {
	if x > clip {
		return clip
	}
	if x < -clip {
		return -clip
	}
	return x
}

// chance turns strengths into shares of 2³² of the strongest: an edge of share p
// is due so that it has been ⌊p·epochs/2³²⌋ times after so many epochs.
func chance(w, strongest float32) uint32 {
	return uint32(min(float64(w)/float64(strongest)*(1<<32), math.MaxUint32))
}

// due needs no state: the sum of shares has just passed a multiple of 2³².
func due(share, epoch uint32) bool { return (epoch+1)*share < share }

// move gives the point at (x, y), number own, its forces of one epoch and returns
// where it is then. pos are all points' places, of which only its own changes.
func (f *forces) move(x, y float32, own int32, key uint64, pos [][2]float32, to []int32, share []uint32, epoch uint32, alpha float32) (float32, float32) {
	state := mix(f.seed ^ mix(key<<20^uint64(epoch)))
	share = share[:len(to)]
	for e, j := range to {
		if !due(share[e], epoch) {
			continue
		}
		p := pos[j]
		dx, dy := x-p[0], y-p[1]
		g := f.pull.at(dx*dx + dy*dy + floor)
		x += clipped(g*dx) * alpha
		y += clipped(g*dy) * alpha
		for range f.negatives {
			state = state*6364136223846793005 + 1442695040888963407
			r := int32((state >> 32) * uint64(f.drawn) >> 32)
			if r == own {
				continue
			}
			p := pos[r]
			dx, dy := x-p[0], y-p[1]
			g := f.push.at(dx*dx + dy*dy + floor)
			x += clipped(g*dx) * alpha
			y += clipped(g*dy) * alpha
		}
	}
	return x, y
}

// rounds is how many parts an epoch has. The points of a part move at once, from
// places that the others hold after their own moves, so that the order within a
// part, and with it the number of threads, makes no difference; and they are so
// few that it differs little from moving one after the other.
const rounds = 16

// motion is a whole layout under way. Points are numbered by parts: first those
// of part 0, which are rows 0, 16, 32, …
type motion struct {
	*forces
	n     int
	pos   [][2]float32
	start []int
	to    []int32
	share []uint32
	next  [][2]float32 // of the part that moves
}

// newMotion numbers the edges of g anew. Edges too weak to be due are left out.
func newMotion(g *Graph, pos [][2]float32, epochs int, f *forces) *motion {
	n := g.Len()
	m := &motion{forces: f, n: n, pos: make([][2]float32, n), start: make([]int, n+1), next: make([][2]float32, (n+rounds-1)/rounds)}
	var strongest float32
	for _, w := range g.weight {
		strongest = max(strongest, w)
	}
	least := strongest / float32(epochs)
	count := 0
	for _, w := range g.weight {
		if w >= least {
			count++
		}
	}
	m.to, m.share = make([]int32, 0, count), make([]uint32, 0, count)
	for u := range n {
		i := m.row(u)
		m.pos[u] = pos[i]
		to, w := g.edges(i)
		for e, j := range to {
			if w[e] >= least {
				m.to, m.share = append(m.to, int32(m.label(int(j)))), append(m.share, chance(w[e], strongest))
			}
		}
		m.start[u+1] = len(m.to)
	}
	return m
}

// part is where part p begins.
func (m *motion) part(p int) int { return p*(m.n/rounds) + min(p, m.n%rounds) }

func (m *motion) label(row int) int { return m.part(row%rounds) + row/rounds }

func (m *motion) row(label int) int {
	long := (m.n/rounds + 1) * (m.n % rounds) // points in parts of one more
	if label < long {
		size := m.n/rounds + 1
		return label%size*rounds + label/size
	}
	size := m.n / rounds
	return (label-long)%size*rounds + m.n%rounds + (label-long)/size
}

const (
	together = 32 // points that a thread takes at once
	worth    = 64 // points of a part for which a thread is woken
)

// run moves all points for all epochs.
func (m *motion) run(ctx context.Context, epochs int, done func()) error {
	team := newTeam(min(runtime.GOMAXPROCS(0), max(1, len(m.next)/worth)))
	defer team.stop()
	for epoch := range epochs {
		if err := ctx.Err(); err != nil {
			return err
		}
		alpha := 1 - float32(epoch)/float32(epochs)
		for p := range rounds {
			from, to := m.part(p), m.part(p+1)
			team.do(to-from, together, func(lo, hi int) {
				for u := from + lo; u < from+hi; u++ {
					a, b := m.start[u], m.start[u+1]
					x, y := m.move(m.pos[u][0], m.pos[u][1], int32(u), uint64(u), m.pos, m.to[a:b], m.share[a:b], uint32(epoch), alpha)
					m.next[u-from] = [2]float32{x, y}
				}
			})
			copy(m.pos[from:to], m.next)
		}
		done()
	}
	return nil
}

// team is a few threads that wait for ever the next short piece of work.
type team struct {
	next   atomic.Int64
	n      int
	chunk  int
	fn     func(lo, hi int)
	wake   []chan struct{}
	waited sync.WaitGroup
}

func newTeam(size int) *team {
	t := &team{wake: make([]chan struct{}, size-1)}
	for i := range t.wake {
		t.wake[i] = make(chan struct{}, 1)
		go func() {
			for range t.wake[i] {
				t.work()
				t.waited.Done()
			}
		}()
	}
	return t
}

func (t *team) stop() {
	for _, w := range t.wake {
		close(w)
	}
}

func (t *team) do(n, chunk int, fn func(lo, hi int)) {
	t.n, t.chunk, t.fn = n, chunk, fn
	t.next.Store(0)
	t.waited.Add(len(t.wake))
	for _, w := range t.wake {
		w <- struct{}{}
	}
	t.work()
	t.waited.Wait()
}

func (t *team) work() {
	for {
		hi := int(t.next.Add(int64(t.chunk)))
		lo := hi - t.chunk
		if lo >= t.n {
			return
		}
		t.fn(lo, min(hi, t.n))
	}
}
