package curate

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/task"
)

// idsKey names an entry of a batch's exclude.
type idsKey struct {
	batch string
	entry int
}

// idSet is a file of ids in the database.
type idSet struct {
	table  string
	digest string // of the ids: equal for files that say the same
}

// readIDs reads the files of ids that batches exclude. All that cannot be read
// are said at once.
func readIDs(ctx context.Context, w *workspace.Workspace, batches []chosenBatch) (_ map[idsKey]idSet, err error) {
	sets := map[idsKey]idSet{}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	reader := manifest.NewReader(db, w.Cache)
	defer func() { err = errors.Join(err, reader.Close()) }()
	var faults pipeline.UsageError
	for _, b := range batches {
		for i, x := range b.Exclude {
			if x.IDs == "" {
				continue
			}
			s := idSet{table: fmt.Sprintf("curate_ids%d", len(sets))}
			err := s.load(ctx, db, reader, x.IDs)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				faults.Problems = append(faults.Problems, w.Config.Problem(fmt.Sprintf("%s.exclude[%d].ids", b.path, i), err.Error(),
					"ids are one a line (.txt), or JSON Lines, CSV or Parquet with an asset_id"))
				continue
			}
			sets[idsKey{b.Name, i}] = s
		}
	}
	if len(faults.Problems) > 0 {
		return nil, &faults
	}
	return sets, nil
}

func (s *idSet) load(ctx context.Context, db *query.DB, r *manifest.Reader, address string) error {
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE "+query.Ident(s.table)+" (asset_id VARCHAR)"); err != nil {
		return err
	}
	err := db.Append(ctx, s.table, func(add func(...any) error) error {
		return r.ReadIDs(ctx, address, func(id string) error {
			if !utf8.ValidString(id) {
				return fmt.Errorf("ids %s: it is no text in UTF-8", address)
			}
			return add(id)
		})
	})
	if err != nil {
		return err
	}
	h := task.NewHash()
	err = db.Each(ctx, "SELECT DISTINCT asset_id FROM "+query.Ident(s.table)+" ORDER BY asset_id", func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		h.Add(id)
		return err
	})
	s.digest = h.Sum()
	return err
}
