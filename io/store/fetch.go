package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"winnow/pipeline"
)

// FetchOptions says what may be fetched, and how much of it. The zero value of
// each field means its default.
type FetchOptions struct {
	// Allow lists the places that assets may come from: URLs or local paths of
	// directories, prefixes or single objects. An empty list allows nothing. A
	// bucket's entry may carry the parameters that reach it. Only entries with
	// http:// or https:// let the fetcher ask web servers.
	Allow    []string
	MaxBytes int64         // per asset; default 64 MiB
	Timeout  time.Duration // for one attempt, all bytes included; default 60 s
	Retries  int           // after a transient fault; default 4, < 0 none
}

// Fetcher reads the bytes of assets by their URIs. Its methods may be called
// by many goroutines.
type Fetcher struct {
	allow    []allowed
	maxBytes int64
	timeout  time.Duration
	opts     Options
	client   *http.Client
	err      error // of the allow list; every Fetch returns it

	mu     sync.Mutex
	stores map[string]*Store // by bucket URL
}

// allowed is one entry of the allow list.
type allowed struct {
	loc location
	dir *os.Root // of a local directory; nil until it exists
	mu  sync.Mutex
}

// NewFetcher returns a fetcher. A bad entry of Allow fails every Fetch.
func NewFetcher(o FetchOptions) *Fetcher {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	switch {
	case o.Retries == 0:
		o.Retries = 4
	case o.Retries < 0:
		o.Retries = 0
	}
	f := &Fetcher{
		maxBytes: o.MaxBytes,
		timeout:  o.Timeout,
		opts:     Options{Timeout: o.Timeout, Attempts: o.Retries + 1}.withDefaults(),
		stores:   map[string]*Store{},
	}
	var errs []error
	f.allow = make([]allowed, len(o.Allow))
	for i, entry := range o.Allow {
		loc, err := parseLocation(entry)
		if err != nil {
			errs = append(errs, fmt.Errorf("allow entry %s: %w", redact(entry), err))
		}
		f.allow[i].loc = loc
	}
	f.err = errors.Join(errs...)
	f.client = f.webClient(refusePrivate)
	return f
}

// Close releases what the fetcher has opened.
func (f *Fetcher) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, s := range f.stores {
		errs = append(errs, s.Close())
	}
	clear(f.stores)
	for i := range f.allow {
		if d := f.allow[i].dir; d != nil {
			errs = append(errs, d.Close())
			f.allow[i].dir = nil
		}
	}
	f.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// Fetch returns the bytes at uri: an absolute URI of the schemes of Open, of
// http(s) where that is allowed, or a local path. A fault of this asset is a
// *pipeline.RowError; anything else (an interruption, a bad allow list) stops
// the stage.
func (f *Fetcher) Fetch(ctx context.Context, uri string) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	loc, err := parseLocation(uri)
	if err != nil {
		return nil, pipeline.Rowf(pipeline.ReasonOutsideAllow, "URI %s: %w", redact(uri), err)
	}
	entry := f.match(loc)
	if entry == nil {
		return nil, pipeline.Rowf(pipeline.ReasonOutsideAllow, "%s lies outside the source's allow list; add its folder or bucket to `allow:` if that is meant", loc.child(""))
	}
	var data []byte
	err = retry(ctx, f.opts, func(ctx context.Context) error {
		return f.attempt(ctx, func(ctx context.Context) (err error) {
			switch {
			case loc.scheme == "file":
				data, err = f.fetchFile(ctx, entry, loc)
			case loc.isBucket():
				data, err = f.fetchObject(ctx, entry, loc)
			default:
				data, err = f.fetchWeb(ctx, loc)
			}
			return err
		})
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("fetch %s: %w", loc.child(""), interrupted(ctx, context.Cause(ctx)))
	case err != nil:
		return nil, rowError(loc, err)
	case len(data) == 0:
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "%s has 0 bytes", loc.child(""))
	}
	return data, nil
}

// attempt bounds the time of one attempt as a whole: an endless trickle of
// bytes must not pass for progress.
func (f *Fetcher) attempt(ctx context.Context, fn func(context.Context) error) error {
	w := watch(ctx, f.timeout)
	defer w.stop()
	err := w.err(fn(w.ctx))
	var stalled stalledError
	if errors.As(err, &stalled) {
		return tooSlowError{f.timeout}
	}
	return err
}

// tooSlowError says that an asset took longer than the limit.
type tooSlowError struct{ limit time.Duration }

func (e tooSlowError) Error() string { return fmt.Sprintf("it took longer than %v", e.limit) }
func (e tooSlowError) Timeout() bool { return true }

// rowError sorts a fault into the words that users filter by.
func rowError(loc location, err error) error {
	var row *pipeline.RowError
	if errors.As(err, &row) {
		return row
	}
	wrap := func(reason string, transient bool) error {
		return &pipeline.RowError{Reason: reason, Err: fmt.Errorf("fetch %s: %w", loc.child(""), err), Transient: transient}
	}
	var slow tooSlowError
	switch {
	case errors.Is(err, ErrNotFound):
		return wrap(pipeline.ReasonNotFound, false)
	case errors.Is(err, ErrTooLarge):
		return wrap(pipeline.ReasonTooLarge, false)
	case errors.Is(err, ErrChanged):
		return wrap(pipeline.ReasonChanged, true)
	case errors.As(err, &slow):
		return wrap(pipeline.ReasonTimeout, true)
	}
	// What is left (refused credentials, a broken disk) is no fault of the
	// asset either: someone may repair it, so the next run asks again.
	return wrap(pipeline.ReasonUnavailable, true)
}

// match returns the entry of the allow list that covers loc.
func (f *Fetcher) match(loc location) *allowed {
	for i := range f.allow {
		if covers(f.allow[i].loc, loc) {
			return &f.allow[i]
		}
	}
	return nil
}

func covers(entry, loc location) bool {
	if entry.scheme != loc.scheme || entry.host != loc.host {
		return false
	}
	switch loc.scheme {
	case "file":
		rel, err := filepath.Rel(entry.path, loc.path)
		return err == nil && filepath.IsLocal(rel)
	case "http", "https":
		return !dotted(loc.path) && isUnder(loc.path, entry.path)
	}
	// Another endpoint under the same bucket name is another place.
	if loc.query != "" && loc.query != entry.query {
		return false
	}
	return checkKey(loc.path) == nil && isUnder(loc.path, entry.path)
}

// dotted tells whether a server could take the path for one outside: it has
// dot elements, plain or encoded.
func dotted(escaped string) bool {
	p := strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", `\`, "/").Replace(escaped)
	for elem := range strings.SplitSeq(p, "/") {
		if elem == "." || elem == ".." {
			return true
		}
	}
	return false
}

// fetchFile reads a local file through an os.Root, which no symlink leaves.
func (f *Fetcher) fetchFile(ctx context.Context, entry *allowed, loc location) ([]byte, error) {
	root, rel, err := entry.root(loc.path)
	if err != nil {
		return nil, fileError(err)
	}
	file, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		// A Root refuses absolute links even where they stay inside: follow
		// them first. What the answer is used for goes through the Root again.
		real, inside, rerr := resolve(root.Name(), loc.path)
		if rerr == nil && !inside {
			return nil, pipeline.Rowf(pipeline.ReasonOutsideAllow, "%s is a symbolic link that leaves the allowed %s", loc, entry.loc)
		}
		if rerr != nil || real == rel {
			return nil, fileError(err)
		}
		if file, err = root.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
			return nil, fileError(err)
		}
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case fi.IsDir():
		return nil, fmt.Errorf("%w: it is a directory", ErrNotFound)
	case !fi.Mode().IsRegular():
		return nil, pipeline.Rowf(pipeline.ReasonUnsupported, "%s is not a regular file", loc)
	}
	data, err := readLimited(&ctxReader{ctx, file}, fi.Size(), f.maxBytes)
	if err == nil && int64(len(data)) != fi.Size() {
		return nil, ErrChanged
	}
	return data, err
}

// root opens the entry's directory once; an entry that is a file is opened by
// its parent.
func (a *allowed) root(path string) (*os.Root, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	dir := a.loc.path
	if dir == path {
		dir = filepath.Dir(dir)
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return nil, "", err
	}
	if a.dir == nil {
		if a.dir, err = os.OpenRoot(dir); err != nil {
			return nil, "", err
		}
	}
	return a.dir, rel, nil
}

// resolve follows the links of path and tells where it lies below dir, or that
// it does not.
func resolve(dir, path string) (rel string, inside bool, err error) {
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", false, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false, err
	}
	rel, err = filepath.Rel(realDir, real)
	return rel, err == nil && filepath.IsLocal(rel), nil
}

func (f *Fetcher) fetchObject(ctx context.Context, entry *allowed, loc location) ([]byte, error) {
	key := loc.path
	loc.query = entry.loc.query
	s, err := f.store(ctx, loc)
	if err != nil {
		return nil, err
	}
	r, obj, err := s.b.open(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readLimited(r, obj.Size, f.maxBytes)
}

// store opens the bucket of loc, once.
func (f *Fetcher) store(ctx context.Context, loc location) (*Store, error) {
	url := loc.bucketURL()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.stores[url]; s != nil {
		return s, nil
	}
	// The connection outlives this asset.
	s, err := OpenWith(context.WithoutCancel(ctx), url, f.opts)
	if err != nil {
		return nil, err
	}
	f.stores[url] = s
	return s, nil
}
