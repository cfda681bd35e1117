package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"winnow/pipeline"
)

// abandon stops a lock's heartbeat without giving the lock back, as a process
// that dies does.
func abandon(l *Lock) {
	l.once.Do(func() {
		close(l.stop)
		<-l.done
	})
}

func waitFor(t *testing.T, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Second):
		t.Fatal("the lock is never lost")
		return nil
	}
}

// TestStaleLease: a dead holder's lease is free after its time, and not before;
// one of many takes it.
func TestStaleLease(t *testing.T) {
	s := inMemory(t)
	o := LockOptions{Heartbeat: 40 * time.Millisecond, Stale: 400 * time.Millisecond}
	dead, err := s.Lock(t.Context(), "w", o)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	abandon(dead)
	var locked *pipeline.LockedError
	if _, err := s.Lock(t.Context(), "w", o); !errors.As(err, &locked) {
		t.Errorf("at once: %v", err)
	}
	o.Wait = true
	const waiters = 5
	got := make(chan *Lock, waiters)
	var holding atomic.Int32
	for range waiters {
		go func() {
			l, err := s.Lock(t.Context(), "w", o)
			if err != nil {
				t.Error(err)
			} else if n := holding.Add(1); n != 1 {
				t.Errorf("%d hold the lock", n)
			}
			got <- l
		}()
	}
	for i := range waiters {
		l := <-got
		if l == nil {
			continue
		}
		if took := time.Since(start); i == 0 && took < o.Stale-o.Heartbeat {
			t.Errorf("taken over after %v", took)
		}
		holding.Add(-1)
		if err := l.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// Old numbers are cleared away.
	if keys := keysOf(t, s, "locks/w/"); len(keys) > 4 {
		t.Errorf("left %q", keys)
	}
}

// TestLeaseOfSleeper: a holder that slept through its lease learns of it when
// it wakes, although the next one has come and gone.
func TestLeaseOfSleeper(t *testing.T) {
	s := inMemory(t)
	asleep, awake := make(chan struct{}), make(chan struct{})
	sleepy := WithFaults(s, func(op Op) error {
		if op.Kind == OpPut && !op.After && strings.HasSuffix(op.Key, ".beat") {
			select {
			case asleep <- struct{}{}:
			default:
			}
			<-awake
		}
		return nil
	})
	first, err := sleepy.Lock(t.Context(), "w", LockOptions{Heartbeat: 5 * time.Millisecond, Stale: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	<-asleep
	second, err := s.Lock(t.Context(), "w", LockOptions{Break: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.Context().Err() != nil {
		t.Error("the sleeper knows already")
	}
	close(awake)
	if err := waitFor(t, first.Context()); !errors.Is(err, ErrLockLost) {
		t.Errorf("the sleeper hears %v", err)
	}
	if err := first.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	third, err := s.Lock(t.Context(), "w", LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Unlock(t.Context())
	var locked *pipeline.LockedError
	if _, err := s.Lock(t.Context(), "w", LockOptions{}); !errors.As(err, &locked) {
		t.Errorf("while the third holds it: %v", err)
	}
}

// TestLeaseWithoutStore: a holder that cannot reach the store gives up before
// others may take the lease for stale.
func TestLeaseWithoutStore(t *testing.T) {
	s := inMemory(t)
	var down atomic.Bool
	flaky := WithFaults(s, func(op Op) error {
		if down.Load() {
			return errBusy
		}
		return nil
	})
	o := LockOptions{Heartbeat: 20 * time.Millisecond, Stale: 300 * time.Millisecond}
	l, err := flaky.Lock(t.Context(), "w", o)
	if err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	start := time.Now()
	if err := waitFor(t, l.Context()); !errors.Is(err, ErrLockLost) || !strings.Contains(err.Error(), "503") {
		t.Errorf("the holder hears %v", err)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("the holder gave up after %v", took)
	}
	down.Store(false)
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLeaseFaults meets a fault at each request of lock and unlock in turn.
// Whatever happens, nobody is locked out for longer than the lease lasts, and
// two never hold the lock.
func TestLeaseFaults(t *testing.T) {
	for n := int64(1); ; n++ {
		s := inMemory(t)
		met := false
		bad := WithFaults(s, func(op Op) error {
			if op.N == n {
				met = true
				return errFatal
			}
			return nil
		})
		l, err := bad.Lock(t.Context(), "w", LockOptions{})
		if err == nil {
			var locked *pipeline.LockedError
			if _, err := s.Lock(t.Context(), "w", LockOptions{}); !errors.As(err, &locked) {
				t.Errorf("fault %d: two hold the lock: %v", n, err)
			}
			if err := l.Unlock(t.Context()); err != nil && !errors.Is(err, errFatal) {
				t.Error(err)
			}
		} else if !errors.Is(err, errFatal) {
			t.Errorf("fault %d: %v", n, err)
		}
		next, err := s.Lock(t.Context(), "w", LockOptions{Break: true})
		if err != nil {
			t.Fatalf("fault %d: %v", n, err)
		}
		if err := next.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		if !met {
			return
		}
	}
}

func TestLockOutlivesNothing(t *testing.T) {
	s := inMemory(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := s.Lock(ctx, "w", LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if l.Context().Err() == nil {
		t.Error("the lock's context goes on after its parent")
	}
	// An interrupted run gives its lock back all the same.
	if err := l.Unlock(ctx); err != nil {
		t.Error(err)
	}
	again, err := s.Lock(t.Context(), "w", LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLeaseKeys(t *testing.T) {
	for key, want := range map[string]string{
		"00000000000000000007.lease": "7 lease true",
		"00000000000000000007.beat":  "7 beat true",
		"00000000000000000007.free":  "7 free true",
		"00000000000000000007.other": "0  false",
		"7.lease":                    "0  false",
		"probe-ABC":                  "0  false",
		"0000000000000000000x.lease": "0 lease false",
	} {
		n, kind, ok := parseLeaseKey(key)
		if got := fmt.Sprint(n, " ", kind, " ", ok); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	kinds := []string{leaseKey(9, "beat"), leaseKey(9, "free"), leaseKey(9, "lease"), leaseKey(10, "beat")}
	if !slices.IsSorted(kinds) {
		t.Errorf("%q do not sort by number", kinds)
	}
}
