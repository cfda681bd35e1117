package query

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Divisor is what an expression divides by.
type Divisor struct {
	SQL    string
	Line   int // of the division, in the expression, from 1; 0 when unknown
	Column int
}

// divisions are the operators and functions whose second argument must not be 0.
// DuckDB makes infinity, NaN or NULL of such a division, by which of them it is.
var divisions = map[string]bool{"/": true, "//": true, "%": true, "divide": true, "mod": true, "fmod": true}

// Divisors lists what an expression that passed CheckWhere divides by, but for
// numbers other than 0. It does not look into subqueries and lambdas, whose
// columns are not those of the rows.
func (db *DB) Divisors(ctx context.Context, expr string) (list []Divisor, err error) {
	db.checkMu.Lock()
	defer db.checkMu.Unlock()
	const before = "SELECT 1 FROM t WHERE\n"
	tree, err := db.parseWhere(ctx, before, expr, "\n")
	if err != nil {
		return nil, err
	}
	var nodes []map[string]any
	var walk func(any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, v := range n {
				walk(v)
			}
		case map[string]any:
			if n["class"] == "SUBQUERY" || n["class"] == "LAMBDA" {
				return
			}
			name, _ := n["function_name"].(string)
			if args, _ := n["children"].([]any); n["class"] == "FUNCTION" && divisions[strings.ToLower(name)] && len(args) == 2 {
				nodes = append(nodes, n)
			}
			for _, k := range slices.Sorted(maps.Keys(n)) {
				walk(n[k])
			}
		}
	}
	walk(tree)
	for _, n := range nodes {
		by := n["children"].([]any)[1]
		if x, ok := constant(by); ok && x != 0 {
			continue
		}
		sql, err := db.deparse(ctx, by)
		if err != nil {
			return nil, err
		}
		d := Divisor{SQL: sql}
		d.Line, d.Column = placeOf(n, expr, len(before))
		list = append(list, d)
	}
	return list, nil
}

// deparse turns the syntax tree of an expression into SQL.
func (db *DB) deparse(ctx context.Context, node any) (string, error) {
	var text string
	if err := db.check.QueryRowContext(ctx, "SELECT json_serialize_sql('SELECT 1 FROM t WHERE x')::VARCHAR").Scan(&text); err != nil {
		return "", err
	}
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return "", err
	}
	doc["statements"].([]any)[0].(map[string]any)["node"].(map[string]any)["where_clause"] = node
	raw, err := json.Marshal(doc)
	if err != nil {
		return "", err
	}
	if err := db.check.QueryRowContext(ctx, "SELECT json_deserialize_sql(?::JSON)", string(raw)).Scan(&text); err != nil {
		return "", err
	}
	_, sql, ok := strings.Cut(text, " WHERE ")
	if !ok {
		return "", fmt.Errorf("an expression came back as %q", text)
	}
	return sql, nil
}

func placeOf(n map[string]any, expr string, offset int) (line, column int) {
	num, _ := n["query_location"].(json.Number)
	at, err := strconv.Atoi(num.String())
	if err != nil {
		return 0, 0
	}
	var e ExprError
	e.locate(expr, at-offset)
	return e.Line, e.Column
}

// constant is the value of a number.
func constant(node any) (float64, bool) {
	v, ok := literal(node)
	x, num := v.(float64)
	return x, ok && num
}

// literal is the value of a constant: a float64, a string or a bool.
func literal(node any) (any, bool) {
	n, _ := node.(map[string]any)
	if n == nil || n["class"] != "CONSTANT" {
		return nil, false
	}
	v, _ := n["value"].(map[string]any)
	typ, _ := v["type"].(map[string]any)
	switch x := v["value"].(type) {
	case string:
		return x, typ["id"] == "VARCHAR"
	case bool:
		return x, true
	case json.Number:
		f, err := x.Float64()
		if info, _ := typ["type_info"].(map[string]any); typ["id"] == "DECIMAL" && info != nil {
			scale, _ := info["scale"].(json.Number)
			s, _ := scale.Int64()
			f /= math.Pow10(int(s))
		}
		return f, err == nil
	}
	return nil, false
}

// Contradiction tells of a condition that no row can meet, because what it joins
// by AND excludes each other: "a > 5 AND a < 3", "a = 'x' AND a = 'y'", "b AND NOT
// b". implied are lower bounds of columns that a boolean column stands for, such
// as {"f_match": {"f", 0.8}}. Nil means that none was found: it looks at
// comparisons of columns with constants only.
func (db *DB) Contradiction(ctx context.Context, expr string, implied map[string]Bound) (*ExprError, error) {
	db.checkMu.Lock()
	defer db.checkMu.Unlock()
	const before = "SELECT 1 FROM t WHERE\n"
	tree, err := db.parseWhere(ctx, before, expr, "\n")
	if err != nil {
		return nil, err
	}
	c := conjunction{ranges: map[string]*limits{}, implied: implied}
	c.join(tree)
	if c.clash == nil {
		return nil, nil
	}
	e := &ExprError{What: "no row can meet this: " + c.what, Fix: "correct one of the two, or join them by OR"}
	e.Line, e.Column = placeOf(c.clash, expr, len(before))
	return e, nil
}

// Bound is a least value of a column.
type Bound struct {
	Column string
	Least  float64
}

// limits are what is left for one column.
type limits struct {
	low, high         float64
	lowOpen, highOpen bool
	equal             *string
	truth             *bool
	said              []string
}

// conjunction collects what is joined by AND.
type conjunction struct {
	ranges  map[string]*limits
	implied map[string]Bound
	clash   map[string]any
	what    string
}

func (c *conjunction) join(node any) {
	n, _ := node.(map[string]any)
	if n == nil || c.clash != nil {
		return
	}
	switch n["type"] {
	case "CONJUNCTION_AND":
		children, _ := n["children"].([]any)
		for _, child := range children {
			c.join(child)
		}
	case "COMPARE_BETWEEN":
		if column, ok := columnName(n["input"]); ok {
			c.bound(n, column, ">=", n["lower"])
			c.bound(n, column, "<=", n["upper"])
		}
	case "COLUMN_REF":
		c.truth(n, n, true)
	case "OPERATOR_NOT":
		if children, _ := n["children"].([]any); len(children) == 1 {
			c.truth(n, children[0], false)
		}
	default:
		op, known := comparisons[fmt.Sprint(n["type"])]
		if !known {
			return
		}
		if column, ok := columnName(n["left"]); ok {
			c.bound(n, column, op, n["right"])
		} else if column, ok := columnName(n["right"]); ok {
			c.bound(n, column, turned[op], n["left"])
		}
	}
}

var comparisons = map[string]string{"COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=", "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=", "COMPARE_EQUAL": "="}

var turned = map[string]string{">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "="}

func columnName(node any) (string, bool) {
	n, _ := node.(map[string]any)
	if n == nil || n["class"] != "COLUMN_REF" {
		return "", false
	}
	names, _ := n["column_names"].([]any)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprint(name)
	}
	return strings.Join(parts, "."), len(parts) > 0
}

func (c *conjunction) of(column string) *limits {
	key := strings.ToLower(column)
	if c.ranges[key] == nil {
		c.ranges[key] = &limits{low: math.Inf(-1), high: math.Inf(1)}
	}
	return c.ranges[key]
}

// truth takes in a boolean column, or NOT of one.
func (c *conjunction) truth(at map[string]any, node any, is bool) {
	column, ok := columnName(node)
	if !ok {
		return
	}
	r := c.of(column)
	if r.truth != nil && *r.truth != is {
		c.clash, c.what = at, column+" and NOT "+column
		return
	}
	r.truth = &is
	if b, ok := c.implied[strings.ToLower(column)]; ok && is {
		c.limit(at, b.Column, ">=", b.Least, fmt.Sprintf("%s, which is %s >= %v", column, b.Column, b.Least))
	}
}

// bound takes in a comparison of a column with a constant.
func (c *conjunction) bound(at map[string]any, column, op string, value any) {
	v, ok := literal(value)
	if !ok || c.clash != nil {
		return
	}
	switch v := v.(type) {
	case float64:
		c.limit(at, column, op, v, fmt.Sprintf("%s %s %v", column, op, v))
	case string:
		r := c.of(column)
		if op != "=" {
			return
		}
		if r.equal != nil && *r.equal != v {
			c.clash, c.what = at, fmt.Sprintf("%s = '%s' and %s = '%s'", column, *r.equal, column, v)
			return
		}
		r.equal = &v
	}
}

func (c *conjunction) limit(at map[string]any, column, op string, x float64, said string) {
	r := c.of(column)
	if strings.HasPrefix(op, ">") || op == "=" {
		if open := op == ">"; x > r.low || x == r.low && open {
			r.low, r.lowOpen = x, open
		}
	}
	if strings.HasPrefix(op, "<") || op == "=" {
		if open := op == "<"; x < r.high || x == r.high && open {
			r.high, r.highOpen = x, open
		}
	}
	r.said = append(r.said, said)
	if r.low > r.high || r.low == r.high && (r.lowOpen || r.highOpen) {
		c.clash, c.what = at, strings.Join(r.said, " and ")
	}
}
