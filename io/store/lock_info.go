package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LockInfo says who holds a lock.
type LockInfo struct {
	Holder string    `json:"holder"`         // as it named itself; "" while it is writing that
	Since  time.Time `json:"since,omitzero"` // by the holder's clock
	Seen   time.Time `json:"seen,omitzero"`  // last sign of life, by the store's clock; zero in a directory
}

// LockInfo tells who holds the lock of that name, nil when nobody does. It
// takes nothing and writes nothing, so it never stands in a run's way.
//
// In a directory it sees the locks that the kernel of this machine lists
// (Linux); what other machines lock on a shared file system stays unseen. In a
// bucket it sees every lease without a release, dead ones too: Seen tells.
func (s *Store) LockInfo(ctx context.Context, name string) (*LockInfo, error) {
	var l *LockInfo
	var err error
	if path, local := s.Path("locks/" + name); local {
		l, err = flockInfo(path)
	} else {
		l, err = s.Sub("locks/" + name).leaseInfo(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %q in %s: %w", name, s.loc, err)
	}
	return l, nil
}

func (s *Store) leaseInfo(ctx context.Context) (*LockInfo, error) {
	st, err := s.readLease(ctx)
	if err != nil || st.n < 0 || st.free {
		return nil, err
	}
	l := &LockInfo{Seen: st.last.UTC()}
	data, err := s.Read(ctx, leaseKey(st.n, "lease"), 64<<10)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // the next holder has cleaned up meanwhile
	}
	if err != nil {
		return nil, err
	}
	var note holderNote
	if json.Unmarshal(data, &note) == nil {
		l.Holder, l.Since = note.Holder, note.Since
	}
	return l, nil
}

func flockInfo(path string) (*LockInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, nil
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || !flocked(string(locks), uint64(st.Dev), uint64(st.Ino)) {
		return nil, nil // another system: nothing can be told without trying
	}
	note := readNote(f)
	return &LockInfo{Holder: note.Holder, Since: note.Since}, nil
}

// flocked finds a flock of a file in the text of /proc/locks, which names a
// file as major:minor:inode.
//
//	1: FLOCK  ADVISORY  WRITE 9210 fe:00:11421732 0 EOF
//	1: -> FLOCK  ADVISORY  WRITE 9300 fe:00:11421732 0 EOF
func flocked(locks string, dev, ino uint64) bool {
	// The split of Linux's dev_t.
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&0xffffff00
	for sc := bufio.NewScanner(strings.NewReader(locks)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 6 || f[1] != "FLOCK" {
			continue // a waiter has an arrow there
		}
		id := strings.Split(f[5], ":")
		if len(id) != 3 {
			continue
		}
		ma, err1 := strconv.ParseUint(id[0], 16, 64)
		mi, err2 := strconv.ParseUint(id[1], 16, 64)
		in, err3 := strconv.ParseUint(id[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil && ma == major && mi == minor && in == ino {
			return true
		}
	}
	return false
}
