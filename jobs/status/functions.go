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
	var out []Function
	defs := configs.Within(w.Config.Definitions, e.Name)
	for _, f := range defs {
		whole, _ := w.Config.Function(f.Name)
		out = append(out, Function{Name: f.Name, Embedding: whole.Space(), Combine: string(f.How()), Rule: f.Threshold.String(), State: Waiting, spaces: whole.Spaces()})
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
	if scores.Version < 0 || !measured && score.NeedsStatistics(l, defs) {
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

// together makes one of the parts of each function over several embeddings: it is
// scored when all are.
func together(parts []Function) (out []Function) {
	at := map[string]int{}
	for _, f := range parts {
		i, known := at[f.Name]
		switch {
		case !known:
			at[f.Name] = len(out)
			out = append(out, f)
		case out[i].State == Scored:
			out[i].State, out[i].What = f.State, f.What
		}
	}
	return out
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
