package diagnose

import (
	"cmp"
	"math"
	"slices"

	"winnow/pipeline/vec"
)

// Distances are the cosine distances, 1 − cosine, between rows of dim numbers of
// length 1: n×n, symmetric, 0 on the diagonal.
func Distances(rows []float32, dim int) []float64 {
	n := len(rows) / dim
	d := make([]float64, n*n)
	for i := range n {
		for j := range i {
			x := max(0, 1-vec.Dot(rows[i*dim:(i+1)*dim], rows[j*dim:(j+1)*dim]))
			d[i*n+j], d[j*n+i] = x, x
		}
	}
	return d
}

// merge is a step of the clustering: two clusters, by one member each.
type merge struct {
	a, b   int
	height float64
}

// Tree is the hierarchy of n points.
type Tree struct {
	n      int
	merges []merge // by rising height
}

// AverageLinkage clusters n points by mean distance (UPGMA) through chains of
// nearest neighbours (Murtagh 1983), in n² steps. distances is n×n and is not
// changed. Of equal distances the point of the smaller number comes first.
func AverageLinkage(distances []float64, n int) *Tree {
	d := slices.Clone(distances)
	size := make([]float64, n)
	for i := range size {
		size[i] = 1
	}
	t := &Tree{n: n}
	var chain []int
	for len(t.merges) < n-1 {
		if len(chain) == 0 {
			chain = append(chain, slices.IndexFunc(size, func(s float64) bool { return s > 0 }))
		}
		for {
			top := chain[len(chain)-1]
			prev := -1
			best := math.Inf(1)
			if len(chain) > 1 { // at a tie, back to where it came from: the chain ends
				prev = chain[len(chain)-2]
				best = d[top*n+prev]
			}
			next := prev
			for j := range n {
				if j != top && size[j] > 0 && d[top*n+j] < best {
					best, next = d[top*n+j], j
				}
			}
			if next != prev {
				chain = append(chain, next)
				continue
			}
			chain = chain[:len(chain)-2]
			a, b := min(top, prev), max(top, prev)
			t.merges = append(t.merges, merge{a, b, best})
			for j := range n {
				if j != a && j != b && size[j] > 0 {
					x := (size[a]*d[a*n+j] + size[b]*d[b*n+j]) / (size[a] + size[b])
					d[a*n+j], d[j*n+a] = x, x
				}
			}
			size[a], size[b] = size[a]+size[b], 0
			break
		}
	}
	slices.SortStableFunc(t.merges, func(a, b merge) int { return cmp.Compare(a.height, b.height) })
	return t
}

// Cut gives every point the number of its cluster, 0 to k−1, numbered by their
// first points.
func (t *Tree) Cut(k int) []int {
	root := make([]int, t.n)
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, m := range t.merges[:max(0, t.n-max(k, 1))] {
		a, b := find(m.a), find(m.b)
		root[max(a, b)] = min(a, b)
	}
	number := map[int]int{}
	out := make([]int, t.n)
	for i := range out {
		r := find(i)
		if _, ok := number[r]; !ok {
			number[r] = len(number)
		}
		out[i] = number[r]
	}
	return out
}

// Silhouette is the mean silhouette (Rousseeuw 1987) of a clustering of 2 to n−1
// clusters, in [-1, 1]; a point alone in its cluster counts 0.
func Silhouette(distances []float64, cluster []int) float64 {
	n := len(cluster)
	k := slices.Max(cluster) + 1
	size := make([]float64, k)
	for _, c := range cluster {
		size[c]++
	}
	var total float64
	sums := make([]float64, k)
	for i := range n {
		own := cluster[i]
		if size[own] == 1 {
			continue
		}
		clear(sums)
		for j := range n {
			sums[cluster[j]] += distances[i*n+j]
		}
		a, b := sums[own]/(size[own]-1), math.Inf(1)
		for c := range k {
			if c != own {
				b = min(b, sums[c]/size[c])
			}
		}
		if m := max(a, b); m > 0 {
			total += (b - a) / m
		}
	}
	return total / float64(n)
}

// Clustering rules.
const (
	mostClusters   = 6
	leastCluster   = 4   // rows; smaller ones are strays
	weakSilhouette = 0.1 // of the best cut: below, all rows are one cluster
)

// Cluster parts rows of dim numbers of length 1 into groups of like ones: average
// linkage over cosine distances, cut where the mean silhouette is highest. Groups
// of fewer than four rows are strays, each of which joins the group that it is
// nearest to on average; the silhouette is taken after that. The groups come
// largest first, the rows of each by falling mean likeness to the others, so that
// the first is the most typical. The same rows give the same groups; memory and
// time grow with their square.
func Cluster(rows []float32, dim int) [][]int {
	n := len(rows) / dim
	if n == 0 {
		return nil
	}
	d := Distances(rows, dim)
	tree := AverageLinkage(d, n)
	best, groups := weakSilhouette, [][]int{everyRow(n)}
	for k := 2; k <= min(4*mostClusters, n/2); k++ {
		cut := settle(d, tree.Cut(k))
		if len(cut) < 2 || len(cut) > mostClusters {
			continue
		}
		if s := Silhouette(d, numbers(cut, n)); s > best {
			best, groups = s, cut
		}
	}
	for _, g := range groups {
		mean := map[int]float64{}
		for _, i := range g {
			for _, j := range g {
				mean[i] += d[i*n+j]
			}
		}
		slices.SortFunc(g, func(a, b int) int { return cmp.Or(cmp.Compare(mean[a], mean[b]), cmp.Compare(a, b)) })
	}
	slices.SortStableFunc(groups, func(a, b []int) int { return cmp.Compare(len(b), len(a)) })
	return groups
}

func everyRow(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// settle makes groups of a clustering, and puts strays into the nearest of them.
func settle(d []float64, cluster []int) [][]int {
	n := len(cluster)
	var all, groups [][]int
	for i, c := range cluster {
		if c == len(all) {
			all = append(all, nil)
		}
		all[c] = append(all[c], i)
	}
	var strays []int
	for _, g := range all {
		if len(g) >= leastCluster {
			groups = append(groups, g)
		} else {
			strays = append(strays, g...)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	home := make([]int, len(strays))
	for i, s := range strays {
		nearest := math.Inf(1)
		for k, g := range groups {
			var sum float64
			for _, j := range g {
				sum += d[s*n+j]
			}
			if mean := sum / float64(len(g)); mean < nearest {
				nearest, home[i] = mean, k
			}
		}
	}
	for i, s := range strays {
		groups[home[i]] = append(groups[home[i]], s)
	}
	return groups
}

// numbers gives each of n rows the number of its group.
func numbers(groups [][]int, n int) []int {
	out := make([]int, n)
	for k, g := range groups {
		for _, i := range g {
			out[i] = k
		}
	}
	return out
}
