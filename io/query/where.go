package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"

	"winnow/pipeline"
)

// ExprError is a fault of an expression that a user wrote. It unwraps to a
// *pipeline.UsageError.
type ExprError struct {
	Line   int    // in the expression, from 1; 0 when unknown
	Column int    // in characters, from 1; 0 when unknown
	What   string // what is wrong
	Fix    string // what to do; may be empty
}

func (e *ExprError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	}
	b.WriteString(e.What)
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

func (e *ExprError) Unwrap() error {
	return &pipeline.UsageError{Problems: []pipeline.Problem{{Line: e.Line, Column: e.Column, What: e.What, Fix: e.Fix}}}
}

// Parens puts an expression that CheckWhere passed into parentheses, so that it
// stands as a whole in a larger one, even when it ends in a comment.
func Parens(expr string) string { return "(\n" + expr + "\n)" }

// maxExpr bounds an expression in bytes: DuckDB needs time that grows with the
// square of the number of conditions, 40 s for 20,000.
const maxExpr = 64 << 10

// CheckWhere makes sure that expr is exactly one SQL expression that reads
// nothing but tables: no second statement, no further clauses, no parameters,
// no table functions, no functions that never give the same answer twice, and no
// table names that DuckDB would take for files.
// Whether the columns exist is left to BindWhere. A fault is an *ExprError.
func (db *DB) CheckWhere(ctx context.Context, expr string) error {
	if strings.TrimSpace(expr) == "" {
		return &ExprError{What: "the expression is empty", Fix: "leave where: out to choose among all assets"}
	}
	if !utf8.ValidString(expr) || strings.ContainsRune(expr, 0) {
		return &ExprError{What: "the expression is not valid UTF-8"}
	}
	if len(expr) > maxExpr {
		return &ExprError{What: fmt.Sprintf("the expression has %d bytes, and at most %d are allowed", len(expr), maxExpr),
			Fix: "put long lists of ids into a file, for exclude: [{ids: FILE}], or into a column of the manifest's metadata"}
	}
	db.checkMu.Lock()
	defer db.checkMu.Unlock()
	// As itself and within parentheses: what closes the parentheses and opens
	// new ones, such as "a) OR (b", is no expression by itself, and what adds a
	// clause, such as "a ORDER BY b", is none within parentheses.
	inner, err := db.parseWhere(ctx, "SELECT 1 FROM t WHERE (\n", expr, "\n)")
	if err != nil {
		return err
	}
	outer, err := db.parseWhere(ctx, "SELECT 1 FROM t WHERE\n", expr, "\n")
	if err != nil {
		return err
	}
	forget(inner)
	forget(outer)
	if !reflect.DeepEqual(inner, outer) {
		return &ExprError{What: "this is more than one expression", Fix: "write one condition, joined by AND and OR"}
	}
	return nil
}

// serialized is what json_serialize_sql returns.
type serialized struct {
	Error    bool             `json:"error"`
	Message  string           `json:"error_message"`
	Position json.Number      `json:"position"`
	Stmts    []map[string]any `json:"statements"`
}

// parseWhere returns the syntax tree of the WHERE clause of before + expr +
// after, once it is sure that expr is all there is to it.
func (db *DB) parseWhere(ctx context.Context, before, expr, after string) (any, error) {
	var text string
	err := db.check.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", before+expr+after).Scan(&text)
	if err != nil {
		return nil, db.exprError(ctx, err, expr, len(before), nil)
	}
	var s serialized
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&s); err != nil {
		// DuckDB writes a number that is too large for it as Infinity, which is no JSON.
		return nil, &ExprError{What: "it holds a number beyond 1.8e308", Fix: "write a smaller one"}
	}
	more := &ExprError{What: "this is more than one expression", Fix: "write one condition, joined by AND and OR"}
	if s.Error {
		if s.Position == "" { // not one SELECT
			return nil, more
		}
		e := &ExprError{What: shorten(s.Message, 500)}
		// The parser counts characters, the binder bytes.
		if at, err := strconv.Atoi(string(s.Position)); err == nil {
			at = bytesOf(expr, at-len(before))
			e.locate(expr, at)
			if at >= 0 && at < len(expr) && expr[at] == ';' {
				e.Fix = "write one condition without a semicolon, joined by AND and OR"
			}
			if at == len(expr) {
				e.What = "syntax error: something is missing at the end"
			}
			e.quotes(expr)
		}
		return nil, e
	}
	if len(s.Stmts) != 1 {
		return nil, more
	}
	node, _ := s.Stmts[0]["node"].(map[string]any)
	if node == nil || node["type"] != "SELECT_NODE" {
		return nil, more
	}
	for key, v := range node {
		switch key {
		case "type", "from_table", "select_list", "where_clause", "aggregate_handling":
		case "cte_map":
			if m, _ := v.(map[string]any); len(m) != 1 || !empty(m["map"]) {
				return nil, more
			}
		default: // modifiers, group_expressions, having, qualify, sample, …
			if !empty(v) {
				return nil, more
			}
		}
	}
	from, _ := node["from_table"].(map[string]any)
	if from["type"] != "BASE_TABLE" || from["table_name"] != "t" || from["alias"] != "" {
		return nil, more
	}
	w := walker{expr: expr, offset: len(before)}
	if err := w.walk(node["where_clause"]); err != nil {
		return nil, err
	}
	return node["where_clause"], nil
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return false
}

// forget removes the positions from a syntax tree.
func forget(node any) {
	switch n := node.(type) {
	case map[string]any:
		delete(n, "query_location")
		for _, v := range n {
			forget(v)
		}
	case []any:
		for _, v := range n {
			forget(v)
		}
	}
}

// walker looks for what an expression may not contain.
type walker struct {
	expr   string
	offset int
}

// readsOnlyTables are the things that a subquery may select from.
var readsOnlyTables = map[string]bool{"BASE_TABLE": true, "JOIN": true, "SUBQUERY": true, "EMPTY": true, "EMPTY_FROM": true}

// volatile are the functions that do something, or give another answer each
// time. Those of the clock are allowed: conditions such as "of the last week"
// mean them.
var volatile = map[string]bool{
	"random": true, "setseed": true, "uuid": true, "uuidv4": true, "uuidv7": true, "gen_random_uuid": true,
	"sleep_ms": true, "write_log": true, "nextval": true, "currval": true, "current_setting": true, "current_query": true,
	"current_query_id": true, "current_connection_id": true, "current_transaction_id": true, "txid_current": true,
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (w *walker) walk(node any) error {
	switch n := node.(type) {
	case []any:
		for _, v := range n {
			if err := w.walk(v); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := w.look(n); err != nil {
			return err
		}
		for _, v := range n {
			if err := w.walk(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walker) look(n map[string]any) error {
	if n["class"] == "PARAMETER" {
		return w.fault(n, "parameters have no value here", "write the value itself")
	}
	if name, _ := n["function_name"].(string); n["class"] == "FUNCTION" && volatile[strings.ToLower(name)] {
		fix := "a batch that is chosen again must come out the same"
		if strings.EqualFold(name, "random") {
			fix = "for a random choice write select: [{random: {}}]"
		}
		return w.fault(n, name+"() has no place in a condition: it does not give the same answer twice", fix)
	}
	if name, _ := n["function_name"].(string); n["class"] == "FUNCTION" && strings.EqualFold(name, "getenv") {
		return w.fault(n, "getenv() has no place in a condition: functions that read the environment are off", "write the value itself; ${NAME} stands for a variable in configs")
	}
	if from, ok := n["from_table"].(map[string]any); ok {
		if err := w.table(from); err != nil {
			return err
		}
	}
	for _, side := range []string{"left", "right"} {
		if ref, ok := n[side].(map[string]any); ok && n["join_type"] != nil {
			if err := w.table(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// table checks what a subquery selects from.
func (w *walker) table(ref map[string]any) error {
	kind, _ := ref["type"].(string)
	if !readsOnlyTables[kind] {
		return w.fault(ref, "a subquery may select from tables only", "leave out "+strings.ToLower(strings.ReplaceAll(kind, "_", " "))+"s")
	}
	if kind != "BASE_TABLE" {
		return nil
	}
	name, _ := ref["table_name"].(string)
	if !tableName.MatchString(name) || !empty(ref["schema_name"]) || !empty(ref["catalog_name"]) {
		return w.fault(ref, fmt.Sprintf("%q is no table that may be read here", name), "files and other databases are out of reach of where:")
	}
	return nil
}

func (w *walker) fault(n map[string]any, what, fix string) error {
	e := &ExprError{What: what, Fix: fix}
	if num, ok := n["query_location"].(json.Number); ok {
		if at, err := strconv.Atoi(num.String()); err == nil {
			e.locate(w.expr, at-w.offset)
		}
	}
	return e
}

// locate sets the line and column from a byte offset in the expression.
func (e *ExprError) locate(expr string, at int) {
	if at < 0 {
		return
	}
	before := expr[:min(at, len(expr))]
	e.Line = strings.Count(before, "\n") + 1
	before = before[strings.LastIndexByte(before, '\n')+1:]
	e.Column = utf8.RuneCountInString(before) + 1
}

var doubleQuoted = regexp.MustCompile(`=\s*("[^"]*")`)

// quotes tells those who compare with a "text" that texts stand in single quotes.
func (e *ExprError) quotes(expr string) {
	if m := doubleQuoted.FindStringSubmatch(expr); m != nil && e.Fix == "" {
		e.Fix = "texts stand in single quotes: '" + strings.ReplaceAll(strings.Trim(m[1], `"`), "'", "''") + "'"
	}
}

// bytesOf returns the byte offset of the nth character of s.
func bytesOf(s string, n int) int {
	for at := range s {
		if n <= 0 {
			return at + min(n, 0)
		}
		n--
	}
	return len(s)
}

// BindWhere is CheckWhere, and makes sure that expr is a boolean condition on
// the rows of a table: its columns and functions exist, its types fit. A fault
// is an *ExprError, with what the user may have meant.
func (db *DB) BindWhere(ctx context.Context, table, expr string) error {
	if err := db.CheckWhere(ctx, expr); err != nil {
		return err
	}
	db.checkMu.Lock()
	defer db.checkMu.Unlock()
	// One row of NULLs, so that constants are converted, too.
	before := fmt.Sprintf("SELECT count(*) FROM (SELECT r.* FROM (SELECT 1) LEFT JOIN (SELECT * FROM %[1]s LIMIT 0) r ON true) AS %[1]s WHERE (\n", Ident(table))
	var n int64
	if err := db.check.QueryRowContext(ctx, before+expr+"\n)").Scan(&n); err != nil {
		return db.exprError(ctx, err, expr, len(before), db.columnsOf(ctx, expr))
	}
	var typ string
	err := db.check.QueryRowContext(ctx, "SELECT column_type FROM (DESCRIBE SELECT (\n"+expr+"\n) AS x FROM "+Ident(table)+")").Scan(&typ)
	if err != nil {
		return db.exprError(ctx, err, expr, -1, nil)
	}
	if typ != "BOOLEAN" {
		return &ExprError{Line: 1, Column: 1, What: fmt.Sprintf("this is a value of type %s, not a condition", typ), Fix: "compare it with something, as in: " + shorten(strings.TrimSpace(expr), 60) + " > 0"}
	}
	return nil
}

// columnsOf returns where each name of a column or field stands first in the
// expression, in bytes.
func (db *DB) columnsOf(ctx context.Context, expr string) map[string]int {
	at := map[string]int{}
	const before = "SELECT 1 FROM t WHERE\n"
	tree, err := db.parseWhere(ctx, before, expr, "\n")
	if err != nil {
		return at
	}
	var walk func(any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, v := range n {
				walk(v)
			}
		case map[string]any:
			names, _ := n["column_names"].([]any)
			num, _ := n["query_location"].(json.Number)
			pos, err := strconv.Atoi(num.String())
			for _, name := range names {
				if s, ok := name.(string); ok && err == nil {
					if old, seen := at[s]; !seen || pos-len(before) < old {
						at[s] = pos - len(before)
					}
				}
			}
			for _, v := range n {
				walk(v)
			}
		}
	}
	walk(tree)
	return at
}

// message is an error of a connection with errors_as_json.
type message struct {
	Type       string      `json:"exception_type"`
	Message    string      `json:"exception_message"`
	Position   json.Number `json:"position"`
	Candidates string      `json:"candidates"`
}

var (
	missingKey  = regexp.MustCompile(`^Could not find key "(.*?)" in struct`)
	suggestions = regexp.MustCompile(`(?s)\s*(Did you mean|Candidate bindings:|Candidate Entries:|Candidate functions:)\s*(.*)$`)
)

// exprError makes an error of DuckDB about an expression, which starts at byte
// offset of the statement, one for people.
func (db *DB) exprError(ctx context.Context, err error, expr string, offset int, columns map[string]int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var de *duckdb.Error
	if !errors.As(err, &de) {
		return fmt.Errorf("check the expression: %w", err)
	}
	_, text, _ := strings.Cut(de.Msg, "{")
	var m message
	if json.Unmarshal([]byte("{"+text), &m) != nil || m.Message == "" {
		return &ExprError{What: shorten(de.Msg, 500)}
	}
	e := &ExprError{What: shorten(m.Message, 500)}
	if hint := suggestions.FindStringSubmatch(m.Message); hint != nil {
		e.What = strings.TrimSpace(strings.TrimSuffix(m.Message, hint[0]))
		e.What = shorten(e.What, 500)
		e.Fix = "known are: " + shorten(strings.Join(strings.Fields(hint[2]), " "), 300)
		if hint[1] == "Did you mean" {
			e.Fix = "did you mean " + strings.TrimSpace(hint[2])
		}
	}
	if offset >= 0 && m.Position != "" {
		if at, err := strconv.Atoi(string(m.Position)); err == nil {
			e.locate(expr, at-offset)
			if at = at - offset; at >= 0 && at < len(expr) && expr[at] == '"' {
				e.Fix = ""
				e.quotes(expr)
			}
		}
	} else if key := missingKey.FindStringSubmatch(m.Message); key != nil {
		if at, ok := columns[key[1]]; ok {
			e.locate(expr, at)
		}
	}
	return e
}
