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

// The other words of pairs, and where they are looked for.
var pairPlaces = map[string][]string{
	"confidence":    {"confidence", "score", "probability"},
	"probabilities": {"probabilities"},
	"object":        {"object", "object_id"},
	"bbox":          {"bbox", "box"},
}

// pairColumns are the columns of the table of ReadPairs, and probabilityType the
// type of one of them.
const (
	probabilityType = `STRUCT("class" VARCHAR, p DOUBLE)[]`
	pairColumns     = `asset_id VARCHAR, value VARCHAR, confidence DOUBLE, object VARCHAR, x DOUBLE, y DOUBLE, width DOUBLE, height DOUBLE,
		crowd BOOLEAN, probabilities VARCHAR, coco BOOLEAN, file BIGINT, line BIGINT`
)

// ReadPairs reads a manifest of labels or predictions into the native table
// name. Its columns are asset_id and value, VARCHAR; confidence, DOUBLE in [0, 1];
// object, VARCHAR, which tells the objects of an asset apart; x, y, width and
// height, DOUBLE, a box in pixels from the upper left corner; crowd, BOOLEAN, of
// COCO's groups of objects; probabilities, a list of {class, p}; coco, whether
// asset_id is the file name of a picture in a COCO file; file and line. What is
// not given is NULL; the value is so where a picture is known to hold nothing.
//
// A row whose value is a list gives a row each. Rows that say the same of the
// same object appear once; of predictions that differ in confidence alone the
// most confident one counts, and the others are rejects. Of exports of Labelbox,
// Label Studio and SageMaker Ground Truth the annotations are read (rows that nobody
// labeled, or that were skipped, are passed over), and COCO's files as labels and as
// results; see readCoco. Faults are listed as by Read.
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
		CREATE OR REPLACE TABLE %s (%s)`,
		query.Ident(res.Rejects), query.Ident(name), pairColumns))
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
	if err := r.onePairEach(ctx, res, kind); err != nil {
		return nil, err
	}
	if res.Rows, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(name)); err != nil {
		return nil, err
	}
	res.Rejected, err = r.db.Int(ctx, "SELECT count(*) FROM "+query.Ident(res.Rejects))
	return res, err
}

// onePairEach leaves the most confident of the rows that say the same of the same
// object, and lists those of another confidence.
func (r *Reader) onePairEach(ctx context.Context, res *Result, kind PairKind) error {
	ranked := query.Ident(res.Table + "_ranked")
	conflicts := ""
	if kind == Predictions {
		conflicts = fmt.Sprintf(`INSERT INTO %s SELECT asset_id, file, line, %s,
				'the prediction ' || to_json(value) || ' stands here with confidence ' || coalesce(confidence::VARCHAR, 'none') || ', and with ' || best || ' in line ' || best_line || ', which counts; keep one'
			FROM %s WHERE nth > 1 AND confidence IS DISTINCT FROM best ORDER BY file, line;`,
			query.Ident(res.Rejects), query.Literal(pipeline.ReasonTwice), ranked)
	}
	return r.db.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE TABLE %[1]s AS SELECT *, row_number() OVER w AS nth, first(confidence) OVER w AS best, first(line) OVER w AS best_line FROM %[2]s
			WINDOW w AS (PARTITION BY asset_id, value, object, x, y, width, height, crowd ORDER BY confidence DESC NULLS LAST, file, line);
		%[3]s
		CREATE OR REPLACE TABLE %[2]s AS SELECT * EXCLUDE (nth, best, best_line) REPLACE (from_json(probabilities, '[{"class":"VARCHAR","p":"DOUBLE"}]') AS probabilities) FROM %[1]s WHERE nth = 1;
		DROP TABLE %[1]s`, ranked, query.Ident(res.Table), conflicts))
}

// readPairTexts reads the JSON and CSV files among f's.
func (r *Reader) readPairTexts(ctx context.Context, f *found, kind PairKind, res *Result, o ReadOptions) error {
	p := &pairReader{found: f, kind: kind, mapper: newRowMapper(f.source.Fields), count: o.Count}
	err := r.makeCocoTables(ctx, res)
	if err != nil {
		return err
	}
	err = r.db.Append(ctx, res.Table, func(add func(...any) error) error {
		return r.db.Append(ctx, cocoTable(res, "boxes"), func(box func(...any) error) error {
			return r.db.Append(ctx, res.Rejects, func(reject func(...any) error) error {
				p.add, p.box, p.reject = add, box, reject
				for i, obj := range f.files {
					if formOf(obj.Key) == formParquet {
						continue
					}
					if err := p.file(ctx, i); err != nil {
						return fmt.Errorf("manifest %s: %w", res.Files[i], err)
					}
				}
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	return r.loadCoco(ctx, p, res)
}

// pairReader reads the JSON and CSV files of labels or predictions.
type pairReader struct {
	*found
	kind   PairKind
	mapper *rowMapper
	count  func(int64)

	add, box, reject func(...any) error // rows of the table, of COCO's boxes, of the rejects

	truths  []int // files that are COCO ground truth
	results []int // that hold COCO results
}

// file reads one file, or leaves it to loadCoco.
func (p *pairReader) file(ctx context.Context, i int) error {
	is, err := p.isCoco(ctx, p.files[i])
	if err != nil {
		return err
	}
	if is {
		p.truths = append(p.truths, i)
		return nil
	}
	return p.rows(ctx, p.files[i], p.count, func(row row) error { return p.row(i, row) })
}

func (p *pairReader) row(file int, row row) error {
	m := p.mapper
	err := row.fault
	var said pair
	if err == nil {
		m.load(row.top)
		if m.isCocoResult() {
			if err = p.result(file, row.line); err == nil {
				return nil
			}
		} else {
			said, err = m.pair(p.kind)
		}
	}
	if err != nil {
		reason, text := faultText(err)
		return p.reject(said.id, int64(file), row.line, reason, text)
	}
	for _, err := range said.faults {
		reason, text := faultText(err)
		if err := p.reject(said.id, int64(file), row.line, reason, text); err != nil {
			return err
		}
	}
	if said.empty {
		return p.add(said.id, nil, nil, nil, nil, nil, nil, nil, nil, nil, false, int64(file), row.line)
	}
	for _, v := range said.values {
		b := v.box.values()
		if err := p.add(said.id, v.value, v.confidence, v.object, b[0], b[1], b[2], b[3], nil, said.probabilities, false, int64(file), row.line); err != nil {
			return err
		}
	}
	return nil
}

// pair is what one row says of an asset.
type pair struct {
	id            string
	values        []said
	probabilities any     // JSON text of a list of {class, p}, or nil
	empty         bool    // somebody looked, and labeled nothing
	faults        []error // of single annotations of an export; the others count
}

// said is one label or prediction. What is not given is nil.
type said struct {
	value      string
	confidence any // float64
	object     any // string
	box        *box
}

// box is a rectangle in pixels.
type box struct{ x, y, w, h float64 }

func (b *box) values() [4]any {
	if b == nil {
		return [4]any{}
	}
	return [4]any{b.x, b.y, b.w, b.h}
}

// check refuses what is no rectangle.
func (b *box) check() error {
	for _, v := range []float64{b.x, b.y, b.w, b.h} {
		if v != v || v > 1e9 || v < -1e9 {
			return fmt.Errorf("%v is no number of pixels", v)
		}
	}
	if b.w <= 0 || b.h <= 0 {
		return fmt.Errorf("its width is %v and its height %v; both must be above 0 (a box is [x, y, width, height])", b.w, b.h)
	}
	return nil
}

// pair finds the words of a row that is loaded.
func (m *rowMapper) pair(kind PairKind) (p pair, err error) {
	if p.id, _, err = m.find("asset_id", nil); err != nil {
		return p, err
	}
	if p.id == "" {
		return p, rowFault(pipeline.ReasonMissingID, "the row has no asset_id; name its column with fields: {asset_id: …}")
	}
	var confidence any
	var likely string
	if kind == Predictions {
		if confidence, err = m.confidence(); err != nil {
			return p, err
		}
		if p.probabilities, likely, err = m.probabilities(&confidence); err != nil {
			return p, err
		}
	}
	word := kind.Word()
	values, err := m.ownValues(kind)
	if err != nil {
		return p, err
	}
	if len(values) == 0 && likely != "" {
		values = []string{likely}
	}
	if len(values) > 0 {
		object, b, err := m.where()
		for _, v := range values {
			p.values = append(p.values, said{v, confidence, object, b})
		}
		return p, err
	}
	if m.fields[word] == "" {
		if e := m.annotations(kind, confidence); e != nil {
			return p, e.into(&p, kind)
		}
	}
	return p, rowFault(pipeline.ReasonInvalidRow, "the row has no %[1]s; name its column with fields: {%[1]s: …}", word)
}

// into puts what an export's row says into p. A row that nobody has labeled yet
// says nothing, which is no fault.
func (e *export) into(p *pair, kind PairKind) error {
	p.values, p.faults = e.values, e.faults
	if len(e.values)+len(e.faults) > 0 || e.done == 0 {
		return nil
	}
	if len(e.other) > 0 {
		return rowFault(pipeline.ReasonInvalidRow, "its annotations name no class: winnow reads choices, labels and boxes, and these are of the type %s", strings.Join(e.other, ", "))
	}
	p.empty = kind == Labels
	return nil
}

// ownValues are the values that stand in a column of the row.
func (m *rowMapper) ownValues(kind PairKind) ([]string, error) {
	paths := valuePlaces[kind]
	if named := m.fields[kind.Word()]; named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		raw, _ := m.lookup(path)
		if raw == nil || raw[0] == 'n' {
			continue
		}
		values, err := texts(raw)
		if err != nil && m.isExport() {
			return nil, nil // Label Studio's predictions are a list of objects
		}
		if err != nil {
			return nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
		}
		return values, nil
	}
	return nil, nil
}

// isExport tells rows of labeling tools.
func (m *rowMapper) isExport() bool { return m.has("data_row") || m.has("data") }

// value looks a word of pairPlaces up.
func (m *rowMapper) word(word string) (raw []byte, path string) {
	paths := pairPlaces[word]
	if named := m.fields[word]; named != "" {
		paths = []string{named}
	}
	for _, path := range paths {
		if raw, _ := m.lookup(path); raw != nil && raw[0] != 'n' && string(raw) != `""` {
			return raw, path
		}
	}
	return nil, ""
}

// confidence returns the row's confidence, nil where there is none.
func (m *rowMapper) confidence() (any, error) {
	raw, path := m.word("confidence")
	if raw == nil {
		return nil, nil
	}
	s, err := scalar(raw)
	if err != nil {
		return nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
	}
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	c, err := share(s)
	if err != nil {
		return nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
	}
	return c, nil
}

// share reads a number from 0 to 1.
func share(s string) (float64, error) {
	c, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(c >= 0 && c <= 1) {
		return 0, fmt.Errorf("%.40q is no number from 0 to 1", s)
	}
	return c, nil
}

// probabilities reads a map of classes to probabilities, and returns it as JSON
// with the most probable class. Where the row has no confidence, that class's
// probability becomes it.
func (m *rowMapper) probabilities(confidence *any) (list any, likely string, err error) {
	raw, path := m.word("probabilities")
	if raw == nil {
		return nil, "", nil
	}
	fail := func(err error) (any, string, error) {
		return nil, "", rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
	}
	if raw[0] == '"' { // of CSV
		s, err := unquote(raw)
		if err != nil {
			return fail(err)
		}
		raw = []byte(s)
	}
	classes, err := members(raw, nil)
	if err != nil {
		return fail(fmt.Errorf(`%w; write {"cat": 0.9, "dog": 0.1}`, err))
	}
	out := []byte{'['}
	best := -1.0
	for _, c := range classes {
		s, err := scalar(c.raw)
		if err != nil {
			return fail(fmt.Errorf("class %q: %w", c.key, err))
		}
		p, err := share(s)
		if err != nil {
			return fail(fmt.Errorf("class %q: %w", c.key, err))
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendJSONString(append(out, `{"class":`...), c.key), `,"p":`...)
		out = append(append(out, strings.TrimSpace(s)...), '}')
		if p > best {
			best, likely = p, c.key
		}
	}
	if len(classes) == 0 {
		return nil, "", nil
	}
	if *confidence == nil {
		*confidence = best
	}
	return string(append(out, ']')), likely, nil
}

// where returns the row's object and box, nil where there is none.
func (m *rowMapper) where() (object any, b *box, err error) {
	if raw, path := m.word("object"); raw != nil {
		s, err := scalar(raw)
		if err != nil {
			return nil, nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
		}
		object = s
	}
	raw, path := m.word("bbox")
	if raw != nil {
		if raw[0] == '"' { // of CSV
			s, err := unquote(raw)
			if err != nil {
				return nil, nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
			}
			raw = []byte(s)
		}
		if b, err = boxOf(raw); err == nil {
			err = b.check()
		}
		if err != nil {
			return nil, nil, rowFault(pipeline.ReasonInvalidRow, "%s: %w", path, err)
		}
	}
	return object, b, nil
}

// boxOf reads [x, y, width, height], or an object of these numbers; left and top
// stand for x and y.
func boxOf(raw []byte) (*box, error) {
	s := scanner{data: raw}
	if err := s.value(0); err != nil {
		return nil, err
	}
	var list []float64
	number := func(raw []byte) error {
		text, err := scalar(raw)
		if err != nil {
			return err
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%.40q is no number", text)
		}
		list = append(list, f)
		return nil
	}
	switch raw[0] {
	case '[':
		if err := elements(raw, number); err != nil {
			return nil, err
		}
		if len(list) != 4 {
			return nil, fmt.Errorf("it has %d numbers; a box is [x, y, width, height]", len(list))
		}
	case '{':
		fields, err := members(raw, nil)
		if err != nil {
			return nil, err
		}
		for _, names := range [][]string{{"x", "left"}, {"y", "top"}, {"width"}, {"height"}} {
			at := slices.IndexFunc(fields, func(f jsonMember) bool { return slices.Contains(names, f.key) })
			if at < 0 {
				return nil, fmt.Errorf("it has no %s; a box is [x, y, width, height]", names[0])
			}
			if err := number(fields[at].raw); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("%.40q is no box; write [x, y, width, height]", raw)
	}
	return &box{list[0], list[1], list[2], list[3]}, nil
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
