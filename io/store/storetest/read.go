package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"winnow/io/store"
)

func testList(t *testing.T, s *store.Store) {
	// '-' and '.' sort before '/', '0' after it: a directory's place is that
	// of its name with the slash.
	keys := []string{"a-b", "a.txt", "a/1", "a/2/x", "a/2/y", "a0", "ab/z", "b"}
	for _, k := range slices.Backward(keys) {
		mustWrite(t, s, k, []byte(k))
	}
	for prefix, want := range map[string][]string{
		"":      keys,
		"a":     keys[:7],
		"a/":    {"a/1", "a/2/x", "a/2/y"},
		"a/2":   {"a/2/x", "a/2/y"},
		"a/2/x": {"a/2/x"},
		"ab":    {"ab/z"},
		"c":     nil,
		"a/3/":  nil,
		"b/":    nil,
	} {
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: %q, want %q", prefix, got, want)
		}
	}
	for after, want := range map[string][]string{
		"a/":     {"a/1", "a/2/x", "a/2/y", "a0", "ab/z", "b"},
		"a/1":    {"a/2/x", "a/2/y", "a0", "ab/z", "b"},
		"a/2/x":  {"a/2/y", "a0", "ab/z", "b"},
		"a/2/x0": {"a/2/y", "a0", "ab/z", "b"},
		"a/3":    {"a0", "ab/z", "b"},
		"b":      nil,
	} {
		var got []string
		for o, err := range s.ListAfter(t.Context(), "", after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("list after %q: %q, want %q", after, got, want)
		}
	}
	for prefix, want := range map[string][]string{
		"":     {"a-b", "a.txt", "a/", "a0", "ab/", "b"},
		"a":    {"a/1", "a/2/"},
		"a/":   {"a/1", "a/2/"},
		"a/2/": {"a/2/x", "a/2/y"},
		"c":    nil,
		"b":    nil,
	} {
		var got []string
		for o, err := range s.ListDir(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if o.IsDir != strings.HasSuffix(o.Key, "/") || !o.IsDir && o.Size != int64(len(o.Key)) {
				t.Errorf("list of directory %q yields %+v", prefix, o)
			}
			got = append(got, o.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("list of directory %q: %q, want %q", prefix, got, want)
		}
	}
	// No object, no directory.
	if err := s.Delete(t.Context(), "ab/z"); err != nil {
		t.Fatal(err)
	}
	for o, err := range s.ListDir(t.Context(), "") {
		if err != nil || o.Key == "ab/" {
			t.Errorf("the empty directory is listed: %+v, %v", o, err)
		}
	}
	for o, err := range s.List(t.Context(), "") {
		if err != nil || o.Key != keys[0] {
			t.Errorf("first %+v, %v", o, err)
		}
		break // an iterator may be left early
	}
}

func testListPages(t *testing.T, s *store.Store) {
	const n = 1234 // services give at most 1,000 a page
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if err := s.WriteAll(t.Context(), fmt.Sprintf("log/%06d", i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, from := range []int{-1, 3, 1100, n - 1} {
		after := ""
		if from >= 0 {
			after = fmt.Sprintf("log/%06d", from)
		}
		next := from + 1
		for o, err := range s.ListAfter(t.Context(), "log/", after) {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("log/%06d", next); o.Key != want {
				t.Fatalf("after %q: %s, want %s", after, o.Key, want)
			}
			next++
		}
		if next != n {
			t.Errorf("after %q the list ends at %d", after, next)
		}
	}
}

func testListErrors(t *testing.T, s *store.Store) {
	for _, prefix := range []string{"../", "a/../b", "/x", "a//"} {
		for _, err := range s.List(t.Context(), prefix) {
			if err == nil {
				t.Errorf("prefix %q was taken", prefix)
			}
		}
	}
	mustWrite(t, s, "x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled list: %v", err)
		}
	}
}

func testOpenAt(t *testing.T, s *store.Store) {
	for _, size := range []int{0, 10, 4<<20 + 17, 23<<20 + 5} {
		data := bytesOf(size, size)
		key := fmt.Sprint(size)
		mustWrite(t, s, key, data)
		f, err := s.OpenAt(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if f.Size() != int64(size) {
			t.Errorf("size %d, want %d", f.Size(), size)
		}
		if got, err := io.ReadAll(io.NewSectionReader(f, 0, int64(size)+5)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes in order: %d, %v", size, len(got), err)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), uint64(size)))
				for range 60 {
					off, n := r.IntN(size+10), r.IntN(1<<r.IntN(24))
					checkRange(t, f, data, off, n)
				}
			})
		}
		wg.Wait()
		if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset was read")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func checkRange(t *testing.T, f *store.File, data []byte, off, n int) {
	buf := make([]byte, n)
	got, err := f.ReadAt(buf, int64(off))
	want := data[min(off, len(data)):min(off+n, len(data))]
	if !bytes.Equal(buf[:got], want) {
		t.Errorf("%d bytes from %d of %d: got %d other bytes", n, off, len(data), got)
	}
	if short := off+n > len(data) && n > 0; short != (err == io.EOF) || !short && err != nil {
		t.Errorf("%d bytes from %d of %d: %v", n, off, len(data), err)
	}
}

func testReader(t *testing.T, s *store.Store) {
	data := bytesOf(1, 3<<20)
	mustWrite(t, s, "k", data)
	r, obj, err := s.NewReader(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) || obj.Key != "k" || obj.Size != int64(len(data)) {
		t.Errorf("read %d bytes of %+v, %v", len(got), obj, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r, _, err = s.NewReader(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil { // half read
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err = s.NewReader(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := s.Read(ctx, "k", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled read: %v", err)
	}
}

func testLocal(t *testing.T, s *store.Store) {
	cache := filepath.Join(t.TempDir(), "not", "yet")
	check := func(key, want string) string {
		t.Helper()
		p, err := s.Local(t.Context(), key, cache)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(p); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, %v", p, len(got), err)
		}
		if filepath.Ext(p) != filepath.Ext(key) {
			t.Errorf("the file for %s is %s", key, p)
		}
		return p
	}
	big := string(bytesOf(5, 5<<20))
	mustWrite(t, s, "d/k.parquet", []byte(big))
	mustWrite(t, s, "d/l.parquet", []byte("other"))
	var wg sync.WaitGroup
	paths := make([]string, 8)
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = s.Local(t.Context(), "d/k.parquet", cache); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p := check("d/k.parquet", big)
	for _, q := range paths {
		if q != p {
			t.Errorf("callers got %s and %s", p, q)
		}
	}
	if q := check("d/l.parquet", "other"); q == p {
		t.Error("two objects share a file")
	}
	if own, ok := s.Path("d/k.parquet"); ok {
		if own != p {
			t.Errorf("the store keeps %s, Local gives %s", own, p)
		}
		return
	}
	// A download that a crash cut short is made again.
	if err := os.Truncate(p, 100); err != nil {
		t.Fatal(err)
	}
	check("d/k.parquet", big)
	mustWrite(t, s, "d/k.parquet", []byte("changed"))
	check("d/k.parquet", "changed")
	if names, err := filepath.Glob(filepath.Join(cache, ".tmp-*")); err != nil || len(names) > 0 {
		t.Errorf("left in the cache: %v, %v", names, err)
	}
}
