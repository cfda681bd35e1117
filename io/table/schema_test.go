package table

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSchemaString(t *testing.T) {
	s := Schema{
		{Name: "id", Type: String},
		{Name: "n", Type: Decimal(10, 2), Nullable: true, Metadata: map[string]string{"b": "2", "a": "<1>"}},
		{Name: "v", Type: Array(Struct(Field{Name: "x", Type: Map(String, Array(Float, true), true), Nullable: true}), false), Nullable: true},
	}
	want := `{"type":"struct","fields":[` +
		`{"name":"id","type":"string","nullable":false,"metadata":{}},` +
		`{"name":"n","type":"decimal(10,2)","nullable":true,"metadata":{"a":"\u003c1\u003e","b":"2"}},` +
		`{"name":"v","type":{"type":"array","elementType":{"type":"struct","fields":[` +
		`{"name":"x","type":{"type":"map","keyType":"string","valueType":{"type":"array","elementType":"float","containsNull":true},"valueContainsNull":true},"nullable":true,"metadata":{}}` +
		`]},"containsNull":false},"nullable":true,"metadata":{}}]}`
	got, err := json.Marshal(s)
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	var back Schema
	if err := json.Unmarshal(got, &back); err != nil || !back.Equal(s) {
		t.Errorf("read back as %+v, %v", back, err)
	}
	if err := back.check(); err != nil {
		t.Error(err)
	}
	if f := back.Field("n"); f == nil || f.Metadata["a"] != "<1>" || back.Field("zzz") != nil {
		t.Errorf("field n is %+v", f)
	}
	// What others put into metadata need not be a string.
	var foreign Schema
	in := `{"type":"struct","fields":[{"name":"x","type":"long","nullable":true,"metadata":{"delta.columnMapping.id":3}}]}`
	if err := json.Unmarshal([]byte(in), &foreign); err != nil || foreign[0].Metadata["delta.columnMapping.id"] != "3" {
		t.Errorf("read %+v, %v", foreign, err)
	}
}

func TestTypeNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"string": true, "decimal(38,0)": true, "decimal(5, 2)": true, "timestamp": true,
		"decimal(39,0)": false, "decimal": false, "timestamp_ntz": false, "int": false, "": false, "variant": false,
	} {
		if err := (Type{Name: name}).check(); ok != (err == nil) {
			t.Errorf("type %q: %v", name, err)
		}
	}
}

func TestPathsInTheLog(t *testing.T) {
	for plain, want := range map[string]string{
		"part-0.parquet":   "part-0.parquet",
		"a b/c%d.parquet":  "a%20b/c%25d.parquet",
		"x:y":              "x%3Ay",
		"col=ä&+/z#?":      "col=%C3%A4&+/z%23%3F",
		"functions/f.1.pq": "functions/f.1.pq",
	} {
		got := encodePath(plain)
		back, err := decodePath(got)
		if got != want || err != nil || back != plain {
			t.Errorf("%q became %q and then %q, %v; want %q", plain, got, back, err, want)
		}
	}
	for _, bad := range []string{"/abs", "s3://b/k", "%zz"} {
		if p, err := decodePath(bad); err == nil {
			t.Errorf("%q was read as %q", bad, p)
		}
	}
}

func TestStats(t *testing.T) {
	got := Stats(2, map[string]any{"id": "a"}, map[string]any{"id": "b", "n": 7}, map[string]int64{"id": 0})
	if want := `{"numRecords":2,"minValues":{"id":"a"},"maxValues":{"id":"b","n":7},"nullCount":{"id":0}}`; got != want {
		t.Errorf("got %s", got)
	}
	nan := 0.0
	if got := Stats(2, map[string]any{"x": nan / nan}, nil, nil); got != `{"numRecords":2}` {
		t.Errorf("NaN gives %s", got)
	}
}

func TestLogNames(t *testing.T) {
	for name, want := range map[string]logFile{
		"00000000000000000010.json":                                                    {version: 10},
		"00000000000000000010.checkpoint.parquet":                                      {version: 10, part: 1, parts: 1},
		"00000000000000000010.checkpoint.0000000002.0000000003.parquet":                {version: 10, part: 2, parts: 3},
		"00000000000000000010.checkpoint.0000000004.0000000003.parquet":                {version: -1},
		"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet": {version: -1},
		"00000000000000000010.crc":                                                     {version: -1},
		"_last_checkpoint":                                                             {version: -1},
		"00000000000000000010.json.tmp":                                                {version: -1},
		"0000000000000000001x.json":                                                    {version: -1},
		"00000000000000000010.00000000000000000012.compacted.json":                     {version: -1},
	} {
		got, ok := parseLogName(logDir + name)
		if !ok {
			got = logFile{version: -1}
		}
		got.key = ""
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if k := entryKey(12); !strings.HasSuffix(k, "/00000000000000000012.json") {
		t.Error(k)
	}
}
