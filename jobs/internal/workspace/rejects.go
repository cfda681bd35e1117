package workspace

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/models"
	"winnow/pipeline"
)

// Refused is a rejected row as people see it: all tries of it in one.
type Refused struct {
	Stage       string `json:"stage"`
	Embedding   string `json:"embedding,omitempty"`   // embed: "" where no model of the config's is meant
	Fingerprint string `json:"fingerprint,omitempty"` // embed: the model's
	AssetID     string `json:"asset_id,omitempty"`
	Source      string `json:"source,omitempty"` // ingest: the manifest
	Line        int64  `json:"line,omitempty"`
	Reason      string `json:"reason"`
	Error       string `json:"error"`
	Transient   bool   `json:"transient"` // tried again by the next run
	Tries       int64  `json:"tries"`
}

// Refusals chooses among the rows of the rejects table; empty fields mean all.
type Refusals struct {
	Resolved   bool // also those that were mended, removed or changed since, or belong to models out of use
	Stage      string
	Reasons    []string
	Embeddings []string
}

// LoadRefused makes the DuckDB table refused, with the columns of Refused in their
// order. What holds of embed: a reject counts while its asset is there in the very
// version that was rejected, and has no vector of the model. A reject of ingest
// counts until its asset has come after all.
func (w *Workspace) LoadRefused(ctx context.Context, c Refusals) error {
	for _, root := range []string{AssetsRoot, LabelsRoot, PredictionsRoot, RejectsRoot} {
		if _, err := w.LoadTable(ctx, root); err != nil {
			return err
		}
	}
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	ingest := "stage = 'ingest'"
	if !c.Resolved {
		ingest += " AND " + openIngest
	}
	parts := []string{refusedSQL("''", "''", "rejects r WHERE "+ingest)}
	known := []string{""} // fingerprints; the empty one keeps the list from being empty
	for _, e := range w.Config.Embeddings {
		from, to, err := w.Move(ctx, e)
		if err != nil {
			return err
		}
		spaces := []*Space{from}
		if to != from {
			spaces = append(spaces, to)
		}
		for _, s := range spaces {
			known = append(known, s.Fingerprint())
			open, err := w.openSQL(ctx, s)
			if err != nil {
				return err
			}
			if c.Resolved {
				open = fmt.Sprintf("rejects r WHERE r.stage = 'embed' AND r.subject = %s", query.Literal(s.Fingerprint()))
			}
			parts = append(parts, refusedSQL(query.Literal(s.Name), "r.subject", open))
		}
	}
	if c.Resolved {
		parts = append(parts, refusedSQL("''", "r.subject", "rejects r WHERE r.stage = 'embed' AND r.subject NOT IN "+query.Literals(known)))
	}
	where := []string{"true"}
	if c.Stage != "" {
		where = append(where, "stage = "+query.Literal(c.Stage))
	}
	if len(c.Reasons) > 0 {
		where = append(where, "reason IN "+query.Literals(c.Reasons))
	}
	if len(c.Embeddings) > 0 {
		where = append(where, "embedding IN "+query.Literals(c.Embeddings))
	}
	return db.Exec(ctx, "CREATE OR REPLACE TABLE refused AS SELECT * FROM ("+strings.Join(parts, " UNION ALL ")+") WHERE "+strings.Join(where, " AND "))
}

// openIngest is true for a reject of ingest (alias r) whose asset, label or
// prediction did not come after all.
var openIngest = fmt.Sprintf(`(r.reason IN (%s, %s) OR CASE r.subject
	WHEN %s THEN NOT EXISTS (FROM labels a WHERE a.asset_id = r.asset_id)
	WHEN %s THEN NOT EXISTS (FROM predictions a WHERE a.asset_id = r.asset_id)
	ELSE NOT EXISTS (FROM assets a WHERE a.asset_id = r.asset_id) END)`,
	query.Literal(pipeline.ReasonDuplicateID), query.Literal(pipeline.ReasonTwice), query.Literal(LabelsRoot), query.Literal(PredictionsRoot))

// openSQL is the FROM clause of the rejects (alias r) of a space that still stand.
func (w *Workspace) openSQL(ctx context.Context, s *Space) (string, error) {
	if _, err := w.LiveIn(ctx, s); err != nil {
		return "", err
	}
	version := s.versionSQL()
	match := "k.version = " + version
	if s.Spec.Kind == models.Vectors {
		version, match = "''", "true"
	}
	return fmt.Sprintf(`rejects r JOIN assets a USING (asset_id)
		WHERE r.stage = 'embed' AND r.subject = %s AND r.version = %s AND coalesce(%s, '') <> ''
			AND NOT EXISTS (FROM %s k WHERE k.asset_id = a.asset_id AND %s)`,
		query.Literal(s.Fingerprint()), version, s.contentSQL(), query.Ident(s.table("keys")), match), nil
}

// refusedSQL selects the columns of Refused. A row counts once, as final where one
// of its tries was.
func refusedSQL(embedding, fingerprint, from string) string {
	const row = "PARTITION BY r.stage, r.subject, r.asset_id, r.version, r.source, r.line, CASE WHEN r.stage = 'ingest' THEN r.reason END"
	return fmt.Sprintf(`SELECT r.stage, %s AS embedding, %s AS fingerprint, coalesce(r.asset_id, '') AS asset_id, coalesce(r.source, '') AS source, coalesce(r.line, 0) AS line,
			r.reason, coalesce(r.error, '') AS error, coalesce(r.transient, false) AS transient, count(*) OVER (%s) AS tries
		FROM %s QUALIFY row_number() OVER (%s ORDER BY r.transient, r.reason, r.error) = 1`, embedding, fingerprint, row, from, row)
}
