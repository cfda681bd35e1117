package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	arrays "github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	gocmp "github.com/google/go-cmp/cmp"
)

// readArrow reads an Arrow file with Apache's library and gives its record batches
// to fn.
func readArrow(t *testing.T, raw []byte, fn func(arrow.Record)) *arrow.Schema {
	t.Helper()
	r, err := ipc.NewFileReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range r.NumRecords() {
		rec, err := r.RecordAt(i)
		if err != nil {
			t.Fatal(err)
		}
		fn(rec)
	}
	return r.Schema()
}

func TestArrowBatch(t *testing.T) {
	files, _ := emitOrFail(t, fruitBatch(), "arrow")
	var rows []map[string]any
	schema := readArrow(t, files["batch.arrow"], func(rec arrow.Record) {
		if text, err := rec.MarshalJSON(); err != nil || json.Unmarshal(text, &rows) != nil {
			t.Fatalf("a record that JSON cannot say: %v", err)
		}
	})
	var columns []string
	for _, f := range schema.Fields() {
		s := f.Name + " " + f.Type.String()
		if f.Nullable {
			s += "?"
		}
		columns = append(columns, s)
	}
	want := []string{"rank int64", "asset_id utf8", "uri utf8?", "text utf8?", "caption utf8?", "media_type utf8?", "version utf8?",
		"content_hash utf8?", "objective utf8?", "reason utf8?",
		"score_ripe_apples float32?", "pct_ripe_apples float32?", "match_ripe_apples bool", "anchor_ripe_apples utf8?", "version_ripe_apples utf8",
		"score_about_food float32?", "pct_about_food float32?", "match_about_food bool", "anchor_about_food utf8?", "version_about_food utf8",
		"metadata struct<source: utf8, count: int64, weight: float64, taken: timestamp[us, tz=UTC], ok: bool, tags: utf8, mixed: utf8>"}
	if d := gocmp.Diff(want, columns); d != "" {
		t.Error("columns (-want +got):\n", d)
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows, want 5", len(rows))
	}
	wantFirst := map[string]any{
		"rank": 1., "asset_id": "fruit/apple.png", "uri": "file:///data/fruit/apple%20red.png", "text": nil, "caption": "A red apple.",
		"media_type": "image/png", "version": "e1", "content_hash": "h1", "objective": "top", "reason": "rank 1 of ripe_apples",
		"score_ripe_apples": 3.25, "pct_ripe_apples": 99.5, "match_ripe_apples": true, "anchor_ripe_apples": "fruit-0012", "version_ripe_apples": "v1",
		"score_about_food": .1, "pct_about_food": nil, "match_about_food": false, "anchor_about_food": nil, "version_about_food": "v2",
		"metadata": map[string]any{"source": "field", "count": 3., "weight": 1.5, "taken": "2024-05-01 10:00:00Z", "ok": true, "tags": `["a","b"]`, "mixed": "1"},
	}
	if d := gocmp.Diff(wantFirst, rows[0]); d != "" {
		t.Error("row 1 (-want +got):\n", d)
	}
	none := map[string]any{"source": nil, "count": nil, "weight": nil, "taken": nil, "ok": nil, "tags": nil, "mixed": nil}
	if d := gocmp.Diff(any(none), rows[4]["metadata"]); d != "" {
		t.Error("metadata of row 5 (-want +got):\n", d)
	}
	if v, ok := schema.Metadata().GetValue("winnow.functions"); !ok || !strings.Contains(v, `"version":"v1"`) {
		t.Errorf("winnow.functions is %q", v)
	}
}

// longBatch is n rows with a text of size bytes each.
func longBatch(n int64, size int) Emission {
	text := strings.Repeat("x", size)
	return Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: func(yield func(*BatchRow, error) bool) {
		for i := int64(1); i <= n; i++ {
			r := &BatchRow{Rank: i, AssetID: fmt.Sprint("a", i), Text: text, Metadata: []MetadataValue{{"even", i%2 == 0}}}
			if !yield(r, nil) {
				return
			}
		}
	}}
}

func TestArrowRecordBatches(t *testing.T) {
	cases := []struct {
		name string
		rows int64
		text int
		want []int
	}{
		{"no rows", 0, 0, nil},
		{"a full batch", arrowBatchRows, 1, []int{arrowBatchRows}},
		{"many rows", arrowBatchRows + 100, 0, []int{arrowBatchRows, 100}},
		{"long texts", 3, arrowBatchBytes / 2, []int{2, 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files, res := emitOrFail(t, longBatch(c.rows, c.text), "arrow")
			var got []int
			rank := int64(0)
			readArrow(t, files["batch.arrow"], func(rec arrow.Record) {
				ranks, ids, texts := rec.Column(0).(*arrays.Int64), rec.Column(1).(*arrays.String), rec.Column(3).(*arrays.String)
				even := rec.Column(10).(*arrays.Struct).Field(0).(*arrays.Boolean)
				for i := range int(rec.NumRows()) {
					rank++
					if ranks.Value(i) != rank || ids.Value(i) != fmt.Sprint("a", rank) || len(texts.Value(i)) != c.text || even.Value(i) != (rank%2 == 0) {
						t.Fatalf("row %d is %d of %q with a text of %d bytes", rank, ranks.Value(i), ids.Value(i), len(texts.Value(i)))
					}
				}
				got = append(got, int(rec.NumRows()))
			})
			if d := gocmp.Diff(c.want, got); d != "" || rank != res.Rows {
				t.Errorf("rows of the record batches (-want +got):\n%s", d)
			}
		})
	}
}

// Wherever the disk fills up, the error comes out and the batch is not finished.
func TestArrowFailedWrite(t *testing.T) {
	files, _ := emitOrFail(t, longBatch(3000, 10), "arrow")
	size := len(files["batch.arrow"])
	full := errors.New("no space")
	for room := 0; room < size; room += 1 + size/12 {
		e := longBatch(3000, 10)
		e.Write = func(_ string, fn func(io.Writer) error) error { return fn(&shortWriter{room, full}) }
		if _, err := Emit(t.Context(), e, []string{"arrow"}); !errors.Is(err, full) || !strings.Contains(err.Error(), "batch.arrow") {
			t.Fatalf("room for %d of %d bytes: error is %v", room, size, err)
		}
	}
}

// shortWriter takes room bytes.
type shortWriter struct {
	room int
	err  error
}

func (s *shortWriter) Write(p []byte) (int, error) {
	if n := min(len(p), s.room); n < len(p) {
		s.room = 0
		return n, s.err
	}
	s.room -= len(p)
	return len(p), nil
}

// pyarrow and Polars read from batch.arrow what they read from batch.parquet.
func TestArrowInterop(t *testing.T) {
	py := cmp.Or(os.Getenv("PYTHON"), filepath.Join("..", "..", ".deps", "venv-interop", "bin", "python"))
	if _, err := os.Stat(py); err != nil {
		t.Skipf("no Python with pyarrow and polars at %s: run `make setup`, or name one in $PYTHON", py)
	}
	early := fruitBatch()
	early.Info.Functions = nil
	early.Rows = rowsOf(&BatchRow{Rank: 1, AssetID: "old", Metadata: []MetadataValue{{"taken", time.Date(1066, 10, 14, 9, 0, 0, 1000, time.UTC)}, {"none", nil}}})
	dir := t.TempDir()
	for name, e := range map[string]Emission{
		"fruit": fruitBatch(), "early": early, "long": longBatch(2*arrowBatchRows+9, 20), "empty": longBatch(0, 0),
	} {
		files, _ := emitOrFail(t, e, "parquet", "arrow")
		for key, data := range files {
			p := filepath.Join(dir, name, key)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := exec.Command(py, filepath.Join("..", "..", "testdata", "interop", "batch_check.py"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
