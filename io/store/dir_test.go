package store

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func directory(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func keysOf(t *testing.T, s *Store, prefix string) []string {
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

func TestReadingMakesNoDirectory(t *testing.T) {
	s, dir := directory(t)
	if _, err := s.Read(t.Context(), "a", 0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if keys := keysOf(t, s, ""); keys != nil {
		t.Errorf("listed %q", keys)
	}
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	if _, err := s.Sweep(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory was made: %v", err)
	}
	if p, ok := s.Sub("x").Path("y/z"); !ok || p != filepath.Join(dir, "x", "y", "z") {
		t.Errorf("path %s, %v", p, ok)
	}
}

// TestFilesOfUsers: what people put there by hand is read as it is.
func TestFilesOfUsers(t *testing.T) {
	s, dir := directory(t)
	for _, name := range []string{"real/a.jpg", "__0x2f__.jpg", "x.attrs", "100%.jpg", ".tmp-123", "real/.tmp-1/x"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for to, name := range map[string]string{"real": "linked", "real/a.jpg": "b.jpg", "nowhere": "dangling", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"100%.jpg", "__0x2f__.jpg", "b.jpg", "linked/a.jpg", "real/a.jpg", "x.attrs"}
	if got := keysOf(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for _, key := range want {
		if _, err := s.Read(t.Context(), key, 0); err != nil {
			t.Error(err)
		}
	}
}

func TestSweep(t *testing.T) {
	s, dir := directory(t)
	if err := s.WriteAll(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-25 * time.Hour)
	for name, when := range map[string]time.Time{"a/.tmp-old": old, ".tmp-old": old, "a/.tmp-new": time.Now(), "a/old": old} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Sub("a").Sweep(t.Context(), 24*time.Hour); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), 24*time.Hour); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "a", ".tmp-*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left %q, %v", left, err)
	}
	if keys := keysOf(t, s, ""); !slices.Equal(keys, []string{"a/b", "a/old"}) {
		t.Errorf("listed %q", keys)
	}
}

// TestWithoutLinks uses what file systems without hard links get.
func TestWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	temp, target := filepath.Join(dir, ".tmp-1"), filepath.Join(dir, "x")
	for i, want := range []error{nil, errExists} {
		if err := os.WriteFile(temp, []byte{byte(i)}, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := renameNew(temp, target); !errors.Is(err, want) {
			t.Errorf("rename %d: %v", i, err)
		}
	}
	if data, err := os.ReadFile(target); err != nil || !bytes.Equal(data, []byte{0}) {
		t.Errorf("the target holds %v, %v", data, err)
	}
}

// TestDiskErrors: a directory that cannot be written to says so, and is not
// taken for something that passes.
func TestDiskErrors(t *testing.T) {
	s, dir := directory(t)
	if err := os.WriteFile(dir, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err := s.WriteAll(t.Context(), "a/b", nil)
	if err == nil || IsTransient(err) || !strings.Contains(err.Error(), "is a file, not a directory") {
		t.Errorf("write: %v", err)
	}
	other, dir := directory(t)
	if err := other.WriteAll(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	if err := other.WriteAll(t.Context(), "a", nil); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if keys := keysOf(t, other, ""); !slices.Equal(keys, []string{"a/b"}) {
		t.Errorf("listed %q", keys)
	}
}

// TestKilledWriter kills a process in the middle of writes: nothing of them is
// listed, the old object is whole, and its lock is free.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("WINNOW_TEST_WRITER"); dir != "" {
		beKilled(t, dir)
		return
	}
	s, dir := directory(t)
	if err := s.WriteAll(t.Context(), "old", []byte("old")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), "WINNOW_TEST_WRITER="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "writing\n" {
		t.Errorf("the writer says %q, %v", line, err)
	}
	if _, err := s.Lock(t.Context(), "w", LockOptions{}); err == nil {
		t.Error("the writer does not hold its lock")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if keys := keysOf(t, s, ""); !slices.Equal(keys, []string{"locks/w", "old"}) {
		t.Errorf("listed %q", keys)
	}
	if data, err := s.Read(t.Context(), "old", 0); string(data) != "old" {
		t.Errorf("read %q, %v", data, err)
	}
	if created, err := s.CreateAll(t.Context(), "new", nil); !created || err != nil {
		t.Errorf("create: %v, %v", created, err)
	}
	l, err := s.Lock(t.Context(), "w", LockOptions{})
	if err != nil {
		t.Fatalf("the dead writer's lock: %v", err)
	}
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := s.Sweep(t.Context(), -time.Second); n != 2 || err != nil {
		t.Errorf("swept %d unfinished files, %v", n, err)
	}
}

// beKilled writes two objects until it is killed.
func beKilled(t *testing.T, dir string) {
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), "w", LockOptions{}); err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 1<<20)
	s.Write(t.Context(), "old", func(w io.Writer) error {
		w.Write(half)
		_, err := s.Create(t.Context(), "new", func(w io.Writer) error {
			w.Write(half)
			os.Stdout.WriteString("writing\n")
			select {}
		})
		return err
	})
}
