// Package duplicates is the duplicates job: groups of rows that are nearly the
// same, over the whole workspace, and which of each group stays.
//
// Rows within the distance are joined into groups by the table of neighbours
// (jobs/neighbors): connected components. A component may be a chain whose ends are
// far apart, so not one row of a group stays, but as many as it takes for every row
// that goes to be within the distance of one that stays.
package duplicates

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/neighbors"
	"winnow/pipeline"
)

// Ways to choose the row that stays.
const (
	keepFirst   = "first"
	keepLargest = "largest"
	keepTypical = "typical"
	keepRandom  = "random"
	keepHard    = "hard"
	keepEasy    = "easy"
)

// Cmd is the duplicates command.
type Cmd struct {
	Embedding string  `short:"e" placeholder:"NAME" help:"The embedding to measure in. Default: the first of pictures, else the first."`
	Distance  float64 `default:"0.05" placeholder:"0.05" help:"Rows at most so far apart, in cosine distance, are near-duplicates; 0 finds equal vectors only."`
	PHash     int     `name:"phash" default:"-1" placeholder:"BITS" help:"Also pictures whose difference hashes of 64 bits differ in at most so many bits (0 to 15): scaled and recompressed copies. Fetches what was not looked at yet."`
	Keep      string  `placeholder:"first" help:"The row of a group that stays: first by asset_id, largest (pixels, or characters), typical (nearest to the group's mean), random; with --semantic hard (default: furthest from its cluster's centre), easy (nearest) or random."`
	Semantic  bool    `help:"Semantic duplicates: clusters by k-means, and within each the rows nearer than --epsilon to one that comes first. As SemDeDup."`
	Clusters  int     `placeholder:"N" help:"With --semantic: the number of clusters. Default: the square root of the rows."`
	Epsilon   float64 `default:"0.05" placeholder:"0.05" help:"With --semantic: the cosine distance."`
	Out       string  `placeholder:"FILE" type:"path" help:"Write all rows of all groups to this file: .csv, .jsonl or .parquet."`
	Drop      string  `placeholder:"FILE" type:"path" help:"Write the rows that go to this file: .csv, .jsonl, .parquet, or .txt with ids alone. For exclude: [{ids: FILE}]."`
	HTML      string  `name:"html" placeholder:"FILE" type:"path" help:"Write a page with the groups' pictures and texts, the largest groups first."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow duplicates                                     groups at a cosine distance of 0.05, and what stays of each
  winnow duplicates --distance 0.02 --phash 4 --keep largest --html duplicates.html
  winnow duplicates --drop drop.csv                     then, in a batch: exclude: [{ids: drop.csv}]
  winnow duplicates --semantic --clusters 1000 --epsilon 0.07 --keep hard --drop drop.parquet

Groups are the connected components of all pairs within the distance. Every row that goes is within the distance of one that
stays, so of a chain of rows whose ends are far apart several stay. --semantic follows Abbas et al. (2023): within a cluster a row
goes where any that comes before it is within epsilon, whether that one stays or not.

Exit status: 0 done, duplicates or not; 1 failed; 2 usage or config; 11 another run holds the lock; 130 or 143 interrupted.`
}

// Result is what duplicates found.
type Result struct {
	Embedding string  `json:"embedding"`
	Distance  float64 `json:"distance"`
	PHash     *int    `json:"phash,omitempty"` // bits
	Keep      string  `json:"keep"`
	Clusters  int     `json:"clusters,omitempty"` // of semantic deduplication
	Rows      int64   `json:"rows"`               // that have a vector
	By        string  `json:"by"`                 // exact, or the index that chose the neighbours
	Recall    float64 `json:"recall"`             // of the neighbours

	Groups  int      `json:"groups"`
	Grouped int64    `json:"grouped"` // rows in groups
	Drop    int64    `json:"drop"`    // rows that go
	Same    int64    `json:"same_content"`
	Chains  int      `json:"chains"` // groups of which several rows stay
	Largest []Group  `json:"largest"`
	Notes   []string `json:"notes,omitempty"`
	Files   []string `json:"files,omitempty"`

	groups  [][]member
	dropped string
}

// Group is one group, for people.
type Group struct {
	Number int      `json:"group"`
	Rows   int      `json:"rows"`
	Keep   []string `json:"keep"`
	Drop   []string `json:"drop"` // the first of them
}

// Run looks and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	l, err := c.live(ctx, w)
	if err != nil {
		return err
	}
	r, err := c.find(ctx, w, l)
	if err != nil {
		return err
	}
	if err := c.write(ctx, w, r); err != nil {
		return err
	}
	return app.Print(r, r.Print)
}

func (c *Cmd) check() error {
	var p pipeline.UsageError
	bad := func(format string, args ...any) {
		p.Problems = append(p.Problems, pipeline.Problem{What: fmt.Sprintf(format, args...)})
	}
	ways := []string{keepFirst, keepLargest, keepTypical, keepRandom}
	if c.Semantic {
		ways = []string{keepHard, keepEasy, keepRandom}
		if c.PHash >= 0 {
			bad("--phash does not go with --semantic")
		}
	}
	if c.Keep == "" {
		c.Keep = ways[0]
	}
	if !slices.Contains(ways, c.Keep) {
		bad("--keep %s: write one of %v", c.Keep, ways)
	}
	if !(c.Distance >= 0 && c.Distance <= 2) {
		bad("--distance %v: write a cosine distance from 0 to 2", c.Distance)
	}
	if !(c.Epsilon >= 0 && c.Epsilon <= 2) {
		bad("--epsilon %v: write a cosine distance from 0 to 2", c.Epsilon)
	}
	if c.PHash < -1 || c.PHash > 15 {
		bad("--phash %d: write a number of bits from 0 to 15", c.PHash)
	}
	if c.Clusters < 0 || c.Clusters > 0 && !c.Semantic {
		bad("--clusters %d: write a number from 1, and --semantic", c.Clusters)
	}
	if c.Out != "" && formOf(c.Out, false) == "" {
		bad("--out %s: write a name that ends in .csv, .jsonl or .parquet", c.Out)
	}
	if c.Drop != "" && formOf(c.Drop, true) == "" {
		bad("--drop %s: write a name that ends in .csv, .jsonl, .parquet or .txt", c.Drop)
	}
	if len(p.Problems) > 0 {
		return &p
	}
	return nil
}

// live is the embedding to measure in.
func (c *Cmd) live(ctx context.Context, w *workspace.Workspace) (*workspace.Live, error) {
	name := c.Embedding
	for _, e := range w.Config.Embeddings {
		if c.Embedding == "" && (name == "" || e.Of == "image") {
			if name = e.Name; e.Of == "image" {
				break
			}
		}
	}
	e, err := w.Embedding(name)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err == nil && l.Rows == 0 {
		err = pipeline.Usagef("the embedding %s has no vectors yet; run winnow run", name)
	}
	return l, err
}

// find makes the groups, and chooses what stays.
func (c *Cmd) find(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*Result, error) {
	r := &Result{Embedding: l.Embedding.Name, Distance: c.Distance, Keep: c.Keep, Rows: l.Rows, By: "exact", Recall: 1, Largest: []Group{}}
	f := &found{c: c, w: w, l: l, r: r, least: float32(1 - c.Distance)}
	if c.Semantic {
		r.Distance = c.Epsilon
		return r, f.semantic(ctx)
	}
	var g *neighbors.Graph
	var err error
	if g, err = neighbors.Open(ctx, w, l, l.Embedding.K()); g == nil && err == nil {
		err = w.Locked(ctx, func(ctx context.Context) error {
			g, err = neighbors.Ensure(ctx, w, l)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if g != nil {
		r.By, r.Recall = g.By, g.Recall
	}
	if c.PHash >= 0 {
		r.PHash = &c.PHash
	}
	if err := f.join(ctx, g); err != nil {
		return nil, err
	}
	return r, f.choose(ctx)
}
