// Package lint is the lint job: it reports everything that is wrong with configs
// and their function files, without touching a workspace.
package lint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
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
	check, done, err := workspace.Checks(ctx)
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
