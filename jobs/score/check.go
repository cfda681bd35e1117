package score

import (
	"context"
	"fmt"

	"winnow/configs"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
)

// Versions returns the current version of every function of one embedding.
func Versions(ctx context.Context, w *workspace.Workspace, l *workspace.Live, fns []*configs.Function) (map[string]string, error) {
	a := NewAnchors(w, map[string]*workspace.Live{l.Embedding.Name: l})
	defer a.Close()
	if err := a.Check(ctx, fns); err != nil {
		return nil, err
	}
	st, err := statisticsFor(ctx, w, l, fns)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range fns {
		pos, neg, err := a.Resolve(ctx, f, false)
		if err != nil {
			return nil, err
		}
		out[f.Name] = function.VersionOf(f.Definition, pos, neg, st)
	}
	return out, nil
}

// StaleError says that scores are missing or of other function versions.
type StaleError struct{ What string }

func (e *StaleError) Error() string { return e.What + "; run: winnow score" }

// Covers checks that the score files cover every shard of an embedding with the
// wanted function versions.
func Covers(snap *table.Snapshot, l *workspace.Live, want map[string]string) error {
	open := map[string]bool{}
	for _, f := range l.Snapshot.Files {
		open[f.Path] = true
	}
	for _, f := range snap.Files {
		shards, have, err := readTags(f)
		if err != nil {
			return err
		}
		for _, s := range shards {
			delete(open, s)
		}
		for name, version := range want {
			if have[name] != version {
				return &StaleError{fmt.Sprintf("function %s was changed or added since embedding %s was scored", name, l.Embedding.Name)}
			}
		}
	}
	if len(open) > 0 {
		return &StaleError{fmt.Sprintf("%d of %d shards of embedding %s have no scores", len(open), len(l.Snapshot.Files), l.Embedding.Name)}
	}
	return nil
}
