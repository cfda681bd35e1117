package manifest

import (
	"compress/gzip"
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// lab is a folder of files, a database and a reader.
type lab struct {
	t   *testing.T
	dir string
	db  *query.DB
	r   *Reader
}

func newLab(t *testing.T) *lab {
	t.Helper()
	db, err := query.Open(t.Context(), query.Options{Dir: t.TempDir(), MemoryLimit: "512MB"})
	ok(t, err)
	l := &lab{t, t.TempDir(), db, NewReader(db, t.TempDir())}
	t.Cleanup(func() {
		ok(t, l.r.Close())
		ok(t, db.Close())
	})
	return l
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) write(name, data string) string {
	l.t.Helper()
	p := filepath.Join(l.dir, name)
	ok(l.t, os.MkdirAll(filepath.Dir(p), 0o755))
	ok(l.t, os.WriteFile(p, []byte(data), 0o644))
	return p
}

func (l *lab) read(src Source) *Result {
	l.t.Helper()
	res, err := l.r.Read(l.t.Context(), src, "m", ReadOptions{})
	ok(l.t, err)
	return res
}

// rows shows the rows of a SELECT, columns joined by "|".
func (l *lab) rows(sql string) []string {
	l.t.Helper()
	got, err := query.Column[string](l.t.Context(), l.db, "SELECT concat_ws('|', *COLUMNS(*)) FROM ("+sql+")")
	ok(l.t, err)
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], l.dir, "DIR")
	}
	return got
}

func (l *lab) expect(sql string, want ...string) {
	l.t.Helper()
	if d := cmp.Diff(want, l.rows(sql)); d != "" {
		l.t.Errorf("%s: %s", sql, d)
	}
}

const all = "SELECT asset_id, coalesce(uri, '-'), coalesce(text, '-'), coalesce(caption, '-') FROM m ORDER BY file, line"
const rejected = "SELECT line, coalesce(asset_id, ''), reason FROM m_rejects ORDER BY file, line, reason"

// TestFaults holds every fault that a line of a manifest can have.
func TestFaults(t *testing.T) {
	l := newLab(t)
	big := strings.Repeat("x", 1<<16)
	l.write("p/a.jpg", "1")
	path := l.write("m.jsonl", strings.Join([]string{
		/*  1 */ `{"asset_id":"a","uri":"p/a.jpg","caption":"an a","metadata":{"n":1}}`,
		/*  2 */ `{"uri":"p/a.jpg"}`,
		/*  3 */ `{"asset_id":"a","uri":"p/b.jpg"}`,
		/*  4 */ `{"asset_id":"b","caption":"` + "\xff" + `"}`,
		/*  5 */ `{"asset_id":"c","uri":`,
		/*  6 */ `{"asset_id":"d","uri":"` + big + `"}`,
		/*  7 */ `{"asset_id":"e"}`,
		/*  8 */ ``,
		/*  9 */ `{"asset_id":"f","uri":"../outside.jpg"}`,
		/* 10 */ `{"asset_id":"g","uri":"s3://elsewhere/x.jpg"}`,
		/* 11 */ `["asset_id"]`,
		/* 12 */ `{"asset_id":"","text":"blank id"}`,
		/* 13 */ `{"asset_id":["x"],"text":"y"}`,
		/* 14 */ `{"asset_id":"h","uri":"gopher://x/y"}`,
		/* 15 */ `{"asset_id":"i","text":"half \ud800"}`,
		/* 16 */ `{"asset_id":"j\u0000","text":"zero"}`,
		/* 17 */ `{"asset_id":7,"text":"a number is an id"}`,
		/* 18 */ `{"asset_id":"z","text":"last","uri":null}`,
		/* 19 */ `{"asset_id":"k","uri":{"href":"x"}}`,
		/* 20 */ `{"asset_id":"l","text":"x","metadata":{"` + strings.Repeat("n", 300) + `":1}}`,
	}, "\n"))
	res := l.read(Source{Manifest: path, MaxLine: 4096, Allow: []string{l.dir}})
	l.expect(all, "a|file://DIR/p/a.jpg|-|an a", "7|-|a number is an id|-", "z|-|last|-")
	l.expect(rejected,
		"2||missing_id", "3|a|duplicate_id", "4||invalid_utf8", "5||invalid_row", "6||line_too_long", "7|e|no_content",
		"9|f|outside_allow", "10|g|outside_allow", "11||invalid_row", "12||missing_id", "13||invalid_row", "14|h|invalid_row",
		"15||invalid_row", "16|j\x00|invalid_row", "19|k|invalid_row", "20|l|invalid_row")
	if res.Rows != 3 || res.Rejected != 16 {
		t.Errorf("%d rows, %d rejected", res.Rows, res.Rejected)
	}
	l.expect("SELECT error FROM m_rejects WHERE line = 3", "the id is taken: it stands in line 1 first, and that row counts")
	l.expect("SELECT error FROM m_rejects WHERE line = 4", "byte 28 is not valid UTF-8; convert the file with: iconv -f LATIN1 -t UTF-8")
	for _, e := range l.rows("SELECT error FROM m_rejects WHERE error IS NULL OR length(error) < 10") {
		t.Errorf("error %q", e)
	}
}

// TestBigLine is the 40 MB line, between good ones.
func TestBigLine(t *testing.T) {
	l := newLab(t)
	path := l.write("m.jsonl", "{\"asset_id\":\"a\",\"text\":\"x\"}\n{\"asset_id\":\"b\",\"text\":\""+strings.Repeat("y", 40<<20)+"\"}\n{\"asset_id\":\"c\",\"text\":\"z\"}\n")
	csvPath := l.write("m.csv", "asset_id,text\na,x\nb,"+strings.Repeat("y", 40<<20)+"\nc,z\n")
	for _, p := range []string{path, csvPath} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l.read(Source{Manifest: p})
		runtime.ReadMemStats(&after)
		l.expect("SELECT asset_id FROM m ORDER BY line", "a", "c")
		line := "2"
		if p == csvPath {
			line = "3"
		}
		l.expect(rejected, line+"||line_too_long")
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 64<<20 {
			t.Errorf("%s took %d MiB", filepath.Base(p), taken>>20)
		}
	}
}

func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		file, data string
		fields     Fields
		want       []string
		meta       []string
	}{
		"winnow": {"m.jsonl", `{"asset_id":"a","uri":"x.jpg","caption":"c","version":"7","metadata":{"Capture Date":"2024-01-02"},"top":1}`, nil,
			[]string{"a|file://DIR/x.jpg|-|c"}, []string{"Capture Date DATE", "top BIGINT"}},
		"mapped": {"m.jsonl", `{"global":{"key":"a"},"asset_id":"no","where":"x.jpg","text":"t"}`, Fields{"asset_id": "global.key", "uri": "where"},
			[]string{"a|file://DIR/x.jpg|t|-"}, []string{"asset_id VARCHAR", `global STRUCT("key" VARCHAR)`}},
		"labelbox data rows": {"m.json", `[{"row_data":"https://h/x.jpg","global_key":"g","external_id":"e","media_type":"IMAGE","metadata_fields":[{"name":"site","value":"north"},{"name":"n","value":3}]},
			{"row_data":"Some text. Of words","global_key":"t","media_type":"TEXT","attachments":[]}]`, nil,
			[]string{"g|https://h/x.jpg|-|-", "t|-|Some text. Of words|-"}, []string{"attachments VARCHAR[]", "external_id VARCHAR", "n BIGINT", "site VARCHAR"}},
		"labelbox export": {"m.ndjson", `{"data_row":{"id":"clx","global_key":"g","external_id":"e.jpg","row_data":"https://h/x.jpg"},"media_attributes":{"height":5,"width":6},"metadata_fields":[{"schema_id":"s","schema_name":"site","value":"north"}],"projects":{"p":{"labels":[]}}}`, nil,
			[]string{"g|https://h/x.jpg|-|-"}, []string{"height BIGINT", "site VARCHAR", "width BIGINT"}},
		"label studio": {"tasks.json", "[\n{\"id\":1,\"data\":{\"image\":\"https://h/x.jpg\",\"site\":\"north\"},\"annotations\":[{\"result\":[]}],\"meta\":{\"n\":1}},\n{\"id\":2,\"data\":{\"text\":\"words\"}}\n]", nil,
			[]string{"1|https://h/x.jpg|-|-", "2|-|words|-"}, []string{"n BIGINT", "site VARCHAR"}},
		"ground truth": {"m.manifest", "{\"source-ref\":\"s3://b/x.jpg\",\"site\":1}\n{\"source\":\"some text\"}", nil,
			[]string{"s3://b/x.jpg|s3://b/x.jpg|-|-", "text-0c3c51ebe6a18ad2|-|some text|-"}, []string{"site BIGINT"}},
		"hugging face": {"metadata.jsonl", `{"file_name":"a/x.png","text":"a caption","split":"train"}`, nil,
			[]string{"a/x.png|file://DIR/a/x.png|-|a caption"}, []string{"split VARCHAR"}},
		"clip-retrieval": {"m.csv", "image_path,caption,width\nimgs/x.jpg,a cat,640\n", nil,
			[]string{"imgs/x.jpg|file://DIR/imgs/x.jpg|-|a cat"}, []string{"width BIGINT"}},
		"img2dataset": {"m.csv", "url,caption,key,status\nhttps://h/x.jpg,a cat,000000012,success\n", nil,
			[]string{"000000012|https://h/x.jpg|-|a cat"}, []string{"status VARCHAR"}},
		"a source that is metadata": {"m.jsonl", `{"asset_id":"a","caption":"c","uri":"x.jpg","source":"field"}`, nil,
			[]string{"a|file://DIR/x.jpg|-|c"}, []string{"source VARCHAR"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			res := l.read(Source{Manifest: l.write(c.file, c.data), Fields: c.fields})
			got := l.rows(all)
			for i := range got { // the hash of a text is not written down here
				if strings.HasPrefix(got[i], "text-") {
					got[i] = "text-0c3c51ebe6a18ad2" + got[i][strings.IndexByte(got[i], '|'):]
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			var meta []string
			for _, m := range res.Meta {
				meta = append(meta, m.Name+" "+m.Type.String())
			}
			if d := cmp.Diff(c.meta, meta); d != "" {
				t.Error(d)
			}
			if res.Rejected > 0 {
				t.Error(l.rows("SELECT * FROM m_rejects"))
			}
		})
	}
}

func TestTypes(t *testing.T) {
	l := newLab(t)
	path := l.write("m.jsonl", strings.Join([]string{
		`{"asset_id":"a","text":"x","metadata":{"i":1,"f":1,"b":true,"s":"x","d":"2024-01-02","t":"2024-01-02T03:04:05+02:00","u":"6BA7B810-9dad-11d1-80b4-00c04fd430c8","h":18446744073709551615,"mix":1,"l":[1,2],"o":{"k":1,"when":"2024-01-02"},"odd":{"a b":1},"none":null,"case":{"A":1},"code":"007","clock":"10:11:12","empty":[],"lo":[{"x":1}]}}`,
		`{"asset_id":"b","text":"x","metadata":{"i":-2,"f":0.5,"b":false,"s":"y","d":"2024-02-29","t":"2024-01-02 03:04:05","u":"x","h":1,"mix":"q","l":[2.5],"o":{"k":2.5,"z":null},"odd":{"a b":2},"none":null,"case":{"a":2},"code":"7","clock":"10:11:13","empty":[],"lo":[{"x":2,"y":"z"}]}}`,
		`{"asset_id":"c","text":"x","metadata":{"I":3,"D":"2024-01-01"}}`,
	}, "\n"))
	res := l.read(Source{Manifest: path})
	got := map[string]string{}
	for _, m := range res.Meta {
		var v []string
		ok(t, func() (err error) {
			v, err = query.Column[string](t.Context(), l.db, "SELECT coalesce(CAST("+m.Column+" AS VARCHAR), '-') FROM m ORDER BY asset_id")
			return err
		}())
		got[m.Name] = m.Type.String() + " " + strings.Join(v, " ")
	}
	want := map[string]string{
		"i": "BIGINT 1 -2 3", "f": "DOUBLE 1.0 0.5 -", "b": "BOOLEAN true false -", "s": "VARCHAR x y -",
		"d": "DATE 2024-01-02 2024-02-29 2024-01-01", "t": "TIMESTAMP WITH TIME ZONE 2024-01-02 01:04:05+00 2024-01-02 03:04:05+00 -",
		"u": "VARCHAR 6BA7B810-9dad-11d1-80b4-00c04fd430c8 x -", "h": "VARCHAR 18446744073709551615 1 -", "mix": "VARCHAR 1 q -",
		"l": "DOUBLE[] [1.0, 2.0] [2.5] -", "o": `STRUCT("k" DOUBLE, "when" DATE) {'k': 1.0, 'when': 2024-01-02} {'k': 2.5, 'when': NULL} -`,
		"odd": `VARCHAR {"a b":1} {"a b":2} -`, "case": `VARCHAR {"A":1} {"a":2} -`, "code": "VARCHAR 007 7 -", "clock": "VARCHAR 10:11:12 10:11:13 -",
		"empty": "VARCHAR[] [] [] -", "lo": `STRUCT("x" BIGINT, "y" VARCHAR)[] [{'x': 1, 'y': NULL}] [{'x': 2, 'y': z}] -`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// The same from CSV, where all is text.
	res = l.read(Source{Manifest: l.write("m.csv", "asset_id,text,i,f,b,d,t,code,mix,none\n007,x,1,1,true,2024-01-02,2024-01-02T03:04:05Z,007,1,\nb,x,-2,0.5,FALSE,2024-02-29,2024-01-02 03:04:05,7,q,\n")})
	var types []string
	for _, m := range res.Meta {
		types = append(types, m.Name+" "+m.Type.String())
	}
	if d := cmp.Diff([]string{"b BOOLEAN", "code VARCHAR", "d DATE", "f DOUBLE", "i BIGINT", "mix VARCHAR", "t TIMESTAMP WITH TIME ZONE"}, types); d != "" {
		t.Error(d)
	}
	l.expect("SELECT asset_id FROM m ORDER BY line", "007", "b")
}

func TestParquet(t *testing.T) {
	l := newLab(t)
	for i, sql := range []string{
		`SELECT 'a' AS asset_id, 'x.jpg' AS uri, NULL::VARCHAR AS text, {'Capture Date': DATE '2024-01-02', 'n': 1::UTINYINT} AS metadata, 'q' AS "file", 10::UBIGINT AS big, TIMESTAMP '2024-01-02 03:04:05' AS at, 'x'::ENUM('x') AS e
		 UNION ALL SELECT NULL, 'x.jpg', NULL, NULL, NULL, NULL, NULL, NULL
		 UNION ALL SELECT ' ', 'x.jpg', NULL, NULL, NULL, NULL, NULL, NULL
		 UNION ALL SELECT 'n', NULL, NULL, NULL, NULL, NULL, NULL, NULL
		 UNION ALL SELECT 'o', '../x.jpg', NULL, NULL, NULL, NULL, NULL, NULL
		 UNION ALL SELECT 't', NULL, 'text', NULL, NULL, NULL, NULL, NULL`,
		`SELECT 5 AS asset_id, 'y.jpg' AS uri, 2.5 AS n, 'a' AS "path"`,
		`SELECT 'a' AS asset_id, 'z.jpg' AS uri, 3 AS n, NULL AS "path"`,
	} {
		_, err := l.db.Copy(t.Context(), sql, filepath.Join(l.dir, fmt.Sprintf("%d.parquet", i)))
		ok(t, err)
	}
	res := l.read(Source{Manifest: filepath.Join(l.dir, "*.parquet"), Allow: []string{l.dir}})
	l.expect(all, "a|file://DIR/x.jpg|-|-", "t|-|text|-", "5|file://DIR/y.jpg|-|-")
	l.expect("SELECT file, line, coalesce(asset_id, ''), reason FROM m_rejects ORDER BY file, line",
		"0|2||missing_id", "0|3||missing_id", "0|4|n|no_content", "0|5|o|outside_allow", "2|1|a|duplicate_id")
	l.expect("SELECT error FROM m_rejects WHERE file = 2", "the id is taken: it stands in line 1 of file://DIR/0.parquet first, and that row counts")
	var meta []string
	for _, m := range res.Meta {
		meta = append(meta, m.Name+" "+m.Type.String())
	}
	want := []string{"Capture Date DATE", "at TIMESTAMP WITH TIME ZONE", "big VARCHAR", "e VARCHAR", "file VARCHAR", "n VARCHAR", "path VARCHAR"}
	want[5] = "n DOUBLE"
	if d := cmp.Diff(want, meta); d != "" {
		t.Error(d)
	}
}

func TestGlobsAndFolders(t *testing.T) {
	l := newLab(t)
	for _, p := range []string{"a.jpg", "sub/b.PNG", "sub/deep/c.jpeg", "sub/note.txt", ".hidden/d.jpg", "sub/._e.jpg", "f.pdf", "ws/thumb.jpg", "we[i]rd {x}.jpg"} {
		l.write("photos/"+p, "data of "+p)
	}
	l.write("photos/bad.txt", "\xff")
	l.write("photos/blank.txt", " \n")
	base := filepath.Join(l.dir, "photos")
	for pattern, want := range map[string][]string{
		"/**/*.jpg":             {"a.jpg", "we[i]rd {x}.jpg", "ws/thumb.jpg"},
		"/*.jpg":                {"a.jpg", "we[i]rd {x}.jpg"},
		"/**/*.{jpg,jpeg,png}":  {"a.jpg", "sub/b.PNG", "sub/deep/c.jpeg", "we[i]rd {x}.jpg", "ws/thumb.jpg"},
		"/**":                   {"a.jpg", "sub/b.PNG", "sub/deep/c.jpeg", "sub/note.txt", "we[i]rd {x}.jpg", "ws/thumb.jpg"},
		"/sub/?.png":            {"b.PNG"},
		"/s*/**/[a-c].jp{e,}g":  {"sub/deep/c.jpeg"},
		"/[!s]*/*.jpg":          {"ws/thumb.jpg"},
		"/we\\[i\\]rd *.jpg":    nil,
		"/**/.hidden/*.jpg":     {".hidden/d.jpg"},
		"/**/*.pdf":             {"f.pdf"},
		"/{a.jpg,sub/b.PNG}":    {"a.jpg", "sub/b.PNG"},
		"/**/*.{txt}":           {"sub/note.txt"},
		"/sub/deep/../deep/*.*": {"c.jpeg"},
	} {
		res, err := l.r.Read(t.Context(), Source{Manifest: base + pattern}, "m", ReadOptions{})
		if want == nil {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		if d := cmp.Diff(want, l.rows("SELECT asset_id FROM m ORDER BY asset_id")); d != "" {
			t.Errorf("%s: %s", pattern, d)
		}
		if res.Unversioned > 0 {
			t.Errorf("%s: %d without version", pattern, res.Unversioned)
		}
	}
	l.read(Source{Manifest: base + "/**", Exclude: []string{base + "/ws"}, Allow: []string{base + "/sub"}})
	l.expect("SELECT asset_id, coalesce(uri, '-'), coalesce(text, '-'), media_type FROM m ORDER BY asset_id",
		"sub/b.PNG|file://DIR/photos/sub/b.PNG|-|image/png", "sub/deep/c.jpeg|file://DIR/photos/sub/deep/c.jpeg|-|image/jpeg", "sub/note.txt|-|data of sub/note.txt|text/plain")
	l.expect("SELECT asset_id, reason FROM m_rejects ORDER BY asset_id", "a.jpg|outside_allow", "bad.txt|invalid_utf8", "blank.txt|empty", "we[i]rd {x}.jpg|outside_allow")

	for pattern, want := range map[string]string{
		"/nothing.jsonl": "does not exist", "/*.jsonl": "matches no file", "": "write a glob", "/": "write a glob", "/a.jpg": "no manifest by its name",
		"/**/*.gif": "matches no file", "/[a.jpg": "without its ]", "/{a.jpg": "without its }",
	} {
		_, err := l.r.Read(t.Context(), Source{Manifest: base + pattern}, "m", ReadOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	// A literal name with magic characters.
	l.read(Source{Manifest: l.write("odd[1]/{m}*.jsonl", `{"asset_id":"a","uri":"x.jpg"}`)})
	l.expect(all, "a|file://DIR/odd[1]/x.jpg|-|-")
}

func TestKnownTextsAreNotReadAgain(t *testing.T) {
	l := newLab(t)
	p := l.write("t/a.txt", "one")
	l.write("t/b.txt", "two")
	l.read(Source{Manifest: l.dir + "/t/*.txt"})
	ok(t, l.db.Exec(t.Context(), "CREATE TABLE known AS SELECT asset_id, version, 'kept ' || text AS text FROM m"))
	l.write("t/b.txt", "changed")
	ok(t, os.Chmod(p, 0o644))
	_, err := l.r.Read(t.Context(), Source{Manifest: l.dir + "/t/*.txt"}, "m", ReadOptions{Known: "known"})
	ok(t, err)
	l.expect("SELECT asset_id, text FROM m ORDER BY asset_id", "a.txt|kept one", "b.txt|changed")
}

func TestVersions(t *testing.T) {
	l := newLab(t)
	l.write("p/a.jpg", "1")
	l.write("p/b.jpg", "22")
	l.write("q/c.jpg", "333")
	path := l.write("m.jsonl", strings.Join([]string{
		`{"asset_id":"a","uri":"p/a.jpg"}`,
		`{"asset_id":"b","uri":"p/b.jpg","etag":"mine"}`,
		`{"asset_id":"c","uri":"file://` + l.dir + `/q/c.jpg"}`,
		`{"asset_id":"d","uri":"p/missing.jpg"}`,
		`{"asset_id":"e","text":"words"}`,
		`{"asset_id":"f","uri":"http://h/x.jpg"}`,
	}, "\n"))
	res := l.read(Source{Manifest: path})
	l.expect("SELECT asset_id, CASE WHEN asset_id IN ('a', 'c') THEN regexp_replace(version, '^[0-9a-f]+-', 'T-') ELSE version END FROM m ORDER BY asset_id",
		"a|T-1", "b|mine", "c|T-3", "d|none", "e|"+md5Of("words"), "f|none")
	if res.Unversioned != 2 || len(res.State.Dirs) != 2 {
		t.Errorf("%d unversioned, dirs %v", res.Unversioned, res.State.Dirs)
	}
	same := func(want bool, what string) {
		t.Helper()
		s, err := l.r.Probe(t.Context(), Source{Manifest: path}, res.State)
		ok(t, err)
		if s.Same(res.State) != want {
			t.Errorf("%s: same is %v", what, !want)
		}
	}
	same(true, "nothing")
	l.write("p/a.jpg", "other")
	same(false, "a picture")
	res = l.read(Source{Manifest: path})
	same(true, "read again")
	l.write("m.jsonl", `{"asset_id":"a","uri":"p/a.jpg"}`)
	same(false, "the manifest")
	res = l.read(Source{Manifest: path})
	s, err := l.r.Probe(t.Context(), Source{Manifest: path, Fields: Fields{"asset_id": "id"}}, res.State)
	ok(t, err)
	if s.Same(res.State) {
		t.Error("other fields are the same")
	}
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return fmt.Sprintf("%x", sum)
}

// TestListingsAreFew counts what is listed for many directories.
func TestPlan(t *testing.T) {
	var many []wanted
	for i := range 300 {
		many = append(many, wanted{dir: fmt.Sprintf("s3://b/x/%03d/", i), query: "?region=r", rows: 100})
	}
	many = append(many, wanted{dir: "gs://c/one/", rows: 5}, wanted{dir: "file:///a/", rows: 1}, wanted{dir: "file:///b/", rows: 1})
	want := []Dir{
		{"file:///a/", "", false, 10_000}, {"file:///b/", "", false, 10_000}, {"gs://c", "one/", false, 10_000}, {"s3://b?region=r", "x/", true, 600_000},
	}
	if d := cmp.Diff(want, plan(many)); d != "" {
		t.Error(d)
	}
}

func TestBuckets(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	st, err := store.Open(ctx, "mem://"+t.Name())
	ok(t, err)
	defer st.Close()
	put := func(key, data string) { ok(t, st.WriteAll(ctx, key, []byte(data))) }
	put("data/m.jsonl", `{"asset_id":"a","uri":"p/a b%20c.jpg"}`+"\n"+`{"asset_id":"b","uri":"/data/p/x.jpg"}`+"\n"+`{"asset_id":"c","uri":"mem://`+t.Name()+`/data/p/c.jpg"}`)
	put("data/p/a b%20c.jpg", "1")
	put("data/p/c.jpg", "1")
	res := l.read(Source{Manifest: "mem://" + t.Name() + "/data/m.jsonl", Allow: []string{"mem://" + t.Name() + "/"}})
	l.expect("SELECT asset_id, uri, version <> 'none' FROM m ORDER BY line", "a|mem://TestBuckets/data/p/a b%20c.jpg|true", "c|mem://TestBuckets/data/p/c.jpg|true")
	l.expect(rejected, "2|b|outside_allow")
	if d := cmp.Diff([]Dir{{"mem://TestBuckets", "data/p/", false, 10_000}}, res.State.Dirs); d != "" {
		t.Error(d)
	}
	l.read(Source{Manifest: "mem://" + t.Name() + "/data/**/*.jpg"})
	l.expect("SELECT asset_id, uri FROM m ORDER BY line", "p/a b%20c.jpg|mem://TestBuckets/data/p/a b%20c.jpg", "p/c.jpg|mem://TestBuckets/data/p/c.jpg")

	path := filepath.Join(l.dir, "x.parquet")
	_, err = l.db.Copy(ctx, "SELECT 'a' AS asset_id, 'p/c.jpg' AS uri", path)
	ok(t, err)
	data, err := os.ReadFile(path)
	ok(t, err)
	put("data/x.parquet", string(data))
	l.read(Source{Manifest: "mem://" + t.Name() + "/data/*.parquet"})
	l.expect(all, "a|mem://TestBuckets/data/p/c.jpg|-|-")
}

func TestManyFilesAndGzip(t *testing.T) {
	l := newLab(t)
	l.write("m/1.jsonl", `{"asset_id":"a","text":"x","n":1}`)
	p := l.write("m/2.jsonl.gz", "")
	f, err := os.Create(p)
	ok(t, err)
	z := gzip.NewWriter(f)
	_, err = z.Write([]byte("\n{\"asset_id\":\"b\",\"text\":\"x\",\"n\":2.5}\n{\"asset_id\":\"a\",\"text\":\"y\"}\n"))
	ok(t, err)
	ok(t, z.Close())
	ok(t, f.Close())
	res := l.read(Source{Manifest: l.dir + "/m/*.{jsonl,jsonl.gz}"})
	l.expect("SELECT asset_id, m0 FROM m ORDER BY asset_id", "a|1.0", "b|2.5")
	l.expect("SELECT file, line, error FROM m_rejects", "1|3|the id is taken: it stands in line 1 of file://DIR/m/1.jsonl first, and that row counts")
	if len(res.Files) != 2 || res.Meta[0].Name != "n" {
		t.Errorf("%+v", res)
	}
	ok(t, os.Truncate(p, 30))
	_, err = l.r.Read(t.Context(), Source{Manifest: l.dir + "/m/*.{jsonl,jsonl.gz}"}, "m", ReadOptions{})
	if err == nil || !strings.Contains(err.Error(), "2.jsonl.gz") || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a cut file: %v", err)
	}
}

func TestTooManyMetadataFields(t *testing.T) {
	l := newLab(t)
	var b strings.Builder
	for i := range maxMetaFields + 5 {
		fmt.Fprintf(&b, "{\"asset_id\":\"%d\",\"text\":\"x\",\"k%d\":1}\n", i, i)
	}
	res := l.read(Source{Manifest: l.write("m.jsonl", b.String())})
	if res.Rejected != 5 || len(res.Meta) != maxMetaFields {
		t.Errorf("%d rejected, %d fields", res.Rejected, len(res.Meta))
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	l := newLab(t)
	path := l.write("m.jsonl", strings.Repeat("{\"asset_id\":\"a\",\"text\":\"x\"}\n", 50000))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := l.r.Read(ctx, Source{Manifest: path}, "m", ReadOptions{Count: func(int64) { cancel() }})
	if pipeline.ExitCode(err) != pipeline.ExitInterrupted {
		t.Errorf("error %v", err)
	}
	left, err := filepath.Glob(filepath.Join(l.db.Dir(), "*.jsonl"))
	ok(t, err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
