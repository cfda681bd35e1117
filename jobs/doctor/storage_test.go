package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winnow/configs"
	"winnow/io/store"
	"winnow/io/store/s3test"
)

func TestWorkspaceLeavesNothing(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{base + "/deep/er", base} {
		checks := workspaceChecks(t.Context(), dir)
		if len(checks) != 2 || checks[0].Status != OK || !strings.HasSuffix(checks[0].What, "write, read, put-if-absent, list, delete") || checks[1].Status != OK {
			t.Fatalf("%+v", checks)
		}
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	// A workspace that has runs keeps them.
	runs := filepath.Join(base, "runs", "r1")
	if err := os.MkdirAll(runs, 0o777); err != nil {
		t.Fatal(err)
	}
	workspaceChecks(t.Context(), base)
	if _, err := os.Stat(runs); err != nil {
		t.Error(err)
	}
}

func TestWorkspaceOnS3(t *testing.T) {
	url := s3test.StartS3(t)
	at := strings.Replace(url, "?", "/some/prefix?", 1)
	checks := workspaceChecks(t.Context(), at)
	if len(checks) != 2 || checks[0].Status != OK || checks[1].Status != OK {
		t.Fatalf("%+v", checks)
	}
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for o, err := range s.List(t.Context(), "") {
		t.Errorf("left: %s, %v", o.Key, err)
	}
	if c := allowCheck(t.Context(), at); c.Status != Warn {
		t.Errorf("an empty place: %+v", c)
	}
	if err := s.WriteAll(t.Context(), "some/prefix/a.jpg", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if c := allowCheck(t.Context(), at); c.Status != OK {
		t.Errorf("a place: %+v", c)
	}
	if c := workspaceChecks(t.Context(), strings.Replace(url, "//winnow-test", "//not-there", 1))[0]; c.Status != Fail || !strings.HasPrefix(c.Fix, "create the bucket") {
		t.Errorf("no bucket: %+v", c)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if c := workspaceChecks(t.Context(), url)[0]; c.Status != Fail || !strings.Contains(c.Fix, "s3:PutObject") {
		t.Errorf("wrong credentials: %+v", c)
	}
}

func TestWorkspaceFaults(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		name   string
		inject store.Injector
		want   string // in What
	}{
		{"write", func(o store.Op) error {
			return when(o.Kind == store.OpPut && strings.HasSuffix(o.Key, "probe"), refused)
		}, "write mem://"},
		{"read", func(o store.Op) error { return when(o.Kind == store.OpOpen, refused) }, "what worked: write"},
		{"put-if-absent", func(o store.Op) error {
			return when(o.Kind == store.OpPut && strings.HasSuffix(o.Key, "once"), refused)
		}, "what worked: write, read"},
		{"list", func(o store.Op) error { return when(o.Kind == store.OpList, refused) }, "what worked: write, read, put-if-absent"},
		{"delete", func(o store.Op) error { return when(o.Kind == store.OpDelete, refused) }, "delete mem://"},
	} {
		s, err := store.Open(t.Context(), "mem://doctor-"+c.name)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		checks := tryWorkspace(t.Context(), store.WithFaults(s, c.inject))
		if len(checks) != 1 || checks[0].Status != Fail || checks[0].Fix == "" || !strings.Contains(checks[0].What, "refused") || !strings.Contains(checks[0].What, c.want) {
			t.Errorf("%s: %+v", c.name, checks)
		}
		if c.name == "delete" {
			continue
		}
		for o, err := range s.List(t.Context(), "") {
			t.Errorf("%s left %s, %v", c.name, o.Key, err)
		}
	}
}

func when(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

// TestTwoWinners gives the probe a store in which an object vanishes between two
// conditional writes, as in one that ignores the condition.
func TestTwoWinners(t *testing.T) {
	s, err := store.Open(t.Context(), "mem://doctor-winners")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inject := func(o store.Op) error {
		if o.Kind == store.OpPut && o.After && strings.HasSuffix(o.Key, "once") {
			return s.Delete(context.Background(), o.Key)
		}
		return nil
	}
	c := tryWorkspace(t.Context(), store.WithFaults(s, inject))[0]
	if c.Status != Fail || !strings.Contains(c.What, "was not refused") || !strings.Contains(c.Fix, "If-None-Match") {
		t.Errorf("%+v", c)
	}
}

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "m.jsonl")
	if err := os.WriteFile(file, []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a.jpg", "b.jpg"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &configs.Config{
		Sources: []configs.Source{
			{Name: "field", Manifest: file, Allow: []string{dir + "/", dir + "/gone/"}},
			{Name: dir + "/*.jpg", Manifest: dir + "/*.jpg", Allow: []string{dir + "/", file}},
			{Manifest: dir + "/*.png"},
			{Manifest: dir + "/gone.jsonl"},
		},
		Labels:      []configs.Labels{{Manifest: dir + "/*.jsonl"}},
		Predictions: []configs.Predictions{{Model: "v7", Manifest: dir + "/p.parquet"}},
	}
	want := []struct {
		name   string
		status Status
		text   string
	}{
		{"source field", OK, "m.jsonl"},
		{"allow", OK, dir + " can be read"},
		{"allow", Fail, "gone does not exist"},
		{"source", OK, "a.jpg"},
		{"allow", OK, "m.jsonl can be read"},
		{"source", Warn, "matches nothing yet"},
		{"source", Fail, "does not exist"},
		{"labels", OK, "m.jsonl"},
		{"predictions v7", Fail, "p.parquet does not exist"},
	}
	got := placeChecks(t.Context(), cfg)
	if len(got) != len(want) {
		t.Fatalf("%d checks, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.name || g.Status != w.status || !strings.Contains(g.What, w.text) || (g.Fix == "") != (w.status == OK) {
			t.Errorf("check %d: %+v, want %+v", i, g, w)
		}
	}
}

func TestWebPlaces(t *testing.T) {
	for address, text := range map[string]string{
		"http://127.0.0.1:9/x":  "is the private address 127.0.0.1",
		"http://[::1]/x":        "is the private address ::1",
		"https://169.254.1.1/x": "is the private address",
		"https:///x":            "is no web address",
	} {
		if c := allowCheck(t.Context(), address); c.Status != Fail || !strings.Contains(c.What, text) || c.Fix == "" {
			t.Errorf("%s: %+v", address, c)
		}
	}
	for a, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1": true, "10.0.0.1": false, "::ffff:192.168.0.1": false, "0.0.0.0": false} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("public(%s) = %v", a, got)
		}
	}
}

func TestPlaceFix(t *testing.T) {
	for _, c := range []struct {
		url  string
		err  error
		want string
	}{
		{"file:///x", os.ErrPermission, "let this user write there"},
		{"/x", os.ErrNotExist, "correct the path"},
		{"s3://b/p", errors.New("AccessDenied"), "AWS_ACCESS_KEY_ID"},
		{"s3://b/p", errors.New("NoSuchBucket: x"), "create the bucket"},
		{"s3://b/p", context.DeadlineExceeded, "can this machine reach it"},
		{"gs://b/p", errors.New("x"), "Storage Object Admin"},
		{"azblob://b/p", errors.New("x"), "AZURE_STORAGE_ACCOUNT"},
		{"ftp://b", errors.New("x"), "correct the address"},
	} {
		if got := placeFix(c.url, c.err, true); !strings.Contains(got, c.want) {
			t.Errorf("%s, %v: %q, want %q", c.url, c.err, got, c.want)
		}
	}
}
