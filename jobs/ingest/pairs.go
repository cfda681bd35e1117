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
	"winnow/jobs/internal/tables"
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

// pairs brings the labels and predictions tables to what the manifests say now.
func (g *ingester) pairs(ctx context.Context, r *manifest.Reader) error {
	most := int64(g.w.Config.Limits.Line)
	labels := pairList{kind: manifest.Labels, root: workspace.LabelsRoot, keys: []string{"asset_id", "label", "object", "x", "y", "width", "height", "crowd"},
		schema: workspace.LabelsSchema, book: &g.book.Labels, written: &g.sum.Labels}
	var listed []string
	for _, l := range g.w.Config.Labels {
		listed = append(listed, l.Manifest)
		labels.specs = append(labels.specs, manifest.Source{Manifest: l.Manifest, MaxLine: most, Fields: l.Fields.Map()})
	}
	predictions := pairList{kind: manifest.Predictions, root: workspace.PredictionsRoot, keys: []string{"asset_id", "model", "prediction", "object", "x", "y", "width", "height"},
		schema: workspace.PredictionsSchema, book: &g.book.Predictions, written: &g.sum.Predictions}
	for _, p := range g.w.Config.Predictions {
		s := manifest.Source{Manifest: p.Manifest, MaxLine: most, Fields: p.Fields.Map()}
		if strings.Contains(strings.ToLower(p.Manifest), ".json") { // it may be COCO results
			s.Coco = listed
			if p.Coco != "" {
				s.Coco = []string{p.Coco}
			}
		}
		predictions.models = append(predictions.models, p.Model)
		predictions.specs = append(predictions.specs, s)
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
	truths, err := g.truths(ctx, r, l)
	if err != nil {
		return err
	}
	options, err := json.Marshal([]any{l.specs, l.models, l.schema, truths})
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
	if err := g.appendRejects(ctx, rejectsTable, l.root); err != nil {
		return err
	}
	if snap, err = g.w.Snapshot(ctx, l.root); err != nil {
		return err
	}
	now.Table, now.Version = snap.ID, snap.Version
	*l.book = now
	return nil
}

// truths are the states of the COCO files that a list's rows depend on.
func (g *ingester) truths(ctx context.Context, r *manifest.Reader, l pairList) ([]manifest.State, error) {
	var out []manifest.State
	for _, s := range l.specs {
		if !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(s.Manifest, ".gz")), ".json") {
			continue // results are a .json file; JSON Lines read them, too, once
		}
		for _, c := range s.Coco {
			state, err := r.Probe(ctx, manifest.Source{Manifest: c}, manifest.State{})
			if err := g.noFile(err); err != nil {
				return nil, err
			}
			out = append(out, state)
		}
	}
	return out, nil
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
	cols := "asset_id, value AS label, object, x, y, width, height, crowd"
	if l.kind == manifest.Predictions {
		cols = "asset_id, %s AS model, value AS prediction, confidence, object, x, y, width, height, probabilities"
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
		selects = append(selects, fmt.Sprintf("SELECT %s, coco, %s[file + 1] AS source, line FROM %s", c, query.Literals(res.Files), query.Ident(res.Table)))
		err = g.db.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT nullif(asset_id, ''), %s[file + 1], line, reason, error, %d FROM %s", rejectsTable, query.Literals(res.Files), i, query.Ident(res.Rejects)))
		if err != nil {
			return nil, err
		}
	}
	return states, g.unitePairs(ctx, l, selects)
}

// unitePairs makes outTable of the rows of all manifests of a list.
func (g *ingester) unitePairs(ctx context.Context, l pairList, selects []string) error {
	columns, err := tables.Columns(l.schema)
	if err != nil {
		return err
	}
	names, none := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
		none[i] = "NULL::" + c.Type.String() + " AS " + query.Ident(c.Name)
	}
	union := "SELECT " + strings.Join(none, ", ") + ", NULL::BOOLEAN AS coco, NULL::VARCHAR AS source, NULL::BIGINT AS line WHERE false"
	union = strings.Join(append([]string{union}, selects...), " UNION ALL ")
	if err := g.db.Exec(ctx, "CREATE OR REPLACE TABLE "+saidTable+" AS "+union); err != nil {
		return err
	}
	if err := g.nameAssets(ctx, l); err != nil {
		return err
	}
	// Two manifests may say the same: the most confident one counts.
	order := "source, line"
	if l.kind == manifest.Predictions {
		order = "confidence DESC NULLS LAST, source, line"
	}
	return g.db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT %s FROM %s QUALIFY row_number() OVER (PARTITION BY %s ORDER BY %s) = 1",
		outTable, strings.Join(names, ", "), saidTable, strings.Join(l.keys, ", "), order))
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
