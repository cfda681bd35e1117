package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"winnow/io/store"
	"winnow/pipeline"
)

// quick makes losses show soon.
var quick = store.LockOptions{Heartbeat: 20 * time.Millisecond}

func testLock(t *testing.T, s *store.Store) {
	o := store.LockOptions{Holder: "run 1"}
	l, err := s.Lock(t.Context(), "workspace", o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock(t.Context(), "workspace", o)
	var locked *pipeline.LockedError
	if !errors.As(err, &locked) || !strings.HasPrefix(locked.Holder, "run 1 since ") {
		t.Errorf("second lock: %v", err)
	}
	other, err := s.Lock(t.Context(), "other", o)
	if err != nil {
		t.Fatalf("a lock of another name: %v", err)
	}
	if err := other.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, "workspace", store.LockOptions{Wait: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
	if l.Context().Err() != nil {
		t.Error("the lock is lost already")
	}
	got := make(chan error, 1)
	go func() {
		l, err := s.Lock(t.Context(), "workspace", store.LockOptions{Wait: true, Holder: "run 2", Heartbeat: quick.Heartbeat})
		if err == nil {
			err = l.Unlock(t.Context())
		}
		got <- err
	}()
	for range 2 {
		if err := l.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if l.Context().Err() == nil {
		t.Error("the lock's context outlives Unlock")
	}
	if err := <-got; err != nil {
		t.Errorf("the waiter: %v", err)
	}
	for _, name := range []string{"", "a/b", ".."} {
		if _, err := s.Lock(t.Context(), name, o); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

func testLockBreak(t *testing.T, s *store.Store) {
	first, err := s.Lock(t.Context(), "w", quick)
	if err != nil {
		t.Fatal(err)
	}
	o := quick
	o.Break = true
	second, err := s.Lock(t.Context(), "w", o)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.Context().Done():
		if cause := context.Cause(first.Context()); errors.Is(cause, context.Canceled) {
			t.Errorf("the loser is told %v", cause)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the first holder never hears of its loss")
	}
	if err := first.Unlock(t.Context()); err != nil {
		t.Errorf("unlock of a lost lock: %v", err)
	}
	// The loser's unlock must not free the winner's lock.
	var locked *pipeline.LockedError
	if _, err := s.Lock(t.Context(), "w", quick); !errors.As(err, &locked) {
		t.Errorf("lock while the second holds it: %v", err)
	}
	if second.Context().Err() != nil {
		t.Error("the second holder lost it too")
	}
	if err := second.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	third, err := s.Lock(t.Context(), "w", quick)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func testLockRace(t *testing.T, s *store.Store) {
	var inside atomic.Int32
	var wg sync.WaitGroup
	const runs, times = 6, 4
	for range runs {
		wg.Go(func() {
			for range times {
				l, err := s.Lock(t.Context(), "w", store.LockOptions{Wait: true, Heartbeat: time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				inside.Add(-1)
				if err := l.Unlock(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
