package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"winnow/models/onnx"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

var errMemory = fmt.Errorf("model x on cuda:0: %w: CUDA failure 2", onnx.ErrMemory)

// TestSearch follows the search over curves of speed and ends of memory.
func TestSearch(t *testing.T) {
	saturating := func(at int) func(int) float64 { // doubling gains up to a batch of at
		return func(n int) float64 { return float64(min(n, at)) * 10 }
	}
	other := errors.New("the GPU fell off the bus")
	for _, c := range []struct {
		name               string
		start, most        int
		rate               func(int) float64
		memory             int // the largest batch that fits
		broken             int // the batch that fails otherwise
		want               int
		fails, tooLittle   bool
		measurementsAtMost int
	}{
		{"grows to the knee", 16, 1024, saturating(128), 4096, 0, 128, false, false, 5},
		{"grows to the bound", 16, 64, saturating(4096), 4096, 0, 64, false, false, 3},
		{"shrinks to the knee", 64, 1024, saturating(16), 4096, 0, 16, false, false, 5},
		{"stays", 32, 1024, saturating(32), 4096, 0, 32, false, false, 3},
		{"memory ends above", 16, 1024, saturating(4096), 40, 0, 32, false, false, 3},
		{"memory ends below", 64, 1024, saturating(4096), 20, 0, 16, false, false, 4},
		{"memory holds one", 64, 1024, saturating(4096), 1, 0, 1, false, false, 7},
		{"memory holds none", 8, 1024, saturating(4096), 0, 0, 0, true, true, 4},
		{"flat", 8, 1024, func(int) float64 { return 7 }, 4096, 0, 1, false, false, 5},
		{"a start above the bound", 4096, 64, saturating(4096), 4096, 0, 64, false, false, 2},
		{"another error", 16, 1024, saturating(4096), 4096, 32, 0, true, false, 2},
		{"another error at once", 16, 1024, saturating(4096), 4096, 16, 0, true, false, 1},
	} {
		calls := 0
		got, _, err := search(c.start, c.most, func(n int) (float64, error) {
			calls++
			switch {
			case n == c.broken:
				return 0, other
			case n > c.memory:
				return 0, errMemory
			}
			return c.rate(n), nil
		})
		if got != c.want || (err != nil) != c.fails || errors.Is(err, onnx.ErrMemory) != c.tooLittle || calls > c.measurementsAtMost {
			t.Errorf("%s: %d after %d measurements, %v; want %d", c.name, got, calls, err, c.want)
		}
	}
}

type figure int

func (figure) Len() int { return 0 }
func (figure) Release() {}

// scarce is a Batched whose runs fail above a figure of rows; it notes the runs.
func scarce(size, fits, fixed int) (*Batched, *[]string) {
	runs := new([]string)
	m := &Model{spec: &Spec{Name: "scarce", Dim: 1}, fixedRows: fixed}
	b := &Batched{Model: m, size: size, run: func(_ context.Context, in []embed.Input, out []float32) error {
		if len(in) > fits {
			*runs = append(*runs, fmt.Sprint("!", len(in)))
			return errMemory
		}
		*runs = append(*runs, fmt.Sprint(len(in)))
		for i, x := range in {
			out[i] = float32(x.(figure))
		}
		return nil
	}}
	return b, runs
}

func figures(n int) []embed.Input {
	in := make([]embed.Input, n)
	for i := range in {
		in[i] = figure(i + 1)
	}
	return in
}

func TestMemoryEnds(t *testing.T) {
	for _, c := range []struct {
		name       string
		rows, fits int
		runs       []string // of the first batch
		again      []string // of a second one of the same size
	}{
		{"all fits", 8, 8, []string{"8"}, []string{"8"}},
		{"a half fits", 8, 5, []string{"!8", "4", "4"}, []string{"4", "4"}},
		{"a quarter fits", 10, 3, []string{"!10", "!5", "3", "2", "3", "2"}, []string{"3", "2", "3", "2"}},
		{"one fits", 3, 1, []string{"!3", "!2", "1", "1", "1"}, []string{"1", "1", "1"}},
	} {
		b, runs := scarce(c.rows, c.fits, 0)
		for _, want := range [][]string{c.runs, c.again} {
			*runs = nil
			out := make([]float32, c.rows)
			if err := b.Run(t.Context(), figures(c.rows), out); err != nil {
				t.Fatal(err)
			}
			for i, v := range out {
				if v != float32(i+1) {
					t.Errorf("%s: row %d got %v", c.name, i, v)
				}
			}
			if !slices.Equal(*runs, want) {
				t.Errorf("%s: runs %v, want %v", c.name, *runs, want)
			}
		}
		if b.BatchSize() != c.rows || (b.Reduced() == 0) != (c.fits >= c.rows) || b.Reduced() > c.fits {
			t.Errorf("%s: size %d, reduced to %d", c.name, b.BatchSize(), b.Reduced())
		}
	}
	b, _ := scarce(4, 0, 0)
	if err := b.Run(t.Context(), figures(4), make([]float32, 4)); !errors.Is(err, onnx.ErrMemory) {
		t.Errorf("nothing fits: %v", err)
	}
	b, runs := scarce(4, 2, 4)
	if err := b.Run(t.Context(), figures(4), make([]float32, 4)); !errors.Is(err, onnx.ErrMemory) || len(*runs) != 1 {
		t.Errorf("a model of fixed size was cut: %v, %v", err, *runs)
	}
}

// TestMemoryEndsInATask runs a task through pipeline/embed while memory ends.
func TestMemoryEndsInATask(t *testing.T) {
	b, runs := scarce(16, 5, 0)
	m := taskModel{b}
	items := make([]pipeline.Item, 100)
	for i := range items {
		items[i] = pipeline.Item{AssetID: fmt.Sprintf("%03d", i), Text: fmt.Sprint(i + 1)}
	}
	out, err := embed.Run(t.Context(), items, m, nil, embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range out.Vectors {
		if v != float32(i+1) {
			t.Errorf("row %d got %v", i, v)
		}
	}
	if want := []string{"!16", "!8", "4"}; !slices.Equal((*runs)[:3], want) || slices.Contains((*runs)[2:], "!8") || b.Reduced() != 4 {
		t.Errorf("runs %v, reduced to %d", *runs, b.Reduced())
	}
}

// taskModel prepares numbers and runs one batch at a time.
type taskModel struct{ *Batched }

func (taskModel) Sessions() int { return 1 }
func (taskModel) Prepare(_ context.Context, _ pipeline.Item, data []byte) (embed.Input, error) {
	var n figure
	_, err := fmt.Sscan(string(data), &n)
	return n, err
}
