package curate

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/curate"
	"winnow/pipeline/task"
)

// looks adds what the candidates' pictures look like: perceptual hashes, and
// sizes in pixels. What is not known yet is looked at now, and kept.
func (q *builder) looks(ctx context.Context, p *picked) error {
	if err := q.look(ctx, p); err != nil {
		return err
	}
	hashes, known := make([]uint64, q.n), make([]bool, q.n)
	err := q.r.db.Each(ctx, fmt.Sprintf(`SELECT n, min(dhash), min(width * height)::DOUBLE
		FROM %s c JOIN %s l ON l.asset_id = c.asset_id AND l.version = coalesce(c.version, '') GROUP BY n`, candidatesTable, workspace.LooksRoot),
		func(scan func(...any) error) error {
			var n, hash int64
			var pixels float64
			if err := scan(&n, &hash, &pixels); err != nil {
				return err
			}
			hashes[n], known[n] = uint64(hash), true
			if q.req.Keep == curate.KeepLargest {
				q.req.Candidates[n].Size = pixels
			}
			return nil
		})
	if err != nil {
		return err
	}
	if bits := q.b.Dedupe.PHash; bits != nil {
		q.req.Looks = &curate.Looks{Hashes: hashes, Known: known, Bits: *bits}
	}
	return nil
}

// lookBlock is the number of pictures whose looks are kept in one commit.
const lookBlock = 16384

// look fetches the candidates' pictures that were not looked at in their version.
// One that cannot be read is warned about, and is nobody's duplicate by looks.
func (q *builder) look(ctx context.Context, p *picked) error {
	image := ""
	for _, e := range q.r.w.Config.Embeddings {
		if e.Of == "image" {
			image = query.Ident(q.r.live[e.Name].Table)
			break
		}
	}
	if image == "" {
		return nil
	}
	todo := fmt.Sprintf(`FROM %s c WHERE coalesce(uri, '') <> '' AND EXISTS (FROM %s i WHERE i.asset_id = c.asset_id)
		AND NOT EXISTS (FROM %s l WHERE l.asset_id = c.asset_id AND l.version = coalesce(c.version, ''))`, candidatesTable, image, workspace.LooksRoot)
	total, err := q.r.db.Int(ctx, "SELECT count(*) "+todo)
	if err != nil || total == 0 {
		return err
	}
	looker, err := q.r.w.NewLooker()
	if err != nil {
		return err
	}
	count := q.r.w.App.Progress.Start("look", "pictures", total)
	defer count.Done()
	var list []picture
	err = q.r.db.Each(ctx, "SELECT asset_id, coalesce(version, ''), uri "+todo+" ORDER BY asset_id", func(scan func(...any) error) error {
		var x picture
		if err := scan(&x.row.AssetID, &x.row.Version, &x.uri); err != nil {
			return err
		}
		list = append(list, x)
		return nil
	})
	if err != nil {
		return err
	}
	var bad []string
	for part := range chunks(list, lookBlock) {
		if err := lookAt(ctx, looker, part, count.Add); err != nil {
			return err
		}
		var rows []workspace.LookRow
		for _, x := range part {
			if x.err != nil {
				bad = append(bad, x.row.AssetID)
				continue
			}
			rows = append(rows, x.row)
		}
		if err := q.keep(ctx, rows); err != nil {
			return err
		}
	}
	if len(bad) > 0 {
		p.warnings = append(p.warnings, fmt.Sprintf("dedupe: %d pictures cannot be read, so their looks are not compared (such as %s)", len(bad), strings.Join(bad[:min(3, len(bad))], ", ")))
	}
	return nil
}

// picture is one to look at, and what came of it.
type picture struct {
	row workspace.LookRow
	uri string
	err error
}

// lookAt fills the pictures' rows, several at a time.
func lookAt(ctx context.Context, looker *workspace.Looker, list []picture, add func(int64)) error {
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

// keep adds rows to the looks table, and to the database. A dry run writes
// nothing.
func (q *builder) keep(ctx context.Context, rows []workspace.LookRow) error {
	if len(rows) == 0 {
		return nil
	}
	if !q.dry {
		h := task.NewHash()
		for _, x := range rows {
			h.Add(x.AssetID).Add(x.Version)
		}
		if err := workspace.Append(ctx, q.r.w, workspace.LooksRoot, "looks "+h.Sum(), q.r.w.App.Run, workspace.LooksSchema, rows); err != nil {
			return err
		}
	}
	return q.r.db.Append(ctx, workspace.LooksRoot, func(add func(...any) error) error {
		for _, x := range rows {
			if err := add(x.AssetID, x.Version, x.DHash, x.Width, x.Height); err != nil {
				return err
			}
		}
		return nil
	})
}
