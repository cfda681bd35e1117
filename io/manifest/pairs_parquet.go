package manifest

import (
	"context"
	"fmt"
	"strings"

	"winnow/io/query"
	"winnow/pipeline"
)

// loadPairs reads a group of Parquet files of equal schema.
func (r *Reader) loadPairs(ctx context.Context, src Source, kind PairKind, group []parquetFile, res *Result) error {
	c := columnFinder{fields: src.Fields, cols: group[0].cols, used: map[string]bool{}}
	fail := func(err error) error { return fmt.Errorf("%s: %w", withoutQuery(group[0].base), err) }
	id, _, err := c.find("asset_id", nil)
	if err != nil {
		return fail(err)
	}
	word := kind.Word()
	o, err := c.pairWords(kind)
	if err != nil {
		return fail(err)
	}
	value, err := c.list(word, valuePlaces[kind])
	if err != nil && c.fields[word] == "" && o.given { // the most probable class is the prediction
		value, err = "NULL::VARCHAR[]", nil
	}
	if err != nil {
		return fail(err)
	}
	paths, numbers := make([]string, len(group)), make([]string, len(group))
	for i, f := range group {
		paths[i] = f.local
		numbers[i] = fmt.Sprintf("(%s, %d)", query.Literal(f.local), f.number)
	}
	all := query.Ident(res.Table + "_all")
	return r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %[1]s AS SELECT %[2]s AS asset_id, list_filter(%[3]s, lambda v: trim(v) <> '') AS list, %[4]s AS confidence,
				%[12]s AS object, %[13]s AS bbox, %[14]s AS probabilities, winnow_number::BIGINT AS file, file_row_number + 1 AS line
			FROM read_parquet(%[5]s, filename = 'winnow_file', file_row_number = true, hive_partitioning = false)
			JOIN (VALUES %[6]s) winnow_files(winnow_path, winnow_number) ON winnow_path = winnow_file;
		UPDATE %[1]s SET list = [list_reduce(probabilities, lambda a, b: CASE WHEN b.p > a.p THEN b ELSE a END)."class"] WHERE coalesce(len(list), 0) = 0 AND len(probabilities) > 0;
		UPDATE %[1]s SET confidence = list_max(list_transform(probabilities, lambda c: c.p)) WHERE confidence IS NULL;
		ALTER TABLE %[1]s ADD COLUMN bad VARCHAR;
		UPDATE %[1]s SET bad = CASE WHEN asset_id IS NULL THEN 'the row has no asset_id; name its column with fields: {asset_id: …}'
			WHEN coalesce(len(list), 0) = 0 THEN 'the row has no %[9]s; name its column with fields: {%[9]s: …}'
			WHEN NOT coalesce(confidence BETWEEN 0 AND 1, true) THEN 'the confidence ' || confidence || ' is no number from 0 to 1'
			WHEN len(list_filter(probabilities, lambda c: NOT coalesce(c.p BETWEEN 0 AND 1, false))) > 0 THEN 'a probability is no number from 0 to 1'
			WHEN len(bbox) <> 4 THEN 'bbox has ' || len(bbox) || ' numbers; a box is [x, y, width, height]'
			WHEN NOT coalesce(bbox[3] > 0 AND bbox[4] > 0 AND bbox[3] < 1e9 AND bbox[4] < 1e9 AND abs(bbox[1]) < 1e9 AND abs(bbox[2]) < 1e9, bbox IS NULL) THEN 'bbox: width and height must be above 0 (a box is [x, y, width, height])' END;
		INSERT INTO %[7]s SELECT asset_id, file, line, CASE WHEN asset_id IS NULL THEN %[10]s ELSE %[11]s END, bad FROM %[1]s WHERE bad IS NOT NULL;
		INSERT INTO %[8]s SELECT asset_id, unnest(list), confidence, object, bbox[1], bbox[2], bbox[3], bbox[4], NULL, to_json(probabilities)::VARCHAR, false, file, line FROM %[1]s WHERE bad IS NULL;
		DROP TABLE %[1]s`,
		all, id, value, o.confidence, query.Literals(paths), strings.Join(numbers, ", "), query.Ident(res.Rejects), query.Ident(res.Table),
		word, query.Literal(pipeline.ReasonMissingID), query.Literal(pipeline.ReasonInvalidRow), o.object, o.bbox, o.probabilities))
}

// pairWords are the expressions of the words of pairs in a Parquet file.
type pairWords struct {
	confidence, object, bbox, probabilities string
	given                                   bool // there is a column of probabilities
}

func (c *columnFinder) pairWords(kind PairKind) (w pairWords, err error) {
	w = pairWords{"NULL::DOUBLE", "NULL::VARCHAR", "NULL::DOUBLE[]", "NULL::" + probabilityType, false}
	each := func(word string, take func(e string, typ query.Type) (expr string)) {
		paths := pairPlaces[word]
		if p := c.fields[word]; p != "" {
			paths = []string{p}
		}
		for _, p := range paths {
			e, typ, _, ok := c.at(p)
			if !ok {
				continue
			}
			if expr := take(e, typ); expr != "" {
				return
			}
			if c.fields[word] != "" || p == word {
				err = pipeline.Usagef("column %s cannot be the %s: it is of type %s", p, word, typ)
			}
		}
	}
	plain := func(out *string, sql string) func(string, query.Type) string {
		return func(e string, typ query.Type) string {
			if typ.Nested() {
				return ""
			}
			*out = fmt.Sprintf(sql, e)
			return *out
		}
	}
	each("object", plain(&w.object, "CAST(%s AS VARCHAR)"))
	each("bbox", func(e string, typ query.Type) string {
		switch {
		case typ.Name == "LIST" && !typ.Elem.Nested():
			w.bbox = fmt.Sprintf("CAST(%s AS DOUBLE[])", e)
		case typ.Name == "VARCHAR":
			w.bbox = fmt.Sprintf("TRY_CAST(%s AS DOUBLE[])", e)
		default:
			return ""
		}
		return w.bbox
	})
	if kind != Predictions {
		return w, err
	}
	each("confidence", plain(&w.confidence, "TRY_CAST(%s AS DOUBLE)"))
	each("probabilities", func(e string, typ query.Type) string {
		expr := probabilityList(e, typ)
		if expr != "" {
			w.probabilities, w.given = expr, true
		}
		return expr
	})
	return w, err
}

// probabilityList turns a map, a struct (which is what pyarrow makes of dicts), a
// list of {class, p} or JSON text into a list of {class, p}; "" for other types.
func probabilityList(e string, typ query.Type) string {
	switch {
	case typ.Name == "MAP":
		return fmt.Sprintf(`CAST(list_transform(list_filter(map_entries(%s), lambda x: x.value IS NOT NULL), lambda x: {'class': x.key, 'p': x.value}) AS %s)`, e, probabilityType)
	case typ.Name == "STRUCT":
		parts := make([]string, len(typ.Fields))
		for i, f := range typ.Fields {
			if f.Type.Nested() {
				return ""
			}
			parts[i] = fmt.Sprintf("{'class': %s, 'p': TRY_CAST((%s).%s AS DOUBLE)}", query.Literal(f.Name), e, query.Ident(f.Name))
		}
		return fmt.Sprintf("CASE WHEN %s IS NULL THEN NULL ELSE list_filter([%s], lambda x: x.p IS NOT NULL) END", e, strings.Join(parts, ", "))
	case typ.Name == "LIST" && typ.Elem.Name == "STRUCT" && len(typ.Elem.Fields) == 2 && strings.EqualFold(typ.Elem.Fields[0].Name, "class"):
		return fmt.Sprintf("CAST(list_transform(%s, lambda x: {'class': x.%s, 'p': x.%s}) AS %s)", e, query.Ident(typ.Elem.Fields[0].Name), query.Ident(typ.Elem.Fields[1].Name), probabilityType)
	case typ.Name == "VARCHAR" || typ.Name == "JSON":
		return fmt.Sprintf(`CAST(list_transform(map_entries(from_json(%s, '{"MAP": {"key": "VARCHAR", "value": "DOUBLE"}}')), lambda x: {'class': x.key, 'p': x.value}) AS %s)`, e, probabilityType)
	}
	return ""
}

// list returns the expression of a column of texts or of lists of them, as a
// list of texts.
func (c *columnFinder) list(word string, paths []string) (string, error) {
	if p := c.fields[word]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		e, typ, _, ok := c.at(p)
		switch {
		case !ok:
			continue
		case typ.Name == "LIST" && !typ.Elem.Nested():
			return fmt.Sprintf("CAST(%s AS VARCHAR[])", e), nil
		case typ.Nested():
			return "", pipeline.Usagef("column %s cannot be the %s: it is of type %s", p, word, typ)
		}
		return fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN NULL ELSE [CAST(%[1]s AS VARCHAR)] END", e), nil
	}
	return "", pipeline.Usagef("there is no column for the %[1]s; name it with fields: {%[1]s: …}", word)
}
