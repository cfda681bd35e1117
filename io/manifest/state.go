package manifest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3"

	"winnow/io/store"
)

// readerFormat changes when the same manifest would give other rows.
const readerFormat = 1

// State identifies what a manifest said: the files, how they are read, and the
// versions of what they name. Equal states mean equal rows.
type State struct {
	Format  int    `json:"format"`
	Options string `json:"options"` // hash
	Files   string `json:"files"`   // hash of names, sizes and versions
	// Dirs are the places whose listings gave the versions of assets, and
	// Listing the hash of what was listed.
	Dirs    []Dir  `json:"dirs,omitempty"`
	Listing string `json:"listing,omitempty"`
}

// Same tells whether two states mean equal rows.
func (s State) Same(o State) bool {
	return s.Format == o.Format && s.Options == o.Options && s.Files == o.Files && s.Listing == o.Listing && slices.Equal(s.Dirs, o.Dirs)
}

// Dir is a place that is listed.
type Dir struct {
	Root   string `json:"root"`   // a store
	Prefix string `json:"prefix"` // in it; "" or ends in "/"
	Deep   bool   `json:"deep"`   // with all below
	Most   int64  `json:"most"`   // objects; the rest is not looked at
}

func newHash() hash.Hash { return blake3.New(32, nil) }

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// note hashes one line of text without ambiguity.
func note(w io.Writer, parts ...any) {
	b, _ := json.Marshal(parts)
	_, _ = w.Write(append(b, '\n'))
}

func (s Source) options() string {
	h := newHash()
	note(h, s.Manifest, s.Fields, s.Allow, s.Exclude, s.maxLine())
	if len(s.Coco) > 0 {
		note(h, s.Coco)
	}
	return sum(h)
}

func noteObject(w io.Writer, o store.Object) {
	note(w, o.Key, o.Size, version(o), o.ModTime.UnixNano())
}

// Probe returns the state of a manifest without reading it. prev is that of the
// last read: it names the places to list. Only listings are made, no request for
// each asset.
func (r *Reader) Probe(ctx context.Context, src Source, prev State) (State, error) {
	s := State{Format: readerFormat, Options: src.options()}
	f, err := r.find(ctx, src)
	if err != nil {
		return s, err
	}
	if s.Files, err = f.hash(ctx); err != nil {
		return s, err
	}
	if prev.Format == s.Format && prev.Options == s.Options && prev.Files == s.Files {
		s.Dirs = prev.Dirs
		s.Listing, err = r.list(ctx, s.Dirs, nil, nil)
	}
	return s, err
}

// hash identifies the manifest's files, or the listing that stands for one.
func (f *found) hash(ctx context.Context) (string, error) {
	h := newHash()
	for _, o := range f.files {
		noteObject(h, o)
	}
	if f.glob != nil {
		for o, err := range f.match(ctx) {
			if err != nil {
				return "", fmt.Errorf("manifest: %w", err)
			}
			noteObject(h, o)
		}
	}
	return sum(h), nil
}

// list lists the places, hands every object with its URI on to each, if any, one
// call at a time, and returns the hash of it all. A place that cannot be listed
// is passed over with a warning: its assets cannot be fetched either, and whoever
// tries says so.
func (r *Reader) list(ctx context.Context, dirs []Dir, each func(uri string, o store.Object) error, warn func(string)) (string, error) {
	if len(dirs) == 0 {
		return "", nil
	}
	for _, d := range dirs { // before the goroutines share the map
		if _, err := r.store(ctx, d.Root); err != nil {
			return "", err
		}
	}
	sums := make([]string, len(dirs))
	calls := make(chan struct{}, 1) // holds the right to call each
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, d := range dirs {
		g.Go(func() error {
			h := newHash()
			err := r.listOne(gctx, d, func(uri string, o store.Object) error {
				noteObject(h, o)
				if each == nil {
					return nil
				}
				calls <- struct{}{}
				defer func() { <-calls }()
				return each(uri, o)
			})
			var stop *listError
			switch {
			case errors.As(err, &stop) && gctx.Err() == nil && !store.IsTransient(stop.err):
				note(h, "failed", stop.err.Error())
				if warn != nil {
					calls <- struct{}{}
					warn(fmt.Sprintf("the versions of its assets are unknown: %v", stop.err))
					<-calls
				}
			case err != nil:
				return err
			}
			sums[i] = sum(h)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	h := newHash()
	note(h, sums)
	return sum(h), nil
}

// listError is a failure of the store, not of whoever takes the objects.
type listError struct{ err error }

func (e *listError) Error() string { return e.err.Error() }
func (e *listError) Unwrap() error { return e.err }

func (r *Reader) listOne(ctx context.Context, d Dir, each func(uri string, o store.Object) error) error {
	st := r.stores[d.Root]
	objects := st.ListDir(ctx, d.Prefix)
	if d.Deep {
		objects = st.List(ctx, d.Prefix)
	}
	n := int64(0)
	for o, err := range objects {
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &listError{err}
		}
		if o.IsDir {
			continue
		}
		if n++; n > d.Most {
			return nil
		}
		uri, err := store.ResolveURI(d.Root, o.Key)
		if err != nil {
			continue // no manifest can name it
		}
		if err := each(uri, o); err != nil {
			return err
		}
	}
	return nil
}
