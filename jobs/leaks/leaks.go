// Package leaks is the leaks job: rows of one split of the data that are copies,
// or nearly, of rows of another, such as test pictures that a model was trained on.
package leaks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the leaks command.
type Cmd struct {
	Embedding string  `short:"e" placeholder:"NAME" help:"The embedding to measure in. Default: the first of pictures, else the first."`
	Distance  float64 `default:"0.05" placeholder:"0.05" help:"Rows at most so far apart, in cosine distance, are near-duplicates; 0 finds equal vectors only."`
	Split     string  `default:"metadata.split" placeholder:"SQL" help:"The column, or any SQL value, that tells the split: ${default}."`
	Of        string  `default:"test" placeholder:"VALUE" help:"The split that should hold nothing of the other: ${default}."`
	From      string  `default:"train" placeholder:"VALUE" help:"The other split: ${default}."`
	Out       string  `placeholder:"FILE" type:"path" help:"Write all rows to this file: .jsonl or .csv. The table shows the first 50."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow leaks                                          test rows that are in train, by metadata.split
  winnow leaks --of val --from train --distance 0.02 --out leaks.csv
  winnow leaks --split "CASE WHEN uri LIKE '%/eval/%' THEN 'test' ELSE 'train' END"
To take them out of a batch or a test set: exclude: [{ids: leaks.csv}]

Exit status: 0 done, leaks or not; 1 failed; 2 usage or config; 130 or 143 interrupted.`
}

// Leak is a row of a split that is a copy of a row of the other.
type Leak struct {
	AssetID  string  `json:"asset_id"`
	Of       string  `json:"of"`       // the nearest row of the other split; of equal ones the one with the smallest place
	Distance float64 `json:"distance"` // cosine distance, 0 for equal content
	Same     bool    `json:"same_content"`
}

// Result is what leaks found.
type Result struct {
	Embedding string `json:"embedding"`
	Of        string `json:"of"`
	From      string `json:"from"`
	Rows      int64  `json:"rows"`      // of the split
	Compared  int64  `json:"compared"`  // that have a vector
	FromRows  int64  `json:"from_rows"` // of the other, that have a vector
	Same      int64  `json:"same_content"`
	Leaks     []Leak `json:"leaks"` // nearest first
	File      string `json:"file,omitempty"`
}

// Run looks and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) (err error) {
	if !(c.Distance >= 0 && c.Distance <= 2) {
		return pipeline.Usagef("--distance %v: write a cosine distance from 0 to 2", c.Distance)
	}
	if c.Of == c.From {
		return pipeline.Usagef("--of and --from are both %q; name two splits", c.Of)
	}
	if c.Out != "" && writerOf(c.Out) == nil {
		return pipeline.Usagef("--out %s: write a name that ends in .jsonl or .csv", c.Out)
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	r, err := c.find(ctx, w)
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := r.save(c.Out); err != nil {
			return err
		}
	}
	return app.Print(r, r.Print)
}

// find loads the split of every asset, and compares.
func (c *Cmd) find(ctx context.Context, w *workspace.Workspace) (*Result, error) {
	l, err := c.live(ctx, w)
	if err != nil {
		return nil, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	meta, err := w.MetadataStruct(ctx, "a")
	if err != nil {
		return nil, err
	}
	err = db.Exec(ctx, "CREATE OR REPLACE TABLE leak_rows AS SELECT a.asset_id, a.uri, a.text, a.caption, a.media_type, a.version, a.source, "+meta+" AS metadata FROM assets a")
	if err != nil {
		return nil, err
	}
	if err := db.Lock(ctx); err != nil {
		return nil, err
	}
	if err := db.BindWhere(ctx, "leak_rows", "("+c.Split+") IS NULL"); err != nil {
		if c.Split == "metadata.split" {
			return nil, pipeline.Usagef("the assets have no metadata.split; say with --split what tells the split, as in --split metadata.part")
		}
		return nil, fmt.Errorf("--split: %w", err)
	}
	r := &Result{Embedding: l.Embedding.Name, Of: c.Of, From: c.From, Leaks: []Leak{}}
	for i, value := range []string{c.Of, c.From} {
		table := []string{"leak_of", "leak_from"}[i]
		err := db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %s AS SELECT asset_id, row_number() OVER (ORDER BY asset_id) - 1 AS n
			FROM leak_rows WHERE CAST((%s
) AS VARCHAR) = %s`, table, c.Split, query.Literal(value)))
		if err != nil {
			return nil, fmt.Errorf("--split: %w", err)
		}
		n, err := db.Int(ctx, "SELECT count(*) FROM "+table)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, c.noRows(ctx, db, []string{"--of", "--from"}[i], value)
		}
		if i == 0 {
			r.Rows = n
		}
	}
	return r, compare(ctx, db, l, r, c.Distance, w.App.Progress)
}

// live is the embedding to measure in.
func (c *Cmd) live(ctx context.Context, w *workspace.Workspace) (*workspace.Live, error) {
	name := c.Embedding
	for _, e := range w.Config.Embeddings {
		if c.Embedding == "" && (name == "" || e.Of == "image") {
			if name = e.Name; e.Of == "image" {
				break
			}
		}
	}
	e, err := w.Embedding(name)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err == nil && l.Rows == 0 {
		err = pipeline.Usagef("the embedding %s has no vectors yet; run winnow run", name)
	}
	return l, err
}

// noRows says which splits there are.
func (c *Cmd) noRows(ctx context.Context, db *query.DB, flag, value string) error {
	have, err := query.Column[string](ctx, db, fmt.Sprintf("SELECT DISTINCT coalesce(CAST((%s\n) AS VARCHAR), 'NULL') AS x FROM leak_rows ORDER BY x LIMIT 12", c.Split))
	if err != nil {
		return err
	}
	return pipeline.Usagef("%s %s: no row has this value of %s; there are %s", flag, value, c.Split, strings.Join(have, ", "))
}

// shown is the number of rows that the table shows.
const shown = 50

// Print shows the leaks, nearest first.
func (r *Result) Print(out io.Writer) {
	n := manifest.Thousands
	fmt.Fprintf(out, "%s of %s rows of %s are in %s (%s with the same content), measured in %s over %s vectors of %s\n",
		n(int64(len(r.Leaks))), n(r.Compared), r.Of, r.From, n(r.Same), r.Embedding, n(r.FromRows), r.From)
	if r.Compared < r.Rows {
		fmt.Fprintf(out, "%s rows of %s have no vector and were compared by nothing\n", n(r.Rows-r.Compared), r.Of)
	}
	wide := len(r.Of)
	for _, l := range r.Leaks[:min(shown, len(r.Leaks))] {
		wide = max(wide, len(l.AssetID))
	}
	for i, l := range r.Leaks {
		if i == 0 {
			fmt.Fprintf(out, "\n  distance  %-*s  %s\n", wide, r.Of, r.From)
		}
		if i == shown {
			fmt.Fprintf(out, "  … and %s more; --out FILE lists all\n", n(int64(len(r.Leaks)-shown)))
			break
		}
		distance := fmt.Sprintf("%.4f", l.Distance)
		if l.Same {
			distance = "same"
		}
		fmt.Fprintf(out, "  %-8s  %-*s  %s\n", distance, wide, l.AssetID, l.Of)
	}
	if r.File != "" {
		fmt.Fprintf(out, "\nwritten: %s\n", r.File)
	}
}
