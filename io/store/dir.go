package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// dirBackend keeps objects as files of a local directory.
type dirBackend struct{ root string }

func (d *dirBackend) close() error { return nil }

func (d *dirBackend) file(key string) string {
	return filepath.Join(d.root, filepath.FromSlash(key))
}

// fileObject describes a regular file; anything else is no object.
func fileObject(key string, fi fs.FileInfo) (Object, error) {
	if !fi.Mode().IsRegular() {
		return Object{}, ErrNotFound
	}
	return Object{
		Key:     key,
		Size:    fi.Size(),
		ModTime: fi.ModTime(),
		ETag:    fmt.Sprintf("%x-%x", fi.ModTime().UnixNano(), fi.Size()),
	}, nil
}

// fileError maps the ways in which a path can be missing to ErrNotFound: a link to
// itself leads to no file, and no file has a name that is too long.
func fileError(err error) error {
	for _, missing := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG} {
		if errors.Is(err, missing) {
			return ErrNotFound
		}
	}
	return err
}

func (d *dirBackend) stat(ctx context.Context, key string) (Object, error) {
	if err := ctx.Err(); err != nil {
		return Object{}, err
	}
	fi, err := os.Stat(d.file(key))
	if err != nil {
		return Object{}, fileError(err)
	}
	return fileObject(key, fi)
}

// openFile opens an object's file; O_NONBLOCK keeps a named pipe from
// blocking the open.
func (d *dirBackend) openFile(key string) (*os.File, Object, error) {
	f, err := os.OpenFile(d.file(key), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Object{}, fileError(err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, Object{}, err
	}
	obj, err := fileObject(key, fi)
	if err != nil {
		f.Close()
		return nil, Object{}, err
	}
	return f, obj, nil
}

func (d *dirBackend) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, Object{}, err
	}
	f, obj, err := d.openFile(key)
	if err != nil {
		return nil, Object{}, err
	}
	if n < 0 {
		n = max(obj.Size-off, 0)
	}
	r := struct {
		io.Reader
		io.Closer
	}{&ctxReader{ctx, io.NewSectionReader(f, off, n)}, f}
	return r, obj, nil
}

// ctxReader stops a long read when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// put writes a temporary file beside the target, syncs it, and only then gives
// it its name: by link(2), which fails where the name exists, or by rename(2),
// which replaces it.
func (d *dirBackend) put(ctx context.Context, key string, ifAbsent bool, fn func(io.Writer) error) (err error) {
	target := d.file(key)
	if ifAbsent {
		// Cheap refusal before the work; link decides in the end.
		if _, err := os.Lstat(target); err == nil {
			return errExists
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Dir(target)
	if err := makeDirs(dir); err != nil {
		return err
	}
	f, err := createTemp(dir)
	if err != nil {
		return err
	}
	temp := f.Name()
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
		}
	}()
	buf := bufio.NewWriterSize(f, 256<<10)
	if err := fn(&ctxWriter{ctx, buf}); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	// Without the sync a power cut may leave the name with no bytes.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := publish(temp, target, ifAbsent); err != nil {
		return err
	}
	return syncDir(dir)
}

// publish gives the file at temp its final name.
func publish(temp, target string, ifAbsent bool) error {
	if !ifAbsent {
		if err := os.Rename(temp, target); err != nil {
			return err
		}
		return nil
	}
	switch err := os.Link(temp, target); {
	case err == nil:
		// The object is there; a temporary name that stays is swept later.
		os.Remove(temp)
		return nil
	case errors.Is(err, fs.ErrExist):
		return errExists
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EMLINK):
		// FUSE mounts and some network file systems have no hard links.
		return renameNew(temp, target)
	default:
		return err
	}
}

// createTemp is os.CreateTemp with the permissions of an ordinary file.
func createTemp(dir string) (*os.File, error) {
	for range 1000 {
		name := fmt.Sprintf("%s%016x", tempPrefix, rand.Uint64())
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("no free temporary name in %s", dir)
}

// makeDirs is os.MkdirAll that makes the new names durable.
func makeDirs(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return fmt.Errorf("%s is a file, not a directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes new names in dir durable. Some file systems cannot sync a
// directory, and have no more to offer.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func (d *dirBackend) delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := d.file(key)
	fi, err := os.Lstat(name)
	if err != nil {
		return fileError(err)
	}
	if fi.IsDir() {
		return ErrNotFound
	}
	if err := os.Remove(name); err != nil {
		return fileError(err)
	}
	// Directories stay: removing one could race with a write into it.
	return syncDir(filepath.Dir(name))
}

// page lists everything at once: a tree has no cursor that survives changes.
func (d *dirBackend) page(ctx context.Context, prefix, after, _ string, deep bool) ([]Object, string, error) {
	start := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		start = prefix[:i]
	}
	l := lister{ctx: ctx, d: d, prefix: prefix, after: after, deep: deep}
	if err := l.walk(start); err != nil {
		return nil, "", err
	}
	return l.out, "", nil
}

type lister struct {
	ctx           context.Context
	d             *dirBackend
	prefix, after string
	deep          bool
	out           []Object
}

// walk adds what lies in dir, a key without a trailing slash, in the order of
// the full keys: a directory sorts as its name with a slash.
func (l *lister) walk(dir string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.d.file(dir))
	if err != nil {
		if fileError(err) == ErrNotFound {
			return nil
		}
		return err
	}
	names := make([]string, 0, len(entries))
	byName := make(map[string]fs.DirEntry, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		name := e.Name()
		if isDir(l.d.file(path.Join(dir, name)), e) {
			name += "/"
		}
		key := join(dir, name)
		// Neither the prefix nor what comes after the cursor can be below.
		if !strings.HasPrefix(key, l.prefix) && !strings.HasPrefix(l.prefix, key) {
			continue
		}
		if key <= l.after && !strings.HasPrefix(l.after, key) {
			continue
		}
		names = append(names, name)
		byName[name] = e
	}
	slices.Sort(names)
	for _, name := range names {
		if err := l.add(join(dir, name), byName[name]); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) add(key string, e fs.DirEntry) error {
	name, dir := strings.CutSuffix(key, "/")
	switch {
	case dir && (l.deep || !strings.HasPrefix(key, l.prefix) || key == l.prefix):
		return l.walk(name)
	case dir:
		if l.d.holds(name) && key > l.after {
			l.out = append(l.out, Object{Key: key, IsDir: true})
		}
		return nil
	}
	if key <= l.after || !strings.HasPrefix(key, l.prefix) {
		return nil
	}
	fi, err := os.Stat(l.d.file(key))
	if err != nil {
		// Removed since, or a dangling link.
		if fileError(err) == ErrNotFound {
			return nil
		}
		return err
	}
	if o, err := fileObject(key, fi); err == nil {
		l.out = append(l.out, o)
	}
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// isDir follows a link: users link their pictures into a folder.
func isDir(path string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// holds tells whether there is any object below dir: object stores know no
// empty directories.
func (d *dirBackend) holds(dir string) bool {
	f, err := os.Open(d.file(dir))
	if err != nil {
		return false
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			if !e.IsDir() || d.holds(path.Join(dir, e.Name())) {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

// sweep removes unfinished files that no writer has touched since before.
func (d *dirBackend) sweep(ctx context.Context, prefix string, before time.Time) (int, error) {
	n := 0
	err := filepath.WalkDir(d.file(prefix), func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), tempPrefix) {
			if fileError(err) == ErrNotFound {
				return nil
			}
			return err
		}
		fi, err := e.Info()
		if err != nil || !fi.ModTime().Before(before) {
			return nil
		}
		if os.Remove(name) == nil {
			n++
		}
		return nil
	})
	return n, err
}
