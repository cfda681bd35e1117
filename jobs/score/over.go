package score

import (
	"context"
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/query"
	"winnow/io/table"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/function"
)

// Over is the SQL of a relation with asset_id and the scores of a function over
// several embeddings: of the rows that have a vector in all of them, the mean of
// its parts' scores, weighted by function.Over.Shares of the deviations. in
// gives, by embedding, the table with the part's scores in a column of the
// function's name.
//
// The parts are what the score files hold. The mean is taken whenever it is read,
// so it always fits them, and a change of a weight scores nothing again.
func Over(f *configs.Function, deviations map[string]float64, in func(embedding string) string) string {
	shares := f.CombineOver.Shares(deviations)
	var terms []string
	from := ""
	for i, e := range f.CombineOver.Names() {
		part := fmt.Sprintf("p%d", i)
		terms = append(terms, fmt.Sprintf("%.17g::DOUBLE * %s.%s", shares[e], part, query.Ident(f.Name)))
		if i == 0 {
			from = in(e) + " " + part
		} else {
			from += fmt.Sprintf(" JOIN %s %s USING (asset_id)", in(e), part)
		}
	}
	return fmt.Sprintf("SELECT asset_id, (%s)::FLOAT AS %s FROM %s", strings.Join(terms, " + "), query.Ident(f.Name), from)
}

// Deviations are those of the scores of a function's parts in the corpus, by
// embedding, from the fitted files of the given versions. Only combinations whose
// shares depend on them have any.
func Deviations(ctx context.Context, w *workspace.Workspace, f *configs.Function, live func(embedding string) *workspace.Live, versions map[string]string) (map[string]float64, error) {
	out := map[string]float64{}
	if f.How().UsesStatistics() {
		return out, nil
	}
	for _, e := range f.CombineOver.Names() {
		s, err := LoadScorer(ctx, w, live(e), f.Name, versions[e])
		if err != nil {
			return nil, err
		}
		out[e] = s.Deviation
	}
	return out, nil
}

// Join makes the table name of the scores of a function over several embeddings from
// those of its parts, which are fitted.
func Join(ctx context.Context, f *configs.Function, parts map[string]*Scored, name string) (*Scored, error) {
	out := &Scored{Table: query.Ident(name), Scorers: map[string]*function.Scorer{}}
	versions, deviations := map[string]string{}, map[string]float64{}
	for e, p := range parts {
		s := p.Scorers[f.Name]
		versions[e], deviations[e], out.DB = s.Version, s.Deviation, p.DB
	}
	out.Scorers[f.Name] = &function.Scorer{Name: f.Name, Version: function.VersionOver(f.CombineOver, versions), Combine: f.How()}
	sql := Over(f, deviations, func(e string) string { return parts[e].Table })
	if err := out.DB.Exec(ctx, "CREATE OR REPLACE TABLE "+out.Table+" AS "+sql); err != nil {
		return nil, err
	}
	return out, out.DB.Row(ctx, "SELECT count(*) FROM "+out.Table, []any{&out.Rows})
}

// StoredScorer is the fitted file of the version that the score files of an
// embedding hold of a function; nil where there is none any more.
func StoredScorer(ctx context.Context, w *workspace.Workspace, l *workspace.Live, snap *table.Snapshot, name string) (*function.Scorer, error) {
	for _, f := range snap.Files {
		_, versions, err := readTags(f)
		if err != nil {
			return nil, err
		}
		if v := versions[name]; v != "" {
			s, err := LoadScorer(ctx, w, l, name, v)
			if w.Objects().Missing(err) { // of another model's vectors, or deleted by hand
				return nil, nil
			}
			return s, err
		}
	}
	return nil, nil
}

// Whole are the scores of a function: as one returns those of it, or of a part of a
// function over several embeddings, in a DuckDB table of the given name.
func Whole(ctx context.Context, f *configs.Function, name string, one func(part *configs.Function, name string) (*Scored, error)) (*Scored, error) {
	if len(f.CombineOver) == 0 || f.Partial() {
		return one(f, name)
	}
	parts := map[string]*Scored{}
	for _, p := range f.Parts() {
		s, err := one(p, name+" in "+p.Embedding)
		if err != nil {
			return nil, err
		}
		parts[p.Embedding] = s
	}
	return Join(ctx, f, parts, name)
}
