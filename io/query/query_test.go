package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o Options) *DB {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	db, err := Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func TestCloseRemovesFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	db, err := Open(t.Context(), Options{Dir: dir, MemoryLimit: "32MB"})
	must(t, err)
	must(t, db.Exec(t.Context(), "CREATE TABLE t AS SELECT md5(range::VARCHAR) AS a FROM range(1500000)"))
	must(t, db.Close())
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestInstancesAreApart(t *testing.T) {
	a, b := open(t, Options{}), open(t, Options{})
	must(t, a.Exec(t.Context(), "CREATE TABLE t(a INTEGER)"))
	must(t, a.Lock(t.Context()))
	if err := b.Exec(t.Context(), "SELECT * FROM t"); err == nil {
		t.Error("b sees the table of a")
	}
	must(t, b.Exec(t.Context(), "SET threads = 1"))
}

func TestCancelInterrupts(t *testing.T) {
	db := open(t, Options{})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	start := time.Now()
	err := db.Exec(ctx, "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 8")
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	// The database goes on.
	if n, err := db.Int(t.Context(), "SELECT 42"); err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAppend(t *testing.T) {
	db := open(t, Options{})
	must(t, db.Exec(t.Context(), "CREATE TABLE t(a VARCHAR, n BIGINT, t TIMESTAMP WITH TIME ZONE)"))
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("x", 3600))
	must(t, db.Append(t.Context(), "t", func(add func(...any) error) error {
		for i := range 3000 {
			if err := add(fmt.Sprint(i), int64(i), at); err != nil {
				return err
			}
		}
		return add(nil, nil, nil)
	}))
	var n, sum int64
	var when string
	must(t, db.Row(t.Context(), "SELECT count(*), sum(n)::BIGINT, min(t)::VARCHAR FROM t", []any{&n, &sum, &when}))
	if n != 3001 || sum != 2999*3000/2 || when != "2024-02-29 11:00:00+00" {
		t.Errorf("%d %d %s", n, sum, when)
	}
	stop := errors.New("stop")
	err := db.Append(t.Context(), "t", func(add func(...any) error) error {
		for i := range 5000 {
			if err := add("x", int64(i), nil); err != nil {
				return err
			}
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if n, _ := db.Int(t.Context(), "SELECT count(*) FROM t"); n != 3001 {
		t.Errorf("%d rows after a failed Append", n)
	}
	if err := db.Append(t.Context(), "t", func(add func(...any) error) error { return add("too few") }); err == nil {
		t.Error("a short row was added")
	}
}

func TestCopyIsDeterministic(t *testing.T) {
	var first []byte
	for _, threads := range []int{1, 2, 4} {
		db := open(t, Options{Threads: threads, MemoryLimit: "256MB"})
		must(t, db.Exec(t.Context(), "CREATE TABLE t AS SELECT md5(range::VARCHAR) AS id, range AS n, CASE WHEN range % 3 = 0 THEN NULL ELSE 'text' || range % 1000 END AS s, [range, range + 1] AS l FROM range(200000)"))
		path := filepath.Join(t.TempDir(), "x.parquet")
		n, err := db.Copy(t.Context(), "SELECT * FROM t ORDER BY id", path)
		must(t, err)
		if n != 200000 {
			t.Errorf("%d rows", n)
		}
		data, err := os.ReadFile(path)
		must(t, err)
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Errorf("%d threads wrote other bytes", threads)
		}
		must(t, db.Load(t.Context(), "back", []string{path}))
		diff, err := db.Int(t.Context(), "SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM back)")
		must(t, err)
		if diff != 0 {
			t.Errorf("%d rows differ", diff)
		}
	}
}

func TestCopyLeavesNothingOnFailure(t *testing.T) {
	db := open(t, Options{})
	path := filepath.Join(t.TempDir(), "it's.parquet")
	_, err := db.Copy(t.Context(), "SELECT CASE WHEN range = 150000 THEN error('boom') ELSE range::VARCHAR END AS x FROM range(200000)", path)
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("left: %v", err)
	}
	n, err := db.Copy(t.Context(), "SELECT 1 AS a", path)
	if err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestUnionByName(t *testing.T) {
	db := open(t, Options{})
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.parquet"), filepath.Join(dir, "b.parquet")
	_, err := db.Copy(t.Context(), "SELECT 'x' AS id, 1 AS n", a)
	must(t, err)
	_, err = db.Copy(t.Context(), "SELECT 'y' AS id, 'red' AS color", b)
	must(t, err)
	must(t, db.View(t.Context(), "v", []string{a, b}))
	got, err := Column[string](t.Context(), db, "SELECT concat_ws(' ', id, n, color) FROM v ORDER BY id")
	must(t, err)
	if d := cmp.Diff([]string{"x 1", "y red"}, got); d != "" {
		t.Error(d)
	}
	if err := db.Load(t.Context(), "t", nil); err == nil {
		t.Error("no files are no error")
	}
}

func TestQuantilesAndHistogram(t *testing.T) {
	db := open(t, Options{})
	must(t, db.Exec(t.Context(), "CREATE TABLE t AS SELECT range::FLOAT AS s FROM range(1, 101) UNION ALL SELECT NULL UNION ALL SELECT 'nan'::FLOAT"))
	qs, n, err := db.Quantiles(t.Context(), "t", "CASE WHEN NOT isnan(s) THEN s END", []float64{0, 0.5, 0.995, 1})
	must(t, err)
	if d := cmp.Diff([]float64{1, 50, 100, 100}, qs); d != "" || n != 100 {
		t.Errorf("n %d %s", n, d)
	}
	h, err := db.Histogram(t.Context(), "t", "s", 11, 91, 4)
	must(t, err)
	if d := cmp.Diff([]int64{30, 20, 20, 30}, h); d != "" {
		t.Error(d)
	}
	if _, err := db.Histogram(t.Context(), "t", "s", 1, 1, 4); err == nil {
		t.Error("an empty range is no error")
	}
}

func TestErrorsStayShort(t *testing.T) {
	db := open(t, Options{})
	err := db.Exec(t.Context(), "SELECT '"+strings.Repeat("ä", 1<<20)+"'::INTEGER")
	if err == nil || len(err.Error()) > 2000 {
		t.Fatalf("error of %d bytes", len(fmt.Sprint(err)))
	}
}

func TestMemoryLimitSaysWhatToDo(t *testing.T) {
	db := open(t, Options{MemoryLimit: "10MB"})
	err := db.Exec(t.Context(), "SELECT length(string_agg(md5(range::VARCHAR), '')) FROM range(3000000)")
	if err == nil || !strings.Contains(err.Error(), "limits.memory") {
		t.Errorf("error %v", err)
	}
}

func TestFunction(t *testing.T) {
	db := open(t, Options{})
	must(t, db.Function(t.Context(), "joined", 2, func(a []string) string { return a[0] + "/" + a[1] }))
	got, err := Column[string](t.Context(), db, "SELECT coalesce(joined(a, 'y'), 'none') FROM (VALUES ('x'), (NULL)) v(a) ORDER BY 1")
	must(t, err)
	if d := cmp.Diff([]string{"none", "x/y"}, got); d != "" {
		t.Error(d)
	}
	n, err := db.Int(t.Context(), "SELECT count(DISTINCT joined(range::VARCHAR, 'z')) FROM range(100000)")
	must(t, err)
	if n != 100000 {
		t.Errorf("%d", n)
	}
}
