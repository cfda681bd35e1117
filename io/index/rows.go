package index

import (
	"context"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
)

// SearchRows is Search for those who know the rows: scores and row numbers, n × k
// each, as Index.Search gives them.
func (f *Folder) SearchRows(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	return f.Index.Search(ctx, queries, k)
}

// EachID streams the assets of all rows, by row from 0. Their memory is used again
// once fn returns, but for the strings.
func (f *Folder) EachID(ctx context.Context, fn func(ids, versions []string) error) error {
	return f.IDs.each(ctx, fn)
}

func (s *IDs) each(ctx context.Context, fn func(ids, versions []string) error) (err error) {
	defer damagedOnPanic(&err)
	r := parquet.NewGenericReader[idRow](s.f)
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]idRow, 4096)
	ids, versions := make([]string, 0, len(buf)), make([]string, 0, len(buf))
	for left := s.rows; left > 0; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n == 0 {
			return damagedf("its ids end %d rows early: %w", left, errors.Join(err, io.ErrUnexpectedEOF))
		}
		ids, versions = ids[:0], versions[:0]
		for _, x := range buf[:n] {
			ids, versions = append(ids, x.AssetID), append(versions, x.Version)
		}
		if err := fn(ids, versions); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
