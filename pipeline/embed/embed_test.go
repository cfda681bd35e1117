package embed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"winnow/pipeline"
)

// lengths is a model whose vector is (length of the text, batch size, longest of
// the batch): it shows who shared a batch with whom.
type lengths struct {
	batch, sessions int
	open            atomic.Int64 // inputs that were not released
	fail            string       // Run fails when this text is in the batch
}

type text struct {
	s string
	m *lengths
}

func (t text) Len() int { return len(t.s) }
func (t text) Release() { t.m.open.Add(-1) }

func (m *lengths) Dim() int       { return 3 }
func (m *lengths) BatchSize() int { return m.batch }
func (m *lengths) Sessions() int  { return m.sessions }
func (m *lengths) Prepare(_ context.Context, it pipeline.Item, data []byte) (Input, error) {
	if strings.HasPrefix(string(data), "bad") {
		return nil, pipeline.Rowf(pipeline.ReasonCorrupt, "starts with bad")
	}
	m.open.Add(1)
	return text{string(data), m}, nil
}

func (m *lengths) Run(ctx context.Context, in []Input, out []float32) error {
	longest := 0
	for _, x := range in {
		if x != nil {
			longest = max(longest, x.Len())
		}
	}
	for i, x := range in {
		if x == nil {
			continue
		}
		s := x.(text).s
		if s == m.fail {
			return errors.New("out of memory")
		}
		if s == "zero" {
			continue
		}
		out[3*i], out[3*i+1], out[3*i+2] = float32(len(s)), float32(len(in)), float32(longest)
	}
	return nil
}

type fetcher map[string]string

func (f fetcher) Fetch(ctx context.Context, uri string) ([]byte, error) {
	if uri == "slow" {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Minute):
		}
	}
	s, ok := f[uri]
	if !ok {
		return nil, &pipeline.RowError{Reason: pipeline.ReasonNotFound, Err: fmt.Errorf("%s is not there", uri)}
	}
	return []byte(s), nil
}

func items(texts ...string) []pipeline.Item {
	var out []pipeline.Item
	for i, s := range texts {
		it := pipeline.Item{AssetID: fmt.Sprint("a", i), Version: "1", Text: s}
		if uri, ok := strings.CutPrefix(s, "@"); ok {
			it.URI, it.Text = uri, ""
		}
		out = append(out, it)
	}
	return out
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name    string
		sort    bool
		in      []pipeline.Item
		vectors []float32
		rejects []string
	}{
		{"in order, a fault keeps its slot", false, items("ccc", "bad", "a", "bb", "dddd"),
			[]float32{3, 2, 3, 1, 2, 2, 2, 2, 2, 4, 1, 4}, []string{"a1 corrupt"}},
		{"sorted by length", true, items("ccc", "bad", "a", "bb", "dddd"),
			[]float32{3, 2, 4, 1, 2, 2, 2, 2, 2, 4, 2, 4}, []string{"a1 corrupt"}},
		{"fetched", false, items("@x", "@gone", "@y"), []float32{2, 2, 2, 5, 1, 5}, []string{"a1 not_found"}},
		{"zero vector", false, items("zero", "a"), []float32{1, 2, 4}, []string{"a0 bad_vector"}},
		{"nothing left", true, items("bad", "bad too"), nil, []string{"a0 corrupt", "a1 corrupt"}},
		{"empty", false, nil, nil, nil},
	} {
		for _, sessions := range []int{1, 4} {
			t.Run(fmt.Sprint(c.name, sessions), func(t *testing.T) {
				m := &lengths{batch: 2, sessions: sessions}
				out, err := Run(t.Context(), c.in, m, fetcher{"x": "xx", "y": "yyyyy"}, Options{Sort: c.sort, Stage: "embed", Subject: "f"})
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Vectors) != 0 || len(c.vectors) != 0 {
					if d := cmp.Diff(c.vectors, out.Vectors); d != "" {
						t.Error(d)
					}
				}
				var rejects []string
				for _, r := range out.Rejects {
					rejects = append(rejects, r.AssetID+" "+r.Reason)
				}
				if d := cmp.Diff(c.rejects, rejects); d != "" {
					t.Error(d)
				}
				if n := m.open.Load(); n != 0 {
					t.Errorf("%d inputs were not released", n)
				}
				if len(out.ContentHash)*3 != len(out.Vectors) || len(out.AssetID)*3 != len(out.Vectors) {
					t.Errorf("%d ids, %d hashes, %d numbers", len(out.AssetID), len(out.ContentHash), len(out.Vectors))
				}
			})
		}
	}
}

// TestRunSameForAnyNumberOfWorkers changes everything but the items and the bounds
// of a batch.
func TestRunSameForAnyNumberOfWorkers(t *testing.T) {
	var texts []string
	for i := range 200 {
		texts = append(texts, strings.Repeat("x", i*7919%37+1))
	}
	texts[70], texts[140] = "bad", "zero"
	for _, sorted := range []bool{false, true} {
		var want *Output
		for _, decoders := range []int{0, 1, 5} {
			for _, sessions := range []int{1, 2, 7} {
				m := &lengths{batch: 8, sessions: sessions}
				got, err := Run(t.Context(), items(texts...), m, nil,
					Options{Sort: sorted, Tokens: 100, Fetchers: sessions, Ahead: 1, Bytes: 1, Decoders: decoders, Gate: make(chan struct{}, 1)})
				if err != nil {
					t.Fatal(err)
				}
				if n := m.open.Load(); n != 0 {
					t.Errorf("%d inputs were not released", n)
				}
				if want == nil {
					want = got
				} else if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
			}
		}
	}
}

// TestRunTokens shows that no batch has more tokens than it may, but one whose only
// text is too long.
func TestRunTokens(t *testing.T) {
	var texts []string
	for _, n := range []int{30, 1, 1, 1, 1, 1, 2, 9, 10, 11} {
		texts = append(texts, strings.Repeat("x", n))
	}
	out, err := Run(t.Context(), items(texts...), &lengths{batch: 4, sessions: 2}, nil, Options{Sort: true, Tokens: 20})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := 0; i < len(out.Vectors); i += 3 {
		got = append(got, fmt.Sprint(out.Vectors[i:i+3])) // length, rows of the batch, its longest
	}
	want := strings.Split("[30 1 30],[1 4 1],[1 4 1],[1 4 1],[1 4 1],[1 2 2],[2 2 2],[9 2 10],[10 2 10],[11 1 11]", ",")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestGate counts the runs that go on at once in two tasks.
func TestGate(t *testing.T) {
	m := &counting{lengths: lengths{batch: 2, sessions: 4}}
	gate := make(chan struct{}, 3)
	var g errgroup.Group
	for _, sorted := range []bool{false, true} {
		g.Go(func() error {
			_, err := Run(t.Context(), items(strings.Split(strings.Repeat("x,", 60)+"y", ",")...), m, nil, Options{Sort: sorted, Gate: gate})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := m.most.Load(); n != 3 {
		t.Errorf("%d runs at once, want 3", n)
	}
}

type counting struct {
	lengths
	now, most atomic.Int64
}

func (m *counting) Run(ctx context.Context, in []Input, out []float32) error {
	n := m.now.Add(1)
	defer m.now.Add(-1)
	for most := m.most.Load(); n > most && !m.most.CompareAndSwap(most, n); most = m.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return m.lengths.Run(ctx, in, out)
}

func TestRunStops(t *testing.T) {
	for _, o := range []Options{{}, {Sort: true}, {Decoders: 3}} {
		m := &lengths{batch: 2, sessions: 2, fail: "boom"}
		_, err := Run(t.Context(), items("a", "b", "boom", "c", "d"), m, nil, o)
		if err == nil || !strings.Contains(err.Error(), "out of memory") {
			t.Errorf("%+v: %v", o, err)
		}
		if n := m.open.Load(); n != 0 {
			t.Errorf("%+v: %d inputs were not released", o, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err = Run(ctx, items("a", "@slow", "b"), &lengths{batch: 2, sessions: 2}, fetcher{}, o)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// held counts the bytes between their fetch and their decode.
type held struct {
	lengths
	now, most atomic.Int64
}

func (h *held) Fetch(context.Context, string) ([]byte, error) {
	n := h.now.Add(1000)
	for m := h.most.Load(); n > m && !h.most.CompareAndSwap(m, n); m = h.most.Load() {
	}
	return make([]byte, 1000), nil
}

func (h *held) Prepare(ctx context.Context, it pipeline.Item, data []byte) (Input, error) {
	h.now.Add(-1000)
	return h.lengths.Prepare(ctx, it, data)
}

func TestRunBoundsTheBytesThatWait(t *testing.T) {
	list := make([]pipeline.Item, 400)
	for i := range list {
		list[i] = pipeline.Item{AssetID: fmt.Sprint(i), URI: "x"}
	}
	for _, decoders := range []int{0, 3} {
		h := &held{lengths: lengths{batch: 4, sessions: 2}}
		out, err := Run(t.Context(), list, h, h, Options{Ahead: 200, Bytes: 8000, Decoders: decoders})
		if err != nil || len(out.AssetID) != len(list) {
			t.Fatalf("%d rows, %v", len(out.AssetID), err)
		}
		// The limit, the batch that was begun below it, and what each of two workers or
		// three decoders has in hand.
		if most := h.most.Load(); most > 8000+4000+2*4000+8*1000 {
			t.Errorf("%d decoders: %d bytes waited", decoders, most)
		}
	}
}
