package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

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
	b      *blob.Bucket
	bucket string
	opts   Options
	keep   bool // shared; close does nothing
	// drain: an upload that is given up may end the requests that are on their
	// way. S3 can keep a part that arrives after the upload was aborted.
	drain bool
}

// drainTime is how long an upload that is given up may take to end.
const drainTime = 5 * time.Second

// Upload parts: three of 8 MiB, and the first 16 MiB that the S3 client reads
// to choose its way, bound the memory of a writer to some 64 MiB and allow
// objects of 80 GB on S3, which takes 10,000 parts.
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
	return &bucketBackend{b: b, bucket: loc.host, opts: o, drain: loc.scheme == "s3"}, nil
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
	if err == nil {
		return nil
	}
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

// quiet keeps the SDK from writing a line to stderr for each S3 object without a
// checksum, which all have that were written before 2025 or by other programs.
func quiet(as func(any) bool) error {
	var options *[]func(*s3.Options)
	if as(&options) {
		*options = append(*options, func(o *s3.Options) { o.DisableLogOutputChecksumValidationSkipped = true })
	}
	return nil
}

func (b *bucketBackend) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, Object, error) {
	w := watch(ctx, b.opts.Timeout)
	r, err := b.b.NewRangeReader(w.ctx, key, off, n, &blob.ReaderOptions{BeforeRead: quiet})
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

// errGivenUp breaks the input of an upload. It must be no io.EOF, which would
// complete it, whatever error fn returned.
var errGivenUp = errors.New("the write was given up")

// put streams what fn writes through a pipe into an upload. Upload, and not a
// blob.Writer, because azureblob's Writer panics when a conditional write is
// refused, and because a Writer that is closed after an error publishes what
// it has. Here a failed fn breaks the upload's input and cancels it.
func (b *bucketBackend) put(ctx context.Context, key string, ifAbsent bool, fn func(io.Writer) error) error {
	u := b.startUpload(ctx, key, ifAbsent)
	defer u.stop()
	if err := fn(u); err != nil || ctx.Err() != nil {
		upErr := u.giveUp()
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case upErr != nil && errors.Is(err, upErr):
			// The upload failed first, fn has only seen the broken pipe.
			err = bucketError(upErr)
		}
		return u.w.err(err)
	}
	return u.w.err(bucketError(u.finish()))
}

// upload is a write on its way to the bucket. It bounds the time for which the
// store takes no bytes.
type upload struct {
	ctx   context.Context // the caller's
	w     *watchdog       // of the requests; for drain it outlives ctx
	pw    *io.PipeWriter
	pr    *io.PipeReader
	done  chan error
	drain bool
	quiet func() bool // ends the watch over ctx
	ended bool
}

func (b *bucketBackend) startUpload(ctx context.Context, key string, ifAbsent bool) *upload {
	u := &upload{ctx: ctx, done: make(chan error, 1), drain: b.drain}
	u.w = watch(ctx, b.opts.Timeout)
	if b.drain {
		u.w = watch(context.WithoutCancel(ctx), b.opts.Timeout)
		u.w.parent = ctx
	}
	u.w.rest()
	u.pr, u.pw = io.Pipe()
	u.quiet = context.AfterFunc(ctx, func() { u.pr.CloseWithError(errGivenUp) })
	go func() {
		err := b.b.Upload(u.w.ctx, key, u.pr, &blob.WriterOptions{
			ContentType:    "application/octet-stream",
			IfNotExist:     ifAbsent,
			BufferSize:     partSize,
			MaxConcurrency: partsAtOnce,
		})
		// fn must not wait for a reader that has gone.
		if err != nil {
			u.pr.CloseWithError(err)
		} else {
			u.pr.Close()
		}
		u.done <- err
	}()
	return u
}

// Write hands data to the upload.
func (u *upload) Write(data []byte) (int, error) {
	defer u.w.rest()
	total := 0
	for {
		u.w.feed()
		chunk := data[:min(len(data), 1<<20)]
		n, err := u.pw.Write(chunk)
		total += n
		if err != nil {
			return total, err
		}
		if data = data[len(chunk):]; len(data) == 0 {
			return total, nil
		}
	}
}

// finish ends the input and waits for the object.
func (u *upload) finish() error {
	// What is still in memory goes out now, up to 16 MiB by one request.
	u.w.timer.Reset(3 * u.w.limit)
	u.pw.Close()
	var err error
	select {
	case err = <-u.done:
	case <-u.ctx.Done():
		u.w.cancel(context.Canceled)
		err = <-u.done
	}
	u.ended = true
	return err
}

// giveUp breaks the upload off so that nothing is published, and returns its
// error.
func (u *upload) giveUp() error {
	if !u.drain {
		// Some drivers publish what they have at the end of a broken input.
		u.w.cancel(context.Canceled)
	}
	u.pw.CloseWithError(errGivenUp)
	grace := time.NewTimer(drainTime)
	defer grace.Stop()
	var err error
	select {
	case err = <-u.done:
	case <-grace.C:
		u.w.cancel(context.Canceled)
		err = <-u.done
	}
	u.ended = true
	return err
}

// stop releases the upload, also after a panic of fn.
func (u *upload) stop() {
	if !u.ended {
		u.giveUp()
	}
	u.quiet()
	u.w.stop()
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

// sweep aborts S3 uploads in parts that were begun before the given time and
// never ended: nobody sees their parts, and their owner pays for them. A bucket
// that does not let us list them keeps them.
func (b *bucketBackend) sweep(ctx context.Context, prefix string, before time.Time) (int, error) {
	var client *s3.Client
	if !b.b.As(&client) {
		return 0, nil
	}
	n := 0
	pages := s3.NewListMultipartUploadsPaginator(client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if status := httpStatus(err); status == http.StatusForbidden || status == http.StatusNotImplemented {
			return n, nil
		}
		if err != nil {
			return n, bucketError(err)
		}
		for _, u := range page.Uploads {
			if u.Initiated == nil || !u.Initiated.Before(before) {
				continue
			}
			_, err := client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.bucket, Key: u.Key, UploadId: u.UploadId})
			if err != nil && httpStatus(err) != http.StatusNotFound {
				return n, bucketError(err)
			}
			n++
		}
	}
	return n, nil
}
