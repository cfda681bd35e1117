// Package curate chooses which candidates go into a batch: it drops duplicates
// by content, by looks and by distance, picks by objectives in one greedy pass,
// and says of every pick why it is there.
//
// Everything is exact and deterministic. Distances that decide are computed in
// double precision in a fixed order; BLAS only tells which need not be
// computed. So the same candidates give the same batch in whatever order they
// come, on any number of workers and on any kind of CPU.
package curate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"winnow/pipeline"
	"winnow/pipeline/seeded"
)

// Candidate is a row that may go into the batch.
type Candidate struct {
	ID    string  // unique among the candidates
	Hash  string  // of the content; "" equals nothing
	Score float64 // priority where the objectives leave a tie; larger first, NaN last
	Size  float64 // such as pixels or characters, for KeepLargest; NaN is unknown
}

// Keep says which of several duplicates stays.
type Keep string

// The words that `keep:` takes. Ties go to the larger Score, then to the
// smaller id.
const (
	KeepBest    Keep = "best"    // the largest Score; the default
	KeepFirst   Keep = "first"   // the smallest id
	KeepLargest Keep = "largest" // the largest Size; unknown ones last
	KeepTypical Keep = "typical" // the most typical one in the first space of Near; without a vector last
	KeepRandom  Keep = "random"  // the first in the random order of KeepSeed
)

// Near drops candidates that lie close to one that stays.
type Near struct {
	Vectors  *Vectors
	Distance float64 // cosine distance, in [0, 2]; at or below it a row is a duplicate
}

// Request is what to choose from, and how. The steps run in the order of the
// fields.
type Request struct {
	Candidates []Candidate
	Keep       Keep
	KeepSeed   uint64 // of KeepRandom, and of KeepTypical's sample
	Exact      bool   // drop candidates of equal content
	Looks      *Looks // then those that look alike
	Near       []Near // then those near in a space, one space after the other
	Objectives []Objective
	Quotas     []Quota // all hold
	Size       int     // of the batch; 0 takes all that the objectives leave

	Progress pipeline.Progress // nil shows nothing
}

// Duplicate is a candidate that was dropped.
type Duplicate struct {
	Index    int     // of the candidate
	Of       int     // index of the candidate that stays for it
	Distance float64 // 0 for equal content; of looks the bits that differ
}

// Result is the batch.
type Result struct {
	Picks      []Pick // by rank
	Duplicates []Duplicate
	Funnel     Funnel // deduplication and selection
	TooNear    int    // candidates that were not picked because a pick or existing row is nearer than a minimum distance, as far as the pass went
	OverQuota  int    // candidates that were not picked because a class of theirs was full, as far as the pass went
}

// Run chooses a batch. Errors are faults of the request or ctx's.
func Run(ctx context.Context, r Request) (*Result, error) {
	if r.Progress == nil {
		r.Progress = pipeline.Quiet
	}
	left, err := r.check(ctx)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	if left, err = r.dedupe(ctx, left, res); err != nil {
		return nil, err
	}
	s, err := newSelection(ctx, r, left)
	if err != nil {
		return nil, err
	}
	if len(s.left) < len(left) {
		res.Funnel.Add("with vectors", int64(len(s.left)))
	}
	if res.Picks, err = s.greedy(ctx); err != nil {
		return nil, err
	}
	res.TooNear, res.OverQuota = s.tooNear, s.overQuota
	res.Funnel.Add("selected", int64(len(res.Picks)))
	return res, nil
}

// dedupe returns the candidates that stay, those to keep first.
func (r *Request) dedupe(ctx context.Context, left []int, res *Result) ([]int, error) {
	if !r.Exact && r.Looks == nil && len(r.Near) == 0 {
		return left, nil
	}
	left, err := r.byKeep(ctx, left)
	if err != nil {
		return nil, err
	}
	if r.Exact {
		var dropped []Duplicate
		left, dropped = dropEqual(r.Candidates, left)
		res.Duplicates = append(res.Duplicates, dropped...)
		res.Funnel.Add("content deduped", int64(len(left)))
	}
	if r.Looks != nil {
		kept, dropped, err := r.Looks.drop(ctx, left)
		if err != nil {
			return nil, err
		}
		left = kept
		res.Duplicates = append(res.Duplicates, dropped...)
		res.Funnel.Add(fmt.Sprintf("looks deduped at %d bits", r.Looks.Bits), int64(len(left)))
	}
	for _, n := range r.Near {
		kept, dropped, err := dropNear(ctx, left, n, r.Progress)
		if err != nil {
			return nil, err
		}
		left = kept
		res.Duplicates = append(res.Duplicates, dropped...)
		res.Funnel.Add(fmt.Sprintf("%s deduped at %v", n.Vectors.Name, n.Distance), int64(len(left)))
	}
	return left, nil
}

// check looks for faults of the request. It returns the candidates' numbers in
// the order of their ids, of which no two may be equal.
func (r *Request) check(ctx context.Context) ([]int, error) {
	if r.Size < 0 {
		return nil, fmt.Errorf("a batch's size is %d; it must be 1 or more, or 0 for all", r.Size)
	}
	switch r.Keep {
	case "", KeepBest, KeepFirst, KeepLargest, KeepRandom:
	case KeepTypical:
		if len(r.Near) == 0 {
			return nil, fmt.Errorf("keep is typical, but there is no embedding to be typical in")
		}
	default:
		return nil, fmt.Errorf("keep is %q; write best, first, largest, typical or random", string(r.Keep))
	}
	n := len(r.Candidates)
	at := make([]int, n)
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int { return strings.Compare(r.Candidates[i].ID, r.Candidates[j].ID) })
	for k := range at[:max(n-1, 0)] {
		if id := r.Candidates[at[k]].ID; id == r.Candidates[at[k+1]].ID {
			return nil, fmt.Errorf("candidate %s comes twice", id)
		}
	}
	if r.Looks != nil {
		if err := r.Looks.check(n); err != nil {
			return nil, err
		}
	}
	for _, near := range r.Near {
		if err := near.Vectors.check(n); err != nil {
			return nil, fmt.Errorf("dedupe: %w", err)
		}
		if !(near.Distance >= 0 && near.Distance <= 2) {
			return nil, fmt.Errorf("dedupe: distance %v in %s is not from 0 to 2", near.Distance, near.Vectors.Name)
		}
	}
	ordered := 0
	for i := range r.Objectives {
		if err := r.Objectives[i].check(n); err != nil {
			return nil, err
		}
		if r.Objectives[i].Ordered != nil {
			ordered++
		}
	}
	if ordered > 1 {
		return nil, fmt.Errorf("%d objectives are orders; a batch has one order at most", ordered)
	}
	for i := range r.Quotas {
		if err := r.Quotas[i].check(n); err != nil {
			return nil, err
		}
	}
	return at, ctx.Err()
}

// byKeep sorts candidates, which come by id: those to keep first.
func (r *Request) byKeep(ctx context.Context, byID []int) ([]int, error) {
	keep := r.Keep
	if keep == KeepFirst {
		return byID, nil
	}
	key := make([]float64, len(r.Candidates)) // the largest first
	place := make([]uint64, len(key))
	switch keep {
	case KeepLargest:
		for i, c := range r.Candidates {
			key[i] = c.Size
		}
	case KeepTypical:
		t := Typicality{Vectors: r.Near[0].Vectors, Seed: r.KeepSeed}
		means, err := t.means(ctx, r.Candidates, byID)
		if err != nil {
			return nil, err
		}
		for k, i := range byID {
			key[i] = -means[k]
		}
	case KeepRandom:
		for i, c := range r.Candidates {
			place[i] = seeded.Hash(r.KeepSeed, c.ID)
		}
	}
	slices.SortStableFunc(byID, func(i, j int) int {
		if place[i] != place[j] {
			if place[i] < place[j] {
				return -1
			}
			return 1
		}
		if c := compareDown(key[i], key[j]); c != 0 {
			return c
		}
		return compareDown(r.Candidates[i].Score, r.Candidates[j].Score)
	})
	return byID, nil
}

// Funnel counts what every step leaves.
type Funnel struct {
	Steps []Step `json:"steps"`
}

// Step is one step of a Funnel.
type Step struct {
	Name string `json:"name"`
	Left int64  `json:"left"`
}

// Add appends a step.
func (f *Funnel) Add(name string, left int64) { f.Steps = append(f.Steps, Step{name, left}) }

// String is for people: "all 1,204,331 → where 8,210 → selected 500".
func (f Funnel) String() string {
	parts := make([]string, len(f.Steps))
	for i, s := range f.Steps {
		parts[i] = s.Name + " " + thousands(s.Left)
	}
	return strings.Join(parts, " → ")
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
