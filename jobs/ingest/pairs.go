package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// pairList is the config's labels or predictions: manifests that make one table.
type pairList struct {
	kind    manifest.PairKind
	root    string
	schema  table.Schema
	keys    []string // unique, and the order of the rows
	specs   []manifest.Source
	models  []string // of predictions
	book    *list
	written *int64
}

func text(name string) table.Field {
	return table.Field{Name: name, Type: table.String, Nullable: true}
}

// pairs brings the labels and predictions tables to what the manifests say now.
func (g *ingester) pairs(ctx context.Context, r *manifest.Reader) error {
	labels := pairList{kind: manifest.Labels, root: workspace.LabelsRoot, keys: []string{"asset_id", "label"},
		schema: table.Schema{text("asset_id"), text("label")}, book: &g.book.Labels, written: &g.sum.Labels}
	for _, l := range g.w.Config.Labels {
		labels.specs = append(labels.specs, manifest.Source{Manifest: l.Manifest, MaxLine: int64(g.w.Config.Limits.Line),
			Fields: fields("asset_id", l.Fields.AssetID, "label", l.Fields.Label)})
	}
	predictions := pairList{kind: manifest.Predictions, root: workspace.PredictionsRoot, keys: []string{"asset_id", "model", "prediction"},
		schema: table.Schema{text("asset_id"), text("model"), text("prediction"), {Name: "confidence", Type: table.Double, Nullable: true}},
		book:   &g.book.Predictions, written: &g.sum.Predictions}
	for _, p := range g.w.Config.Predictions {
		predictions.models = append(predictions.models, p.Model)
		predictions.specs = append(predictions.specs, manifest.Source{Manifest: p.Manifest, MaxLine: int64(g.w.Config.Limits.Line),
			Fields: fields("asset_id", p.Fields.AssetID, "prediction", p.Fields.Prediction, "confidence", p.Fields.Confidence)})
	}
	for _, l := range []pairList{labels, predictions} {
		if err := g.pairList(ctx, r, l); err != nil {
			return fmt.Errorf("%s: %w", l.root, err)
		}
	}
	return nil
}

// pairList reads the manifests of a list when one of them, or the list itself,
// has changed, and replaces the table's rows when they differ.
func (g *ingester) pairList(ctx context.Context, r *manifest.Reader, l pairList) (err error) {
	if len(l.specs) == 0 && len(l.book.States) == 0 {
		return nil // never had any: another tool may keep the table
	}
	snap, err := g.w.Snapshot(ctx, l.root)
	if err != nil {
		return err
	}
	options, err := json.Marshal([]any{l.specs, l.models})
	if err != nil {
		return err
	}
	now := list{Options: task.NewHash().Add(string(options)).Sum(), Table: snap.ID, Version: snap.Version}
	for _, s := range l.specs {
		state, err := r.Probe(ctx, s, manifest.State{})
		if err := g.noFile(err); err != nil {
			return err
		}
		now.States = append(now.States, state)
	}
	if now.same(*l.book) {
		return nil
	}
	if g.db, err = g.w.DB(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.cleanUp(context.WithoutCancel(ctx))) }()
	if now.States, err = g.readPairs(ctx, l); err != nil {
		return err
	}
	if err := g.replace(ctx, l, snap); err != nil {
		return err
	}
	if err := g.appendRejects(ctx, rejectsTable); err != nil {
		return err
	}
	if snap, err = g.w.Snapshot(ctx, l.root); err != nil {
		return err
	}
	now.Table, now.Version = snap.ID, snap.Version
	*l.book = now
	return nil
}

// noFile lets a glob match nothing: labels come later than assets.
func (g *ingester) noFile(err error) error {
	var none *manifest.NoMatchError
	if errors.As(err, &none) {
		return nil
	}
	return err
}

// readPairs makes outTable of all manifests of a list.
func (g *ingester) readPairs(ctx context.Context, l pairList) (states []manifest.State, err error) {
	r := manifest.NewReader(g.db, g.w.Cache)
	defer func() { err = errors.Join(err, r.Close()) }()
	cols := "asset_id, value AS label"
	if l.kind == manifest.Predictions {
		cols = "asset_id, %s AS model, value AS prediction, confidence"
	}
	err = g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+rejectsTable+" (asset_id VARCHAR, source VARCHAR, line BIGINT, reason VARCHAR, error VARCHAR, owner BIGINT)")
	if err != nil {
		return nil, err
	}
	var selects []string
	for i, s := range l.specs {
		count := g.w.App.Progress.Start("ingest "+l.root, "rows", 0)
		res, err := r.ReadPairs(ctx, s, l.kind, fmt.Sprintf("ingest_pairs%d", i), manifest.ReadOptions{Count: count.Add})
		count.Done()
		if err != nil {
			if err := g.noFile(err); err != nil {
				return nil, err
			}
			g.warn("%s: %v", l.root, err)
			state, perr := r.Probe(ctx, s, manifest.State{})
			if perr := g.noFile(perr); perr != nil {
				return nil, perr
			}
			states = append(states, state)
			continue
		}
		states = append(states, res.State)
		c := cols
		if l.kind == manifest.Predictions {
			c = fmt.Sprintf(cols, query.Literal(l.models[i]))
		}
		selects = append(selects, fmt.Sprintf("SELECT %s FROM %s", c, query.Ident(res.Table)))
		err = g.db.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT nullif(asset_id, ''), %s[file + 1], line, reason, error, %d FROM %s", rejectsTable, query.Literals(res.Files), i, query.Ident(res.Rejects)))
		if err != nil {
			return nil, err
		}
	}
	union := "SELECT NULL::VARCHAR AS asset_id, NULL::VARCHAR AS label WHERE false"
	if l.kind == manifest.Predictions {
		union = "SELECT NULL::VARCHAR AS asset_id, NULL::VARCHAR AS model, NULL::VARCHAR AS prediction, NULL::DOUBLE AS confidence WHERE false"
	}
	union = strings.Join(append([]string{union}, selects...), " UNION ALL ")
	// Two manifests may say the same: the most confident one counts.
	all := "SELECT asset_id, label FROM (" + union + ") GROUP BY ALL"
	if l.kind == manifest.Predictions {
		all = "SELECT asset_id, model, prediction, max(confidence) AS confidence FROM (" + union + ") GROUP BY asset_id, model, prediction"
	}
	return states, g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+outTable+" AS "+all)
}

// replace makes the rows of outTable those of the list's table. Files that come
// out the same stay.
func (g *ingester) replace(ctx context.Context, l pairList, snap *table.Snapshot) error {
	t := g.w.Table(l.root)
	adds, err := g.write(ctx, t, outTable, l.keys...)
	if err != nil {
		return err
	}
	c := table.Change{Base: snap.Version, Operation: "WRITE", Exclusive: true, Info: map[string]string{"run": g.w.App.Run, "winnow": g.w.App.Version}}
	for _, f := range snap.Files {
		c.Removes = append(c.Removes, f.Path)
	}
	c.Adds, c.Removes = apart(adds, c.Removes)
	if len(c.Adds)+len(c.Removes) == 0 && snap.Version >= 0 || len(adds) == 0 && snap.Version < 0 {
		return nil
	}
	if snap.Version < 0 || !snap.Schema.Equal(l.schema) {
		c.Schema = l.schema
	}
	c.AppID, c.AppVersion = transaction("ingest "+l.root, c), 1
	if _, err := t.Commit(ctx, c); err != nil {
		return err
	}
	*l.written, err = g.db.Int(ctx, "SELECT count(*) FROM "+outTable)
	return err
}
