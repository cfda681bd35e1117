package curate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline/function"
)

// scored is one function as `where:` sees it.
type scored struct {
	*configs.Function
	score.Cut // the number that its rule came to
	Version   string
	Rows      int64 // that have a score
	Matches   int64
	shares    map[string]float64 // of its parts in the score, where it is over several embeddings
}

// rows is the relation that batches are chosen from: the DuckDB view `rows` of
// all assets with metadata, labels, predictions, and three columns a function.
type rows struct {
	w         *workspace.Workspace
	db        *query.DB
	functions []*scored
	live      map[string]*workspace.Live
	tables    map[string]int64 // versions read, by root
	assets    int64
	ids       map[idsKey]idSet
	known     *score.Anchors               // of all batches: models are loaded once
	parts     map[string]map[string]string // of functions over several embeddings: name → embedding → version
}

// openRows loads the tables and builds the view. Afterwards the database is
// locked down: what users write in `where:` reaches no file and no network.
func openRows(ctx context.Context, w *workspace.Workspace, batches []chosenBatch) (*rows, error) {
	db, err := w.DB(ctx)
	if err != nil {
		return nil, err
	}
	r := &rows{w: w, db: db, live: map[string]*workspace.Live{}, tables: map[string]int64{}, parts: map[string]map[string]string{}}
	if r.tables[workspace.AssetsRoot], err = w.LoadAssets(ctx); err != nil {
		return nil, err
	}
	for _, root := range []string{workspace.LabelsRoot, workspace.PredictionsRoot, workspace.BatchedRoot} {
		if r.tables[root], err = w.LoadTable(ctx, root); err != nil {
			return nil, err
		}
	}
	if _, err = w.LoadTable(ctx, workspace.LooksRoot); err != nil { // a cache: nothing depends on its version
		return nil, err
	}
	if r.ids, err = readIDs(ctx, w, batches); err != nil {
		return nil, err
	}
	for _, e := range w.Config.Embeddings {
		if r.live[e.Name], err = w.Live(ctx, e); err != nil {
			return nil, err
		}
		if l := r.live[e.Name]; l.Rows > 0 {
			r.tables[l.Root] = l.Snapshot.Version
		}
		if err := r.loadScores(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := r.loadOver(ctx); err != nil {
		return nil, err
	}
	if err := r.thresholds(ctx); err != nil {
		return nil, err
	}
	if err := r.view(ctx); err != nil {
		return nil, err
	}
	if err := db.Row(ctx, "SELECT count(*) FROM assets", []any{&r.assets}); err != nil {
		return nil, err
	}
	r.known = score.NewAnchors(w, r.live)
	return r, db.Lock(ctx)
}

// loadScores makes the table scores_<embedding> of the live rows' scores. Scores
// of another function version than the file's, or missing ones, are an error
// that says what to run.
func (r *rows) loadScores(ctx context.Context, e configs.Embedding) error {
	fns := configs.Within(r.w.Config.Definitions, e.Name)
	l := r.live[e.Name]
	if len(fns) == 0 || l.Rows == 0 {
		return nil
	}
	root := workspace.ScoresRoot(e.Name)
	snap, err := r.w.Snapshot(ctx, root)
	if err != nil {
		return err
	}
	r.tables[root] = snap.Version
	want, err := score.Versions(ctx, r.w, l, fns)
	if err != nil {
		return err
	}
	if err := score.Covers(snap, l, want); err != nil {
		return err
	}
	var files []string
	for _, f := range snap.Files {
		path, err := r.w.LocalFile(ctx, root, f)
		if err != nil {
			return err
		}
		files = append(files, path)
	}
	cols := make([]string, len(fns))
	for i, f := range fns {
		cols[i] = "s." + query.Ident(f.Name)
		if !f.Partial() {
			r.functions = append(r.functions, &scored{Function: f, Version: want[f.Name]})
			continue
		}
		if r.parts[f.Name] == nil {
			r.parts[f.Name] = map[string]string{}
		}
		r.parts[f.Name][e.Name] = want[f.Name]
	}
	return r.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %s AS
		SELECT l.asset_id, %s FROM %s l JOIN %s s USING (asset_id, version)`,
		scoresTable(e.Name), strings.Join(cols, ", "), query.Ident(l.Table), query.Parquet(files)))
}

// loadOver makes a table of scores for each function over several embeddings, from
// those of its parts.
func (r *rows) loadOver(ctx context.Context) error {
	for _, f := range r.w.Config.Definitions {
		if len(f.CombineOver) == 0 || len(r.parts[f.Name]) < len(f.CombineOver) { // an embedding has no rows
			continue
		}
		deviations, err := score.Deviations(ctx, r.w, f, func(e string) *workspace.Live { return r.live[e] }, r.parts[f.Name])
		if err != nil {
			return err
		}
		r.functions = append(r.functions, &scored{Function: f, Version: function.VersionOver(f.CombineOver, r.parts[f.Name]), shares: f.CombineOver.Shares(deviations)})
		if err := r.db.Exec(ctx, "CREATE OR REPLACE TABLE "+tableOf(f)+" AS "+score.Over(f, deviations, scoresTable)); err != nil {
			return err
		}
	}
	return nil
}

func scoresTable(embedding string) string { return query.Ident("scores_" + embedding) }

// home names the table of a function's scores: its embedding, or what is the name of none.
func home(f *configs.Function) string {
	if len(f.CombineOver) > 0 {
		return " over " + f.Name
	}
	return f.Embedding
}

func tableOf(f *configs.Function) string { return scoresTable(home(f)) }

// thresholds turns every function's rule into a number over the scores of all
// live rows.
func (r *rows) thresholds(ctx context.Context) error {
	fns := make([]*configs.Function, len(r.functions))
	for i, f := range r.functions {
		fns[i] = f.Function
	}
	return score.Thresholds(ctx, r.db, fns, tableOf, func(i int, c score.Cut) error { return r.count(ctx, r.functions[i], c) })
}

// count takes a function's threshold and counts what matches.
func (r *rows) count(ctx context.Context, f *scored, c score.Cut) error {
	f.Cut = c
	return r.db.Row(ctx, fmt.Sprintf("SELECT count(%[1]s), count(*) FILTER (%[1]s >= %[2]s) FROM %[3]s",
		query.Ident(f.Name), score.Number(f.Cut.Threshold), tableOf(f.Function)), []any{&f.Rows, &f.Matches})
}

// taken takes in that a batch was recorded, so that the next one sees what a new
// process would see: which rows are batched, and the top K of the others.
func (r *rows) taken(ctx context.Context) error {
	snap, err := r.w.Snapshot(ctx, workspace.BatchedRoot)
	if err != nil {
		return err
	}
	r.tables[workspace.BatchedRoot] = snap.Version
	err = r.db.Exec(ctx, "UPDATE rows SET batched = true, batches = b.batches FROM ("+workspace.BatchesOf+") b WHERE b.asset_id = rows.asset_id")
	if err != nil {
		return err
	}
	var set []string
	for _, f := range r.functions {
		if t := f.Definition.Threshold; !t.Is(function.RuleTop) && (t.Otherwise == nil || !t.Otherwise.Is(function.RuleTop)) {
			continue
		}
		c, err := score.Threshold(ctx, r.db, f.Function, tableOf(f.Function))
		if err != nil {
			return err
		}
		if err := r.count(ctx, f, c); err != nil {
			return err
		}
		set = append(set, fmt.Sprintf("%s = coalesce(%s >= %s, false)", query.Ident(f.Name+"_match"), query.Ident(f.Name), score.Number(f.Cut.Threshold)))
	}
	if len(set) == 0 {
		return nil
	}
	return r.db.Exec(ctx, "UPDATE rows SET "+strings.Join(set, ", "))
}

// view builds `rows`: what workspace.Relation says, and three columns a function.
func (r *rows) view(ctx context.Context) error {
	cols, joins, err := r.w.Relation(ctx)
	if err != nil {
		return err
	}
	add := func(format string, args ...any) { cols = append(cols, fmt.Sprintf(format, args...)) }
	byTable := map[string][]*scored{}
	var tables []string
	for _, f := range r.functions {
		t := home(f.Function)
		if byTable[t] == nil {
			tables = append(tables, t)
		}
		byTable[t] = append(byTable[t], f)
	}
	for _, t := range tables {
		inner := []string{"asset_id"}
		for _, f := range byTable[t] {
			n := query.Ident(f.Name)
			inner = append(inner, n, fmt.Sprintf("100 * percent_rank() OVER (ORDER BY %s) AS %s", n, query.Ident(f.Name+"_pct")))
			s := query.Ident("s_" + t)
			add("%s.%s, coalesce(%s.%s >= %s, false) AS %s, %s.%s", s, n, s, n, score.Number(f.Cut.Threshold), query.Ident(f.Name+"_match"), s, query.Ident(f.Name+"_pct"))
		}
		joins = append(joins, fmt.Sprintf("LEFT JOIN (SELECT %s FROM %s) %s USING (asset_id)", strings.Join(inner, ", "), scoresTable(t), query.Ident("s_"+t)))
	}
	// A table, not a view: percentiles are computed once for all batches.
	return r.db.Exec(ctx, "CREATE OR REPLACE TABLE rows AS SELECT "+strings.Join(cols, ",\n\t")+"\nFROM assets a "+strings.Join(joins, "\n"))
}

// hash is what the slot of a batch is made of, without the batches themselves.
func (r *rows) inputs() string {
	keep := map[string]int64{}
	for root, v := range r.tables {
		if root != workspace.BatchedRoot {
			keep[root] = v
		}
	}
	versions := map[string]string{}
	for _, f := range r.functions {
		versions[f.Name] = f.Version + " " + f.Definition.Threshold.String() // the rule: the number of a top K moves with the batches
	}
	raw, _ := json.Marshal(struct { // maps marshal in the order of their keys
		Tables    map[string]int64
		Functions map[string]string
	}{keep, versions})
	return string(raw)
}
