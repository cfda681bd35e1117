// Package curate chooses which candidates go into a batch: it drops duplicates
// by content and by distance, picks by objectives in one greedy pass, and says
// of every pick why it is there.
//
// Everything is exact and deterministic. Distances that decide are computed in
// double precision in a fixed order; BLAS only tells which need not be
// computed. So the same candidates give the same batch in whatever order they
// come, on any number of workers and on any kind of CPU.
package curate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Candidate is a row that may go into the batch.
type Candidate struct {
	ID    string  // unique among the candidates
	Hash  string  // of the content; "" equals nothing
	Score float64 // priority where the objectives leave a tie; larger first, NaN last
}

// Keep says which of several duplicates stays.
type Keep string

// The words that `keep:` takes.
const (
	KeepBest  Keep = "best"  // the largest Score, ties to the smallest id; the default
	KeepFirst Keep = "first" // the smallest id
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
	Exact      bool   // drop candidates of equal content
	Near       []Near // then those near in a space, one space after the other
	Objectives []Objective
	Size       int // of the batch; 0 takes all that the objectives leave
}

// Duplicate is a candidate that was dropped.
type Duplicate struct {
	Index    int     // of the candidate
	Of       int     // index of the candidate that stays for it
	Distance float64 // 0 for equal content
}

// Result is the batch.
type Result struct {
	Picks      []Pick // by rank
	Duplicates []Duplicate
	Funnel     Funnel // deduplication and selection
}

// Run chooses a batch. Errors are faults of the request or ctx's.
func Run(ctx context.Context, r Request) (*Result, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	res := &Result{}
	left := byPriority(r.Candidates, r.Keep)
	if r.Exact {
		var dropped []Duplicate
		left, dropped = dropEqual(r.Candidates, left)
		res.Duplicates = append(res.Duplicates, dropped...)
		res.Funnel.Add("content deduped", int64(len(left)))
	}
	for _, n := range r.Near {
		kept, dropped, err := dropNear(ctx, left, n)
		if err != nil {
			return nil, err
		}
		left = kept
		res.Duplicates = append(res.Duplicates, dropped...)
		res.Funnel.Add(fmt.Sprintf("%s deduped at %v", n.Vectors.Name, n.Distance), int64(len(left)))
	}
	s, err := newSelection(ctx, r, left)
	if err != nil {
		return nil, err
	}
	if len(s.left) < len(left) {
		res.Funnel.Add("with vectors", int64(len(s.left)))
	}
	if res.Picks, err = s.run(ctx); err != nil {
		return nil, err
	}
	res.Funnel.Add("selected", int64(len(res.Picks)))
	return res, nil
}

func (r *Request) check() error {
	if r.Size < 0 {
		return fmt.Errorf("a batch's size is %d; it must be 1 or more, or 0 for all", r.Size)
	}
	switch r.Keep {
	case "", KeepBest, KeepFirst:
	default:
		return fmt.Errorf("keep is %q; write best or first", string(r.Keep))
	}
	seen := make(map[string]bool, len(r.Candidates))
	for _, c := range r.Candidates {
		if seen[c.ID] {
			return fmt.Errorf("candidate %s comes twice", c.ID)
		}
		seen[c.ID] = true
	}
	for _, n := range r.Near {
		if err := n.Vectors.check(len(r.Candidates)); err != nil {
			return fmt.Errorf("dedupe: %w", err)
		}
		if !(n.Distance >= 0 && n.Distance <= 2) {
			return fmt.Errorf("dedupe: distance %v in %s is not from 0 to 2", n.Distance, n.Vectors.Name)
		}
	}
	for i := range r.Objectives {
		if err := r.Objectives[i].check(len(r.Candidates)); err != nil {
			return err
		}
	}
	return nil
}

// byPriority returns the positions of the candidates, the ones to keep first.
func byPriority(cs []Candidate, keep Keep) []int {
	at := make([]int, len(cs))
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int {
		if keep != KeepFirst {
			if c := compareDown(cs[i].Score, cs[j].Score); c != 0 {
				return c
			}
		}
		return strings.Compare(cs[i].ID, cs[j].ID)
	})
	return at
}

// compareDown puts the larger number first and NaN last.
func compareDown(a, b float64) int { return cmp.Compare(b, a) }

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
