package duplicates

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/graph"
)

// look looks at all pictures that have a vector and are not known yet.
func (f *found) look(ctx context.Context) error {
	var bad []string
	err := f.w.Locked(ctx, func(ctx context.Context) (err error) {
		bad, err = f.w.LookAt(ctx, fmt.Sprintf("(SELECT asset_id, a.version AS version, a.uri AS uri FROM assets a JOIN %s USING (asset_id))", query.Ident(f.l.Table)), false)
		return err
	})
	if len(bad) > 0 {
		f.r.Notes = append(f.r.Notes, fmt.Sprintf("%d pictures cannot be read, so their looks are not known (such as %s)", len(bad), strings.Join(bad[:min(3, len(bad))], ", ")))
	}
	return err
}

// eachLook calls fn with the looks of all rows that have some, by row.
func (f *found) eachLook(ctx context.Context, fn func(row int32, hash uint64, pixels float64)) error {
	db, err := f.w.DB(ctx)
	if err != nil {
		return err
	}
	return db.Each(ctx, fmt.Sprintf(`SELECT n, min(k.dhash), min(k.width * k.height)::DOUBLE
		FROM (SELECT row_number() OVER (ORDER BY file, row) - 1 AS n, asset_id FROM %s) l JOIN assets a USING (asset_id)
		JOIN %s k ON k.asset_id = a.asset_id AND k.version = coalesce(a.version, '') GROUP BY n ORDER BY n`, query.Ident(f.l.Table), workspace.LooksRoot),
		func(scan func(...any) error) error {
			var n, hash int64
			var pixels float64
			if err := scan(&n, &hash, &pixels); err != nil {
				return err
			}
			fn(int32(n), uint64(hash), pixels)
			return nil
		})
}

// looks joins pictures of which the difference hashes are alike.
func (f *found) looks(ctx context.Context) error {
	if err := f.look(ctx); err != nil {
		return err
	}
	var rows []int32
	var hashes []uint64
	err := f.eachLook(ctx, func(row int32, hash uint64, _ float64) {
		rows, hashes = append(rows, row), append(hashes, hash)
	})
	if err != nil {
		return err
	}
	if err := graph.Alike(ctx, rows, hashes, f.c.PHash, func(a, b int32) { f.union.Join(a, b) }); err != nil {
		return err
	}
	size := make([]int32, len(f.union))
	for row := range size {
		size[f.union.Find(int32(row))]++
	}
	f.hashes = map[int32]uint64{}
	for i, row := range rows {
		if size[f.union.Find(row)] > 1 {
			f.hashes[row] = hashes[i]
		}
	}
	return nil
}

// pixels gives the grouped pictures their sizes.
func (f *found) pixels(ctx context.Context) error {
	if f.c.PHash < 0 { // else they are known already
		if err := f.look(ctx); err != nil {
			return err
		}
	}
	at := map[int32]*member{}
	for _, g := range f.r.groups {
		for k := range g {
			at[g[k].row] = &g[k]
		}
	}
	return f.eachLook(ctx, func(row int32, _ uint64, pixels float64) {
		if m := at[row]; m != nil {
			m.size = pixels
		}
	})
}
