package index

import (
	"context"
	"fmt"
	"math"
)

// Keys streams the asset ids and versions of all rows of the index, in their order,
// some at a time. The slices are used again once yield returns.
func (f *Folder) Keys(ctx context.Context, yield func(ids, versions []string) error) error {
	var ids, versions []string
	for _, p := range f.parts {
		err := p.ids.each(ctx, func(_ int64, rows []idRow) error {
			ids, versions = ids[:0], versions[:0]
			for _, row := range rows {
				ids, versions = append(ids, row.AssetID), append(versions, row.Version)
			}
			return yield(ids, versions)
		})
		if err != nil {
			return fmt.Errorf("read the ids of index %s: %w", f.Meta.ID, err)
		}
	}
	return nil
}

// SearchRows is Search for those who know the rows, and compute cosines themselves:
// scores and row numbers, n × k each, as Index.Search gives them. Keys tells which
// assets they are. Where the index has codes, the scores are about the cosines: ask
// for Meta.Refine times as many rows as are wanted.
func (f *Folder) SearchRows(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	if len(f.parts) == 1 {
		return f.parts[0].ix.Search(ctx, queries, k)
	}
	found, err := f.nearest(ctx, queries, k)
	if err != nil {
		return nil, nil, err
	}
	for _, hits := range found {
		for i := range k {
			h := Hit{Score: float32(math.Inf(-1)), Row: -1}
			if i < len(hits) {
				h = hits[i]
			}
			scores, rows = append(scores, h.Score), append(rows, h.Row)
		}
	}
	return scores, rows, nil
}
