// Package ingest is the ingest job: it reads the manifests of a config, tells
// new, changed and vanished assets apart, and commits them to the assets table.
// Labels and predictions go to tables of their own, faulty rows to rejects.
//
// # Rules
//
// A manifest whose files, options and listings are what they were when the
// assets table was last written is not read again.
//
// Of one asset_id in several sources the first source of the config counts, and
// the others' rows are rejects. An asset stays with the source that it came
// from; a source in append mode keeps it even when it does not list it any more.
// In snapshot mode what a source does not list is removed, except for ids whose
// row was refused: they stay as they were.
//
// A metadata field is a column metadata_<name>, with the name as users write it
// kept in the column's metadata. A new field is a new column; older files read
// as NULL. A field whose type grew (BIGINT, then DOUBLE, then VARCHAR; see
// query.Merge) has the files of the table rewritten, which Delta's reader
// version 1 asks for.
//
// All of this becomes visible in one commit. Data files are named by the hash of
// their bytes, so a run after a kill finds those that are there already.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Options of a run.
type Options struct {
	AllowRemoval bool // let a snapshot manifest remove more than a tenth of its assets
}

// Summary is what ingest did.
type Summary struct {
	Assets    int64             `json:"assets"` // in the workspace now
	New       int64             `json:"new"`
	Changed   int64             `json:"changed"`
	Removed   int64             `json:"removed"`
	Unchanged bool              `json:"unchanged"`         // no manifest changed, so none was read
	Rejected  int64             `json:"rejected"`          // rows refused for the first time
	Rejects   []pipeline.Reject `json:"rejects,omitempty"` // the first 20 of them
	Warnings  []string          `json:"warnings,omitempty"`
	Sources   []SourceSummary   `json:"sources"`
	Version   int64             `json:"version"`         // of the assets table; -1 while there is none
	Rewrote   int64             `json:"bytes_rewritten"` // of files whose rows the table had already
	Wrote     int64             `json:"bytes_written"`   // in all
	// Labels and Predictions count the rows of these tables when they were
	// written.
	Labels      int64 `json:"labels,omitempty"`
	Predictions int64 `json:"predictions,omitempty"`
}

// SourceSummary is what one source brought.
type SourceSummary struct {
	Name      string `json:"name"`
	Read      bool   `json:"read"` // false: it has not changed
	Rows      int64  `json:"rows"` // good ones
	New       int64  `json:"new"`
	Changed   int64  `json:"changed"`
	Unchanged int64  `json:"unchanged"`
	Removed   int64  `json:"removed"`
	Refused   int64  `json:"refused"` // rows, those listed before included
}

// Print says what ingest did.
func (s *Summary) Print(out io.Writer) {
	if s.Unchanged {
		fmt.Fprintf(out, "ingest: nothing new, %d assets\n", s.Assets)
	} else {
		fmt.Fprintf(out, "ingest: %d assets: %d new, %d changed, %d removed\n", s.Assets, s.New, s.Changed, s.Removed)
	}
	for _, src := range s.Sources {
		if src.Read {
			fmt.Fprintf(out, "  %s: %d rows, %d new, %d changed, %d removed, %d refused\n", src.Name, src.Rows, src.New, src.Changed, src.Removed, src.Refused)
		}
	}
	s.PrintRejects(out, "  ")
}

// PrintRejects lists the first rejects and all warnings.
func (s *Summary) PrintRejects(out io.Writer, indent string) {
	for _, r := range s.Rejects {
		at := r.Source
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", r.Source, r.Line)
		}
		fmt.Fprintf(out, "%s%s: %s %s: %s\n", indent, at, r.AssetID, r.Reason, r.Error)
	}
	if n := s.Rejected - int64(len(s.Rejects)); n > 0 {
		fmt.Fprintf(out, "%sand %d more\n", indent, n)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "%swarning: %s\n", indent, w)
	}
}

// Verdict is the error that tells main about rejected rows.
func (s *Summary) Verdict() error {
	if s.Rejected == 0 {
		return nil
	}
	return &pipeline.PartialError{Rejected: s.Rejected, What: fmt.Sprintf("ingest: done, but %d rows of manifests were rejected; see winnow status", s.Rejected)}
}

// ingester is one run of the job.
type ingester struct {
	w    *workspace.Workspace
	o    Options
	sum  *Summary
	snap *table.Snapshot // of assets
	book *book
	db   *query.DB

	sources []*source
	paths   []string // local copies of the files of snap
	in      *incoming
}

// source is one source of the config.
type source struct {
	number int // its place in the config; the smaller wins
	name   string
	spec   manifest.Source
	all    bool             // snapshot mode
	res    *manifest.Result // nil when it was not read
	twice  int64            // rows that another source had first
	sum    *SourceSummary
}

// Run ingests all sources, labels and predictions of the config. The caller
// holds the workspace's lock. Nothing is written while nothing is new.
func Run(ctx context.Context, w *workspace.Workspace, o Options) (*Summary, error) {
	g := &ingester{w: w, o: o, sum: &Summary{Version: -1}}
	if err := g.run(ctx); err != nil {
		return nil, err
	}
	return g.sum, nil
}

func (g *ingester) run(ctx context.Context) (err error) {
	if g.snap, err = g.w.Snapshot(ctx, workspace.AssetsRoot); err != nil {
		return err
	}
	g.sum.Version, g.sum.Assets = g.snap.Version, max(g.snap.Rows(), 0)
	if g.book, err = readBook(ctx, g.w.Store, g.snap); err != nil {
		return err
	}
	probe := manifest.NewReader(nil, g.w.Cache)
	defer func() { err = errors.Join(err, probe.Close()) }()
	if err := g.probe(ctx, probe); err != nil {
		return err
	}
	if g.sum.Unchanged = !g.due(); !g.sum.Unchanged {
		if err := g.ingest(ctx); err != nil {
			return err
		}
	}
	if err := g.pairs(ctx, probe); err != nil {
		return err
	}
	return g.book.save(ctx, g.w.Store)
}

// due tells whether any source must be read.
func (g *ingester) due() bool {
	for _, s := range g.sources {
		if s.sum.Read {
			return true
		}
	}
	return false
}

// ingest reads what is due and commits the difference.
func (g *ingester) ingest(ctx context.Context) (err error) {
	if g.db, err = g.w.DB(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.cleanUp(context.WithoutCancel(ctx))) }()
	if err := g.loadCurrent(ctx); err != nil {
		return err
	}
	if err := g.read(ctx); err != nil {
		return err
	}
	if err := g.diff(ctx); err != nil {
		return err
	}
	if err := g.commit(ctx); err != nil {
		return err
	}
	if err := g.appendRejects(ctx, rejectsTable, ""); err != nil {
		return err
	}
	for _, s := range g.sources {
		if s.res != nil {
			g.book.Sources[s.name] = page{State: s.res.State, Twice: s.twice}
		}
	}
	return g.book.at(ctx, g.w)
}

// Names of the job's tables in the database.
const (
	currentTable = "ingest_current" // the ids of assets as they are, with source and file
	inTable      = "ingest_in"      // assets as the manifests that were read say
	diffTable    = "ingest_diff"    // what is new, changed or gone
	outTable     = "ingest_out"     // the rows of the files that are written
	rejectsTable = "ingest_rejects"
	knownTable   = "ingest_known"
)

// cleanUp frees the database of what only ingest needs.
func (g *ingester) cleanUp(ctx context.Context) error {
	err := g.db.Exec(ctx, "DROP VIEW IF EXISTS "+knownTable)
	names, lerr := query.Column[string](ctx, g.db, "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'ingest_')")
	err = errors.Join(err, lerr)
	for _, n := range names {
		err = errors.Join(err, g.db.Exec(ctx, "DROP TABLE "+query.Ident(n)))
	}
	return err
}
