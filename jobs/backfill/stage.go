// Package backfill is the backfill job: it fills an embedding under the model that
// the config names, beside the one in use, and moves the embedding to it in one
// step once every asset is there.
//
// Runs, searches and batches use the old model until then, and new assets are
// embedded with it. The move is one put-if-absent object, the embedding's next
// head; it is made under the workspace's lock, which is held for planning and
// committing only, so that nightly runs go on while a long backfill works.
package backfill

import (
	"context"

	"winnow/configs"
	"winnow/jobs/embed"
	"winnow/jobs/internal/workspace"
	pipe "winnow/pipeline/embed"
	"winnow/pipeline/task"
)

// Options of a backfill.
type Options struct {
	Embedding string // "" for all whose model changed
	Rate      Rate
	Limit     int64 // rows of this call; 0: all
	Now       bool  // move with what is there
}

// Stage is the backfill as a task.Stage: the embed stage into other spaces, and
// the move in its commit.
type Stage struct {
	W *workspace.Workspace
	Options
	Moves []*Move // what the last Commit found, by embedding

	embed embed.Stage
	limit *limiter
}

// NewStage returns a Stage.
func NewStage(w *workspace.Workspace, o Options) *Stage {
	s := &Stage{W: w, Options: o}
	s.embed = embed.Stage{W: w, Into: &embed.Into{Stage: s.Name(), Limit: o.Limit}}
	if o.Rate > 0 {
		s.limit = &limiter{rate: o.Rate}
		s.embed.Into.TaskRows = max(16, int64(float64(o.Rate)*30)) // half a minute of work
		s.embed.Into.Model = func(m pipe.Model) pipe.Model { return limited{m, s.limit} }
	}
	return s
}

// Name is the stage's name.
func (*Stage) Name() string { return "backfill" }

// Close frees the models.
func (s *Stage) Close() { s.embed.Close() }

// pair is an embedding that has to move.
type pair struct{ from, to *workspace.Space }

// pairs are the chosen embeddings whose model is not the config's.
func (s *Stage) pairs(ctx context.Context) ([]pair, error) {
	list := s.W.Config.Embeddings
	if s.Embedding != "" {
		e, err := s.W.Embedding(s.Embedding)
		if err != nil {
			return nil, err
		}
		list = []configs.Embedding{e}
	}
	var out []pair
	for _, e := range list {
		from, to, err := s.W.Move(ctx, e)
		if err != nil {
			return nil, err
		}
		if from != to {
			out = append(out, pair{from, to})
		}
	}
	return out, nil
}

// Plan lists the rows that have no vector under the config's model.
func (s *Stage) Plan(ctx context.Context, run string) (*task.Plan, error) {
	s.W.Forget() // runs may have come in between
	list, err := s.pairs(ctx)
	if err != nil {
		return nil, err
	}
	s.embed.Into.Spaces = nil
	if !s.Now {
		for _, p := range list {
			s.embed.Into.Spaces = append(s.embed.Into.Spaces, p.to)
		}
	}
	return s.embed.Plan(ctx, run)
}

// Do embeds the rows of one task.
func (s *Stage) Do(ctx context.Context, p *task.Plan, t task.Task) (*task.Result, error) {
	return s.embed.Do(ctx, p, t)
}

// Commit publishes the vectors, and moves every embedding that has all of them.
func (s *Stage) Commit(ctx context.Context, p *task.Plan, results []*task.Result) error {
	if err := s.embed.Commit(ctx, p, results); err != nil {
		return err
	}
	s.W.Forget()
	list, err := s.pairs(ctx)
	if err != nil {
		return err
	}
	s.Moves = nil
	for _, x := range list {
		m, err := s.move(ctx, p.Run, x)
		if err != nil {
			return err
		}
		s.Moves = append(s.Moves, m)
	}
	s.W.Forget()
	return nil
}

var _ task.Stage = (*Stage)(nil)
