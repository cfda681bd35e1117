package ingest

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/tables"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// mostShown is the number of rejects in a Summary.
const mostShown = 20

// appendRejects adds to the rejects table what is in from (asset_id, source,
// line, reason, error, …) and not listed yet: the same line of the same manifest
// for the same reason is listed once. The manifest's reader gives no version, so
// the columns that embed needs are empty; subject is the table of labels or
// predictions that the row is missing from, "" for assets.
func (g *ingester) appendRejects(ctx context.Context, from, of string) error {
	t := g.w.Table(workspace.RejectsRoot)
	snap, err := t.Snapshot(ctx, table.Latest)
	if err != nil {
		return err
	}
	paths, err := tables.Local(ctx, t, snap.Files, g.w.Cache)
	if err != nil {
		return err
	}
	listed, err := tables.Select(ctx, g.db, workspace.RejectsSchema, paths)
	if err != nil {
		return err
	}
	fresh := from + "_new"
	err = g.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %[1]s AS
		SELECT DISTINCT ON (coalesce(r.asset_id, ''), r.source, r.line, r.reason) coalesce(r.asset_id, '') AS asset_id, '' AS version, 'ingest' AS stage, %[4]s AS subject, r.source, r.line, r.reason, r.error, false AS transient
		FROM %[2]s r
		WHERE NOT EXISTS (FROM (%[3]s) l WHERE l.stage = 'ingest' AND l.source = r.source AND l.line = r.line AND l.reason = r.reason AND coalesce(l.asset_id, '') = coalesce(r.asset_id, ''))
		ORDER BY coalesce(r.asset_id, ''), r.source, r.line, r.reason, r.error`, fresh, from, listed, query.Literal(of)))
	if err != nil {
		return err
	}
	n, err := g.db.Int(ctx, "SELECT count(*) FROM "+fresh)
	if err != nil || n == 0 {
		return err
	}
	adds, err := g.write(ctx, t, fresh, "source", "line", "reason", "asset_id")
	if err != nil {
		return err
	}
	c := table.Change{Base: snap.Version, Adds: adds, Operation: "WRITE", Schema: workspace.RejectsSchema,
		Info: map[string]string{"run": g.w.App.Run, "winnow": g.w.App.Version}}
	c.AppID, c.AppVersion = transaction("ingest rejects", c), 1
	if _, err := t.Commit(ctx, c); err != nil {
		return err
	}
	g.sum.Rejected += n
	return g.show(ctx, fresh)
}

// show puts the first rejects into the summary.
func (g *ingester) show(ctx context.Context, from string) error {
	room := mostShown - len(g.sum.Rejects)
	if room <= 0 {
		return nil
	}
	return g.db.Each(ctx, fmt.Sprintf("SELECT asset_id, coalesce(source, ''), coalesce(line, 0), reason, error FROM %s ORDER BY source, line, reason, asset_id LIMIT %d", query.Ident(from), room), func(scan func(...any) error) error {
		r := pipeline.Reject{Stage: "ingest"}
		if err := scan(&r.AssetID, &r.Source, &r.Line, &r.Reason, &r.Error); err != nil {
			return err
		}
		r.AssetID = strings.ToValidUTF8(r.AssetID, "")
		g.sum.Rejects = append(g.sum.Rejects, r)
		return nil
	})
}
