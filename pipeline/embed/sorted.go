package embed

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
)

// chunk is how many texts a worker tokenises at a time: one takes microseconds.
const chunk = 64

// sorted prepares all slots first, then cuts them into batches of like length.
func (r *runner) sorted(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	workers := max(r.model.Sessions(), r.o.Decoders)
	if len(r.slots) > 0 && r.slots[0].item.URI != "" {
		workers = max(workers, r.o.Fetchers) // they wait for bytes
	}
	g.SetLimit(workers)
	for _, part := range r.cut(len(r.slots), chunk) {
		g.Go(func() error { return r.prepareAll(gctx, part) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	batches := r.byLength()
	// The longest batches go first, so that no worker ends alone with one.
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(r.model.Sessions())
	for k := len(batches) - 1; k >= 0; k-- {
		g.Go(func() error {
			defer r.release(batches[k])
			return r.gated(gctx, func() error { return r.infer(gctx, batches[k]) })
		})
	}
	return g.Wait()
}

func (r *runner) prepareAll(ctx context.Context, part []int) error {
	for _, i := range part {
		s := &r.slots[i]
		data, err := r.bytes(ctx, s.item)
		if err != nil {
			err = s.reject(ctx, err)
		} else {
			err = r.prepare(ctx, s, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byLength sorts the prepared slots, shortest first, and cuts them into batches
// within the bounds of rows and of tokens.
func (r *runner) byLength() [][]int {
	order := make([]int, 0, len(r.slots))
	for i, s := range r.slots {
		if s.input != nil {
			order = append(order, i)
		}
	}
	length := func(i int) int { return r.slots[i].input.Len() }
	slices.SortStableFunc(order, func(a, b int) int { return length(a) - length(b) })
	var out [][]int
	for len(order) > 0 {
		n := 1
		// The longest of a batch, to which all are padded, is its last.
		for n < len(order) && n < r.model.BatchSize() && (r.o.Tokens <= 0 || (n+1)*length(order[n]) <= r.o.Tokens) {
			n++
		}
		out = append(out, order[:n:n])
		order = order[n:]
	}
	return out
}
