package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/task"
)

// pairSource is one manifest of labels or predictions.
type pairSource struct {
	manifest.Source
	model string
}

// pairs brings the labels and predictions tables up to date. They are small: when
// one of their manifests changed, the whole table is written anew.
func (in *ingester) pairs(ctx context.Context) error {
	line := int64(in.w.Config.Limits.Line)
	var labels, predictions []pairSource
	for _, l := range in.w.Config.Labels {
		f := manifest.Fields{}
		set(f, "asset_id", l.Fields.AssetID)
		set(f, "label", l.Fields.Label)
		labels = append(labels, pairSource{Source: manifest.Source{Manifest: l.Manifest, Fields: f, MaxLine: line}})
	}
	for _, p := range in.w.Config.Predictions {
		f := manifest.Fields{}
		set(f, "asset_id", p.Fields.AssetID)
		set(f, "prediction", p.Fields.Prediction)
		set(f, "confidence", p.Fields.Confidence)
		predictions = append(predictions, pairSource{manifest.Source{Manifest: p.Manifest, Fields: f, MaxLine: line}, p.Model})
	}
	if err := in.pair(ctx, workspace.LabelsRoot, manifest.Labels, labels); err != nil {
		return err
	}
	return in.pair(ctx, workspace.PredictionsRoot, manifest.Predictions, predictions)
}

func set(f manifest.Fields, word, name string) {
	if name != "" {
		f[word] = name
	}
}

func (in *ingester) pair(ctx context.Context, root string, kind manifest.PairKind, sources []pairSource) error {
	snap, err := in.w.Snapshot(ctx, root)
	if err != nil {
		return err
	}
	key := stateKey("manifests", root)
	var prev []manifest.State
	if raw := snap.Properties[key]; raw != "" {
		_ = json.Unmarshal([]byte(raw), &prev) // of another version: read again
	}
	same := len(prev) == len(sources)
	for i, s := range sources {
		var p manifest.State
		if i < len(prev) {
			p = prev[i]
		}
		state, err := in.reader.Probe(ctx, s.Source, p)
		if err != nil {
			return fmt.Errorf("%s: %w", root, err)
		}
		same = same && state.Same(p)
	}
	if same {
		return nil
	}
	sql, states, err := in.readPairs(ctx, root, kind, sources)
	if err != nil {
		return err
	}
	c := table.Change{Base: snap.Version, Operation: "WRITE", Exclusive: true, Schema: pairSchema(kind),
		Properties: map[string]string{key: states}, AppID: "ingest " + task.NewHash().Add(root).Add(fmt.Sprint(snap.Version)).Add(states).Sum(), AppVersion: 1,
		Info: map[string]string{"run": in.w.App.Run, "winnow": in.w.App.Version}}
	var adds []table.File
	if sql != "" {
		file, err := writeFile(ctx, in.w, in.db, root, sql)
		if err != nil {
			return err
		}
		if file != nil {
			adds = append(adds, *file)
		}
	}
	var removes []string
	for _, f := range snap.Files {
		removes = append(removes, f.Path)
	}
	if c.Adds, c.Removes, err = unchanged(adds, removes); err != nil {
		return err
	}
	_, err = in.w.Table(root).Commit(ctx, c)
	return err
}

// readPairs reads all manifests of one kind and returns the SELECT of their rows.
func (in *ingester) readPairs(ctx context.Context, root string, kind manifest.PairKind, sources []pairSource) (sql, states string, err error) {
	var selects []string
	list := []manifest.State{}
	for i, s := range sources {
		name := fmt.Sprintf("%s_%d", root, i)
		res, err := in.reader.ReadPairs(ctx, s.Source, kind, name, manifest.ReadOptions{})
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", root, err)
		}
		list = append(list, res.State)
		cols := "asset_id, value AS label"
		if kind == manifest.Predictions {
			cols = fmt.Sprintf("asset_id, %s AS model, value AS prediction, confidence", query.Literal(s.model))
		}
		selects = append(selects, fmt.Sprintf("SELECT %s FROM %s", cols, query.Ident(res.Table)))
		if res.Rejected > 0 {
			in.sum.Warnings = append(in.sum.Warnings, fmt.Sprintf("%s, %s: %d rows were passed over", root, s.Manifest, res.Rejected))
		}
	}
	raw, err := json.Marshal(list)
	if err != nil || len(selects) == 0 {
		return "", string(raw), err
	}
	order := "asset_id, label"
	if kind == manifest.Predictions {
		order = "asset_id, model, prediction, confidence"
	}
	return fmt.Sprintf("SELECT DISTINCT * FROM (%s) ORDER BY %s", strings.Join(selects, " UNION ALL "), order), string(raw), nil
}

func pairSchema(kind manifest.PairKind) table.Schema {
	s := table.Schema{{Name: "asset_id", Type: table.String, Nullable: true}}
	if kind == manifest.Labels {
		return append(s, table.Field{Name: "label", Type: table.String, Nullable: true})
	}
	return append(s, table.Field{Name: "model", Type: table.String, Nullable: true},
		table.Field{Name: "prediction", Type: table.String, Nullable: true},
		table.Field{Name: "confidence", Type: table.Double, Nullable: true})
}
