package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"winnow/pipeline"
)

var (
	// ErrNotFound says that there is no object (or no bucket) of that name.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge says that an object has more bytes than the caller wants.
	ErrTooLarge = errors.New("too large")
	// ErrChanged says that an object was replaced while it was read.
	ErrChanged = errors.New("the object changed while it was read; try again")

	// errExists says that a put-if-absent met an object.
	errExists = errors.New("exists already")
)

// stalledError says that a call made no progress for its time limit. It hides
// the context error that it caused: nobody interrupted the program.
type stalledError struct{ limit time.Duration }

func (e stalledError) Error() string   { return fmt.Sprintf("no progress for %v", e.limit) }
func (e stalledError) Timeout() bool   { return true }
func (e stalledError) Temporary() bool { return true }

// IsTransient reports whether a later try may not meet the fault: a 5xx
// reply, throttling, a time limit, a broken connection.
func IsTransient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) ||
		errors.Is(err, ErrNotFound) || errors.Is(err, ErrTooLarge) || errors.Is(err, errExists) {
		return false
	}
	var trans *pipeline.TransientError
	var row *pipeline.RowError
	var conflict conflictError
	switch {
	case errors.As(err, &trans), errors.As(err, &conflict):
		return true
	case errors.As(err, &row):
		return row.Transient
	}
	if status := httpStatus(err); status != 0 {
		return transientStatus(status)
	}
	// S3 sends some faults inside a reply of status 200.
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable", "Throttling",
			"ThrottlingException", "RequestTimeTooSkewed", "RequestLimitExceeded", "BandwidthLimitExceeded":
			return true
		}
		if api.ErrorFault() == smithy.FaultServer {
			return true
		}
	}
	switch gcerrors.Code(err) {
	case gcerrors.ResourceExhausted, gcerrors.DeadlineExceeded, gcerrors.Internal:
		return true
	}
	return brokenConnection(err)
}

// httpStatus finds the status of the reply that err stands for; 0 when none.
func httpStatus(err error) int {
	var (
		aws    *awshttp.ResponseError
		google *googleapi.Error
		azure  *azcore.ResponseError
		plain  statusError
	)
	switch {
	case errors.As(err, &aws) && aws.ResponseError != nil && aws.Response != nil && aws.Response.Response != nil:
		return aws.HTTPStatusCode()
	case errors.As(err, &google):
		return google.Code
	case errors.As(err, &azure):
		return azure.StatusCode
	case errors.As(err, &plain):
		return plain.code
	}
	return 0
}

func transientStatus(status int) bool {
	return status >= 500 && status != http.StatusNotImplemented ||
		status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

func brokenConnection(err error) bool {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for _, no := range []syscall.Errno{
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.EPIPE,
		syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EAGAIN,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary
	}
	// A server that closes a kept-alive connection shows as a bare EOF of the
	// request.
	var op *net.OpError
	return errors.As(err, &op) && errors.Is(err, io.EOF)
}

// settle turns what a call returned into what the caller sees: the
// interruption when there was one, a TransientError when a later try may help.
func (s *Store) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return interrupted(ctx, err)
	}
	var trans *pipeline.TransientError
	if IsTransient(err) && !errors.As(err, &trans) {
		return &pipeline.TransientError{Err: err}
	}
	return err
}

// interrupted makes sure that the error of a cancelled call says so: SDKs do
// not always pass the context's error on.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w (%v)", cause, err)
}

// retry calls fn until it succeeds, fails for good, or has had its attempts.
func (s *Store) retry(ctx context.Context, fn func(context.Context) error) error {
	return s.settle(ctx, retry(ctx, s.opts, fn))
}

func retry(ctx context.Context, o Options, fn func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := fn(ctx)
		if err == nil || ctx.Err() != nil || !IsTransient(err) {
			return err
		}
		if attempt >= o.Attempts {
			return fmt.Errorf("%w (%d attempts)", err, attempt)
		}
		if err := pause(ctx, backoff(o.Backoff, attempt)); err != nil {
			return err
		}
	}
}

// backoff returns the pause after the given number of failed attempts: between
// half and all of base doubled each time, at most 10 s. The jitter keeps a
// fleet of tasks from asking again all at once.
func backoff(base time.Duration, attempt int) time.Duration {
	const most = 10 * time.Second
	d := min(base<<min(attempt-1, 20), most)
	return d/2 + rand.N(d/2+1)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// limited calls fn, a call without a stream, within the time limit.
func (s *Store) limited(ctx context.Context, fn func(context.Context) error) error {
	return limited(ctx, s.opts.Timeout, fn)
}

func limited(ctx context.Context, limit time.Duration, fn func(context.Context) error) error {
	w := watch(ctx, limit)
	defer w.stop()
	return w.err(fn(w.ctx))
}

// watchdog cancels its context when it is not fed within its limit.
type watchdog struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
}

func watch(ctx context.Context, limit time.Duration) *watchdog {
	w := &watchdog{parent: ctx, limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() { w.cancel(stalledError{limit}) })
	return w
}

// rest stops the clock while the store has nothing to do.
func (w *watchdog) rest() { w.timer.Stop() }

// feed starts the clock again.
func (w *watchdog) feed() { w.timer.Reset(w.limit) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// err replaces the context error that the watchdog itself caused.
func (w *watchdog) err(err error) error {
	if err == nil || w.parent.Err() != nil {
		return err
	}
	var stalled stalledError
	if errors.As(context.Cause(w.ctx), &stalled) {
		return stalled
	}
	return err
}

// statusError is a refused plain HTTP request.
type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("HTTP status %d %s", e.code, http.StatusText(e.code))
}
