package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"iter"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"winnow/pipeline"
)

// memFiles is a WriteFunc into memory.
type memFiles map[string][]byte

func (m memFiles) write(key string, fn func(io.Writer) error) error {
	var b bytes.Buffer
	if err := fn(&b); err != nil {
		return err
	}
	m[key] = b.Bytes()
	return nil
}

func rowsOf(rows ...*BatchRow) iter.Seq2[*BatchRow, error] {
	return func(yield func(*BatchRow, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func emitOrFail(t *testing.T, e Emission, names ...string) (memFiles, *BatchResult) {
	t.Helper()
	files := memFiles{}
	e.Write = files.write
	res, err := Emit(context.Background(), e, names)
	if err != nil {
		t.Fatal(err)
	}
	return files, res
}

// greyJPEG is a small picture whose bytes do not change between runs.
func greyJPEG(w, h int) []byte {
	im := image.NewGray(image.Rect(0, 0, w, h))
	for i := range im.Pix {
		im.Pix[i] = color.Gray{Y: uint8(i * 7)}.Y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// fruitBatch has a picture, a right-to-left text, hostile strings, a long id, a
// row without scores, and metadata of every kind.
func fruitBatch() Emission {
	threshold := 2.1
	info := &BatchInfo{
		Name: "fruit", Slot: "2026-03-02T06:00Z", Run: "r1", Program: "winnow test", ConfigHash: "c0ffee",
		Settings: []Setting{{"where", "ripe_apples_match AND metadata.source = 'field'"}},
		Tables:   []TableVersion{{"assets", 3}, {"scores/image", 7}},
		Models:   []ModelInfo{{Embedding: "image", Model: "efficientnet-lite0", Fingerprint: "fp1"}},
		Functions: []FunctionInfo{
			{Name: "ripe_apples", Version: "v1", Embedding: "image", Combine: "lda", Threshold: &threshold},
			{Name: "about_food", Version: "v2", Embedding: "text", Combine: "mean"},
		},
		Funnel: Funnel{{"assets", 785}, {"where", 120}, {"selected", 5}},
	}
	taken := time.Date(2024, 5, 1, 12, 0, 0, 0, time.FixedZone("", 7200))
	nan := float32(math.NaN())
	rows := []*BatchRow{
		{Rank: 1, AssetID: "fruit/apple.png", URI: "file:///data/fruit/apple%20red.png", Caption: "A red apple.", MediaType: "image/png",
			Version: "e1", ContentHash: "h1", Objective: "top", Reason: "rank 1 of ripe_apples",
			Scores:   []FunctionScore{{Score: 3.25, Percentile: 99.5, Match: true, Anchor: "fruit-0012"}, {Score: .1, Percentile: nan}},
			Metadata: []MetadataValue{{"source", "field"}, {"count", 3}, {"weight", 1.5}, {"taken", taken}, {"ok", true}, {"tags", []string{"a", "b"}}, {"mixed", 1}}},
		{Rank: 2, AssetID: `<script>alert("id")</script>`, URI: "https://example.com/x.jpg?a=1&b=2", Caption: `</script><img src=x onerror=alert(1)>`, MediaType: "image",
			Version: "e2", ContentHash: "h2", Objective: "diverse", Reason: `far from "all" <others>`,
			Scores:   []FunctionScore{{Score: -.5, Percentile: 10, Match: false}, NoScore()},
			Metadata: []MetadataValue{{"source", "<b>lab</b>"}, {"count", nil}, {"weight", math.NaN()}, {"mixed", "two"}}},
		{Rank: 3, AssetID: "نص-3", Text: "قال الفلاح إن التفاح نضج.", MediaType: "text", Version: "e3", ContentHash: "h3", Objective: "random", Reason: "drawn with seed 7",
			Scores: []FunctionScore{NoScore(), {Score: .9, Percentile: 97, Match: true, Anchor: "text: food"}}},
		{Rank: 4, AssetID: strings.Repeat("very/long/", 25) + "id.jpg", URI: "s3://bucket/a b#1.jpg", MediaType: "image", Version: "e4", Objective: "top",
			Scores: []FunctionScore{{Score: 2.5, Percentile: 98, Match: true, Anchor: "fruit-0340"}, {Score: .3, Percentile: nan}}},
		{Rank: 5, AssetID: "gone.jpg", URI: "azblob://c/gone.jpg", Caption: "消えたリンゴ", MediaType: "image", Version: "e5",
			Scores: []FunctionScore{NoScore(), NoScore()}},
	}
	return Emission{
		Info: info, Rows: rowsOf(rows...),
		Thumb: func(_ context.Context, r *BatchRow) ([]byte, error) {
			if r.AssetID == "gone.jpg" {
				return nil, errors.New("not found")
			}
			return greyJPEG(24, 16), nil
		},
		Size: func(_ context.Context, r *BatchRow) (int, int, error) {
			if r.AssetID == "gone.jpg" {
				return 0, 0, pipeline.Rowf(pipeline.ReasonNotFound, "no such file")
			}
			return 640, 480, nil
		},
		Labelbox: LabelboxOptions{
			URIRewrite: []URIRule{{From: "s3://bucket/", To: "https://cdn.example.com/"}},
			Priority:   2, Consensus: &LabelboxConsensus{Labels: 3, Coverage: .1},
		},
	}
}

var inlineCode = regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>`)
var dataURIs = regexp.MustCompile(`data:image/jpeg;base64,[^"]*`)
var cspHashes = regexp.MustCompile(`sha256-[A-Za-z0-9+/=&#;]+`)

// TestGoldenBatch compares every text file of a small batch with testdata/batch.
// UPDATE_GOLDEN=1 rewrites them.
func TestGoldenBatch(t *testing.T) {
	files, res := emitOrFail(t, fruitBatch(), EmitterNames()...)
	if got := res.Files[len(res.Files)-1].Key; got != "lineage.json" {
		t.Errorf("last file is %s; lineage.json must mark the end", got)
	}
	for _, f := range res.Files {
		sum := sha256.Sum256(files[f.Key])
		if hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(files[f.Key])) != f.Size {
			t.Errorf("%s: size or hash in the result differ from the file", f.Key)
		}
	}
	parquetBytes := files["batch.parquet"]
	delete(files, "batch.parquet") // checked by TestParquetBatch
	delete(files, "batch.arrow")   // lineage.json has its hash, TestArrowBatch reads it
	page := inlineCode.ReplaceAll(files["batch.html"], []byte("<$1></$2>"))
	page = dataURIs.ReplaceAll(page, []byte("data:X")) // the JPEG encoder is Go's business
	files["batch.html"] = cspHashes.ReplaceAll(page, []byte("sha256-X"))
	sum := sha256.Sum256(parquetBytes)
	files["lineage.json"] = bytes.ReplaceAll(files["lineage.json"], []byte(hex.EncodeToString(sum[:])), []byte("PARQUET"))
	files["lineage.json"] = regexp.MustCompile(`("key": "batch.(html|parquet)",\n\s+"size": )\d+,\n(\s+"sha256": )"\w+"`).
		ReplaceAll(files["lineage.json"], []byte("${1}0,\n${3}\"X\""))

	dir := filepath.Join("testdata", "batch")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		for key, b := range files {
			p := filepath.Join(dir, filepath.FromSlash(key))
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, b, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, b := range files {
		want, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(key)))
		if err != nil {
			t.Fatalf("%v; UPDATE_GOLDEN=1 writes it", err)
		}
		if d := cmp.Diff(string(want), string(b)); d != "" {
			t.Errorf("%s (-golden +now):\n%s", key, d)
		}
	}
}

func TestBatchIsReproducible(t *testing.T) {
	a, _ := emitOrFail(t, fruitBatch(), EmitterNames()...)
	b, _ := emitOrFail(t, fruitBatch(), EmitterNames()...)
	for key := range a {
		if !bytes.Equal(a[key], b[key]) {
			t.Errorf("%s differs between two writes of one batch", key)
		}
	}
	other := fruitBatch()
	other.Info.Run = "r2"
	c, _ := emitOrFail(t, other, EmitterNames()...)
	for key := range a {
		if same := bytes.Equal(a[key], c[key]); same != (key != "lineage.json") {
			t.Errorf("%s: same bytes in another run: %v", key, same)
		}
	}
}

func TestParquetBatch(t *testing.T) {
	files, _ := emitOrFail(t, fruitBatch(), "parquet")
	raw := files["batch.parquet"]
	f, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range f.Root().Columns() {
		columns = append(columns, c.Name())
	}
	want := []string{"rank", "asset_id", "uri", "text", "caption", "media_type", "version", "content_hash", "objective", "reason",
		"score_ripe_apples", "pct_ripe_apples", "match_ripe_apples", "anchor_ripe_apples", "version_ripe_apples",
		"score_about_food", "pct_about_food", "match_about_food", "anchor_about_food", "version_about_food", "metadata"}
	if d := cmp.Diff(want, columns); d != "" {
		t.Error("columns (-want +got):\n", d)
	}
	type meta struct {
		Source *string  `parquet:"source,optional"`
		Count  *int64   `parquet:"count,optional"`
		Weight *float64 `parquet:"weight,optional"`
		OK     *bool    `parquet:"ok,optional"`
		Tags   *string  `parquet:"tags,optional"`
		Mixed  *string  `parquet:"mixed,optional"`
	}
	type row struct {
		Rank    int64    `parquet:"rank"`
		AssetID string   `parquet:"asset_id"`
		Text    *string  `parquet:"text,optional"`
		Score   *float32 `parquet:"score_ripe_apples,optional"`
		Pct     *float32 `parquet:"pct_ripe_apples,optional"`
		Match   bool     `parquet:"match_ripe_apples"`
		Anchor  *string  `parquet:"anchor_ripe_apples,optional"`
		Version string   `parquet:"version_about_food"`
		Meta    meta     `parquet:"metadata"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows, want 5", len(rows))
	}
	r := rows[0]
	if r.Rank != 1 || r.AssetID != "fruit/apple.png" || r.Text != nil || *r.Score != 3.25 || *r.Pct != 99.5 || !r.Match || *r.Anchor != "fruit-0012" || r.Version != "v2" {
		t.Errorf("row 1 is %+v", r)
	}
	m := r.Meta
	if *m.Source != "field" || *m.Count != 3 || *m.Weight != 1.5 || !*m.OK || *m.Tags != `["a","b"]` || *m.Mixed != "1" {
		t.Errorf("metadata of row 1 is %+v", m)
	}
	if rows[1].Meta.Count != nil || rows[1].Meta.Weight != nil || *rows[1].Meta.Mixed != "two" {
		t.Errorf("metadata of row 2 is %+v", rows[1].Meta)
	}
	if rows[2].Score != nil || rows[2].Meta.Source != nil || *rows[2].Text == "" {
		t.Errorf("row 3 is %+v", rows[2])
	}
	if v, ok := f.Lookup("winnow.functions"); !ok || !strings.Contains(v, `"version":"v1"`) {
		t.Errorf("winnow.functions is %q", v)
	}
}

func TestParquetManyRowGroups(t *testing.T) {
	const n = parquetGroupRows + 1000
	rows := func(yield func(*BatchRow, error) bool) {
		for i := int64(1); i <= n; i++ {
			if !yield(&BatchRow{Rank: i, AssetID: fmt.Sprint("a", i)}, nil) {
				return
			}
		}
	}
	files, res := emitOrFail(t, Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rows}, "parquet")
	raw := files["batch.parquet"]
	f, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumRows() != n || res.Rows != n || len(f.RowGroups()) < 2 {
		t.Errorf("%d rows in %d groups, want %d in 2", f.NumRows(), len(f.RowGroups()), n)
	}
}

func TestEmitRefuses(t *testing.T) {
	ok := func(rank int64) *BatchRow { return &BatchRow{Rank: rank, AssetID: fmt.Sprint("a", rank)} }
	fails := func(yield func(*BatchRow, error) bool) {
		_ = yield(ok(1), nil) && yield(nil, errors.New("disk on fire"))
	}
	shrinks := func() iter.Seq2[*BatchRow, error] {
		pass := 0
		return func(yield func(*BatchRow, error) bool) {
			pass++
			for i := 1; i <= 4-pass; i++ {
				if !yield(ok(int64(i)), nil) {
					return
				}
			}
		}
	}
	info := &BatchInfo{Name: "b", Slot: "s"}
	cases := []struct {
		name  string
		e     Emission
		emit  string
		want  string
		usage bool
	}{
		{"unknown format", Emission{Info: info, Rows: rowsOf()}, "xml", `unknown format "xml"; known: arrow, coco, cvat, fiftyone, ground-truth, html, huggingface, jsonl, label-studio, labelbox, parquet`, true},
		{"bad priority", Emission{Info: info, Rows: rowsOf(), Labelbox: LabelboxOptions{Priority: 6}}, "labelbox", "priority is 6", true},
		{"bad consensus", Emission{Info: info, Rows: rowsOf(), Labelbox: LabelboxOptions{Consensus: &LabelboxConsensus{1, math.NaN()}}}, "labelbox", "coverage is NaN", true},
		{"rule to s3", Emission{Info: info, Rows: rowsOf(), Labelbox: LabelboxOptions{URIRewrite: []URIRule{{"a", "s3://b"}}}}, "labelbox", "refuses s3:/", true},
		{"gap in ranks", Emission{Info: info, Rows: rowsOf(ok(1), ok(3))}, "jsonl", `"a3" has rank 3 where 2 is due`, false},
		{"no id", Emission{Info: info, Rows: rowsOf(&BatchRow{Rank: 1})}, "jsonl", "row 1 has no asset_id", false},
		{"scores missing", Emission{Info: &BatchInfo{Name: "b", Functions: []FunctionInfo{{Name: "f"}}}, Rows: rowsOf(ok(1))}, "jsonl", "0 scores for 1 functions", false},
		{"metadata twice", Emission{Info: info, Rows: rowsOf(&BatchRow{Rank: 1, AssetID: "a", Metadata: []MetadataValue{{"x", 1}, {"x", 2}}})}, "jsonl", `metadata "x" twice`, false},
		{"rows fail", Emission{Info: info, Rows: fails}, "jsonl", "disk on fire", false},
		{"rows change", Emission{Info: info, Rows: shrinks()}, "jsonl", "had 3 rows and now has 2", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files := memFiles{}
			c.e.Write = files.write
			_, err := Emit(context.Background(), c.e, []string{c.emit})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want %q", err, c.want)
			}
			var usage *pipeline.UsageError
			if errors.As(err, &usage) != c.usage {
				t.Errorf("usage error: %v, want %v", !c.usage, c.usage)
			}
			if len(files) != 0 {
				t.Errorf("files were written: %v", files)
			}
		})
	}
}

func TestEmitFailedWrite(t *testing.T) {
	e := fruitBatch()
	full := errors.New("no space")
	for _, key := range []string{"batch.arrow", "batch.jsonl", "batch.parquet", "batch.html", "labelbox/data_rows.json", "labelbox/batch.json", "lineage.json"} {
		files := memFiles{}
		e.Write = func(k string, fn func(io.Writer) error) error {
			if k == key {
				return fn(failingWriter{full})
			}
			return files.write(k, fn)
		}
		_, err := Emit(context.Background(), e, EmitterNames())
		if !errors.Is(err, full) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: error is %v", key, err)
		}
		if files["lineage.json"] != nil {
			t.Errorf("%s failed and lineage.json says that the batch is complete", key)
		}
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestEmitRepeatedWrite(t *testing.T) {
	want, res := emitOrFail(t, fruitBatch(), EmitterNames()...)
	e := fruitBatch()
	files := memFiles{}
	e.Write = func(key string, fn func(io.Writer) error) error {
		_ = fn(failingWriter{errors.New("connection reset")}) // a store tries again
		return files.write(key, fn)
	}
	got, err := Emit(context.Background(), e, EmitterNames())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(res, got); d != "" {
		t.Error("result after repeated writes (-once +twice):\n", d)
	}
	if d := cmp.Diff(want, files); d != "" {
		t.Error("files after repeated writes (-once +twice):\n", d)
	}
}

func TestEmitCancelled(t *testing.T) {
	stop := errors.New("stopped by test")
	for _, name := range EmitterNames() {
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		e := fruitBatch()
		inner := e.Rows
		pass := 0
		e.Rows = func(yield func(*BatchRow, error) bool) {
			if pass++; pass == 2 {
				cancel(stop)
			}
			inner(yield)
		}
		e.Write = memFiles{}.write
		if _, err := Emit(ctx, e, []string{name}); !errors.Is(err, stop) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestEmptyBatch(t *testing.T) {
	files, res := emitOrFail(t, Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rowsOf()}, EmitterNames()...)
	if got := string(files["labelbox/data_rows.json"]); got != "[]\n" {
		t.Errorf("data_rows.json is %q", got)
	}
	if files["labelbox/batch.json"] != nil {
		t.Error("Labelbox refuses an empty batch, and batch.json was written")
	}
	if !strings.Contains(string(files["batch.html"]), "This batch has no rows.") {
		t.Error("the contact sheet does not say that the batch is empty")
	}
	if res.Rows != 0 || len(files["batch.jsonl"]) != 0 || files["batch.parquet"] == nil {
		t.Errorf("rows %d, files %v", res.Rows, files)
	}
}

func TestMetaValue(t *testing.T) {
	type named string
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	big128, _ := new(big.Int).SetString("170141183460469231731687303715884105727", 10)
	x := 7
	cases := []struct{ in, want any }{
		{nil, nil}, {true, true}, {"s", "s"}, {named("n"), "n"}, {"a\xffb", "a\uFFFDb"}, {[]byte("raw"), "raw"},
		{int8(-3), int64(-3)}, {uint32(9), int64(9)}, {uint64(math.MaxUint64), "18446744073709551615"},
		{float32(.1), .1}, {2.5, 2.5}, {math.Inf(1), nil}, {math.NaN(), nil}, {&x, int64(7)}, {(*int)(nil), nil},
		{at, at.UTC()}, {json.Number("12"), int64(12)}, {json.Number("1e3"), 1000.}, {json.Number("123456789012345678901"), "123456789012345678901"},
		{json.RawMessage(`{"b":1,"a":[1, 2]}`), json.RawMessage(`{"a":[1,2],"b":1}`)}, {json.RawMessage(`"t"`), "t"}, {json.RawMessage(`not json`), "not json"},
		{[]any{1, math.NaN(), "<"}, json.RawMessage(`[1,null,"<"]`)}, {map[int]any{2: at}, json.RawMessage(`{"2":"2024-01-02T02:04:05Z"}`)},
		{big128, "170141183460469231731687303715884105727"}, {3 * time.Second, int64(3e9)},
	}
	for _, c := range cases {
		if d := cmp.Diff(c.want, metaValue(c.in)); d != "" {
			t.Errorf("metaValue(%T %v) (-want +got):\n%s", c.in, c.in, d)
		}
	}
}

func TestMetaColumnKinds(t *testing.T) {
	cases := []struct {
		values []any
		want   kind
	}{
		{[]any{nil}, kindNone}, {[]any{nil, true}, kindBool}, {[]any{1, 2}, kindInt}, {[]any{1, 2.5}, kindFloat}, {[]any{2.5, 1}, kindFloat},
		{[]any{1, "a"}, kindText}, {[]any{true, 1}, kindText}, {[]any{[]int{1}}, kindText}, {[]any{time.Now(), time.Now()}, kindTime},
		{[]any{int64(1<<60) + 1, 2.5}, kindText}, {[]any{int64(1<<60) + 1}, kindInt}, {[]any{1, "a", 2}, kindText},
	}
	for _, c := range cases {
		var col metaColumn
		for _, v := range c.values {
			col.add(metaValue(v))
		}
		if col.Kind != c.want {
			t.Errorf("%v: kind %d, want %d", c.values, col.Kind, c.want)
		}
	}
}

// A rule such as {top: 500} may come to no number: that must not break a file.
func TestThresholdThatIsNoNumber(t *testing.T) {
	e := fruitBatch()
	for _, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		e.Info.Functions[0].Threshold = &v
		files, _ := emitOrFail(t, e, EmitterNames()...)
		for _, key := range []string{"lineage.json", "batch.html"} {
			text := string(inlineCode.ReplaceAll(files[key], nil))
			if strings.Contains(text, "Inf") || strings.Contains(text, "NaN") {
				t.Errorf("threshold %v: %s shows it", v, key)
			}
		}
		if e.Info.Functions[0].Threshold == nil {
			t.Error("the caller's info was changed")
		}
	}
}

func TestFunnelString(t *testing.T) {
	f := Funnel{{"assets", 785}, {"where", 120}, {"not batched", 100}, {"deduped", 90}, {"selected", 20}}
	if got, want := f.String(), "785 → where 120 → not batched 100 → deduped 90 → selected 20"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmitterNamesSorted(t *testing.T) {
	if names := EmitterNames(); !slices.IsSorted(names) || len(names) != len(emitters) {
		t.Errorf("names are %v", names)
	}
}
