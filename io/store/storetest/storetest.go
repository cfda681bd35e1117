// Package storetest holds what every store must do, as tests that run on any of
// them.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"winnow/io/store"
)

// Run tests that s, which may hold other objects, behaves as package store
// says. Each test works under a prefix of its own.
func Run(t *testing.T, s *store.Store) {
	for i, test := range []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"OddKeys", testOddKeys},
		{"BadKeys", testBadKeys},
		{"Missing", testMissing},
		{"Limit", testLimit},
		{"Replace", testReplace},
		{"FailedWrite", testFailedWrite},
		{"CancelledWrite", testCancelledWrite},
		{"PanickingWrite", testPanickingWrite},
		{"CreateOnce", testCreateOnce},
		{"CreateRace", testCreateRace},
		{"List", testList},
		{"ListPages", testListPages},
		{"ListErrors", testListErrors},
		{"Delete", testDelete},
		{"OpenAt", testOpenAt},
		{"Reader", testReader},
		{"Local", testLocal},
		{"Sub", testSub},
		{"Lock", testLock},
		{"LockBreak", testLockBreak},
		{"LockRace", testLockRace},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, s.Sub(fmt.Sprintf("conformance/%02d", i)))
		})
	}
}

func bytesOf(seed, n int) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(data)
	return data
}

func mustWrite(t *testing.T, s *store.Store, key string, data []byte) {
	t.Helper()
	if err := s.WriteAll(t.Context(), key, data); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, s *store.Store, key string) []byte {
	t.Helper()
	data, err := s.Read(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantMissing(t *testing.T, s *store.Store, key string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("stat %s: %v, want ErrNotFound", key, err)
	}
	if keys := list(t, s, ""); slices.Contains(keys, key) {
		t.Errorf("%s is listed", key)
	}
}

func list(t *testing.T, s *store.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// sizes of objects: nothing, little, and more than one part of an upload, which
// S3 takes in parts from 16 MiB on.
var sizes = []int{0, 5000, 17<<20 + 3}

func testRoundTrip(t *testing.T, s *store.Store) {
	for i, n := range sizes {
		key, data := fmt.Sprintf("dir/%d.bin", n), bytesOf(i, n)
		// In pieces of an odd size, as encoders write.
		err := s.Write(t.Context(), key, func(w io.Writer) error {
			for rest := data; len(rest) > 0; {
				piece := rest[:min(len(rest), 77_777)]
				if _, err := w.Write(piece); err != nil {
					return err
				}
				rest = rest[len(piece):]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, s, key); !bytes.Equal(got, data) {
			t.Errorf("%d bytes written, other %d read", n, len(got))
		}
		obj, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if obj.Key != key || obj.Size != int64(n) || obj.ModTime.IsZero() || obj.IsDir || obj.ETag == "" {
			t.Errorf("stat: %+v", obj)
		}
		for o, err := range s.List(t.Context(), key) {
			if err != nil || o.Key != key || o.Size != obj.Size || o.ETag != "" && o.ETag != obj.ETag {
				t.Errorf("list says %+v, %v; stat says %+v", o, err, obj)
			}
		}
	}
}

func testOddKeys(t *testing.T, s *store.Store) {
	keys := []string{
		"a b", "a%20b", "ä/日本語.jpg", "q?x=1", "hash#1", "plus+and&", "semi;colon:", "quote'\"",
		"_delta_log/00000000000000000000.json", "dot.in.name", ".hidden", "a..b/..c", "~tilde", "[x]{y}", "back\\slash", "star*",
		"col=1/part-0.parquet", strings.Repeat("x", 200),
	}
	for i, key := range keys {
		mustWrite(t, s, key, []byte{byte(i)})
	}
	for i, key := range keys {
		if got := mustRead(t, s, key); !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("%q holds %v, want %d", key, got, i)
		}
	}
	slices.Sort(keys)
	got := list(t, s, "")
	slices.Sort(got) // gocloud's escapes for Azure sort elsewhere
	if !slices.Equal(got, keys) {
		t.Errorf("listed %q\nwant   %q", got, keys)
	}
	for _, key := range keys {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if got := list(t, s, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func testBadKeys(t *testing.T, s *store.Store) {
	mustWrite(t, s, "there", nil)
	for _, key := range []string{"", "/", "/abs", "a//b", "a/", "./a", "../there", "a/../there", "x/..", ".", "bad\xff", "zero\x00", ".tmp-x", "d/.tmp-1/x"} {
		if err := s.WriteAll(t.Context(), key, nil); err == nil {
			t.Errorf("write %q succeeded", key)
		}
		if _, err := s.Read(t.Context(), key, 0); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("read %q: %v, want a refusal of the key", key, err)
		}
		if _, err := s.CreateAll(t.Context(), key, nil); err == nil {
			t.Errorf("create %q succeeded", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("delete %q succeeded", key)
		}
	}
}

func testMissing(t *testing.T, s *store.Store) {
	mustWrite(t, s, "dir/file", []byte("x"))
	// Neither a directory nor what lies "below" an object is an object.
	for _, key := range []string{"nope", "dir", "dir/file/below"} {
		if _, err := s.Read(t.Context(), key, 0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("read %s: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("stat %s: %v", key, err)
		}
		if _, _, err := s.NewReader(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("reader of %s: %v", key, err)
		}
		if _, err := s.OpenAt(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("open %s: %v", key, err)
		}
		if _, err := s.Local(t.Context(), key, t.TempDir()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("local file of %s: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	mustRead(t, s, "dir/file")
}

func testLimit(t *testing.T, s *store.Store) {
	mustWrite(t, s, "ten", bytesOf(1, 10))
	for limit, ok := range map[int64]bool{9: false, 10: true, 11: true, 0: true, -1: true} {
		_, err := s.Read(t.Context(), "ten", limit)
		if ok != (err == nil) || !ok && !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func testReplace(t *testing.T, s *store.Store) {
	mustWrite(t, s, "k", bytesOf(1, 3000))
	before, _ := s.Stat(t.Context(), "k")
	mustWrite(t, s, "k", []byte("new"))
	if got := mustRead(t, s, "k"); string(got) != "new" {
		t.Errorf("read %q", got)
	}
	if after, _ := s.Stat(t.Context(), "k"); after.ETag == before.ETag {
		t.Errorf("both versions have the tag %q", after.ETag)
	}
}

var errBoom = errors.New("boom")

// failing writes n bytes and then fails with err.
func failing(n int, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, werr := w.Write(bytesOf(9, n)); werr != nil {
			return werr
		}
		return err
	}
}

func testFailedWrite(t *testing.T, s *store.Store) {
	mustWrite(t, s, "old", []byte("old"))
	for _, n := range sizes {
		if err := s.Write(t.Context(), "old", failing(n, errBoom)); !errors.Is(err, errBoom) {
			t.Errorf("write of %d bytes that fails: %v", n, err)
		}
		if err := s.Write(t.Context(), "new", failing(n, errBoom)); !errors.Is(err, errBoom) {
			t.Errorf("write of %d bytes that fails: %v", n, err)
		}
		if created, err := s.Create(t.Context(), "new", failing(n, errBoom)); created || !errors.Is(err, errBoom) {
			t.Errorf("create of %d bytes that fails: %v, %v", n, created, err)
		}
		// An error that looks like the end of the input is one all the same.
		if err := s.Write(t.Context(), "new", failing(n, io.EOF)); !errors.Is(err, io.EOF) {
			t.Errorf("write of %d bytes that fails with EOF: %v", n, err)
		}
	}
	if got := mustRead(t, s, "old"); string(got) != "old" {
		t.Errorf("the failed writes left %d bytes", len(got))
	}
	wantMissing(t, s, "new")
	if created, err := s.CreateAll(t.Context(), "new", nil); !created || err != nil {
		t.Errorf("create after failures: %v, %v", created, err)
	}
}

func testCancelledWrite(t *testing.T, s *store.Store) {
	mustWrite(t, s, "old", []byte("old"))
	for _, n := range sizes {
		for _, key := range []string{"old", "new"} {
			ctx, cancel := context.WithCancel(t.Context())
			// fn does not notice, as a writer that has handed all over.
			err := s.Write(ctx, key, func(w io.Writer) error {
				_, err := w.Write(bytesOf(3, n))
				cancel()
				return err
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled write of %d bytes: %v", n, err)
			}
			ctx, cancel = context.WithCancel(t.Context())
			created, err := s.Create(ctx, key, func(w io.Writer) error {
				cancel()
				_, err := w.Write(bytesOf(3, n))
				return err
			})
			if key == "new" && !errors.Is(err, context.Canceled) || created {
				t.Errorf("cancelled create of %d bytes: %v, %v", n, created, err)
			}
			cancel()
		}
	}
	if got := mustRead(t, s, "old"); string(got) != "old" {
		t.Errorf("the cancelled writes left %d bytes", len(got))
	}
	wantMissing(t, s, "new")
}

func testPanickingWrite(t *testing.T, s *store.Store) {
	func() {
		defer func() { recover() }()
		s.Write(t.Context(), "new", func(w io.Writer) error {
			w.Write(bytesOf(1, 100_000))
			panic("encoder")
		})
	}()
	wantMissing(t, s, "new")
}

func testCreateOnce(t *testing.T, s *store.Store) {
	for i, n := range sizes {
		key, data := fmt.Sprint(n), bytesOf(i, n)
		created, err := s.CreateAll(t.Context(), key, data)
		if err != nil || !created {
			t.Fatalf("first create of %d bytes: %v, %v", n, created, err)
		}
		for _, m := range sizes[i:] { // the large ones once, they take time
			created, err := s.Create(t.Context(), key, failing(m, nil))
			if err != nil || created {
				t.Errorf("create of %d bytes on %d: %v, %v", m, n, created, err)
			}
		}
		if got := mustRead(t, s, key); !bytes.Equal(got, data) {
			t.Errorf("the object of %d bytes changed", n)
		}
	}
}

func testCreateRace(t *testing.T, s *store.Store) {
	rounds := 60
	if os.Getenv("WINNOW_SOAK") != "" {
		rounds = 3000
	}
	for r := range rounds {
		key, n, writers := fmt.Sprintf("race/%d", r), 1+r*31, 8
		if r == 0 {
			n, writers = 17<<20, 2 // of several parts
		}
		var won atomic.Int64
		won.Store(-1)
		var all, wg sync.WaitGroup
		all.Add(writers)
		for i := range writers {
			wg.Go(func() {
				// All have started to write before one can publish.
				created, err := s.Create(t.Context(), key, func(w io.Writer) error {
					all.Done()
					all.Wait()
					_, err := w.Write(bytes.Repeat([]byte{byte(i)}, n))
					return err
				})
				if err != nil {
					t.Errorf("round %d: %v", r, err)
				}
				// Who is refused can read what is there.
				if _, err := s.Stat(t.Context(), key); err != nil {
					t.Errorf("round %d: %v", r, err)
				}
				if created && !won.CompareAndSwap(-1, int64(i)) {
					t.Errorf("round %d: two winners", r)
				}
			})
		}
		wg.Wait()
		if won.Load() < 0 {
			t.Fatalf("round %d: no winner", r)
		}
		if got := mustRead(t, s, key); !bytes.Equal(got, bytes.Repeat([]byte{byte(won.Load())}, n)) {
			t.Fatalf("round %d: the object is not the winner's", r)
		}
	}
}

func testDelete(t *testing.T, s *store.Store) {
	mustWrite(t, s, "a/b/c", nil)
	mustWrite(t, s, "a/b/d", nil)
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Error(err)
		}
	}
	wantMissing(t, s, "a/b/c")
	mustRead(t, s, "a/b/d")
	if created, err := s.CreateAll(t.Context(), "a/b/c", []byte("again")); !created || err != nil {
		t.Errorf("create after delete: %v, %v", created, err)
	}
}

func testSub(t *testing.T, s *store.Store) {
	a, ab := s.Sub("a"), s.Sub("/a/").Sub("b")
	mustWrite(t, ab, "x", []byte("1"))
	if got := list(t, s, ""); !slices.Equal(got, []string{"a/b/x"}) {
		t.Errorf("the root lists %q", got)
	}
	if got := list(t, a, "b/"); !slices.Equal(got, []string{"b/x"}) {
		t.Errorf("a lists %q", got)
	}
	if err := ab.Close(); err != nil {
		t.Error(err)
	}
	mustRead(t, a, "b/x")
	again, err := store.Open(t.Context(), ab.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !strings.HasPrefix(ab.URL(), "mem:///") { // a memory store without a name is another one
		if got := mustRead(t, again, "x"); string(got) != "1" || again.URL() != ab.URL() {
			t.Errorf("reopened as %s it reads %q, %s", ab.URL(), got, again.URL())
		}
	}
	if s.Sub("").URL() != s.URL() || s.Sub("/").URL() != s.URL() {
		t.Errorf("an empty Sub is not the store: %s", s.Sub("").URL())
	}
}
