package models

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"winnow/models/onnx"
	"winnow/pipeline/embed"
)

// Batched is a model with batches of a size that a plan has frozen, and for one
// task: where memory ends, it halves them for the rest of the task.
type Batched struct {
	*Model
	size int
	run  func(context.Context, []embed.Input, []float32) error

	mu    sync.Mutex
	limit int // rows that a run may have, since more did not fit; 0: none
}

// Batched fixes the batch size, whatever the device. A model of a fixed size keeps
// its own. The model stays the caller's to close.
func (m *Model) Batched(size int) *Batched {
	if size <= 0 || m.fixedRows > 0 {
		size = m.BatchSize()
	}
	return &Batched{Model: m, size: size, run: m.Run}
}

// BatchSize implements embed.Model.
func (b *Batched) BatchSize() int { return b.size }

// Reduced is the number of rows to which runs were cut for lack of memory, or 0.
func (b *Batched) Reduced() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit
}

// Run implements embed.Model. A batch that does not fit into the device's memory is
// cut into halves, the first the larger, and these again where they do not fit; later
// batches are cut at once until they are as small. So which rows share a run follows
// from the batch and from the size that fits.
func (b *Batched) Run(ctx context.Context, in []embed.Input, out []float32) error {
	if limit := b.Reduced(); limit == 0 || len(in) <= limit {
		err := b.run(ctx, in, out)
		if !errors.Is(err, onnx.ErrMemory) {
			return err
		}
		if len(in) == 1 || b.fixedRows > 0 {
			return fmt.Errorf("%w; no smaller batch is left: free the device's memory, take a smaller model, or write device: cpu", err)
		}
		b.lower((len(in) + 1) / 2)
	}
	half, dim := (len(in)+1)/2, b.Dim()
	if err := b.Run(ctx, in[:half], out[:half*dim]); err != nil {
		return err
	}
	return b.Run(ctx, in[half:], out[half*dim:])
}

func (b *Batched) lower(limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit == 0 || limit < b.limit {
		b.limit = limit
	}
}

// Bounds of the search for a batch size.
const (
	mostRows   = 256  // of a batch: two of pictures a GPU are 300 MB
	worthwhile = 1.05 // gain in speed for which a batch is doubled
	usualText  = 64   // tokens of a text whose speed is measured
)

// FindBatch tries batch sizes on the model's devices, all of them busy, and returns
// the smallest from which doubling gains no more than 5 % and that fits into memory
// at the longest input, and the rows a second there. The spec's size is where it
// begins. It takes seconds; the result depends on the machine and is to be kept.
func (m *Model) FindBatch(ctx context.Context) (size int, rate float64, err error) {
	if m.fixedRows > 0 {
		rate, err = m.measure(ctx, m.fixedRows, usualText)
		return m.fixedRows, rate, err
	}
	size, rate, err = search(m.BatchSize(), mostRows, func(n int) (float64, error) { return m.measure(ctx, n, usualText) })
	if err != nil || m.spec.Kind != Text {
		return size, rate, err
	}
	for ; ; size /= 2 {
		if _, err = m.measure(ctx, size, m.longest()); !errors.Is(err, onnx.ErrMemory) || size == 1 {
			return size, rate, err
		}
	}
}

func (m *Model) longest() int { return max(m.spec.Text.MaxTokens, m.fixedTokens) }

// search doubles a size, from start, while that makes it faster by more than 5 %; or
// halves it while that makes it no slower, and where memory ends.
func search(start, most int, measure func(n int) (rate float64, err error)) (int, float64, error) {
	n := min(start, most)
	rate, err := measure(n)
	for errors.Is(err, onnx.ErrMemory) && n > 1 {
		n /= 2
		most = n // what is larger did not fit
		rate, err = measure(n)
	}
	if err != nil {
		return 0, 0, err
	}
	begin := n
	for 2*n <= most {
		faster, err := measure(2 * n)
		if err != nil && !errors.Is(err, onnx.ErrMemory) {
			return 0, 0, err
		}
		if err != nil || faster <= rate*worthwhile {
			break
		}
		n, rate = 2*n, faster
	}
	for n == begin && n > 1 {
		smaller, err := measure(n / 2)
		if err != nil {
			return 0, 0, err
		}
		if rate > smaller*worthwhile {
			break
		}
		n, rate, begin = n/2, smaller, n/2
	}
	return n, rate, nil
}

// measure is the rows a second of batches of n, by as many runs at a time as a task
// has. The first run of a shape, which makes plans and takes memory, does not count;
// of three rounds the fastest does.
func (m *Model) measure(ctx context.Context, n, length int) (float64, error) {
	if m.spec.Kind == Text {
		length = min(length, m.longest())
	}
	best := time.Duration(0)
	for round := range 4 {
		begin := time.Now()
		if err := m.together(ctx, n, length); err != nil {
			return 0, err
		}
		if took := time.Since(begin); round > 0 && (best == 0 || took < best) {
			best = took
		}
	}
	return float64(n*m.Sessions()) / max(best.Seconds(), 1e-9), nil
}

// together runs a batch of n in every slot at once.
func (m *Model) together(ctx context.Context, n, length int) error {
	x := m.example(length)
	errs := make([]error, m.Sessions())
	var wg sync.WaitGroup
	for k := range errs {
		wg.Go(func() {
			in, out := make([]embed.Input, n), make([]float32, n*m.Dim())
			for i := range in {
				in[i] = x
			}
			errs[k] = m.Run(ctx, in, out)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
