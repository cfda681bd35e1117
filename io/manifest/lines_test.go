package manifest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// records reads all records, as "line:data" or "line!error".
func readAll(t testing.TB, r recordReader) (out []string) {
	t.Helper()
	for {
		rec, err := r.next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.err != nil {
			out = append(out, fmt.Sprintf("%d!%v", rec.line, rec.err))
		} else {
			out = append(out, fmt.Sprintf("%d:%s", rec.line, rec.data))
		}
	}
}

// small makes readers with the smallest buffer, to meet its edges.
func small(s string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(s), 16) }

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 41)
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a", []string{"1:a"}},
		{"a\n", []string{"1:a"}},
		{"a\r\nb\n\nc", []string{"1:a", "2:b", "3:", "4:c"}},
		{"\n\n", []string{"1:", "2:"}},
		{"\xef\xbb\xbfa\n\xef\xbb\xbfb", []string{"1:a", "2:\xef\xbb\xbfb"}},
		{long[:40] + "\nb", []string{"1:" + long[:40], "2:b"}},
		{long[:40] + "\r\nb", []string{"1:" + long[:40], "2:b"}},
		{long + "\nb", []string{"1!over the limit", "2:b"}},
		{"a\n" + long, []string{"1:a", "2!over the limit"}},
		{"a\n" + strings.Repeat(long, 30) + "\nb\n", []string{"1:a", "2!over the limit", "3:b"}},
	} {
		if d := cmp.Diff(c.want, readAll(t, newLineReader(small(c.in), 40))); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
}

// endless is a line without end, and what follows it.
type endless struct {
	left int64
	tail string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left > 0 {
		n := int(min(int64(len(p)), e.left))
		for i := range p[:n] {
			p[i] = 'x'
		}
		e.left -= int64(n)
		return n, nil
	}
	if e.tail == "" {
		return 0, io.EOF
	}
	n := copy(p, e.tail)
	e.tail = e.tail[n:]
	return n, nil
}

func TestLongLinesTakeBoundedMemory(t *testing.T) {
	for name, make := range map[string]func(io.Reader) recordReader{
		"lines": func(r io.Reader) recordReader { return newLineReader(bufio.NewReader(r), 1<<20) },
		"array": func(r io.Reader) recordReader {
			return newArrayReader(bufio.NewReader(io.MultiReader(strings.NewReader("[{}, "), r)), 1<<20)
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tail := "\n{}\n"
		if name == "array" {
			tail = ",\n{}]"
		}
		got := readAll(t, make(&endless{left: 64 << 20, tail: tail}))
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 16<<20 {
			t.Errorf("%s: %d MiB were allocated", name, taken>>20)
		}
		if !strings.Contains(strings.Join(got, " "), "!over the limit 2:{}") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestArrayReader(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"[]", nil},
		{" [ ] ", nil},
		{"[1]", []string{"1:1"}},
		{`[{"a":"]},"} , {"b":[1,{"c":2}]}]`, []string{`1:{"a":"]},"}`, `1:{"b":[1,{"c":2}]}`}},
		{"[\n  {\"a\":\n 1},\n  {\"b\":2}\n]\n", []string{`2:{"a":  1}`, `4:{"b":2}`}},
		{`["a\"]", 2]`, []string{`1:"a\"]"`, `1:2`}},
		{"[1,\n2", []string{"1:1", "2!" + errOpenArray.Error()}},
		{"[1,]", []string{"1:1"}},
		{"[1,,2]", []string{"1:1", "1:", "1:2"}},
		{"[" + strings.Repeat("1", 50) + ",\n2]", []string{"1!over the limit", "2:2"}},
	} {
		r := small(c.in)
		if !isArray(r) {
			t.Errorf("%q is no array", c.in)
		}
		if d := cmp.Diff(c.want, readAll(t, newArrayReader(r, 40))); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
	for _, s := range []string{"", "{}", "\n{\"a\":[1]}", "x["} {
		if isArray(small(s)) {
			t.Errorf("%q is an array", s)
		}
	}
}

func TestCSVReader(t *testing.T) {
	for _, c := range []struct {
		in, names string
		want      []string
	}{
		{"a,b\n1,2\n", "a b", []string{"2:a=1 b=2"}},
		{"a;b\n1;2,5\n", "a b", []string{"2:a=1 b=2,5"}},
		{"a\tb\n\n1\t\n", "a b", []string{"3:a=1"}},
		{"\xef\xbb\xbfa,b\r\n1,2\r\n", "a b", []string{"2:a=1 b=2"}},
		{"a,b\n\"x,\"\"y\"\"\",2\n3,4", "a b", []string{`2:a=x,"y" b=2`, "3:a=3 b=4"}},
		{"a,b\n\"two\nlines\",2\n3,4", "a b", []string{"2:a=two\nlines b=2", "4:a=3 b=4"}},
		{"a,b\n1,5\" disk\n3,4", "a b", []string{`2:a=1 b=5" disk`, "3:a=3 b=4"}},
		{"a,b\n\"x\"y,2\n", "a b", []string{"2:a=xy b=2"}},
		{"a,b\n1\n1,2,3\n3,4", "a b", []string{"2!the row has 1 fields, the header 2", "3!the row has 3 fields, the header 2", "4:a=3 b=4"}},
		{"a,b\n1,\"open\n3,4\n5,6", "a b", []string{"2!" + errOpenQuote.Error(), "3:a=3 b=4", "4:a=5 b=6"}},
		{"a,b\n1,\"open\n" + strings.Repeat("9,9\n", 30) + "3,4", "a b", nil}, // only the first two are looked at
		{"a,b\n" + strings.Repeat("1", 60) + ",2\n3,4", "a b", []string{"2!over the limit", "3:a=3 b=4"}},
		{"a,b\n\"1\n" + strings.Repeat("1", 60) + ",2\n3,4", "a b", []string{"2!" + errOpenQuote.Error(), "3!over the limit", "4:a=3 b=4"}},
		{"", "", nil},
	} {
		r, err := newCSV(small(c.in), 40, false)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if got := strings.Join(r.names, " "); got != c.names {
			t.Errorf("%q: header %q", c.in, got)
		}
		got := csvRecords(t, r)
		if c.want == nil && len(got) > 0 {
			if len(got) != 32 || got[1] != "3:a=9 b=9" || got[31] != "33:a=3 b=4" {
				t.Errorf("%q: %q", c.in, got)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
	}
	for in, want := range map[string]string{
		"a,,c\n":                "column 2 has no name",
		"a,b,a\n":               "two columns",
		"a,\xff\n":              "UTF-8",
		"a,\"b\n":               "does not end",
		strings.Repeat("a", 99): "over the limit",
	} {
		if _, err := newCSV(small(in), 40, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func csvRecords(t testing.TB, r *csvRows) (out []string) {
	t.Helper()
	for {
		rec, err := r.next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var row []string
		if rec.err == nil {
			var ms []jsonMember
			ms, rec.err = r.object(rec.data, nil)
			for _, m := range ms {
				s, err := unquote(m.raw)
				if err != nil {
					t.Fatal(err)
				}
				row = append(row, m.key+"="+s)
			}
		}
		if rec.err != nil {
			out = append(out, fmt.Sprintf("%d!%v", rec.line, rec.err))
			continue
		}
		out = append(out, fmt.Sprintf("%d:%s", rec.line, strings.Join(row, " ")))
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("one\ntwo\n"))
	_ = z.Close()
	r, err := maybeGzip(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1:one", "2:two"}, readAll(t, newLineReader(r, 40))); d != "" {
		t.Error(d)
	}
	cut, err := maybeGzip(bytes.NewReader(b.Bytes()[:b.Len()-6]))
	if err != nil {
		t.Fatal(err)
	}
	l := newLineReader(cut, 40)
	for err == nil {
		_, err = l.next()
	}
	if err == io.EOF || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a cut file: %v", err)
	}
}

func TestScanner(t *testing.T) {
	for _, s := range []string{`{}`, `{"a":1}`, ` {"a" : [1, -2.5e+3, "x", {"b":null}], "c":true} `, `{"é\u00e9\n":"\ud83d\ude00"}`} {
		if _, err := members([]byte(s), nil); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		``: "too early", `[]`: "no JSON object", `"x"`: "no JSON object", `{`: "name", `{"a"}`: "colon", `{"a":}`: "value is missing",
		`{"a":1`: "comma or }", `{"a":1,}`: "name", `{"a":01}`: "comma or }", `{"a":1}x`: "more after", `{"a":"\x"}`: "escape",
		`{"a":"` + "\n" + `"}`: "control", `{"a":"x`: "does not end", `{"a":nul}`: "value is missing", `{"a":"\ud800"}`: "surrogate",
		`{"a":"\udc00"}`: "surrogate", `{"a":"\ud800\u0041"}`: "surrogate", `{'a':1}`: "name", `{"a":NaN}`: "NaN is no JSON", `{"a":1.}`: "digit",
		`{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`: "deeper",
	} {
		if _, err := members([]byte(s), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", s, err, want)
		}
	}
}

// FuzzLines checks the reader against strings.Split.
func FuzzLines(f *testing.F) {
	f.Add("a\nb\r\n\nc", 3)
	f.Add("\xef\xbb\xbf\n"+strings.Repeat("x", 100), 10)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = min(max(most, 1), 1<<16)
		var want []string
		lines := strings.Split(s, "\n")
		if last := len(lines) - 1; lines[last] == "" {
			lines = lines[:last]
		}
		for i, l := range lines {
			l = strings.TrimSuffix(l, "\r")
			if i == 0 {
				l = strings.TrimPrefix(l, "\xef\xbb\xbf")
			}
			if len(l) > most {
				l = "!"
			}
			want = append(want, l)
		}
		r := newLineReader(small(s), int64(most))
		var got []string
		for i := int64(1); ; i++ {
			rec, err := r.next()
			if err == io.EOF {
				break
			}
			if err != nil || rec.line != i {
				t.Fatalf("line %d is %d, %v", i, rec.line, err)
			}
			l := string(rec.data)
			if rec.err != nil {
				l = "!"
			}
			got = append(got, l)
		}
		// At the very limit a line end counts towards it where it was not yet seen.
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] && got[i] != "!" || want[i] == "!" && got[i] != "!" {
				t.Fatalf("line %d: %q, want %q", i+1, got[i], want[i])
			}
		}
	})
}

// FuzzScanner checks the scanner against encoding/json, and what it takes apart
// against what that decodes.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[true,null,"x\u0041"]}`, `{"a":{"a":1.5e-3}}`, `{"":"\ud83d\ude00"}`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			return
		}
		got, err := members(data, nil)
		var want map[string]json.RawMessage
		werr := json.Unmarshal(data, &want)
		if err == nil {
			if werr != nil {
				t.Fatalf("%q was accepted: %v", data, werr)
			}
			last := map[string][]byte{}
			for _, m := range got {
				last[m.key] = m.raw
			}
			if len(last) != len(want) {
				t.Fatalf("%q: %d members, want %d", data, len(last), len(want))
			}
			for k, raw := range last {
				if !bytes.Equal(raw, want[k]) {
					t.Fatalf("%q: %q is %q, want %q", data, k, raw, want[k])
				}
				s := &shape{}
				s.add(raw, 0)
				_ = s.typ()
			}
			return
		}
		if werr == nil && want != nil && !strings.Contains(err.Error(), "surrogate") && !strings.Contains(err.Error(), "deeper") {
			t.Fatalf("%q was refused: %v", data, err)
		}
	})
}

// FuzzCSV checks files that encoding/csv accepts against it.
func FuzzCSV(f *testing.F) {
	f.Add("a,b\n1,\"x\ny\"\n\"q\"\"\",2\n")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, '\r') || strings.HasPrefix(s, "\ufeff") || strings.TrimSpace(strings.SplitN(strings.TrimLeft(s, "\n"), "\n", 2)[0]) == "" {
			return
		}
		ref := csv.NewReader(strings.NewReader(s))
		want, werr := ref.ReadAll()
		r, err := newCSV(small(s), 1<<16, false)
		if err != nil || r.comma != ',' || werr != nil || len(want) == 0 {
			if err == nil { // still, nothing may panic or hang
				csvRecords(t, r)
			}
			return
		}
		var got [][]string
		for {
			rec, err := r.next()
			if err == io.EOF {
				break
			}
			if err != nil || errors.Is(rec.err, errOpenQuote) {
				t.Fatalf("%q: %v %v", s, err, rec.err)
			}
			var row []string
			for _, field := range r.split(rec.data, nil) {
				row = append(row, string(field))
			}
			got = append(got, row)
		}
		if d := cmp.Diff(want[1:], got); d != "" && len(want) > 1 {
			t.Fatalf("%q: %s", s, d)
		}
	})
}
