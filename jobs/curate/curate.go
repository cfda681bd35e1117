// Package curate is the curate job: it chooses the batches of the config among
// all assets, writes their files, and lists their rows in the batched table.
package curate

import (
	"context"
	"errors"
	"fmt"
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
  winnow curate fruit --dry-run      what the batch fruit would hold: counts of every step, rows with reasons, groups

Batches, in the config:
  - {name: fruit, where: "ripe_apples_match AND metadata.source = 'field'", select: [{top: ripe_apples}], size: 200}
  - name: wide
    where: "list_contains(predictions, 'apple') AND metadata.taken > DATE '2026-01-01'"
    exclude: [batched, labeled, {ids: ./done.txt}]
    dedupe: {embedding: image, distance: 0.05, phash: 6, keep: largest}
    quotas: [{per: metadata.camera, at_most: 50}]
    select: [{diversity: {embedding: image}}, {weights: {by: 1 - confidence}}, {balance: {by: prediction, target: uniform}}]
    proportion: 0.01
winnow schema describes every key.

Exit status: 0 done, 1 failed, 2 usage or config, 3 done but a batch has fewer rows than asked for,
11 another run holds the lock, 130 or 143 interrupted.`
}

// Batch is what became of one batch.
type Batch struct {
	Name     string          `json:"name"`
	Slot     string          `json:"slot"`
	Asked    int             `json:"asked"`
	Rows     int64           `json:"rows"`
	Funnel   string          `json:"funnel,omitempty"`
	Steps    manifest.Funnel `json:"steps,omitempty"`
	Existing bool            `json:"existing"` // the slot had its batch already
	Dir      string          `json:"dir,omitempty"`
	Files    []string        `json:"files,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Groups   []Group         `json:"groups,omitempty"`
	Picks    []string        `json:"picks,omitempty"` // ids and reasons, of a dry run

	TooNear   int `json:"too_near,omitempty"`   // candidates that were nearer than a minimum distance
	OverQuota int `json:"over_quota,omitempty"` // candidates whose quota was full
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
	r, err := openRows(ctx, w, batches)
	if err != nil {
		return nil, err
	}
	defer r.known.Close()
	if err := r.check(ctx, batches); err != nil {
		return nil, err
	}
	res := &Result{}
	for _, f := range r.functions {
		out := Function{f.Name, f.Space(), string(f.How()), f.Definition.Threshold.String(), f.Finite(), f.Rows, f.Matches, f.Labels}
		res.Functions = append(res.Functions, out)
	}
	counter := w.App.Progress.Start("curate", "batches", int64(len(batches)))
	defer counter.Done()
	for _, b := range batches {
		out, err := r.batch(ctx, b, o)
		var usage *pipeline.UsageError // says itself where
		if err != nil && !errors.As(err, &usage) {
			err = fmt.Errorf("batch %s: %w", b.Name, err)
		}
		if err != nil {
			return nil, err
		}
		res.Batches = append(res.Batches, *out)
		counter.Add(1)
	}
	return res, nil
}

func chosen(list []configs.Batch, only []string) (out []chosenBatch, err error) {
	all := make([]chosenBatch, len(list))
	for i, b := range list {
		all[i] = chosenBatch{b, fmt.Sprintf("$.batches[%d]", i)}
	}
	if len(only) == 0 {
		return all, nil
	}
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
func (r *rows) slot(b chosenBatch, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	def, err := r.definition(b)
	if err != nil {
		return "", err
	}
	return task.NewHash().Add("slot 1").Add(def).Add(r.inputs()).Sum()[:12], nil
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
func (r *rows) batch(ctx context.Context, b chosenBatch, o Options) (*Batch, error) {
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
		return out, r.same(ctx, b, slot, dir)
	}
	p, err := r.choose(ctx, b, o.DryRun)
	if err != nil {
		return nil, err
	}
	out.Rows, out.Funnel, out.Steps, out.Asked = int64(len(p.rows)), p.funnel.String(), p.funnel, p.asked
	out.Warnings, out.Groups, out.TooNear, out.OverQuota = p.warnings, p.groups, p.tooNear, p.overQuota
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
func (r *rows) record(ctx context.Context, b chosenBatch, slot string, p *picked) error {
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
	rows      []*manifest.BatchRow
	funnel    manifest.Funnel
	asked     int
	groups    []Group
	warnings  []string
	tooNear   int
	overQuota int
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
