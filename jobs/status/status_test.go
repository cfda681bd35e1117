package status

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"winnow/io/store"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// done is a workspace in which nothing is left to do.
func done() *Report {
	return &Report{
		Exists: true,
		Assets: Assets{Rows: 10, Version: 1, Sources: []Source{{"field", 8}, {"studio", 2}}},
		Embeddings: []Embedding{{Name: "image", Of: "image", Model: "lite", Fingerprint: "0123456789abcdef", Dim: 4, Content: 10, Embedded: 10, Shards: 1, Rows: 10, Bytes: 1536, example: "a 1",
			Index: &Index{ID: "1", Kind: "flat", Rows: 10, Recall10: 1, Fresh: true, Bytes: 10}}},
		Functions: []Function{{Name: "apples", Embedding: "image", Combine: "lda", Rule: "auto", State: Scored}},
		Batches:   []Batch{{Name: "fruit", Slot: "a", Rows: 3, Made: time.Unix(1_700_000_000, 0), Dir: "/w/batches/fruit/a"}},
		LastRun:   &Run{Run: "r1", Started: time.Unix(1_700_000_000, 0), Finished: time.Unix(1_700_000_012, 0), OK: true},
	}
}

func TestConclude(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(*Report)
		stale []string
		first string // the command to type next
	}{
		{"nothing there", func(r *Report) { *r = Report{} }, nil, "winnow run"},
		{"all done", func(*Report) {}, nil, "winnow search --asset 'a 1'"},
		{"rows to embed", func(r *Report) { r.Embeddings[0].Todo = 1 }, []string{"1 row to embed in image"}, "winnow run"},
		{"no index", func(r *Report) { r.Embeddings[0].Index = nil }, []string{"image has no index"}, "winnow run"},
		{"old index", func(r *Report) { *r.Embeddings[0].Index = Index{Behind: 2, Gone: 1} },
			[]string{"index of image: 2 rows behind, 1 row gone"}, "winnow run"},
		{"index of nothing", func(r *Report) { r.Embeddings[0].Embedded, r.Embeddings[0].Index = 0, nil }, nil, "winnow run"},
		{"functions", func(r *Report) {
			r.Functions = append(r.Functions, Function{Name: "b", Embedding: "text", State: NotScored}, Function{Name: "c", Embedding: "text", State: Stale})
		}, []string{"2 functions to score on text"}, "winnow run"},
		{"a batch of the config", func(r *Report) { r.Batches = append(r.Batches, Batch{Name: "new"}) }, []string{"batch new was never made"}, "winnow run"},
		{"a broken function", func(r *Report) { r.Functions[0].State = Broken }, nil, "winnow run"},
		{"rejected rows", func(r *Report) { r.Embeddings[0].Rejected = 1 }, nil, "winnow embed --retry-rejected"},
		{"something unreadable", func(r *Report) { r.Problems = []string{"x"}; r.Embeddings[0].Todo = 2 }, []string{"2 rows to embed in image"}, "winnow doctor"},
		{"at work", func(r *Report) { r.Lock = &Lock{} }, nil, "winnow run --wait"},
		{"a dead holder", func(r *Report) { r.Lock = &Lock{Stale: true} }, nil, "winnow run --break-lock"},
		{"sources unread", func(r *Report) { *r = Report{Exists: true, Assets: Assets{Version: -1}} }, []string{"no source was read yet"}, "winnow run"},
	} {
		r := done()
		c.edit(r)
		r.conclude("")
		if d := cmp.Diff(append([]string{}, c.stale...), r.Stale); d != "" {
			t.Errorf("%s: stale (-want +got)\n%s", c.name, d)
		}
		if len(r.Next) == 0 || r.Next[0].Command != c.first {
			t.Errorf("%s: next %+v, want %s first", c.name, r.Next, c.first)
		}
	}
	r := done()
	if r.conclude(" -c other.yaml"); r.Next[0].Command != "winnow search --asset 'a 1' -c other.yaml" {
		t.Errorf("the config is not named: %s", r.Next[0].Command)
	}
}

func TestBehind(t *testing.T) {
	live := []workspace.LiveFile{{File: table.File{Path: "a"}, Live: 8}, {File: table.File{Path: "b"}, Live: 5}}
	for _, c := range []struct {
		name         string
		indexed      []table.File
		rows         int64
		behind, gone int64
	}{
		{"a new shard", []table.File{{Path: "a"}}, 8, 5, 0},
		{"a new shard, and rows that are gone", []table.File{{Path: "a"}}, 10, 5, 2},
		{"gone only", []table.File{{Path: "a"}, {Path: "b"}}, 14, 0, 1},
		{"a row came back", []table.File{{Path: "a"}, {Path: "b"}}, 12, 1, 0},
		{"all rewritten", []table.File{{Path: "x"}}, 13, 13, 13},
	} {
		if b, g := behind(live, c.indexed, c.rows); b != c.behind || g != c.gone {
			t.Errorf("%s: %d behind, %d gone; want %d, %d", c.name, b, g, c.behind, c.gone)
		}
	}
}

func TestCandidates(t *testing.T) {
	names := []string{"nightly", ".doctor-1", "20260102T030405.000Z", "20260101T030405.000Z", "x"}
	want := []string{"20260102T030405.000Z", "20260101T030405.000Z", "x", "nightly"}
	if d := cmp.Diff(want, candidates(names)); d != "" {
		t.Error(d)
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("run-%03d", i))
	}
	if got := candidates(many); len(got) != newest || got[0] != "run-099" {
		t.Errorf("of 100: %v", got)
	}
}

func TestPrint(t *testing.T) {
	r := done()
	e := &r.Embeddings[0]
	e.Embedded, e.Rejected, e.Content, e.Rows = 9, 1, 11, 12
	e.Todo = 1
	e.Reasons = []workspace.RejectReason{{Reason: "truncated", Rows: 1, Examples: []workspace.RejectExample{{AssetID: "cat-1", Error: "ends\nearly"}}}}
	e.Others = []Model{{"image", "fedcba9876543210", 3, 1, 2048}}
	r.Assets.Rejected = []workspace.RejectReason{{Reason: "invalid_row", Rows: 2, Transient: true, Examples: []workspace.RejectExample{{Source: "file:///d/m.jsonl", Line: 7, Error: "no JSON"}}}}
	r.Functions[0].State, r.Functions[0].What = Stale, "changed"
	x, n := 2.5, int64(4)
	r.Functions = append(r.Functions, Function{Name: "b", Embedding: "image", Rule: "top 4", Threshold: &x, Matches: &n, State: Scored})
	for i := range 7 {
		r.Batches = append(r.Batches, Batch{Name: "daily", Slot: fmt.Sprint(i), Rows: 10})
	}
	r.LastRun.Error = "no disk"
	r.Lock = &Lock{LockInfo: store.LockInfo{Holder: "run r1, process 7 on h"}}
	r.conclude("")
	var b strings.Builder
	r.Print(&b)
	got := b.String()
	for _, want := range []string{
		"lock        run r1, process 7 on h\n",
		"assets      10 rows\n            8  field\n            2  studio\n",
		"refused     2 invalid_row, tried again by the next run\n              m.jsonl:7  no JSON\n",
		"embedding   image: image by lite (4 numbers, fingerprint 0123456789ab)\n            9 embedded, 1 to do, 1 rejected, of 11 with content\n",
		"rejected    1 truncated\n              cat-1  ends early\n",
		"shards      1 shard, 1.5 KiB, 12 rows, 3 of them of removed or changed assets\n",
		"index       flat, 10 rows, recall@10 1.000, 10 B, fresh\n",
		"other model fedcba987654: 3 rows in 1 shard, 2.0 KiB\n",
		"2.5 (top 4)  4        scored\n",
		"auto                  stale: changed\n",
		"daily  (2 earlier)  20\n",
		"fruit  a            3     2023-11-14 22:13:20Z  /w/batches/fruit/a\n",
		"last run    r1, 2023-11-14 22:13:20Z, failed: no disk\n",
		"stale       1 row to embed in image\n            1 function to score on image\n",
		"next        winnow run --wait  # another run is at work: this waits for it\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestPrintNothing(t *testing.T) {
	r := &Report{Workspace: "file:///w"}
	r.conclude("")
	var b strings.Builder
	r.Print(&b)
	want := "workspace   file:///w\n            nothing is here yet\nnext        winnow run  # read, embed, index, score and curate\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4096.0 PiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestConfigFlag(t *testing.T) {
	t.Chdir(t.TempDir())
	for file, want := range map[string]string{"winnow.yaml": "", "a.yaml": " -c a.yaml", "it's.yaml": ` -c 'it'\''s.yaml'`} {
		abs, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := configFlag(abs); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}

func TestUnreadableKeepsItsExitCode(t *testing.T) {
	for want, err := range map[int]error{
		pipeline.ExitFailed: errors.New("damaged"),
		pipeline.ExitUsage:  fmt.Errorf("embedding: %w", pipeline.Usagef("no such model")),
	} {
		if got := pipeline.ExitCode(&unreadable{1, err}); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
