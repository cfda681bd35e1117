package status

import (
	"context"
	"errors"
	"path"
	"strings"

	"winnow/configs"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// functions tells which functions of one embedding have current scores. l is
// nil when the embedding could not be read.
func functions(ctx context.Context, w *workspace.Workspace, e configs.Embedding, l *workspace.Live) ([]Function, error) {
	var defs []*configs.Function
	var out []Function
	for _, f := range w.Config.Definitions {
		if f.Embedding == e.Name {
			defs = append(defs, f)
			out = append(out, Function{Name: f.Name, Embedding: e.Name, Combine: string(f.How()), Rule: f.Threshold.String(), State: Waiting})
		}
	}
	if len(out) == 0 || l == nil || l.Rows == 0 {
		return out, nil
	}
	scores, err := w.Snapshot(ctx, workspace.ScoresRoot(e.Name))
	if err != nil {
		return out, err
	}
	measured, err := hasStatistics(ctx, w, l)
	if err != nil {
		return out, err
	}
	if scores.Version < 0 || !measured {
		// Versions would make the statistics: that is for the score job.
		for i := range out {
			out[i].State = NotScored
		}
		return out, nil
	}
	versions, faults, err := versionsOf(ctx, w, l, defs)
	if err != nil {
		return out, err
	}
	for i, f := range defs {
		if err := out[i].compare(scores, l, versions[f.Name], faults[f.Name]); err != nil {
			return out, err
		}
	}
	return out, nil
}

// compare sets the state from the score files.
func (f *Function) compare(scores *table.Snapshot, l *workspace.Live, version, fault string) error {
	if fault != "" {
		f.State, f.What = Broken, fault
		return nil
	}
	err := score.Covers(scores, l, map[string]string{f.Name: version})
	var stale *score.StaleError
	switch {
	case errors.As(err, &stale):
		f.State, f.What = Stale, stale.What
		if scores.Schema.Field(f.Name) == nil {
			f.State = NotScored
		}
	case err != nil:
		return err
	default:
		f.State = Scored
	}
	return nil
}

// versionsOf returns the current version of each function, or why it has none.
func versionsOf(ctx context.Context, w *workspace.Workspace, l *workspace.Live, defs []*configs.Function) (versions, faults map[string]string, err error) {
	versions, err = score.Versions(ctx, w, l, defs)
	if err == nil {
		return versions, nil, nil
	}
	if fatal(ctx, err) {
		return nil, nil, err
	}
	// Some function is broken: ask for each alone.
	versions, faults = map[string]string{}, map[string]string{}
	for _, f := range defs {
		one, err := score.Versions(ctx, w, l, []*configs.Function{f})
		switch {
		case err == nil:
			versions[f.Name] = one[f.Name]
		case fatal(ctx, err):
			return nil, nil, err
		default:
			faults[f.Name] = err.Error()
		}
	}
	return versions, faults, nil
}

// fatal tells errors that end the command from those that belong to one part of
// the report.
func fatal(ctx context.Context, err error) bool {
	var transient *pipeline.TransientError
	return ctx.Err() != nil || errors.As(err, &transient)
}

// hasStatistics tells whether the score job has measured the corpus.
func hasStatistics(ctx context.Context, w *workspace.Workspace, l *workspace.Live) (bool, error) {
	for o, err := range w.Store.ListDir(ctx, workspace.StatsDir(l.Embedding.Name, l.Fingerprint)) {
		if err != nil {
			return false, err
		}
		if !o.IsDir && strings.HasSuffix(path.Base(o.Key), ".safetensors") {
			return true, nil
		}
	}
	return false, nil
}
