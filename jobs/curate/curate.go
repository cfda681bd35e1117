// Package curate is the curate job: it chooses the batches of the config among
// all assets, writes their files, and lists their rows in the batched table.
package curate

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// Cmd is the curate command.
type Cmd struct {
	Slot   string   `help:"Name this round of the batches. Without it, unchanged inputs give the same round." placeholder:"NAME"`
	Only   []string `arg:"" optional:"" name:"batch" help:"Only these batches."`
	DryRun bool     `help:"Show what the batches would hold; write nothing."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow curate                      all batches of the config
  winnow curate --slot 2026-11-24    a round by name: run again, it gives the same batch; the next takes other rows
  winnow curate fruit --dry-run      what the batch fruit would hold

Exit status: 0 done, 1 failed, 2 usage or config, 3 done but a batch has fewer rows than asked for,
11 another run holds the lock, 130 or 143 interrupted.`
}

// Batch is what became of one batch.
type Batch struct {
	Name     string   `json:"name"`
	Slot     string   `json:"slot"`
	Asked    int      `json:"asked"`
	Rows     int64    `json:"rows"`
	Funnel   string   `json:"funnel,omitempty"`
	Existing bool     `json:"existing"` // the slot had its batch already
	Dir      string   `json:"dir,omitempty"`
	Files    []string `json:"files,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Picks    []string `json:"picks,omitempty"` // ids, of a dry run
}

// Function is what one function found.
type Function struct {
	Name      string   `json:"name"`
	Embedding string   `json:"embedding"`
	Combine   string   `json:"combine"`
	Rule      string   `json:"rule"`
	Threshold *float64 `json:"threshold"` // nil where no row is left that it could let in
	Rows      int64    `json:"rows"`
	Matches   int64    `json:"matches"`

	Labels *score.Labels `json:"labels,omitempty"` // that a threshold by precision rests on
}

// Result is what curate did.
type Result struct {
	Functions []Function `json:"functions"`
	Batches   []Batch    `json:"batches"`
}

// Run chooses and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	var r *Result
	work := func(ctx context.Context) (err error) {
		r, err = Run(ctx, w, Options{Slot: c.Slot, Only: c.Only, DryRun: c.DryRun})
		return err
	}
	if c.DryRun {
		err = work(ctx)
	} else {
		err = w.Locked(ctx, work)
	}
	if err != nil {
		return err
	}
	if err := app.Print(r, r.Print); err != nil {
		return err
	}
	return r.Verdict()
}

// Print says what became of the batches.
func (r *Result) Print(out io.Writer) {
	for _, b := range r.Batches {
		switch {
		case b.Existing:
			fmt.Fprintf(out, "batch %s/%s: there already, %d rows, %s\n", b.Name, b.Slot, b.Rows, b.Dir)
		default:
			fmt.Fprintf(out, "batch %s/%s: %d rows (%s)\n", b.Name, b.Slot, b.Rows, b.Funnel)
			for _, f := range b.Files {
				fmt.Fprintf(out, "  %s\n", f)
			}
			for _, p := range b.Picks {
				fmt.Fprintf(out, "  %s\n", p)
			}
		}
		for _, warn := range b.Warnings {
			fmt.Fprintf(out, "  warning: %s\n", warn)
		}
	}
}

// Verdict is an error when a new batch has fewer rows than asked for.
func (r *Result) Verdict() error {
	var short []string
	for _, b := range r.Batches {
		if !b.Existing && b.Rows < int64(b.Asked) {
			short = append(short, fmt.Sprintf("batch %s has %d of %d rows: %s", b.Name, b.Rows, b.Asked, b.Funnel))
		}
	}
	if len(short) == 0 {
		return nil
	}
	return &pipeline.PartialError{What: "fewer rows than asked for: " + strings.Join(short, "; ")}
}

// Options of a run.
type Options struct {
	Slot   string
	Only   []string
	DryRun bool
}

// Run chooses all batches while the caller holds the lock.
func Run(ctx context.Context, w *workspace.Workspace, o Options) (*Result, error) {
	batches, err := chosen(w.Config.Batches, o.Only)
	if err != nil {
		return nil, err
	}
	if err := workspace.CheckName("--slot", o.Slot); err != nil {
		return nil, err
	}
	r, err := openRows(ctx, w)
	if err != nil {
		return nil, err
	}
	defer r.known.Close()
	if err := r.checkWhere(ctx, batches); err != nil {
		return nil, err
	}
	res := &Result{}
	for _, f := range r.functions {
		out := Function{f.Name, f.Embedding, string(f.How()), f.Definition.Threshold.String(), f.Finite(), f.Rows, f.Matches, f.Labels}
		res.Functions = append(res.Functions, out)
	}
	counter := w.App.Progress.Start("curate", "batches", int64(len(batches)))
	defer counter.Done()
	for _, b := range batches {
		out, err := r.batch(ctx, b, o)
		if err != nil {
			return nil, fmt.Errorf("batch %s: %w", b.Name, err)
		}
		res.Batches = append(res.Batches, *out)
		counter.Add(1)
	}
	return res, nil
}

func chosen(all []configs.Batch, only []string) ([]configs.Batch, error) {
	if len(only) == 0 {
		return all, nil
	}
	var out []configs.Batch
	for _, name := range only {
		found := false
		for _, b := range all {
			if b.Name == name {
				out, found = append(out, b), true
			}
		}
		if !found {
			var known []string
			for _, b := range all {
				known = append(known, b.Name)
			}
			return nil, pipeline.Usagef("there is no batch %q; the config has %s", name, strings.Join(known, ", "))
		}
	}
	return out, nil
}

// slot is the name of a round: what the user said, else a hash of the inputs
// without the batches, so that a rerun over unchanged inputs is the same round.
func (r *rows) slot(b configs.Batch, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	def, err := json.Marshal(b)
	if err != nil {
		return "", err
	}
	return task.NewHash().Add("slot 1").Add(string(def)).Add(r.inputs()).Sum()[:12], nil
}

// batchedRow is a row of the batched table.
type batchedRow struct {
	AssetID   string `parquet:"asset_id,zstd"`
	Version   string `parquet:"version,zstd"`
	Name      string `parquet:"name,dict,zstd"`
	Slot      string `parquet:"slot,dict,zstd"`
	Rank      int64  `parquet:"rank"`
	Objective string `parquet:"objective,dict,zstd"`
	Reason    string `parquet:"reason,zstd"`
}

// batch chooses one batch unless its slot has one: files first, then its rows in
// the batched table, which is its commit.
func (r *rows) batch(ctx context.Context, b configs.Batch, o Options) (*Batch, error) {
	slot, err := r.slot(b, o.Slot)
	if err != nil {
		return nil, err
	}
	dir := workspace.BatchesDir + "/" + b.Name + "/" + slot
	out := &Batch{Name: b.Name, Slot: slot, Asked: b.Size, Dir: r.w.Show(dir)}
	n, err := r.db.Int(ctx, "SELECT count(*) FROM batched WHERE name = ? AND slot = ?", b.Name, slot)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		out.Existing, out.Rows = true, n
		return out, nil
	}
	p, err := r.choose(ctx, b)
	if err != nil {
		return nil, err
	}
	out.Rows, out.Funnel = int64(len(p.rows)), p.funnel.String()
	if o.DryRun {
		for _, x := range p.rows {
			out.Picks = append(out.Picks, x.AssetID+"  "+x.Reason)
		}
		return out, nil
	}
	if len(p.rows) == 0 {
		out.Warnings = append(out.Warnings, "no row is left, so nothing was written")
		return out, nil
	}
	written, err := r.emit(ctx, b, slot, dir, p)
	if err != nil {
		return nil, err
	}
	for _, f := range written.Files {
		out.Files = append(out.Files, r.w.Show(dir+"/"+f.Key))
	}
	for _, warn := range written.Warnings {
		out.Warnings = append(out.Warnings, warn.String())
	}
	return out, r.record(ctx, b, slot, p)
}

// record commits the batch, and shows its rows to the next one.
func (r *rows) record(ctx context.Context, b configs.Batch, slot string, p *picked) error {
	list := make([]batchedRow, len(p.rows))
	for i, x := range p.rows {
		list[i] = batchedRow{x.AssetID, x.Version, b.Name, slot, x.Rank, x.Objective, x.Reason}
	}
	if err := workspace.Append(ctx, r.w, workspace.BatchedRoot, "batch "+b.Name+"/"+slot, r.w.App.Run, workspace.BatchedSchema, list); err != nil {
		return err
	}
	err := r.db.Append(ctx, workspace.BatchedRoot, func(add func(...any) error) error {
		for _, x := range list {
			if err := add(x.AssetID, x.Version, x.Name, x.Slot, x.Rank, x.Objective, x.Reason); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.taken(ctx)
}

// picked is a chosen batch.
type picked struct {
	rows   []*manifest.BatchRow
	funnel manifest.Funnel
}

// Sheet is the page to open: the contact sheet, else the batch's folder; nothing
// for a batch without rows.
func (b Batch) Sheet() string {
	if b.Rows == 0 {
		return ""
	}
	for _, f := range b.Files {
		if strings.HasSuffix(f, ".html") {
			return f
		}
	}
	return b.Dir
}
