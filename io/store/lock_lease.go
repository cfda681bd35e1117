package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"winnow/pipeline"
)

// A lease is a row of numbered objects under locks/<name>/, of which the
// highest number counts:
//
//	<n>.lease  put if absent: who took number n
//	<n>.beat   replaced by the holder at each heartbeat; its time is the sign of life
//	<n>.free   written by the holder when it gives the lock back
//
// The next holder puts n+1, which one of many does. Number n is never deleted
// while it is the highest, so a holder that slept through its lease sees the
// higher number when it wakes. Times are compared with that of a probe object
// that the asker has just written: both are the store's clock.
type lease struct {
	s    *Store // under locks/<name>
	n    int64
	note holderNote
}

func leaseKey(n int64, kind string) string { return fmt.Sprintf("%020d.%s", n, kind) }

// leaseState is what a list of the objects says.
type leaseState struct {
	n    int64     // the highest number; -1 when the lock was never taken
	last time.Time // its last sign of life
	free bool
	old  []string // what belongs to lower numbers, and forgotten probes
}

func (s *Store) readLease(ctx context.Context) (leaseState, error) {
	st := leaseState{n: -1}
	var keys []Object
	for o, err := range s.List(ctx, "") {
		if err != nil {
			return st, err
		}
		keys = append(keys, o)
		if n, kind, ok := parseLeaseKey(o.Key); ok && kind == "lease" {
			st.n = max(st.n, n)
		}
	}
	for _, o := range keys {
		n, kind, ok := parseLeaseKey(o.Key)
		switch {
		case !ok:
			// A probe that a killed process left; the live ones are too young.
			if !st.last.IsZero() && o.ModTime.Before(st.last.Add(-time.Hour)) {
				st.old = append(st.old, o.Key)
			}
		case n < st.n:
			st.old = append(st.old, o.Key)
		case n > st.n:
		case kind == "free":
			st.free = true
		case o.ModTime.After(st.last):
			st.last = o.ModTime
		}
	}
	return st, nil
}

func parseLeaseKey(key string) (n int64, kind string, ok bool) {
	num, kind, ok := strings.Cut(key, ".")
	if !ok || len(num) != 20 || kind != "lease" && kind != "beat" && kind != "free" {
		return 0, "", false
	}
	n, err := strconv.ParseInt(num, 10, 64)
	return n, kind, err == nil
}

func (s *Store) takeLease(ctx context.Context, name string, note holderNote, o LockOptions) (heldLock, error) {
	ls := s.Sub("locks/" + name)
	st, err := ls.readLease(ctx)
	if err != nil {
		return nil, err
	}
	if st.n >= 0 && !st.free && !o.Break {
		now, err := ls.storeTime(ctx, note.Token)
		if err != nil {
			return nil, err
		}
		if now.Sub(st.last) < o.Stale {
			return nil, &pipeline.LockedError{Holder: ls.leaseHolder(ctx, st.n)}
		}
	}
	l := &lease{s: ls, n: st.n + 1, note: note}
	created, err := ls.CreateAll(ctx, leaseKey(l.n, "lease"), note.encode())
	if err == nil && !created {
		// Perhaps our own put, whose reply was lost.
		if data, rerr := ls.Read(ctx, leaseKey(l.n, "lease"), 64<<10); rerr == nil {
			var there holderNote
			created = json.Unmarshal(data, &there) == nil && there.Token == note.Token
		}
		if !created {
			return nil, &pipeline.LockedError{Holder: ls.leaseHolder(ctx, l.n)}
		}
	}
	if err != nil {
		return nil, err
	}
	// Best effort: what stays is taken away by the next holder.
	for _, key := range st.old {
		if ls.Delete(ctx, key) != nil {
			break
		}
	}
	return l, nil
}

// storeTime returns the store's own time, to the precision of its ModTime.
func (s *Store) storeTime(ctx context.Context, token string) (time.Time, error) {
	key := "probe-" + token
	if err := s.WriteAll(ctx, key, []byte("now\n")); err != nil {
		return time.Time{}, err
	}
	obj, err := s.Stat(ctx, key)
	if derr := s.Delete(context.WithoutCancel(ctx), key); err == nil {
		err = derr
	}
	return obj.ModTime, err
}

func (s *Store) leaseHolder(ctx context.Context, n int64) string {
	var note holderNote
	data, err := s.Read(ctx, leaseKey(n, "lease"), 64<<10)
	if err != nil || json.Unmarshal(data, &note) != nil {
		return holderNote{}.String()
	}
	return note.String()
}

func (l *lease) beat(ctx context.Context) error {
	if err := l.s.WriteAll(ctx, leaseKey(l.n, "beat"), l.note.encode()); err != nil {
		return err
	}
	for o, err := range l.s.ListAfter(ctx, "", leaseKey(l.n, "lease")) {
		if err != nil {
			return err
		}
		if n, kind, ok := parseLeaseKey(o.Key); ok && kind == "lease" && n > l.n {
			return errTaken
		}
	}
	return nil
}

func (l *lease) release(ctx context.Context) error {
	_, err := l.s.CreateAll(ctx, leaseKey(l.n, "free"), l.note.encode())
	return err
}
