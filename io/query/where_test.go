package query

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winnow/pipeline"
)

func TestCheckWhereAccepts(t *testing.T) {
	db := open(t, Options{})
	for _, expr := range []string{
		"a > 1",
		"a > 1 AND NOT labeled -- and a comment",
		"/* why */ a IN (1, 2, 3) OR metadata.\"Capture Date\" IS NULL",
		"a > 1\n  AND b = 'it''s; DROP TABLE t -- not a comment'",
		"asset_id IN (SELECT asset_id FROM labels WHERE label = 'cat')",
		"EXISTS (SELECT 1 FROM labels l JOIN predictions p ON l.asset_id = p.asset_id)",
		"(a > 1) AND (b < 2)",
		"CASE WHEN a THEN b ELSE c END",
		"list_contains(tags, 'ä') AND x = 'é'",
		"a > now() - INTERVAL 7 DAYS",
	} {
		if err := db.CheckWhere(t.Context(), expr); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

func TestCheckWhereRefuses(t *testing.T) {
	db := open(t, Options{})
	for _, c := range []struct {
		expr, want string // part of the error
		line, col  int    // 0: any
	}{
		{"", "empty", 0, 0},
		{"  \n ", "empty", 0, 0},
		{"-- nothing", "", 0, 0},
		{"\xff", "UTF-8", 0, 0},
		{"a >", "missing at the end", 1, 4},
		{"(a > 1", "missing at the end", 1, 7},
		{"a = 1\n AND b = = 2", "syntax error", 2, 10},
		{"ä = 'ö' AND AND", "syntax error", 1, 13},
		{"a; DROP TABLE assets", "", 1, 2},
		{"a); DROP TABLE assets; SELECT (1", "", 0, 0},
		{"a); SELECT (1", "more than one", 0, 0},
		{"a) OR (b", "", 0, 0},
		{"a) UNION SELECT 1 FROM t WHERE (b", "", 0, 0},
		{"a ORDER BY b", "", 0, 0},
		{"a GROUP BY b", "", 0, 0},
		{"a LIMIT 1", "", 0, 0},
		{"a) LIMIT (1", "", 0, 0},
		{"a) GROUP BY (b", "", 0, 0},
		{"a) WINDOW w AS (ORDER BY b", "", 0, 0},
		{"a /* open", "comment", 1, 3},
		{"a = 'open", "unterminated", 1, 5},
		{"a = $1", "parameters", 0, 0},
		{"a = ?", "parameters", 0, 0},
		{"a IN (SELECT x FROM read_csv('/etc/passwd'))", "tables only", 1, 21},
		{"a IN (SELECT x FROM '/etc/passwd.csv')", "no table", 1, 21},
		{"a IN (SELECT x FROM \"/etc/passwd.csv\")", "no table", 1, 21},
		{"a IN (SELECT x FROM glob('/*'))", "tables only", 0, 0},
		{"a IN (SELECT x FROM b, read_text('/etc/passwd'))", "tables only", 0, 0},
		{"a IN (SELECT x FROM b JOIN (SELECT * FROM read_text('/x')) c USING (x))", "tables only", 0, 0},
		{"a IN (WITH c AS (SELECT * FROM read_text('/x')) SELECT x FROM c)", "tables only", 0, 0},
		{"a IN (SELECT 1 UNION SELECT x FROM range(3))", "tables only", 0, 0},
		{"a IN (FROM duckdb_settings())", "tables only", 0, 0},
		{"a IN (SELECT x FROM information_schema.tables)", "no table", 0, 0},
		{"a AND RANDOM() < 0.1", "select: [{random", 1, 7},
		{"a = 1 AND getenv('HOME') = 'x'", "functions that read the environment are off", 1, 11},
		{"a = 0" + strings.Repeat(" OR a = 12345", 20000), "at most 65536 are allowed", 0, 0},
		{"sleep_ms(1000) IS NULL", "same answer twice", 1, 1},
		{"a > (SELECT max(b + random()) FROM b)", "random()", 0, 0},
		{"PRAGMA database_list", "", 0, 0},
		{"COPY t TO '/tmp/x'", "", 0, 0},
		{"1) FROM (SELECT 1", "", 0, 0},
	} {
		err := db.CheckWhere(t.Context(), c.expr)
		var e *ExprError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.expr, err)
			continue
		}
		if !strings.Contains(e.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.expr, e, c.want)
		}
		if c.line > 0 && (e.Line != c.line || e.Column != c.col) {
			t.Errorf("%q: at %d:%d, want %d:%d (%v)", c.expr, e.Line, e.Column, c.line, c.col, e)
		}
		if pipeline.ExitCode(err) != pipeline.ExitUsage {
			t.Errorf("%q: exit code %d", c.expr, pipeline.ExitCode(err))
		}
	}
}

func TestBindWhere(t *testing.T) {
	db := open(t, Options{})
	must(t, db.Exec(t.Context(), `CREATE TABLE assets(asset_id VARCHAR, score DOUBLE, labeled BOOLEAN, metadata STRUCT("Capture Date" DATE, source VARCHAR))`))
	for _, expr := range []string{
		"score > 1 AND NOT labeled",
		"metadata.\"capture date\" > '2024-01-01'",
		"metadata.source = 'field' -- why",
		"TRUE",
	} {
		if err := db.BindWhere(t.Context(), "assets", expr); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	for _, c := range []struct {
		expr, what, fix string
		line, col       int
	}{
		{"scor > 1", `"scor" not found`, "score", 1, 1},
		{"labeled AND\n  metadata.sorce = 'x'", `"sorce"`, "source", 2, 3},
		{"lenght(asset_id) > 1", "lenght", "length", 1, 1},
		{"count(*) > 1", "aggregates", "", 1, 1},
		{"row_number() OVER () > 1", "window", "", 1, 1},
		{"score", "DOUBLE", "> 0", 1, 1},
		{"asset_id = \"it's\"", `"it's" not found`, "texts stand in single quotes: 'it''s'", 1, 12},
		{"score > 'high'", "high", "", 1, 9},
		{"asset_id IN (SELECT asset_id FROM nowhere)", "nowhere", "", 1, 35},
	} {
		err := db.BindWhere(t.Context(), "assets", c.expr)
		var e *ExprError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.expr, err)
			continue
		}
		if !strings.Contains(strings.ToLower(e.What), c.what) && !strings.Contains(e.What, c.what) || !strings.Contains(e.Fix, c.fix) {
			t.Errorf("%q: what %q fix %q", c.expr, e.What, e.Fix)
		}
		if e.Line != c.line || e.Column != c.col {
			t.Errorf("%q: at %d:%d, want %d:%d (%v)", c.expr, e.Line, e.Column, c.line, c.col, e)
		}
	}
}

func TestLock(t *testing.T) {
	db := open(t, Options{MemoryLimit: "64MB"})
	secret := filepath.Join(t.TempDir(), "secret.csv")
	must(t, os.WriteFile(secret, []byte("a\n1\n"), 0o600))
	must(t, db.Exec(t.Context(), "CREATE TABLE t AS SELECT range AS a FROM range(1000)"))
	must(t, db.Lock(t.Context()))
	for _, s := range []string{
		"SELECT * FROM read_csv('" + secret + "')",
		"SELECT * FROM '" + secret + "'",
		"SELECT * FROM read_text('/etc/passwd')",
		"SELECT * FROM glob('/etc/*')",
		"COPY t TO '" + secret + "2'",
		"ATTACH '" + secret + ".db' AS x",
		"INSTALL httpfs", "LOAD httpfs",
		"SET enable_external_access = true",
		"SET lock_configuration = false",
		"SET temp_directory = '/tmp'",
		"EXPORT DATABASE '" + secret + "d'",
	} {
		if err := db.Exec(t.Context(), s); err == nil {
			t.Errorf("%s: was allowed", s)
		}
	}
	// Conditions are still checked and evaluated.
	must(t, db.BindWhere(t.Context(), "t", "a > 5"))
	n, err := db.Int(t.Context(), "SELECT count(*) FROM t WHERE "+Parens("a >= 5 -- x"))
	must(t, err)
	if n != 995 {
		t.Errorf("%d rows", n)
	}
	// And what does not fit into memory spills.
	must(t, db.Exec(t.Context(), "CREATE TABLE big AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(2000000)"))
	first, err := Column[string](t.Context(), db, "SELECT b FROM big ORDER BY b DESC LIMIT 1 OFFSET 1999999")
	must(t, err)
	if len(first) != 1 {
		t.Errorf("%v", first)
	}
}
