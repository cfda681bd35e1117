// Project lays out, places, clusters and measures rows whose neighbours lie in
// files, and prints what that took as JSON. The folder -dir holds rows.i32 and
// far.f32, n×k numbers and cosine distances of nearest rows, and vectors.f32; what
// is written there is little-endian, too.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"winnow/pipeline/layout"
)

var (
	dir       = flag.String("dir", "", "folder of the rows")
	k         = flag.Int("k", 14, "neighbours a row has in the files")
	seed      = flag.Uint64("seed", 1, "of the layout")
	landmarks = flag.Int("landmarks", 0, "most rows that are laid out; 0: the default")
	old       = flag.Int("old", 0, "lay out so many rows only, and place the others")
	points    = flag.String("points", "", "measure this map in the folder instead of making one")
	sheet     = flag.Int("sheet", 0, "lay out a made-up sheet of so many rows squared instead, without measuring it")
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	out := map[string]any{}
	g := &layout.Neighbors{K: *k}
	if *sheet > 0 {
		g = newSheet(*sheet)
	} else if err := read(g); err != nil {
		return err
	}
	var m []float32
	var err error
	if *points != "" {
		m, err = load[float32](*points)
	} else {
		m, err = project(ctx, g, out)
	}
	if err != nil {
		return err
	}
	out["rss_mb"] = peak()
	if *sheet == 0 {
		vectors, err := load[float32]("vectors.f32")
		if err != nil {
			return err
		}
		dim := len(vectors) / g.Len()
		if out["trust"], _, err = layout.Trustworthiness(ctx, m, dim, 15, 1, layout.InMemory(vectors, dim)); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// project makes the map, and clusters of the same graph.
func project(ctx context.Context, g *layout.Neighbors, out map[string]any) ([]float32, error) {
	runtime.GC()
	before, from, start := peak(), cpu(), time.Now()
	o := layout.Options{Seed: *seed, Landmarks: *landmarks}
	first, rest := g, (*layout.Neighbors)(nil)
	if *old > 0 {
		first, rest = split(g, *old)
	}
	m, err := layout.UMAP(ctx, first, o)
	if err != nil {
		return nil, err
	}
	out["seconds"], out["cpu_seconds"] = time.Since(start).Seconds(), (cpu() - from).Seconds()
	if rest != nil {
		more, apart, err := layout.Place(ctx, m.Points, rest, o)
		if err != nil {
			return nil, err
		}
		m.Points, out["apart"] = append(m.Points, more...), apart
	}
	out["grown_mb"] = peak() - before
	if *sheet > 0 {
		return m.Points, nil
	}
	if err := save("points.f32", m.Points); err != nil {
		return nil, err
	}
	start = time.Now()
	u, err := layout.Union(ctx, g, 0)
	if err != nil {
		return nil, err
	}
	clusters, count, err := layout.Clusters(ctx, u, layout.ClusterOptions{Seed: *seed})
	if err != nil {
		return nil, err
	}
	out["clusters"], out["cluster_seconds"] = count, time.Since(start).Seconds()
	return m.Points, save("clusters.i32", clusters)
}

// split makes the first rows' graph, in which the others are missing, and theirs.
func split(g *layout.Neighbors, n int) (first, rest *layout.Neighbors) {
	first = &layout.Neighbors{K: g.K, Distances: g.Distances[:n*g.K]}
	for _, j := range g.Rows[:n*g.K] {
		if int(j) >= n {
			j = -1
		}
		first.Rows = append(first.Rows, j)
	}
	return first, &layout.Neighbors{K: g.K, Rows: g.Rows[n*g.K:], Distances: g.Distances[n*g.K:]}
}

// newSheet is a torus of side² rows, each beside the fifteen that are nearest.
func newSheet(side int) *layout.Neighbors {
	g := &layout.Neighbors{K: 15}
	around := [][2]int{{0, 1}, {1, 0}, {0, -1}, {-1, 0}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}, {0, 2}, {2, 0}, {0, -2}, {-2, 0}, {1, 2}, {2, 1}, {-1, 2}}
	g.Rows, g.Distances = make([]int32, 0, 15*side*side), make([]float32, 0, 15*side*side)
	for i := range side * side {
		for _, d := range around {
			x, y := (i%side+d[0]+side)%side, (i/side+d[1]+side)%side
			g.Rows = append(g.Rows, int32(y*side+x))
			g.Distances = append(g.Distances, 0.01*float32(d[0]*d[0]+d[1]*d[1]))
		}
	}
	return g
}

func read(g *layout.Neighbors) (err error) {
	if g.Rows, err = load[int32]("rows.i32"); err != nil {
		return err
	}
	g.Distances, err = load[float32]("far.f32")
	return err
}

func load[T int32 | float32](name string) ([]T, error) {
	b, err := os.ReadFile(filepath.Join(*dir, name))
	if err != nil {
		return nil, err
	}
	x := make([]T, len(b)/4)
	return x, binary.Read(bytes.NewReader(b), binary.LittleEndian, x)
}

func save(name string, x any) error {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, x); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*dir, name), b.Bytes(), 0o666)
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that was held, in MB. The kernel's ru_maxrss would count
// the process that started this one.
func peak() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kb); n == 1 {
			return kb * 1024 / 1e6
		}
	}
	return 0
}
