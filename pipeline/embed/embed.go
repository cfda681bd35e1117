// Package embed turns the items of one task into vectors: fetch → decode →
// batch → infer, with bounded stages.
//
// Which rows share a model batch, and in which order, depends on the items
// alone: items of fixed size (images) are cut into batches in their order,
// items of varying length (texts) are sorted by length first, and a batch of
// long ones has fewer. A rejected item keeps its slot, so its neighbours'
// vectors are what they would be without the fault. Nothing depends on the
// number of workers or on timing.
package embed

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"lukechampine.com/blake3"

	"winnow/pipeline"
)

// Input is one prepared item, ready for a model.
type Input interface {
	// Len is the number of tokens; 0 for inputs of fixed size.
	Len() int
	// Release gives the input's memory back. The input must not be used after.
	Release()
}

// Model turns items into vectors. All methods are safe for concurrent use.
type Model interface {
	// Dim is the length of a vector.
	Dim() int
	// BatchSize is the number of inputs of a full batch.
	BatchSize() int
	// Sessions is the number of Run calls that may go on at once.
	Sessions() int
	// Prepare decodes an image or tokenises a text. data is the item's bytes.
	// A fault of the item is a *pipeline.RowError.
	Prepare(ctx context.Context, item pipeline.Item, data []byte) (Input, error)
	// Run computes the vectors of one batch. A nil input is an empty slot. out
	// holds len(in) × Dim() numbers.
	Run(ctx context.Context, in []Input, out []float32) error
}

// Fetcher reads the bytes of an asset. A fault of the asset is a
// *pipeline.RowError.
type Fetcher interface {
	Fetch(ctx context.Context, uri string) ([]byte, error)
}

// Options bound the work.
type Options struct {
	Fetchers int // fetches at once; default 8
	Ahead    int // fetched items that may wait for a decoder; default 32
	// Bytes is how many fetched bytes may wait for a decoder, give or take a batch;
	// default 128 MiB.
	Bytes int64
	Sort  bool // sort by length: for texts
	// Tokens is how many a sorted batch may have, padding included; 0 is no limit.
	// A text that is longer is alone.
	Tokens int
	// Decoders decode beside the runs of the model: for devices whose runs leave the
	// processor free. 0: each of the Sessions decodes its own batches, so that the two
	// share the cores without being balanced by hand.
	Decoders int
	// Gate is shared by tasks that go on at once: each run of the model, with the
	// decoding before it, puts a value in and takes one out. nil is no limit.
	Gate    chan struct{}
	Stage   string
	Subject string // the embedding's fingerprint, for rejects
	Count   func(n int64)
}

// Output is the result of a task: row i of Vectors belongs to AssetID[i].
type Output struct {
	Dim         int
	AssetID     []string
	Version     []string
	ContentHash []string // BLAKE3 of the bytes, 64 hexadecimal digits
	Vectors     []float32
	Rejects     []pipeline.Reject
}

// slot is one item on its way.
type slot struct {
	item  pipeline.Item
	hash  string
	input Input
	fault *pipeline.RowError
	vec   []float32
}

// Run embeds items and returns the vectors in the order of items, without the
// rejected ones. An error that is no fault of an item stops the task.
func Run(ctx context.Context, items []pipeline.Item, m Model, f Fetcher, o Options) (*Output, error) {
	if o.Fetchers <= 0 {
		o.Fetchers = 8
	}
	if o.Ahead <= 0 {
		o.Ahead = 32
	}
	if o.Bytes <= 0 {
		o.Bytes = 128 << 20
	}
	if o.Count == nil {
		o.Count = func(int64) {}
	}
	slots := make([]slot, len(items))
	for i, it := range items {
		slots[i].item = it
	}
	r := &runner{model: m, fetch: f, o: o, slots: slots, vectors: make([]float32, len(items)*m.Dim())}
	defer r.releaseAll()
	var err error
	if o.Sort {
		err = r.sorted(ctx)
	} else {
		err = r.streamed(ctx)
	}
	if err != nil {
		return nil, err
	}
	return r.output(), nil
}

type runner struct {
	model   Model
	fetch   Fetcher
	o       Options
	slots   []slot
	vectors []float32
}

// prepare fetches and decodes one slot; faults of the item stay in the slot.
func (r *runner) prepare(ctx context.Context, s *slot, data []byte) error {
	input, err := r.model.Prepare(ctx, s.item, data)
	s.hash = contentHash(data)
	if err == nil {
		s.input = input
		return nil
	}
	return s.reject(ctx, err)
}

func (s *slot) reject(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var fault *pipeline.RowError
	if !errors.As(err, &fault) {
		return fmt.Errorf("asset %q: %w", s.item.AssetID, err)
	}
	s.fault = fault
	return nil
}

func (r *runner) bytes(ctx context.Context, it pipeline.Item) ([]byte, error) {
	if it.URI == "" {
		return []byte(it.Text), nil
	}
	return r.fetch.Fetch(ctx, it.URI)
}

// cut splits 0 to n into batches of size.
func (r *runner) cut(n, size int) [][]int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return slices.Collect(slices.Chunk(order, size))
}

// gated runs fn while it holds the gate.
func (r *runner) gated(ctx context.Context, fn func() error) error {
	if r.o.Gate != nil {
		if err := send(ctx, r.o.Gate, struct{}{}); err != nil {
			return err
		}
		defer func() { <-r.o.Gate }()
	}
	return fn()
}

func (r *runner) infer(ctx context.Context, batch []int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	dim := r.model.Dim()
	in := make([]Input, len(batch))
	some := false
	for k, i := range batch {
		if s := &r.slots[i]; s.fault == nil {
			in[k], some = s.input, true
		}
	}
	if some {
		out := make([]float32, len(batch)*dim)
		if err := r.model.Run(ctx, in, out); err != nil {
			return fmt.Errorf("model batch of %d from asset %q: %w", len(batch), r.slots[batch[0]].item.AssetID, err)
		}
		for k, i := range batch {
			s := &r.slots[i]
			if in[k] == nil {
				continue
			}
			v := r.vectors[i*dim : (i+1)*dim]
			copy(v, out[k*dim:])
			if s.fault = CheckVector(v); s.fault == nil {
				s.vec = v
			}
		}
	}
	r.o.Count(int64(len(batch)))
	return nil
}

func (r *runner) releaseAll() {
	for i := range r.slots {
		r.release([]int{i})
	}
}

func (r *runner) release(batch []int) {
	for _, i := range batch {
		if s := &r.slots[i]; s.input != nil {
			s.input.Release()
			s.input = nil
		}
	}
}

// CheckVector refuses what no search can use: NaN, infinity, or nothing but
// zeros. It returns nil for a good vector.
func CheckVector(v []float32) *pipeline.RowError {
	zero := true
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return pipeline.Rowf(pipeline.ReasonBadVector, "the model returned NaN or infinity for it")
		}
		zero = zero && x == 0
	}
	if zero {
		return pipeline.Rowf(pipeline.ReasonBadVector, "the model returned a vector of zeros for it")
	}
	return nil
}

func (r *runner) output() *Output {
	dim := r.model.Dim()
	out := &Output{Dim: dim, Vectors: r.vectors[:0]}
	for i := range r.slots {
		s := &r.slots[i]
		if s.fault != nil {
			out.Rejects = append(out.Rejects, pipeline.Reject{
				AssetID: s.item.AssetID, Version: s.item.Version, Stage: r.o.Stage, Subject: r.o.Subject,
				Reason: s.fault.Reason, Error: s.fault.Err.Error(), Transient: s.fault.Transient,
			})
			continue
		}
		out.AssetID = append(out.AssetID, s.item.AssetID)
		out.Version = append(out.Version, s.item.Version)
		out.ContentHash = append(out.ContentHash, s.hash)
		out.Vectors = append(out.Vectors, s.vec...) // moves down in place
	}
	return out
}

func contentHash(data []byte) string {
	sum := blake3.Sum256(data)
	return hex.EncodeToString(sum[:])
}
