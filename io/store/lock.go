package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"winnow/pipeline"
)

// LockOptions says how to take a lock. The zero value of each field means its
// default.
type LockOptions struct {
	Holder    string        // who holds it, for the others; default host and process id
	Wait      bool          // wait for the holder instead of failing
	Break     bool          // take it from its holder, who loses it
	Heartbeat time.Duration // between signs of life; default 30 s
	Stale     time.Duration // without a sign of life the lock is free; default 2 min; at least 3 heartbeats
}

func (o LockOptions) withDefaults() LockOptions {
	if o.Holder == "" {
		host, _ := os.Hostname()
		o.Holder = fmt.Sprintf("process %d on %s", os.Getpid(), host)
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 30 * time.Second
	}
	if o.Stale <= 0 {
		o.Stale = 2 * time.Minute
	}
	o.Stale = max(o.Stale, 3*o.Heartbeat)
	return o
}

// Lock is a lock that is held. It is advisory: it keeps runs from doing the
// same work twice; what keeps tables whole is Create.
type Lock struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed by Unlock
	done   chan struct{} // closed when the heartbeat has ended
	once   sync.Once
	impl   heldLock
}

// heldLock is a lock of one kind of store.
type heldLock interface {
	// beat gives a sign of life, and fails with errTaken when another holder
	// has taken over.
	beat(ctx context.Context) error
	release(ctx context.Context) error
}

// ErrLockLost is the cause of a Lock's context when the lock is no longer held.
var ErrLockLost = errors.New("the lock was lost")

var errTaken = fmt.Errorf("%w: another run took it over", ErrLockLost)

// holderNote is what a lock says about its holder.
type holderNote struct {
	Holder string    `json:"holder"`
	Token  string    `json:"token"`
	Since  time.Time `json:"since"`
}

func newNote(holder string) holderNote {
	return holderNote{Holder: holder, Token: rand.Text(), Since: time.Now().UTC().Truncate(time.Second)}
}

func (n holderNote) encode() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and a time
	}
	return append(b, '\n')
}

// String names the holder for people.
func (n holderNote) String() string {
	if n.Since.IsZero() {
		return "unknown"
	}
	return fmt.Sprintf("%s since %s", n.Holder, n.Since.Format(time.RFC3339))
}

// Lock takes the lock of that name, which lives under locks/ in the store:
// flock(2) on a file in a directory, a lease with a heartbeat in a bucket. A
// lock that is held gives a *pipeline.LockedError unless o says to wait or to
// break it. A process that dies frees its flock at once and its lease after
// o.Stale.
func (s *Store) Lock(ctx context.Context, name string, o LockOptions) (*Lock, error) {
	if err := checkKey(name); err != nil || strings.Contains(name, "/") {
		return nil, fmt.Errorf("lock %q in %s: a lock's name is one element of a key", name, s.loc)
	}
	o = o.withDefaults()
	note := newNote(o.Holder)
	take, most := s.takeLease, max(o.Heartbeat/3, time.Millisecond)
	if _, ok := s.directory(); ok {
		take, most = s.takeFlock, min(most, 500*time.Millisecond) // asking costs nothing
	}
	for attempt := 1; ; attempt++ {
		impl, err := take(ctx, name, note, o)
		if err == nil {
			return holdLock(ctx, impl, o), nil
		}
		var locked *pipeline.LockedError
		if !errors.As(err, &locked) || !o.Wait {
			return nil, fmt.Errorf("lock %q in %s: %w", name, s.loc, err)
		}
		// Often at first, then now and then: a list costs money.
		if err := pause(ctx, min(backoff(20*time.Millisecond, attempt), most)); err != nil {
			return nil, fmt.Errorf("lock %q in %s: %w", name, s.loc, err)
		}
	}
}

// holdLock starts the heartbeat. The lock outlives ctx: only Unlock, loss or
// the process's end gives it up.
func holdLock(ctx context.Context, impl heldLock, o LockOptions) *Lock {
	l := &Lock{stop: make(chan struct{}), done: make(chan struct{}), impl: impl}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	go l.keep(context.WithoutCancel(ctx), o)
	return l
}

func (l *Lock) keep(ctx context.Context, o LockOptions) {
	defer close(l.done)
	tick := time.NewTicker(o.Heartbeat)
	defer tick.Stop()
	alive := time.Now() // start of the last beat that is known to have arrived
	var fault error     // since then
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		start := time.Now()
		// A beat that hangs must not outlast the lease.
		bctx, cancel := context.WithDeadline(ctx, alive.Add(o.Stale-o.Heartbeat))
		err := l.impl.beat(bctx)
		cancel()
		if fault == nil || err == nil || !errors.Is(err, context.DeadlineExceeded) {
			fault = err
		}
		switch {
		case err == nil:
			alive = start
		case errors.Is(err, ErrLockLost):
			l.cancel(err)
			return
		case time.Since(alive) > o.Stale-o.Heartbeat:
			// Others take the lease for stale from now on.
			l.cancel(fmt.Errorf("%w: no heartbeat reached the store for %v: %v", ErrLockLost, time.Since(alive).Round(time.Millisecond), fault))
			return
		}
	}
}

// Context is cancelled when the lock is lost or given back, or the context of
// Store.Lock ends. context.Cause tells which.
func (l *Lock) Context() context.Context { return l.ctx }

// Unlock gives the lock back. It does nothing the second time.
func (l *Lock) Unlock(ctx context.Context) error {
	var err error
	l.once.Do(func() {
		close(l.stop)
		<-l.done
		lost := errors.Is(context.Cause(l.ctx), ErrLockLost)
		l.cancel(context.Canceled)
		if rerr := l.impl.release(context.WithoutCancel(ctx)); rerr != nil && !lost {
			err = fmt.Errorf("unlock: %w", rerr)
		}
	})
	return err
}
