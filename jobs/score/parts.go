package score

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"winnow/io/shard"
	"winnow/io/store"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
	"winnow/pipeline/score"
)

const (
	// partRows is about how many rows a part has: so few that all of its scores can
	// wait for their turn, or the workers wait for the one that is behind.
	partRows = 8 * function.BlockRows
	// opening is the number of shards that are opened at once.
	opening = 16
)

// parts cuts the shards of a task where their row groups end.
func (s *Stage) parts(ctx context.Context, sp spec) ([]score.Part, error) {
	root := workspace.EmbeddingRoot(sp.Embedding, sp.Fingerprint)
	cut := make([][]score.Part, len(sp.Shards))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(opening)
	for i, path := range sp.Shards {
		g.Go(func() error {
			in := &input{w: s.W, key: root + "/" + path}
			r, err := in.take(ctx)
			if err != nil {
				return err
			}
			defer in.release()
			cut[i] = in.cut(r.GroupRows())
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []score.Part
	for _, list := range cut {
		out = append(out, list...)
	}
	return out, nil
}

// input is a shard, which its parts open together: a remote one has a cache.
type input struct {
	w   *workspace.Workspace
	key string

	mu    sync.Mutex
	reads int // parts that read now
	file  *store.File
	r     *shard.Reader
}

// cut puts row groups together into parts.
func (in *input) cut(groups []int64) (parts []score.Part) {
	p, rows := part{in: in}, int64(0)
	for i, n := range groups {
		if rows > 0 && rows+n > partRows {
			parts = append(parts, p)
			p.groups.From, rows = i, 0
		}
		p.groups.To = i + 1
		rows += n
	}
	if rows > 0 {
		parts = append(parts, p)
	}
	return parts
}

func (in *input) take(ctx context.Context) (*shard.Reader, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.r == nil {
		file, err := in.w.Store.OpenAt(ctx, in.key)
		if err != nil {
			return nil, err
		}
		r, err := shard.Open(file, file.Size())
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("%s: %w", in.key, err)
		}
		in.file, in.r = file, r
	}
	in.reads++
	return in.r, nil
}

func (in *input) release() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.reads--; in.reads == 0 {
		in.file.Close()
		in.file, in.r = nil, nil
	}
}

// part is some row groups of a shard.
type part struct {
	in     *input
	groups shard.Groups
}

// Read implements score.Part.
func (p part) Read(ctx context.Context, fn func(score.Block) error) error {
	r, err := p.in.take(ctx)
	if err != nil {
		return err
	}
	defer p.in.release()
	// Whole blocks of a pass, so that a row's score does not depend on how it was
	// reached.
	err = r.Blocks(shard.ScanOptions{Keys: true, Vectors: true, MaxRows: function.BlockRows, Groups: p.groups}, func(b *shard.Block) error {
		return fn(score.Block{AssetID: b.AssetID, Version: b.Version, Vectors: b.Vectors})
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.in.key, err)
	}
	return nil
}
