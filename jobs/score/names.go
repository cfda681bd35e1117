package score

import (
	"context"
	"fmt"
	"strings"

	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// CheckNames refuses functions with the name of a metadata field of the assets. A
// condition that leaves out "metadata." would read the function's score instead of
// the field, and say nothing.
func CheckNames(ctx context.Context, w *workspace.Workspace) error {
	snap, err := w.Snapshot(ctx, workspace.AssetsRoot)
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for _, f := range snap.Schema {
		if name, ok := workspace.MetadataField(f); ok {
			fields[strings.ToLower(name)] = name
		}
	}
	var faults pipeline.UsageError
	for _, f := range w.Config.Definitions {
		for _, column := range []string{f.Name, f.Name + "_match", f.Name + "_pct"} {
			if field, ok := fields[strings.ToLower(column)]; ok {
				faults.Problems = append(faults.Problems, f.Problem("$.name",
					fmt.Sprintf("the function %s makes a column %s, and the assets have a metadata field %s", f.Name, column, field), "give the function another name"))
			}
		}
	}
	if len(faults.Problems) > 0 {
		return &faults
	}
	return nil
}
