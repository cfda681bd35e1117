package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/pipeline"
)

// labelingTools are the emitters that share the type tool, with their files.
var labelingTools = map[string]string{
	"label-studio": "label-studio/tasks%s.json", "cvat": "cvat/manifest%s.jsonl", "ground-truth": "ground-truth/input%s.manifest",
	"coco": "coco/images%s.json", "fiftyone": "fiftyone/samples%s.json", "huggingface": "huggingface/metadata%s.jsonl",
}

// toolRows are the rows of a tool's file, by the tool's own idea of the file.
func toolRows(t *testing.T, name string, raw []byte) []map[string]any {
	t.Helper()
	var rows []map[string]any
	var err error
	switch name {
	case "label-studio":
		err = json.Unmarshal(raw, &rows)
	case "coco":
		var doc struct {
			Info                              map[string]any
			Licenses, Annotations, Categories []any
			Images                            []map[string]any
		}
		err = json.Unmarshal(raw, &doc)
		rows = doc.Images
		if doc.Annotations == nil || doc.Categories == nil || doc.Licenses == nil || doc.Info == nil {
			t.Errorf("coco: a part is missing: %s", raw)
		}
	case "fiftyone":
		var doc struct{ Samples []map[string]any }
		err = json.Unmarshal(raw, &doc)
		rows = doc.Samples
	default:
		if len(raw) > 0 && raw[len(raw)-1] != '\n' {
			t.Errorf("%s: the last line does not end", name)
		}
		lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
		if name == "cvat" {
			if d := cmp.Diff([]string{`{"version":"1.1"}`, `{"type":"images"}`}, lines[:2]); d != "" {
				t.Error(d)
			}
			lines = lines[2:]
		}
		for _, l := range lines {
			if l == "" {
				continue
			}
			row := map[string]any{}
			err = errors.Join(err, json.Unmarshal([]byte(l), &row))
			rows = append(rows, row)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return rows
}

// dig follows keys into nested objects.
func dig(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// toolID is the asset that a tool's row is of.
func toolID(row map[string]any) string {
	for _, path := range [][]string{{"asset_id"}, {"data", "asset_id"}, {"meta", "asset_id"}, {"winnow", "asset_id"}} {
		if s, ok := dig(row, path...).(string); ok {
			return s
		}
	}
	return ""
}

// hostileBatch has what breaks writers that concatenate: quotes, line ends of
// every kind, HTML, emoji, zero bytes, broken UTF-8, ids over 200 characters,
// names that mean something to a tool, no metadata at all, and nested metadata.
func hostileBatch() Emission {
	base := "s3://bucket/photos/"
	ids := []string{`say "hi".jpg`, "line\nbreak\r\n.jpg", "<script>alert(1)</script>.jpg", "🍎 apple 家.jpg", "nul\x00byte.jpg", "bad\xffutf8.jpg",
		strings.Repeat("deep/", 60) + "id.jpg", ".hidden", "no_extension", "dots.in.name.tar.gz", `back\slash.jpg`, "u2028\u2028sep.jpg", "sub/dir/", "%41?x=1#f.jpg"}
	var rows []*BatchRow
	for i, id := range ids {
		rows = append(rows, &BatchRow{Rank: int64(i + 1), AssetID: id, URI: base + id, Caption: "caption of " + id, MediaType: "image/jpeg", Reason: id,
			Scores: []FunctionScore{{Score: float32(i), Percentile: 50, Match: i%2 == 0}}})
	}
	rows[0].Metadata = []MetadataValue{{"nested", map[string]any{"a": []any{1, map[string]any{"b": "\x00 \\u0000"}}, "related_images": []string{"x"}}}, {"image", "mine"},
		{"filepath", "/etc/passwd"}, {"_id", "x"}, {"a.b", 1}, {"$ref", true}, {"file_name", "../../etc/passwd"}, {"mask_file_name", "x.png"}, {"id", 7}, {"$undefined$", 1}, {"", nil}}[:10]
	rows[1].Metadata = []MetadataValue{{"long", strings.Repeat("é", 30_000)}, {"number", 1}}
	rows[2].Metadata = []MetadataValue{{"number", 1.5}, {"big", int64(9007199254740993)}}
	return Emission{Info: &BatchInfo{Name: "odd", Slot: "s", Functions: []FunctionInfo{{Name: "f", Version: "v"}}}, Rows: rowsOf(rows...),
		Size: func(context.Context, *BatchRow) (int, int, error) { return 4, 3, nil }}
}

func TestHostileRowsReachEveryTool(t *testing.T) {
	e := hostileBatch()
	var want []string
	for r := range e.Rows {
		want = append(want, validUTF8(r.AssetID))
	}
	for name, file := range labelingTools {
		t.Run(name, func(t *testing.T) {
			files, _ := emitOrFail(t, e, name)
			raw := files[fmt.Sprintf(file, "")]
			if !json.Valid(raw) && (name == "label-studio" || name == "coco" || name == "fiftyone") {
				t.Fatal("not JSON")
			}
			got := map[string]bool{}
			for _, row := range toolRows(t, name, raw) {
				if got[toolID(row)] {
					t.Errorf("%q twice", toolID(row))
				}
				got[toolID(row)] = true
			}
			for _, id := range want {
				if name == "label-studio" || name == "fiftyone" {
					id = strings.ReplaceAll(id, "\x00", "\uFFFD")
				}
				if !got[id] {
					t.Errorf("no row of %q; left out: %s", id, files[name+"/left_out.jsonl"])
				}
			}
		})
	}
}

func TestToolFields(t *testing.T) {
	e := hostileBatch()
	files, res := emitOrFail(t, e, "label-studio", "cvat", "ground-truth", "coco", "fiftyone", "huggingface")
	row := func(name string, i int) map[string]any {
		return toolRows(t, name, files[fmt.Sprintf(labelingTools[name], "")])[i]
	}
	checks := []struct {
		tool string
		row  int
		path []string
		want any
	}{
		{"label-studio", 0, []string{"data", "image"}, `s3://bucket/photos/say "hi".jpg`},
		{"label-studio", 0, []string{"data", "image_"}, "mine"},
		{"label-studio", 0, []string{"data", "$undefined$_"}, 1.0},
		{"label-studio", 0, []string{"data", "nested", "related_images"}, []any{"x"}},
		{"label-studio", 0, []string{"meta", "batch"}, "odd"},
		{"label-studio", 2, []string{"data", "score_f"}, 2.0},
		{"cvat", 0, []string{"name"}, `say "hi"`},
		{"cvat", 0, []string{"extension"}, ".jpg"},
		{"cvat", 0, []string{"width"}, 4.0},
		{"cvat", 0, []string{"meta", "related_images"}, nil}, // it would mean something to CVAT
		{"cvat", 7, []string{"name"}, ".hidden"},
		{"cvat", 7, []string{"extension"}, ""},
		{"cvat", 9, []string{"name"}, "dots.in.name.tar"},
		{"cvat", 12, []string{"name"}, "sub/dir/"},
		{"ground-truth", 0, []string{"source-ref"}, `s3://bucket/photos/say "hi".jpg`},
		{"ground-truth", 1, []string{"metadata"}, nil}, // 30,000 characters: over the limit of an attribute
		{"ground-truth", 1, []string{"scores", "f"}, 1.0},
		{"coco", 3, []string{"file_name"}, "🍎 apple 家.jpg"},
		{"coco", 3, []string{"id"}, 4.0},
		{"coco", 0, []string{"winnow", "metadata", "id"}, 7.0},
		{"fiftyone", 0, []string{"filepath"}, `s3://bucket/photos/say "hi".jpg`},
		{"fiftyone", 0, []string{"filepath_"}, "/etc/passwd"},
		{"fiftyone", 0, []string{"id_"}, "x"}, // _id, without what FiftyOne refuses
		{"fiftyone", 0, []string{"id__"}, 7.0},
		{"fiftyone", 0, []string{"a_b"}, 1.0},
		{"fiftyone", 0, []string{"ref"}, true},
		{"fiftyone", 0, []string{"match_f"}, true},
		{"huggingface", 0, []string{"file_name"}, `say "hi".jpg`},
		{"huggingface", 0, []string{"file_name_"}, "../../etc/passwd"},
		{"huggingface", 0, []string{"mask_file_name_"}, "x.png"},
		{"huggingface", 2, []string{"big"}, 9007199254740993.0},
	}
	for _, c := range checks {
		if d := cmp.Diff(c.want, dig(row(c.tool, c.row), c.path...)); d != "" {
			t.Errorf("%s, row %d, %s (-want +got):\n%s", c.tool, c.row, strings.Join(c.path, "."), d)
		}
	}
	// Numbers of one column are of one type for readers that learn types.
	if raw := files["huggingface/metadata.jsonl"]; !bytes.Contains(raw, []byte(`"number":1.0,`)) || !bytes.Contains(raw, []byte(`"score_f":3.0,`)) {
		t.Errorf("an integer in a column of numbers: %s", raw)
	}
	// Zero bytes would break PostgreSQL; a text that only looks like one stays.
	nested := dig(row("label-studio", 0), "data", "nested", "a").([]any)
	if d := cmp.Diff("\uFFFD \\u0000", dig(nested[1], "b")); d != "" {
		t.Error(d)
	}
	for _, row := range toolRows(t, "huggingface", files["huggingface/metadata.jsonl"]) {
		if len(row) != len(toolRows(t, "huggingface", files["huggingface/metadata.jsonl"])[0]) {
			t.Errorf("huggingface: %q has other columns", row["asset_id"])
		}
	}
	var said []string
	for _, w := range res.Warnings {
		said = append(said, w.String())
	}
	for _, want := range []string{"cvat: names are relative to s3://bucket/photos/", "ground-truth: 1 row with a caption or metadata over 20,000", "fiftyone: 14 rows with a picture that is no file of this machine"} {
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("no warning %q in:\n%s", want, strings.Join(said, "\n"))
		}
	}
}

// manyPictures is a batch of n pictures, made anew for each pass.
func manyPictures(n int64) iter.Seq2[*BatchRow, error] {
	return func(yield func(*BatchRow, error) bool) {
		for i := int64(1); i <= n; i++ {
			if !yield(&BatchRow{Rank: i, AssetID: fmt.Sprint("a", i), URI: fmt.Sprintf("s3://b/%d.jpg", i), MediaType: "image"}, nil) {
				return
			}
		}
	}
}

func TestToolsSplit(t *testing.T) {
	for names, n := range map[string]int64{"cvat": 100_010, "coco,cvat,fiftyone,ground-truth,huggingface,label-studio": 3_001} {
		var asked atomic.Int64
		e := Emission{Info: &BatchInfo{Name: "many", Slot: "s"}, Rows: manyPictures(n), limits: toolLimits{rows: 3 * n / 10},
			Size: func(context.Context, *BatchRow) (int, int, error) { asked.Add(1); return 1, 1, nil }}
		files, _ := emitOrFail(t, e, strings.Split(names, ",")...)
		if asked.Load() != n {
			t.Errorf("%s: %d sizes were read for %d pictures", names, asked.Load(), n)
		}
		for _, name := range strings.Split(names, ",") {
			next := int64(1)
			for part := range 4 {
				got := toolRows(t, name, files[fmt.Sprintf(labelingTools[name], fmt.Sprintf("%04d", part))])
				if want := min(e.limits.rows, n-next+1); int64(len(got)) != want {
					t.Errorf("%s: part %d has %d rows, want %d", name, part, len(got), want)
				}
				for _, row := range got {
					if id := toolID(row); id != fmt.Sprint("a", next) {
						t.Fatalf("%s: %q where a%d is due", name, id, next)
					}
					next++
				}
			}
			if files[fmt.Sprintf(labelingTools[name], "0004")] != nil || files[fmt.Sprintf(labelingTools[name], "")] != nil || next != n+1 {
				t.Errorf("%s: a file too many, or rows up to %d", name, next-1)
			}
		}
	}
}

func TestToolsSplitByBytes(t *testing.T) {
	e := hostileBatch()
	e.limits = toolLimits{bytes: 3000}
	for name, file := range labelingTools {
		files, _ := emitOrFail(t, e, name)
		total, parts := 0, 0
		for ; files[fmt.Sprintf(file, fmt.Sprintf("%04d", parts))] != nil; parts++ {
			raw := files[fmt.Sprintf(file, fmt.Sprintf("%04d", parts))]
			rows := toolRows(t, name, raw)
			if len(raw) > 3000 && len(rows) > 1 {
				t.Errorf("%s: part %d has %d bytes and %d rows", name, parts, len(raw), len(rows))
			}
			total += len(rows)
		}
		if total != 14 || parts < 2 {
			t.Errorf("%s: %d rows in %d parts", name, total, parts)
		}
	}
}

func TestToolsLeaveOut(t *testing.T) {
	rows := []*BatchRow{
		{Rank: 1, AssetID: "s3", URI: "s3://b/x/a.jpg?region=eu-west-1", MediaType: "image"},
		{Rank: 2, AssetID: "web", URI: "https://e.org/a%20b.jpg?w=1"},
		{Rank: 3, AssetID: "file", URI: "file:///mnt/p/c%20d.jpg", MediaType: "image"},
		{Rank: 4, AssetID: "text", Text: "words", MediaType: "text"},
		{Rank: 5, AssetID: "long", Text: strings.Repeat("x", 20_001)},
		{Rank: 6, AssetID: "nothing"},
		{Rank: 7, AssetID: "broken", URI: "s3://b/x/broken.jpg"},
		{Rank: 8, AssetID: "video", URI: "s3://b/x/v.mp4", MediaType: "video/mp4"},
		{Rank: 9, AssetID: "azure", URI: "azblob://c/x.jpg"},
		{Rank: 10, AssetID: "odd", URI: "weird:thing"},
	}
	e := Emission{Info: &BatchInfo{Name: "n", Slot: "s"}, Rows: rowsOf(rows...), Size: func(_ context.Context, r *BatchRow) (int, int, error) {
		if r.AssetID == "broken" {
			panic("decoder")
		}
		return 2, 1, nil
	}}
	rewritten := e
	rewritten.URIRewrite = []URIRule{{"file:///mnt/p/", "s3://b/x/"}, {"https://e.org/", "s3://b/web/"}}
	for _, c := range []struct {
		tool string
		e    Emission
		left map[string]string
	}{
		{"label-studio", e, map[string]string{"nothing": noContent, "odd": unreadableURI}},
		{"cvat", e, map[string]string{"web": unreadableURI, "file": elsewhere, "azure": elsewhere, "text": noPicture, "long": noPicture, "nothing": noPicture, "video": noPicture, "broken": noSize, "odd": unreadableURI}},
		{"cvat", rewritten, map[string]string{"azure": elsewhere, "text": noPicture, "long": noPicture, "nothing": noPicture, "video": noPicture, "broken": noSize, "odd": unreadableURI}},
		{"ground-truth", e, map[string]string{"web": notS3, "file": notS3, "azure": notS3, "odd": notS3, "nothing": noContent, "long": tooLong}},
		{"ground-truth", rewritten, map[string]string{"azure": notS3, "odd": notS3, "nothing": noContent, "long": tooLong}},
		{"coco", e, map[string]string{"text": noPicture, "long": noPicture, "nothing": noPicture, "video": noPicture, "broken": noSize, "odd": unreadableURI}},
		{"fiftyone", e, map[string]string{"text": noPicture, "long": noPicture, "nothing": noPicture, "video": noPicture, "odd": unreadableURI}},
		{"huggingface", e, map[string]string{"nothing": noContent, "video": noPicture, "odd": unreadableURI}},
	} {
		files, res := emitOrFail(t, c.e, c.tool)
		got := map[string]string{}
		for _, l := range strings.Split(strings.TrimSpace(string(files[c.tool+"/left_out.jsonl"])), "\n") {
			var row struct {
				ID     string `json:"asset_id"`
				Reason string
			}
			if err := json.Unmarshal([]byte(l), &row); err != nil {
				t.Fatal(err)
			}
			got[row.ID] = row.Reason
		}
		if d := cmp.Diff(c.left, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.tool, d)
		}
		if kept := len(toolRows(t, c.tool, files[fmt.Sprintf(labelingTools[c.tool], "")])); kept+len(got) != len(rows) {
			t.Errorf("%s: %d rows are kept and %d left out of %d", c.tool, kept, len(got), len(rows))
		}
		var warned int64
		for _, w := range res.Warnings {
			if strings.Contains(w.Message, "left out:") {
				warned += w.Rows
			}
		}
		if warned != int64(len(got)) {
			t.Errorf("%s: warned of %d rows of %d", c.tool, warned, len(got))
		}
	}
}

func TestToolURIs(t *testing.T) {
	for _, c := range []struct{ uri, from, to, labelStudio, fiftyOne string }{
		{"file:///mnt/a%20b%26.jpg", "", "", "/data/local-files/?d=mnt/a%20b%26.jpg", "/mnt/a b&.jpg"},
		{"file:///mnt/p/a%20b.jpg", "file:///mnt/", "/data/local-files/?d=", "/data/local-files/?d=p/a%20b.jpg", "/data/local-files/?d=p/a%20b.jpg"},
		{"s3://b/a b.jpg?region=x", "", "", "s3://b/a b.jpg", "s3://b/a b.jpg"},
		{"s3://b/a b#.jpg", "s3://b/", "https://c/", "https://c/a%20b%23.jpg", "https://c/a%20b%23.jpg"},
		{"s3://b/a b.jpg", "s3://b/", "/mnt/", "/data/local-files/?d=mnt/a%20b.jpg", "/mnt/a b.jpg"},
		{"s3://b/a b#.jpg", "s3://b/", "file:///mnt/", "/data/local-files/?d=mnt/a%20b%23.jpg", "/mnt/a b#.jpg"},
		{"file:///mnt/a%20b.jpg", "file:///mnt/", "gs://g/", "gs://g/a b.jpg", "gs://g/a b.jpg"},
		{"azblob://c/x.jpg?domain=y", "", "", "azure-blob://c/x.jpg", "azblob://c/x.jpg"},
	} {
		e := Emission{Info: &BatchInfo{Name: "n", Slot: "s"}, Rows: rowsOf(&BatchRow{Rank: 1, AssetID: "a", URI: c.uri})}
		if c.from != "" {
			e.URIRewrite = []URIRule{{c.from, c.to}}
		}
		files, _ := emitOrFail(t, e, "label-studio", "fiftyone", "jsonl")
		if got := dig(toolRows(t, "label-studio", files["label-studio/tasks.json"])[0], "data", "image"); got != c.labelStudio {
			t.Errorf("label-studio: %s became %v, want %s", c.uri, got, c.labelStudio)
		}
		if got := toolRows(t, "fiftyone", files["fiftyone/samples.json"])[0]["filepath"]; got != c.fiftyOne {
			t.Errorf("fiftyone: %s became %v, want %s", c.uri, got, c.fiftyOne)
		}
		if !bytes.Contains(files["batch.jsonl"], []byte(c.uri)) {
			t.Errorf("batch.jsonl has another uri than %s: %s", c.uri, files["batch.jsonl"])
		}
	}
}

// datasets refuses a column without a value in what it reads first.
func TestHuggingFaceColumnsThatBeginLate(t *testing.T) {
	rows := func(yield func(*BatchRow, error) bool) {
		for i := int64(1); i <= 9; i++ {
			r := &BatchRow{Rank: i, AssetID: fmt.Sprint("a", i), Text: "words", Metadata: []MetadataValue{{"early", i}}}
			if i == 9 {
				r.URI, r.Text = "s3://b/x/p.jpg", ""
				r.Metadata = append(r.Metadata, MetadataValue{"late", 2.5}, MetadataValue{"flag", true})
			}
			if !yield(r, nil) {
				return
			}
		}
	}
	e := Emission{Info: &BatchInfo{Name: "n", Slot: "s"}, Rows: rows}
	files, _ := emitOrFail(t, e, "huggingface")
	if got := toolRows(t, "huggingface", files["huggingface/metadata.jsonl"]); got[0]["late"] != nil || got[8]["late"] != 2.5 {
		t.Errorf("a small file changed: %v", got)
	}
	e.limits.first = 300
	files, res := emitOrFail(t, e, "huggingface")
	got := toolRows(t, "huggingface", files["huggingface/metadata.jsonl"])
	for _, c := range []struct {
		row  int
		name string
		want any
	}{{0, "late", ""}, {8, "late", "2.5"}, {8, "flag", "true"}, {0, "file_name", ""}, {8, "file_name", "p.jpg"}, {0, "early", 1.0}, {8, "text", nil}} {
		if got[c.row][c.name] != c.want {
			t.Errorf("row %d: %s is %v, want %v", c.row, c.name, got[c.row][c.name], c.want)
		}
	}
	if len(res.Warnings) == 0 || !strings.Contains(res.Warnings[0].Message, "columns file_name, flag, late, uri are text") {
		t.Errorf("warnings: %v", res.Warnings)
	}
}

func TestSizesThatMayComeLater(t *testing.T) {
	e := hostileBatch()
	e.Size = func(_ context.Context, r *BatchRow) (int, int, error) {
		if r.Rank == 9 {
			return 0, 0, &pipeline.RowError{Reason: pipeline.ReasonUnavailable, Err: errors.New("503"), Transient: true}
		}
		return 1, 1, nil
	}
	files := memFiles{}
	e.Write = files.write
	var row *pipeline.RowError
	if _, err := Emit(context.Background(), e, []string{"coco"}); !errors.As(err, &row) || !strings.Contains(err.Error(), `"no_extension"`) {
		t.Errorf("a fault that may pass gave %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("called off")
	e.Size = func(ctx context.Context, _ *BatchRow) (int, int, error) {
		cancel(why)
		<-ctx.Done()
		return 0, 0, ctx.Err()
	}
	if _, err := Emit(ctx, e, []string{"cvat"}); !errors.Is(err, why) {
		t.Errorf("an interrupted emission gave %v", err)
	}
}

func TestEmptyBatchForTools(t *testing.T) {
	for name, file := range labelingTools {
		files, _ := emitOrFail(t, Emission{Info: &BatchInfo{Name: "n", Slot: "s"}, Rows: rowsOf()}, name)
		if rows := toolRows(t, name, files[fmt.Sprintf(file, "")]); len(rows) != 0 {
			t.Errorf("%s: %v", name, rows)
		}
	}
}
