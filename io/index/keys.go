package index

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// Keys streams the asset ids and versions of all rows of the index, in their order,
// some at a time. The slices are used again once yield returns.
func (f *Folder) Keys(ctx context.Context, yield func(ids, versions []string) error) error {
	err := f.IDs.each(ctx, yield)
	if err != nil {
		return fmt.Errorf("read the ids of index %s: %w", f.Meta.ID, err)
	}
	return nil
}

func (s *IDs) each(ctx context.Context, yield func(ids, versions []string) error) (err error) {
	defer damagedOnPanic(&err)
	r := parquet.NewGenericReader[idRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	rows := make([]idRow, 1024)
	ids, versions := make([]string, 0, len(rows)), make([]string, 0, len(rows))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(rows)
		ids, versions = ids[:0], versions[:0]
		for _, row := range rows[:n] {
			ids, versions = append(ids, row.AssetID), append(versions, row.Version)
		}
		if n > 0 {
			if err := yield(ids, versions); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return damagedf("%w", err)
		}
	}
}
