// Package rejects is the rejects job: it lists rows that a stage could not
// process, from the rejects table. It takes no lock and writes nothing.
package rejects

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"

	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the rejects command.
type Cmd struct {
	Stage     string   `help:"Only of this stage: ${enum}." enum:"ingest,embed," default:"" placeholder:"STAGE"`
	Reason    []string `help:"Only for these reasons, such as not_found." placeholder:"REASON"`
	Embedding []string `short:"e" help:"Only of these embeddings." placeholder:"NAME"`
	All       bool     `help:"Also those that were mended, removed or changed since, and of models out of use."`
	Output    string   `short:"o" help:"How: ${enum}. --json is the same as -o json." enum:"table,json,csv" default:"table" placeholder:"table"`
	Limit     int      `help:"Show at most so many rows; 0 is all." default:"1000" placeholder:"N"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Lists rows that could not be read or embedded and still stand: their asset is there, in the version that was
rejected, without a vector. Rows that may pass by themselves (timeouts, storage that fails) are tried again by
every run; for the others mend the file, which makes a new version, or winnow embed --retry-rejected.

Examples:
  winnow rejects
  winnow rejects --reason not_found,timeout
  winnow rejects --stage embed -o csv --limit 0 > rejects.csv
  winnow rejects --json | jq -r '.rows[].asset_id'

Exit status: 0 done (whether there are any or not), 1 failed, 2 usage or config.`
}

// Count is how many rows a reason has.
type Count struct {
	Stage     string `json:"stage"`
	Embedding string `json:"embedding,omitempty"`
	Reason    string `json:"reason"`
	Transient bool   `json:"transient"`
	Rows      int64  `json:"rows"`
}

// Result is what was rejected.
type Result struct {
	Rejected int64               `json:"rejected"`
	Counts   []Count             `json:"counts"` // by reason, the most frequent first
	Rows     []workspace.Refused `json:"rows"`
}

// Run lists and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	if c.Limit < 0 {
		return pipeline.Usagef("--limit %d: want 0 or more", c.Limit)
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	for _, name := range c.Embedding {
		if _, err := w.Embedding(name); err != nil {
			return err
		}
	}
	if err := w.LoadRefused(ctx, workspace.Refusals{Resolved: c.All, Stage: c.Stage, Reasons: c.Reason, Embeddings: c.Embedding}); err != nil {
		return err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	if c.Output == "csv" && !app.JSON {
		return c.csv(ctx, db, app.Out)
	}
	r := &Result{Counts: []Count{}, Rows: []workspace.Refused{}}
	if err := r.count(ctx, db); err != nil {
		return err
	}
	err = c.each(ctx, db, func(row workspace.Refused) error { r.Rows = append(r.Rows, row); return nil })
	if err != nil {
		return err
	}
	app.JSON = app.JSON || c.Output == "json"
	return app.Print(r, r.Print)
}

func (r *Result) count(ctx context.Context, db *query.DB) error {
	return db.Each(ctx, "SELECT stage, embedding, reason, transient, count(*) FROM refused GROUP BY ALL ORDER BY count(*) DESC, stage, embedding, reason, transient", func(scan func(...any) error) error {
		var c Count
		if err := scan(&c.Stage, &c.Embedding, &c.Reason, &c.Transient, &c.Rows); err != nil {
			return err
		}
		r.Rejected += c.Rows
		r.Counts = append(r.Counts, c)
		return nil
	})
}

// each calls fn for the rows, those of one reason together.
func (c *Cmd) each(ctx context.Context, db *query.DB, fn func(workspace.Refused) error) error {
	sql := "SELECT stage, embedding, fingerprint, asset_id, source, line, reason, error, transient, tries FROM refused ORDER BY stage DESC, embedding, reason, source, line, asset_id"
	if c.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", c.Limit)
	}
	return db.Each(ctx, sql, func(scan func(...any) error) error {
		var r workspace.Refused
		if err := scan(&r.Stage, &r.Embedding, &r.Fingerprint, &r.AssetID, &r.Source, &r.Line, &r.Reason, &r.Error, &r.Transient, &r.Tries); err != nil {
			return err
		}
		return fn(r)
	})
}

func (c *Cmd) csv(ctx context.Context, db *query.DB, out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"stage", "embedding", "fingerprint", "asset_id", "source", "line", "reason", "error", "transient", "tries"}); err != nil {
		return err
	}
	err := c.each(ctx, db, func(r workspace.Refused) error {
		line := ""
		if r.Line > 0 {
			line = strconv.FormatInt(r.Line, 10)
		}
		return w.Write([]string{r.Stage, r.Embedding, r.Fingerprint, r.AssetID, r.Source, line, r.Reason, r.Error, strconv.FormatBool(r.Transient), strconv.FormatInt(r.Tries, 10)})
	})
	if err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

// Print lists the rows for people, the counts first.
func (r *Result) Print(out io.Writer) {
	if r.Rejected == 0 {
		fmt.Fprintln(out, "nothing is rejected")
		return
	}
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "rows\treason\tstage\tembedding\tnext run\t")
	for _, c := range r.Counts {
		next := "leaves it"
		switch {
		case c.Stage == "ingest":
			next = "reads it again when the manifest changes"
		case c.Transient:
			next = "tries again"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t\n", c.Rows, c.Reason, c.Stage, c.Embedding, next)
	}
	tw.Flush()
	fmt.Fprintln(out)
	tw = tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, x := range r.Rows {
		what := x.AssetID
		if x.Source != "" && x.Line > 0 {
			what = strings.TrimSpace(fmt.Sprintf("%s:%d %s", path.Base(x.Source), x.Line, x.AssetID))
		}
		tries := ""
		if x.Tries > 1 && x.Stage == "embed" {
			tries = fmt.Sprintf(" (tried %d times)", x.Tries)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s%s\t\n", x.Reason, what, strings.Join(strings.Fields(x.Error), " "), tries)
	}
	tw.Flush()
	if more := r.Rejected - int64(len(r.Rows)); more > 0 {
		fmt.Fprintf(out, "… and %d more: --limit 0 shows all\n", more)
	}
}
