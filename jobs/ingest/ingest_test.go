package ingest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/io/table"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/tables"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// site is a folder with a config and a workspace.
type site struct {
	*testing.T
	dir string
}

func newSite(t *testing.T) *site {
	s := &site{t, t.TempDir()}
	s.sources("{manifest: m.jsonl, name: main}")
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) write(name string, lines ...string) {
	s.Helper()
	p := filepath.Join(s.dir, name)
	s.must(os.MkdirAll(filepath.Dir(p), 0o755))
	s.must(os.WriteFile(p, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// sources writes the config; more are its further lines.
func (s *site) sources(list string, more ...string) {
	s.Helper()
	s.write("winnow.yaml", append([]string{"workspace: ./ws", "sources: [" + list + "]", "embeddings: [{name: text, model: use-multilingual-v3, of: text}]"}, more...)...)
}

func (s *site) open() *workspace.Workspace {
	s.Helper()
	app := &job.App{Globals: job.Globals{Config: filepath.Join(s.dir, "winnow.yaml"), Cache: filepath.Join(s.dir, "cache"), Run: "r1"},
		Out: io.Discard, Err: io.Discard, Log: zap.NewNop(), Progress: pipeline.Quiet, Now: time.Now, Getenv: func(string) (string, bool) { return "", false }}
	w, err := workspace.Open(s.Context(), app)
	s.must(err)
	return w
}

func (s *site) try(o Options) (*Summary, error) {
	s.Helper()
	w := s.open()
	defer func() { s.must(w.Close()) }()
	return Run(s.Context(), w, o)
}

func (s *site) run() *Summary {
	s.Helper()
	sum, err := s.try(Options{})
	s.must(err)
	return sum
}

// expect runs and compares the counts: new, changed, removed, rejected.
func (s *site) expect(what string, counts ...int64) *Summary {
	s.Helper()
	sum := s.run()
	if d := cmp.Diff(counts, []int64{sum.New, sum.Changed, sum.Removed, sum.Rejected}); d != "" {
		s.Errorf("%s: new, changed, removed, rejected: %s", what, d)
	}
	return sum
}

// rows shows columns of a table, joined by "|", sorted.
func (s *site) rows(root, cols string) []string {
	s.Helper()
	w := s.open()
	defer func() { s.must(w.Close()) }()
	db, err := w.DB(s.Context())
	s.must(err)
	snap, err := w.Snapshot(s.Context(), root)
	s.must(err)
	if snap.Version < 0 {
		return nil
	}
	s.must(tables.Load(s.Context(), db, w.Table(root), snap, nil, w.Cache, "t"))
	got, err := query.Column[string](s.Context(), db, "SELECT concat_ws('|', "+cols+") AS x FROM t ORDER BY x")
	s.must(err)
	n, err := db.Int(s.Context(), "SELECT count(*) FROM t")
	s.must(err)
	if n != snap.Rows() {
		s.Errorf("%s has %d rows, its log says %d", root, n, snap.Rows())
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], s.dir, "DIR")
	}
	return got
}

func (s *site) table(root, cols string, want ...string) {
	s.Helper()
	if d := cmp.Diff(want, s.rows(root, cols)); d != "" {
		s.Errorf("%s: %s", root, d)
	}
}

func (s *site) snapshot(root string) *table.Snapshot {
	s.Helper()
	w := s.open()
	defer func() { s.must(w.Close()) }()
	snap, err := w.Snapshot(s.Context(), root)
	s.must(err)
	return snap
}

// objects are all files of the workspace with their times.
func (s *site) objects() map[string]string {
	s.Helper()
	out := map[string]string{}
	err := filepath.Walk(filepath.Join(s.dir, "ws"), func(p string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			out[strings.TrimPrefix(p, s.dir)] = fmt.Sprintf("%d %d", fi.Size(), fi.ModTime().UnixNano())
		}
		return err
	})
	s.must(err)
	return out
}

func TestAppend(t *testing.T) {
	s := newSite(t)
	s.write("m.jsonl", `{"asset_id":"a","text":"one","n":1}`, `{"asset_id":"b","text":"two"}`, `{"text":"no id"}`)
	sum := s.expect("first", 2, 0, 0, 1)
	if sum.Assets != 2 || sum.Version != 0 || sum.Unchanged || pipeline.ExitCode(sum.Verdict()) != pipeline.ExitPartial {
		t.Errorf("%+v", sum)
	}
	s.table("assets", "asset_id, text, media_type, source, metadata_n", "a|one|text/plain|main|1", "b|two|text/plain|main")
	s.table("rejects", "asset_id, stage, source, line, reason", "|ingest|file://DIR/m.jsonl|3|missing_id")

	before := s.objects()
	if sum := s.expect("again", 0, 0, 0, 0); !sum.Unchanged || sum.Assets != 2 {
		t.Errorf("again: %+v", sum)
	}
	if d := cmp.Diff(before, s.objects()); d != "" {
		t.Errorf("a run without news wrote: %s", d)
	}

	// The manifest is written anew with the same rows: read, but nothing to do.
	s.write("m.jsonl", `{"asset_id":"b","text":"two"}`, `{"n":1,"asset_id":"a","text":"one"}`, `{"text":"no id"}`)
	if sum := s.expect("same rows", 0, 0, 0, 0); sum.Unchanged || sum.Version != 0 {
		t.Errorf("same rows: %+v", sum)
	}
	if !s.run().Unchanged {
		t.Error("the manifest is read a third time")
	}

	// Rows that are missing stay, as append says.
	s.write("m.jsonl", `{"asset_id":"b","text":"zwei"}`, `{"asset_id":"c","text":"three"}`)
	s.expect("changed", 1, 1, 0, 0)
	s.table("assets", "asset_id, text", "a|one", "b|zwei", "c|three")
	for _, f := range s.snapshot("assets").Files {
		if !strings.Contains(f.Stats, "minValues") {
			t.Errorf("statistics of %s: %s", f.Path, f.Stats)
		}
	}
}

func TestOnlyTouchedFilesAreRewritten(t *testing.T) {
	s := newSite(t)
	s.write("m.jsonl", `{"asset_id":"a","text":"one"}`, `{"asset_id":"c","text":"three"}`)
	s.run()
	first := s.snapshot("assets").Files[0].Path
	s.write("m.jsonl", `{"asset_id":"b","text":"two"}`)
	if sum := s.expect("new", 1, 0, 0, 0); sum.Rewrote != 0 {
		t.Errorf("%d bytes rewritten", sum.Rewrote)
	}
	two := s.snapshot("assets").Files
	if len(two) != 2 || two[0].Path != first && two[1].Path != first {
		t.Errorf("files %v, first %s", two, first)
	}
	s.write("m.jsonl", `{"asset_id":"b","text":"2"}`)
	s.expect("changed", 0, 1, 0, 0)
	three := s.snapshot("assets").Files
	if len(three) != 2 || three[0].Path != first && three[1].Path != first {
		t.Errorf("files %v, first %s", three, first)
	}
	// Many small files are put together.
	for i := range manySmall + 2 {
		s.write("m.jsonl", fmt.Sprintf(`{"asset_id":"x%d","text":"x"}`, i))
		s.expect("small", 1, 0, 0, 0)
	}
	if n := len(s.snapshot("assets").Files); n > manySmall {
		t.Errorf("%d files", n)
	}
	if got := s.rows("assets", "asset_id"); len(got) != 3+manySmall+2 {
		t.Errorf("%v", got)
	}
}

func TestSnapshot(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: m.jsonl, name: main, mode: snapshot}, {manifest: o.jsonl, name: other}")
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf(`{"asset_id":"%02d","text":"x"}`, i))
	}
	s.write("m.jsonl", lines...)
	s.write("o.jsonl", `{"asset_id":"o","text":"other"}`)
	s.expect("first", 21, 0, 0, 0)
	s.write("m.jsonl", lines[2:]...)
	s.expect("a tenth", 0, 0, 2, 0)
	s.write("m.jsonl", lines[4:]...)
	before := s.objects()
	_, err := s.try(Options{})
	if err == nil || pipeline.ExitCode(err) != pipeline.ExitFailed || !strings.Contains(err.Error(), "2 of its 18") || !strings.Contains(err.Error(), "--allow-removal") {
		t.Errorf("more than a tenth: %v", err)
	}
	if d := cmp.Diff(before, s.objects()); d != "" {
		t.Errorf("a refused removal wrote: %s", d)
	}
	sum, err := s.try(Options{AllowRemoval: true})
	s.must(err)
	if sum.Removed != 2 || sum.Assets != 17 {
		t.Errorf("%+v", sum)
	}
	// A refused row is no vanished asset.
	s.write("m.jsonl", append(lines[5:], `{"asset_id":"04","text":7e`, `{"asset_id":"04","uri":"../x.jpg"}`)...)
	s.expect("refused", 0, 0, 0, 2)
	if got := s.rows("assets", "asset_id"); len(got) != 17 || got[0] != "04" {
		t.Errorf("%v", got)
	}
}

func TestTwoSources(t *testing.T) {
	s := newSite(t)
	two := "{manifest: a.jsonl, name: first, mode: snapshot}, {manifest: b.jsonl, name: second}"
	s.sources(two)
	s.write("a.jsonl", `{"asset_id":"x","text":"first's"}`, `{"asset_id":"y","text":"y"}`)
	s.write("b.jsonl", `{"asset_id":"x","text":"second's"}`, `{"asset_id":"z","text":"z"}`)
	s.expect("both", 3, 0, 0, 1)
	s.table("assets", "asset_id, text, source", "x|first's|first", "y|y|first", "z|z|second")
	s.table("rejects", "asset_id, line, reason, error", "x|1|duplicate_id|the id is taken by source first, which comes first in the config")

	// The first lets go of it: the second has it, although it has not changed.
	s.write("a.jsonl", `{"asset_id":"y","text":"y"}`)
	sum, err := s.try(Options{AllowRemoval: true})
	s.must(err)
	if sum.Changed != 1 || sum.Removed != 0 {
		t.Errorf("%+v", sum)
	}
	s.table("assets", "asset_id, text, source", "x|second's|second", "y|y|first", "z|z|second")

	// And takes it back: the second, unchanged, gets its reject.
	s.write("a.jsonl", `{"asset_id":"y","text":"y"}`, `{"asset_id":"z","text":"first's z"}`)
	s.expect("taken", 0, 1, 0, 1)
	s.table("assets", "asset_id, text, source", "x|second's|second", "y|y|first", "z|first's z|first")

	// Of an append source an asset stays, even when it lists it no more.
	s.sources("{manifest: a.jsonl, name: first}, {manifest: b.jsonl, name: second}")
	s.write("a.jsonl", `{"asset_id":"q","text":"q"}`)
	s.expect("append", 1, 0, 0, 0)
	s.table("assets", "asset_id, source", "q|first", "x|second", "y|first", "z|first")
	if !s.run().Unchanged {
		t.Error("something is read again")
	}
	// Another order of the config changes who is first, at the next reading.
	s.sources("{manifest: b.jsonl, name: second}, {manifest: a.jsonl, name: first}")
	s.write("b.jsonl", `{"asset_id":"z","text":"second's z"}`)
	s.write("a.jsonl", `{"asset_id":"z","text":"first's z"}`)
	s.expect("other order", 0, 1, 0, 1)
	s.table("assets", "asset_id, source", "q|first", "x|second", "y|first", "z|second")
}

func TestEvolution(t *testing.T) {
	s := newSite(t)
	s.write("m.jsonl", `{"asset_id":"a","text":"x","metadata":{"n":1,"Capture Date":"2024-01-02","o":{"k":1},"flag":true}}`)
	s.expect("first", 1, 0, 0, 0)
	first := s.snapshot("assets").Files[0].Path
	if f := s.snapshot("assets").Schema.Field("metadata_Capture_Date"); f == nil || f.Type.Name != "date" || f.Metadata["winnow.name"] != "Capture Date" {
		t.Errorf("field %+v", f)
	}

	s.write("m.jsonl", `{"asset_id":"b","text":"x","metadata":{"n":2,"color":"red","capture_date":"?","CAPTURE DATE":"2024-02-29T10:00:00+02:00"}}`)
	s.expect("a new field, and dates that become timestamps", 1, 0, 0, 0)
	for _, f := range s.snapshot("assets").Files {
		if f.Path == first {
			t.Error("the file with the old type is still there")
		}
	}
	s.table("assets", `asset_id, metadata_n, "metadata_Capture_Date", metadata_color, "metadata_capture_date_2"`,
		"a|1|2024-01-02 00:00:00+00", "b|2|2024-02-29 08:00:00+00|red|?")

	s.write("m.jsonl", `{"asset_id":"c","text":"x","metadata":{"n":0.5,"o":{"k":"v","l":[1]},"flag":"maybe"}}`)
	s.expect("wider", 1, 0, 0, 0)
	s.table("assets", "asset_id, metadata_n, metadata_o, metadata_flag", "a|1.0|{'k': 1, 'l': NULL}|true", "b|2.0", "c|0.5|{'k': v, 'l': [1]}|maybe")

	s.write("m.jsonl", `{"asset_id":"d","text":"x","metadata":{"n":"many","o":[1]}}`)
	s.expect("widest", 1, 0, 0, 0)
	s.table("assets", "asset_id, metadata_n, metadata_o", `a|1.0|{"k":"1","l":null}`, "b|2.0", `c|0.5|{"k":"v","l":[1]}`, "d|many|[1]")

	s.write("m.jsonl", `{"asset_id":"d","text":"x","metadata":{"n":5}}`)
	s.expect("a narrow value in a wide column", 0, 1, 0, 0)
	s.table("assets", "asset_id, metadata_n, metadata_o", `a|1.0|{"k":"1","l":null}`, "b|2.0", `c|0.5|{"k":"v","l":[1]}`, "d|5")
	if v := s.snapshot("assets").Version; v != 4 {
		t.Errorf("version %d", v)
	}
	// A column that no file has is still one of the table.
	s.sources("{manifest: m.jsonl, name: main, mode: snapshot}")
	s.write("m.jsonl", `{"asset_id":"a","text":"x"}`)
	_, err := s.try(Options{AllowRemoval: true})
	s.must(err)
	s.table("assets", "asset_id, metadata_n, metadata_color", "a")
}

// TestSomeFileHasAllColumns: readers that know no schema take the union of the
// files' columns.
func TestSomeFileHasAllColumns(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: m.jsonl, name: main}, {manifest: o.jsonl, name: other, mode: snapshot}")
	s.write("m.jsonl", `{"asset_id":"a","text":"x"}`)
	s.write("o.jsonl", `{"asset_id":"keep","text":"x"}`)
	s.expect("first", 2, 0, 0, 0)
	s.write("o.jsonl", `{"asset_id":"keep","text":"x"}`, `{"asset_id":"b","text":"x","color":"red"}`)
	s.expect("a column", 1, 0, 0, 0)
	s.write("o.jsonl", `{"asset_id":"keep","text":"x"}`)
	sum, err := s.try(Options{AllowRemoval: true})
	s.must(err)
	if sum.Removed != 1 {
		t.Errorf("%+v", sum)
	}
	db, err := query.Open(t.Context(), query.Options{Dir: t.TempDir()})
	s.must(err)
	defer db.Close()
	var files []string
	for _, f := range s.snapshot("assets").Files {
		files = append(files, filepath.Join(s.dir, "ws", "assets", f.Path))
	}
	got, err := query.Column[string](t.Context(), db, "SELECT asset_id || coalesce(metadata_color, '') FROM "+query.Parquet(files)+" ORDER BY 1")
	s.must(err)
	if d := cmp.Diff([]string{"a", "keep"}, got); d != "" {
		t.Error(d)
	}
}

// TestKills takes away what a killed run would not have come to, and runs again.
func TestKills(t *testing.T) {
	lines := []string{`{"asset_id":"a","text":"one","n":1}`, `{"asset_id":"b","text":"two"}`, `{"text":"no id"}`}
	build := func(t *testing.T) *site {
		s := newSite(t)
		s.write("m.jsonl", lines...)
		s.run()
		s.write("m.jsonl", append(lines, `{"asset_id":"c","text":"three"}`, `{"asset_id":"a","text":"dup"}`)...)
		s.run()
		return s
	}
	const cols = "asset_id, text, metadata_n"
	want := build(t)
	for name, gone := range map[string][]string{
		"before the commit of assets":  {"sources", "rejects/_delta_log/00000000000000000001.json", "assets/_delta_log/00000000000000000001.json"},
		"before the commit of rejects": {"sources", "rejects/_delta_log/00000000000000000001.json"},
		"before the note":              {"sources"},
	} {
		t.Run(name, func(t *testing.T) {
			s := build(t)
			for _, g := range gone {
				s.must(os.RemoveAll(filepath.Join(s.dir, "ws", g)))
			}
			s.T = t
			s.run()
			if !s.run().Unchanged {
				t.Error("the run after the run after the kill reads again")
			}
			s.table("assets", cols, want.rows("assets", cols)...)
			s.table("rejects", "line, reason", "3|missing_id", "5|duplicate_id")
			if d := cmp.Diff(paths(want.snapshot("assets")), paths(s.snapshot("assets"))); d != "" {
				t.Errorf("live files: %s", d)
			}
			// What the killed run left is what the next one takes.
			for _, root := range []string{"assets", "rejects"} {
				if files, err := filepath.Glob(filepath.Join(s.dir, "ws", root, "*.parquet")); err != nil || len(files) != 2 {
					t.Errorf("%s has the files %v, %v", root, files, err)
				}
			}
		})
	}
}

func paths(snap *table.Snapshot) (out []string) {
	for _, f := range snap.Files {
		out = append(out, f.Path)
	}
	return out
}

func TestCancelledRunWritesNothing(t *testing.T) {
	s := newSite(t)
	s.write("m.jsonl", `{"asset_id":"a","text":"one"}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := s.open()
	defer w.Close()
	if _, err := Run(ctx, w, Options{}); pipeline.ExitCode(err) != pipeline.ExitInterrupted {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "ws")); !os.IsNotExist(err) {
		t.Errorf("there is a workspace: %v", err)
	}
}

func TestWrongSourceIsAUsageError(t *testing.T) {
	s := newSite(t)
	_, err := s.try(Options{})
	if pipeline.ExitCode(err) != pipeline.ExitUsage || !strings.Contains(err.Error(), "source main") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "ws")); !os.IsNotExist(err) {
		t.Errorf("there is a workspace: %v", err)
	}
}

func TestPictures(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: p/**/*.jpg, name: photos, mode: snapshot}, {manifest: m.jsonl, name: list}")
	for i := range 12 {
		s.write(fmt.Sprintf("p/%02d.jpg", i), "picture")
	}
	s.write("q/x.jpg", "picture")
	s.write("m.jsonl", `{"asset_id":"x","uri":"q/x.jpg"}`, `{"asset_id":"y","uri":"/etc/passwd"}`)
	s.expect("first", 13, 0, 0, 1)
	s.write("p/03.jpg", "another picture")
	s.expect("a picture changed", 0, 1, 0, 0)
	s.write("q/x.jpg", "another picture")
	s.expect("a picture of a manifest changed", 0, 1, 0, 0)
	s.must(os.Remove(filepath.Join(s.dir, "p", "05.jpg")))
	s.write("p/new/a.jpg", "new")
	s.expect("one gone, one new", 1, 0, 1, 0)
	if !s.run().Unchanged {
		t.Error("read again")
	}
	s.table("rejects", "asset_id, line, reason", "y|2|outside_allow")
}

func TestTexts(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: t/*.txt, name: texts}")
	s.write("t/a.txt", "one")
	s.write("t/b.txt", "two")
	s.write("t/c.txt", "\xff")
	s.expect("first", 2, 0, 0, 1)
	s.write("t/b.txt", "zwei")
	s.expect("changed", 0, 1, 0, 0)
	s.table("assets", "asset_id, text, uri", "a.txt|one\n", "b.txt|zwei\n")
}

func TestLabelsAndPredictions(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: m.jsonl, name: main}", "labels: [{manifest: labels/*.jsonl}]", "predictions: [{model: v1, manifest: p.csv, fields: {prediction: class}}, {model: v2, manifest: p2.jsonl}]")
	s.write("m.jsonl", `{"asset_id":"a","text":"x"}`)
	s.write("p.csv", "asset_id,class,score", "a,cat,0.5", "b,dog,", "c,,1", "d,x,9")
	s.write("p2.jsonl", `{"asset_id":"a","prediction":["cat","pet"]}`)
	sum := s.expect("no labels yet", 1, 0, 0, 2)
	if sum.Labels != 0 || sum.Predictions != 4 || len(sum.Warnings) != 2 || !strings.Contains(sum.Warnings[0], "matches no file") || !strings.Contains(sum.Warnings[1], `first "b" in file://`) || !strings.Contains(sum.Warnings[1], "p.csv:3;") {
		t.Errorf("%+v", sum)
	}
	s.table("predictions", "asset_id, model, prediction, confidence", "a|v1|cat|0.5", "a|v2|cat", "a|v2|pet", "b|v1|dog")
	before := s.objects()
	s.expect("again", 0, 0, 0, 0)
	if d := cmp.Diff(before, s.objects()); d != "" {
		t.Errorf("wrote: %s", d)
	}
	s.write("labels/1.jsonl", `{"asset_id":"a","label":"cat"}`, `{"asset_id":"b"}`)
	s.write("labels/2.jsonl", `{"asset_id":"a","label":["cat","pet"]}`)
	if sum := s.expect("labels", 0, 0, 0, 1); sum.Labels != 2 || !sum.Unchanged {
		t.Errorf("%+v", sum)
	}
	s.table("labels", "asset_id, label", "a|cat", "a|pet")
	s.write("labels/1.jsonl", `{"asset_id":"a","label":"dog"}`)
	s.must(os.Remove(filepath.Join(s.dir, "labels", "2.jsonl")))
	s.expect("other labels", 0, 0, 0, 0)
	s.table("labels", "asset_id, label", "a|dog")
	v := s.snapshot("labels").Version
	s.write("labels/1.jsonl", ` {"asset_id":"a","label":"dog"}`)
	s.expect("the same labels, written anew", 0, 0, 0, 0)
	if got := s.snapshot("labels").Version; got != v {
		t.Errorf("version %d after %d", got, v)
	}
	s.must(os.Remove(filepath.Join(s.dir, "labels", "1.jsonl")))
	s.expect("none", 0, 0, 0, 0)
	s.table("labels", "asset_id, label")
}

// TestManyRows ingests more rows than one file takes, in bounded memory.
func TestManyRows(t *testing.T) {
	if testing.Short() {
		t.Skip("200,001 rows")
	}
	s := newSite(t)
	s.sources("{manifest: m.jsonl, name: main}", "limits: {memory: 200MB}")
	var b strings.Builder
	for i := range fileRows + 1 {
		fmt.Fprintf(&b, `{"asset_id":"asset-%07d","text":"the text of asset %d, which is as long as a caption may be","metadata":{"n":%d,"when":"2024-01-02T03:04:05Z","tags":["a","b"]}}`+"\n", (i*7919)%(fileRows+1), i, i)
	}
	s.must(os.WriteFile(filepath.Join(s.dir, "m.jsonl"), []byte(b.String()), 0o644))
	start := time.Now()
	s.expect("first", fileRows+1, 0, 0, 0)
	t.Logf("%d rows in %v", fileRows+1, time.Since(start).Round(time.Millisecond))
	files := s.snapshot("assets").Files
	if len(files) != 2 || files[0].Rows > fileRows || files[0].Rows+files[1].Rows != fileRows+1 {
		t.Errorf("files %v", files)
	}
	start = time.Now()
	if !s.run().Unchanged {
		t.Error("read again")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("to notice that nothing is new took %v", d)
	}
	s.write("m.jsonl", `{"asset_id":"asset-0000000","text":"new"}`)
	if sum := s.expect("one row", 0, 1, 0, 0); sum.Rewrote != minSize(files, sum.Rewrote) {
		t.Errorf("%d bytes rewritten of %v", sum.Rewrote, files)
	}
}

// minSize returns the size of the file that has n bytes, -1 when none has.
func minSize(files []table.File, n int64) int64 {
	for _, f := range files {
		if f.Size == n {
			return n
		}
	}
	return -1
}

// TestBuckets has the manifest, what it names and the workspace in buckets.
func TestBuckets(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	st, err := store.Open(ctx, "mem://ingest-buckets")
	s.must(err)
	t.Cleanup(func() { s.must(st.Close()) })
	put := func(key, data string) {
		t.Helper()
		s.must(st.WriteAll(ctx, key, []byte(data)))
	}
	s.write("winnow.yaml", "workspace: mem://ingest-buckets/ws", "sources: [{manifest: \"mem://ingest-buckets/data/*.csv\", name: main}]", "embeddings: [{name: text, model: use-multilingual-v3, of: text}]")
	put("data/p/a.jpg", "picture")
	put("data/1.csv", "asset_id,uri,n\na,p/a.jpg,1\nb,mem://elsewhere/b.jpg,2\nc,p/a.jpg\n")
	s.expect("first", 1, 0, 0, 2)
	s.table("assets", "asset_id, uri, metadata_n, version <> 'none'", "a|mem://ingest-buckets/data/p/a.jpg|1|true")
	if !s.run().Unchanged {
		t.Error("read again")
	}
	put("data/p/a.jpg", "another picture")
	put("data/2.csv", "asset_id,uri,n\na,p/a.jpg,1\nd,p/a.jpg,0.5\n")
	s.expect("another file, another picture", 1, 1, 0, 1)
	s.table("assets", "asset_id, metadata_n", "a|1.0", "d|0.5")
	s.table("rejects", "source, line, reason", "mem://ingest-buckets/data/1.csv|3|outside_allow", "mem://ingest-buckets/data/1.csv|4|invalid_row", "mem://ingest-buckets/data/2.csv|2|duplicate_id")
}
