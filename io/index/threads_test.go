package index

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// osThreads counts this process's threads.
func osThreads(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("threads are counted on Linux only")
	}
	_, rest, _ := strings.Cut(string(b), "Threads:")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// 64 goroutines that search leave no more threads than one: without an owner,
// OpenMP made 134 of them on two cores.
func TestNoThreadExplosion(t *testing.T) {
	const n, dim = 3000, 24
	rows := clustered(n, dim, 40, 1)
	p := planned(t, n, dim, IVFFlat, 30)
	ix, _ := build(t, p, rows)
	search := func() {
		if _, _, err := ix.Search(t.Context(), rows[:200*dim], 10); err != nil {
			t.Error(err)
		}
	}
	search()
	before := osThreads(t)
	most := before
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 3 {
				search()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			most = max(most, osThreads(t))
			runtime.Gosched()
		}
	}
	t.Logf("%d threads before, at most %d during 192 searches, %d after", before, most, osThreads(t))
	// The Go runtime may add a few for its own system calls.
	if most > before+runtime.GOMAXPROCS(0)+8 {
		t.Errorf("%d threads before, %d during the searches", before, most)
	}
}

func TestOwner(t *testing.T) {
	if err := onFAISS(t.Context(), func() error { return errStop }); !errors.Is(err, errStop) {
		t.Errorf("err = %v", err)
	}
	if err := onFAISS(t.Context(), func() error { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("a panic became %v", err)
	}
	// A caller that gives up while it waits is not run; one that runs is waited for.
	running, finish := make(chan struct{}), make(chan struct{})
	go onFAISS(context.Background(), func() error { close(running); <-finish; return nil })
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	ran := false
	go func() { left <- onFAISS(ctx, func() error { ran = true; return nil }) }()
	cancel()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a cancelled caller waits for the queue")
	}
	close(finish)
	if err := onFAISS(t.Context(), func() error { return nil }); err != nil {
		t.Error(err)
	}
	if ran {
		t.Error("the job of a caller that had left was run")
	}
	// One thread runs them all.
	ids := map[int]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_ = onFAISS(t.Context(), func() error {
				mu.Lock()
				defer mu.Unlock()
				ids[threadID()] = true
				return nil
			})
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("%d threads called FAISS", len(ids))
	}
}

var errStop = errors.New("stop")
