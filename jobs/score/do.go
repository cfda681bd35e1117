package score

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"winnow/io/shard"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/score"
	"winnow/pipeline/task"
)

// Do writes one score file: the rows of its shards in their order, live or not,
// so that the file depends on the shards alone.
func (s *Stage) Do(ctx context.Context, _ *task.Plan, t task.Task) (*task.Result, error) {
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	work, err := s.task(ctx, sp)
	if err != nil {
		return nil, err
	}
	work.Count = task.Counter(ctx).Add
	r := &task.Result{Rows: t.Rows, Output: t.Hash + ".parquet"}
	_, err = s.W.Store.Create(ctx, t.Dir+"/"+r.Output, func(w io.Writer) error {
		out, err := shard.NewScoreWriter(w, work.Columns)
		if err != nil {
			return err
		}
		rows, err := score.Run(ctx, *work, out)
		if err != nil {
			return err
		}
		if rows != t.Rows {
			return fmt.Errorf("the shards have %d rows, the plan says %d", rows, t.Rows)
		}
		return out.Close()
	})
	return r, err
}

// task reads the fitted functions, and puts shards and kept columns together.
func (s *Stage) task(ctx context.Context, sp spec) (*score.Task, error) {
	space, err := s.W.SpaceOf(ctx, sp.Embedding, sp.Fingerprint)
	if err != nil {
		return nil, err
	}
	t := &score.Task{Dim: space.Spec.Dim, AnyLength: !space.Spec.Normalized()}
	l := &workspace.Live{Embedding: space.Embedding, Fingerprint: sp.Fingerprint}
	for _, c := range sp.Columns {
		t.Columns = append(t.Columns, c.Name)
		if slices.Contains(sp.Kept, c.Name) {
			continue
		}
		f, err := LoadScorer(ctx, s.W, l, c.Name, c.Version)
		if err != nil {
			return nil, err
		}
		t.Functions = append(t.Functions, f)
	}
	if t.Parts, err = s.parts(ctx, sp); err != nil {
		return nil, err
	}
	if len(sp.Kept) > 0 {
		t.Kept = &score.Kept{Columns: sp.Kept, Rows: s.kept(ctx, workspace.ScoresRoot(sp.Embedding)+"/"+sp.Keep, sp.Kept)}
	}
	return t, nil
}

var errStop = errors.New("stop")

// kept streams columns of an existing score file over the same shards: they are
// copied, not computed.
func (s *Stage) kept(ctx context.Context, key string, columns []string) iter.Seq2[score.Scores, error] {
	return func(yield func(score.Scores, error) bool) {
		err := func() error {
			in, err := s.W.Store.OpenAt(ctx, key)
			if err != nil {
				return err
			}
			defer in.Close()
			f, err := shard.OpenScores(in, in.Size())
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return f.Read(columns, func(_ int64, ids, versions []string, cols [][]float32) error {
				if !yield(score.Scores{AssetID: ids, Version: versions, Columns: cols}, nil) {
					return errStop
				}
				return ctx.Err()
			})
		}()
		if err != nil && !errors.Is(err, errStop) {
			yield(score.Scores{}, err)
		}
	}
}
