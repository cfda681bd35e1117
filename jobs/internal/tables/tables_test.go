package tables

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/io/table"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func setUp(t *testing.T) (*query.DB, *table.Table, string) {
	t.Helper()
	db, err := query.Open(t.Context(), query.Options{Dir: t.TempDir(), MemoryLimit: "256MB"})
	must(t, err)
	dir := t.TempDir()
	st, err := store.Open(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() {
		must(t, db.Close())
		must(t, st.Close())
	})
	return db, table.Open(st, "x"), filepath.Join(dir, "x")
}

// TestTypesReturn sends every type to a Delta table and back.
func TestTypesReturn(t *testing.T) {
	db, tab, _ := setUp(t)
	const rows = `SELECT 'a' AS id, true AS b, 1::BIGINT AS i, 1.5::FLOAT AS f, 2.5::DOUBLE AS d, 'x'::BLOB AS bin, DATE '2024-02-29' AS day,
		'2024-02-29 23:59:59.123456+00'::TIMESTAMPTZ AS at, 12.345::DECIMAL(10,3) AS dec, [1::BIGINT, NULL] AS l, {'a': 1::BIGINT, 'b': [{'c': 'x'}]} AS s
		UNION ALL SELECT 'b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL`
	must(t, db.Exec(t.Context(), "CREATE TABLE o AS "+rows))
	cols, err := db.Columns(t.Context(), "o")
	must(t, err)
	var schema table.Schema
	for _, c := range cols {
		typ, err := Delta(query.Plain(c.Type))
		must(t, err)
		schema = append(schema, table.Field{Name: c.Name, Type: typ, Nullable: true})
	}
	f, err := Write(t.Context(), db, tab, "SELECT * FROM o ORDER BY id", "id")
	must(t, err)
	if f.Rows != 2 || f.Size == 0 || f.Stats != `{"numRecords":2,"minValues":{"id":"a"},"maxValues":{"id":"b"},"nullCount":{"id":0}}` {
		t.Errorf("%+v", f)
	}
	// A column that no file has yet.
	schema = append(schema, table.Field{Name: "later", Type: table.Array(table.Long, true), Nullable: true})
	_, err = tab.Commit(t.Context(), table.Change{Base: -1, Schema: schema, Adds: []table.File{f}})
	must(t, err)
	snap, err := tab.Snapshot(t.Context(), table.Latest)
	must(t, err)
	must(t, Load(t.Context(), db, tab, snap, nil, t.TempDir(), "back"))
	back, err := db.Columns(t.Context(), "back")
	must(t, err)
	if d := cmp.Diff(append(cols, query.ColumnInfo{Name: "later", Type: query.ListOf(query.BigInt)}), back); d != "" {
		t.Error(d)
	}
	n, err := db.Int(t.Context(), "SELECT count(*) FROM (SELECT * FROM o EXCEPT SELECT * EXCLUDE (later) FROM back)")
	must(t, err)
	if n != 0 {
		t.Errorf("%d rows differ", n)
	}
	for _, c := range []query.Type{{Name: "HUGEINT"}, {Name: "UUID"}, query.Null, query.ListOf(query.Type{Name: "TIME"})} {
		if typ, err := Delta(c); err == nil {
			t.Errorf("%s became %v", c, typ)
		}
	}
}

func TestLoadOfATableThatDoesNotExist(t *testing.T) {
	db, tab, _ := setUp(t)
	snap, err := tab.Snapshot(t.Context(), table.Latest)
	must(t, err)
	must(t, Load(t.Context(), db, tab, snap, table.Schema{{Name: "a", Type: table.Long}}, t.TempDir(), "t"))
	if n, err := db.Int(t.Context(), "SELECT count(a) FROM t"); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestWriteTrustsYoungFilesOnly: an orphan that vacuum may take at any moment is
// written again.
func TestWriteTrustsYoungFilesOnly(t *testing.T) {
	db, tab, dir := setUp(t)
	const rows = "SELECT range AS n FROM range(1000) ORDER BY n"
	first, err := Write(t.Context(), db, tab, rows, "")
	must(t, err)
	path := filepath.Join(dir, first.Path)
	data, err := os.ReadFile(path)
	must(t, err)
	for _, c := range []struct {
		age     time.Duration
		content string
		again   bool
	}{
		{time.Hour, string(data), false},
		{25 * time.Hour, string(data), true},
		{time.Hour, "cut", true},
	} {
		must(t, os.WriteFile(path, []byte(c.content), 0o644))
		then := time.Now().Add(-c.age).Truncate(time.Second)
		must(t, os.Chtimes(path, then, then))
		f, err := Write(t.Context(), db, tab, rows, "")
		must(t, err)
		if d := cmp.Diff(first, f); d != "" {
			t.Errorf("another file: %s", d)
		}
		fi, err := os.Stat(path)
		must(t, err)
		if again := !fi.ModTime().Equal(then); again != c.again || fi.Size() != first.Size {
			t.Errorf("%v old, %d bytes: written again is %v", c.age, len(c.content), again)
		}
	}
	left, err := filepath.Glob(filepath.Join(db.Dir(), "*.parquet"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
