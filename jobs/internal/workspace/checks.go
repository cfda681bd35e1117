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

// conditions checks that every where: is one SQL expression.
func conditions(ctx context.Context, db *query.DB) configs.Check {
	return func(c *configs.Config) (problems []pipeline.Problem) {
		for i, b := range c.Batches {
			if strings.TrimSpace(b.Where) == "" {
				continue
			}
			err := db.CheckWhere(ctx, b.Where)
			if err == nil {
				continue
			}
			path := fmt.Sprintf("$.batches[%d].where", i)
			var expr *query.ExprError
			if errors.As(err, &expr) {
				problems = append(problems, c.ProblemWithin(path, expr.Line, expr.Column, expr.What, expr.Fix))
				continue
			}
			problems = append(problems, c.Problem(path, err.Error(), ""))
		}
		return problems
	}
}
