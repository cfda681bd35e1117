package store

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// OpKind is a kind of request to a store.
type OpKind string

// The requests that faults can be injected into.
const (
	OpOpen   OpKind = "open"   // the start of a read
	OpRead   OpKind = "read"   // some bytes of a read
	OpPut    OpKind = "put"    // a write as a whole
	OpWrite  OpKind = "write"  // some bytes of a write
	OpStat   OpKind = "stat"   //
	OpList   OpKind = "list"   // one page
	OpDelete OpKind = "delete" //
)

// Op is one request that WithFaults asks its Injector about.
type Op struct {
	Kind OpKind
	Key  string // in the whole bucket or directory; of a list its prefix
	// After is false before the request is made, true when it was made and
	// succeeded: an error then stands for a lost reply.
	After bool
	N     int64 // counts all questions, from 1
}

// Injector returns the error that a request shall meet, or nil. It may also
// block, or call something, to arrange a race. Many goroutines call it.
type Injector func(Op) error

// WithFaults returns a store on the same objects whose requests meet the
// errors of inject below the store's own retries. It is for tests: fail the
// N-th request for every N, and look whether what must hold still holds.
func WithFaults(s *Store, inject Injector) *Store {
	out := *s
	out.b = &faultyBackend{next: s.b, inject: inject, n: new(atomic.Int64)}
	out.opts.Backoff = time.Microsecond
	return &out
}

type faultyBackend struct {
	next   backend
	inject Injector
	n      *atomic.Int64
}

func (f *faultyBackend) ask(kind OpKind, key string, after bool) error {
	return f.inject(Op{Kind: kind, Key: key, After: after, N: f.n.Add(1)})
}

func (f *faultyBackend) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Object, error) {
	if err := f.ask(OpOpen, key, false); err != nil {
		return nil, Object{}, err
	}
	r, obj, err := f.next.open(ctx, key, off, n)
	if err != nil {
		return nil, obj, err
	}
	return &faultyReader{r, f, key}, obj, nil
}

type faultyReader struct {
	io.ReadCloser
	f   *faultyBackend
	key string
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.ask(OpRead, r.key, false); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

func (f *faultyBackend) put(ctx context.Context, key string, ifAbsent bool, fn func(io.Writer) error) error {
	if err := f.ask(OpPut, key, false); err != nil {
		return err
	}
	err := f.next.put(ctx, key, ifAbsent, func(w io.Writer) error { return fn(&faultyWriter{w, f, key}) })
	if err != nil {
		return err
	}
	return f.ask(OpPut, key, true)
}

type faultyWriter struct {
	w   io.Writer
	f   *faultyBackend
	key string
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.ask(OpWrite, w.key, false); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

func (f *faultyBackend) stat(ctx context.Context, key string) (Object, error) {
	if err := f.ask(OpStat, key, false); err != nil {
		return Object{}, err
	}
	return f.next.stat(ctx, key)
}

func (f *faultyBackend) page(ctx context.Context, prefix, after, token string, deep bool) ([]Object, string, error) {
	if err := f.ask(OpList, prefix, false); err != nil {
		return nil, "", err
	}
	return f.next.page(ctx, prefix, after, token, deep)
}

func (f *faultyBackend) delete(ctx context.Context, key string) error {
	if err := f.ask(OpDelete, key, false); err != nil {
		return err
	}
	if err := f.next.delete(ctx, key); err != nil {
		return err
	}
	return f.ask(OpDelete, key, true)
}

func (f *faultyBackend) close() error { return f.next.close() }

// directory returns the local backend of s, also under injected faults.
func (s *Store) directory() (*dirBackend, bool) {
	b := s.b
	if f, ok := b.(*faultyBackend); ok {
		b = f.next
	}
	d, ok := b.(*dirBackend)
	return d, ok
}
