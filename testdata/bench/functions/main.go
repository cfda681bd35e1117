// Functions fits functions to random anchors of each class of a labeled set and
// prints, one JSON object a line, how well each finds the rest of its class.
//
// The set is a folder with vectors.f32 (rows of little-endian float32 of unit
// length) and rows.json ([{"id": …, "labels": […]}, …]). The mathematics are
// pipeline/function's: the corpus' statistics, Fit and Pass.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"encoding/binary"

	"winnow/pipeline/function"
)

var (
	folder  = flag.String("set", "", "folder of vectors.f32 and rows.json")
	draws   = flag.Int("draws", 10, "random choices of anchors a class")
	counts  = flag.String("n", "1,5,20,50", "anchors of a function")
	classes = flag.Int("classes", 20, "at most so many classes for each n, a seeded choice")
	rare    = flag.String("rare", "", "labels, with commas between, that are made rare; only these are classes")
	keep    = flag.Int("keep", 80, "rows that each rare label keeps")
	seed    = flag.Uint64("seed", 1, "of the anchors")
)

// left is the least number of rows of a class that must be left to be found.
const left = 10

type set struct {
	ids     []string
	labels  [][]string
	vectors []float32
	dim     int
	stats   *function.Statistics
	members map[string][]int // rows of a class
}

// result is one combination's average precision over the draws of one class.
type result struct {
	Class   string           `json:"class"`
	Share   float64          `json:"share"` // of the corpus
	N       int              `json:"n"`
	Combine function.Combine `json:"combine"`
	AP      []float64        `json:"ap"`     // a draw each
	Lambda  []float64        `json:"lambda"` // a draw each, lda and classifier
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("functions: ")
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	s, err := read(*folder)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for _, word := range strings.Split(*counts, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("-n %q is no list of numbers above 0", *counts)
		}
		for _, class := range s.choose(n) {
			results, err := s.measure(class, n)
			if err != nil {
				return fmt.Errorf("%s, %d anchors: %w", class, n, err)
			}
			for _, r := range results {
				if err := json.NewEncoder(out).Encode(r); err != nil {
					return err
				}
			}
		}
	}
	return out.Flush()
}

// read reads a set, makes labels rare, and takes the corpus' statistics.
func read(folder string) (*set, error) {
	data, err := os.ReadFile(filepath.Join(folder, "rows.json"))
	if err != nil {
		return nil, err
	}
	var rows []struct {
		ID     string   `json:"id"`
		Labels []string `json:"labels"`
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("rows.json: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "vectors.f32"))
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || len(raw)%(4*len(rows)) != 0 {
		return nil, fmt.Errorf("%d bytes of vectors.f32 are not %d rows", len(raw), len(rows))
	}
	s := &set{dim: len(raw) / 4 / len(rows), members: map[string][]int{}}
	var made []string
	if *rare != "" {
		made = strings.Split(*rare, ",")
	}
	for i, r := range rows {
		label := r.Labels[0]
		if slices.Contains(made, label) && len(s.members[label]) == *keep {
			continue
		}
		for _, l := range r.Labels {
			s.members[l] = append(s.members[l], len(s.ids))
		}
		s.ids = append(s.ids, r.ID)
		for j := range s.dim {
			s.vectors = append(s.vectors, math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(i*s.dim+j):])))
		}
	}
	for l := range s.members {
		if len(made) > 0 && !slices.Contains(made, l) {
			delete(s.members, l)
		}
	}
	b, err := function.NewBuilder(function.SampleOptions{Embedding: "e", Fingerprint: filepath.Base(folder), Dim: s.dim})
	if err != nil {
		return nil, err
	}
	if err := b.Add(s.ids, s.vectors); err != nil {
		return nil, err
	}
	s.stats, err = b.Finish()
	return s, err
}

// choose lists the classes that n anchors can be taken from; none is more than
// half of the corpus.
func (s *set) choose(n int) []string {
	var names []string
	for l, rows := range s.members {
		if len(rows) >= n+left && 2*len(rows) <= len(s.ids) {
			names = append(names, l)
		}
	}
	slices.Sort(names)
	rng := rand.New(rand.NewPCG(*seed, 0))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:min(len(names), *classes)]
	slices.Sort(names)
	return names
}

// measure draws anchors of a class again and again, several draws at once.
func (s *set) measure(class string, n int) ([]*result, error) {
	results := make([]*result, len(function.Combines))
	for i, c := range function.Combines {
		results[i] = &result{
			Class: class, Share: float64(len(s.members[class])) / float64(len(s.ids)), N: n, Combine: c,
			AP: make([]float64, *draws), Lambda: make([]float64, *draws),
		}
	}
	errs := make([]error, *draws)
	var wg sync.WaitGroup
	free := make(chan bool, runtime.GOMAXPROCS(0))
	for d := range *draws {
		free <- true
		wg.Go(func() {
			errs[d] = s.draw(class, n, d, results)
			<-free
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// draw fits every combination to one random choice of n anchors, and ranks all
// other rows.
func (s *set) draw(class string, n, d int, results []*result) error {
	rows := slices.Clone(s.members[class])
	rng := rand.New(rand.NewPCG(*seed, uint64(1000*n+d)))
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	anchors := make([]function.Vector, n)
	state := make([]int8, len(s.ids)) // 1: to be found, -1: an anchor
	for i, r := range rows {
		state[r] = 1
		if i < n {
			state[r] = -1
			anchors[i] = function.Vector{Kind: "asset", ID: s.ids[r], Values: s.vectors[r*s.dim : (r+1)*s.dim]}
		}
	}
	scorers := make([]*function.Scorer, len(results))
	scores := make([][]float32, len(results))
	for i, r := range results {
		var err error
		if scorers[i], err = function.Fit(&function.Definition{Name: "f", Combine: r.Combine}, anchors, nil, s.stats); err != nil {
			return err
		}
		scores[i] = make([]float32, len(s.ids))
		r.Lambda[d] = scorers[i].Lambda
	}
	pass, err := function.NewPass(s.dim, scorers)
	if err != nil {
		return err
	}
	pass.Score(s.vectors, len(s.ids), scores)
	for i, r := range results {
		r.AP[d] = averagePrecision(scores[i], state)
	}
	return nil
}

// averagePrecision is the mean, over the rows to be found, of the precision of
// the list down to each; rows of equal scores keep the corpus' order.
func averagePrecision(scores []float32, state []int8) float64 {
	var order []int
	for i, st := range state {
		if st >= 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	found, total := 0, 0.0
	for rank, i := range order {
		if state[i] == 1 {
			found++
			total += float64(found) / float64(rank+1)
		}
	}
	return total / float64(found)
}
