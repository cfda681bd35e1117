// Package store reads and writes the objects of one bucket prefix, or of one
// local directory, through a single type.
//
// # URLs
//
//	./dir, dir, /dir, file://./dir, file:///dir   a local directory
//	s3://bucket/prefix?region=…&endpoint=…&use_path_style=true
//	gs://bucket/prefix
//	azblob://container/prefix
//	mem://name/prefix                             memory, shared within the process by name
//
// The path of a bucket URL is a prefix of the keys, taken literally, and its
// query parameters are gocloud's. Credentials never stand in a URL: they come
// from the environment or the cloud's own chain.
//
// # Guarantees
//
// An object appears whole or not at all: a writer that fails, is cancelled or
// is killed leaves nothing that can be listed or read. Create publishes only
// where no object is, with exactly one winner of a race, on every store. A
// finished write is durable: local files and the directories that lead to them
// are synced. Lists are sorted by key and see what was written before; only
// Azure has keys with any of "#%?\ at the place of their escaped form.
//
// Local directories are handled here and not by gocloud's fileblob, whose
// conditional write has several winners, whose Close does not sync, and whose
// list walks the whole tree for every page.
//
// # Faults
//
// Every remote call has a time limit. Calls that can be repeated are, a bounded
// number of times with growing, jittered pauses, when the fault may pass
// (IsTransient); an error that is still transient after that is a
// *pipeline.TransientError.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// tempPrefix starts the base name of every unfinished local file. Such names
// are never listed, read or written as objects.
const tempPrefix = ".tmp-"

// Object describes a stored object, or a "directory" of ListDir.
type Object struct {
	Key     string    // relative to the store; of a directory it ends in "/"
	Size    int64     // bytes
	ModTime time.Time // by the store's clock
	ETag    string    // changes with the content; "" where the store gives none
	MD5     []byte    // nil where the store gives none
	IsDir   bool      // only from ListDir; Size, ModTime, ETag and MD5 are then zero
}

// Options tunes how a store deals with faults. The zero value of each field
// means its default.
type Options struct {
	Timeout  time.Duration // without any progress in one call; default 60 s
	Attempts int           // of a repeatable call; default 5
	Backoff  time.Duration // before the second attempt, doubled for each further one; default 100 ms
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	return o
}

// Store is one bucket prefix or local directory. Its methods may be called by
// many goroutines. Keys are slash-separated, relative to the store, without
// empty, "." and ".." elements.
type Store struct {
	b      backend
	loc    location // of this prefix
	prefix string   // of every key in b: "" or ends in "/"
	opts   Options
	root   bool   // Close closes b
	above  *Store // what this is a Sub of
	below  string // its prefix there
	locals *flights
}

// backend is what differs between kinds of stores. Its keys are those of the
// whole bucket or directory. Errors are raw but for ErrNotFound and errExists.
type backend interface {
	// open streams n bytes from off, or up to the end when n < 0. The Object
	// describes the whole object.
	open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Object, error)
	// put publishes what fn writes, or nothing when fn fails. With ifAbsent it
	// fails with errExists where an object is already.
	put(ctx context.Context, key string, ifAbsent bool, fn func(io.Writer) error) error
	stat(ctx context.Context, key string) (Object, error)
	// page lists at most a page of keys that start with prefix and come after
	// the key after, one level deep when flat is false. The token goes into the
	// next call; "" ends the list and starts it.
	page(ctx context.Context, prefix, after, token string, deep bool) ([]Object, string, error)
	delete(ctx context.Context, key string) error
	close() error
}

// Open opens the store at rawurl with default options. A bucket's existence is
// not checked; a local directory is made by the first write.
func Open(ctx context.Context, rawurl string) (*Store, error) {
	return OpenWith(ctx, rawurl, Options{})
}

// OpenWith opens the store at rawurl.
func OpenWith(ctx context.Context, rawurl string, o Options) (*Store, error) {
	loc, err := parseLocation(rawurl)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", redact(rawurl), err)
	}
	o = o.withDefaults()
	s := &Store{loc: loc, opts: o, root: true, locals: newFlights()}
	switch loc.scheme {
	case "file":
		s.b = &dirBackend{root: loc.path}
	case "http", "https":
		return nil, fmt.Errorf("open store %s: a web address is no store; use one of %s", redact(rawurl), schemes)
	default:
		s.b, err = openBucket(ctx, loc, o)
		if err != nil {
			return nil, fmt.Errorf("open store %s: %w", loc, err)
		}
		if loc.path != "" {
			s.prefix = strings.TrimSuffix(loc.path, "/") + "/"
		}
	}
	return s, nil
}

// URL returns the store's address in one canonical form, with the query
// parameters that open it again and without credentials.
func (s *Store) URL() string { return s.loc.String() }

// Sub returns the part of the store under prefix. It shares the connection;
// closing it does nothing.
func (s *Store) Sub(prefix string) *Store {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" || prefix == "." {
		sub := *s
		sub.root = false
		return &sub
	}
	sub := *s
	sub.root = false
	sub.above, sub.below = s, prefix
	sub.prefix += prefix + "/"
	sub.loc = s.loc.join(prefix)
	return &sub
}

// Parent returns the store that s is a folder of, or nil where s is what was opened.
func (s *Store) Parent() *Store {
	if s.above == nil {
		return nil
	}
	if i := strings.LastIndexByte(s.below, '/'); i >= 0 {
		return s.above.Sub(s.below[:i])
	}
	return s.above
}

// Close releases the connection of a store from Open.
func (s *Store) Close() error {
	if !s.root {
		return nil
	}
	if err := s.b.close(); err != nil {
		return fmt.Errorf("close store %s: %w", s.loc, err)
	}
	return nil
}

// checkKey says whether key may name an object.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("the key is empty")
	case !utf8.ValidString(key):
		return errors.New("the key is not valid UTF-8")
	case strings.ContainsRune(key, 0):
		return errors.New("the key contains a zero byte")
	}
	for elem := range strings.SplitSeq(key, "/") {
		switch {
		case elem == "" || elem == "." || elem == "..":
			return fmt.Errorf("the key has an element %q; keys are relative, separated by single slashes", elem)
		case strings.HasPrefix(elem, tempPrefix):
			return fmt.Errorf("names that start with %q are kept for unfinished files", tempPrefix)
		}
	}
	return nil
}

// full returns the backend's key of key.
func (s *Store) full(op, key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", fmt.Errorf("%s %q in %s: %w", op, key, s.loc, err)
	}
	return s.prefix + key, nil
}

// relative makes the backend's object one of this store.
func (s *Store) relative(o Object) Object {
	o.Key = strings.TrimPrefix(o.Key, s.prefix)
	return o
}

// fail gives an error its operation and object.
func (s *Store) fail(op, key string, err error) error {
	return fmt.Errorf("%s %s: %w", op, s.loc.child(key), err)
}

// Read returns the whole object. It fails with ErrNotFound, or with ErrTooLarge
// when it has more than limit bytes; limit ≤ 0 means any size.
func (s *Store) Read(ctx context.Context, key string, limit int64) ([]byte, error) {
	full, err := s.full("read", key)
	if err != nil {
		return nil, err
	}
	var data []byte
	err = s.retry(ctx, func(ctx context.Context) error {
		r, obj, err := s.b.open(ctx, full, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		data, err = readLimited(r, obj.Size, limit)
		return err
	})
	if err != nil {
		return nil, s.fail("read", key, err)
	}
	return data, nil
}

// readLimited reads r, whose size is expected to be size, up to limit bytes. It
// trusts the size only as far as a first allocation.
func readLimited(r io.Reader, size, limit int64) ([]byte, error) {
	if limit > 0 && size > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, size, limit)
	}
	const most = 8 << 20
	data := make([]byte, 0, max(min(size+1, most), 512))
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if limit > 0 && int64(len(data)) > limit {
			return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
		}
		switch {
		case err == io.EOF && size >= 0 && int64(len(data)) < size:
			return nil, fmt.Errorf("got %d of %d bytes: %w", len(data), size, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}

// Stat describes the object, or fails with ErrNotFound.
func (s *Store) Stat(ctx context.Context, key string) (Object, error) {
	full, err := s.full("stat", key)
	if err != nil {
		return Object{}, err
	}
	var obj Object
	err = s.retry(ctx, func(ctx context.Context) error {
		return s.limited(ctx, func(ctx context.Context) (err error) {
			obj, err = s.b.stat(ctx, full)
			return err
		})
	})
	if err != nil {
		return Object{}, s.fail("stat", key, err)
	}
	return s.relative(obj), nil
}

// Write replaces the object by what fn writes. When fn or the store fails, or
// ctx is cancelled, the object stays as it was. fn is called once, so a
// transient fault is returned and not repeated.
func (s *Store) Write(ctx context.Context, key string, fn func(io.Writer) error) error {
	full, err := s.full("write", key)
	if err != nil {
		return err
	}
	if err := s.settle(ctx, s.b.put(ctx, full, false, fn)); err != nil {
		return s.fail("write", key, err)
	}
	return nil
}

// WriteAll replaces the object by data.
func (s *Store) WriteAll(ctx context.Context, key string, data []byte) error {
	full, err := s.full("write", key)
	if err != nil {
		return err
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		return s.b.put(ctx, full, false, writeBytes(data))
	})
	if err != nil {
		return s.fail("write", key, err)
	}
	return nil
}

// Create publishes what fn writes if no object of this name exists. It returns
// false when one does, which can also be this call's own: a store's reply may
// be lost and the request repeated. Who must know puts a token into the object.
// After a transient error the object may exist.
func (s *Store) Create(ctx context.Context, key string, fn func(io.Writer) error) (created bool, err error) {
	full, err := s.full("create", key)
	if err != nil {
		return false, err
	}
	err = s.b.put(ctx, full, true, fn)
	if errors.Is(err, errExists) {
		// fn can not run again, so the other writer is waited for.
		err = retry(ctx, s.opts, func(ctx context.Context) error { return s.refused(ctx, full) })
	}
	return s.created(key, s.settle(ctx, err))
}

// CreateAll is Create of the bytes of data. It repeats transient faults.
func (s *Store) CreateAll(ctx context.Context, key string, data []byte) (created bool, err error) {
	full, err := s.full("create", key)
	if err != nil {
		return false, err
	}
	return s.created(key, s.retry(ctx, func(ctx context.Context) error {
		err := s.b.put(ctx, full, true, writeBytes(data))
		if errors.Is(err, errExists) {
			err = s.refused(ctx, full)
		}
		return err
	}))
}

// refused returns errExists if the object is there. A service may refuse a
// conditional write while another one is on its way, which can be seen only
// later and can fail: that is a conflict, and passes.
func (s *Store) refused(ctx context.Context, full string) error {
	err := s.limited(ctx, func(ctx context.Context) error {
		_, err := s.b.stat(ctx, full)
		return err
	})
	switch {
	case err == nil:
		return errExists
	case errors.Is(err, ErrNotFound):
		return conflictError{errors.New("another writer is creating the object")}
	}
	return err
}

func (s *Store) created(key string, err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errExists):
		return false, nil
	}
	return false, s.fail("create", key, err)
}

func writeBytes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// Delete removes the object. That it is missing is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	full, err := s.full("delete", key)
	if err != nil {
		return err
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		return s.limited(ctx, func(ctx context.Context) error { return s.b.delete(ctx, full) })
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return s.fail("delete", key, err)
	}
	return nil
}

// List yields every object whose key starts with prefix, sorted by key. An
// error ends the list. prefix need not end at a slash. A list is no snapshot: of
// objects that come into being meanwhile it may have any, whatever their order.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return s.list(ctx, prefix, "", true)
}

// ListAfter is List of the keys that sort after the key after.
func (s *Store) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return s.list(ctx, prefix, after, true)
}

// ListDir is List of one level: what has a further slash after prefix is
// yielded once, as a directory. prefix is "" or ends in a slash; a missing one
// is added.
func (s *Store) ListDir(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return s.list(ctx, prefix, "", false)
}

func (s *Store) list(ctx context.Context, prefix, after string, deep bool) iter.Seq2[Object, error] {
	if after != "" {
		after = s.prefix + after
	}
	return func(yield func(Object, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Object{}, fmt.Errorf("list %q in %s: %w", prefix, s.loc, err))
			return
		}
		for token := ""; ; {
			var page []Object
			var next string
			err := s.retry(ctx, func(ctx context.Context) error {
				return s.limited(ctx, func(ctx context.Context) (err error) {
					page, next, err = s.b.page(ctx, s.prefix+prefix, after, token, deep)
					return err
				})
			})
			if err != nil {
				yield(Object{}, s.fail("list", prefix, err))
				return
			}
			for _, o := range page {
				if hidden(o) || o.Key <= after {
					continue
				}
				if !yield(s.relative(o), nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
	}
}

// hidden tells objects that are never listed: unfinished files, and the empty
// ones that consoles make to show a folder.
func hidden(o Object) bool {
	name, slash := strings.CutSuffix(o.Key, "/")
	return slash && !o.IsDir || strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], tempPrefix)
}

func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		return checkKey(prefix[:i])
	}
	return nil
}

// Path returns the local path of key, for a store that is a local directory.
func (s *Store) Path(key string) (string, bool) {
	if s.loc.scheme != "file" {
		return "", false
	}
	return filepath.Join(s.loc.path, filepath.FromSlash(key)), true
}

// Sweep removes what writers that were killed left behind and that nobody can
// see: unfinished files and, on S3, the parts of unfinished uploads, when they
// are older than age. It returns how many.
func (s *Store) Sweep(ctx context.Context, age time.Duration) (int, error) {
	b := s.b
	if f, ok := b.(*faultyBackend); ok {
		b = f.next
	}
	n, err := b.(sweeper).sweep(ctx, s.prefix, time.Now().Add(-age))
	if err != nil {
		return n, s.fail("sweep", "", err)
	}
	return n, nil
}

// sweeper is what every real backend is.
type sweeper interface {
	sweep(ctx context.Context, prefix string, before time.Time) (int, error)
}
