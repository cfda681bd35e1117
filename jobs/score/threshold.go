package score

import (
	"context"
	"errors"
	"fmt"
	"math"

	"winnow/configs"
	"winnow/io/query"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// Cut is a function's threshold made a number: the least score that matches.
type Cut struct {
	// Threshold is a float32's value, as scores are. No score reaches
	// math.MaxFloat32, which stands for "nothing matches".
	Threshold float64
	Labels    *Labels // what a threshold by precision rests on; nil for the other rules
}

// Finite is the threshold for people and files; nil where nothing can match.
func (c Cut) Finite() *float64 {
	if c.Threshold >= math.MaxFloat32 {
		return nil
	}
	t := c.Threshold
	return &t
}

// Labels are the labels that a threshold by precision rests on. Anchors do not
// count: a function finds what it was made from.
type Labels struct {
	Label    string `json:"label"`
	Labeled  int64  `json:"labeled"`             // labeled rows with a score
	Positive int64  `json:"positive"`            // of them with the label
	Matches  int64  `json:"matches"`             // of the labeled rows at or above the threshold
	Hits     int64  `json:"hits"`                // of these with the label
	Problem  string `json:"otherwise,omitempty"` // why the threshold is the other one
}

func (l *Labels) String() string {
	if l.Problem != "" {
		return "otherwise, for " + l.Problem
	}
	return fmt.Sprintf("%d of %d labeled matches are %s", l.Hits, l.Matches, l.Label)
}

// LabelOf is the label that a function is about: what its threshold names, else
// its own name.
func LabelOf(f *configs.Function) string {
	if l := f.Definition.Threshold.Label; l != "" {
		return l
	}
	return f.Name
}

// Threshold turns a function's rule into a number. from is a DuckDB table with
// asset_id and the function's scores in a column of its name; a rule of the top K
// and one by precision need the tables batched and labels beside it. Labels that
// show no threshold are a *pipeline.UsageError.
func Threshold(ctx context.Context, db *query.DB, f *configs.Function, from string) (Cut, error) {
	return Resolve(ctx, db, f, f.Definition.Threshold, from)
}

// Resolve is Threshold with another rule than the function's own.
func Resolve(ctx context.Context, db *query.DB, f *configs.Function, t function.Threshold, from string) (c Cut, err error) {
	col := query.Ident(f.Name)
	switch {
	case t.Is(function.RuleNumber):
		c.Threshold = t.Value
	case t.Is(function.RuleTop):
		// Rows that no batch can take any more do not use up the K places.
		err = db.Row(ctx, fmt.Sprintf(`SELECT coalesce(min(x), 'infinity'::FLOAT) FROM (SELECT %s AS x FROM %s s
			WHERE NOT EXISTS (FROM batched b WHERE b.asset_id = s.asset_id) AND NOT EXISTS (FROM labels l WHERE l.asset_id = s.asset_id)
			ORDER BY x DESC LIMIT %d)`, col, from, int64(t.Value)), []any{&c.Threshold})
	case t.Is(function.RulePrecision):
		return precise(ctx, db, f, t, from)
	default:
		var cut function.Cut
		cut, err = t.Resolve(stream(ctx, db, col, from))
		c.Threshold = cut.Threshold
	}
	if err != nil {
		return c, fmt.Errorf("threshold of function %s: %w", f.Name, err)
	}
	c.Threshold = asScore(c.Threshold)
	return c, nil
}

// asScore compares like with like: scores are float32. The largest number stands
// for no match and, unlike infinity, is SQL.
func asScore(x float64) float64 { return float64(float32(min(x, math.MaxFloat32))) }

// precise resolves a threshold by precision.
func precise(ctx context.Context, db *query.DB, f *configs.Function, t function.Threshold, from string) (Cut, error) {
	label := t.Label
	if label == "" {
		label = f.Name
	}
	scores, positive, err := Labeled(ctx, db, f, []string{label}, from)
	if err != nil {
		return Cut{}, fmt.Errorf("threshold of function %s: %w", f.Name, err)
	}
	c := Cut{Labels: &Labels{Label: label, Labeled: int64(len(scores))}}
	for _, yes := range positive {
		if yes {
			c.Labels.Positive++
		}
	}
	cut, err := function.PrecisionCut(scores, positive, t.Value, function.LeastLabels)
	if err == nil {
		c.Threshold, c.Labels.Matches = cut.Threshold, cut.Matches
		for i, yes := range positive {
			if yes && float64(scores[i]) >= cut.Threshold {
				c.Labels.Hits++
			}
		}
		return c, nil
	}
	why, fix := err.Error(), "label more rows, or say what counts until then: {precision: {at_least: 0.9, otherwise: auto}}"
	if c.Labels.Positive == 0 && len(scores) > 0 {
		if why, fix, err = unknown(ctx, db, label); err != nil {
			return c, err
		}
	}
	if t.Otherwise == nil {
		p := f.Problem("$.threshold", fmt.Sprintf("function %s, threshold by precision of the label %q: %s", f.Name, label, why), fix)
		return c, &pipeline.UsageError{Problems: []pipeline.Problem{p}}
	}
	other, err := Resolve(ctx, db, f, *t.Otherwise, from)
	c.Threshold, c.Labels.Problem = other.Threshold, why
	return c, err
}

// unknown says which labels there are when none is as it is named.
func unknown(ctx context.Context, db *query.DB, label string) (why, fix string, err error) {
	near, err := query.Column[string](ctx, db, "SELECT label FROM labels WHERE label IS NOT NULL GROUP BY label ORDER BY jaro_winkler_similarity(lower(label), lower(?)) DESC, label LIMIT 3", label)
	if err != nil {
		return "", "", err
	}
	for i, l := range near {
		near[i] = fmt.Sprintf("%q", l)
	}
	return "no labeled row has this label", "name it, {precision: {at_least: 0.9, label: NAME}}; labels that are most like it: " + oneOf(near), nil
}

func oneOf(words []string) string {
	switch n := len(words); n {
	case 0:
		return "none"
	case 1:
		return words[0]
	default:
		s := words[0]
		for _, w := range words[1 : n-1] {
			s += ", " + w
		}
		return s + " or " + words[n-1]
	}
}

// Labeled lists the scores of the labeled rows in the order of their ids, but for
// the function's own anchors, and which of them have one of the labels that it is
// about. A row with several labels counts once. from is as in Threshold; the
// table labels stands beside it.
func Labeled(ctx context.Context, db *query.DB, f *configs.Function, about []string, from string) (scores []float32, positive []bool, err error) {
	err = EachLabeled(ctx, db, f, about, from, func(_ string, x float32, yes bool) error {
		scores, positive = append(scores, x), append(positive, yes)
		return nil
	})
	return scores, positive, err
}

// EachLabeled is Labeled, one row at a time and with its id.
func EachLabeled(ctx context.Context, db *query.DB, f *configs.Function, about []string, from string, fn func(id string, score float32, yes bool) error) error {
	own := map[string]bool{}
	for _, a := range all(f) {
		own[a.Asset] = true
	}
	sql := fmt.Sprintf(`SELECT s.asset_id, s.%[1]s, l.yes FROM %[2]s s
		JOIN (SELECT asset_id, coalesce(bool_or(label IN %[3]s), false) AS yes FROM labels GROUP BY asset_id) l USING (asset_id)
		WHERE s.%[1]s IS NOT NULL ORDER BY s.asset_id`, query.Ident(f.Name), from, query.Literals(about))
	return db.Each(ctx, sql, func(scan func(...any) error) error {
		var id string
		var x float64
		var yes bool
		if err := scan(&id, &x, &yes); err != nil || own[id] {
			return err
		}
		return fn(id, float32(x), yes)
	})
}

// Number is a score in SQL.
func Number(x float64) string { return fmt.Sprintf("%v::FLOAT", float32(x)) }

// stream streams one column of scores, in blocks.
func stream(ctx context.Context, db *query.DB, col, from string) function.Scan {
	return func(yield func([]float32) error) error {
		buf := make([]float32, 0, 4096)
		err := db.Each(ctx, fmt.Sprintf("SELECT %s FROM %s", col, from), func(scan func(...any) error) error {
			var x *float64
			if err := scan(&x); err != nil || x == nil {
				return err
			}
			if buf = append(buf, float32(*x)); len(buf) < cap(buf) {
				return nil
			}
			err := yield(buf)
			buf = buf[:0]
			return err
		})
		if err != nil {
			return err
		}
		return yield(buf)
	}
}

// Thresholds resolves the rules of several functions and returns all that is
// wrong with them at once. fn gets each function's cut.
func Thresholds(ctx context.Context, db *query.DB, fns []*configs.Function, from func(*configs.Function) string, fn func(i int, c Cut) error) error {
	var faults pipeline.UsageError
	for i, f := range fns {
		c, err := Threshold(ctx, db, f, from(f))
		var usage *pipeline.UsageError
		if errors.As(err, &usage) {
			faults.Problems = append(faults.Problems, usage.Problems...)
			continue
		}
		if err == nil {
			err = fn(i, c)
		}
		if err != nil {
			return err
		}
	}
	if len(faults.Problems) > 0 {
		return &faults
	}
	return nil
}
