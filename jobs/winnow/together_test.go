package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winnow/io/store"
)

// until waits for a condition, as long as p runs.
func until(t *testing.T, p *process, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-p.done:
			if !ok() {
				t.Fatalf("winnow %s has ended before\n%s", strings.Join(p.args, " "), p.said())
			}
			return
		case <-tick.C:
		}
	}
}

// testTogether lets several runs work on one workspace at once. That the lock of
// a killed process blocks nobody is seen wherever a run is killed.
func testTogether(t *testing.T, want contents) {
	t.Run("while one runs", func(t *testing.T) {
		s := newSite(t, plan{})
		first := s.start(t, "run")
		until(t, first, func() bool {
			m, _ := filepath.Glob(filepath.Join(s.folder(), "runs", "*", "embed", "plan.json"))
			return len(m) > 0
		})
		waits := s.start(t, "run", "--json", "--wait")
		second := s.start(t, "run")
		switch code := second.wait(); {
		case code == 11 && !strings.Contains(second.err.String(), fmt.Sprint("process ", first.cmd.Process.Pid)):
			// waits may hold the lock by now.
			if !strings.Contains(second.err.String(), fmt.Sprint("process ", waits.cmd.Process.Pid)) {
				t.Errorf("the message does not name the holder:\n%s", second.said())
			}
		case code == 0:
			select {
			case <-first.done: // it was faster
			default:
				t.Errorf("the second run left with 0 while the first held the lock")
			}
		case code != 11:
			t.Errorf("the second run left with %d\n%s", code, second.said())
		}
		first.want(0)
		var o outcome
		waits.want(0).decode(&o)
		o.idle(t)
		same(t, want, look(t, s.workspace))
	})
	t.Run("at the same time", func(t *testing.T) {
		s := newSite(t, plan{})
		a, b := s.start(t, "run"), s.start(t, "run")
		a.want(0, 11)
		b.want(0, 11)
		if a.code == 11 && b.code == 11 {
			t.Errorf("both were refused\n%s\n%s", a.said(), b.said())
		}
		same(t, want, look(t, s.workspace))
	})
}

// testSteps runs the stages as a plan, three processes at once, and a commit.
func testSteps(t *testing.T, want contents) {
	s := newSite(t, plan{})
	s.run(t, "ingest")
	for _, stage := range []string{"embed", "index", "score"} {
		list := filepath.Join(s.dir, stage+".json")
		s.run(t, stage, "--run", "R", "--plan", "--tasks-file", list)
		indexes := tasksIn(t, list)
		if stage == "embed" && len(indexes) != 12 || len(indexes) == 0 {
			t.Fatalf("%s has the tasks %v", stage, indexes)
		}
		early := s.start(t, stage, "--run", "R", "--commit").want(1)
		if !strings.Contains(early.err.String(), "are not done") {
			t.Errorf("a commit before the tasks says:\n%s", early.said())
		}
		var shares []*process
		for i := range 3 {
			shares = append(shares, s.start(t, stage, "--run", "R", "--task", fmt.Sprintf("%d/3", i)))
		}
		for _, p := range shares {
			p.want(0)
		}
		if stage == "embed" { // a task that is done already changes nothing
			s.run(t, stage, "--run", "R", "--task", "1")
		}
		s.run(t, stage, "--run", "R", "--commit")
		once, versions := look(t, s.workspace), versionsOf(t, s.workspace)
		s.run(t, stage, "--run", "R", "--commit")
		same(t, once, look(t, s.workspace))
		if again := versionsOf(t, s.workspace); !maps.Equal(versions, again) {
			t.Errorf("a second commit of %s made versions: %v, now %v", stage, versions, again)
		}
		s.run(t, stage, "--run", "R", "--plan", "--tasks-file", list) // the run keeps its plan
		if again := tasksIn(t, list); len(again) != len(indexes) {
			t.Errorf("%s planned %d tasks, and %d the second time", stage, len(indexes), len(again))
		}
	}
	s.run(t, "curate")
	same(t, want, look(t, s.workspace))
	s.outcome(t).idle(t)
}

func tasksIn(t *testing.T, file string) []int {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for i, n := range list {
		if i != n {
			t.Fatalf("%s lists %v", file, list)
		}
	}
	return list
}

func versionsOf(t *testing.T, url string) map[string]int64 {
	t.Helper()
	ctx := background(t)
	s, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return roots(ctx, t, s)
}
