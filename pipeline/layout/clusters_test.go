package layout

import (
	"slices"
	"testing"
)

func TestClustersFindClouds(t *testing.T) {
	const n, dim, of = 700, 8, 7
	g := nearest(clouds(21, n, dim, of, 0.15), dim, 10, 0)
	u, err := Union(t.Context(), g, 0)
	if err != nil {
		t.Fatal(err)
	}
	var first []int32
	withProcessors(func(int) {
		c, k, err := Clusters(t.Context(), u, ClusterOptions{Resolution: 0.3, Seed: 1})
		if err != nil || k != of {
			t.Fatalf("%d clusters of %d clouds, %v", k, of, err)
		}
		if first == nil {
			first = c
		}
		if !slices.Equal(first, c) {
			t.Error("threads change the clusters")
		}
	})
	wrong := 0
	for i, c := range first {
		if c != first[i%of] {
			wrong++
		}
	}
	if wrong > n/50 {
		t.Errorf("%d of %d rows are in another cluster than their cloud", wrong, n)
	}
}

// modularity is its definition.
func modularity(g *Graph, c []int32, resolution float64) float64 {
	var all, within float64
	degrees := map[int32]float64{}
	for i := range g.Len() {
		to, w := g.edges(i)
		for e, j := range to {
			all += float64(w[e])
			degrees[c[i]] += float64(w[e])
			if c[j] == c[i] {
				within += float64(w[e])
			}
		}
	}
	q := within / all
	for _, d := range degrees {
		q -= resolution * d / all * d / all
	}
	return q
}

func TestClustersAreGoodAndConnected(t *testing.T) {
	g := nearest(clouds(22, 160, 3, 1, 1), 3, 8, 0) // one cloud: no clear clusters
	u, err := Union(t.Context(), g, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, resolution := range []float64{0.2, 1, 3} {
		c, k, err := Clusters(t.Context(), u, ClusterOptions{Resolution: resolution, Least: 1})
		if err != nil {
			t.Fatal(err)
		}
		q := modularity(u, c, resolution)
		// no row gains by moving to another cluster
		for i := range c {
			own := c[i]
			to, _ := u.edges(i)
			for _, j := range to {
				c[i] = c[j]
				if better := modularity(u, c, resolution); better > q+1e-9 {
					t.Errorf("resolution %v: row %d gains %v in another cluster", resolution, i, better-q)
				}
			}
			c[i] = own
		}
		// within a cluster there is a way between any two rows
		part := &Graph{start: []int{0}}
		for i := range c {
			to, w := u.edges(i)
			for e, j := range to {
				if c[j] == c[i] {
					part.to, part.weight = append(part.to, j), append(part.weight, w[e])
				}
			}
			part.start = append(part.start, len(part.to))
		}
		if _, parts := part.components(); parts != k {
			t.Errorf("resolution %v: %d clusters are in %d parts", resolution, k, parts)
		}
	}
}

func TestSmallClustersAreNone(t *testing.T) {
	c, k := bySize([]int32{4, 4, 2, 0, 0, 0, 3, 3}, 2)
	if want := []int32{1, 1, -1, 0, 0, 0, 2, 2}; k != 3 || !slices.Equal(c, want) {
		t.Errorf("%v, %d clusters, want %v", c, k, want)
	}
}
