package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// Checks are what a config's own package cannot know: models and SQL. The caller
// calls done when the config is loaded.
func Checks(ctx context.Context) (list []configs.Check, done func(), err error) {
	dir, err := os.MkdirTemp("", "winnow-lint-")
	if err != nil {
		return nil, nil, err
	}
	db, err := query.Open(ctx, query.Options{Dir: dir, MemoryLimit: "256MB"})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	done = func() { _ = errors.Join(db.Close(), os.RemoveAll(dir)) }
	return []configs.Check{configs.CheckModels(model), conditions(ctx, db)}, done, nil
}

func model(name string) (configs.Model, error) {
	s, err := models.Describe(name)
	if err != nil {
		return configs.Model{}, err
	}
	tower, err := s.DescribeTower()
	return configs.Model{Image: s.Kind == models.Image, Text: s.Kind == models.Text, Tower: tower != nil}, err
}

// conditions checks that every where: is one SQL expression that a row can meet,
// and that values are expressions.
func conditions(ctx context.Context, db *query.DB) configs.Check {
	return func(c *configs.Config) (problems []pipeline.Problem) {
		implied := map[string]query.Bound{} // numbers as thresholds
		for _, f := range c.Definitions {
			if f.Definition != nil && f.Threshold.Is(function.RuleNumber) {
				implied[strings.ToLower(f.Name+"_match")] = query.Bound{Column: f.Name, Least: f.Threshold.Value}
			}
		}
		say := func(path string, err error, shift int) {
			var expr *query.ExprError
			if !errors.As(err, &expr) {
				problems = append(problems, c.Problem(path, err.Error(), ""))
				return
			}
			column := expr.Column
			if expr.Line == 1 {
				column = max(column-shift, 1)
			}
			problems = append(problems, c.ProblemWithin(path, expr.Line, column, expr.What, expr.Fix))
		}
		for i, b := range c.Batches {
			if path := fmt.Sprintf("$.batches[%d].where", i); strings.TrimSpace(b.Where) != "" {
				if err := db.CheckWhere(ctx, b.Where); err != nil {
					say(path, err, 0)
				} else if e, err := db.Contradiction(ctx, b.Where, implied); err != nil {
					say(path, err, 0)
				} else if e != nil {
					say(path, e, 0)
				}
			}
			if b.SelectionConfig != nil {
				continue // its SQL is ours
			}
			for _, v := range values(i, b) {
				if err := db.CheckWhere(ctx, "("+v.sql+") IS NULL"); err != nil {
					say(v.path, err, 1)
				}
			}
		}
		return problems
	}
}

// value is SQL of a batch that is no condition.
type value struct{ path, sql string }

func values(i int, b configs.Batch) (list []value) {
	add := func(path, sql string) {
		if strings.TrimSpace(sql) != "" {
			list = append(list, value{fmt.Sprintf("$.batches[%d].%s", i, path), sql})
		}
	}
	for j, q := range b.Quotas {
		add(fmt.Sprintf("quotas[%d].per", j), q.Per)
	}
	for j, o := range b.Select {
		at := fmt.Sprintf("select[%d].", j)
		add(at+"top", o.Top)
		if o.Weights != nil {
			add(at+"weights.by", o.Weights.By)
		}
		if o.Balance != nil {
			add(at+"balance.by", o.Balance.By)
		}
		if o.Ordered != nil {
			add(at+"ordered.by", o.Ordered.By)
		}
	}
	return list
}
