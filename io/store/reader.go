package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// NewReader streams the object, or fails with ErrNotFound. A broken connection
// is taken up again where it broke; ErrChanged says that the object had been
// replaced by then. The caller closes the reader.
func (s *Store) NewReader(ctx context.Context, key string) (io.ReadCloser, Object, error) {
	full, err := s.full("read", key)
	if err != nil {
		return nil, Object{}, err
	}
	r := &reader{ctx: ctx, s: s, key: key, full: full}
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		r.r, r.obj, err = s.b.open(ctx, full, 0, -1)
		return err
	})
	if err != nil {
		return nil, Object{}, s.fail("read", key, err)
	}
	return r, s.relative(r.obj), nil
}

// reader resumes after transient faults.
type reader struct {
	ctx       context.Context
	s         *Store
	key, full string
	obj       Object
	r         io.ReadCloser
	off       int64
	faults    int // since the last byte
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.r.Read(p)
		r.off += int64(n)
		if n > 0 {
			r.faults = 0
		}
		switch {
		case err == nil:
			return n, nil
		case err == io.EOF && r.off >= r.obj.Size:
			return n, io.EOF
		case err == io.EOF:
			err = fmt.Errorf("got %d of %d bytes: %w", r.off, r.obj.Size, io.ErrUnexpectedEOF)
		}
		if n > 0 && IsTransient(err) {
			return n, nil // the next call meets the fault again and resumes
		}
		if err = r.resume(err); err != nil {
			return n, r.s.fail("read", r.key, r.s.settle(r.ctx, err))
		}
	}
}

// resume opens the rest of the object; it returns err when that is of no use.
func (r *reader) resume(err error) error {
	for IsTransient(err) && r.ctx.Err() == nil && r.faults < r.s.opts.Attempts-1 {
		r.faults++
		if perr := pause(r.ctx, backoff(r.s.opts.Backoff, r.faults)); perr != nil {
			return perr
		}
		next, obj, operr := r.s.b.open(r.ctx, r.full, r.off, -1)
		if operr != nil {
			err = operr
			continue
		}
		if !sameObject(obj, r.obj) {
			next.Close()
			return ErrChanged
		}
		r.r.Close()
		r.r = next
		return nil
	}
	return err
}

func (r *reader) Close() error { return r.r.Close() }

// sameObject compares what a read tells about its object.
func sameObject(a, b Object) bool {
	return a.Size == b.Size && a.ModTime.Equal(b.ModTime) && (a.ETag == b.ETag || a.ETag == "" || b.ETag == "")
}

// Local returns the path of a local file with the object's bytes: the file
// itself where the store is a directory, else a download in cacheDir, named by
// the hash of the store's URL, the key and the object's version, and reused.
// Many callers may ask for the same object at once. The caller must not change
// the file; the cache may be deleted whenever no one uses it.
func (s *Store) Local(ctx context.Context, key, cacheDir string) (string, error) {
	if p, ok := s.Path(key); ok {
		if _, err := s.Stat(ctx, key); err != nil {
			return "", err
		}
		return p, nil
	}
	obj, err := s.Stat(ctx, key)
	if err != nil {
		return "", err
	}
	id := fmt.Sprintf("%s\x00%s\x00%s\x00%d\x00%d", s.loc.bucketURL(), s.prefix+key, obj.ETag, obj.Size, obj.ModTime.UnixNano())
	sum := sha256.Sum256([]byte(id))
	name := filepath.Join(cacheDir, hex.EncodeToString(sum[:20])+filepath.Ext(key))
	err = s.locals.do(ctx, name, func() error {
		if fi, err := os.Stat(name); err == nil && fi.Size() == obj.Size {
			return nil
		}
		return s.download(ctx, key, obj, name)
	})
	if err != nil {
		return "", err
	}
	return name, nil
}

func (s *Store) download(ctx context.Context, key string, want Object, name string) error {
	r, got, err := s.NewReader(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	if got.Size != want.Size || got.ETag != "" && want.ETag != "" && got.ETag != want.ETag {
		return s.fail("download", key, ErrChanged)
	}
	dir := dirBackend{root: filepath.Dir(name)}
	err = dir.put(ctx, filepath.Base(name), false, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("download %s to %s: %w", s.loc.child(key), name, err)
	}
	return nil
}

// flights runs one call per name at a time, so that callers who want the same
// file wait for one download.
type flights struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

func newFlights() *flights { return &flights{busy: map[string]chan struct{}{}} }

func (f *flights) do(ctx context.Context, name string, fn func() error) error {
	for {
		f.mu.Lock()
		wait, busy := f.busy[name]
		if !busy {
			break
		}
		f.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	mine := make(chan struct{})
	f.busy[name] = mine
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.busy, name)
		f.mu.Unlock()
		close(mine)
	}()
	return fn()
}

// File is an object that is read in any order.
type File struct {
	size  int64
	local *os.File
	cache *blockCache
}

// OpenAt opens the object for random access, or fails with ErrNotFound. ctx
// bounds all later reads. A remote object of up to 4 MiB is fetched at once,
// a larger one by ranges, with a cache of at most 16 MiB and read-ahead when
// it is read in order. Reads fail with ErrChanged when the object is replaced
// meanwhile.
func (s *Store) OpenAt(ctx context.Context, key string) (*File, error) {
	full, err := s.full("open", key)
	if err != nil {
		return nil, err
	}
	if d, ok := s.b.(*dirBackend); ok {
		f, obj, err := d.openFile(full)
		if err != nil {
			return nil, s.fail("open", key, err)
		}
		return &File{size: obj.Size, local: f}, nil
	}
	obj, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	c := newBlockCache(obj.Size, func(off, n int64) ([]byte, error) {
		data, err := s.readRange(ctx, full, obj, off, n)
		if err != nil {
			return nil, s.fail("read", key, err)
		}
		return data, nil
	})
	return &File{size: obj.Size, cache: c}, nil
}

// readRange reads exactly n bytes from off of the object that want describes.
func (s *Store) readRange(ctx context.Context, full string, want Object, off, n int64) ([]byte, error) {
	var data []byte
	err := s.retry(ctx, func(ctx context.Context) error {
		r, obj, err := s.b.open(ctx, full, off, n)
		if err != nil {
			return err
		}
		defer r.Close()
		if obj.Size != want.Size || obj.ETag != "" && want.ETag != "" && obj.ETag != want.ETag {
			return ErrChanged
		}
		data = make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		return nil
	})
	return data, err
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.local != nil {
		return f.local.ReadAt(p, off)
	}
	return f.cache.readAt(p, off)
}

// Size returns the object's size in bytes.
func (f *File) Size() int64 { return f.size }

// Close releases the file.
func (f *File) Close() error {
	if f.local != nil {
		return f.local.Close()
	}
	f.cache.drop()
	return nil
}

// isUnder tells whether key is dir or lies below it.
func isUnder(key, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return dir == "" || key == dir || strings.HasPrefix(key, dir+"/")
}
