package embed

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// fetched is an item's bytes, or the fault that came instead.
type fetched struct {
	data []byte
	err  error
}

// stream is the state of a task whose items keep their order.
type stream struct {
	*runner
	ready []chan fetched // one for each item: by then its place in line is clear
	// ahead holds a token for each item between its fetch and its decode, or, where
	// decoders run apart, the end of its batch.
	ahead   chan struct{}
	batches [][]int

	held  atomic.Int64  // fetched bytes that wait for a decoder
	freed chan struct{} // says that held has shrunk
}

// streamed cuts slots into batches in their order. Fetchers run ahead by a bounded
// number of items.
func (r *runner) streamed(ctx context.Context) error {
	size := r.model.BatchSize()
	s := &stream{runner: r, batches: r.cut(len(r.slots), size), freed: make(chan struct{}, 1)}
	s.ready = make([]chan fetched, len(r.slots))
	for i := range s.ready {
		s.ready[i] = make(chan fetched, 1)
	}
	room := max(r.o.Ahead, 2*size*r.model.Sessions())
	if r.o.Decoders > 0 { // a batch that is in the model, and one that is being filled
		room += 2 * size * r.model.Sessions()
	}
	s.ahead = make(chan struct{}, room)
	g, ctx := errgroup.WithContext(ctx)
	s.fetchAll(ctx, g)
	if r.o.Decoders > 0 {
		s.decodeApart(ctx, g)
	} else {
		s.decodeOwn(ctx, g)
	}
	return g.Wait()
}

// send puts a value into a channel unless the context ends.
func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *stream) fetchAll(ctx context.Context, g *errgroup.Group) {
	next := make(chan int)
	g.Go(func() error {
		defer close(next)
		for i := range s.slots {
			if err := s.room(ctx, i); err != nil {
				return err
			}
			if err := send(ctx, s.ahead, struct{}{}); err != nil {
				return err
			}
			if err := send(ctx, next, i); err != nil {
				return err
			}
		}
		return nil
	})
	for range s.o.Fetchers {
		g.Go(func() error {
			for i := range next {
				data, err := s.bytes(ctx, s.slots[i].item)
				s.held.Add(int64(len(data)))
				s.ready[i] <- fetched{data, err}
			}
			return nil
		})
	}
}

// room waits until few enough bytes wait for a decoder. It does so between batches
// only: what waits then are whole batches, which somebody will take.
func (s *stream) room(ctx context.Context, i int) error {
	if i%s.model.BatchSize() != 0 {
		return nil
	}
	for s.held.Load() >= s.o.Bytes {
		select {
		case <-s.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// free gives the room of an item's bytes back.
func (s *stream) free(got fetched) {
	if len(got.data) == 0 {
		return
	}
	s.held.Add(-int64(len(got.data)))
	select {
	case s.freed <- struct{}{}:
	default: // it is said already
	}
}

// decodeOwn lets each worker decode and infer whole batches.
func (s *stream) decodeOwn(ctx context.Context, g *errgroup.Group) {
	work := make(chan []int)
	g.Go(func() error {
		defer close(work)
		for _, b := range s.batches {
			if err := send(ctx, work, b); err != nil {
				return err
			}
		}
		return nil
	})
	for range s.model.Sessions() {
		g.Go(func() error {
			for b := range work {
				if err := s.decodeAndRun(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// decodeAndRun waits for the bytes of a whole batch, so that it has a core for as
// long as it holds the gate.
func (s *stream) decodeAndRun(ctx context.Context, batch []int) error {
	defer s.release(batch)
	got := make([]fetched, len(batch))
	for k, i := range batch {
		var err error
		if got[k], err = s.take(ctx, i); err != nil {
			return err
		}
	}
	return s.gated(ctx, func() error {
		for k, i := range batch {
			err := s.decode(ctx, i, got[k])
			s.free(got[k])
			got[k].data = nil
			<-s.ahead
			if err != nil {
				return err
			}
		}
		return s.infer(ctx, batch)
	})
}

// take waits for an item's bytes.
func (s *stream) take(ctx context.Context, i int) (fetched, error) {
	select {
	case got := <-s.ready[i]:
		return got, nil
	case <-ctx.Done():
		return fetched{}, context.Cause(ctx)
	}
}

func (s *stream) decode(ctx context.Context, i int, got fetched) error {
	if got.err != nil {
		return s.slots[i].reject(ctx, got.err)
	}
	return s.prepare(ctx, &s.slots[i], got.data)
}

// decodeApart lets decoders fill batches, item by item in their order, and hands
// full ones to the workers.
func (s *stream) decodeApart(ctx context.Context, g *errgroup.Group) {
	size := s.model.BatchSize()
	var next atomic.Int64
	open := make([]atomic.Int64, len(s.batches)) // items that are not decoded yet
	for k, b := range s.batches {
		open[k].Store(int64(len(b)))
	}
	full := make(chan []int, len(s.batches))
	decoders, dctx := errgroup.WithContext(ctx)
	for range s.o.Decoders {
		decoders.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(s.slots) {
					return nil
				}
				got, err := s.take(dctx, i)
				if err == nil {
					err = s.decode(dctx, i, got)
					s.free(got)
				}
				if err != nil {
					return err
				}
				if open[i/size].Add(-1) == 0 {
					full <- s.batches[i/size]
				}
			}
		})
	}
	g.Go(func() error {
		defer close(full)
		return decoders.Wait()
	})
	for range s.model.Sessions() {
		g.Go(func() error {
			for b := range full {
				err := s.gated(ctx, func() error { return s.infer(ctx, b) })
				s.release(b)
				for range b {
					<-s.ahead
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}
