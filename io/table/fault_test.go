package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"winnow/io/store"
	"winnow/pipeline"
)

func memory(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.OpenWith(t.Context(), "mem://", store.Options{Backoff: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testSchema = Schema{{Name: "asset_id", Type: String}}

func put(t *testing.T, s *store.Store, name string) File {
	t.Helper()
	if err := s.WriteAll(t.Context(), "t/"+name, []byte(name)); err != nil {
		t.Fatal(err)
	}
	return File{Path: name, Size: int64(len(name)), Rows: 1}
}

func snapshotOf(t *testing.T, s *store.Store, v int64) *Snapshot {
	t.Helper()
	snap, err := Open(s, "t").Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

var (
	errCrash = errors.New("crash")
	errBusy  = &pipeline.TransientError{Err: errors.New("503")}
)

// stride is 1 in a soak, which meets every fault; else a seeded tenth is met.
func stride() (first, step int64) {
	if os.Getenv("WINNOW_SOAK") != "" {
		return 1, 1
	}
	return 1 + rand.New(rand.NewPCG(3, 1)).Int64N(10), 10
}

// TestFaultAtEveryRequest meets faults at each request in turn: a crash, an
// error that passes, or a reply that is lost. The job runs again until it
// succeeds; each of its changes must be there once, and readers see whole
// versions.
func TestFaultAtEveryRequest(t *testing.T) {
	const commits = 5
	for _, c := range []struct {
		name  string
		err   error
		times int64 // faults in a row
	}{{"crash", errCrash, 1}, {"busy", errBusy, 1}, {"outage", errBusy, 12}} {
		t.Run(c.name, func(t *testing.T) {
			faults := int64(0)
			first, step := stride()
			for n := first; ; n += step {
				s := memory(t)
				var met, count atomic.Int64
				bad := store.WithFaults(s, func(op store.Op) error {
					if at := count.Add(1); at >= n && at < n+c.times {
						met.Add(1)
						return c.err
					}
					return nil
				})
				for i := range commits {
					change := Change{Base: int64(i - 1), Adds: []File{put(t, s, fmt.Sprint("f", i))}, AppID: fmt.Sprint("job", i)}
					if i == 0 {
						change.Schema, change.Properties = testSchema, map[string]string{"delta.checkpointInterval": "2"}
					}
					commitUntilDone(t, bad, change, int64(i))
				}
				for v := range int64(commits) {
					snap := snapshotOf(t, s, v)
					if int64(len(snap.Files)) != v+1 || int64(len(snap.Txns)) != v+1 {
						t.Fatalf("fault %d: version %d has the files %v", n, v, snap.Files)
					}
				}
				if snap := snapshotOf(t, s, Latest); snap.Version != commits-1 {
					t.Fatalf("fault %d: version %d", n, snap.Version)
				}
				if met.Load() == 0 {
					break
				}
				faults++
			}
			if faults < 80/step {
				t.Errorf("only %d requests were there to fail", faults)
			}
		})
	}
}

// commitUntilDone runs a commit as a job that is started again when it fails.
func commitUntilDone(t *testing.T, s *store.Store, c Change, want int64) {
	t.Helper()
	for range 10 {
		v, err := Open(s, "t").Commit(t.Context(), c)
		if err == nil {
			if v != want {
				t.Fatalf("the change became version %d, want %d", v, want)
			}
			return
		}
		if !errors.Is(err, errCrash) && !store.IsTransient(err) {
			t.Fatal(err)
		}
	}
	t.Fatal("the change never succeeds")
}

// TestLostReply loses the reply to the put of a log entry, so that the SDK's or
// our repetition is refused by the writer's own entry. Without a transaction
// only the nonce tells.
func TestLostReply(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{{"repeated at once", errBusy}, {"not repeated", errCrash}} {
		t.Run(c.name, func(t *testing.T) {
			s := memory(t)
			f := put(t, s, "f")
			lost := false
			bad := store.WithFaults(s, func(op store.Op) error {
				if op.Kind == store.OpPut && op.After && strings.HasSuffix(op.Key, ".json") && !lost {
					lost = true
					return c.err
				}
				return nil
			})
			tab := Open(bad, "t")
			v, err := tab.Commit(t.Context(), Change{Base: -1, Schema: testSchema, Adds: []File{f}})
			if !lost {
				t.Fatal("no reply was lost")
			}
			if c.err == errBusy && (v != 0 || err != nil) {
				t.Errorf("got version %d, %v", v, err)
			}
			if c.err == errCrash && err == nil {
				t.Error("the fault was swallowed")
			}
			if snap := snapshotOf(t, s, Latest); snap.Version != 0 || len(snap.Files) != 1 {
				t.Errorf("the change is there as %+v", snap)
			}
		})
	}
}

// TestCommitCancelled cancels at each request in turn: the commit says so, and
// the table is as before or has the change.
func TestCommitCancelled(t *testing.T) {
	for n := int64(1); ; n++ {
		s := memory(t)
		f := put(t, s, "f")
		ctx, cancel := context.WithCancel(t.Context())
		met := false
		bad := store.WithFaults(s, func(op store.Op) error {
			if op.N == n {
				met = true
				cancel()
			}
			return nil
		})
		_, err := Open(bad, "t").Commit(ctx, Change{Base: -1, Schema: testSchema, Adds: []File{f}})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d: %v", n, err)
		}
		snap := snapshotOf(t, s, Latest)
		if err == nil && snap.Version != 0 || snap.Version == 0 && len(snap.Files) != 1 {
			t.Errorf("cancelled at %d: %v, and the table is %+v", n, err, snap)
		}
		if !met {
			return
		}
	}
}

// TestCheckpointFaults: a commit stands although its checkpoint fails, and the
// next one makes up for it.
func TestCheckpointFaults(t *testing.T) {
	s := memory(t)
	bad := store.WithFaults(s, func(op store.Op) error {
		if op.Kind == store.OpPut && strings.Contains(op.Key, "checkpoint") {
			return errCrash
		}
		return nil
	})
	tab := Open(bad, "t")
	warned := 0
	tab.Warn = func(err error) {
		if !errors.Is(err, errCrash) {
			t.Error(err)
		}
		warned++
	}
	for i := range int64(13) {
		c := Change{Base: i - 1, AppID: fmt.Sprint(i)}
		if i == 0 {
			c.Schema = testSchema
		}
		if v, err := tab.Commit(t.Context(), c); err != nil || v != i {
			t.Fatalf("commit %d: %d, %v", i, v, err)
		}
	}
	if warned != 3 { // versions 10, 11 and 12
		t.Errorf("%d warnings, want 3", warned)
	}
	if v, err := Open(s, "t").Commit(t.Context(), Change{Base: 12, AppID: "last"}); err != nil || v != 13 {
		t.Fatal(v, err)
	}
	if _, err := s.Stat(t.Context(), "t/"+checkpointKey(13)); err != nil {
		t.Errorf("the checkpoint was not made up for: %v", err)
	}
}

// TestFewRequests: reading the newest version of a long log costs a few
// requests, and of a log that is known already one.
func TestFewRequests(t *testing.T) {
	s := memory(t)
	const n = 650
	tab := Open(s, "t")
	for i := range int64(n) {
		c := Change{Base: i - 1, AppID: "a", AppVersion: i, Properties: map[string]string{"delta.checkpointInterval": "100"}}
		if i == 0 {
			c.Schema = testSchema
		}
		if _, err := tab.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	var count atomic.Int64
	counted := store.WithFaults(s, func(op store.Op) error {
		// Not lists: memory cannot begin one in the middle, S3 can.
		if op.Kind == store.OpOpen || op.Kind == store.OpStat {
			count.Add(1)
		}
		return nil
	})
	for _, c := range []struct {
		version  int64
		requests int64
	}{
		{Latest, 3 + 49}, // the hint, the checkpoint and its size, the entries since
		{600, 4},         // a version with a checkpoint
		{599, 4 + 99},
		{1, 4},
		{n - 1, 3 + 49},
	} {
		count.Store(0)
		fresh := Open(counted, "t")
		snap, err := fresh.Snapshot(t.Context(), c.version)
		if err != nil {
			t.Fatal(err)
		}
		if got := count.Load(); got > c.requests {
			t.Errorf("version %d took %d requests, want at most %d", c.version, got, c.requests)
		}
		if c.version == Latest {
			count.Store(0)
			if _, err := fresh.Snapshot(t.Context(), Latest); err != nil {
				t.Fatal(err)
			}
			if got := count.Load(); got != 0 {
				t.Errorf("looking for news took %d requests", got)
			}
		}
		if snap.Txns["a"] != snap.Version {
			t.Errorf("version %d has transaction %d", snap.Version, snap.Txns["a"])
		}
	}
}

// TestDamage reads logs that no sound writer makes: each gives an error that
// names the entry, or says what is missing, and never a wrong state.
func TestDamage(t *testing.T) {
	const (
		proto = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}` + "\n"
		meta  = `{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}` + "\n"
	)
	for _, c := range []struct {
		name string
		log  []string // entries from 0; "" leaves a gap
		want string   // in the error; "" none
		is   error
	}{
		{"sound", []string{proto + meta}, "", nil},
		{"unknown action", []string{proto + meta, `{"cdc":{"path":"x"}}` + "\n" + `{"future":{"a":[1]}}`}, "", nil},
		{"no JSON", []string{proto + meta, `{"add":`}, "00000000000000000001.json", nil},
		{"wrong type", []string{proto + meta, `{"add":{"path":7}}`}, "00000000000000000001.json: action 1 is damaged", nil},
		{"gap", []string{proto + meta, "", `{"txn":{"appId":"a","version":1}}`}, "no entry 1", nil},
		{"no metaData", []string{proto}, "no metaData", nil},
		{"no protocol", []string{meta}, "no protocol", nil},
		{"begins late", []string{"", proto + meta}, "removed", ErrNoVersion},
		{"newer reader", []string{`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"]}}` + "\n" + meta}, "reader version 3", ErrUnsupported},
		{"partitioned", []string{proto + strings.Replace(meta, `"partitionColumns":[]`, `"partitionColumns":["day"]`, 1)}, "partitioned by day", ErrUnsupported},
		{"not Parquet", []string{proto + strings.Replace(meta, `"parquet"`, `"orc"`, 1)}, "orc", ErrUnsupported},
		{"column mapping", []string{proto + strings.Replace(meta, `"configuration":{}`, `"configuration":{"delta.columnMapping.mode":"name"}`, 1)}, "maps columns", ErrUnsupported},
		{"bad schema", []string{proto + strings.Replace(meta, `\"struct\"`, `\"array\"`, 1)}, "schemaString", nil},
		{"deletion vector", []string{proto + meta + `{"add":{"path":"p","size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"u"}}}`}, "deletion vector", ErrUnsupported},
		{"foreign file", []string{proto + meta + `{"add":{"path":"s3://other/p","size":1,"modificationTime":1,"dataChange":true}}`}, "outside the table", ErrUnsupported},
		{"bad stats", []string{proto + meta + `{"add":{"path":"p","size":1,"modificationTime":1,"dataChange":true,"stats":"{"}}`}, "stats of p", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := memory(t)
			for v, entry := range c.log {
				if entry == "" {
					continue
				}
				if err := s.WriteAll(t.Context(), fmt.Sprintf("t/_delta_log/%020d.json", v), []byte(entry)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(s, "t").Snapshot(t.Context(), Latest)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestNewerWriter: a table for newer writers is read, and not written to.
func TestNewerWriter(t *testing.T) {
	s := memory(t)
	entry := `{"protocol":{"minReaderVersion":1,"minWriterVersion":4}}
{"metaData":{"id":"x","format":{"provider":"parquet"},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[]}}`
	if err := s.WriteAll(t.Context(), "t/_delta_log/00000000000000000000.json", []byte(entry)); err != nil {
		t.Fatal(err)
	}
	if snap := snapshotOf(t, s, Latest); snap.Version != 0 {
		t.Errorf("version %d", snap.Version)
	}
	if _, err := Open(s, "t").Commit(t.Context(), Change{Base: 0, AppID: "a"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("commit: %v", err)
	}
}

// TestDamagedCheckpoint cuts and flips bytes of a checkpoint: an error or a
// state, never a panic. The race detector's pointer checks turn the panics of
// parquet-go at flipped bytes, which are recovered from, into the end of the
// process, so with it there are only cuts.
func TestDamagedCheckpoint(t *testing.T) {
	s := memory(t)
	tab := Open(s, "t")
	var adds []File
	for i := range 40 {
		adds = append(adds, put(t, s, fmt.Sprintf("file-%02d", i)))
	}
	if _, err := tab.Commit(t.Context(), Change{Base: -1, Schema: testSchema, Adds: adds}); err != nil {
		t.Fatal(err)
	}
	if err := tab.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := "t/" + checkpointKey(0)
	sound, err := s.Read(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for i := 0; i < len(sound); i += 1 + len(sound)/150 {
		damages := [][]byte{sound[:i]}
		if !raceDetector {
			damages = append(damages, slices.Concat(sound[:i], []byte{sound[i] ^ 0x55}, sound[i+1:]))
		}
		for _, bad := range damages {
			if err := s.WriteAll(t.Context(), key, bad); err != nil {
				t.Fatal(err)
			}
			snap, err := Open(s, "t").Snapshot(t.Context(), Latest)
			switch {
			case err != nil:
				broken++
				if !strings.Contains(err.Error(), checkpointKey(0)) && !strings.Contains(err.Error(), "damaged") {
					t.Errorf("byte %d: the error does not name the file: %v", i, err)
				}
			case len(bad) < len(sound):
				t.Errorf("a checkpoint of %d of %d bytes was read", i, len(sound))
			case snap.Version != 0:
				t.Errorf("byte %d: version %d", i, snap.Version)
			}
		}
	}
	if broken < 120 {
		t.Errorf("only %d damages were noticed", broken)
	}
}

// TestCheckpointInParts reads a checkpoint that another writer split in two,
// and passes over one whose second part is missing.
func TestCheckpointInParts(t *testing.T) {
	s := memory(t)
	tab := Open(s, "t")
	for i := range int64(4) {
		c := Change{Base: i - 1, Adds: []File{put(t, s, fmt.Sprint("f", i))}}
		if i == 0 {
			c.Schema = testSchema
		}
		if _, err := tab.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	st, err := tab.load(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	var rows []checkpointRow
	for row, err := range st.rows(time.Now()) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	part := func(v, i int, rows []checkpointRow) {
		var buf bytes.Buffer
		if err := parquet.Write(&buf, rows); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteAll(t.Context(), fmt.Sprintf("t/_delta_log/%020d.checkpoint.%010d.0000000002.parquet", v, i), buf.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	part(2, 1, rows[:2])
	part(2, 2, rows[2:])
	part(3, 1, rows[:2])
	if err := s.WriteAll(t.Context(), "t/"+lastFile, []byte(`{"version":2,"size":5,"parts":2}`)); err != nil {
		t.Fatal(err)
	}
	for v := range 3 {
		if err := s.Delete(t.Context(), "t/"+entryKey(int64(v))); err != nil {
			t.Fatal(err)
		}
	}
	if snap := snapshotOf(t, s, Latest); snap.Version != 3 || len(snap.Files) != 4 {
		t.Errorf("version %d with %d files", snap.Version, len(snap.Files))
	}
}
