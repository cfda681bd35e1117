package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"winnow/pipeline"
)

// flock is a lock on a file. The kernel frees it with the process.
type flock struct {
	f    *os.File
	path string
}

func (s *Store) takeFlock(ctx context.Context, name string, note holderNote, o LockOptions) (heldLock, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	d, _ := s.directory()
	path := d.file(s.prefix + "locks/" + name)
	if err := makeDirs(d.file(s.prefix + "locks")); err != nil {
		return nil, err
	}
	for range 100 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK) && o.Break:
			// The holder keeps its lock on a file without a name, and finds
			// out at its next heartbeat. A name that has gone to another file
			// already is that of another breaker.
			held := &flock{f: f, path: path}
			if held.beat(ctx) == nil {
				err = os.Remove(path)
			}
			f.Close()
			if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !os.IsNotExist(err) {
				return nil, err
			}
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			held := readNote(f)
			f.Close()
			return nil, &pipeline.LockedError{Holder: held.String()}
		case errors.Is(err, syscall.EINTR):
			f.Close()
			continue
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("flock %s: %w", path, err)
		}
		l := &flock{f: f, path: path}
		// The name may have gone to another file while we waited for the lock.
		if l.beat(ctx) != nil {
			f.Close()
			continue
		}
		if err := l.write(note); err != nil {
			f.Close()
			return nil, err
		}
		return l, nil
	}
	return nil, fmt.Errorf("%s keeps changing; try again", path)
}

func (l *flock) write(note holderNote) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(note.encode(), 0)
	return err
}

func readNote(r io.ReaderAt) holderNote {
	var n holderNote
	data, _ := io.ReadAll(io.NewSectionReader(r, 0, 64<<10))
	if json.Unmarshal(data, &n) != nil {
		return holderNote{} // being written just now
	}
	return n
}

// beat checks that the name still leads to the locked file.
func (l *flock) beat(context.Context) error {
	mine, err := l.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.path)
	if err != nil {
		if os.IsNotExist(err) {
			return errTaken
		}
		return err
	}
	if !os.SameFile(mine, there) {
		return errTaken
	}
	return nil
}

// release leaves the file: removing it would let two runs lock two files of
// one name.
func (l *flock) release(context.Context) error { return l.f.Close() }
