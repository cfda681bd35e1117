package function

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// subject is a function with its scores over all rows.
type subject struct {
	w      *workspace.Workspace
	f      *configs.Function
	l      *workspace.Live
	scorer *function.Scorer
	stats  *function.Statistics
	scored *score.Scored // with asset_id and the function's column
	stale  string        // why the workspace has no such scores; "" when they are its own
	// parts are the function within each of its embeddings, where it has several. l
	// and stats are those of the first one then, and of scorer only the version counts.
	parts []*subject
}

func (s *subject) column() string { return query.Ident(s.f.Name) }

// source says which scores are wanted.
type source int

const (
	anyScores source = iota // the workspace's where they are current, else computed now
	kept                    // the workspace's, else a *score.StaleError
	fresh                   // computed now
)

// openScored is open for those that want the workspace's scores or none.
func openScored(ctx context.Context, w *workspace.Workspace, f *configs.Function) (*subject, error) {
	return open(ctx, w, f, "function "+f.Name, kept, nil)
}

// open finds or makes the scores of a function, in a DuckDB table of that name.
// Nothing is written to the workspace. st is nil for the newest statistics.
func open(ctx context.Context, w *workspace.Workspace, f *configs.Function, table string, from source, st *function.Statistics) (*subject, error) {
	if len(f.CombineOver) == 0 || f.Partial() {
		return openOne(ctx, w, f, table, from, st)
	}
	s := &subject{w: w, f: f}
	for _, f := range f.Parts() {
		source, stats := from, st
		if st != nil && st.Embedding != f.Embedding { // they are another part's
			source, stats = anyScores, nil
		}
		p, err := openOne(ctx, w, f, table+" in "+f.Embedding, source, stats)
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, p)
		if s.stale == "" {
			s.stale = p.stale
		}
	}
	s.l, s.stats = s.parts[0].l, s.parts[0].stats
	return s, s.join(ctx, table)
}

// join makes the scores of a function over several embeddings of those of its parts.
func (s *subject) join(ctx context.Context, table string) (err error) {
	parts := map[string]*score.Scored{}
	for _, p := range s.parts {
		parts[p.f.Embedding] = p.scored
	}
	if s.scored, err = score.Join(ctx, s.f, parts, table); err == nil {
		s.scorer = s.scored.Scorers[s.f.Name]
	}
	return err
}

// openOne is open within one embedding.
func openOne(ctx context.Context, w *workspace.Workspace, f *configs.Function, table string, from source, st *function.Statistics) (*subject, error) {
	e, err := w.Embedding(f.Embedding)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.File, err)
	}
	s := &subject{w: w, f: f}
	if s.l, err = w.Live(ctx, e); err != nil {
		return nil, err
	}
	if s.l.Rows == 0 {
		return nil, pipeline.Usagef("embedding %s of function %s has no rows yet; run: winnow run", e.Name, f.Name)
	}
	for _, root := range []string{workspace.BatchedRoot, workspace.LabelsRoot} {
		if _, err := w.LoadTable(ctx, root); err != nil {
			return nil, err
		}
	}
	var fits *score.Fits
	if st != nil {
		fits = score.NewFitsWith(w, s.l, st)
	} else if fits, err = score.NewFits(ctx, w, s.l, false); err != nil {
		return nil, err
	}
	defer fits.Close()
	s.stats = fits.Statistics()
	if from != fresh {
		if s.scored, err = score.Current(ctx, w, fits, f, table); err == nil {
			s.scorer = s.scored.Scorers[f.Name]
			return s, nil
		}
		var stale *score.StaleError
		if !errors.As(err, &stale) || from == kept {
			return nil, err
		}
		s.stale = stale.Error()
	}
	if s.scored, err = score.Adhoc(ctx, w, fits, []*configs.Function{f}, table); err != nil {
		return nil, err
	}
	if fault := s.scored.Faults[f.Name]; fault != nil {
		return nil, fault
	}
	s.scorer = s.scored.Scorers[f.Name]
	return s, nil
}

// Row is an asset with its score.
type Row struct {
	AssetID    string  `json:"asset_id"`
	Score      float64 `json:"score"`
	Percentile float64 `json:"percentile"` // so many percent of the rows score less
	Match      bool    `json:"match"`
	Anchor     string  `json:"anchor,omitempty"` // positive or negative, where it is one
	Label      string  `json:"label,omitempty"`  // the first by name
	Caption    string  `json:"caption,omitempty"`
	Text       string  `json:"text,omitempty"`
	URI        string  `json:"uri,omitempty"`

	version, mediaType string
}

// about is what a person recognises a row by.
func (r Row) about() string {
	for _, s := range []string{r.Caption, r.Text, r.URI} {
		if s != "" {
			return short(s, 60)
		}
	}
	return ""
}

func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// rows reads rows by a condition on asset_id and x, the score, in an order.
func (s *subject) rows(ctx context.Context, cut score.Cut, where, order string, limit int) ([]Row, error) {
	anchors := map[string]string{}
	for _, a := range s.f.Anchors.Negative {
		anchors[a.Asset] = "negative"
	}
	for _, a := range s.f.Anchors.Positive {
		anchors[a.Asset] = "positive"
	}
	sql := fmt.Sprintf(`SELECT p.asset_id, p.x, p.pct, coalesce(l.label, ''), coalesce(a.caption, ''), coalesce(a.text, ''), coalesce(a.uri, ''), coalesce(a.version, ''), coalesce(a.media_type, '')
		FROM (SELECT asset_id, %[1]s AS x, 100 * percent_rank() OVER (ORDER BY %[1]s) AS pct FROM %[2]s WHERE %[1]s IS NOT NULL) p
		JOIN assets a USING (asset_id) LEFT JOIN (SELECT asset_id, min(label) AS label FROM labels GROUP BY asset_id) l USING (asset_id)
		WHERE %[3]s ORDER BY %[4]s, p.asset_id LIMIT %[5]d`, s.column(), s.scored.Table, where, order, limit)
	out := []Row{}
	err := s.scored.DB.Each(ctx, sql, func(scan func(...any) error) error {
		var r Row
		if err := scan(&r.AssetID, &r.Score, &r.Percentile, &r.Label, &r.Caption, &r.Text, &r.URI, &r.version, &r.mediaType); err != nil {
			return err
		}
		r.Anchor, r.Match = anchors[r.AssetID], r.Score >= cut.Threshold
		out = append(out, r)
		return nil
	})
	return out, err
}

// notAnchors is a condition that leaves the function's own anchors out.
func (s *subject) notAnchors() string {
	var ids []string
	for _, a := range append(s.f.Anchors.Positive[:len(s.f.Anchors.Positive):len(s.f.Anchors.Positive)], s.f.Anchors.Negative...) {
		if a.Asset != "" {
			ids = append(ids, a.Asset)
		}
	}
	if len(ids) == 0 {
		return "true"
	}
	return "p.asset_id NOT IN " + query.Literals(ids)
}
