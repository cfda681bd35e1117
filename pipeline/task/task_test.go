package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"winnow/pipeline"
)

// memory is a workspace in a map.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

var errMissing = errors.New("missing")

func (o *memory) Read(_ context.Context, key string, _ int64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.m[key]; ok {
		return b, nil
	}
	return nil, errMissing
}

func (o *memory) Create(_ context.Context, key string, fn func(io.Writer) error) (bool, error) {
	var b bytes.Buffer
	if err := fn(&b); err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.m[key]; ok {
		return false, nil
	}
	o.m[key] = b.Bytes()
	return true, nil
}

func (*memory) Missing(err error) bool { return errors.Is(err, errMissing) }

// counting is a stage of n tasks that counts its work.
type counting struct {
	n         int
	done      atomic.Int64
	committed []int64
	fail      int // task that fails, -1 none
}

func (*counting) Name() string { return "count" }

func (s *counting) Plan(_ context.Context, run string) (*Plan, error) {
	var tasks []Task
	for i := range s.n {
		tasks = append(tasks, Task{Hash: NewHash().Add(fmt.Sprint(i)).Sum(), Name: fmt.Sprint(i), Rows: 10, Dir: "out"})
	}
	return NewPlan("count", run, map[string]int{"n": s.n}, tasks)
}

func (s *counting) Do(ctx context.Context, _ *Plan, t Task) (*Result, error) {
	if t.Index == s.fail {
		return nil, errors.New("disk full")
	}
	s.done.Add(1)
	Counter(ctx).Add(4) // the rest is counted when the task ends
	return &Result{Rows: int64(t.Index), Rejects: []pipeline.Reject{{AssetID: t.Name}}}, nil
}

func (s *counting) Commit(_ context.Context, _ *Plan, results []*Result) error {
	s.committed = nil
	for _, r := range results {
		s.committed = append(s.committed, r.Rows)
	}
	return nil
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	o := &memory{m: map[string][]byte{}}
	s := &counting{n: 5, fail: 3}
	e := Engine{Objects: o, Workers: 1}
	_, _, err := e.Run(t.Context(), s, "r1")
	if err == nil || !strings.Contains(err.Error(), "count, task 3 (3): disk full") {
		t.Fatal(err)
	}
	if s.committed != nil {
		t.Error("a failed run committed")
	}
	before := s.done.Load()
	s.fail = -1
	if _, _, err := e.Run(t.Context(), s, "r2"); err != nil { // another run, the same inputs
		t.Fatal(err)
	}
	if want := []int64{0, 1, 2, 3, 4}; !slices.Equal(s.committed, want) {
		t.Errorf("committed %v, want %v", s.committed, want)
	}
	if s.done.Load() != 5 || before != 3 {
		t.Errorf("%d tasks were done, then %d; want 3, then 5", before, s.done.Load())
	}
}

func TestSteps(t *testing.T) {
	o := &memory{m: map[string][]byte{}}
	e := Engine{Objects: o, Workers: 4}
	s := &counting{n: 7, fail: -1}
	if _, err := LoadPlan(t.Context(), o, "r", "count"); pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("a missing plan: %v", err)
	}
	p, err := MakePlan(t.Context(), o, s, "r")
	if err != nil {
		t.Fatal(err)
	}
	again, err := MakePlan(t.Context(), o, &counting{n: 9, fail: -1}, "r")
	if err != nil || again.ID != p.ID {
		t.Errorf("a second plan of the run replaced the first: %v", err)
	}
	if _, err := e.Commit(t.Context(), s, p); err == nil || !strings.Contains(err.Error(), "7 of 7 tasks are not done: 0, 1") {
		t.Errorf("commit without work: %v", err)
	}
	for _, word := range []string{"0/3", "1/3", "2/3", "4"} {
		tasks, err := Select(p, word)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Work(t.Context(), s, p, tasks); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.done.Load(); n != 7 {
		t.Errorf("three processes did %d tasks, want 7", n)
	}
	if _, err := e.Commit(t.Context(), s, p); err != nil || len(s.committed) != 7 {
		t.Errorf("commit: %v, %d results", err, len(s.committed))
	}
}

func TestEmptyRunLeavesNothing(t *testing.T) {
	o := &memory{m: map[string][]byte{}}
	if _, _, err := (Engine{Objects: o}).Run(t.Context(), &counting{fail: -1}, "r"); err != nil || len(o.m) != 0 {
		t.Errorf("%v, %d objects", err, len(o.m))
	}
}

func TestSelectRefuses(t *testing.T) {
	p := &Plan{Tasks: make([]Task, 3)}
	for _, word := range []string{"", "x", "-1", "3", "1/0", "2/2", "1/x", "-1/2"} {
		if _, err := Select(p, word); pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("Select(%q) = %v", word, err)
		}
	}
}

func TestLoadRefusesForeignFiles(t *testing.T) {
	o := &memory{m: map[string][]byte{}}
	s := &counting{n: 1, fail: -1}
	p, err := MakePlan(t.Context(), o, s, "r")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{", `{"format":2}`, `{"format":1,"hash":"other"}`} {
		o.m[MarkerKey(p.Tasks[0])] = []byte(bad)
		if _, err := LoadResult(t.Context(), o, p.Tasks[0]); err == nil {
			t.Errorf("result %q was taken", bad)
		}
	}
	for _, bad := range []string{"", "{", `{"format":99}`} {
		o.m["runs/r/count/plan.json"] = []byte(bad)
		if _, err := LoadPlan(t.Context(), o, "r", "count"); err == nil {
			t.Errorf("plan %q was taken", bad)
		}
	}
}

func TestHashFramesItsParts(t *testing.T) {
	if NewHash().Add("ab").Add("c").Sum() == NewHash().Add("a").Add("bc").Sum() {
		t.Error("two lists of parts have one hash")
	}
}

type sum struct{ n atomic.Int64 }

func (s *sum) Start(string, string, int64) pipeline.Counter { return s }
func (s *sum) Add(n int64)                                  { s.n.Add(n) }
func (s *sum) Done()                                        {}

func TestProgressCountsEveryRowOnce(t *testing.T) {
	p := &sum{}
	e := Engine{Objects: &memory{m: map[string][]byte{}}, Progress: p, Workers: 3}
	if _, _, err := e.Run(t.Context(), &counting{n: 6, fail: -1}, "r"); err != nil {
		t.Fatal(err)
	}
	if p.n.Load() != 60 {
		t.Errorf("progress showed %d rows, want 60", p.n.Load())
	}
}
