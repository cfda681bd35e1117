package status

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/zap"

	"winnow/io/shard"
	"winnow/io/store"
	"winnow/io/table"
	"winnow/jobs/index"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/stage"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/task"
	"winnow/pipeline/vec"
)

// bench is a workspace that the test fills by hand: no model is run.
type bench struct {
	*testing.T
	w   *workspace.Workspace
	app *job.App
	n   int // files written
}

const benchConfig = `workspace: ./ws
sources: [{manifest: ./m.jsonl, name: field}]
embeddings: [{name: image, model: ./small.yaml, of: image}]
functions: fn.yaml
batches: [{name: fruit, where: apples_match, select: [{top: apples}], size: 2}]
`

const benchFunction = `name: apples
embedding: image
anchors: {positive: [{asset: a0}, {asset: a1}]}
`

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	spec, err := os.ReadFile(filepath.Join("..", "..", "models", "specs", "efficientnet-lite0.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	small := strings.Replace(string(spec), "dim: 1280", "dim: 8", 1) // fast to measure
	for name, text := range map[string]string{"winnow.yaml": benchConfig, "fn.yaml": benchFunction, "small.yaml": small} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{T: t, app: &job.App{Globals: job.Globals{Config: filepath.Join(dir, "winnow.yaml"), Cache: filepath.Join(dir, "cache"), Run: "r1"},
		Out: io.Discard, Err: io.Discard, Log: zap.NewNop(), Progress: pipeline.Quiet, Now: time.Now, Getenv: func(string) (string, bool) { return "", false }}}
	b.open()
	t.Cleanup(func() { b.w.Close() })
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// open forgets all that was read.
func (b *bench) open() {
	b.Helper()
	if b.w != nil {
		b.w.Close()
	}
	var err error
	b.w, err = workspace.Open(b.Context(), b.app)
	b.must(err)
}

// report looks at the workspace as the command does.
func (b *bench) report() *Report {
	b.Helper()
	b.open()
	r := &Report{Assets: Assets{Version: -1}}
	c := &collector{w: b.w, r: r, now: time.Now(), examples: 3}
	b.must(c.collect(b.Context()))
	r.conclude("")
	return r
}

type assetRow struct {
	AssetID string `parquet:"asset_id"`
	URI     string `parquet:"uri"`
	Text    string `parquet:"text"`
	Caption string `parquet:"caption"`
	Media   string `parquet:"media_type"`
	Version string `parquet:"version"`
	Source  string `parquet:"source"`
}

func image(id, version string) assetRow {
	return assetRow{AssetID: id, URI: "file:///" + id, Version: version, Source: "field"}
}

// assets makes the assets table hold exactly these rows.
func (b *bench) assets(rows ...assetRow) {
	b.Helper()
	var schema table.Schema
	for _, n := range []string{"asset_id", "uri", "text", "caption", "media_type", "version", "source"} {
		schema = append(schema, table.Field{Name: n, Type: table.String, Nullable: true})
	}
	b.put(workspace.AssetsRoot, schema, true, int64(len(rows)), func(w io.Writer) error { return parquet.Write(w, rows) })
}

// put adds a file to a table, or makes it the only one.
func (b *bench) put(root string, schema table.Schema, only bool, rows int64, fn func(io.Writer) error) {
	b.Helper()
	b.n++
	name := fmt.Sprintf("f%d.parquet", b.n)
	b.must(b.w.Store.Write(b.Context(), root+"/"+name, fn))
	snap, err := b.w.Snapshot(b.Context(), root)
	b.must(err)
	file, err := b.w.DataFile(b.Context(), root, name, rows)
	b.must(err)
	c := table.Change{Base: snap.Version, Schema: schema, Adds: []table.File{file}, AppID: name, AppVersion: 1, Operation: "WRITE"}
	if only {
		for _, f := range snap.Files {
			c.Removes = append(c.Removes, f.Path)
		}
	}
	_, err = b.w.Table(root).Commit(b.Context(), c)
	b.must(err)
}

// embed adds a shard of random vectors: of pairs of id and version.
func (b *bench) embed(pairs ...string) {
	b.Helper()
	l := b.live()
	block := &shard.Block{Dim: l.Dim}
	rng := rand.New(rand.NewPCG(uint64(b.n), 1))
	for i := 0; i < len(pairs); i += 2 {
		block.AssetID, block.Version = append(block.AssetID, pairs[i]), append(block.Version, pairs[i+1])
		block.ContentHash = append(block.ContentHash, strings.Repeat("0", 62)+fmt.Sprintf("%02x", i))
		v := make([]float32, l.Dim)
		for k := range v {
			v[k] = float32(rng.NormFloat64())
		}
		vec.Normalize(v, l.Dim)
		block.Vectors = append(block.Vectors, v...)
	}
	b.put(l.Root, workspace.VectorSchema, false, int64(len(pairs)/2), func(w io.Writer) error {
		sw, err := shard.NewWriter(w, shard.Meta{Dim: l.Dim, Embedding: "image", Fingerprint: l.Fingerprint, Normalized: true})
		if err != nil {
			return err
		}
		if err := sw.Write(block); err != nil {
			return err
		}
		return sw.Close()
	})
}

func (b *bench) live() *workspace.Live {
	b.Helper()
	b.open()
	l, err := b.w.Live(b.Context(), b.w.Config.Embeddings[0])
	b.must(err)
	return l
}

// stages indexes and scores.
func (b *bench) stages() {
	b.Helper()
	b.open()
	for _, s := range []task.Stage{&index.Stage{W: b.w}, &score.Stage{W: b.w}} {
		b.must(stage.All(b.Context(), b.w, s, &stage.Summary{}))
	}
}

func TestWorkspaceFromNothingToDone(t *testing.T) {
	b := newBench(t)
	r := b.report()
	if r.Exists || len(r.Stale) > 0 || r.Next[0].Command != "winnow run" {
		t.Errorf("nothing there: %+v", r)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(b.app.Globals.Config), "ws")); !os.IsNotExist(err) {
		t.Errorf("looking made the workspace: %v", err)
	}

	b.assets(image("a0", "1"), image("a1", "1"), image("a2", "1"), image("a3", "1"), image("bad", "1"), image("busy", "1"), assetRow{AssetID: "text", Text: "x", Source: "notes"})
	r = b.report()
	if d := cmp.Diff([]Source{{"field", 6}, {"notes", 1}}, r.Assets.Sources); d != "" || r.Assets.Rows != 7 {
		t.Errorf("%d assets: %s", r.Assets.Rows, d)
	}
	e := r.Embeddings[0]
	if e.Content != 6 || e.Embedded != 0 || e.Todo != 6 || e.Index != nil || r.Functions[0].State != Waiting {
		t.Errorf("before embed: %+v, %+v", e, r.Functions)
	}

	b.embed("a0", "1", "a1", "1", "a2", "1", "a3", "1")
	fp := b.live().Fingerprint
	b.must(b.w.AppendRejects(t.Context(), "r1", "embed x", []pipeline.Reject{
		{AssetID: "bad", Version: "1", Stage: "embed", Subject: fp, Reason: "truncated", Error: "ends early"},
		{AssetID: "busy", Version: "1", Stage: "embed", Subject: fp, Reason: "unavailable", Error: "503", Transient: true},
		{AssetID: "a0", Version: "0", Stage: "embed", Subject: fp, Reason: "corrupt", Error: "of an older version"},
		{AssetID: "bad", Version: "1", Stage: "embed", Subject: "other model", Reason: "corrupt", Error: "of another model"},
		{Stage: "ingest", Source: "file:///m.jsonl", Line: 7, Reason: "invalid_row", Error: "no JSON"},
	}))
	r = b.report()
	e = r.Embeddings[0]
	if e.Content != 6 || e.Embedded != 4 || e.Todo != 1 || e.Rejected != 1 || e.Shards != 1 || e.Rows != 4 || e.Bytes == 0 {
		t.Errorf("after embed: %+v", e)
	}
	wantReasons := []workspace.RejectReason{
		{Reason: "truncated", Rows: 1, Examples: []workspace.RejectExample{{AssetID: "bad", Error: "ends early"}}},
		{Reason: "unavailable", Rows: 1, Transient: true, Examples: []workspace.RejectExample{{AssetID: "busy", Error: "503"}}},
	}
	if d := cmp.Diff(wantReasons, e.Reasons); d != "" {
		t.Errorf("reasons (-want +got)\n%s", d)
	}
	if len(r.Assets.Rejected) != 1 || r.Assets.Rejected[0].Examples[0].Line != 7 {
		t.Errorf("rows of manifests: %+v", r.Assets.Rejected)
	}
	if r.Functions[0].State != NotScored {
		t.Errorf("functions: %+v", r.Functions)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(b.app.Globals.Config), "ws", "stats")); !os.IsNotExist(err) {
		t.Errorf("looking made statistics: %v", err)
	}

	b.stages()
	r = b.report()
	e = r.Embeddings[0]
	if e.Index == nil || !e.Index.Fresh || e.Index.Rows != 4 || e.Index.Kind != "flat" || e.Index.Recall10 != 1 || r.Functions[0].State != Scored {
		t.Errorf("after index and score: %+v, %+v", e.Index, r.Functions)
	}
	if d := cmp.Diff([]string{"1 row to embed in image", "batch fruit was never made"}, r.Stale); d != "" {
		t.Errorf("stale (-want +got)\n%s", d)
	}
}

func TestWorkspaceGoesStale(t *testing.T) {
	b := newBench(t)
	b.assets(image("a0", "1"), image("a1", "1"), image("a2", "1"), image("a3", "1"))
	b.embed("a0", "1", "a1", "1", "a2", "1", "a3", "1")
	b.stages()
	// a2 changed, a3 went, a4 came and is embedded, a5 came and is not.
	b.assets(image("a0", "1"), image("a1", "1"), image("a2", "2"), image("a4", "1"), image("a5", "1"))
	b.embed("a4", "1")
	r := b.report()
	e := r.Embeddings[0]
	if e.Embedded != 3 || e.Todo != 2 || e.Rows != 5 || e.Shards != 2 {
		t.Errorf("embedding: %+v", e)
	}
	if i := e.Index; i == nil || i.Fresh || i.Behind != 1 || i.Gone != 2 {
		t.Errorf("index: %+v", e.Index)
	}
	if f := r.Functions[0]; f.State != Stale || !strings.Contains(f.What, "1 of 2 shards") {
		t.Errorf("function: %+v", f)
	}
	// Without its anchor the function cannot be scored.
	b.assets(image("a1", "1"))
	r = b.report()
	if f := r.Functions[0]; f.State != Broken || !strings.Contains(f.What, `anchor "a0"`) {
		t.Errorf("function without its anchor: %+v", f)
	}
	if len(r.Problems) > 0 {
		t.Errorf("a broken function is no unreadable workspace: %v", r.Problems)
	}
}

func TestWorkspaceBatchesAndRuns(t *testing.T) {
	b := newBench(t)
	b.assets(image("a0", "1"))
	type row struct {
		AssetID string `parquet:"asset_id"`
		Name    string `parquet:"name"`
		Slot    string `parquet:"slot"`
	}
	schema := table.Schema{{Name: "asset_id", Type: table.String}, {Name: "name", Type: table.String}, {Name: "slot", Type: table.String}}
	add := func(slot string, ids ...string) {
		var rows []row
		for _, id := range ids {
			rows = append(rows, row{id, "fruit", slot})
		}
		b.put(workspace.BatchedRoot, schema, false, int64(len(rows)), func(w io.Writer) error { return parquet.Write(w, rows) })
	}
	add("s1", "a0", "a1")
	add("s2", "a2")
	write := func(key, text string) { b.must(b.w.Store.WriteAll(t.Context(), key, []byte(text))) }
	write("runs/20260101T000000.000Z/run.json", `{"run":"20260101T000000.000Z","started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:05Z","ok":true}`)
	write("runs/nightly/run.json", `{"run":"nightly","started":"2026-01-02T00:00:00Z","finished":"2026-01-02T00:00:09Z","ok":false,"error":"no disk"}`)
	write("runs/20260103T000000.000Z/embed/plan.json", `{}`)
	write("embeddings/old/aaaa/_delta_log/x", "")
	r := b.report()
	want := []Batch{{Name: "fruit", Slot: "s1", Rows: 2}, {Name: "fruit", Slot: "s2", Rows: 1}}
	if d := cmp.Diff(want, r.Batches, cmpopts.IgnoreFields(Batch{}, "Made", "Dir")); d != "" {
		t.Errorf("batches (-want +got)\n%s", d)
	}
	if m := r.Batches[0]; time.Since(m.Made).Abs() > time.Hour || !strings.HasSuffix(m.Dir, "/ws/batches/fruit/s1") {
		t.Errorf("batch: %+v", m)
	}
	if r.LastRun == nil || r.LastRun.Run != "nightly" || r.LastRun.Error != "no disk" {
		t.Errorf("last run: %+v", r.LastRun)
	}
	// Somebody is at work.
	lock, err := b.w.Store.Lock(t.Context(), "workspace", store.LockOptions{Holder: "run r9"})
	b.must(err)
	defer lock.Unlock(t.Context())
	if r = b.report(); r.Lock == nil || r.Lock.Holder != "run r9" || r.Lock.Stale {
		t.Errorf("lock: %+v", r.Lock)
	}
	// A damaged record is told, and the rest stands.
	write("runs/nightly/run.json", `{`)
	if r = b.report(); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "runs/nightly/run.json is damaged") || r.Assets.Rows != 1 {
		t.Errorf("a damaged record: %v", r.Problems)
	}
}

func TestMeasuredFunctions(t *testing.T) {
	b := newBench(t)
	b.assets(image("a0", "1"), image("a1", "1"), image("a2", "1"), image("a3", "1"))
	b.embed("a0", "1", "a1", "1", "a2", "1", "a3", "1")
	b.stages()
	record := func(finished time.Time, rule string) {
		b.must(b.w.Store.WriteAll(t.Context(), "runs/r1/run.json", fmt.Appendf(nil,
			`{"run":"r1","started":%q,"finished":%q,"ok":true,"functions":[{"name":"apples","rule":%q,"threshold":1.5,"matches":2}]}`,
			finished.Add(-time.Second).Format(time.RFC3339Nano), finished.Format(time.RFC3339Nano), rule)))
	}
	record(time.Now().Add(time.Minute), "auto")
	f := b.report().Functions[0]
	if f.Threshold == nil || *f.Threshold != 1.5 || f.Matches == nil || *f.Matches != 2 {
		t.Errorf("as the last run measured: %+v", f)
	}
	record(time.Now().Add(-time.Hour), "auto")
	if f = b.report().Functions[0]; f.Threshold != nil {
		t.Errorf("the scores are younger than the record: %+v", f)
	}
	record(time.Now().Add(time.Minute), "top 5")
	if f = b.report().Functions[0]; f.Threshold != nil {
		t.Errorf("the record is of another rule: %+v", f)
	}
}
