// Package version is the version job: what this winnow is made of.
package version

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"winnow/io/index"
	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/models"
	"winnow/models/onnx"
	"winnow/pipeline/vec"
)

// Cmd is the version command.
type Cmd struct{}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow version
  winnow version --json | jq -r .version

Exit status: 0. A library that is missing is listed as such; winnow doctor says what to do.`
}

// Library is a library that winnow uses.
type Library struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"` // why it cannot be used
}

// Model is a model spec that winnow brings.
type Model struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Dim         int    `json:"dim"`
	Licence     string `json:"licence"`
	Fingerprint string `json:"fingerprint,omitempty"` // "" where it depends on files that are not here
}

// Info is what `winnow version` says.
type Info struct {
	Version   string    `json:"version"`
	Revision  string    `json:"revision,omitempty"` // of the source, where the build knows it
	Go        string    `json:"go"`
	Platform  string    `json:"platform"`
	Libraries []Library `json:"libraries"`
	Models    []Model   `json:"models"`
}

// Run prints.
func (*Cmd) Run(ctx context.Context, app *job.App) error {
	v, err := collect(ctx, app.Version)
	if err != nil {
		return err
	}
	return app.Print(v, v.Print)
}

func collect(ctx context.Context, version string) (*Info, error) {
	v := &Info{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	build, _ := debug.ReadBuildInfo()
	v.Revision = revision(build)
	ort, file, err := onnx.Version()
	add := func(name, version string, err error) {
		l := Library{Name: name, Version: version}
		if err != nil {
			l.Error = err.Error()
		}
		v.Libraries = append(v.Libraries, l)
	}
	add("ONNX Runtime", strings.TrimSpace(ort+" "+file), err)
	add("FAISS", index.FAISSVersion(), nil)
	add("BLAS", vec.Backend(), nil)
	duck, err := duckDB(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	add("DuckDB", duck, err)
	for _, m := range modules {
		if have := moduleVersion(build, m); have != "" {
			add(m[strings.LastIndexByte(m, '/')+1:], have, nil)
		}
	}
	for _, name := range models.Shipped() {
		s, err := models.Describe(name)
		if err != nil {
			return nil, err // a shipped spec is part of the program
		}
		if s.Fingerprint() == "" && s.Installed() { // it depends on the files
			if s, err = models.Load(name); err != nil {
				return nil, err
			}
		}
		v.Models = append(v.Models, Model{s.Name, string(s.Kind), s.Dim, s.Licence, s.Fingerprint()})
	}
	return v, nil
}

// modules are the Go libraries whose version says how files are written and
// models are run.
var modules = []string{
	"github.com/parquet-go/parquet-go",
	"github.com/yalue/onnxruntime_go",
	"github.com/blevesearch/go-faiss",
	"gocloud.dev",
}

func moduleVersion(build *debug.BuildInfo, path string) string {
	if build == nil {
		return ""
	}
	for _, d := range build.Deps {
		if d.Path == path {
			if d.Replace != nil {
				d = d.Replace
			}
			return d.Version
		}
	}
	return ""
}

// revision is the commit that was built, with a mark for uncommitted changes.
func revision(build *debug.BuildInfo) string {
	if build == nil {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if rev == "" {
		return ""
	}
	return rev + dirty
}

func duckDB(ctx context.Context) (version string, err error) {
	db, err := query.Open(ctx, query.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Row(ctx, "SELECT version()", []any{&version})
	return version, err
}

// Print writes the versions for people.
func (v *Info) Print(out io.Writer) {
	fmt.Fprintf(out, "winnow %s", v.Version)
	if v.Revision != "" {
		fmt.Fprintf(out, " (%s)", v.Revision)
	}
	fmt.Fprintf(out, "\n%s, %s\n\nlibraries\n", v.Go, v.Platform)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, l := range v.Libraries {
		what := l.Version
		if l.Error != "" {
			what = "cannot be used: " + l.Error
		}
		fmt.Fprintf(tw, "  %s\t%s\n", l.Name, what)
	}
	tw.Flush()
	fmt.Fprintf(out, "\nmodels\n")
	for _, m := range v.Models {
		fingerprint := "fingerprint " + m.Fingerprint
		if m.Fingerprint == "" {
			fingerprint = "not installed"
		}
		fmt.Fprintf(tw, "  %s\t%s → %d numbers\t%s\t%s\n", m.Name, m.Kind, m.Dim, m.Licence, fingerprint)
	}
	tw.Flush()
}
