package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"google.golang.org/api/googleapi"

	"winnow/pipeline"
)

func inMemory(t *testing.T) *Store {
	t.Helper()
	s, err := OpenWith(t.Context(), "mem://", Options{Backoff: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	errBusy  = &pipeline.TransientError{Err: errors.New("503")}
	errFatal = errors.New("access denied")
)

// TestRetries: what can be repeated survives faults that pass, up to the number
// of attempts, and meets others once.
func TestRetries(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1000)
	for _, c := range []struct {
		name string
		kind OpKind
		do   func(*Store) error
	}{
		{"read", OpOpen, func(s *Store) error { _, err := s.Read(t.Context(), "k", 0); return err }},
		{"read bytes", OpRead, func(s *Store) error { _, err := s.Read(t.Context(), "k", 0); return err }},
		{"reader", OpOpen, func(s *Store) error {
			r, _, err := s.NewReader(t.Context(), "k")
			if err == nil {
				r.Close()
			}
			return err
		}},
		{"stat", OpStat, func(s *Store) error { _, err := s.Stat(t.Context(), "k"); return err }},
		{"write", OpPut, func(s *Store) error { return s.WriteAll(t.Context(), "new", data) }},
		{"write bytes", OpWrite, func(s *Store) error { return s.WriteAll(t.Context(), "new", data) }},
		{"create", OpPut, func(s *Store) error { _, err := s.CreateAll(t.Context(), "new", data); return err }},
		{"delete", OpDelete, func(s *Store) error { return s.Delete(t.Context(), "k") }},
		{"list", OpList, func(s *Store) error {
			for _, err := range s.List(t.Context(), "") {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"range", OpRead, func(s *Store) error {
			f, err := s.OpenAt(t.Context(), "k")
			if err == nil {
				_, err = f.ReadAt(make([]byte, 10), 5)
			}
			return err
		}},
	} {
		for faults, wantOK := range map[int64]bool{1: true, 4: true, 5: false} {
			s := inMemory(t)
			if err := s.WriteAll(t.Context(), "k", data); err != nil {
				t.Fatal(err)
			}
			var met atomic.Int64
			err := c.do(WithFaults(s, func(op Op) error {
				if op.Kind == c.kind && !op.After && met.Add(1) <= faults {
					return errBusy
				}
				return nil
			}))
			if wantOK != (err == nil) || !wantOK && (pipeline.ExitCode(err) != pipeline.ExitTransient || !strings.Contains(err.Error(), "5 attempts")) {
				t.Errorf("%s with %d faults: %v", c.name, faults, err)
			}
		}
		s := inMemory(t)
		if err := s.WriteAll(t.Context(), "k", data); err != nil {
			t.Fatal(err)
		}
		var met atomic.Int64
		err := c.do(WithFaults(s, func(op Op) error {
			if op.Kind == c.kind {
				met.Add(1)
				return errFatal
			}
			return nil
		}))
		if !errors.Is(err, errFatal) || met.Load() != 1 || pipeline.ExitCode(err) != pipeline.ExitFailed {
			t.Errorf("%s with a lasting fault: %v after %d attempts", c.name, err, met.Load())
		}
		if !strings.Contains(err.Error(), "mem://") {
			t.Errorf("%s: the error names no object: %v", c.name, err)
		}
	}
}

// TestWriteIsNotRepeated: fn is called once.
func TestWriteIsNotRepeated(t *testing.T) {
	s := WithFaults(inMemory(t), func(op Op) error {
		if op.Kind == OpWrite {
			return errBusy
		}
		return nil
	})
	for name, do := range map[string]func(func(io.Writer) error) error{
		"write":  func(fn func(io.Writer) error) error { return s.Write(t.Context(), "k", fn) },
		"create": func(fn func(io.Writer) error) error { _, err := s.Create(t.Context(), "k", fn); return err },
	} {
		calls := 0
		err := do(func(w io.Writer) error {
			calls++
			_, err := w.Write([]byte("x"))
			return err
		})
		if calls != 1 || !IsTransient(err) || pipeline.ExitCode(err) != pipeline.ExitTransient {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
}

// TestLostReplyOfCreate: the repetition is refused by what the first attempt
// made, so the caller hears that the object exists, and it does.
func TestLostReplyOfCreate(t *testing.T) {
	lost := false
	s := WithFaults(inMemory(t), func(op Op) error {
		if op.Kind == OpPut && op.After && !lost {
			lost = true
			return errBusy
		}
		return nil
	})
	created, err := s.CreateAll(t.Context(), "k", []byte("mine"))
	if created || err != nil {
		t.Errorf("create: %v, %v", created, err)
	}
	if data, err := s.Read(t.Context(), "k", 0); string(data) != "mine" {
		t.Errorf("read %q, %v", data, err)
	}
}

// TestReaderResumes breaks a long read again and again.
func TestReaderResumes(t *testing.T) {
	s := inMemory(t)
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 31 >> 3)
	}
	if err := s.WriteAll(t.Context(), "k", data); err != nil {
		t.Fatal(err)
	}
	n := 0
	bad := WithFaults(s, func(op Op) error {
		if op.Kind == OpRead {
			if n++; n%3 == 0 {
				return io.ErrUnexpectedEOF
			}
		}
		return nil
	})
	r, _, err := bad.NewReader(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	if _, err := io.CopyBuffer(&got, struct{ io.Reader }{r}, make([]byte, 7777)); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d of %d bytes, %v", got.Len(), len(data), err)
	}
}

// TestReaderOfReplaced: a read that breaks and finds another object must not
// glue the two together.
func TestReaderOfReplaced(t *testing.T) {
	s := inMemory(t)
	if err := s.WriteAll(t.Context(), "k", bytes.Repeat([]byte("a"), 1000)); err != nil {
		t.Fatal(err)
	}
	broken := false
	bad := WithFaults(s, func(op Op) error {
		if op.Kind == OpRead && broken {
			broken = false
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	r, _, err := bad.NewReader(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteAll(t.Context(), "k", bytes.Repeat([]byte("b"), 2000)); err != nil {
		t.Fatal(err)
	}
	broken = true
	if got, err := io.ReadAll(r); !errors.Is(err, ErrChanged) {
		t.Errorf("read on: %d bytes, %v", len(got), err)
	}

	f, err := s.OpenAt(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.WriteAll(t.Context(), "k", bytes.Repeat([]byte("c"), 3000)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrChanged) {
		t.Errorf("range of a replaced object: %v", err)
	}
}

// TestTruncatedRead: fewer bytes than the object has are never a success.
func TestTruncatedRead(t *testing.T) {
	for size, limit := range map[int64]int64{10: 0, 11: 100} {
		if data, err := readLimited(strings.NewReader("123456789"), size, limit); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("9 of %d bytes: %q, %v", size, data, err)
		}
	}
	if data, err := readLimited(strings.NewReader("123"), -1, 0); string(data) != "123" || err != nil {
		t.Errorf("unknown size: %q, %v", data, err)
	}
	if _, err := readLimited(strings.NewReader("1234"), 2, 3); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than announced and allowed: %v", err)
	}
	// The announced size is no reason to allocate.
	if _, err := readLimited(strings.NewReader("1"), 1<<60, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		d := backoff(100*time.Millisecond, attempt)
		most := min(100*time.Millisecond<<min(attempt-1, 20), 10*time.Second)
		if d < most/2 || d > most {
			t.Errorf("after %d attempts: %v", attempt, d)
		}
	}
}

func TestIsTransient(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("x"), false},
		{ErrNotFound, false},
		{fmt.Errorf("a: %w", ErrTooLarge), false},
		{errBusy, true},
		{context.Canceled, false},
		{fmt.Errorf("%w: %w", errBusy, context.Canceled), false},
		{context.DeadlineExceeded, true},
		{stalledError{time.Second}, true},
		{io.ErrUnexpectedEOF, true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{&net.DNSError{IsNotFound: true}, false},
		{&net.DNSError{IsTemporary: true}, true},
		{statusError{code: 503}, true},
		{statusError{code: 500}, true},
		{statusError{code: 429}, true},
		{statusError{code: 408}, true},
		{statusError{code: 501}, false},
		{statusError{code: 404}, false},
		{statusError{code: 403}, false},
		{&googleapi.Error{Code: 503}, true},
		{&googleapi.Error{Code: 403}, false},
		{&smithy.GenericAPIError{Code: "SlowDown"}, true},
		{&smithy.GenericAPIError{Code: "AccessDenied"}, false},
		{conflictError{errors.New("x")}, true},
		{&pipeline.RowError{Err: errors.New("x"), Transient: true}, true},
		{&pipeline.RowError{Err: errBusy}, true},
		{&pipeline.RowError{Err: errors.New("x")}, false},
		{syscall.ENOSPC, false},
	} {
		if got := IsTransient(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// TestReadAhead counts the requests of a block cache.
func TestReadAhead(t *testing.T) {
	data := make([]byte, 64<<20)
	var requests, fetched int64
	open := func() *blockCache {
		requests, fetched = 0, 0
		return newBlockCache(int64(len(data)), func(off, n int64) ([]byte, error) {
			requests++
			fetched += n
			return data[off : off+n], nil
		})
	}
	read := func(c *blockCache, off, n int) {
		t.Helper()
		if got, err := c.readAt(make([]byte, n), int64(off)); got != n || err != nil {
			t.Fatal(got, err)
		}
	}
	c := open()
	for off := 0; off < len(data); off += 64 << 10 { // in order, as a column is read
		read(c, off, 64<<10)
	}
	if requests > 20 || fetched != int64(len(data)) {
		t.Errorf("in order: %d requests for %d bytes", requests, fetched)
	}
	if n := c.order.Len(); n > cacheBytes/blockSize {
		t.Errorf("%d blocks in the cache", n)
	}
	c = open()
	for i := range 40 { // here and there
		read(c, (i*37%60)<<20+100, 100)
	}
	if fetched > 42<<20 {
		t.Errorf("here and there: %d bytes for 40 blocks", fetched)
	}
	c = open()
	for range 100 { // a footer, again and again
		read(c, len(data)-100, 100)
	}
	if requests != 1 {
		t.Errorf("the footer took %d requests", requests)
	}
	c = open()
	read(c, 1000, 32<<20)
	if requests != 1 || c.order.Len() != 0 {
		t.Errorf("a large read took %d requests and %d blocks", requests, c.order.Len())
	}
}

// TestBlockFaults: a failed fetch is told to all who wait for it and is tried
// again by the next read.
func TestBlockFaults(t *testing.T) {
	fail := true
	c := newBlockCache(10<<20, func(off, n int64) ([]byte, error) {
		if fail {
			return nil, errFatal
		}
		return make([]byte, n), nil
	})
	if _, err := c.readAt(make([]byte, 3<<20), 5); !errors.Is(err, errFatal) {
		t.Errorf("got %v", err)
	}
	fail = false
	if n, err := c.readAt(make([]byte, 3<<20), 5); n != 3<<20 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}
