package curate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/pipeline"
)

// chosenBatch is a batch of the config, and where it stands there.
type chosenBatch struct {
	configs.Batch
	path string // such as "$.batches[0]"
}

// expression is SQL of the user's, and where it stands in the config.
type expression struct {
	path string
	sql  string
	// before and after make a condition of a value.
	before, after string
}

// expressions lists all SQL of a batch.
func expressions(b chosenBatch) (list []expression) {
	if b.Where != "" {
		list = append(list, expression{b.path + ".where", b.Where, "", ""})
	}
	own := func(path string) string { // what a selection_config was turned into stands there
		if b.SelectionConfig != nil {
			return b.path + ".selection_config"
		}
		return b.path + path
	}
	for _, c := range b.Conditions {
		list = append(list, expression{own(""), c, "", ""})
	}
	number := func(path, sql string) { list = append(list, expression{own(path), sql, "(", ") > 0"}) }
	value := func(path, sql string) { list = append(list, expression{own(path), sql, "(", ") IS NULL"}) }
	for i, q := range b.Quotas {
		value(fmt.Sprintf(".quotas[%d].per", i), q.Per)
	}
	for i, o := range b.Select {
		at := fmt.Sprintf(".select[%d]", i)
		switch {
		case o.Top != "":
			number(at+".top", o.Top)
		case o.Weights != nil:
			number(at+".weights.by", o.Weights.By)
		case o.Balance != nil:
			value(at+".balance.by", o.Balance.By)
		case o.Ordered != nil:
			value(at+".ordered.by", o.Ordered.By)
		}
	}
	return list
}

// check looks at the SQL and the names of all batches before any is chosen, and
// returns everything that is wrong with them.
func (r *rows) check(ctx context.Context, batches []chosenBatch) error {
	var faults pipeline.UsageError
	c := r.w.Config
	for _, b := range batches {
		before := len(faults.Problems)
		for _, e := range expressions(b) {
			err := r.db.BindWhere(ctx, "rows", e.before+e.sql+e.after)
			var fault *query.ExprError
			if err == nil && e.before == "" {
				fault, err = r.divides(ctx, b, e, query.Parens(e.sql)+" IS NOT FALSE")
			}
			if err != nil && !errors.As(err, &fault) {
				return err
			}
			if fault != nil {
				faults.Problems = append(faults.Problems, r.problem(b, e, fault))
			}
		}
		if len(faults.Problems) == before {
			list, err := r.valuesDivide(ctx, b)
			if err != nil {
				return err
			}
			faults.Problems = append(faults.Problems, list...)
		}
		for i, x := range b.Exclude {
			if x.Batch == "" {
				continue
			}
			known, err := query.Column[string](ctx, r.db, "SELECT DISTINCT name FROM batched ORDER BY name")
			if err != nil {
				return err
			}
			for _, o := range c.Batches {
				known = append(known, o.Name)
			}
			if fix, unknown := configs.Unknown(x.Batch, known); unknown {
				faults.Problems = append(faults.Problems, c.Problem(fmt.Sprintf("%s.exclude[%d].batch", b.path, i), fmt.Sprintf("there is no batch %q, in the config or in the workspace", x.Batch), fix))
			}
		}
	}
	if len(faults.Problems) > 0 {
		slices.SortStableFunc(faults.Problems, func(a, b pipeline.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return &faults
	}
	return nil
}

// valuesDivide finds the values of a batch, such as weights, that divide by zero on
// rows that are chosen from, unless the value stays a number there.
func (r *rows) valuesDivide(ctx context.Context, b chosenBatch) (list []pipeline.Problem, err error) {
	from := "true"
	for _, f := range r.filters(b) {
		from += " AND " + f.sql
	}
	for _, e := range expressions(b) {
		if e.before == "" {
			continue
		}
		v := query.Parens(e.sql)
		fault, err := r.divides(ctx, b, e, from+" AND ("+v+" IS NULL OR CAST("+v+" AS VARCHAR) IN ('inf', '-inf', 'nan'))")
		if err != nil {
			return nil, err
		}
		if fault != nil {
			fault.Column += len(e.before) // as problem takes it
			list = append(list, r.problem(b, e, fault))
		}
	}
	return list, nil
}

// divides finds SQL that divides by zero on rows where it counts: what DuckDB makes
// of it, infinity or nothing at all, nobody means.
func (r *rows) divides(ctx context.Context, b chosenBatch, e expression, counts string) (*query.ExprError, error) {
	list, err := r.db.Divisors(ctx, e.sql)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		where := fmt.Sprintf("(%s) = 0 AND %s", d.SQL, counts)
		n, err := r.db.Int(ctx, "SELECT count(*) FROM rows WHERE "+where)
		if err != nil {
			return nil, r.failed(b, err)
		}
		if n == 0 {
			continue
		}
		ids, err := query.Column[string](ctx, r.db, "SELECT asset_id FROM rows WHERE "+where+" ORDER BY asset_id LIMIT 3")
		if err != nil {
			return nil, err
		}
		fix := fmt.Sprintf("divide by nullif(%s, 0)", d.SQL)
		if e.before == "" {
			fix += fmt.Sprintf(", or add AND %s <> 0", d.SQL)
		}
		what := fmt.Sprintf("%s is 0 on %d rows (such as %s)", d.SQL, n, strings.Join(ids, ", "))
		if strings.Trim(d.SQL, "0.()") == "" {
			what, fix = "the divisor is the number 0", "correct it"
		}
		return &query.ExprError{Line: d.Line, Column: d.Column, What: "a division by zero: " + what, Fix: fix}, nil
	}
	return nil, nil
}

// problem is a fault of an expression at its place in the config.
func (r *rows) problem(b chosenBatch, e expression, fault *query.ExprError) pipeline.Problem {
	line, column := fault.Line, fault.Column
	if line == 1 {
		column -= len(e.before)
	}
	what := strings.TrimPrefix(e.path, b.path+".")
	return r.w.Config.ProblemWithin(e.path, line, max(column, 1), fmt.Sprintf("batch %s, %s: %s", b.Name, what, fault.What), fault.Fix)
}

// failed says where the SQL stands that DuckDB failed on because of a row, such as
// by a cast that the row does not allow.
func (r *rows) failed(b chosenBatch, err error) error {
	var e *query.Error
	if !errors.As(err, &e) {
		return err
	}
	list := expressions(b)
	if len(list) == 0 {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\n") // the rest quotes our statement
	at := list[0]                                // mostly where; the message quotes the value
	what := strings.TrimPrefix(at.path, b.path+".")
	return &pipeline.UsageError{Problems: []pipeline.Problem{r.w.Config.Problem(at.path,
		fmt.Sprintf("batch %s, %s: %s", b.Name, what, text), "guard the expression, for example with TRY_CAST or a CASE")}}
}
