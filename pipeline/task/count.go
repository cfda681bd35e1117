package task

import (
	"context"
	"sync/atomic"

	"winnow/pipeline"
)

type counterKey struct{}

// Counter returns the counter of the task that ctx belongs to. What a task does
// not count itself is counted when it ends.
func Counter(ctx context.Context) pipeline.Counter {
	if c, ok := ctx.Value(counterKey{}).(pipeline.Counter); ok {
		return c
	}
	return pipeline.Quiet.Start("", "", 0)
}

func withCounter(ctx context.Context, c pipeline.Counter) context.Context {
	return context.WithValue(ctx, counterKey{}, c)
}

// rest forwards counts up to the rows of a task, and the remainder at its end.
type rest struct {
	counter pipeline.Counter
	left    int64
}

func (r *rest) Add(n int64) {
	if left := atomic.AddInt64(&r.left, -n); left < 0 {
		n += left // more than the task has: show no more than all
		atomic.StoreInt64(&r.left, 0)
	}
	if n > 0 {
		r.counter.Add(n)
	}
}

func (r *rest) Done() {}

func (r *rest) finish() {
	if n := atomic.SwapInt64(&r.left, 0); n > 0 {
		r.counter.Add(n)
	}
}
