package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"winnow/io/store"
	"winnow/io/store/s3test"
	"winnow/pipeline"
)

// proxied puts handler between a store and the S3 service. next passes a
// request on; the signature covers the host that the client sees, so the proxy
// keeps it.
func proxied(t *testing.T, o store.Options, handler func(w http.ResponseWriter, r *http.Request, next http.Handler)) *store.Store {
	t.Helper()
	base, query, _ := strings.Cut(s3test.StartS3(t), "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(values.Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		ErrorLog: nil,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r, next) }))
	t.Cleanup(server.Close)
	values.Set("endpoint", server.URL)
	s, err := store.OpenWith(t.Context(), base+"?"+values.Encode(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestS3LostReply lets a conditional put land and cuts the connection instead
// of answering: the SDK repeats it and is refused by its own object.
func TestS3LostReply(t *testing.T) {
	var lose atomic.Bool
	s := proxied(t, store.Options{}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && lose.CompareAndSwap(true, false) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	lose.Store(true)
	if created, err := s.CreateAll(t.Context(), "k", []byte("mine")); created || err != nil {
		t.Errorf("create: %v, %v", created, err)
	}
	if lose.Load() {
		t.Error("no reply was lost")
	}
	if data, err := s.Read(t.Context(), "k", 0); string(data) != "mine" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	// A lock knows its own lease again.
	lose.Store(true)
	l, err := s.Lock(t.Context(), "w", store.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestS3Outage answers 503 to everything: the store gives up after its attempts
// and says that a retry may help.
func TestS3Outage(t *testing.T) {
	var requests atomic.Int64
	s := proxied(t, store.Options{Attempts: 2, Backoff: time.Millisecond}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		requests.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	_, err := s.Read(t.Context(), "k", 0)
	if !store.IsTransient(err) || pipeline.ExitCode(err) != pipeline.ExitTransient {
		t.Errorf("read: %v", err)
	}
	if n := requests.Load(); n < 2 || n > 10 {
		t.Errorf("%d requests", n)
	}
}

// TestS3Denied: refused credentials are no transient fault and are asked once.
func TestS3Denied(t *testing.T) {
	var requests atomic.Int64
	s := proxied(t, store.Options{}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	})
	if _, err := s.Read(t.Context(), "k", 0); err == nil || store.IsTransient(err) || errors.Is(err, store.ErrNotFound) || requests.Load() != 1 {
		t.Errorf("%d requests, %v", requests.Load(), err)
	}
}

// TestS3Silence never answers: the time limit ends it, and it does not look like
// an interruption by the user.
func TestS3Silence(t *testing.T) {
	stop := make(chan struct{})
	s := proxied(t, store.Options{Attempts: 1, Timeout: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	t.Cleanup(func() { close(stop) })
	for name, do := range map[string]func() error{
		"read":  func() error { _, err := s.Read(t.Context(), "k", 0); return err },
		"stat":  func() error { _, err := s.Stat(t.Context(), "k"); return err },
		"write": func() error { return s.WriteAll(t.Context(), "k", []byte("x")) },
		"large write": func() error {
			return s.Write(t.Context(), "k", func(w io.Writer) error {
				_, err := w.Write(make([]byte, 100<<20))
				return err
			})
		},
		"delete": func() error { return s.Delete(t.Context(), "k") },
		"list": func() error {
			for _, err := range s.List(t.Context(), "") {
				return err
			}
			return nil
		},
	} {
		err := do()
		if pipeline.ExitCode(err) != pipeline.ExitTransient || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no progress") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestS3SilenceInTheMiddle stops in the middle of an object; the rest comes on
// the second try.
func TestS3SilenceInTheMiddle(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	var cut atomic.Bool
	s := proxied(t, store.Options{Backoff: time.Millisecond, Timeout: 300 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && cut.CompareAndSwap(true, false) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes()[:300_000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	if err := s.WriteAll(t.Context(), "k", data); err != nil {
		t.Fatal(err)
	}
	cut.Store(true)
	r, _, err := s.NewReader(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
	}
	if cut.Load() {
		t.Error("nothing was cut")
	}
}

// TestS3LeavesNoParts looks behind the service: a write of many parts that
// fails, is cancelled or is refused leaves none of them.
func TestS3LeavesNoParts(t *testing.T) {
	u, dir := s3test.Start(t)
	s := open(t, u)
	boom := errors.New("boom")
	big := make([]byte, 20<<20)
	if err := s.Write(t.Context(), "k", func(w io.Writer) error { w.Write(big); return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Write(ctx, "k", func(w io.Writer) error {
		w.Write(big)
		cancel()
		_, err := w.Write(big)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.WriteAll(t.Context(), "there", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if created, err := s.CreateAll(t.Context(), "there", big); created || err != nil {
		t.Errorf("create: %v, %v", created, err)
	}
	var left []string
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(p) != "there" {
			left = append(left, p)
		}
		return err
	})
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestS3NoBucket: a bucket that does not exist is told from a missing object.
func TestS3NoBucket(t *testing.T) {
	u := strings.Replace(s3test.StartS3(t), "s3://winnow-test", "s3://no-such-bucket", 1)
	s := open(t, u)
	for _, err := range s.List(t.Context(), "") {
		if err == nil || !strings.Contains(err.Error(), "bucket") {
			t.Errorf("list: %v", err)
		}
	}
	if err := s.WriteAll(t.Context(), "k", nil); err == nil || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("write: %v", err)
	}
}

// TestS3IsQuiet: an object without a checksum, as older ones are, is read without a
// word on stderr.
func TestS3IsQuiet(t *testing.T) {
	stderr := os.Stderr
	defer func() { os.Stderr = stderr }()
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	os.Stderr = said // before the client is made
	u, dir := s3test.Start(t)
	s := open(t, u)
	if err := os.WriteFile(filepath.Join(dir, "k"), []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if data, err := s.Read(t.Context(), "k", 0); string(data) != "old" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if data, err := os.ReadFile(said.Name()); len(data) > 0 || err != nil {
		t.Errorf("stderr: %s, %v", data, err)
	}
}
