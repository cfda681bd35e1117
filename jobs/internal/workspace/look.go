package workspace

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"winnow/pipeline/task"
)

// lookBlock is the number of pictures whose looks are kept in one commit.
const lookBlock = 16384

// LookAt looks at the pictures of the rows of a table, or of a SELECT in parentheses,
// with the columns asset_id, version and uri, that were not looked at in their
// version: the looks are added to the table looks in the database, which is loaded,
// and in the workspace, unless it is a dry run. bad are the ids of pictures that
// cannot be read.
func (w *Workspace) LookAt(ctx context.Context, from string, dry bool) (bad []string, err error) {
	if _, err := w.LoadTable(ctx, LooksRoot); err != nil {
		return nil, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	todo := fmt.Sprintf(`FROM %s c WHERE coalesce(uri, '') <> ''
		AND NOT EXISTS (FROM %s l WHERE l.asset_id = c.asset_id AND l.version = coalesce(c.version, ''))`, from, LooksRoot)
	total, err := db.Int(ctx, "SELECT count(*) "+todo)
	if err != nil || total == 0 {
		return nil, err
	}
	looker, err := w.NewLooker()
	if err != nil {
		return nil, err
	}
	count := w.App.Progress.Start("look", "pictures", total)
	defer count.Done()
	var list []picture
	err = db.Each(ctx, "SELECT asset_id, coalesce(version, ''), uri "+todo+" ORDER BY asset_id", func(scan func(...any) error) error {
		var x picture
		if err := scan(&x.row.AssetID, &x.row.Version, &x.uri); err != nil {
			return err
		}
		list = append(list, x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(list, lookBlock) {
		if err := lookAt(ctx, looker, part, count.Add); err != nil {
			return nil, err
		}
		var rows []LookRow
		for _, x := range part {
			if x.err != nil {
				bad = append(bad, x.row.AssetID)
				continue
			}
			rows = append(rows, x.row)
		}
		if err := w.keepLooks(ctx, rows, dry); err != nil {
			return nil, err
		}
	}
	return bad, nil
}

// picture is one to look at, and what came of it.
type picture struct {
	row LookRow
	uri string
	err error
}

// lookAt fills the pictures' rows, several at a time.
func lookAt(ctx context.Context, looker *Looker, list []picture, add func(int64)) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0)) // half of them wait for bytes
	for i := range list {
		if inner.Err() != nil {
			break
		}
		g.Go(func() error {
			x := &list[i]
			hash, width, height, err := looker.Look(inner, x.uri)
			if inner.Err() != nil {
				return context.Cause(inner)
			}
			x.row.DHash, x.row.Width, x.row.Height, x.err = int64(hash), int64(width), int64(height), err
			add(1)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// keepLooks adds rows to the looks table, and to the database.
func (w *Workspace) keepLooks(ctx context.Context, rows []LookRow, dry bool) error {
	if len(rows) == 0 {
		return nil
	}
	if !dry {
		h := task.NewHash()
		for _, x := range rows {
			h.Add(x.AssetID).Add(x.Version)
		}
		loaded := w.loaded[LooksRoot]
		if err := Append(ctx, w, LooksRoot, "looks "+h.Sum(), w.App.Run, LooksSchema, rows); err != nil {
			return err
		}
		w.loaded[LooksRoot] = loaded // the rows come below
	}
	return w.db.Append(ctx, LooksRoot, func(add func(...any) error) error {
		for _, x := range rows {
			if err := add(x.AssetID, x.Version, x.DHash, x.Width, x.Height); err != nil {
				return err
			}
		}
		return nil
	})
}
