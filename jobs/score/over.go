package score

import (
	"fmt"
	"strings"

	"winnow/configs"
	"winnow/io/query"
)

// Over is the SQL of a relation with asset_id and the scores of a function over
// several embeddings: of the rows that have a vector in all of them, the mean of
// its parts' scores, weighted by their shares. table gives, by embedding, the
// table with the part's scores in a column of the function's name.
//
// The parts are what the score files hold. The mean is taken whenever it is read,
// so it always fits them, and a change of a weight scores nothing again.
func Over(f *configs.Function, table func(embedding string) string) string {
	var terms []string
	from := ""
	for i, e := range f.CombineOver.Names() {
		part := fmt.Sprintf("p%d", i)
		terms = append(terms, fmt.Sprintf("%.17g::DOUBLE * %s.%s", f.CombineOver.Share(e), part, query.Ident(f.Name)))
		if i == 0 {
			from = table(e) + " " + part
		} else {
			from += fmt.Sprintf(" JOIN %s %s USING (asset_id)", table(e), part)
		}
	}
	return fmt.Sprintf("SELECT asset_id, (%s)::FLOAT AS %s FROM %s", strings.Join(terms, " + "), query.Ident(f.Name), from)
}
