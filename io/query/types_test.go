package query

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseType(t *testing.T) {
	db := open(t, Options{})
	for _, s := range []string{
		"INTEGER", "DECIMAL(18,3)", "TIMESTAMP WITH TIME ZONE", "FLOAT[384]", "VARCHAR[]", "BIGINT[][]",
		`STRUCT("Capture Date" DATE, b STRUCT(c INTEGER[], "quo""ted" VARCHAR))`, "MAP(VARCHAR, DECIMAL(4,1)[])",
		"ENUM('a', 'b)', 'c''d')", "UNION(num INTEGER, str VARCHAR)", "STRUCT(a INTEGER)[]", "UUID", "HUGEINT",
	} {
		must(t, db.Exec(t.Context(), "CREATE OR REPLACE TABLE t(x "+s+")"))
		cols, err := db.Columns(t.Context(), "t")
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		typ := cols[0].Type
		if typ.Name == "ENUM" || typ.Name == "UNION" {
			continue
		}
		must(t, db.Exec(t.Context(), "CREATE OR REPLACE TABLE t(x "+typ.String()+")"))
		again, err := db.Columns(t.Context(), "t")
		must(t, err)
		if d := cmp.Diff(typ, again[0].Type); d != "" {
			t.Errorf("%s: %s", s, d)
		}
	}
	for _, s := range []string{"", "STRUCT(", "MAP(VARCHAR)", "INTEGER[", "STRUCT(a)", `STRUCT("a`, "INTEGER) x"} {
		if typ, err := ParseType(s); err == nil {
			t.Errorf("%q: %v", s, typ)
		}
	}
}

func parse(t *testing.T, s string) Type {
	t.Helper()
	typ, err := ParseType(s)
	must(t, err)
	return typ
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"BIGINT", "BIGINT", "BIGINT"},
		{"BIGINT", "DOUBLE", "DOUBLE"},
		{"BIGINT", "VARCHAR", "VARCHAR"},
		{"BOOLEAN", "BIGINT", "VARCHAR"},
		{"DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE"},
		{"DATE", "BIGINT", "VARCHAR"},
		{`"NULL"`, "DATE", "DATE"},
		{"BIGINT[]", "DOUBLE[]", "DOUBLE[]"},
		{"BIGINT[]", "BIGINT", "VARCHAR"},
		{`STRUCT("a" BIGINT)`, `STRUCT("a" DOUBLE, "b" DATE)`, `STRUCT("a" DOUBLE, "b" DATE)`},
		{`STRUCT("a" BIGINT)`, `STRUCT("A" BIGINT)`, "VARCHAR"},
		{`STRUCT("a" BIGINT)[]`, `STRUCT("b" BIGINT)[]`, `STRUCT("a" BIGINT, "b" BIGINT)[]`},
	} {
		if got := Merge(parse(t, c.a), parse(t, c.b)).String(); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// TestConvert runs the conversions in DuckDB.
func TestConvert(t *testing.T) {
	db := open(t, Options{})
	for _, c := range []struct{ value, to, want string }{
		{"1::UTINYINT", "BIGINT", "1"},
		{"18446744073709551615::UBIGINT", "VARCHAR", "18446744073709551615"},
		{"170141183460469231731687303715884105727::HUGEINT", "VARCHAR", "170141183460469231731687303715884105727"},
		{"'2024-01-02 03:04:05.678'::TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE", "2024-01-02 03:04:05.678+00"},
		{"'2024-01-02 03:04:05+02'::TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "2024-01-02 01:04:05+00"},
		{"'10:11:12'::TIME", "VARCHAR", "10:11:12"},
		{"'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID", "VARCHAR", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		{"1.50::DECIMAL(4,2)", "DECIMAL(4,2)", "1.50"},
		{"[1, 2]::INTEGER[2]", "BIGINT[]", "[1, 2]"},
		{"[[1], NULL, []]::UTINYINT[][]", "BIGINT[][]", "[[1], NULL, []]"},
		{"{'a': 1::TINYINT, 'b': ['10:00:00'::TIME]}", `STRUCT("a" BIGINT, "b" VARCHAR[])`, "{'a': 1, 'b': ['10:00:00']}"},
		{"NULL::STRUCT(a TINYINT)", `STRUCT("a" BIGINT)`, "<nil>"},
		{"{'a b': 1}", "VARCHAR", `{"a b":1}`},
		{"MAP {'k': 1}", "VARCHAR", `{"k":1}`},
		{"'\"x\"'::JSON", "VARCHAR", "x"},
		{"'{\"a\": [1]}'::JSON", "VARCHAR", `{"a":[1]}`},
		{"'b'::ENUM('a', 'b')", "VARCHAR", "b"},
		{"1::UNION(n INTEGER, s VARCHAR)", "VARCHAR", `{"n":1}`},
		{"'\\xAA'::BLOB", "BLOB", `\xAA`},
		{"INTERVAL 1 DAY", "VARCHAR", "1 day"},
		{"NULL", "NULL", "<nil>"},
	} {
		must(t, db.Exec(t.Context(), "CREATE OR REPLACE TABLE t AS SELECT "+c.value+" AS x"))
		cols, err := db.Columns(t.Context(), "t")
		must(t, err)
		from := cols[0].Type
		if c.to == "NULL" {
			from = Null
		}
		to := Plain(from)
		if to.String() != parse(t, c.to).String() {
			t.Errorf("%s: plain type %s, want %s", c.value, to, c.to)
			continue
		}
		var got *string
		must(t, db.Row(t.Context(), "SELECT CAST("+Convert("x", from, to)+" AS VARCHAR) FROM t", []any{&got}))
		s := "<nil>"
		if got != nil {
			s = *got
		}
		if s != c.want {
			t.Errorf("%s: %s, want %s", c.value, s, c.want)
		}
	}
	// Into merged types.
	for _, c := range []struct{ value, other, want string }{
		{"{'a': 1::BIGINT}", `STRUCT("a" DOUBLE, "b" VARCHAR)`, "{'a': 1.0, 'b': NULL}"},
		{"[{'a': 1::BIGINT}]", `STRUCT("a" VARCHAR)[]`, "[{'a': 1}]"},
		{"{'a': 1::BIGINT}", "VARCHAR", `{"a":1}`},
		{"DATE '2024-01-02'", "TIMESTAMP WITH TIME ZONE", "2024-01-02 00:00:00+00"},
		{"true", "BIGINT", "true"},
	} {
		must(t, db.Exec(t.Context(), "CREATE OR REPLACE TABLE t AS SELECT "+c.value+" AS x"))
		cols, err := db.Columns(t.Context(), "t")
		must(t, err)
		from := cols[0].Type
		var got string
		must(t, db.Row(t.Context(), "SELECT CAST("+Convert("x", from, Merge(from, parse(t, c.other)))+" AS VARCHAR) FROM t", []any{&got}))
		if got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.value, c.other, got, c.want)
		}
	}
}
