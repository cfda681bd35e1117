package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
)

// filter are the live rows of an embedding that meet a condition.
type filter struct {
	db   *query.DB
	n    int64
	kept rowsOf // once they were asked for
}

// matched is the DuckDB table (asset_id, file, row) of a filter's rows.
const matched = "matched"

// openFilter finds the live rows that meet a condition: the same SQL over the same
// columns as a batch's where. The database is locked down before it runs. l knows all
// live rows.
func openFilter(ctx context.Context, w *workspace.Workspace, l *workspace.Live, where string, names []string) (*filter, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.CheckWhere(ctx, where); err != nil { // before anything is loaded for it
		return nil, wrong(where, err)
	}
	if _, err := w.LoadAssets(ctx); err != nil {
		return nil, err
	}
	if _, err := w.LoadTable(ctx, workspace.RejectsRoot); err != nil { // later errors say why something has no vector
		return nil, err
	}
	if err := relation(ctx, w, rowsView, "assets", where+" "+strings.Join(names, " ")); err != nil {
		return nil, err
	}
	if err := db.Lock(ctx); err != nil {
		return nil, err
	}
	if err := db.BindWhere(ctx, rowsView, where); err != nil {
		return nil, wrong(where, err)
	}
	err = db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT l.asset_id, l.file, l.row FROM rows JOIN %s l USING (asset_id) WHERE %s",
		matched, query.Ident(l.Table), query.Parens(where)))
	if err != nil {
		var e *query.Error
		if !errors.As(err, &e) {
			return nil, err
		}
		text, _, _ := strings.Cut(err.Error(), "\n") // the rest quotes our statement
		return nil, &pipeline.UsageError{Problems: []pipeline.Problem{{File: "--where", What: text, Fix: "guard the expression, for example with TRY_CAST or a CASE"}}}
	}
	f := &filter{db: db}
	f.n, err = db.Int(ctx, "SELECT count(*) FROM "+matched)
	return f, err
}

// wrong is a fault of the condition at its place.
func wrong(where string, err error) error {
	var e *query.ExprError
	if !errors.As(err, &e) {
		return err
	}
	return &pipeline.UsageError{Problems: []pipeline.Problem{{File: "--where", Line: e.Line, Column: e.Column, What: e.What, Fix: e.Fix}}}
}

// relation makes the view name of what conditions see of a table of assets. Of labels,
// predictions, batches and functions, those are loaded whose name stands in text.
func relation(ctx context.Context, w *workspace.Workspace, name, assets, text string) error {
	text = strings.ToLower(text)
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	var fns []*configs.Function
	for _, f := range w.Config.Definitions {
		if strings.Contains(text, strings.ToLower(f.Name)) {
			fns = append(fns, f)
		}
	}
	named := func(words ...string) bool {
		for _, s := range words {
			if strings.Contains(text, s) {
				return true
			}
		}
		return len(fns) > 0 // thresholds by precision read labels, a top K reads batches
	}
	for root, wanted := range map[string]bool{
		workspace.LabelsRoot: named("label"), workspace.PredictionsRoot: named("predict", "confidence"), workspace.BatchedRoot: named("batch"),
	} {
		load := w.LoadNone
		if wanted {
			load = func(ctx context.Context, root string) error { _, err := w.LoadTable(ctx, root); return err }
		}
		if err := load(ctx, root); err != nil {
			return err
		}
	}
	cols, joins, err := w.Relation(ctx)
	if err != nil {
		return err
	}
	for i, f := range fns {
		alias := fmt.Sprintf("f%d", i)
		sql, err := scores(ctx, w, f, name+" "+f.Name)
		if err != nil {
			return err
		}
		joins = append(joins, fmt.Sprintf("LEFT JOIN (%s) %s USING (asset_id)", sql, alias))
		n, m, p := query.Ident(f.Name), query.Ident(f.Name+"_match"), query.Ident(f.Name+"_pct")
		cols = append(cols, fmt.Sprintf("%[1]s.%[2]s, coalesce(%[1]s.%[3]s, false) AS %[3]s, %[1]s.%[4]s", alias, n, m, p))
	}
	return db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT %s FROM %s a %s", query.Ident(name), strings.Join(cols, ", "), query.Ident(assets), strings.Join(joins, " ")))
}

// scores selects asset_id and the three columns of a function from its stored scores,
// which must be current.
func scores(ctx context.Context, w *workspace.Workspace, f *configs.Function, table string) (string, error) {
	s, err := score.Whole(ctx, f, table, func(f *configs.Function, table string) (*score.Scored, error) {
		return stored(ctx, w, f, table)
	})
	if err != nil {
		return "", err
	}
	cut, err := score.Threshold(ctx, s.DB, f, s.Table)
	if err != nil {
		return "", err
	}
	n := query.Ident(f.Name)
	return fmt.Sprintf("SELECT asset_id, %[1]s, %[1]s >= %[2]s AS %[3]s, 100 * percent_rank() OVER (ORDER BY %[1]s) AS %[4]s FROM %[5]s",
		n, score.Number(cut.Threshold), query.Ident(f.Name+"_match"), query.Ident(f.Name+"_pct"), s.Table), nil
}

// stored loads the scores of a function within one embedding, which must be current.
func stored(ctx context.Context, w *workspace.Workspace, f *configs.Function, table string) (*score.Scored, error) {
	e, err := w.Embedding(f.Embedding)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	want, err := score.Versions(ctx, w, l, []*configs.Function{f})
	if err != nil {
		return nil, err
	}
	snap, err := w.Snapshot(ctx, workspace.ScoresRoot(e.Name))
	if err != nil {
		return nil, err
	}
	if err := score.Covers(snap, l, want); err != nil {
		return nil, err
	}
	s, err := score.Stored(ctx, w, l, snap, f.Name, table)
	if err == nil && f.Partial() {
		s.Scorers[f.Name], err = score.LoadScorer(ctx, w, l, f.Name, want[f.Name])
	}
	return s, err
}

// fetch is how many rows of all to ask an index for, to have about k that meet the
// condition, were it independent of the query.
func (f *filter) fetch(k int, all int64) int {
	share := float64(f.n) / float64(max(all, 1))
	return int(min(math.Ceil(1.5*float64(k)/max(share, 1e-9))+16, 1<<30))
}

// allowed are those of some ids that meet the condition.
func (f *filter) allowed(ctx context.Context, ids []string) (set, error) {
	const most = 2000 // literals a statement
	out := set{}
	for len(ids) > 0 {
		n := min(most, len(ids))
		found, err := query.Column[string](ctx, f.db, "SELECT asset_id FROM "+matched+" WHERE asset_id IN "+query.Literals(ids[:n]))
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			out[id] = true
		}
		ids = ids[n:]
	}
	return out, nil
}

// rows are all rows that meet the condition.
func (f *filter) rows(ctx context.Context) (rowsOf, error) {
	if f.kept != nil {
		return f.kept, nil
	}
	out := rowsOf{}
	err := f.db.Each(ctx, "SELECT file, row FROM "+matched+" ORDER BY file, row", func(scan func(...any) error) error {
		var file int
		var row int64
		err := scan(&file, &row)
		out[file] = append(out[file], row)
		return err
	})
	if err == nil {
		f.kept = out
	}
	return out, err
}

// among keeps those of some rows that meet the condition.
func (f *filter) among(ctx context.Context, rows rowsOf) (rowsOf, error) {
	all, err := f.rows(ctx)
	if err != nil {
		return nil, err
	}
	out := rowsOf{}
	for file, list := range rows {
		have := all[file]
		for _, row := range list {
			for len(have) > 0 && have[0] < row {
				have = have[1:]
			}
			if len(have) > 0 && have[0] == row {
				out[file] = append(out[file], row)
			}
		}
	}
	return out, nil
}
