package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// Scored are scores of functions in a DuckDB table: asset_id, and a FLOAT column a
// function.
type Scored struct {
	DB      *query.DB
	Table   string // as it stands in SQL
	Rows    int64
	Scorers map[string]*function.Scorer     // by name; without those that could not be fitted
	Faults  map[string]*pipeline.UsageError // what is wrong with those
}

// Adhoc scores all rows of an embedding with functions that the score stage may
// not know, into a table of the workspace's database. Nothing is written to the
// workspace, but for what fits keeps.
func Adhoc(ctx context.Context, w *workspace.Workspace, fits *Fits, fns []*configs.Function, name string) (*Scored, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	l := fits.l
	out := &Scored{DB: db, Table: query.Ident(name), Rows: l.Rows, Scorers: map[string]*function.Scorer{}, Faults: map[string]*pipeline.UsageError{}}
	var scorers []*function.Scorer
	columns := []string{"asset_id VARCHAR"}
	for _, f := range fns {
		sc, err := fits.Fit(ctx, f)
		var usage *pipeline.UsageError
		if errors.As(err, &usage) {
			out.Faults[f.Name] = usage
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Scorers[f.Name] = sc
		scorers = append(scorers, sc)
		columns = append(columns, query.Ident(f.Name)+" FLOAT")
	}
	if len(scorers) == 0 {
		return out, nil
	}
	pass, err := function.NewPass(l.Dim, scorers)
	if err != nil {
		return nil, err
	}
	if err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s (%s)", out.Table, strings.Join(columns, ", "))); err != nil {
		return nil, err
	}
	counter := w.App.Progress.Start("score", "rows", l.Rows)
	defer counter.Done()
	row := make([]any, 1+len(scorers))
	return out, db.Append(ctx, name, func(add func(values ...any) error) error {
		return l.Each(ctx, func(ids []string, vectors []float32) error {
			scores := make([][]float32, len(scorers))
			for i := range scores {
				scores[i] = make([]float32, len(ids))
			}
			pass.Score(vectors, len(ids), scores)
			for i, id := range ids {
				row[0] = id
				for k := range scores {
					row[1+k] = scores[k][i]
				}
				if err := add(row...); err != nil {
					return err
				}
			}
			counter.Add(int64(len(ids)))
			return ctx.Err()
		})
	})
}

// topRows is how many of the highest rows are compared.
const topRows = 100

// Change is what another definition, model or corpus changes for one function.
// Each side is measured over all rows that have a vector in it.
type Change struct {
	Name      string `json:"name"`
	Rule      string `json:"rule"` // of the threshold, after
	Before    *Side  `json:"before"`
	After     *Side  `json:"after"`
	Both      int64  `json:"both"`       // rows that match before and after
	Top       int    `json:"top"`        // rows with the highest score that are compared: 100, or all
	TopCommon int64  `json:"top_common"` // of those before, how many are among those after
	// TopCorrelation is Spearman's rank correlation of the rows that are among the
	// highest before or after; nil for fewer than two.
	TopCorrelation *float64 `json:"top_correlation"`
	Problem        string   `json:"problem,omitempty"` // why a side is missing
}

// Side is a function on one side of a Change.
type Side struct {
	Threshold *float64 `json:"threshold"` // nil where no row can match
	Rows      int64    `json:"rows"`
	Matches   int64    `json:"matches"`
	Labels    *Labels  `json:"labels,omitempty"` // that a threshold by precision rests on
}

// Side measures a function; nil where it has no scores. What is wrong with its
// threshold is a *pipeline.UsageError.
func (s *Scored) Side(ctx context.Context, f *configs.Function) (*Side, error) {
	if s.Scorers[f.Name] == nil {
		return nil, nil
	}
	c, err := Threshold(ctx, s.DB, f, s.Table)
	if err != nil {
		return nil, err
	}
	out := &Side{Threshold: c.Finite(), Labels: c.Labels}
	return out, s.DB.Row(ctx, fmt.Sprintf("SELECT count(%[1]s), count(*) FILTER (%[1]s >= %[2]s) FROM %[3]s", query.Ident(f.Name), Number(c.Threshold), s.Table), []any{&out.Rows, &out.Matches})
}

// SQL is the side's threshold in SQL.
func (s *Side) SQL() string {
	if s.Threshold == nil {
		return Number(math.MaxFloat32)
	}
	return Number(*s.Threshold)
}

// Compare fills in what both sides say of the rows that they share. before and
// after name the function's column on each side.
func (c *Change) Compare(ctx context.Context, before, after *Scored, columnBefore, columnAfter string) error {
	c.Top = int(min(topRows, c.Before.Rows, c.After.Rows))
	var common, n int64
	var correlation any
	err := before.DB.Row(ctx, fmt.Sprintf(`WITH
			b AS (SELECT asset_id, %[1]s AS x, row_number() OVER (ORDER BY %[1]s DESC, asset_id) AS nth FROM %[2]s),
			a AS (SELECT asset_id, %[7]s AS x, row_number() OVER (ORDER BY %[7]s DESC, asset_id) AS nth FROM %[3]s),
			u AS (SELECT b.x AS bx, a.x AS ax, b.nth AS bn, a.nth AS an FROM b JOIN a USING (asset_id)),
			top AS (SELECT *, row_number() OVER (ORDER BY bn) AS br, row_number() OVER (ORDER BY an) AS ar FROM u WHERE bn <= %[4]d OR an <= %[4]d)
		SELECT (SELECT count(*) FROM u WHERE bx >= %[5]s AND ax >= %[6]s), (SELECT count(*) FROM u WHERE bn <= %[4]d AND an <= %[4]d),
			(SELECT count(*) FROM top), (SELECT corr(br, ar) FROM top)`,
		query.Ident(columnBefore), before.Table, after.Table, c.Top, c.Before.SQL(), c.After.SQL(), query.Ident(columnAfter)), []any{&c.Both, &common, &n, &correlation})
	c.TopCommon = common
	if r, ok := correlation.(float64); ok && n > 1 && !math.IsNaN(r) {
		c.TopCorrelation = &r
	}
	return err
}

// Current loads the scores that the workspace has of a function into a table of
// its database. A *StaleError says that they are missing, or of another version.
func Current(ctx context.Context, w *workspace.Workspace, fits *Fits, f *configs.Function, name string) (*Scored, error) {
	sc, err := fits.Fit(ctx, f)
	if err != nil {
		return nil, err
	}
	l := fits.l
	root := workspace.ScoresRoot(l.Embedding.Name)
	snap, err := w.Snapshot(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := Covers(snap, l, map[string]string{f.Name: sc.Version}); err != nil {
		return nil, err
	}
	out, err := Stored(ctx, w, l, snap, f.Name, name)
	if err == nil {
		out.Scorers[f.Name] = sc
	}
	return out, err
}

// Stored loads a column of the score files, whatever version it is of, into a
// table of the workspace's database: the live rows that have it.
func Stored(ctx context.Context, w *workspace.Workspace, l *workspace.Live, snap *table.Snapshot, column, name string) (*Scored, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, f := range snap.Files {
		path, err := w.LocalFile(ctx, workspace.ScoresRoot(l.Embedding.Name), f)
		if err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	out := &Scored{DB: db, Table: query.Ident(name), Scorers: map[string]*function.Scorer{}, Faults: map[string]*pipeline.UsageError{}}
	err = db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT l.asset_id, s.%s FROM %s l JOIN %s s USING (asset_id, version)",
		out.Table, query.Ident(column), query.Ident(l.Table), query.Parquet(files)))
	if err != nil {
		return nil, err
	}
	return out, db.Row(ctx, "SELECT count(*) FROM "+out.Table, []any{&out.Rows})
}
