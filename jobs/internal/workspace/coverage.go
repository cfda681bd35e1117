package workspace

import (
	"context"
	"fmt"
)

// Coverage says how far an embedding has come.
type Coverage struct {
	Content  int64 // assets that have what the embedding reads
	Embedded int64 // that have a live vector
	Todo     int64 // that the next run embeds: new, changed, or to be tried again
	Rejected int64 // that are rejected for good, until their content changes
	Reasons  []RejectReason
}

// RejectReason is one reason why assets have no vector.
type RejectReason struct {
	Reason    string          `json:"reason"`
	Rows      int64           `json:"rows"`
	Transient bool            `json:"transient,omitempty"` // tried again by the next run
	Examples  []RejectExample `json:"examples"`            // the first by asset_id
}

// RejectExample is one rejected asset, or one line of a manifest.
type RejectExample struct {
	AssetID string `json:"asset_id,omitempty"`
	Source  string `json:"source,omitempty"`
	Line    int64  `json:"line,omitempty"`
	Error   string `json:"error"`
}

// Coverage counts the rows of a space, with a few examples of each reason for a
// reject. The four counts are of assets as they are now: Content = Embedded + Todo
// + Rejected, and those that files of vectors lack.
func (w *Workspace) Coverage(ctx context.Context, s *Space, examples int) (*Coverage, error) {
	l, err := w.LiveIn(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &Coverage{Embedded: l.Rows}
	if c.Todo, err = w.CountTodo(ctx, s, New); err != nil {
		return nil, err
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if c.Content, err = db.Int(ctx, fmt.Sprintf("SELECT count(*) FROM assets a WHERE coalesce(%s, '') <> ''", s.contentSQL())); err != nil {
		return nil, err
	}
	open, err := w.openSQL(ctx, s)
	if err != nil {
		return nil, err
	}
	// An asset counts once: for its final reject where it has one.
	one := fmt.Sprintf(`SELECT r.asset_id, '' AS source, 0 AS line, r.reason, r.error, r.transient FROM %s
		QUALIFY row_number() OVER (PARTITION BY r.asset_id ORDER BY r.transient, r.reason, r.error) = 1`, open)
	if c.Reasons, err = w.reasons(ctx, one, examples); err != nil {
		return nil, err
	}
	for _, r := range c.Reasons {
		if !r.Transient {
			c.Rejected += r.Rows
		}
	}
	return c, nil
}

// IngestRejects counts the rows of manifests that were refused, by reason: all
// that the rejects table has seen. Rows whose asset came after all are left out.
func (w *Workspace) IngestRejects(ctx context.Context, examples int) ([]RejectReason, error) {
	for _, root := range []string{AssetsRoot, LabelsRoot, PredictionsRoot, RejectsRoot} {
		if _, err := w.LoadTable(ctx, root); err != nil {
			return nil, err
		}
	}
	// A manifest that is read again says the same of the same line.
	return w.reasons(ctx, fmt.Sprintf(`SELECT asset_id, source, line, reason, error, transient FROM rejects r
		WHERE stage = 'ingest' AND %s
		QUALIFY row_number() OVER (PARTITION BY source, line, reason, asset_id ORDER BY error) = 1`, openIngest), examples)
}

// reasons groups the rows (asset_id, source, line, reason, error, transient) of
// a SELECT, the most frequent reason first.
func (w *Workspace) reasons(ctx context.Context, rows string, examples int) ([]RejectReason, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	sql := fmt.Sprintf(`SELECT reason, coalesce(transient, false), n, coalesce(asset_id, ''), coalesce(source, ''), coalesce(line, 0), coalesce(error, '')
		FROM (SELECT *, count(*) OVER w AS n, row_number() OVER (w ORDER BY source, line, asset_id) AS nth FROM (%s) WINDOW w AS (PARTITION BY reason, transient))
		WHERE nth <= %d ORDER BY n DESC, reason, transient, nth`, rows, max(examples, 1))
	var out []RejectReason
	err = db.Each(ctx, sql, func(scan func(...any) error) error {
		var r RejectReason
		var x RejectExample
		if err := scan(&r.Reason, &r.Transient, &r.Rows, &x.AssetID, &x.Source, &x.Line, &x.Error); err != nil {
			return err
		}
		if n := len(out); n == 0 || out[n-1].Reason != r.Reason || out[n-1].Transient != r.Transient {
			out = append(out, r)
		}
		last := &out[len(out)-1]
		if len(last.Examples) < examples {
			last.Examples = append(last.Examples, x)
		}
		return nil
	})
	return out, err
}
