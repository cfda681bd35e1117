// Package ingest is the ingest job: it reads the manifests that changed, compares
// their rows with the assets table, and commits what is new, changed or gone.
//
// Rules:
//   - A manifest whose files, and the listings of what it names, are as at the
//     last read is not read again; its state stands in the assets table's
//     properties and moves with the commit.
//   - An id in two sources belongs to the one that stands first in the config.
//   - Files of the assets table are sorted by asset_id and hold at most 200,000
//     rows. New rows make new files; a changed or removed row rewrites its file.
//   - A metadata field keeps its column. A value that does not fit the column's
//     type widens it (whole numbers to DOUBLE, anything to VARCHAR), which
//     rewrites all files.
package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// fileRows is the number of rows of a file of the assets table.
const fileRows = 200_000

// vanishLimit is the share of a snapshot source's assets that may vanish at once.
const vanishLimit = 0.10

// Options of a run.
type Options struct {
	AllowRemoval bool // let a snapshot remove more than a tenth of its assets
}

// Summary is what ingest did.
type Summary struct {
	Assets    int64             `json:"assets"` // in the workspace now
	New       int64             `json:"new"`
	Changed   int64             `json:"changed"`
	Removed   int64             `json:"removed"`
	Unchanged bool              `json:"unchanged"` // no manifest changed, so none was read
	Rejected  int64             `json:"rejected"`  // rows refused for the first time
	Rejects   []pipeline.Reject `json:"rejects,omitempty"`
	Warnings  []string          `json:"warnings,omitempty"`
}

// source is one manifest of the config.
type source struct {
	configs.Source
	index   int
	changed bool
	prev    manifest.State
	result  *manifest.Result
}

type ingester struct {
	w       *workspace.Workspace
	db      *query.DB
	reader  *manifest.Reader
	snap    *table.Snapshot
	sources []*source
	columns []column // metadata of the assets table to be
	sum     *Summary
	o       Options
}

// Run ingests all sources, labels and predictions, while the caller holds the
// lock.
func Run(ctx context.Context, w *workspace.Workspace, o Options) (*Summary, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	in := &ingester{w: w, db: db, reader: manifest.NewReader(db, w.Cache), sum: &Summary{}, o: o}
	defer in.reader.Close()
	if in.snap, err = w.Snapshot(ctx, workspace.AssetsRoot); err != nil {
		return nil, err
	}
	if err := in.probe(ctx); err != nil {
		return nil, err
	}
	if err := in.assets(ctx); err != nil {
		return nil, err
	}
	if err := in.pairs(ctx); err != nil {
		return nil, err
	}
	w.Forget()
	if _, err := w.LoadAssets(ctx); err != nil {
		return nil, err
	}
	in.sum.Assets, err = db.Int(ctx, "SELECT count(*) FROM assets")
	return in.sum, err
}

func stateKey(kind, name string) string { return "winnow." + kind + "." + name }

// probe finds out which manifests changed since they were read.
func (in *ingester) probe(ctx context.Context) error {
	for i, s := range in.w.Config.Sources {
		src := &source{Source: s, index: i}
		if raw := in.snap.Properties[stateKey("source", s.Name)]; raw != "" {
			if err := json.Unmarshal([]byte(raw), &src.prev); err != nil {
				src.prev = manifest.State{} // of another version: read again
			}
		}
		state, err := in.reader.Probe(ctx, in.source(s), src.prev)
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		src.changed = in.snap.Version < 0 || !state.Same(src.prev)
		in.sources = append(in.sources, src)
	}
	return nil
}

func (in *ingester) source(s configs.Source) manifest.Source {
	f := manifest.Fields{}
	for word, name := range map[string]string{"asset_id": s.Fields.AssetID, "uri": s.Fields.URI, "text": s.Fields.Text, "caption": s.Fields.Caption, "version": s.Fields.Version} {
		if name != "" {
			f[word] = name
		}
	}
	return manifest.Source{Manifest: s.Manifest, Fields: f, Allow: s.Allow, Exclude: []string{in.w.Store.URL()}, MaxLine: int64(in.w.Config.Limits.Line)}
}

// assets reads the changed manifests and commits the difference.
func (in *ingester) assets(ctx context.Context) error {
	any := false
	for _, s := range in.sources {
		any = any || s.changed
	}
	if !any {
		in.sum.Unchanged = true
		return nil
	}
	if _, err := in.w.LoadAssets(ctx); err != nil {
		return err
	}
	counter := in.w.App.Progress.Start("ingest", "rows", 0)
	defer counter.Done()
	for _, s := range in.sources {
		if !s.changed {
			continue
		}
		var err error
		s.result, err = in.reader.Read(ctx, in.source(s.Source), fmt.Sprintf("source_%d", s.index), manifest.ReadOptions{Count: counter.Add})
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		for _, warn := range s.result.Warnings {
			in.sum.Warnings = append(in.sum.Warnings, "source "+s.Name+": "+warn)
		}
		if n := s.result.Unversioned; n > 0 {
			in.sum.Warnings = append(in.sum.Warnings, fmt.Sprintf("source %s: a change of content of %d assets will not be noticed; add a column version to the manifest", s.Name, n))
		}
	}
	if err := in.settleColumns(); err != nil {
		return err
	}
	if err := in.incoming(ctx); err != nil {
		return err
	}
	if err := in.rejects(ctx); err != nil {
		return err
	}
	return in.commit(ctx)
}

// rejects lists the refused rows of the manifests that were read, those only that
// are not listed yet.
func (in *ingester) rejects(ctx context.Context) error {
	if _, err := in.w.LoadTable(ctx, workspace.RejectsRoot); err != nil {
		return err
	}
	known := map[string]bool{}
	err := in.db.Each(ctx, "SELECT asset_id, source, line, reason FROM rejects WHERE stage = 'ingest'", func(scan func(...any) error) error {
		var r pipeline.Reject
		if err := scan(&r.AssetID, &r.Source, &r.Line, &r.Reason); err != nil {
			return err
		}
		known[rejectKey(r)] = true
		return nil
	})
	if err != nil {
		return err
	}
	app := task.NewHash().Add("ingest rejects")
	var fresh []pipeline.Reject
	for _, s := range in.sources {
		if s.result == nil {
			continue
		}
		state, err := json.Marshal(s.result.State)
		if err != nil {
			return err
		}
		app.Add(s.Name).Add(string(state))
		sql := "SELECT coalesce(asset_id, ''), file, line, reason, error FROM " + query.Ident(s.result.Rejects) + " ORDER BY file, line, reason, asset_id"
		err = in.db.Each(ctx, sql, func(scan func(...any) error) error {
			r := pipeline.Reject{Stage: "ingest"}
			var file int
			if err := scan(&r.AssetID, &file, &r.Line, &r.Reason, &r.Error); err != nil {
				return err
			}
			r.Source = s.result.Files[file]
			if !known[rejectKey(r)] {
				fresh = append(fresh, r)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	in.sum.Rejected = int64(len(fresh))
	in.sum.Rejects = fresh[:min(20, len(fresh))]
	return in.w.AppendRejects(ctx, in.w.App.Run, "ingest "+app.Sum(), fresh)
}

func rejectKey(r pipeline.Reject) string {
	return strings.Join([]string{r.AssetID, r.Source, fmt.Sprint(r.Line), r.Reason}, "\x00")
}
