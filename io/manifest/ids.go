package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"winnow/pipeline"
)

// ReadIDs calls fn with every asset id of a file or of a glob of files: plain
// text with an id a line, JSON Lines (an id, or an object with an asset_id under
// any of its known names), CSV, Parquet or .npy. Blank lines are passed over. A
// row without an id is an error that names its line.
func (r *Reader) ReadIDs(ctx context.Context, pattern string, fn func(id string) error) error {
	places, err := r.listFiles(ctx, "ids", pattern)
	if err != nil {
		return err
	}
	for _, p := range places {
		read := r.readIDFile
		if f := formOf(p.Key); f == formCSV || f == formTSV {
			read = r.readIDSheet
		}
		if err := read(ctx, p, fn); err != nil {
			return fmt.Errorf("ids %s: %w", p.Key, err)
		}
	}
	return nil
}

func (r *Reader) readIDFile(ctx context.Context, p Place, fn func(id string) error) (err error) {
	ids, err := r.openIDs(ctx, VectorSource{}, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.close()) }()
	plain := false
	if l, ok := ids.(*lineIDs); ok {
		plain = l.fields == nil
	}
	for n := 1; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id, err := ids.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if plain {
			if id = strings.TrimSpace(id); id == "" {
				continue
			}
		}
		if id == "" {
			return pipeline.Usagef("row %d has no asset_id", n)
		}
		if err := fn(id); err != nil {
			return err
		}
	}
}

// readIDSheet reads the column of a CSV file that holds ids.
func (r *Reader) readIDSheet(ctx context.Context, p Place, fn func(id string) error) error {
	st, o, err := r.same(ctx, p)
	if err != nil {
		return err
	}
	f := &found{spot: spot{st: st, root: p.Root, key: p.Key}}
	m := newRowMapper(nil)
	return f.rows(ctx, o, func(int64) {}, func(row row) error {
		if row.fault != nil {
			return fmt.Errorf("line %d: %w", row.line, row.fault)
		}
		m.load(row.top)
		id, _, err := m.find("asset_id", nil)
		if err != nil {
			return fmt.Errorf("line %d: %w", row.line, err)
		}
		if id == "" {
			return pipeline.Usagef("line %d has no asset_id; name the column asset_id", row.line)
		}
		return fn(id)
	})
}
