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

func TestRunSameForAnyNumberOfWorkers(t *testing.T) {
	var texts []string
	for i := range 200 {
		texts = append(texts, strings.Repeat("x", i*7919%37+1))
	}
	for _, sorted := range []bool{false, true} {
		var want *Output
		for _, sessions := range []int{1, 2, 7} {
			got, err := Run(t.Context(), items(texts...), &lengths{batch: 8, sessions: sessions}, nil, Options{Sort: sorted, Fetchers: sessions, Ahead: 1})
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}

func TestRunStops(t *testing.T) {
	for _, sorted := range []bool{false, true} {
		m := &lengths{batch: 2, sessions: 2, fail: "boom"}
		_, err := Run(t.Context(), items("a", "b", "boom", "c", "d"), m, nil, Options{Sort: sorted})
		if err == nil || !strings.Contains(err.Error(), "out of memory") {
			t.Errorf("sorted %v: %v", sorted, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		_, err = Run(ctx, items("a", "@slow", "b"), &lengths{batch: 2, sessions: 2}, fetcher{}, Options{Sort: sorted})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("sorted %v: %v", sorted, err)
		}
	}
}
