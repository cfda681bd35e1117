// Package initcmd is the init job: it looks at what the user has, a folder or a
// manifest, and writes a config that works for it, with an example function.
package initcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

// Cmd is the init command.
type Cmd struct {
	Path   string            `arg:"" help:"A folder of pictures or of text files, a manifest (.jsonl, .csv, .parquet), or a .txt file with a text a line."`
	Fields map[string]string `help:"A column of the manifest that winnow does not know by its name, such as asset_id=code. Repeat for more." placeholder:"WORD=COLUMN"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Writes winnow.yaml (or --config), and functions/example.yaml beside it. Files that exist are never touched.

Examples:
  winnow init ./photos
  winnow init messages.jsonl
  winnow init products.csv --fields asset_id=sku --fields caption=title

Exit status: 0 done, 1 failed, 2 usage: a file exists, or there is nothing to work with.`
}

// Result is what init wrote.
type Result struct {
	Files []string `json:"files"`
	Found string   `json:"found"` // what there is, for people
	Next  string   `json:"next"`  // the command to type
}

// Run looks and writes.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	r, err := c.write(ctx, app)
	if err != nil {
		return err
	}
	return app.Print(r, func(out io.Writer) {
		fmt.Fprintf(out, "found %s\n", r.Found)
		for _, f := range r.Files {
			fmt.Fprintf(out, "wrote %s\n", f)
		}
		fmt.Fprintf(out, "next: %s\n", r.Next)
	})
}

func (c *Cmd) write(ctx context.Context, app *job.App) (*Result, error) {
	config, err := filepath.Abs(app.Globals.Config)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(config)
	if !free(config) {
		return nil, taken(config)
	}
	s, err := look(ctx, c.Path, dir, c.Fields)
	if err != nil {
		return nil, err
	}
	var files []file
	if s.converted != nil {
		files = append(files, *s.converted)
	}
	name, globs := functionName(dir)
	files = append(files, file{filepath.Join(dir, "functions", name+".yaml"), exampleFunction(s, name)}, file{config, exampleConfig(s, c.Path, workspaceName(config), name, globs)})
	r := &Result{Found: s.String(), Next: "winnow run"}
	if wd, err := os.Getwd(); err != nil || config != filepath.Join(wd, "winnow.yaml") {
		r.Next += " -c " + short(config)
	}
	for _, f := range files {
		if err := f.create(); err != nil {
			return nil, err
		}
		r.Files = append(r.Files, short(f.path))
	}
	if _, err := configs.Load(config, app.Getenv); err != nil {
		return nil, fmt.Errorf("the config that init wrote is wrong; please report it: %w", err)
	}
	return r, nil
}

func free(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// functionName finds a name for the example that no function file has, and what
// the config says of its functions: others' may need embeddings that are not here.
func functionName(dir string) (name, globs string) {
	name = "example"
	for n := 2; !free(filepath.Join(dir, "functions", name+".yaml")); n++ {
		name = fmt.Sprintf("example%d", n)
	}
	if others, _ := filepath.Glob(filepath.Join(dir, "functions", "*.yaml")); len(others) > 0 {
		return name, "functions/" + name + ".yaml"
	}
	return name, "functions/*.yaml"
}

// workspaceName is the folder for the workspace of a config: each has its own.
func workspaceName(config string) string {
	if base := strings.TrimSuffix(filepath.Base(config), filepath.Ext(config)); base != "winnow" {
		return base + "-workspace"
	}
	return "workspace"
}

// taken is the error of a file that init must not overwrite.
func taken(path string) error {
	return &pipeline.UsageError{Problems: []pipeline.Problem{{File: short(path), What: "it exists, and init overwrites nothing", Fix: "delete or rename it, or name another config with --config"}}}
}

// file is a file to write.
type file struct{ path, text string }

// create writes a file that must not exist.
func (f file) create() (err error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return taken(f.path)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = io.WriteString(w, f.text)
	return err
}

// short shows a path relative to the working directory where that is shorter.
func short(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// relative writes an address for a config in dir: relative to it where that is
// natural, with ./ in front so that everyone sees a path.
func relative(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil || strings.HasPrefix(rel, "../../..") {
		return path
	}
	if rel = filepath.ToSlash(rel); rel == "." || strings.HasPrefix(rel, "..") {
		return rel
	}
	return "./" + rel
}
