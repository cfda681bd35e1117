package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob" // s3://
	"gocloud.dev/gcerrors"
)

// bucketBackend keeps objects in a bucket that gocloud reaches.
type bucketBackend struct {
	b    *blob.Bucket
	opts Options
	keep bool // shared; close does nothing
}

// Upload parts: three of 8 MiB bound the memory of a writer to 32 MiB and
// allow objects of 80 GB on S3, which takes 10,000 parts.
const (
	partSize    = 8 << 20
	partsAtOnce = 3
	pageSize    = 1000
)

// memory holds the mem:// buckets that have a name.
var memory struct {
	sync.Mutex
	buckets map[string]*blob.Bucket
}

func openBucket(ctx context.Context, loc location, o Options) (*bucketBackend, error) {
	if loc.scheme == "mem" {
		if loc.query != "" {
			return nil, fmt.Errorf("mem:// takes no parameters, got %q", loc.query)
		}
		return &bucketBackend{b: memoryBucket(loc.host), opts: o, keep: true}, nil
	}
	b, err := blob.OpenBucket(ctx, loc.bucketURL())
	if err != nil {
		return nil, err
	}
	return &bucketBackend{b: b, opts: o}, nil
}

func memoryBucket(name string) *blob.Bucket {
	if name == "" {
		return memblob.OpenBucket(nil)
	}
	memory.Lock()
	defer memory.Unlock()
	b := memory.buckets[name]
	if b == nil {
		b = memblob.OpenBucket(nil)
		if memory.buckets == nil {
			memory.buckets = map[string]*blob.Bucket{}
		}
		memory.buckets[name] = b
	}
	return b
}

func (b *bucketBackend) close() error {
	if b.keep {
		return nil
	}
	return b.b.Close()
}

// bucketError maps gocloud's codes to the errors of this package.
func bucketError(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fmt.Errorf("%w (%v)", ErrNotFound, err)
	case gcerrors.FailedPrecondition:
		return fmt.Errorf("%w (%v)", errExists, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ConditionalRequestConflict" {
		return conflictError{err}
	}
	return err
}

// conflictError is S3's answer to a conditional write while another one is in
// progress, which may yet fail: a repetition finds out who won.
type conflictError struct{ err error }

func (e conflictError) Error() string { return e.err.Error() }
func (e conflictError) Unwrap() error { return e.err }

func (b *bucketBackend) stat(ctx context.Context, key string) (Object, error) {
	a, err := b.b.Attributes(ctx, key)
	if err != nil {
		return Object{}, bucketError(err)
	}
	return Object{Key: key, Size: a.Size, ModTime: a.ModTime, ETag: trimETag(a.ETag), MD5: a.MD5}, nil
}

// trimETag makes the tag of a header equal to that of a list.
func trimETag(tag string) string { return strings.Trim(strings.TrimPrefix(tag, "W/"), `"`) }

func (b *bucketBackend) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Object, error) {
	w := watch(ctx, b.opts.Timeout)
	r, err := b.b.NewRangeReader(w.ctx, key, off, n, nil)
	w.rest()
	if err != nil {
		w.stop()
		return nil, Object{}, w.err(bucketError(err))
	}
	obj := Object{Key: key, Size: r.Size(), ModTime: r.ModTime()}
	var out s3.GetObjectOutput
	if r.As(&out) && out.ETag != nil {
		obj.ETag = trimETag(*out.ETag)
	}
	return &bucketReader{r: r, w: w}, obj, nil
}

// bucketReader bounds the time of each Read.
type bucketReader struct {
	r *blob.Reader
	w *watchdog
}

func (r *bucketReader) Read(p []byte) (int, error) {
	r.w.feed()
	n, err := r.r.Read(p)
	r.w.rest()
	if err != nil && err != io.EOF {
		err = r.w.err(err)
	}
	return n, err
}

func (r *bucketReader) Close() error {
	err := r.r.Close()
	r.w.stop()
	return err
}

// put streams what fn writes through a pipe into an upload. Upload, and not a
// blob.Writer, because azureblob's Writer panics when a conditional write is
// refused, and because a Writer that is closed after an error publishes what
// it has. Here a failed fn cancels the upload and breaks its input.
func (b *bucketBackend) put(ctx context.Context, key string, ifAbsent bool, fn func(io.Writer) error) error {
	w := watch(ctx, b.opts.Timeout)
	defer w.stop()
	w.rest()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := b.b.Upload(w.ctx, key, pr, &blob.WriterOptions{
			ContentType:    "application/octet-stream",
			IfNotExist:     ifAbsent,
			BufferSize:     partSize,
			MaxConcurrency: partsAtOnce,
		})
		// fn must not wait for a reader that has gone.
		if err != nil {
			pr.CloseWithError(err)
		} else {
			pr.Close()
		}
		done <- err
	}()
	ended := false
	defer func() {
		if !ended { // fn panicked
			w.stop()
			pw.CloseWithError(context.Canceled)
			<-done
		}
	}()
	fnErr := fn(&pipeWriter{pw, w})
	if fnErr == nil {
		fnErr = w.ctx.Err()
	}
	if fnErr != nil {
		w.cancel(context.Canceled)
		pw.CloseWithError(fnErr)
		upErr := <-done
		ended = true
		// When the upload failed first, fn has only seen the broken pipe.
		if upErr != nil && errors.Is(fnErr, upErr) {
			fnErr = bucketError(upErr)
		}
		return w.err(fnErr)
	}
	w.feed()
	pw.Close()
	err := <-done
	ended = true
	if err != nil {
		return w.err(bucketError(err))
	}
	return nil
}

// pipeWriter bounds the time for which the store takes no bytes.
type pipeWriter struct {
	pw *io.PipeWriter
	w  *watchdog
}

func (p *pipeWriter) Write(data []byte) (int, error) {
	defer p.w.rest()
	total := 0
	for {
		p.w.feed()
		chunk := data[:min(len(data), 1<<20)]
		n, err := p.pw.Write(chunk)
		total += n
		if err != nil {
			return total, err
		}
		if data = data[len(chunk):]; len(data) == 0 {
			return total, nil
		}
	}
}

func (b *bucketBackend) delete(ctx context.Context, key string) error {
	if err := b.b.Delete(ctx, key); err != nil {
		return bucketError(err)
	}
	return nil
}

func (b *bucketBackend) page(ctx context.Context, prefix, after, token string, deep bool) ([]Object, string, error) {
	opts := &blob.ListOptions{Prefix: prefix, BeforeList: startAfter(after)}
	if !deep {
		opts.Delimiter = "/"
	}
	from := []byte(token)
	if token == "" {
		from = blob.FirstPageToken
	}
	list, next, err := b.b.ListPage(ctx, from, pageSize, opts)
	if err != nil {
		if gcerrors.Code(err) == gcerrors.NotFound {
			return nil, "", fmt.Errorf("the bucket does not exist: %w", bucketError(err))
		}
		return nil, "", bucketError(err)
	}
	out := make([]Object, len(list))
	for i, o := range list {
		out[i] = Object{Key: o.Key, Size: o.Size, ModTime: o.ModTime, MD5: o.MD5, IsDir: o.IsDir}
		if !o.IsDir {
			out[i].ETag = listETag(o)
		}
	}
	return out, string(next), nil
}

// startAfter lets the services that can skip the keys up to after.
func startAfter(after string) func(func(any) bool) error {
	if after == "" {
		return nil
	}
	return func(as func(any) bool) error {
		var in *s3.ListObjectsV2Input
		var query *storage.Query
		switch {
		case as(&in):
			in.StartAfter = &after
		case as(&query):
			query.StartOffset = after // inclusive; the caller drops the first
		}
		return nil
	}
}

func listETag(o *blob.ListObject) string {
	var (
		aws    types.Object
		google storage.ObjectAttrs
		azure  container.BlobItem
	)
	switch {
	case o.As(&aws) && aws.ETag != nil:
		return trimETag(*aws.ETag)
	case o.As(&google):
		return trimETag(google.Etag)
	case o.As(&azure) && azure.Properties != nil && azure.Properties.ETag != nil:
		return trimETag(string(*azure.Properties.ETag))
	}
	return ""
}
