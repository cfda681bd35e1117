package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// Source says where a manifest is and how it is read.
type Source struct {
	// Manifest is a URL or local path of one file, a glob of JSON Lines, CSV or
	// Parquet files, or a glob of pictures or texts whose paths become ids.
	Manifest string
	Fields   Fields
	// Allow lists the places that assets may be read from. Rows that name others
	// are rejected here already; without a list nothing is.
	Allow   []string
	Exclude []string // addresses that a glob passes over, such as the workspace
	MaxLine int64    // of a row, in bytes; default DefaultMaxLine
	// Coco lists, for COCO results, the manifests among which their ground truth
	// is; what is no COCO file there is passed over.
	Coco []string
}

func (s Source) maxLine() int64 {
	if s.MaxLine <= 0 {
		return DefaultMaxLine
	}
	return s.MaxLine
}

// form is what a file holds, by its name.
type form int

const (
	formNone form = iota
	formJSON
	formCSV
	formTSV
	formParquet
	formPicture
	formText
)

// forms by the extension of a file's name; ".gz" is looked through.
var forms = map[string]form{
	".jsonl": formJSON, ".ndjson": formJSON, ".json": formJSON, ".manifest": formJSON,
	".csv": formCSV, ".tsv": formTSV, ".parquet": formParquet, ".pq": formParquet,
	".jpg": formPicture, ".jpeg": formPicture, ".png": formPicture, ".gif": formPicture, ".webp": formPicture,
	".bmp": formPicture, ".tif": formPicture, ".tiff": formPicture,
	".txt": formText, ".md": formText, ".text": formText,
}

// formOf returns the form of a file or of what a pattern matches. A pattern of
// several is of the form of the last.
func formOf(name string) form {
	name = strings.ToLower(strings.TrimRight(name, "}"))
	name = strings.TrimSuffix(name, ".gz")
	ext := path.Ext(name)
	if i := strings.LastIndexAny(ext, "{,"); i >= 0 {
		ext = "." + ext[i+1:]
	}
	f := forms[ext]
	if f == formNone && len(ext) > 1 && !isGlob(ext) {
		return formPicture // the models say what they can decode
	}
	return f
}

func (f form) manifest() bool { return f >= formJSON && f <= formParquet }

// Reader reads manifests. Its methods are not for several goroutines at once.
type Reader struct {
	db     *query.DB
	cache  string // for copies of remote Parquet files
	stores map[string]*store.Store
	serial int
}

// NewReader returns a reader that works in db and keeps copies of remote
// Parquet files in the folder cache.
func NewReader(db *query.DB, cache string) *Reader {
	return &Reader{db: db, cache: cache, stores: map[string]*store.Store{}}
}

// Close releases the stores that the reader has opened.
func (r *Reader) Close() error {
	var errs []error
	for _, s := range r.stores {
		errs = append(errs, s.Close())
	}
	clear(r.stores)
	return errors.Join(errs...)
}

// store opens the bucket or directory at root once.
func (r *Reader) store(ctx context.Context, root string) (*store.Store, error) {
	if s := r.stores[root]; s != nil {
		return s, nil
	}
	s, err := store.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	r.stores[root] = s
	return s, nil
}

// spot is a place in a store: a key, or a pattern of keys.
type spot struct {
	st   *store.Store
	root string // that the store was opened with
	key  string
}

// uri returns the canonical address of a key of the spot's store.
func (s spot) uri(key string) (string, error) { return store.ResolveURI(s.root, key) }

// locate opens the store of a manifest. Of a local path, the store is the
// directory before the first magic character.
func (r *Reader) locate(ctx context.Context, manifest string) (spot, error) {
	scheme, rest, ok := strings.Cut(manifest, "://")
	if ok && !strings.EqualFold(scheme, "file") {
		query := ""
		if i := strings.LastIndexByte(rest, '?'); i >= 0 && strings.Contains(rest[i:], "=") {
			rest, query = rest[:i], rest[i:]
		}
		host, key, _ := strings.Cut(rest, "/")
		root := strings.ToLower(scheme) + "://" + host + query
		st, err := r.store(ctx, root)
		return spot{st, root, key}, err
	}
	p := manifest
	if ok {
		var err error
		if p, err = url.PathUnescape(rest); err != nil {
			return spot{}, pipeline.Usagef("manifest %s: bad percent-encoding; write %%25 for a percent sign", manifest)
		}
		p = strings.TrimPrefix(p, "localhost")
	}
	slash := strings.HasSuffix(p, "/")
	p, err := filepath.Abs(p)
	if err != nil {
		return spot{}, err
	}
	p = filepath.ToSlash(p)
	if slash {
		p += "/"
	}
	fixed := p
	if i := strings.IndexAny(p, magic); i >= 0 {
		fixed = p[:i]
	}
	dir := p[:strings.LastIndexByte(fixed, '/')+1]
	// As a URL, so that no character of the path means anything else.
	root, err := store.ResolveURI("", dir)
	if err != nil {
		return spot{}, err
	}
	if !strings.HasSuffix(root, "/") {
		root += "/"
	}
	st, err := r.store(ctx, root)
	return spot{st, root, p[len(dir):]}, err
}

// found is what a manifest's address leads to.
type found struct {
	spot
	form   form
	glob   *glob          // of pictures or texts; nil for manifest files
	files  []store.Object // manifest files, sorted by key
	source Source

	exclude []string // canonical addresses that the glob passes over
}

// NoMatchError says that a glob matches no file. It unwraps to a
// *pipeline.UsageError.
type NoMatchError struct{ usage *pipeline.UsageError }

func (e *NoMatchError) Error() string { return e.usage.Error() }

func (e *NoMatchError) Unwrap() error { return e.usage }

func noMatch(manifest string) error {
	return &NoMatchError{pipeline.Usagef("manifest %s matches no file; correct the pattern", manifest)}
}

// find looks a manifest up. That it matches nothing is a *pipeline.UsageError.
func (r *Reader) find(ctx context.Context, src Source) (*found, error) {
	at, err := r.locate(ctx, src.Manifest)
	if err != nil {
		return nil, err
	}
	f := &found{spot: at, source: src, form: formOf(at.key)}
	if at.key != "" && !strings.HasSuffix(at.key, "/") {
		// A name may well contain magic characters.
		switch o, err := at.st.Stat(ctx, at.key); {
		case err == nil && f.form.manifest():
			f.files = []store.Object{o}
			return f, nil
		case err == nil && !isGlob(at.key):
			return nil, pipeline.Usagef("manifest %s is no manifest by its name; they end in .jsonl, .json, .csv, .tsv or .parquet, and a single asset is listed by a glob such as *%s", src.Manifest, path.Ext(at.key))
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	if !isGlob(at.key) {
		if f.form.manifest() {
			return nil, pipeline.Usagef("manifest %s does not exist; correct the path, or write the manifest first", src.Manifest)
		}
		return nil, pipeline.Usagef("manifest %s is no file; for a folder write a glob such as %s/**/*.jpg", src.Manifest, strings.TrimRight(src.Manifest, "/"))
	}
	g, err := newGlob(at.key)
	if err != nil {
		return nil, pipeline.Usagef("manifest: %v", err)
	}
	f.glob = g
	for _, e := range src.Exclude {
		uri, err := store.ResolveURI("", e)
		if err != nil {
			return nil, err
		}
		f.exclude = append(f.exclude, strings.TrimRight(withoutQuery(uri), "/"))
	}
	if !f.form.manifest() {
		return f, nil
	}
	for o, err := range f.match(ctx) {
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		f.files = append(f.files, o)
	}
	if len(f.files) == 0 {
		return nil, noMatch(src.Manifest)
	}
	f.glob = nil
	return f, nil
}

// match yields the objects that the glob matches, sorted by key. A pattern that
// names no extension matches pictures and texts only.
func (f *found) match(ctx context.Context) iter.Seq2[store.Object, error] {
	list := f.st.List(ctx, f.glob.prefix)
	if !f.glob.deep {
		list = f.st.ListDir(ctx, f.glob.dir)
	}
	return func(yield func(store.Object, error) bool) {
		for o, err := range list {
			if err != nil {
				yield(o, err)
				return
			}
			if _, ok := f.glob.match(o.Key); !ok || o.IsDir {
				continue
			}
			if ext := strings.ToLower(path.Ext(o.Key)); f.form == formNone && forms[ext] < formPicture {
				continue
			}
			if len(f.exclude) > 0 {
				if uri, err := f.uri(o.Key); err == nil && isIn(withoutQuery(uri), f.exclude) {
					continue
				}
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// version is what tells one content of an object from the next.
func version(o store.Object) string {
	switch {
	case len(o.MD5) > 0:
		return fmt.Sprintf("%x", o.MD5)
	case o.ETag != "":
		return o.ETag
	}
	return fmt.Sprintf("%x-%x", o.ModTime.UnixNano(), o.Size)
}

// records opens a manifest file of JSON or CSV. header is set for CSV.
func (f *found) records(ctx context.Context, o store.Object) (_ io.Closer, _ recordReader, header *csvRows, err error) {
	in, got, err := f.st.NewReader(ctx, o.Key)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	if got.Size != o.Size || got.ETag != "" && o.ETag != "" && got.ETag != o.ETag || !got.ModTime.Truncate(time.Second).Equal(o.ModTime.Truncate(time.Second)) {
		return nil, nil, nil, &pipeline.TransientError{Err: errors.New("the file changed while the manifest was read; run again")}
	}
	r, err := maybeGzip(in)
	if err != nil {
		return nil, nil, nil, err
	}
	most := f.source.maxLine()
	switch fm := formOf(o.Key); {
	case fm == formCSV || fm == formTSV:
		c, err := newCSV(r, most, fm == formTSV)
		return in, c, c, err
	case isArray(r):
		return in, newArrayReader(r, most), nil, nil
	}
	return in, newLineReader(r, most), nil, nil
}
