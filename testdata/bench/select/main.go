// Select chooses diverse rows among many made-up ones, and prints how long that
// took and in how much memory, as JSON. With -write it leaves the rows and the
// picks for others to read: little-endian float32 and int32.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"winnow/pipeline/curate"
)

var (
	rows    = flag.Int("n", 20000, "candidates")
	dim     = flag.Int("d", 384, "numbers a candidate")
	size    = flag.Int("k", 200, "picks")
	data    = flag.String("data", "clusters", "clusters: 2000 of them, of 24 dimensions, with stragglers between them; noise: no structure at all")
	compact = flag.Bool("compact", false, "keep vectors as 16-bit numbers")
	write   = flag.String("write", "", "folder for rows.f32 and picks.i32")
)

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// source makes one row after the other.
type source struct {
	rng     *rand.Rand
	centers [][]float32
	spread  [][]float32 // directions in which a cluster is wide
}

const clusters, width = 2000, 24

func newSource() *source {
	s := &source{rng: rand.New(rand.NewPCG(2026, 11))}
	for range clusters {
		s.centers = append(s.centers, s.normal())
	}
	for range 50 * width {
		s.spread = append(s.spread, s.normal())
	}
	return s
}

func (s *source) normal() []float32 {
	row := make([]float32, *dim)
	for i := range row {
		row[i] = float32(s.rng.NormFloat64())
	}
	return row
}

// next fills row, of length 1.
func (s *source) next(row []float32) {
	for i := range row {
		row[i] = float32(0.25 * s.rng.NormFloat64())
	}
	if *data == "clusters" {
		c := int(clusters * math.Pow(s.rng.Float64(), 2)) // few are large
		for i, x := range s.centers[c] {
			row[i] += x
		}
		wide := 0.2 * math.Exp(0.5*s.rng.NormFloat64()) // few are far out
		for k := range width {
			a := float32(wide * s.rng.NormFloat64())
			for i, x := range s.spread[c%50*width+k] {
				row[i] += a * x
			}
		}
	}
	n := 0.0
	for _, x := range row {
		n += float64(x) * float64(x)
	}
	for i := range row {
		row[i] = float32(float64(row[i]) / math.Sqrt(n))
	}
}

func run(ctx context.Context) error {
	v := &curate.Vectors{Name: "rows", Dim: *dim}
	if *compact {
		v.Compact = make([]int16, 0, *rows**dim)
	} else {
		v.Data = make([]float32, 0, *rows**dim)
	}
	cs := make([]curate.Candidate, *rows)
	s, row := newSource(), make([]float32, *dim)
	var made []float32
	for i := range cs {
		s.next(row)
		cs[i].ID = fmt.Sprintf("%09d", i)
		if *compact {
			v.AppendCompact(row)
		} else {
			v.Data = append(v.Data, row...)
		}
		if *write != "" {
			made = append(made, row...)
		}
	}
	from, start := cpu(), time.Now()
	res, err := curate.Run(ctx, curate.Request{Candidates: cs, Size: *size, Objectives: []curate.Objective{{Name: "diversity", Diversity: &curate.Diversity{Vectors: v}}}})
	if err != nil {
		return err
	}
	took, used := time.Since(start), cpu()-from
	if *write != "" {
		picks := make([]int32, len(res.Picks))
		for i, p := range res.Picks {
			picks[i] = int32(p.Index)
		}
		if err := save("rows.f32", made); err != nil {
			return err
		}
		if err := save("picks.i32", picks); err != nil {
			return err
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"picks": len(res.Picks), "radius": res.Picks[len(res.Picks)-1].Distance,
		"seconds": took.Seconds(), "cpu_seconds": used.Seconds(), "rss_mb": float64(u.Maxrss) / 1000,
	})
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func save(name string, data any) error {
	if err := os.MkdirAll(*write, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(*write, name))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := binary.Write(w, binary.LittleEndian, data); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
