// Package lint is the lint job: it reports everything that is wrong with configs
// and their function files, without touching a workspace.
package lint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/models"
	"winnow/pipeline"
)

// Cmd is the lint command.
type Cmd struct {
	Files []string `arg:"" optional:"" name:"config" help:"The config files. Default: --config." type:"path"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Reads configs, their function files and model specs, and says everything that is wrong at once, each with file,
line, column and what to do. Nothing else is read and nothing written; whether anchors and columns exist is
for the run to find.

Examples:
  winnow lint
  winnow lint winnow.yaml other.yaml
  winnow lint --json              problems as JSON on stderr

Exit status: 0 all is well, 1 failed, 2 something is wrong.`
}

// File is what lint says of a good config.
type File struct {
	File       string `json:"file"`
	Sources    int    `json:"sources"`
	Embeddings int    `json:"embeddings"`
	Functions  int    `json:"functions"`
	Batches    int    `json:"batches"`
}

// Run checks the files and prints what they hold.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	files := c.Files
	if len(files) == 0 {
		files = []string{app.Globals.Config}
	}
	check, done, err := checks(ctx)
	if err != nil {
		return err
	}
	defer done()
	var all pipeline.UsageError
	seen := map[pipeline.Problem]bool{}
	var good []File
	for _, f := range files {
		cfg, err := configs.Load(f, app.Getenv, check...)
		var usage *pipeline.UsageError
		switch {
		case errors.As(err, &usage):
			for _, p := range usage.Problems {
				if !seen[p] { // configs may share function files
					seen[p] = true
					all.Problems = append(all.Problems, p)
				}
			}
		case err != nil:
			return err
		default:
			good = append(good, File{cfg.File, len(cfg.Sources), len(cfg.Embeddings), len(cfg.Definitions), len(cfg.Batches)})
		}
	}
	if len(all.Problems) > 0 {
		return &all
	}
	return app.Print(good, func(out io.Writer) {
		for _, f := range good {
			fmt.Fprintf(out, "%s: all is well: %s, %s, %s, %s\n", f.File,
				count(f.Sources, "source"), count(f.Embeddings, "embedding"), count(f.Functions, "function"), count(f.Batches, "batch"))
		}
	})
}

func count(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case strings.HasSuffix(word, "ch"):
		word += "e"
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// checks are what a config's own package cannot know: models and SQL.
func checks(ctx context.Context) (list []configs.Check, done func(), err error) {
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
	s, err := models.Load(name)
	if err != nil {
		return configs.Model{}, err
	}
	return configs.Model{Image: s.Kind == models.Image, Text: s.Kind == models.Text}, nil
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
