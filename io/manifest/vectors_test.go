package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"winnow/pipeline"
)

// npyFile is a .npy file of version 1 with the given header values and data.
func npyFile(descr, shape string, data any) []byte {
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", descr, shape)
	var b bytes.Buffer
	b.WriteString("\x93NUMPY\x01\x00")
	_ = binary.Write(&b, binary.LittleEndian, uint16(len(head)))
	b.WriteString(head)
	order := binary.ByteOrder(binary.LittleEndian)
	if strings.HasPrefix(descr, ">") {
		order = binary.BigEndian
	}
	_ = binary.Write(&b, order, data)
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeRows[T any](t *testing.T, path string, rows []T) {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.Bytes())
}

// readVectors reads all files of a source: "id=values" or "id!reason" a row.
func readVectors(t *testing.T, src VectorSource) ([]string, error) {
	t.Helper()
	r := newLab(t).r
	files, err := r.FindVectors(t.Context(), src)
	if err != nil {
		return nil, err
	}
	var got []string
	for _, f := range files {
		err := r.ReadVectors(t.Context(), src, f, func(row *VectorRow) error {
			if row.Fault != nil {
				got = append(got, row.ID+"!"+row.Fault.Reason)
				return nil
			}
			got = append(got, fmt.Sprint(row.ID, "=", row.Values))
			return nil
		})
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestReadVectors(t *testing.T) {
	type wide struct {
		ImageID   int64     `parquet:"image_id"`
		Embedding []float64 `parquet:"embedding,list"`
	}
	type plain struct {
		ID  string    `parquet:"name"`
		Vec []float32 `parquet:"v"`
	}
	type meta struct {
		Path    string `parquet:"image_path"`
		Caption string `parquet:"caption"`
	}
	type whole struct {
		ID string `parquet:"id"`
		V  []int8 `parquet:"vector,list"`
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeRows(t, at("parts/part-0.parquet"), []whole{{"a", []int8{-1, 127}}})
	writeRows(t, at("parts/part-1.parquet"), []whole(nil))
	write(t, at("parts/_SUCCESS"), nil)
	writeRows(t, at("curator.parquet"), []wide{{7, []float64{1, 2}}, {8, nil}, {9, []float64{3, 4, 5}}})
	writeRows(t, at("own.parquet"), []plain{{"a", []float32{1, 2}}, {"", []float32{3, 4}}})
	for i := range 11 { // number 10 comes after 9
		write(t, at(fmt.Sprintf("clip/img_emb/img_emb_%d.npy", i)), npyFile("<f2", "1, 2", []uint16{0x3c00, uint16(i)}))
		writeRows(t, at(fmt.Sprintf("clip/metadata/metadata_%d.parquet", i)), []meta{{fmt.Sprintf("p%d.jpg", i), ""}})
	}
	write(t, at("m.npy"), npyFile("<f8", "2, 2", []float64{1, 2, 3, 4}))
	write(t, at("big.npy"), npyFile(">f4", "2, 2", []float32{1, 2, 3, 4}))
	write(t, at("ids.txt"), []byte("x\r\ny\n"))
	write(t, at("three.txt"), []byte("x\ny\nz\n"))
	write(t, at("ids.npy"), npyFile("<U2", "2", []rune("ab"+"é\x00")))
	write(t, at("numbers.npy"), npyFile("<i8", "2", []int64{-5, 12}))
	write(t, at("ids.jsonl"), []byte("\"one\"\n{\"global_key\":\"two\"}\n"))
	write(t, at("lb.ndjson"), []byte(`{"id":"dr1","vector":[1,2.5e0]}
{"id":"dr9","vector":[3,4]}
{"id":"dr2","vector":[3,"x"]}
{"id":"dr2","vector":[3,null]}
not json
{"id":"dr2"}
`))
	write(t, at("export.ndjson"), []byte(`{"data_row":{"id":"dr1","global_key":"cat"}}
{"data_row":{"id":"dr2","external_id":"dog"}}
`))
	clip := make([]string, 11)
	for i := range clip {
		clip[i] = fmt.Sprint("p", i, ".jpg=", []float32{1, float32(i) / (1 << 24)})
	}
	cases := map[string]struct {
		src  VectorSource
		want []string
	}{
		"Parquet":                {VectorSource{Files: at("curator.parquet")}, []string{"7=[1 2]", "8!invalid_row", "9=[3 4 5]"}},
		"Parquet by fields":      {VectorSource{Files: at("own.parquet"), Fields: Fields{"asset_id": "name", "vector": "v"}}, []string{"a=[1 2]", "!missing_id"}},
		"parts of whole numbers": {VectorSource{Files: at("parts/*")}, []string{"a=[-1 127]"}},
		"clip-retrieval":         {VectorSource{Files: at("clip")}, clip},
		"float64 and lines":      {VectorSource{Files: at("m.npy"), IDs: at("ids.txt")}, []string{"x=[1 2]", "y=[3 4]"}},
		"big-endian, texts":      {VectorSource{Files: at("big.npy"), IDs: at("ids.npy")}, []string{"ab=[1 2]", "é=[3 4]"}},
		"whole numbers":          {VectorSource{Files: at("m.npy"), IDs: at("numbers.npy")}, []string{"-5=[1 2]", "12=[3 4]"}},
		"JSON ids":               {VectorSource{Files: at("m.npy"), IDs: at("ids.jsonl")}, []string{"one=[1 2]", "two=[3 4]"}},
		"Labelbox": {VectorSource{Files: at("lb.ndjson"), IDs: at("export.ndjson")},
			[]string{"cat=[1 2.5]", "dr9!unknown_id", "dog!invalid_row", "dog!invalid_row", "!invalid_row", "dog!invalid_row"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := readVectors(t, c.src)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestVectorsThatDoNotFitAreRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("m.npy"), npyFile("<f4", "2, 2", []float32{1, 2, 3, 4}))
	write(t, at("cut.npy"), npyFile("<f4", "3, 2", []float32{1, 2, 3, 4}))
	write(t, at("c8.npy"), npyFile("<c8", "1, 1", []float32{1, 2}))
	write(t, at("cube.npy"), npyFile("<f4", "1, 1, 2", []float32{1, 2}))
	write(t, at("order.npy"), bytes.Replace(npyFile("<f4", "2, 2", []float32{1, 2, 3, 4}), []byte("False"), []byte("True "), 1))
	write(t, at("two.txt"), []byte("a\nb\n"))
	write(t, at("one.txt"), []byte("a\n"))
	write(t, at("three.txt"), []byte("a\nb\nc\n"))
	write(t, at("v.jsonl"), []byte(`{"id":"a","vector":[1]}`))
	write(t, at("v.csv"), []byte("id\n"))
	write(t, at("no.parquet"), []byte("PAR1 and nothing else"))
	cases := map[string]struct {
		files, ids, want string
		usage            bool
	}{
		"no ids":         {"m.npy", "", "a .npy file holds no ids", true},
		"too few ids":    {"m.npy", "one.txt", "has only 1 ids", true},
		"too many ids":   {"m.npy", "three.txt", "has more ids", true},
		"cut off":        {"cut.npy", "three.txt", "ends after row 2 of 3", false},
		"complex":        {"c8.npy", "one.txt", "it holds c8", false},
		"three axes":     {"cube.npy", "one.txt", "want (rows, dim)", false},
		"Fortran order":  {"order.npy", "two.txt", "Fortran order", false},
		"nothing there":  {"none.npy", "two.txt", "does not exist", true},
		"no match":       {"x*.npy", "two.txt", "matches no file", true},
		"a kind too few": {"v.csv", "", ".parquet, .npy and .jsonl", true},
		"damaged":        {"no.parquet", "", "cannot be read as Parquet", false},
		"not an export":  {"v.jsonl", "two.txt", "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			src := VectorSource{Files: at(c.files)}
			if c.ids != "" {
				src.IDs = at(c.ids)
			}
			_, err := readVectors(t, src)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			var usage *pipeline.UsageError
			if errors.As(err, &usage) != c.usage && c.want != "" {
				t.Errorf("usage error: %v, want %v: %v", !c.usage, c.usage, err)
			}
		})
	}
}

func TestHalfFloat(t *testing.T) {
	for h, want := range map[uint16]float32{0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 5.9604645e-08, 0x0400: 6.1035156e-05, 0x8000: 0, 0x3555: 0.33325195} {
		if got := halfFloat(h); got != want {
			t.Errorf("%#04x = %g, want %g", h, got, want)
		}
	}
	if v := halfFloat(0x7c00); !math.IsInf(float64(v), 1) {
		t.Errorf("infinity is %g", v)
	}
	if v := halfFloat(0x7e00); v == v {
		t.Errorf("NaN is %g", v)
	}
}

func FuzzMatrix(f *testing.F) {
	f.Add(npyFile("<f4", "2, 2", []float32{1, 2, 3, 4}))
	f.Add(npyFile("<U2", "1", []rune("ab")))
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := OpenMatrix(bytes.NewReader(data), false)
		if err != nil {
			return
		}
		row := make([]float32, m.Dim)
		for range 100 {
			if m.Next(row) != nil {
				break
			}
		}
		for range 100 {
			if _, err := m.NextText(); err == io.EOF {
				break
			}
		}
	})
}
