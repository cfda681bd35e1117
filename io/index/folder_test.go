package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/io/store"
)

func idsOf(n, block int) IDSource {
	return func(_ context.Context, yield func(IDBlock) error) error {
		for lo := 0; lo < n; lo += block {
			var b IDBlock
			for i := lo; i < min(lo+block, n); i++ {
				b.IDs, b.Versions, b.Rows = append(b.IDs, fmt.Sprintf("asset-%05d", i)), append(b.Versions, fmt.Sprintf("v%d", i%5)), append(b.Rows, int64(i))
			}
			if err := yield(b); err != nil {
				return err
			}
		}
		return nil
	}
}

func openStore(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func spec(t testing.TB, id string, n, dim int) Spec {
	kind := Flat
	if n >= 1000 { // small, but not too small for lists
		kind = IVFFlat
	}
	return Spec{ID: id, Embedding: "image", Fingerprint: "f00d", TableVersion: 3, Shards: []string{"a.parquet"}, Params: planned(t, n, dim, kind, 20)}
}

func TestFolder(t *testing.T) {
	const dim = 16
	for _, url := range []string{"file://" + t.TempDir(), "mem://index-folder"} {
		for _, n := range []int{1, 150, 2000} {
			t.Run(fmt.Sprintf("%s/%d", url[:4], n), func(t *testing.T) {
				s := openStore(t, url).Sub(fmt.Sprintf("indexes/%d/one", n))
				rows := clustered(n, dim, 12, 5)
				m, err := Create(t.Context(), s, spec(t, "one", n, dim), from(rows, dim, 700), idsOf(n, 333), nil)
				if err != nil {
					t.Fatal(err)
				}
				read, err := ReadMeta(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(m, read); d != "" {
					t.Fatal(d)
				}
				if m.Rows != int64(n) || m.Recall10 < m.RecallTarget || m.FAISS == "" || m.TableVersion != 3 {
					t.Errorf("%+v", m)
				}
				if err := Verify(t.Context(), s); err != nil {
					t.Error(err)
				}
				f, err := OpenFolder(t.Context(), s, t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				q := n / 2
				hits, err := f.Search(t.Context(), rows[q*dim:(q+1)*dim], 3)
				if err != nil {
					t.Fatal(err)
				}
				if len(hits) != 1 || len(hits[0]) != min(3, n) {
					t.Fatalf("hits %v", hits)
				}
				want := Hit{fmt.Sprintf("asset-%05d", q), fmt.Sprintf("v%d", q%5), hits[0][0].Score, int64(q), Place{"a.parquet", int64(q)}}
				if hits[0][0] != want || want.Score < 0.999 {
					t.Errorf("first hit %+v", hits[0][0])
				}
				// Again: nothing is built.
				again, err := Create(t.Context(), s, spec(t, "one", n, dim), nil, nil, nil)
				if err != nil || cmp.Diff(m, again) != "" {
					t.Errorf("again: %+v, %v", again, err)
				}
			})
		}
	}
}

func TestLookup(t *testing.T) {
	s := openStore(t, "file://"+t.TempDir())
	const n, dim = 3000, 4
	rows := clustered(n, dim, 3, 1)
	sp := spec(t, "one", n, dim)
	if _, err := Create(t.Context(), s, sp, from(rows, dim, 1000), idsOf(n, n), nil); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := []int64{2999, 0, 1500, 1501, 0, 7}
	found, err := f.parts[0].ids.lookup(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range want {
		if r := (idRow{fmt.Sprintf("asset-%05d", row), fmt.Sprintf("v%d", row%5), 0, row}); found[row] != r {
			t.Errorf("row %d: %+v", row, found[row])
		}
	}
	for _, bad := range []int64{n, -1} {
		if _, err := f.parts[0].ids.lookup(t.Context(), []int64{bad}); err == nil {
			t.Errorf("row %d was found", bad)
		}
	}
	next := int64(0)
	err = f.parts[0].ids.each(t.Context(), func(first int64, rows []idRow) error {
		for i, r := range rows {
			if r.Row != first+int64(i) || r.Row != next {
				t.Fatalf("row %d: %+v", next, r)
			}
			next++
		}
		return nil
	})
	if err != nil || next != n {
		t.Errorf("%d rows, %v", next, err)
	}
}

// A folder in which anything failed has no index.json, so nobody sees it.
func TestCreateFails(t *testing.T) {
	const n, dim = 200, 8
	rows := clustered(n, dim, 3, 1)
	for name, c := range map[string]struct {
		rows Vectors
		ids  IDSource
		says string
	}{
		"rows":          {from(rows[:dim*199], dim, 50), idsOf(n, 10), "199 rows"},
		"too few ids":   {from(rows, dim, 50), idsOf(n-1, 10), "199 ids"},
		"too many ids":  {from(rows, dim, 50), idsOf(n+1, 10), "more ids"},
		"odd id blocks": {from(rows, dim, 50), func(_ context.Context, y func(IDBlock) error) error { return y(IDBlock{IDs: []string{"a"}}) }, "1 ids with 0 versions"},
	} {
		dir, temp := t.TempDir(), t.TempDir()
		s := openStore(t, "file://"+dir)
		sp := spec(t, "one", n, dim)
		sp.TempDir = temp
		_, err := Create(t.Context(), s.Sub("one"), sp, c.rows, c.ids, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", name, err)
		}
		if all, err := List(t.Context(), s); err != nil || len(all) != 0 {
			t.Errorf("%s: List = %v, %v", name, all, err)
		}
		if left, _ := os.ReadDir(temp); len(left) != 0 {
			t.Errorf("%s: %s is left", name, left[0].Name())
		}
	}
}

func TestListLatest(t *testing.T) {
	const n, dim = 50, 4
	rows := clustered(n, dim, 3, 1)
	s := openStore(t, "mem://index-list")
	if m, err := Latest(t.Context(), s, "f00d"); m != nil || err != nil {
		t.Fatalf("of nothing: %v, %v", m, err)
	}
	for _, c := range []struct {
		id, fingerprint string
		version         int64
	}{{"b", "f00d", 12}, {"a", "f00d", 12}, {"c", "f00d", 9}, {"d", "beef", 20}} {
		sp := spec(t, c.id, n, dim)
		sp.Fingerprint, sp.TableVersion = c.fingerprint, c.version
		if _, err := Create(t.Context(), s.Sub(c.id), sp, from(rows, dim, 50), idsOf(n, 50), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteAll(t.Context(), "unfinished/"+BaseFile, []byte("x")); err != nil {
		t.Fatal(err)
	}
	all, err := List(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	if d := cmp.Diff([]string{"c", "a", "b", "d"}, ids); d != "" {
		t.Error(d)
	}
	for fingerprint, want := range map[string]string{"f00d": "b", "beef": "d"} {
		if m, err := Latest(t.Context(), s, fingerprint); err != nil || m == nil || m.ID != want {
			t.Errorf("latest of %s: %v, %v", fingerprint, m, err)
		}
	}
}

// Everything that can be wrong with a folder is an error with a remedy.
func TestDamagedFolder(t *testing.T) {
	const n, dim = 2000, 8
	rows := clustered(n, dim, 12, 5)
	pristine := t.TempDir()
	if _, err := Create(t.Context(), openStore(t, "file://"+pristine), spec(t, "one", n, dim), from(rows, dim, 500), idsOf(n, 500), nil); err != nil {
		t.Fatal(err)
	}
	first := func(m map[string]any) map[string]any { return m["parts"].([]any)[0].(map[string]any) }
	meta := func(change func(m map[string]any)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, dir, MetaFile, func(b []byte) []byte {
				var m map[string]any
				if err := json.Unmarshal(b, &m); err != nil {
					t.Fatal(err)
				}
				change(m)
				b, _ = json.Marshal(m)
				return b
			})
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		says  string
	}{
		"base missing":    {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, BaseFile)) }, "base.faiss is missing"},
		"ids missing":     {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, IDsFile)) }, "ids.parquet is missing"},
		"base truncated":  {cut(BaseFile, 100), "bytes, not"},
		"ids truncated":   {cut(IDsFile, 10), "bytes, not"},
		"newer format":    {meta(func(m map[string]any) { m["format"] = 3 }), "use a newer winnow"},
		"not json":        {cut(MetaFile, 5), "damaged"},
		"unknown field":   {meta(func(m map[string]any) { m["x"] = 1 }), "unknown field"},
		"other dimension": {meta(func(m map[string]any) { m["dim"] = 9 }), "its dimension is 8, not 9"},
		"other rows":      {meta(func(m map[string]any) { m["rows"] = 1999 }), "parts have 2000 rows, not 1999"},
		"rows of a part":  {meta(func(m map[string]any) { m["rows"] = 1999; first(m)["rows"] = 1999 }), "number of rows is 2000"},
		"other lists":     {meta(func(m map[string]any) { m["nlist"] = 21; m["factory"] = "IVF21,Flat" }), "number of lists is 20"},
		"other kind":      {meta(func(m map[string]any) { m["kind"], m["factory"] = "flat", "Flat" }), "its type is IwFl"},
		"wild nprobe":     {meta(func(m map[string]any) { m["nprobe"] = 1 << 40 }), "nprobe"},
		"ids of another index": {func(t *testing.T, dir string) {
			other := t.TempDir()
			s := openStore(t, "file://"+other)
			if _, err := Create(t.Context(), s, spec(t, "o", 100, dim), from(rows[:100*dim], dim, 100), idsOf(100, 100), nil); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(other, IDsFile))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, dir, IDsFile, func([]byte) []byte { return b })
			meta(func(m map[string]any) { first(m)["ids"].(map[string]any)["size"] = len(b) })(t, dir)
		}, "100 rows, the index has 2000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(pristine)); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			f, err := OpenFolder(t.Context(), openStore(t, "file://"+dir), "")
			if err == nil {
				f.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v", err)
			}
			if name != "newer format" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), remedy)) {
				t.Errorf("no ErrDamaged with a remedy: %v", err)
			}
		})
	}
	// A changed number is no structural fault, and Verify's to find.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(pristine)); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, BaseFile, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if err := Verify(t.Context(), openStore(t, "file://"+dir)); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify: %v", err)
	}
}

func edit(t *testing.T, dir, name string, fn func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fn(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func cut(name string, n int) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		edit(t, dir, name, func(b []byte) []byte { return b[:len(b)-n] })
	}
}

func fileHash(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := newHasher()
	_, _ = h.Write(b)
	return h.file("", "").BLAKE3
}
