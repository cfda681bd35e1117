// Package status is the status job: what is in the workspace, what is stale, and
// what to type next. It takes no lock and writes nothing to the workspace, and
// it reads logs, ids and numbers only, never a vector.
package status

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
)

// Cmd is the status command.
type Cmd struct {
	Examples int `help:"How many rejected rows to show of each reason." default:"3" placeholder:"N"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Shows the assets by source, how far every embedding has come and what it rejected, whether indexes and
scores are fresh, the batches, the last run, and the command to type next. It takes no lock and changes
nothing, so it may be called while a run is at work.

Examples:
  winnow status
  winnow status --json | jq '.embeddings[] | {name, todo, rejected}'
  winnow status --examples 1000         every rejected row, if there are not more
  test "$(winnow status --json | jq '.stale | length')" = 0     is all done?

Exit status: 0 done (whatever is stale; a workspace that does not exist yet included), 1 a part of the
workspace could not be read, 2 usage or config, 5 a fault that a retry may not meet, 130 or 143 interrupted.`
}

// Run looks and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	r := &Report{Workspace: w.Store.URL(), Config: app.Globals.Config, Embeddings: []Embedding{}, Functions: []Function{}, Batches: []Batch{}}
	r.Assets = Assets{Version: -1, Sources: []Source{}}
	look := &collector{w: w, r: r, now: app.Now(), examples: max(c.Examples, 0)}
	if err := look.collect(ctx); err != nil {
		return err
	}
	r.conclude(configFlag(app.Globals.Config))
	if err := app.Print(r, r.Print); err != nil {
		return err
	}
	if look.err != nil {
		return &unreadable{len(r.Problems), look.err}
	}
	return nil
}

// configFlag is how a command names a config that is not the default one.
func configFlag(file string) string {
	if std, err := filepath.Abs("winnow.yaml"); err == nil && std == file {
		return ""
	}
	if wd, err := filepath.Abs("."); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && len(rel) < len(file) {
			file = rel
		}
	}
	return " -c " + quote(file)
}

// quote makes a word that a shell takes as it is.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " '\"$&;()<>|*?[]{}#~\\`!\t\n") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// unreadable says that the report has gaps. It takes the exit code of the first
// problem; the report has told them all.
type unreadable struct {
	n     int
	first error
}

func (e *unreadable) Error() string {
	if e.n == 1 {
		return "a part of the workspace could not be read: " + e.first.Error()
	}
	return fmt.Sprintf("%d parts of the workspace could not be read; the first: %v", e.n, e.first)
}

func (e *unreadable) Unwrap() error { return e.first }
