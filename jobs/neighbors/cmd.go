package neighbors

import (
	"context"
	"errors"
	"fmt"

	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
)

// Cmd is the neighbors command.
type Cmd struct {
	stage.Flags
	Embeddings []string `arg:"" optional:"" name:"embedding" help:"Only these embeddings. Default: all."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Finds the nearest rows of every row, 15 or as many as the embedding's neighbors: {k: 15} says, and keeps them as the Delta
table neighbors/<embedding>/<fingerprint>: asset_id, version, neighbor_ids, neighbor_rows, cosines. Up to some 100,000 rows
all are compared; beyond that the index chooses candidates (its recall is in index.json), and cosines come from the vectors.
New rows are searched for and offered to the lists of all others; rows that are gone vanish from the lists. winnow duplicates
reads the table and makes it where it is missing; embeddings whose config says neighbors: get it in every winnow run.

Examples:
  winnow neighbors
  winnow neighbors image
  winnow neighbors image --run R --plan        then --task N, in any number of processes, and --commit

Exit status: 0 done, 1 failed, 2 usage or config, 11 another run holds the lock, 130 or 143 interrupted.`
}

// Run does the chosen step and prints what was done.
func (c *Cmd) Run(ctx context.Context, app *job.App) (err error) {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	only := c.Embeddings
	if only == nil {
		for _, e := range w.Config.Embeddings {
			only = append(only, e.Name)
		}
	}
	s := &Stage{W: w, Only: only}
	defer s.drop()
	if c.Step() == "all" {
		sum := &stage.Summary{Stage: s.Name(), Step: "all", Run: app.Run}
		err := w.Locked(ctx, func(ctx context.Context) error { return s.all(ctx, sum) })
		if err != nil {
			return err
		}
		return app.Print(sum, sum.Print)
	}
	sum, err := stage.Run(ctx, w, s, c.Flags)
	if err != nil {
		return err
	}
	return app.Print(sum, sum.Print)
}

// all runs the whole stage, and the index stage first where it is needed. The
// caller holds the lock.
func (s *Stage) all(ctx context.Context, sum *stage.Summary) error {
	list, err := s.embeddings()
	if err != nil {
		return err
	}
	for _, e := range list {
		l, err := s.W.Live(ctx, e)
		if err != nil {
			return err
		}
		if work(l.Rows, l.Rows, l.Dim) <= s.cheap() {
			continue
		}
		if err := stage.All(ctx, s.W, &indexjob.Stage{W: s.W}, &stage.Summary{}); err != nil {
			return err
		}
		break
	}
	return stage.All(ctx, s.W, s, sum)
}

// Ensure returns the neighbours of the live rows, at least as many as the config
// asks for. It finds them first where they are missing: the caller holds the lock.
func Ensure(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (*Graph, error) {
	g, err := Open(ctx, w, l, l.Embedding.K())
	if g != nil || err != nil || l.Rows < 2 {
		return g, err
	}
	s := &Stage{W: w, Only: []string{l.Embedding.Name}}
	defer s.drop()
	if err := s.all(ctx, &stage.Summary{}); err != nil {
		return nil, err
	}
	g, err = Open(ctx, w, l, l.Embedding.K())
	if err == nil && g == nil {
		err = fmt.Errorf("the rows of embedding %s changed while their neighbours were found; run again", l.Embedding.Name)
	}
	return g, err
}
