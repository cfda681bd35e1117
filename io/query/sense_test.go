package query

import (
	"strings"
	"testing"
)

func TestContradiction(t *testing.T) {
	db := open(t, Options{})
	implied := map[string]Bound{"f_match": {"f", 0.8}}
	for _, c := range []struct {
		expr, want string
		line, col  int
	}{
		{"a > 5 AND a < 3", "a > 5 and a < 3", 1, 13},
		{"a > 5\n AND b AND a <= 5", "a > 5 and a <= 5", 2, 14},
		{"3 > a AND a BETWEEN 4.5 AND 6", "a < 3 and a >= 4.5", 1, 13},
		{"a = 1 AND a = 2", "a = 1 and a = 2", 1, 13},
		{"m.kind = 'x' AND m.kind = 'y'", "m.kind = 'x' and m.kind = 'y'", 1, 25},
		{"labeled AND (a > 1 AND NOT labeled)", "labeled and NOT labeled", 1, 24},
		{"f_match AND f < 0.5", "f_match, which is f >= 0.8 and f < 0.5", 1, 15},
		{"f BETWEEN -2 AND -3", "f >= -2 and f <= -3", 1, 3},
		{"a > 5 OR a < 3", "", 0, 0},
		{"a >= 5 AND a <= 5", "", 0, 0},
		{"NOT (a > 5 AND a < 3)", "", 0, 0},
		{"a > 5 AND b < 3 AND m.a < 2", "", 0, 0},
		{"NOT f_match AND f < 0.5", "", 0, 0},
		{"a = 'x' AND b = 'y' AND a > 'b'", "", 0, 0},
	} {
		e, err := db.Contradiction(t.Context(), c.expr, implied)
		must(t, err)
		switch {
		case (e != nil) != (c.want != ""):
			t.Errorf("%q: %v", c.expr, e)
		case e != nil && (!strings.HasSuffix(e.What, c.want) || e.Line != c.line || e.Column != c.col):
			t.Errorf("%q: %+v", c.expr, e)
		}
	}
}

func TestDivisors(t *testing.T) {
	db := open(t, Options{})
	for expr, want := range map[string]string{
		"a / b > 1":                             "b@1:3",
		"a > 1\n AND x // (b - 1) > 2":          "(b - 1)@2:8",
		"a % 3 = 0 AND a / 2 > 1":               "",
		"a / 0 > 1":                             "0@1:3",
		"mod(a, m.b) = 1 AND a/nullif(b,0) > 1": `m.b@1:1 CASE`,
		"a IN (SELECT x / y FROM t)":            "",
	} {
		list, err := db.Divisors(t.Context(), expr)
		must(t, err)
		var got []string
		for _, d := range list {
			got = append(got, strings.TrimSpace(d.SQL))
		}
		wanted, place, _ := strings.Cut(want, "@")
		if want == "" && len(list) > 0 || want != "" && (len(list) == 0 || got[0] != wanted) {
			t.Errorf("%q: %q, want %s", expr, got, want)
			continue
		}
		if len(list) > 0 && !strings.HasPrefix(place, itoa(list[0].Line)+":"+itoa(list[0].Column)) {
			t.Errorf("%q: at %d:%d, want %s", expr, list[0].Line, list[0].Column, place)
		}
	}
}

func itoa(n int) string { return string(rune('0' + n)) }
