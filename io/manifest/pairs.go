package manifest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"winnow/io/query"
	"winnow/pipeline"
)

// PairKind says what a manifest says of assets.
type PairKind int

// The kinds of pairs.
const (
	Labels      PairKind = iota // asset_id and label
	Predictions                 // asset_id, prediction and confidence
)

// Word is the name of the value's column, and of the word in Fields.
func (k PairKind) Word() string {
	if k == Predictions {
		return "prediction"
	}
	return "label"
}

// valuePlaces are where values are looked for, unless Fields names them.
var valuePlaces = map[PairKind][]string{
	Labels:      {"label", "labels"},
	Predictions: {"prediction", "predictions", "label", "labels"},
}

var confidencePlaces = []string{"confidence", "score", "probability"}

// ReadPairs reads a manifest of labels or predictions into the native table
// name: asset_id, value, VARCHAR; confidence, DOUBLE (NULL where none is given),
// file and line. A row whose value is a list gives a row each. Rows that say the
// same of the same asset appear once, the most confident one. Of exports of
// Labelbox, Label Studio and SageMaker Ground Truth the annotations are read.
// Faults are listed as by Read.
func (r *Reader) ReadPairs(ctx context.Context, src Source, kind PairKind, name string, o ReadOptions) (*Result, error) {
	if o.Count == nil {
		o.Count = func(int64) {}
	}
	f, err := r.find(ctx, src)
	if err != nil {
		return nil, err
	}
	if f.glob != nil {
		return nil, pipeline.Usagef("manifest %s: %ss are read from JSON Lines, CSV or Parquet files", src.Manifest, kind.Word())
	}
	res := &Result{Table: name, Rejects: name + "_rejects", State: State{Format: readerFormat, Options: src.options()}}
	if res.State.Files, err = f.hash(ctx); err != nil {
		return nil, err
	}
	err = r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %s (asset_id VARCHAR, file BIGINT, line BIGINT, reason VARCHAR, error VARCHAR);
		CREATE OR REPLACE TABLE %s (asset_id VARCHAR, value VARCHAR, confidence DOUBLE, file BIGINT, line BIGINT)`,
		query.Ident(res.Rejects), query.Ident(name)))
	if err != nil {
		return nil, err
	}
	var parquet []listed
	for i, obj := range f.files {
		uri, err := f.uri(obj.Key)
		if err != nil {
			return nil, err
		}
		res.Files = append(res.Files, withoutQuery(uri))
		if formOf(obj.Key) == formParquet {
			parquet = append(parquet, listed{obj, i})
		}
	}
	if err := r.readPairTexts(ctx, f, kind, res, o); err != nil {
		return nil, err
	}
	groups, err := r.parquetFiles(ctx, f, parquet)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		if err := r.loadPairs(ctx, src, kind, group, res); err != nil {
			return nil, err
		}
	}
	err = r.db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE %[1]s AS SELECT asset_id, value, max(confidence) AS confidence, arg_min(file, file * 1099511627776 + line) AS file, arg_min(line, file * 1099511627776 + line) AS line
		FROM %[1]s GROUP BY asset_id, value`, query.Ident(name)))
	if err != nil {
		return nil, err
	}
	if res.Rows, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(name)); err != nil {
		return nil, err
	}
	res.Rejected, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(res.Rejects))
	return res, err
}

// readPairTexts reads the JSON and CSV files among f's.
func (r *Reader) readPairTexts(ctx context.Context, f *found, kind PairKind, res *Result, o ReadOptions) error {
	return r.db.Append(ctx, res.Table, func(add func(...any) error) error {
		return r.db.Append(ctx, res.Rejects, func(reject func(...any) error) error {
			m := newRowMapper(f.source.Fields)
			for i, obj := range f.files {
				if formOf(obj.Key) == formParquet {
					continue
				}
				err := f.rows(ctx, obj, o.Count, func(row row) error {
					p, err := pair{}, row.fault
					if err == nil {
						p, err = m.pair(kind, row.top)
					}
					if err != nil {
						reason, text := faultText(err)
						return reject(p.id, int64(i), row.line, reason, text)
					}
					for _, v := range p.values {
						if err := add(p.id, v, p.confidence, int64(i), row.line); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return fmt.Errorf("manifest %s: %w", res.Files[i], err)
				}
			}
			return nil
		})
	})
}

// pair is what one row says of an asset.
type pair struct {
	id         string
	values     []string
	confidence any // float64 or nil
}

// pair finds the words of a row.
func (m *rowMapper) pair(kind PairKind, top []jsonMember) (p pair, err error) {
	m.load(top)
	if p.id, _, err = m.find("asset_id", nil); err != nil {
		return p, err
	}
	if p.id == "" {
		return p, rowFault(pipeline.ReasonMissingID, "the row has no asset_id; name its column with fields: {asset_id: …}")
	}
	word := kind.Word()
	paths := valuePlaces[kind]
	if named := m.fields[word]; named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		raw, _ := m.lookup(path)
		if raw == nil || raw[0] == 'n' {
			continue
		}
		if p.values, err = texts(raw); err != nil {
			return p, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
		}
		break
	}
	if len(p.values) == 0 && m.fields[word] == "" {
		p.values = m.annotations(kind)
	}
	if len(p.values) == 0 {
		return p, rowFault(pipeline.ReasonInvalidRow, "the row has no %[1]s; name its column with fields: {%[1]s: …}", word)
	}
	if kind == Predictions {
		p.confidence, err = m.confidence()
	}
	return p, err
}

// confidence returns the row's confidence, nil where there is none.
func (m *rowMapper) confidence() (any, error) {
	paths := confidencePlaces
	if named := m.fields["confidence"]; named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		raw, _ := m.lookup(path)
		if raw == nil || raw[0] == 'n' {
			continue
		}
		s, err := scalar(raw)
		if err != nil {
			return nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
		}
		if strings.TrimSpace(s) == "" {
			continue
		}
		c, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || !(c >= 0 && c <= 1) {
			return nil, rowFault(pipeline.ReasonInvalidRow, "%s: %.40q is no number from 0 to 1", path, s)
		}
		return c, nil
	}
	return nil, nil
}

// texts returns a text, number or truth value, or a list of them.
func texts(raw []byte) (out []string, err error) {
	if raw[0] != '[' {
		if raw[0] == 't' || raw[0] == 'f' {
			return []string{string(raw)}, nil
		}
		s, err := scalar(raw)
		if err != nil || strings.TrimSpace(s) == "" {
			return nil, err
		}
		return []string{s}, nil
	}
	err = elements(raw, func(raw []byte) error {
		if raw[0] == '[' {
			return fmt.Errorf("it is a list of lists, not of texts")
		}
		inner, err := texts(raw)
		out = append(out, inner...)
		return err
	})
	return out, err
}

// annotations reads the values of a labeling tool's export.
func (m *rowMapper) annotations(kind PairKind) []string {
	var found []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	switch {
	case m.has("data_row"):
		labelboxValues(m.value("projects"), add)
	case m.has("annotations") || m.has("predictions"):
		key := "annotations"
		if kind == Predictions {
			key = "predictions"
		}
		labelStudioValues(m.value(key), add)
	default:
		m.groundTruthValues(add)
	}
	return found
}

func (m *rowMapper) value(name string) []byte {
	if i, ok := m.index[name]; ok {
		return m.top[i].raw
	}
	return nil
}

// walkJSON calls fn for every member of every object in a value, outermost
// first; where fn returns false it does not look into the member.
func walkJSON(raw []byte, fn func(key string, raw []byte) bool) {
	if len(raw) == 0 {
		return
	}
	switch raw[0] {
	case '[':
		_ = elements(raw, func(raw []byte) error { walkJSON(raw, fn); return nil })
	case '{':
		inner, _ := members(raw, nil)
		for _, f := range inner {
			if fn(f.key, f.raw) {
				walkJSON(f.raw, fn)
			}
		}
	}
}

// labelboxValues reads the names of objects and of answers from
// projects.*.labels[].annotations.
func labelboxValues(projects []byte, add func(string)) {
	walkJSON(projects, func(key string, raw []byte) bool {
		if key != "annotations" {
			return true
		}
		walkJSON(raw, func(key string, raw []byte) bool {
			switch key {
			case "objects":
				_ = elementsOf(raw, func(o []jsonMember) {
					for _, f := range o {
						if f.key == "name" {
							addTexts(f.raw, add)
						}
					}
				})
				return false
			case "radio_answer", "checklist_answers":
				walkJSON(raw, func(key string, raw []byte) bool {
					if key == "name" {
						addTexts(raw, add)
					}
					return false
				})
				return false
			}
			return true
		})
		return false
	})
}

// labelStudioValues reads the choices and labels of results[].value.
func labelStudioValues(list []byte, add func(string)) {
	_ = elementsOf(list, func(annotation []jsonMember) {
		for _, f := range annotation {
			if f.key == "was_cancelled" && f.raw[0] == 't' {
				return
			}
		}
		for _, f := range annotation {
			if f.key != "result" {
				continue
			}
			walkJSON(f.raw, func(key string, raw []byte) bool {
				if key == "choices" || strings.HasSuffix(key, "labels") {
					addTexts(raw, add)
				}
				return key == "value"
			})
		}
	})
}

// groundTruthValues reads class names from the members NAME-metadata that stand
// beside NAME.
func (m *rowMapper) groundTruthValues(add func(string)) {
	for _, f := range m.top {
		if name, ok := strings.CutSuffix(f.key, "-metadata"); !ok || !m.has(name) {
			continue
		}
		walkJSON(f.raw, func(key string, raw []byte) bool {
			switch key {
			case "class-name":
				addTexts(raw, add)
			case "class-map":
				inner, _ := members(raw, nil)
				for _, c := range inner {
					addTexts(c.raw, add)
				}
			}
			return false
		})
	}
}

func addTexts(raw []byte, add func(string)) {
	list, err := texts(raw)
	if err != nil {
		return
	}
	for _, s := range list {
		add(s)
	}
}

// elementsOf calls fn for every object of a list.
func elementsOf(raw []byte, fn func([]jsonMember)) error {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	return elements(raw, func(raw []byte) error {
		if raw[0] != '{' {
			return nil
		}
		inner, err := members(raw, nil)
		fn(inner)
		return err
	})
}

// loadPairs reads a group of Parquet files of equal schema.
func (r *Reader) loadPairs(ctx context.Context, src Source, kind PairKind, group []parquetFile, res *Result) error {
	c := columnFinder{fields: src.Fields, cols: group[0].cols, used: map[string]bool{}}
	fail := func(err error) error { return fmt.Errorf("%s: %w", withoutQuery(group[0].base), err) }
	id, _, err := c.find("asset_id", nil)
	if err != nil {
		return fail(err)
	}
	word := kind.Word()
	value, err := c.list(word, valuePlaces[kind])
	if err != nil {
		return fail(err)
	}
	confidence := "NULL::DOUBLE"
	if kind == Predictions {
		paths := confidencePlaces
		if p := c.fields["confidence"]; p != "" {
			paths = []string{p}
		}
		for _, p := range paths {
			if e, typ, _, ok := c.at(p); ok && !typ.Nested() {
				confidence = "TRY_CAST(" + e + " AS DOUBLE)"
				break
			}
		}
	}
	paths, numbers := make([]string, len(group)), make([]string, len(group))
	for i, f := range group {
		paths[i] = f.local
		numbers[i] = fmt.Sprintf("(%s, %d)", query.Literal(f.local), f.number)
	}
	all := query.Ident(res.Table + "_all")
	return r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %[1]s AS SELECT %[2]s AS asset_id, list_filter(%[3]s, lambda v: trim(v) <> '') AS list, %[4]s AS confidence, winnow_number::BIGINT AS file, file_row_number + 1 AS line
			FROM read_parquet(%[5]s, filename = 'winnow_file', file_row_number = true, hive_partitioning = false)
			JOIN (VALUES %[6]s) winnow_files(winnow_path, winnow_number) ON winnow_path = winnow_file;
		ALTER TABLE %[1]s ADD COLUMN bad VARCHAR;
		UPDATE %[1]s SET bad = CASE WHEN asset_id IS NULL THEN 'the row has no asset_id; name its column with fields: {asset_id: …}'
			WHEN coalesce(len(list), 0) = 0 THEN 'the row has no %[9]s; name its column with fields: {%[9]s: …}'
			WHEN NOT coalesce(confidence BETWEEN 0 AND 1, true) THEN 'the confidence is no number from 0 to 1' END;
		INSERT INTO %[7]s SELECT asset_id, file, line, CASE WHEN asset_id IS NULL THEN %[10]s ELSE %[11]s END, bad FROM %[1]s WHERE bad IS NOT NULL;
		INSERT INTO %[8]s SELECT asset_id, unnest(list), confidence, file, line FROM %[1]s WHERE bad IS NULL;
		DROP TABLE %[1]s`,
		all, id, value, confidence, query.Literals(paths), strings.Join(numbers, ", "), query.Ident(res.Rejects), query.Ident(res.Table),
		word, query.Literal(pipeline.ReasonMissingID), query.Literal(pipeline.ReasonInvalidRow)))
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
