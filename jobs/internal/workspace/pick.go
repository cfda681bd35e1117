package workspace

import (
	"context"
	"fmt"

	"winnow/io/query"
)

// Pick reads the vectors of the rows of a table, or of a SELECT in parentheses,
// with the columns asset_id and n: fn gets n and the vector, which is used again
// once fn returns, in the order of the shards. Rows without a vector are passed
// over. The memory does not grow with the rows but for 24 bytes each.
func (l *Live) Pick(ctx context.Context, from string, fn func(n int64, vector []float32) error) error {
	db, err := l.w.DB(ctx)
	if err != nil {
		return err
	}
	type wanted struct{ rows, at []int64 }
	files := make([]wanted, len(l.Files))
	sql := fmt.Sprintf("SELECT l.file, l.row, c.n FROM %s l JOIN %s c USING (asset_id) ORDER BY l.file, l.row", query.Ident(l.Table), from)
	err = db.Each(ctx, sql, func(scan func(...any) error) error {
		var file, row, n int64
		if err := scan(&file, &row, &n); err != nil {
			return err
		}
		f := &files[file]
		f.rows, f.at = append(f.rows, row), append(f.at, n)
		return nil
	})
	if err != nil {
		return err
	}
	for file, f := range files {
		if len(f.rows) == 0 {
			continue
		}
		next := 0
		err := l.RowsOf(ctx, file, f.rows, func(ids []string, vectors []float32) error {
			for i := range ids {
				if err := fn(f.at[next], vectors[i*l.Dim:(i+1)*l.Dim]); err != nil {
					return err
				}
				next++
			}
			return nil
		})
		if err == nil && next != len(f.rows) {
			err = fmt.Errorf("%s/%s gave %d of %d rows", l.Root, l.Files[file].Path, next, len(f.rows))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
