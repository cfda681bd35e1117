package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"winnow/io/store"
	"winnow/jobs/internal/workspace"
)

const (
	runFile  = "run.json"
	maxRun   = 16 << 20
	newest   = 20 // records read of each kind of name
	deadLock = 2 * time.Minute
)

// lastRun finds the run that started last.
func (c *collector) lastRun(ctx context.Context) error {
	var names []string
	for o, err := range c.w.Store.ListDir(ctx, "runs") {
		if err != nil {
			return err
		}
		if o.IsDir {
			names = append(names, path.Base(strings.TrimSuffix(o.Key, "/")))
		}
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, name := range candidates(names) {
		g.Go(func() error {
			r, err := c.readRun(gctx, name)
			if err != nil || r == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if last := c.r.LastRun; last == nil || r.later(last) {
				c.r.LastRun = &r.Run
			}
			if len(r.Functions) > 0 && (c.measured == nil || r.later(&c.measured.Run)) {
				c.measured = r
			}
			return nil
		})
	}
	_, err := c.problem(ctx, "runs", g.Wait())
	return err
}

// record is what a run says of itself in run.json.
type record struct {
	Run
	Functions []struct {
		Name      string   `json:"name"`
		Rule      string   `json:"rule"`
		Threshold *float64 `json:"threshold"`
		Matches   int64    `json:"matches"`
	} `json:"functions"`
}

func (r *Run) later(than *Run) bool {
	return r.Started.After(than.Started) || r.Started.Equal(than.Started) && r.Run > than.Run
}

// measure tells thresholds and matches, which no table holds, as the last run
// found them, while they are still true of the scores.
func (c *collector) measure(ctx context.Context) error {
	if c.measured == nil {
		return nil
	}
	fresh := map[string]bool{} // by embedding
	for i := range c.r.Functions {
		f := &c.r.Functions[i]
		if f.State != Scored {
			continue
		}
		if _, known := fresh[f.Embedding]; !known {
			scored, err := c.scoredAt(ctx, f.spaces)
			if _, err = c.problem(ctx, "scores of "+f.Embedding, err); err != nil {
				return err
			}
			fresh[f.Embedding] = !scored.IsZero() && !scored.After(c.measured.Finished)
		}
		for _, m := range c.measured.Functions {
			if fresh[f.Embedding] && m.Name == f.Name && m.Rule == f.Rule {
				f.Threshold, f.Matches = m.Threshold, &m.Matches
			}
		}
	}
	return nil
}

// scoredAt is when the scores of some embeddings last changed; zero when unknown.
func (c *collector) scoredAt(ctx context.Context, embeddings []string) (last time.Time, err error) {
	for _, e := range embeddings {
		for entry, err := range c.w.Table(workspace.ScoresRoot(e)).History(ctx) {
			if err != nil {
				return last, err
			}
			if entry.Time.After(last) {
				last = entry.Time
			}
			break
		}
	}
	return last, nil
}

// readRun reads the record of a run; nil when the run left none.
func (c *collector) readRun(ctx context.Context, name string) (*record, error) {
	key := "runs/" + name + "/" + runFile
	data, err := c.w.Store.Read(ctx, key, maxRun)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", key, err)
	}
	if r.Run.Run == "" {
		r.Run.Run = name
	}
	return r, nil
}

// candidates picks the runs that may be the last one: names that are times sort
// by time, of the others the last by name are tried.
func candidates(names []string) []string {
	var timed, other []string
	for _, n := range names {
		if _, err := time.Parse("20060102T150405.000Z", n); err == nil {
			timed = append(timed, n)
		} else if !strings.HasPrefix(n, ".") {
			other = append(other, n)
		}
	}
	var out []string
	for _, list := range [][]string{timed, other} {
		slices.Sort(list)
		slices.Reverse(list)
		out = append(out, list[:min(len(list), newest)]...)
	}
	return out
}

// lock tells who is at work in the workspace.
func (c *collector) lock(ctx context.Context) error {
	info, err := c.w.Store.LockInfo(ctx, "workspace")
	if _, err = c.problem(ctx, "lock", err); err != nil || info == nil {
		return err
	}
	c.r.Lock = &Lock{LockInfo: *info, Stale: !info.Seen.IsZero() && c.now.Sub(info.Seen) > deadLock}
	return nil
}
