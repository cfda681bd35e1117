package score

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"winnow/io/shard"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
	"winnow/pipeline/task"
)

// blockRows is how many rows are read and scored at a time.
const blockRows = 16384

// Do writes one score file: the rows of its shards in their order, live or not,
// so that the file depends on the shards alone.
func (s *Stage) Do(ctx context.Context, _ *task.Plan, t task.Task) (*task.Result, error) {
	var sp spec
	if err := json.Unmarshal(t.Spec, &sp); err != nil {
		return nil, err
	}
	r := &task.Result{Rows: t.Rows, Output: t.Hash + ".parquet"}
	f := &file{w: s.W, spec: sp, root: workspace.EmbeddingRoot(sp.Embedding, sp.Fingerprint), count: task.Counter(ctx).Add}
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	names := make([]string, len(sp.Columns))
	for i, c := range sp.Columns {
		names[i] = c.Name
	}
	_, err := s.W.Store.Create(ctx, t.Dir+"/"+r.Output, func(w io.Writer) error {
		out, err := shard.NewScoreWriter(w, names)
		if err != nil {
			return err
		}
		if err := f.write(ctx, out); err != nil {
			return err
		}
		if out.Rows() != t.Rows {
			return fmt.Errorf("the shards have %d rows, the plan says %d", out.Rows(), t.Rows)
		}
		return out.Close()
	})
	return r, err
}

// file is one score file on its way.
type file struct {
	w     *workspace.Workspace
	spec  spec
	root  string
	count func(int64)
	pass  *function.Pass // of the columns to compute
	fresh []int          // their places in the file
	kept  map[string][]float32
	cols  [][]float32
	done  int64 // rows written
}

// load reads the fitted functions, and the columns that are kept: they are
// copied, not computed.
func (f *file) load(ctx context.Context) error {
	f.kept = map[string][]float32{}
	e, err := f.w.Embedding(f.spec.Embedding)
	if err != nil {
		return err
	}
	sp, err := f.w.Spec(e)
	if err != nil {
		return err
	}
	l := &workspace.Live{Embedding: e, Fingerprint: f.spec.Fingerprint}
	var scorers []*function.Scorer
	for i, c := range f.spec.Columns {
		if slices.Contains(f.spec.Kept, c.Name) {
			continue
		}
		sc, err := LoadScorer(ctx, f.w, l, c.Name, c.Version)
		if err != nil {
			return err
		}
		scorers, f.fresh = append(scorers, sc), append(f.fresh, i)
	}
	if f.pass, err = function.NewPass(sp.Dim, scorers); err != nil {
		return err
	}
	f.pass.AnyLength = !sp.Normalized()
	f.cols = make([][]float32, len(f.spec.Columns))
	return f.readKept(ctx)
}

func (f *file) readKept(ctx context.Context) error {
	if len(f.spec.Kept) == 0 {
		return nil
	}
	key := workspace.ScoresRoot(f.spec.Embedding) + "/" + f.spec.Keep
	in, err := f.w.Store.OpenAt(ctx, key)
	if err != nil {
		return err
	}
	defer in.Close()
	s, err := shard.OpenScores(in, in.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return s.ReadColumns(f.spec.Kept, func(_ int64, cols [][]float32) error {
		for i, name := range f.spec.Kept {
			f.kept[name] = append(f.kept[name], cols[i]...)
		}
		return ctx.Err()
	})
}

func (f *file) write(ctx context.Context, out *shard.ScoreWriter) error {
	f.done = 0
	for _, path := range f.spec.Shards {
		if err := f.shard(ctx, path, out); err != nil {
			return fmt.Errorf("%s/%s: %w", f.root, path, err)
		}
	}
	return nil
}

func (f *file) shard(ctx context.Context, path string, out *shard.ScoreWriter) error {
	in, err := f.w.Store.OpenAt(ctx, f.root+"/"+path)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := shard.Open(in, in.Size())
	if err != nil {
		return err
	}
	return r.Blocks(shard.ScanOptions{IDs: true, Vectors: true, MaxRows: blockRows}, func(b *shard.Block) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := b.Len()
		for i, c := range f.spec.Columns {
			if kept, ok := f.kept[c.Name]; ok {
				f.cols[i] = kept[f.done : f.done+int64(n)]
			} else {
				f.cols[i] = slices.Grow(f.cols[i][:0], n)[:n]
			}
		}
		f.score(b.Vectors, n)
		f.done += int64(n)
		f.count(int64(n))
		return out.Write(b.AssetID, b.Version, f.cols)
	})
}

// score computes the fresh columns of a block, in whole blocks of the pass, so
// that a row's score does not depend on the number of cores.
func (f *file) score(vectors []float32, n int) {
	if len(f.fresh) == 0 {
		return
	}
	dim := len(vectors) / max(n, 1)
	var wg sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for lo := 0; lo < n; lo += function.BlockRows {
		hi := min(lo+function.BlockRows, n)
		out := make([][]float32, len(f.fresh))
		for k, i := range f.fresh {
			out[k] = f.cols[i][lo:hi]
		}
		limit <- struct{}{}
		wg.Go(func() {
			f.pass.Score(vectors[lo*dim:hi*dim], hi-lo, out)
			<-limit
		})
	}
	wg.Wait()
}
