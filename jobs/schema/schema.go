// Package schema is the schema job: it prints the JSON Schema of the files that
// users write, so that editors complete and check them.
package schema

import (
	"context"
	"fmt"
	"io"
	"os"

	"winnow/configs"
	"winnow/jobs/internal/job"
)

// Cmd is the schema command.
type Cmd struct {
	Kind string `arg:"" optional:"" enum:"config,function" default:"config" help:"Of which file: ${enum}."`
	Out  string `short:"o" help:"Write to FILE instead of stdout." placeholder:"FILE" type:"path"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Prints the JSON Schema (2020-12) of config files or function files.

Examples:
  winnow schema -o winnow.schema.json
  winnow schema function -o function.schema.json

Editors with a YAML language server then complete a file whose first line is
  # yaml-language-server: $schema=winnow.schema.json

Exit status: 0 done, 1 failed, 2 usage.`
}

// Run prints or writes the schema.
func (c *Cmd) Run(_ context.Context, app *job.App) error {
	b, err := configs.SchemaJSON(c.Kind)
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err := app.Out.Write(b)
		return err
	}
	if err := os.WriteFile(c.Out, b, 0o644); err != nil {
		return err
	}
	return app.Print(map[string]string{"file": c.Out}, func(out io.Writer) {
		fmt.Fprintf(out, "wrote %s; begin a %s file with the line\n# yaml-language-server: $schema=%s\n", c.Out, c.Kind, c.Out)
	})
}
