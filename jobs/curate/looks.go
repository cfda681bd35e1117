package curate

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/curate"
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

// look looks at the candidates' pictures that are not known yet. One that cannot be
// read is warned about, and is nobody's duplicate by looks.
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
	bad, err := q.r.w.LookAt(ctx, fmt.Sprintf("(FROM %s c WHERE EXISTS (FROM %s i WHERE i.asset_id = c.asset_id))", candidatesTable, image), q.dry)
	if len(bad) > 0 {
		p.warnings = append(p.warnings, fmt.Sprintf("dedupe: %d pictures cannot be read, so their looks are not compared (such as %s)", len(bad), strings.Join(bad[:min(3, len(bad))], ", ")))
	}
	return err
}
