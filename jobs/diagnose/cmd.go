// Package diagnose is the diagnose job: it holds a model's predictions against the
// labels, says where the model is weak, and suggests functions that find rows like
// its mistakes.
//
// # What is compared
//
// Labeled assets that the model predicted. With boxes on both sides, labels and
// predictions are matched by IoU as COCO does, and every picture with labels
// counts; with objects on both sides, object by object; else asset by asset, by
// one class or several. Where an asset has one label and several predictions whose
// confidences are a distribution, the most confident one counts and the others are
// its probabilities.
//
// # Files
//
// reports/<run>/diagnosis.json, diagnosis.html and rows.jsonl (a line an item: what
// is true, what was guessed, and the automatic slices that it is in) in the
// workspace, and a file a suggested function in a local folder.
package diagnose

import (
	"context"
	"fmt"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the diagnose command.
type Cmd struct {
	Model      string   `help:"The model to diagnose. Default: the only one that has predictions." placeholder:"NAME" xor:"what"`
	Compare    []string `help:"Two models: what got better, and what worse, on the items that both predicted." placeholder:"A,B" xor:"what"`
	Embedding  string   `short:"e" help:"Where mistakes are grouped and labels are compared with their neighbours'. Default: the first with vectors." placeholder:"NAME"`
	By         []string `help:"Metadata fields to slice by. Default: all with 2 to 20 values." placeholder:"metadata.FIELD,…"`
	Where      string   `help:"Look only at assets with this: SQL over the columns of assets, such as metadata.split = 'test'." placeholder:"SQL"`
	IoU        float64  `name:"iou" default:"0.5" help:"Overlap from which a predicted box fits a labeled one."`
	Confidence *float64 `help:"Predictions below are not counted. Default: 0.5 for boxes, else 0. Average precision takes all." placeholder:"0…1"`
	MinSupport int64    `default:"20" help:"Labels or predictions that a class or slice needs before it is called low."`
	Class      []string `help:"Suggest functions for these classes alone, low or not." placeholder:"NAME,…" sep:"none"`
	All        bool     `help:"Count labeled assets that the model said nothing of as missed (always so with boxes)."`
	IgnoreCase bool     `help:"Take classes that differ by case or blanks alone as one."`
	Out        string   `default:"functions/suggested" help:"Folder for the suggested functions, relative to the config." placeholder:"DIR"`
	Size       int      `default:"100" help:"Rows of each suggested batch."`
	Top        int      `help:"Rows that each suggested function matches. Default: those of a batch together 1.5 times --size." placeholder:"N"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Holds predictions against labels (see labels: and predictions: in the config; read by winnow ingest): precision, recall, F1,
average precision and calibration per class and metadata slice with 95 % intervals, confusion matrix, labels that are
likely wrong, and functions that find more rows like the mistakes.

Examples:
  winnow diagnose
  winnow diagnose --model fruit-v7 --by metadata.camera --where "metadata.split = 'test'"
  winnow diagnose --compare fruit-v6,fruit-v7

Exit status: 0 done, 1 failed, 2 usage or config, 5 a fault that a retry may not meet, 130 or 143 interrupted.`
}

func (c *Cmd) check() error {
	switch {
	case !(c.IoU > 0 && c.IoU <= 1):
		return pipeline.Usagef("--iou %v: want a number above 0, at most 1", c.IoU)
	case c.Confidence != nil && !(*c.Confidence >= 0 && *c.Confidence <= 1):
		return pipeline.Usagef("--confidence %v: want a number from 0 to 1", *c.Confidence)
	case c.MinSupport < 1:
		return pipeline.Usagef("--min-support %d: want at least 1", c.MinSupport)
	case c.Size < 1:
		return pipeline.Usagef("--size %d: want at least 1", c.Size)
	case c.Top < 0:
		return pipeline.Usagef("--top %d: want at least 1", c.Top)
	case len(c.Compare) != 0 && (len(c.Compare) != 2 || c.Compare[0] == c.Compare[1]):
		return pipeline.Usagef("--compare wants two models, as in --compare fruit-v6,fruit-v7")
	}
	return nil
}

// Run diagnoses and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	if err := c.check(); err != nil {
		return err
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	d := &diagnosis{Cmd: c, w: w, report: &Report{}}
	if err := d.run(ctx); err != nil {
		return err
	}
	return app.Print(d.report, d.report.print)
}

// diagnosis is one run of the job.
type diagnosis struct {
	*Cmd
	w      *workspace.Workspace
	report *Report

	labeled   map[string]*labels // by key, as long as items are read
	order     []string           // its keys
	names     []string           // of classes
	number    map[string]int
	alike     map[string]string // the spelling that counts, by class in small letters
	boxes     bool
	byObject  bool
	threshold float64
}

func (d *diagnosis) warn(format string, args ...any) {
	d.report.Warnings = append(d.report.Warnings, fmt.Sprintf(format, args...))
}

func (d *diagnosis) run(ctx context.Context) error {
	models, err := d.models(ctx)
	if err != nil {
		return err
	}
	if err := d.prepare(ctx, models); err != nil {
		return err
	}
	s, err := d.read(ctx, models[len(models)-1])
	if err != nil {
		return err
	}
	d.evaluate(s)
	if len(models) == 2 {
		a, err := d.read(ctx, models[0])
		if err != nil {
			return err
		}
		d.compare(a, s)
	}
	if err := d.slices(ctx, s); err != nil {
		return err
	}
	v, err := d.vectors(ctx)
	if err != nil {
		return err
	}
	if err := d.mislabels(ctx, s, v); err != nil {
		return err
	}
	d.automatic(s)
	if err := d.suggest(ctx, s, v); err != nil {
		return err
	}
	return d.write(ctx, s)
}
