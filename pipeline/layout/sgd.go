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

func newForces(o *Options, drawn int) *forces {
	c := fitCurve(o.MinDist, o.Spread)
	return &forces{pull: newTable(c.attraction), push: newTable(c.repulsion), negatives: o.Negatives, seed: o.Seed, drawn: uint32(drawn)}
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

// mover applies forces in one fixed order, with random numbers of its own.
type mover struct {
	*forces
	state uint64
	alpha float32
	seen  [][2]float32 // where points were when pushes were last brought up to date
}

// pulled is how far the edge between two points moves the first of them.
func (m *mover) pulled(p, q [2]float32) (float32, float32) {
	dx, dy := p[0]-q[0], p[1]-q[1]
	g := m.pull.at(dx*dx + dy*dy + floor)
	return clipped(g*dx) * m.alpha, clipped(g*dy) * m.alpha
}

// pushed is where point own, at p, is after pushes from points drawn at random.
func (m *mover) pushed(p [2]float32, own int32) [2]float32 {
	x, y, state := p[0], p[1], m.state
	for range m.negatives {
		state = state*6364136223846793005 + 1442695040888963407
		r := int32((state >> 32) * uint64(m.drawn) >> 32)
		if r == own {
			continue
		}
		q := m.seen[r]
		dx, dy := x-q[0], y-q[1]
		g := m.push.at(dx*dx + dy*dy + floor)
		x += clipped(g*dx) * m.alpha
		y += clipped(g*dy) * m.alpha
	}
	m.state = state
	return [2]float32{x, y}
}

const (
	parts = 16                  // of the points
	meets = parts - 1           // rounds in which each part meets every other one
	pairs = parts / 2           // of parts that meet in a round
	heaps = meets*pairs + parts // of edges: one for each pair, one for each part by itself
)

// motion is a whole layout under way. An edge moves both its ends, so threads must
// not take edges that share one: the points are in 16 parts, and an epoch has 15
// rounds in which every part meets one other (a tournament by the circle method),
// and one in which each is by itself. The eight pairs of a round have no point in
// common, and pushes come from where points were before the round. So the outcome
// does not depend on the number of threads, and differs little from that of one
// edge after the other.
//
// Points are numbered by parts: first those of part 0, which are rows 0, 16, 32, …
type motion struct {
	*forces
	n     int
	pos   [][2]float32
	seen  [][2]float32
	start [heaps + 1]int // of each heap of edges
	edges []link
}

// link is an edge, once.
type link struct {
	a, b  int32
	share uint32
}

// opponents are the parts that meet as pair k of a round.
func opponents(round, k int) (int, int) {
	if k == 0 {
		return meets, round
	}
	return (round + k) % meets, (round - k + meets) % meets
}

// newMotion sorts the edges of g into heaps. Edges too weak to be due are left out.
func newMotion(g *Graph, pos [][2]float32, epochs int, f *forces) *motion {
	n := g.Len()
	m := &motion{forces: f, n: n, pos: make([][2]float32, n), seen: make([][2]float32, n)}
	var heap [parts][parts]int
	for r := range meets {
		for k := range pairs {
			p, q := opponents(r, k)
			heap[p][q], heap[q][p] = r*pairs+k, r*pairs+k
		}
	}
	for p := range parts {
		heap[p][p] = meets*pairs + p
	}
	var strongest float32
	for _, w := range g.weight {
		strongest = max(strongest, w)
	}
	least := strongest / float32(epochs)
	all := func(take func(h, i, j int, w float32)) {
		for u := range n {
			i := m.row(u)
			to, w := g.edges(i)
			for e, j := range to {
				if w[e] >= least && i < int(j) {
					take(heap[i%parts][j%parts], u, m.label(int(j)), w[e])
				}
			}
		}
	}
	all(func(h, _, _ int, _ float32) { m.start[h+1]++ })
	for h := range heaps {
		m.start[h+1] += m.start[h]
	}
	m.edges = make([]link, m.start[heaps])
	at := m.start
	all(func(h, u, v int, w float32) {
		m.edges[at[h]] = link{int32(u), int32(v), chance(w, strongest)}
		at[h]++
	})
	for u := range n {
		m.pos[u] = pos[m.row(u)]
	}
	return m
}

// part is where part p begins.
func (m *motion) part(p int) int { return p*(m.n/parts) + min(p, m.n%parts) }

func (m *motion) label(row int) int { return m.part(row%parts) + row/parts }

func (m *motion) row(label int) int {
	short, longer := m.n/parts, m.n%parts
	if long := (short + 1) * longer; label >= long {
		return (label-long)%short*parts + longer + (label-long)/short
	}
	return label%(short+1)*parts + label/(short+1)
}

// worth is how many points a thread is woken for.
const worth = 512

// run moves all points for all epochs.
func (m *motion) run(ctx context.Context, epochs int, done func()) error {
	team := newTeam(max(1, min(runtime.GOMAXPROCS(0), pairs, m.n/worth)))
	defer team.stop()
	for epoch := range epochs {
		if err := ctx.Err(); err != nil {
			return err
		}
		for h := 0; h < heaps; {
			count := pairs
			if h == meets*pairs {
				count = parts
			}
			copy(m.seen, m.pos)
			team.do(count, func(k int) { m.pass(h+k, epoch, epochs) })
			h += count
		}
		done()
	}
	return nil
}

// pass goes once through a heap: each edge that is due pulls both ends, once for
// each of them.
func (m *motion) pass(heap, epoch, epochs int) {
	v := mover{
		forces: m.forces,
		state:  mix(m.seed ^ mix(uint64(epoch*heaps+heap))),
		alpha:  1 - float32(epoch)/float32(epochs),
		seen:   m.seen,
	}
	for _, l := range m.edges[m.start[heap]:m.start[heap+1]] {
		if !due(l.share, uint32(epoch)) {
			continue
		}
		a, b := m.pos[l.a], m.pos[l.b]
		dx, dy := v.pulled(a, b)
		a, b = [2]float32{a[0] + dx, a[1] + dy}, [2]float32{b[0] - dx, b[1] - dy}
		a = v.pushed(a, l.a)
		dx, dy = v.pulled(a, b)
		a, b = [2]float32{a[0] + dx, a[1] + dy}, [2]float32{b[0] - dx, b[1] - dy}
		m.pos[l.a], m.pos[l.b] = a, v.pushed(b, l.b)
	}
}

// team is a few threads that wait for ever the next short piece of work.
type team struct {
	next   atomic.Int64
	n      int
	fn     func(k int)
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

// do calls fn for 0 to n−1 and returns when all calls have.
func (t *team) do(n int, fn func(k int)) {
	t.n, t.fn = n, fn
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
		k := int(t.next.Add(1)) - 1
		if k >= t.n {
			return
		}
		t.fn(k)
	}
}
