// Score measures what the products and maxima of a scoring pass reach of the
// machine's sgemm peak, without reading or writing, for testdata/bench/score.py.
//
// Both run in turn, in one goroutine a core, over the same number of operations:
// the peak is OpenBLAS's on squares of 1,024, the pass is winnow's on blocks of
// rows that are no longer in the cache. Prints a line of JSON: peak and pass in
// GFLOP a second of processor time (of products; maxima count as nothing), and the
// median over the rounds of the round's own ratio. Processor time, and not the
// clock's, so that what else the machine does stays outside.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"winnow/pipeline/function"
	"winnow/pipeline/vec"
)

func main() {
	dim := flag.Int("d", 384, "numbers a row")
	functions := flag.Int("functions", 50, "functions, combine max")
	anchors := flag.Int("anchors", 4, "anchors a function")
	rounds := flag.Int("rounds", 9, "rounds of both")
	flag.Parse()
	if err := run(*dim, *functions, *anchors, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

const (
	square = 1024
	blocks = 64 // of function.BlockRows rows, for each core
)

func run(dim, functions, anchors, rounds int) error {
	var scorers []*function.Scorer
	for i := range functions {
		scorers = append(scorers, &function.Scorer{Name: fmt.Sprint("f", i), Combine: function.Max, Dim: dim, Positives: anchors, Rows: units(uint64(i), anchors, dim)})
	}
	pass, err := function.NewPass(dim, scorers)
	if err != nil {
		return err
	}
	rows := units(1<<32, blocks*function.BlockRows, dim)
	work := 2 * float64(blocks*function.BlockRows) * float64(functions*anchors) * float64(dim)
	times := int(math.Ceil(work / (2 * square * square * square)))
	var peaks, passes, shares []float64
	for range rounds + 1 {
		peak := float64(runtime.GOMAXPROCS(0)*times) * 2 * square * square * square / each(func() func() {
			a, b, c := units(1, square, square), units(2, square, square), make([]float32, square*square)
			return func() {
				for range times {
					vec.MulABT(square, square, square, a, b, c)
				}
			}
		})
		ours := float64(runtime.GOMAXPROCS(0)) * work / each(func() func() {
			out := make([][]float32, functions)
			for f := range out {
				out[f] = make([]float32, function.BlockRows)
			}
			return func() {
				for b := range blocks {
					pass.Score(rows[b*function.BlockRows*dim:], function.BlockRows, out)
				}
			}
		})
		peaks, passes, shares = append(peaks, peak), append(passes, ours), append(shares, ours/peak)
	}
	// The first round warms up.
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"peak": median(peaks[1:]) / 1e9, "pass": median(passes[1:]) / 1e9, "share": median(shares[1:]), "backend": vec.Backend(),
	})
}

// each prepares and then runs the same work in one goroutine a core, and returns
// the seconds of processor time of all.
func each(prepare func() func()) float64 {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	var ready sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		ready.Add(1)
		wg.Go(func() {
			work := prepare()
			ready.Done()
			<-begin
			work()
		})
	}
	ready.Wait()
	start := processor()
	close(begin)
	wg.Wait()
	return processor() - start
}

// processor is the time that this process has had, in seconds.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// units are seeded random rows of length 1.
func units(seed uint64, n, dim int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]float32, n*dim)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	vec.Normalize(out, dim)
	return out
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
