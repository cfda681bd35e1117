// Package model is the model job: it looks into ONNX files, tries model specs, and
// lists those that winnow brings.
package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"winnow/jobs/internal/job"
	"winnow/models"
)

// Cmd is the model command.
type Cmd struct {
	List    ListCmd    `cmd:"" help:"The model specs that winnow brings."`
	Inspect InspectCmd `cmd:"" help:"Inputs, outputs and layers for embeddings of an ONNX file."`
	Check   CheckCmd   `cmd:"" help:"Run a model spec on examples and say what looks wrong."`
	Cut     CutCmd     `cmd:"" help:"Write the part of an ONNX file that one tensor needs."`
}

// ListCmd is the command model list.
type ListCmd struct{}

// Help shows examples.
func (*ListCmd) Help() string {
	return `Examples:
  winnow model list
  winnow model list --json | jq -r '.[] | select(.installed) | .name'

Exit status: 0.`
}

// Listed is a model spec that winnow brings.
type Listed struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Dim         int    `json:"dim"`
	Licence     string `json:"licence"`
	TextTower   string `json:"text_tower,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"` // "" where it depends on files that are not here
	Installed   bool   `json:"installed"`
	Get         string `json:"get,omitempty"`
}

// Run lists.
func (*ListCmd) Run(_ context.Context, app *job.App) error {
	var all []Listed
	for _, name := range models.Shipped() {
		s, err := models.Describe(name)
		if err != nil {
			return err // a shipped spec is part of the program
		}
		l := Listed{Name: name, Kind: string(s.Kind), Dim: s.Dim, Licence: s.Licence, TextTower: s.TextTower, Installed: s.Installed(), Get: s.Get}
		if l.Installed && s.Fingerprint() == "" {
			if s, err = models.Load(name); err != nil {
				return err
			}
		}
		l.Fingerprint = s.Fingerprint()
		all = append(all, l)
	}
	return app.Print(all, func(out io.Writer) {
		tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		missing := false
		for _, l := range all {
			state := "installed"
			if !l.Installed {
				state, missing = "not here", true
			}
			note := ""
			if l.TextTower != "" {
				note = "texts by " + l.TextTower
			}
			fmt.Fprintf(tw, "%s\t%s → %d numbers\t%s\t%s\t%s\n", l.Name, l.Kind, l.Dim, l.Licence, state, note)
		}
		tw.Flush()
		if missing {
			fmt.Fprintln(out, "\nwinnow model check NAME says how to get a model that is not here.")
		}
	})
}

// CheckCmd is the command model check.
type CheckCmd struct {
	Spec   string `arg:"" help:"A shipped spec's name, or the path of a spec's YAML file."`
	Device string `default:"cpu" help:"Where to run it: cpu, auto, cuda, cuda:N or tensorrt." placeholder:"cpu"`
}

// Help shows examples.
func (*CheckCmd) Help() string {
	return `Loads a model as embed does, runs it on a few pictures or texts, and says what looks wrong: the
shape and length of vectors, vectors that are all alike, rows that depend on their neighbours in a
batch, padding that counts, pixels on the wrong scale, a tokenizer that does not fit, files whose hash
the spec does not state.

Examples:
  winnow model check efficientnet-lite0
  winnow model check ./my-model.yaml
  winnow model check ./my-model.yaml --device cuda --json

Exit status: 0 nothing is wrong, 1 something is, 2 usage or a wrong spec.`
}

// Checked is what a check found.
type Checked struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Dim         int    `json:"dim"`
	Output      string `json:"output"`
	Fingerprint string `json:"fingerprint"`
	Device      string `json:"device"`
	*models.Examination
	OK bool `json:"ok"`
}

// Run checks.
func (c *CheckCmd) Run(ctx context.Context, app *job.App) (err error) {
	spec, err := models.Load(c.Spec)
	if err != nil {
		return err
	}
	if _, err := spec.CheckFiles(); err != nil {
		return err
	}
	m, err := models.New(spec, models.Options{Device: c.Device, Sessions: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	e, err := m.Examine(ctx)
	if err != nil {
		return fmt.Errorf("model %s: %w", spec.Name, err)
	}
	r := &Checked{
		Name: spec.Name, Kind: string(spec.Kind), Dim: spec.Dim, Output: spec.Output, Fingerprint: spec.Fingerprint(), Device: m.Device(),
		Examination: e, OK: e.Faults() == 0,
	}
	if err := app.Print(r, r.Print); err != nil {
		return err
	}
	if n := e.Faults(); n > 0 {
		return fmt.Errorf("model %s: %d things look wrong", spec.Name, n)
	}
	return nil
}

// Print writes a check for people.
func (r *Checked) Print(out io.Writer) {
	fmt.Fprintf(out, "%s: %s → %d numbers at %s, on %s, fingerprint %s\n", r.Name, r.Kind, r.Dim, r.Output, r.Device, r.Fingerprint)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "  time\t%.3g ms an item alone, %.3g ms in batches of %d\n", r.Alone, r.Batch, r.BatchSize)
	fmt.Fprintf(tw, "  vectors\tlength %.4g; the two most alike of %d examples have a cosine of %.3f\n", r.Norm, r.Examples, r.Alike)
	fmt.Fprintf(tw, "  batches\ta vector moves by %.1g with its neighbours\n", r.Moves)
	if r.Kind == string(models.Text) {
		fmt.Fprintf(tw, "  tokens\t%d in the examples, %.0f %% unknown\n", r.Tokens, 100*r.Unknown)
	}
	tw.Flush()
	for _, f := range r.Findings {
		mark := "wrong"
		if f.Note {
			mark = "note "
		}
		fmt.Fprintf(out, "  %s  %s\n", mark, f.What)
		if f.Fix != "" {
			fmt.Fprintf(out, "         → %s\n", strings.ReplaceAll(f.Fix, "\n", "\n           "))
		}
	}
	if r.OK {
		fmt.Fprintln(out, "nothing looks wrong")
	}
}
