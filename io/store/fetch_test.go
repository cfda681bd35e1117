package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"winnow/pipeline"
)

// fetcher allows loopback when asked, since tests have no public address.
func fetcher(t *testing.T, o FetchOptions, loopback bool) *Fetcher {
	t.Helper()
	f := NewFetcher(o)
	f.opts.Backoff = time.Microsecond
	if loopback {
		f.client = f.webClient(func(string, string, syscall.RawConn) error { return nil })
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func wantReason(t *testing.T, f *Fetcher, uri, reason string, transient bool) {
	t.Helper()
	data, err := f.Fetch(t.Context(), uri)
	var row *pipeline.RowError
	if !errors.As(err, &row) || row.Reason != reason || row.Transient != transient {
		t.Errorf("%s: %d bytes, %v; want %s", uri, len(data), err, reason)
	}
}

func wantBytes(t *testing.T, f *Fetcher, uri, want string) {
	t.Helper()
	if data, err := f.Fetch(t.Context(), uri); err != nil || string(data) != want {
		t.Errorf("%s: %q, %v; want %q", uri, data, err, want)
	}
}

func TestFetchFiles(t *testing.T) {
	base := t.TempDir()
	write := func(name, data string) {
		t.Helper()
		p := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("ok/a.jpg", "a")
	write("ok/sub/b c%.jpg", "b")
	write("ok/empty.jpg", "")
	write("ok/big.jpg", strings.Repeat("x", 101))
	write("ok/hundred.jpg", strings.Repeat("x", 100))
	write("secret/key", "secret")
	write("single.jpg", "single")
	link("sub/b c%.jpg", "ok/inside.jpg")
	link(filepath.Join(base, "ok", "sub"), "ok/absolute")
	link("../secret/key", "ok/outside.jpg")
	link(filepath.Join(base, "secret"), "ok/outdir")
	link("loop", "ok/loop")
	link("nowhere", "ok/dangling.jpg")
	if err := syscall.Mkfifo(filepath.Join(base, "ok", "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	f := fetcher(t, FetchOptions{Allow: []string{filepath.Join(base, "ok") + "/", "file://" + base + "/single.jpg"}, MaxBytes: 100}, false)
	at := "file://" + base
	wantBytes(t, f, at+"/ok/a.jpg", "a")
	wantBytes(t, f, filepath.Join(base, "ok/a.jpg"), "a")
	wantBytes(t, f, at+"/ok/sub/b%20c%25.jpg", "b")
	wantBytes(t, f, at+"/ok/sub/../a.jpg", "a")
	wantBytes(t, f, at+"/ok/inside.jpg", "b")
	wantBytes(t, f, at+"/ok/absolute/b%20c%25.jpg", "b")
	wantBytes(t, f, at+"/single.jpg", "single")
	wantBytes(t, f, at+"/ok/hundred.jpg", strings.Repeat("x", 100))
	for _, c := range []struct{ uri, reason string }{
		{at + "/ok/missing.jpg", pipeline.ReasonNotFound},
		{at + "/ok/a.jpg/below", pipeline.ReasonNotFound},
		{at + "/ok/dangling.jpg", pipeline.ReasonNotFound},
		{at + "/ok/loop", pipeline.ReasonNotFound},
		{at + "/ok/" + strings.Repeat("x", 300), pipeline.ReasonNotFound},
		{at + "/ok/sub", pipeline.ReasonNotFound},
		{at + "/ok/empty.jpg", pipeline.ReasonEmpty},
		{at + "/ok/big.jpg", pipeline.ReasonTooLarge},
		{at + "/ok/pipe", pipeline.ReasonUnsupported},
		{at + "/ok/outside.jpg", pipeline.ReasonOutsideAllow},
		{at + "/ok/outdir/key", pipeline.ReasonOutsideAllow},
		{at + "/secret/key", pipeline.ReasonOutsideAllow},
		{at + "/ok/../secret/key", pipeline.ReasonOutsideAllow},
		{at + "/ok/%2e%2e/secret/key", pipeline.ReasonOutsideAllow},
		{at + "/okay", pipeline.ReasonOutsideAllow},
		{at + "/single.jpg.bak", pipeline.ReasonOutsideAllow},
		{"/etc/passwd", pipeline.ReasonOutsideAllow},
		{"file://host/x", pipeline.ReasonOutsideAllow},
		{"s3://bucket/x", pipeline.ReasonOutsideAllow},
		{"", pipeline.ReasonOutsideAllow},
	} {
		wantReason(t, f, c.uri, c.reason, false)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Fetch(ctx, at+"/ok/a.jpg"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFetchWithoutAllow(t *testing.T) {
	f := fetcher(t, FetchOptions{}, false)
	wantReason(t, f, "/etc/hostname", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, "http://example.com/", pipeline.ReasonOutsideAllow, false)
	bad := fetcher(t, FetchOptions{Allow: []string{"/fine", "nope://x"}}, false)
	var row *pipeline.RowError
	if _, err := bad.Fetch(t.Context(), "/fine/x"); err == nil || errors.As(err, &row) {
		t.Errorf("a bad allow list: %v, want an error that stops the stage", err)
	}
}

func TestFetchObjects(t *testing.T) {
	s, err := Open(t.Context(), "mem://fetch-objects")
	if err != nil {
		t.Fatal(err)
	}
	for key, data := range map[string]string{"p/a": "a", "p/b%20c": "literal", "p/empty": "", "p/big": "xxxxxx", "q/a": "other"} {
		if err := s.WriteAll(t.Context(), key, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	f := fetcher(t, FetchOptions{Allow: []string{"mem://fetch-objects/p"}, MaxBytes: 5 + 2}, false)
	wantBytes(t, f, "mem://fetch-objects/p/a", "a")
	wantBytes(t, f, "mem://fetch-objects/p/b%20c", "literal")
	wantReason(t, f, "mem://fetch-objects/p/nope", pipeline.ReasonNotFound, false)
	wantReason(t, f, "mem://fetch-objects/p/empty", pipeline.ReasonEmpty, false)
	wantReason(t, f, "mem://fetch-objects/q/a", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, "mem://fetch-objects/p/../q/a", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, "mem://other/p/a", pipeline.ReasonOutsideAllow, false)
	small := fetcher(t, FetchOptions{Allow: []string{"mem://fetch-objects"}, MaxBytes: 5}, false)
	wantReason(t, small, "mem://fetch-objects/p/big", pipeline.ReasonTooLarge, false)
}

// TestFetchWebIsPublic: an allowed host whose address is private is refused,
// whatever its name says.
func TestFetchWebIsPublic(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"} {
		url := "http://" + host + ":" + port
		f := fetcher(t, FetchOptions{Allow: []string{url}, Retries: -1, Timeout: 5 * time.Second}, false)
		var row *pipeline.RowError
		_, err := f.Fetch(t.Context(), url+"/x.jpg")
		if !errors.As(err, &row) || row.Reason != pipeline.ReasonOutsideAllow && row.Reason != pipeline.ReasonUnavailable {
			t.Errorf("%s: %v", url, err)
		}
		if host == "127.0.0.1" && row.Reason != pipeline.ReasonOutsideAllow {
			t.Errorf("%s: %v, want %s", url, err, pipeline.ReasonOutsideAllow)
		}
	}
	if asked {
		t.Error("the private server was asked")
	}
}

func TestIsPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "64:ff9b::808:808": true, "2002:808:808::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "0.0.0.0": false,
		"100.100.100.200": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "192.0.0.192": false,
		"::": false, "::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false,
		"2002:a9fe:a9fe::1": false, "2001:0:1::1": false, "2001:db8::1": false, "64:ff9b:1::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if err := refusePrivate("tcp", "not an address", nil); err == nil {
		t.Error("an unreadable address was let through")
	}
}

func TestFetchWeb(t *testing.T) {
	var busy, flaky, cut atomic.Int64
	mux := http.NewServeMux()
	reply := func(path string, h http.HandlerFunc) { mux.HandleFunc(path, h) }
	reply("/ok/a.jpg", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a") })
	reply("/ok/gone.jpg", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) })
	reply("/ok/denied.jpg", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	reply("/ok/empty.jpg", func(w http.ResponseWriter, r *http.Request) {})
	reply("/ok/busy.jpg", func(w http.ResponseWriter, r *http.Request) { busy.Add(1); w.WriteHeader(503) })
	reply("/ok/flaky.jpg", func(w http.ResponseWriter, r *http.Request) {
		if flaky.Add(1) <= 3 {
			w.WriteHeader(503)
			return
		}
		fmt.Fprint(w, "at last")
	})
	reply("/ok/cut.jpg", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
		if cut.Add(1) > 1 {
			fmt.Fprint(w, strings.Repeat("x", 96))
		}
	})
	reply("/ok/announced.jpg", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(200)
	})
	reply("/ok/endless.jpg", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 10)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	})
	reply("/ok/trickle.jpg", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
				w.Write([]byte("."))
				w.(http.Flusher).Flush()
			}
		}
	})
	reply("/ok/silent.jpg", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	reply("/ok/here.jpg", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok/a.jpg", http.StatusFound) })
	reply("/ok/away.jpg", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/secret/a.jpg", http.StatusFound) })
	reply("/ok/file.jpg", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	reply("/ok/ring.jpg", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok/ring.jpg", http.StatusFound) })
	reply("/secret/a.jpg", func(w http.ResponseWriter, r *http.Request) { t.Error("the secret was asked for") })
	server := httptest.NewServer(mux)
	defer server.Close()
	at := server.URL
	f := fetcher(t, FetchOptions{Allow: []string{at + "/ok"}, MaxBytes: 500, Retries: 10, Timeout: 30 * time.Second}, true)
	wantBytes(t, f, at+"/ok/a.jpg", "a")
	wantBytes(t, f, at+"/ok/a.jpg?sig=1", "a")
	wantBytes(t, f, at+"/ok/here.jpg", "a")
	wantBytes(t, f, at+"/ok/flaky.jpg", "at last")
	wantBytes(t, f, at+"/ok/cut.jpg", "half"+strings.Repeat("x", 96))
	wantReason(t, f, at+"/ok/missing.jpg", pipeline.ReasonNotFound, false)
	wantReason(t, f, at+"/ok/gone.jpg", pipeline.ReasonNotFound, false)
	wantReason(t, f, at+"/ok/denied.jpg", pipeline.ReasonUnavailable, true)
	wantReason(t, f, at+"/ok/empty.jpg", pipeline.ReasonEmpty, false)
	wantReason(t, f, at+"/ok/announced.jpg", pipeline.ReasonTooLarge, false)
	wantReason(t, f, at+"/ok/endless.jpg", pipeline.ReasonTooLarge, false)
	wantReason(t, f, at+"/ok/away.jpg", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, at+"/ok/file.jpg", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, at+"/ok/ring.jpg", pipeline.ReasonUnavailable, true)
	wantReason(t, f, at+"/secret/a.jpg", pipeline.ReasonOutsideAllow, false)
	wantReason(t, f, at+"/ok/busy.jpg", pipeline.ReasonUnavailable, true)
	if busy.Load() != 11 {
		t.Errorf("the busy server was asked %d times, want 11", busy.Load())
	}
	for _, slow := range []string{"/ok/trickle.jpg", "/ok/silent.jpg"} {
		f := fetcher(t, FetchOptions{Allow: []string{at}, Retries: 1, Timeout: 60 * time.Millisecond}, true)
		start := time.Now()
		wantReason(t, f, at+slow, pipeline.ReasonTimeout, true)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s held us for %v", slow, took)
		}
	}
	// A signed query is a credential.
	if _, err := f.Fetch(t.Context(), at+"/ok/missing.jpg?sig=hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the query: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for value, waits := range map[string]bool{"": false, "0": false, "-1": false, "soon": false, "3": true, "99999999": true} {
		err := retryAfter(ctx, http.Header{"Retry-After": {value}})
		if waits != errors.Is(err, context.Canceled) {
			t.Errorf("Retry-After %q: %v", value, err)
		}
	}
}
