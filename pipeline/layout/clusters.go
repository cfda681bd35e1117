package layout

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"winnow/pipeline"
)

// ClusterOptions of a clustering; the zero value of each stands for its default.
type ClusterOptions struct {
	Resolution float64 // γ of modularity: larger gives more and smaller clusters; default 1
	Least      int     // rows that a cluster has at least; rows of smaller ones belong to none; default 5
	Seed       uint64
	Progress   pipeline.Progress // nil: quiet
}

// Clusters parts the rows of a graph into communities of high modularity
//
//	Q = Σ over communities (edges within/all edges − γ·(degrees/all degrees)²)
//
// by Leiden's algorithm (Traag, Waltman & van Eck 2019), which moves rows, refines
// what it found so that communities are connected, and goes on with those as rows;
// here a refinement takes the best merge instead of a random one. It returns each
// row's cluster, 0 to k−1, largest first, −1 for none, and k. The same graph and
// seed give the same clusters. It takes some 60 bytes a row and 8 an edge at most,
// beside the graph.
func Clusters(ctx context.Context, g *Graph, options ClusterOptions) ([]int32, int, error) {
	o := options
	o.Resolution, o.Least = cmp.Or(o.Resolution, 1), cmp.Or(o.Least, 5)
	if !(o.Resolution > 0) || o.Least < 1 {
		return nil, 0, fmt.Errorf("clusters: resolution %v and least size %d must be above 0", o.Resolution, o.Least)
	}
	if o.Progress == nil {
		o.Progress = pipeline.Quiet
	}
	counter := o.Progress.Start("cluster", "passes", 0)
	defer counter.Done()
	row := everyRow(g.Len())
	for pass := range mostPasses {
		moved, err := improve(ctx, g, row, o.Resolution, mix(o.Seed^mix(uint64(pass))))
		if err != nil {
			return nil, 0, err
		}
		counter.Add(1)
		if moved == 0 {
			break // no row gains by moving
		}
	}
	cluster, k := bySize(row, o.Least)
	return cluster, k, nil
}

// mostPasses through the algorithm, each from what the one before it found. Two or
// three are the rule.
const mostPasses = 20

// improve goes through all levels once, from the communities that rows are in, and
// leaves better ones there. It returns how many rows moved by themselves.
func improve(ctx context.Context, g *Graph, row []int32, resolution float64, seed uint64) (int, error) {
	l := firstLevel(g, row, resolution)
	node := everyRow(g.Len()) // each row's of the level
	first := -1
	for depth := uint64(0); ; depth++ {
		moved, err := l.moveAll(ctx, mix(seed^mix(depth)))
		if err != nil {
			return 0, err
		}
		if first < 0 {
			first = moved
		}
		refined, count := l.refine(mix(seed ^ mix(depth) ^ 1))
		if count == l.len() {
			break // no two nodes belong together any more
		}
		next := l.aggregate(refined, count)
		for i, u := range node {
			node[i] = refined[u]
		}
		l = next
	}
	for i, u := range node {
		row[i] = l.community[u]
	}
	return first, nil
}

// bySize numbers groups anew: largest first, equal ones by their first rows, and
// −1 for those of fewer than least rows.
func bySize(group []int32, least int) ([]int32, int) {
	size := make([]int32, len(group))
	first := slices.Repeat([]int32{-1}, len(group))
	var groups []int32
	for i, c := range group {
		if size[c]++; first[c] < 0 {
			first[c] = int32(i)
			groups = append(groups, c)
		}
	}
	slices.SortFunc(groups, func(a, b int32) int {
		return cmp.Or(cmp.Compare(size[b], size[a]), cmp.Compare(first[a], first[b]))
	})
	number := slices.Repeat([]int32{-1}, len(group))
	k := 0
	for _, c := range groups {
		if int(size[c]) >= least {
			number[c] = int32(k)
			k++
		}
	}
	for i, c := range group {
		group[i] = number[c]
	}
	return group, k
}

// level is a graph whose nodes are rows, or communities of them.
type level struct {
	start     []int
	to        []int32
	weight    []float32
	degree    []float64 // with edges within the node
	factor    float64   // γ/2m
	community []int32
	total     []float64 // degrees of each community
	links     []float64 // of one node to each community: room for that
	touched   []int32
}

func (l *level) len() int { return len(l.degree) }

func newLevel(n int) *level {
	return &level{degree: make([]float64, n), community: make([]int32, n), total: make([]float64, n), links: make([]float64, n)}
}

func firstLevel(g *Graph, community []int32, resolution float64) *level {
	l := newLevel(g.Len())
	l.start, l.to, l.weight = g.start, g.to, g.weight
	var all float64
	for i := range l.degree {
		_, w := g.edges(i)
		for _, x := range w {
			l.degree[i] += float64(x)
		}
		all += l.degree[i]
		l.community[i] = community[i]
		l.total[community[i]] += l.degree[i]
	}
	if all > 0 {
		l.factor = resolution / all
	}
	return l
}

// shuffled is a random order of n nodes.
func shuffled(n int, seed uint64) []int32 {
	order := everyRow(n)
	for i := n - 1; i > 0; i-- {
		j := int(unit(mix(seed^mix(uint64(i)))) * float64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// sumLinks adds up the edges of node u by the groups that its neighbours are in.
func (l *level) sumLinks(u int32, group []int32) {
	for _, c := range l.touched {
		l.links[c] = 0
	}
	l.touched = l.touched[:0]
	for e := l.start[u]; e < l.start[u+1]; e++ {
		c := group[l.to[e]]
		if l.links[c] == 0 {
			l.touched = append(l.touched, c)
		}
		l.links[c] += float64(l.weight[e])
	}
}

const gainful = 1e-12 // less is rounding

// moveAll lets nodes join the community that gains most, until none gains, and
// counts their moves.
func (l *level) moveAll(ctx context.Context, seed uint64) (int, error) {
	n := l.len()
	queue, waits := shuffled(n, seed), make([]bool, n)
	var free []int32 // empty communities
	members, moved := make([]int32, n), 0
	for u := range waits {
		waits[u] = true
		members[l.community[u]]++
	}
	for c, m := range members {
		if m == 0 {
			free = append(free, int32(c))
		}
	}
	for done := 0; len(queue) > 0; done++ {
		if done%4096 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		u := queue[0]
		queue = queue[1:]
		waits[u] = false
		old := l.community[u]
		l.sumLinks(u, l.community)
		l.total[old] -= l.degree[u]
		members[old]--
		best, most := old, l.links[old]-l.factor*l.degree[u]*l.total[old]
		for _, c := range l.touched {
			if gain := l.links[c] - l.factor*l.degree[u]*l.total[c]; gain > most+gainful || gain > most-gainful && c < best && best != old {
				best, most = c, gain
			}
		}
		if most < -gainful && members[old] > 0 && len(free) > 0 { // better alone
			best = free[len(free)-1]
			free = free[:len(free)-1]
		}
		l.community[u] = best
		l.total[best] += l.degree[u]
		members[best]++
		if best == old {
			continue
		}
		moved++
		if members[old] == 0 {
			l.total[old] = 0
			free = append(free, old)
		}
		for e := l.start[u]; e < l.start[u+1]; e++ {
			if v := l.to[e]; !waits[v] && l.community[v] != best {
				waits[v] = true
				queue = append(queue, v)
			}
		}
	}
	return moved, nil
}

// refine parts every community into groups that hang together well, and returns
// each node's group and how many there are.
func (l *level) refine(seed uint64) ([]int32, int) {
	n := l.len()
	group := everyRow(n)
	total := slices.Clone(l.degree) // degrees of each group
	cut := make([]float64, n)       // edges of each group to the rest of its community
	alone := slices.Repeat([]bool{true}, n)
	for u := range n {
		for e := l.start[u]; e < l.start[u+1]; e++ {
			if l.community[l.to[e]] == l.community[u] {
				cut[u] += float64(l.weight[e])
			}
		}
	}
	well := func(g int32, community float64) bool {
		return cut[g] >= l.factor*total[g]*(community-total[g])-gainful
	}
	for _, u := range shuffled(n, seed) {
		c := l.community[u]
		if !alone[group[u]] || !well(group[u], l.total[c]) {
			continue
		}
		l.sumLinks(u, group)
		best, most := group[u], gainful
		for _, g := range l.touched {
			if g == group[u] || l.community[g] != c || !well(g, l.total[c]) { // a group's number is one of its nodes
				continue
			}
			if gain := l.links[g] - l.factor*l.degree[u]*total[g]; gain > most+gainful || gain > most-gainful && best != group[u] && g < best {
				best, most = g, gain
			}
		}
		if best == group[u] {
			continue
		}
		cut[best] += cut[group[u]] - 2*l.links[best]
		total[best] += l.degree[u]
		alone[best], alone[group[u]] = false, false
		group[u] = best
	}
	number := slices.Repeat([]int32{-1}, n)
	count := 0
	for u, g := range group {
		if number[g] < 0 {
			number[g] = int32(count)
			count++
		}
		group[u] = number[g]
	}
	return group, count
}

// aggregate makes a node of each group; communities stay what they were.
func (l *level) aggregate(group []int32, count int) *level {
	next := newLevel(count)
	next.factor = l.factor
	next.start = make([]int, count+1)
	members := make([][]int32, count)
	for u, g := range group {
		members[g] = append(members[g], int32(u))
		next.degree[g] += l.degree[u]
	}
	known := slices.Repeat([]int32{-1}, l.len()) // community of this level to that of the next
	named := int32(0)
	sums := make([]float64, count)
	var touched []int32
	for g, nodes := range members {
		c := l.community[nodes[0]]
		if known[c] < 0 {
			known[c] = named
			named++
		}
		next.community[g] = known[c]
		next.total[known[c]] += next.degree[g]
		for _, u := range nodes {
			for e := l.start[u]; e < l.start[u+1]; e++ {
				h := group[l.to[e]]
				if int(h) == g {
					continue
				}
				if sums[h] == 0 {
					touched = append(touched, h)
				}
				sums[h] += float64(l.weight[e])
			}
		}
		slices.Sort(touched)
		for _, h := range touched {
			next.to, next.weight = append(next.to, h), append(next.weight, float32(sums[h]))
			sums[h] = 0
		}
		touched = touched[:0]
		next.start[g+1] = len(next.to)
	}
	return next
}
