package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type dataRow struct {
	RowData    string `json:"row_data"`
	GlobalKey  string `json:"global_key"`
	ExternalID string `json:"external_id"`
	MediaType  string `json:"media_type"`
	Metadata   []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	} `json:"metadata_fields"`
	Attachments []struct{ Type, Value, Name string } `json:"attachments"`
}

type labelboxBatch struct {
	Name       string   `json:"name"`
	GlobalKeys []string `json:"global_keys"`
	Priority   int      `json:"priority"`
	Consensus  *struct {
		Labels   int     `json:"number_of_labels"`
		Coverage float64 `json:"coverage_percentage"`
	} `json:"consensus_settings"`
}

// strict decodes a file and refuses keys that Labelbox does not know.
func strict[T any](t *testing.T, files memFiles, key string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(string(files[key])))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return v
}

// checkDataRows holds the rules of FORMATS: what Labelbox's own code refuses.
func checkDataRows(t *testing.T, rows []dataRow, kinds map[string]string) {
	t.Helper()
	for _, r := range rows {
		if r.RowData == "" || strings.HasPrefix(r.RowData, "s3:/") {
			t.Errorf("%s: row_data is %q", r.GlobalKey, r.RowData)
		}
		if r.GlobalKey == "" || utf16Len(r.GlobalKey) > 200 {
			t.Errorf("global_key %q has %d characters", r.GlobalKey, utf16Len(r.GlobalKey))
		}
		if utf16Len(r.RowData) > 64_000 {
			t.Errorf("%s: row_data has %d characters", r.GlobalKey, utf16Len(r.RowData))
		}
		seen := map[string]bool{}
		for _, m := range r.Metadata {
			if seen[m.Name] || m.Name == "" || utf16Len(m.Name) > 100 {
				t.Errorf("%s: metadata name %q is not usable", r.GlobalKey, m.Name)
			}
			seen[m.Name] = true
			ok := false
			switch v := m.Value.(type) {
			case float64:
				ok = kinds[m.Name] == labelboxNumber
			case string:
				ok = kinds[m.Name] == labelboxString || kinds[m.Name] == labelboxEnum
				if kinds[m.Name] == labelboxDateTime {
					_, err := time.Parse("2006-01-02T15:04:05Z", v)
					ok = err == nil
				}
				ok = ok && v != ""
			}
			if !ok {
				t.Errorf("%s: metadata %s is %v (%T), its kind %q", r.GlobalKey, m.Name, m.Value, m.Value, kinds[m.Name])
			}
		}
		for _, a := range r.Attachments {
			if a.Type != "RAW_TEXT" || a.Value == "" {
				t.Errorf("%s: attachment %+v", r.GlobalKey, a)
			}
		}
	}
}

func schemaOf(t *testing.T, files memFiles) map[string]string {
	kinds := map[string]string{"split": labelboxEnum, "tag": labelboxString, "captureDateTime": labelboxDateTime}
	for _, f := range strict[[]struct{ Name, Kind string }](t, files, "labelbox/metadata_schema.json") {
		if _, twice := kinds[f.Name]; twice {
			t.Errorf("metadata_schema.json has %q twice or names a reserved field", f.Name)
		}
		kinds[f.Name] = f.Kind
	}
	return kinds
}

func TestLabelboxRows(t *testing.T) {
	files, res := emitOrFail(t, fruitBatch(), "labelbox")
	rows := strict[[]dataRow](t, files, "labelbox/data_rows.json")
	checkDataRows(t, rows, schemaOf(t, files))
	if len(rows) != 4 {
		t.Fatalf("%d data rows, want 4", len(rows))
	}
	var data []string
	for _, r := range rows {
		data = append(data, r.RowData)
	}
	want := []string{"/data/fruit/apple red.png", "https://example.com/x.jpg?a=1&b=2", "قال الفلاح إن التفاح نضج.", "https://cdn.example.com/a%20b%231.jpg"}
	if d := cmp.Diff(want, data); d != "" {
		t.Error("row_data (-want +got):\n", d)
	}
	long := rows[3]
	if !strings.HasPrefix(long.GlobalKey, "winnow-") || len(long.GlobalKey) != 39 || len(long.ExternalID) != 256 {
		t.Errorf("the long id became %+v", long)
	}
	if m := long.Metadata[len(long.Metadata)-1]; m.Name != "winnow_asset_id" || m.Value != long.ExternalID {
		t.Errorf("the original id is not in the metadata: %+v", m)
	}
	b := strict[labelboxBatch](t, files, "labelbox/batch.json")
	if b.Name != "fruit-2026-03-02T06:00Z" || b.Priority != 2 || b.Consensus.Labels != 3 || b.Consensus.Coverage != .1 || len(b.GlobalKeys) != 4 {
		t.Errorf("batch.json is %+v", b)
	}
	out := string(files["labelbox/left_out.jsonl"])
	if out != `{"asset_id":"gone.jpg","reason":"unreadable_uri","row_data":"azblob://c/gone.jpg"}`+"\n" {
		t.Errorf("left_out.jsonl is %s", out)
	}
	var all []string
	for _, w := range res.Warnings {
		all = append(all, w.String())
	}
	for _, w := range []string{"1 of 5 rows left out", "1 row with a file of this machine", "1 row with an id over 200 characters", "mixes IMAGE, TEXT"} {
		if !strings.Contains(strings.Join(all, "\n"), w) {
			t.Errorf("no warning says %q in:\n%s", w, strings.Join(all, "\n"))
		}
	}
}

func TestLabelboxRowData(t *testing.T) {
	rules := []URIRule{{"s3://b/raw/", "gs://mirror/"}, {"s3://b/", "https://cdn/"}, {"file:///srv/", "https://files/"}}
	cases := []struct {
		row        BatchRow
		want, left string
		local      bool
	}{
		{BatchRow{URI: "s3://b/raw/x y.png"}, "gs://mirror/x y.png", "", false},
		{BatchRow{URI: "s3://b/x%20y?.png"}, "https://cdn/x%20y?.png", "", false},
		{BatchRow{URI: "s3://b/100%.png"}, "https://cdn/100%25.png", "", false},
		{BatchRow{URI: "s3://b/é\".png"}, "https://cdn/%C3%A9%22.png", "", false},
		{BatchRow{URI: "s3://other/x.png"}, "s3://other/x.png", leftS3, false},
		{BatchRow{URI: "S3://other/x.png"}, "S3://other/x.png", leftS3, false},
		{BatchRow{URI: "mem://x"}, "mem://x", leftScheme, false},
		{BatchRow{URI: "file:///tmp/a%23.png"}, "/tmp/a#.png", "", true},
		{BatchRow{URI: "file://host/share/a.png"}, "file://host/share/a.png", leftScheme, false},
		{BatchRow{URI: "file:///srv/a.png"}, "https://files/a.png", "", false},
		{BatchRow{URI: "gs://x/y"}, "gs://x/y", "", false},
		{BatchRow{}, "", leftNothing, false},
		{BatchRow{Text: "s3://looks like one"}, "s3://looks like one", leftS3Text, false},
		{BatchRow{Text: strings.Repeat("a", 64_000)}, strings.Repeat("a", 64_000), "", false},
		{BatchRow{Text: strings.Repeat("😀", 32_001)}, strings.Repeat("😀", 32_001), leftLong, false},
	}
	l := labelbox{o: LabelboxOptions{URIRewrite: rules}}
	for _, c := range cases {
		got, local, left := l.rowData(&c.row)
		if got != c.want || left != c.left || local != c.local {
			t.Errorf("%.40q%.40q: got %.60q %q local %v, want %.60q %q local %v", c.row.URI, c.row.Text, got, left, local, c.want, c.left, c.local)
		}
	}
}

func TestLabelboxMetadata(t *testing.T) {
	row := func(rank int64, m ...MetadataValue) *BatchRow {
		return &BatchRow{Rank: rank, AssetID: fmt.Sprint("a", rank), Text: "t", Metadata: m, Scores: []FunctionScore{{Score: 1}}}
	}
	rows := []*BatchRow{
		row(1, MetadataValue{"split", "train"}, MetadataValue{"captureDateTime", "2024-05-01T12:00:00+02:00"}, MetadataValue{"embedding", "no"}, MetadataValue{"winnow_x", 1},
			MetadataValue{"big", int64(1<<60) + 1}, MetadataValue{"n", 1}, MetadataValue{"long", strings.Repeat("é", 3000)}, MetadataValue{" pad ", "x"}, MetadataValue{"pad", "y"}, MetadataValue{"blank", " "}),
		row(2, MetadataValue{"split", "production"}, MetadataValue{"captureDateTime", "yesterday"}, MetadataValue{"n", 2.5}),
	}
	e := Emission{Info: &BatchInfo{Name: "b", Slot: "s", Functions: []FunctionInfo{{Name: "f"}}}, Rows: rowsOf(rows...)}
	files, res := emitOrFail(t, e, "labelbox")
	got := strict[[]dataRow](t, files, "labelbox/data_rows.json")
	kinds := schemaOf(t, files)
	checkDataRows(t, got, kinds)
	values := func(i int) map[string]any {
		m := map[string]any{}
		for _, f := range got[i].Metadata {
			m[f.Name] = f.Value
		}
		return m
	}
	want := map[string]any{"winnow_score_f": 1., "split": "train", "captureDateTime": "2024-05-01T10:00:00Z", "big": "1152921504606846977",
		"n": 1., "long": strings.Repeat("é", 1023) + "…", "pad": "x"}
	if d := cmp.Diff(want, values(0)); d != "" {
		t.Error("metadata of row 1 (-want +got):\n", d)
	}
	if d := cmp.Diff(map[string]any{"winnow_score_f": 1., "n": 2.5}, values(1)); d != "" {
		t.Error("metadata of row 2 (-want +got):\n", d)
	}
	text := fmt.Sprint(res.Warnings)
	for _, w := range []string{"metadata embedding, winnow_x, pad is not sent", "1 row with metadata over 1024 characters", "1 row with a value that a field reserved"} {
		if !strings.Contains(text, w) {
			t.Errorf("no warning says %q in %s", w, text)
		}
	}

	e.Labelbox.Metadata = []string{"n", "winnow_reason"}
	files, _ = emitOrFail(t, e, "labelbox")
	for _, r := range strict[[]dataRow](t, files, "labelbox/data_rows.json") {
		if len(r.Metadata) != 1 || r.Metadata[0].Name != "n" {
			t.Errorf("asked for n and winnow_reason, got %+v", r.Metadata)
		}
	}
}

// TestLabelboxSplits: whatever the limits, the row counts and what is left out or
// known, every row is in exactly one place, in order, and no file is too long.
func TestLabelboxSplits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		n, maxRows, maxBatch := rng.IntN(60), 1+rng.IntN(25), 1+rng.IntN(25)
		rows := make([]*BatchRow, n)
		leftOut, known := map[string]bool{}, map[string]bool{}
		for i := range rows {
			id := fmt.Sprintf("a%03d", i)
			rows[i] = &BatchRow{Rank: int64(i + 1), AssetID: id, URI: "https://x/" + id}
			switch rng.IntN(6) {
			case 0:
				rows[i].URI = "s3://x/" + id
				leftOut[id] = true
			case 1:
				known[id] = true
			}
		}
		e := Emission{Info: &BatchInfo{Name: "b", Slot: "s"}, Rows: rowsOf(rows...),
			Labelbox: LabelboxOptions{Known: func(k string) bool { return known[k] }, maxDataRows: maxRows, maxBatchRows: maxBatch}}
		files, _ := emitOrFail(t, e, "labelbox")

		var uploaded, batched []string
		for _, key := range numbered(files, "labelbox/data_rows") {
			part := strict[[]dataRow](t, files, key)
			if len(part) > maxRows {
				t.Fatalf("round %d: %s has %d rows, limit %d", round, key, len(part), maxRows)
			}
			for _, r := range part {
				uploaded = append(uploaded, r.GlobalKey)
			}
		}
		for _, key := range numbered(files, "labelbox/batch") {
			b := strict[labelboxBatch](t, files, key)
			suffix := strings.TrimSuffix(strings.TrimPrefix(key, "labelbox/batch"), ".json")
			if len(b.GlobalKeys) > maxBatch || len(b.GlobalKeys) == 0 || b.Name != "b-s"+suffix || b.Priority != 5 {
				t.Fatalf("round %d: %s is %+v, limit %d", round, key, b, maxBatch)
			}
			batched = append(batched, b.GlobalKeys...)
		}
		var wantUp, wantBatch []string
		for _, r := range rows {
			if leftOut[r.AssetID] {
				continue
			}
			wantBatch = append(wantBatch, r.AssetID)
			if !known[r.AssetID] {
				wantUp = append(wantUp, r.AssetID)
			}
		}
		if d := cmp.Diff(wantUp, uploaded); d != "" {
			t.Fatalf("round %d: uploaded (-want +got):\n%s", round, d)
		}
		if d := cmp.Diff(wantBatch, batched); d != "" {
			t.Fatalf("round %d: batched (-want +got):\n%s", round, d)
		}
		if got := strings.Count(string(files["labelbox/left_out.jsonl"]), "\n"); got != len(leftOut) {
			t.Fatalf("round %d: %d rows in left_out.jsonl, want %d", round, got, len(leftOut))
		}
	}
}

// numbered lists PREFIX.json, or PREFIX0000.json and so on, in order.
func numbered(files memFiles, prefix string) []string {
	if files[prefix+".json"] != nil {
		return []string{prefix + ".json"}
	}
	var out []string
	for i := 0; files[fmt.Sprintf("%s%04d.json", prefix, i)] != nil; i++ {
		out = append(out, fmt.Sprintf("%s%04d.json", prefix, i))
	}
	return out
}

func TestClip(t *testing.T) {
	cases := []struct {
		in    string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"😀😀", 4, "😀😀"}, {"😀😀", 3, "😀…"}, {"éé", 2, "éé"}, {"", 1, ""}}
	for _, c := range cases {
		if got := clip(c.in, c.limit); got != c.want || utf16Len(got) > c.limit {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}
