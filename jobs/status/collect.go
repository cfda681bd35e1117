package status

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"winnow/configs"
	"winnow/io/index"
	"winnow/io/query"
	"winnow/io/table"
	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/workspace"
)

// collector fills a report. What cannot be read becomes a problem of its part,
// and the rest goes on; faults that pass, and interruptions, end it.
type collector struct {
	w        *workspace.Workspace
	r        *Report
	now      time.Time
	examples int     // of each reason for a reject
	measured *record // the last run that measured functions
	err      error   // the first problem, for the exit code
}

// problem notes err for a part of the report, and returns it when it is fatal.
func (c *collector) problem(ctx context.Context, part string, err error) (string, error) {
	if err == nil {
		return "", nil
	}
	if fatal(ctx, err) {
		return "", err
	}
	if c.err == nil {
		c.err = err
	}
	c.r.Problems = append(c.r.Problems, part+": "+err.Error())
	return err.Error(), nil
}

func (c *collector) collect(ctx context.Context) error {
	exists, err := c.exists(ctx)
	if err != nil || !exists {
		return err
	}
	c.r.Exists = true
	for _, step := range []func(context.Context) error{c.lock, c.assets, c.embeddings, c.unused, c.batches, c.lastRun, c.measure} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// exists tells whether anything was ever written to the workspace.
func (c *collector) exists(ctx context.Context) (bool, error) {
	for _, err := range c.w.Store.ListDir(ctx, "") {
		return err == nil, err
	}
	return false, nil
}

func (c *collector) assets(ctx context.Context) (err error) {
	a := &c.r.Assets
	read := func() error {
		if a.Version, err = c.w.LoadAssets(ctx); err != nil {
			return err
		}
		db, err := c.w.DB(ctx)
		if err != nil {
			return err
		}
		err = db.Each(ctx, "SELECT coalesce(source, ''), count(*) FROM assets GROUP BY 1 ORDER BY 1", func(scan func(...any) error) error {
			var s Source
			if err := scan(&s.Name, &s.Rows); err != nil {
				return err
			}
			a.Sources = append(a.Sources, s)
			a.Rows += s.Rows
			return nil
		})
		if err != nil {
			return err
		}
		a.Rejected, err = c.w.IngestRejects(ctx, c.examples)
		return err
	}
	a.Problem, err = c.problem(ctx, "assets", read())
	return err
}

// embeddings looks at every embedding of the config, and its functions.
func (c *collector) embeddings(ctx context.Context) error {
	for _, e := range c.w.Config.Embeddings {
		out := Embedding{Name: e.Name, Of: e.Of, Model: e.MadeBy()}
		var live *workspace.Live
		var err error
		if c.r.Assets.Problem == "" {
			live, err = c.embedding(ctx, e, &out)
			if out.Problem, err = c.problem(ctx, "embedding "+e.Name, err); err != nil {
				return err
			}
		}
		c.r.Embeddings = append(c.r.Embeddings, out)
		fns, err := functions(ctx, c.w, e, live)
		c.r.Functions = append(c.r.Functions, fns...)
		if _, err = c.problem(ctx, "functions on "+e.Name, err); err != nil {
			return err
		}
	}
	c.r.Functions = together(c.r.Functions)
	return nil
}

func (c *collector) embedding(ctx context.Context, e configs.Embedding, out *Embedding) (*workspace.Live, error) {
	from, to, err := c.w.Move(ctx, e)
	if err != nil {
		return nil, err
	}
	out.Of, out.Model, out.Fingerprint, out.Dim = from.Of, from.MadeBy(), from.Fingerprint(), from.Spec.Dim
	if from.Head != nil {
		out.Head = from.Head.Number
	}
	if out.Others, err = c.models(ctx, e.Name, from.Fingerprint(), to.Fingerprint()); err != nil {
		return nil, err
	}
	if from != to {
		if out.Backfill, err = c.backfill(ctx, to); err != nil {
			return nil, err
		}
	}
	l, err := c.w.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	out.Shards, out.Rows, out.Bytes = len(l.Snapshot.Files), l.Snapshot.Rows(), l.Snapshot.Bytes()
	if out.Index, err = c.index(ctx, l); err != nil {
		return nil, err
	}
	cov, err := c.w.Coverage(ctx, from, c.examples)
	if err != nil {
		return nil, err
	}
	if err := c.example(ctx, l, out); err != nil {
		return nil, err
	}
	if out.Missing = cov.Content - cov.Embedded - cov.Todo - cov.Rejected; e.Vectors != nil {
		if out.Unmatched, out.UnmatchedIDs, err = l.Unmatched(ctx); err != nil {
			return nil, err
		}
		out.Repeated = out.Rows - cov.Embedded - out.Unmatched
	}
	out.Content, out.Embedded, out.Todo, out.Rejected, out.Reasons = cov.Content, cov.Embedded, cov.Todo, cov.Rejected, cov.Reasons
	return l, nil
}

// example names an asset to search by.
func (c *collector) example(ctx context.Context, l *workspace.Live, out *Embedding) error {
	db, err := c.w.DB(ctx)
	if err != nil {
		return err
	}
	return db.Row(ctx, "SELECT coalesce(min(asset_id), '') FROM "+query.Ident(l.Table), []any{&out.example})
}

// backfill tells how far the model that the config names has come, while another
// one is in use.
func (c *collector) backfill(ctx context.Context, to *workspace.Space) (*Backfill, error) {
	cov, err := c.w.Coverage(ctx, to, c.examples)
	if err != nil {
		return nil, err
	}
	return &Backfill{Model: to.Title(), Fingerprint: to.Fingerprint(), Dim: to.Spec.Dim,
		Content: cov.Content, Embedded: cov.Embedded, Todo: cov.Todo, Rejected: cov.Rejected, Reasons: cov.Reasons}, nil
}

// models lists an embedding's tables under fingerprints other than those.
func (c *collector) models(ctx context.Context, embedding string, but ...string) ([]Model, error) {
	var out []Model
	for o, err := range c.w.Store.ListDir(ctx, "embeddings/"+embedding) {
		if err != nil {
			return nil, err
		}
		fingerprint := path.Base(strings.TrimSuffix(o.Key, "/"))
		if !o.IsDir || slices.Contains(but, fingerprint) {
			continue
		}
		snap, err := c.w.Snapshot(ctx, workspace.EmbeddingRoot(embedding, fingerprint))
		if err != nil {
			return nil, err
		}
		if snap.Version >= 0 {
			out = append(out, Model{embedding, fingerprint, snap.Rows(), len(snap.Files), snap.Bytes()})
		}
	}
	return out, nil
}

// unused lists embeddings that the config does not name (any more).
func (c *collector) unused(ctx context.Context) error {
	for o, err := range c.w.Store.ListDir(ctx, "embeddings") {
		if err != nil {
			return err
		}
		name := path.Base(strings.TrimSuffix(o.Key, "/"))
		if _, used := c.w.Config.Embedding(name); used || !o.IsDir {
			continue
		}
		list, err := c.models(ctx, name)
		c.r.Unused = append(c.r.Unused, list...)
		if _, err = c.problem(ctx, "embedding "+name, err); err != nil {
			return err
		}
	}
	return nil
}

// index describes the newest index of an embedding and what it lacks.
func (c *collector) index(ctx context.Context, l *workspace.Live) (*Index, error) {
	dir := c.w.Store.Sub(workspace.IndexDir(l.Embedding.Name))
	m, err := index.Latest(ctx, dir, l.Fingerprint)
	if err != nil || m == nil {
		return nil, err
	}
	fresh := indexjob.Fresh(m, l)
	i := &Index{ID: m.ID, Kind: m.Kind, Factory: m.Factory, Rows: m.Rows, Segments: len(m.Parts) - 1, Dead: m.Dead, Recall10: m.Recall10, Fresh: fresh}
	if m.Kind != index.Flat {
		i.Drift = &m.Drift
	}
	i.Bytes = m.Bytes()
	if fresh {
		return i, nil
	}
	then, err := c.w.Table(l.Root).Snapshot(ctx, m.TableVersion)
	if errors.Is(err, table.ErrNoVersion) { // cleaned away: the numbers alone are left
		i.Behind, i.Gone = max(l.Rows-m.Rows, 0), max(m.Rows-l.Rows, 0)
		return i, nil
	}
	if err != nil {
		return nil, err
	}
	i.Behind, i.Gone = behind(l.Files, then.Files, m.Rows)
	return i, nil
}

// behind counts the live rows in shards that an index has not seen, and the
// index's rows that are live no more.
func behind(live []workspace.LiveFile, indexed []table.File, rows int64) (behind, gone int64) {
	seen := map[string]bool{}
	for _, f := range indexed {
		seen[f.Path] = true
	}
	for _, f := range live {
		if seen[f.Path] {
			rows -= f.Live
		} else {
			behind += f.Live
		}
	}
	// Rows of removed assets that came back are live and were not indexed.
	return behind + max(-rows, 0), max(rows, 0)
}

// batches lists what the batched table holds, and the batches of the config that
// it does not.
func (c *collector) batches(ctx context.Context) error {
	made, err := c.made(ctx)
	if _, err = c.problem(ctx, "batches", err); err != nil {
		return err
	}
	c.r.Batches = made
	for _, b := range c.w.Config.Batches {
		if !slices.ContainsFunc(made, func(m Batch) bool { return m.Name == b.Name }) {
			c.r.Batches = append(c.r.Batches, Batch{Name: b.Name})
		}
	}
	return nil
}

// made lists the batches by name, the oldest slot of each first. A batch is one
// file of the table, whose time is the batch's.
func (c *collector) made(ctx context.Context) ([]Batch, error) {
	snap, err := c.w.Snapshot(ctx, workspace.BatchedRoot)
	if err != nil || len(snap.Files) == 0 {
		return nil, err
	}
	db, err := c.w.DB(ctx)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(snap.Files))
	times := map[string]int64{}
	for i, f := range snap.Files {
		if paths[i], err = c.w.LocalFile(ctx, workspace.BatchedRoot, f); err != nil {
			return nil, err
		}
		times[paths[i]] = f.ModTime
	}
	var out []Batch
	sql := fmt.Sprintf("SELECT name, slot, count(*), max(filename) FROM %s GROUP BY name, slot", query.Parquet(paths))
	err = db.Each(ctx, sql, func(scan func(...any) error) error {
		var b Batch
		var file string
		if err := scan(&b.Name, &b.Slot, &b.Rows, &file); err != nil {
			return err
		}
		b.Made = time.UnixMilli(times[file]).UTC()
		b.Dir = c.w.Show(workspace.BatchesDir + "/" + b.Name + "/" + b.Slot)
		out = append(out, b)
		return nil
	})
	slices.SortFunc(out, func(a, b Batch) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		if n := a.Made.Compare(b.Made); n != 0 {
			return n
		}
		return strings.Compare(a.Slot, b.Slot)
	})
	return out, err
}
