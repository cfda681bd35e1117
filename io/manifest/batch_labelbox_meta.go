package manifest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	labelboxMaxName   = 100  // characters of a metadata field's name
	labelboxMaxString = 1024 // characters of a metadata string that every version of Labelbox takes
)

// labelboxField is one metadata field of the batch's data rows.
type labelboxField struct {
	Name string
	Kind string // as in Labelbox's DataRowMetadataKind
	meta int    // place in batch.columns, or -1
	fn   int    // place in BatchInfo.Functions, or -1
}

const (
	labelboxString   = "CustomMetadataString"
	labelboxNumber   = "CustomMetadataNumber"
	labelboxDateTime = "CustomMetadataDateTime"
	labelboxEnum     = "CustomMetadataEnum"

	fieldReason  = "winnow_reason"
	fieldAssetID = "winnow_asset_id"
	fieldScore   = "winnow_score_" // and the function's name
)

// Names that Labelbox reserves, with the kind it gives them; "" cannot be set.
var labelboxReserved = map[string]string{
	"tag": labelboxString, "split": labelboxEnum, "captureDateTime": labelboxDateTime,
	"embedding": "", "precomputedImageEmbedding": "", "precomputedTextEmbedding": "",
}

// labelboxFields lists the fields in the order in which a row shows them: the
// reason, the scores, the user's metadata. Labelbox's fields are typed, so a name
// has one kind for all rows.
func labelboxFields(b *batch) []labelboxField {
	wanted := func(name string) bool {
		return b.Labelbox.Metadata == nil || slices.Contains(b.Labelbox.Metadata, name)
	}
	var out []labelboxField
	add := func(f labelboxField) {
		if wanted(f.Name) {
			out = append(out, f)
		}
	}
	add(labelboxField{Name: fieldReason, Kind: labelboxString, meta: -1, fn: -1})
	for i, f := range b.Info.Functions {
		add(labelboxField{Name: fieldScore + f.Name, Kind: labelboxNumber, meta: -1, fn: i})
	}
	var refused []string
	used := map[string]bool{}
	for i, c := range b.columns {
		kind, reserved := labelboxReserved[c.Name]
		if !reserved {
			kind = labelboxKind(c)
		}
		name := strings.TrimSpace(c.Name)
		if kind == "" || name == "" || used[name] || utf16Len(name) > labelboxMaxName || strings.HasPrefix(name, "winnow_") {
			if wanted(c.Name) {
				refused = append(refused, c.Name)
			}
			continue
		}
		used[name] = true
		add(labelboxField{Name: name, Kind: kind, meta: i, fn: -1})
	}
	if len(refused) > 0 {
		b.warn(0, nil, "metadata %s is not sent: its name is taken by Labelbox, by winnow or by another one, or is over %d characters",
			strings.Join(refused, ", "), labelboxMaxName)
	}
	return out
}

func labelboxKind(c metaColumn) string {
	switch {
	case c.Kind == kindFloat, c.Kind == kindInt && !c.Big:
		return labelboxNumber
	case c.Kind == kindTime:
		return labelboxDateTime
	}
	return labelboxString
}

// metadata gives a row's [{name, value}]. cut tells that a string was shortened,
// bad that a value does not fit a reserved field's kind and was dropped.
func (l *labelbox) metadata(r *BatchRow, hashed bool) (fields []object, cut, bad bool) {
	put := func(name string, value any) {
		if s, ok := value.(string); ok {
			short := clip(s, labelboxMaxString)
			cut = cut || short != s
			value = short
		}
		fields = append(fields, object{{"name", name}, {"value", value}})
	}
	byName := make(map[string]any, len(r.Metadata))
	for _, m := range r.Metadata {
		byName[m.Name] = metaValue(m.Value)
	}
	for _, f := range l.fields {
		switch {
		case f.fn >= 0:
			if s := r.Scores[f.fn]; s.Has() {
				put(f.Name, s.Score)
			}
		case f.meta >= 0:
			v, ok := labelboxValue(f, byName[l.b.columns[f.meta].Name])
			if ok {
				put(f.Name, v)
			} else if byName[l.b.columns[f.meta].Name] != nil && f.Kind != labelboxString { // a blank string is no value
				bad = true
			}
		case f.Name == fieldReason && r.Reason != "":
			put(f.Name, validUTF8(r.Reason))
		}
	}
	if hashed {
		put(fieldAssetID, validUTF8(r.AssetID))
	}
	return fields, cut, bad
}

// labelboxValue is a normalised value as a field of that kind takes it.
func labelboxValue(f labelboxField, v any) (any, bool) {
	if v == nil {
		return nil, false
	}
	switch f.Kind {
	case labelboxNumber:
		switch x := v.(type) {
		case int64:
			return x, true
		case float64:
			return x, !math.IsInf(x, 0)
		}
		return nil, false
	case labelboxDateTime:
		t, ok := v.(time.Time)
		if s, isText := v.(string); isText {
			var err error
			t, err = time.Parse(time.RFC3339, s)
			ok = err == nil
		}
		return t.UTC().Format("2006-01-02T15:04:05Z"), ok
	case labelboxEnum: // split, the only reserved one
		s, _ := v.(string)
		return s, s == "train" || s == "valid" || s == "test"
	}
	s, ok := metaText(v)
	return s, ok && strings.TrimSpace(s) != ""
}

// clip shortens s to at most limit characters as utf16Len counts them, marking
// the cut with an ellipsis.
func clip(s string, limit int) string {
	if len(s) <= limit || utf16Len(s) <= limit {
		return s
	}
	n := 0
	for i, r := range s {
		w := 1
		if r > 0xFFFF {
			w = 2
		}
		if n+w > limit-1 {
			return s[:i] + "…"
		}
		n += w
	}
	return s
}

// writeBatches streams batch.json: up to 100,000 keys are too many to hold twice.
func (l *labelbox) writeBatches(ctx context.Context) error {
	if l.keys == 0 {
		return nil // Labelbox refuses an empty batch
	}
	name := l.b.Info.Name + "-" + l.b.Info.Slot
	priority := l.o.Priority
	if priority == 0 {
		priority = 5
	}
	for _, p := range parts(l.keys, int64(l.o.maxBatchRows)) {
		rest := object{{"priority", priority}}
		if c := l.o.Consensus; c != nil {
			rest = append(rest, member{"consensus_settings",
				object{{"number_of_labels", c.Labels}, {"coverage_percentage", c.Coverage}}})
		}
		err := l.b.file("labelbox/batch"+p.suffix+".json", func(w io.Writer) error {
			return l.writeBatch(ctx, w, p, name+p.suffix, rest)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *labelbox) writeBatch(ctx context.Context, w io.Writer, p part, name string, rest object) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	quoted, err := encodeJSON(validUTF8(name))
	if err != nil {
		return err
	}
	fmt.Fprintf(bw, "{\"name\": %s,\n\"global_keys\": ", quoted)
	err = array(bw, func(put func(any) error) error {
		return l.eachOf(ctx, p, func(r labelboxRow) bool { return r.key != "" },
			func(r labelboxRow) error { return put(r.key) })
	})
	if err != nil {
		return err
	}
	for _, m := range rest {
		val, err := encodeJSON(m.Value)
		if err != nil {
			return err
		}
		fmt.Fprintf(bw, ",\n%q: %s", m.Key, val)
	}
	if _, err := bw.WriteString("}\n"); err != nil {
		return err
	}
	return bw.Flush()
}

// writeSchema lists the custom fields to create once in the organisation:
// Labelbox refuses data rows whose metadata names it does not know.
func (l *labelbox) writeSchema(context.Context) error {
	type schema struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
	out := []schema{}
	for _, f := range l.fields {
		if _, reserved := labelboxReserved[f.Name]; !reserved {
			out = append(out, schema{f.Name, f.Kind})
		}
	}
	if l.hashed.n > 0 {
		out = append(out, schema{fieldAssetID, labelboxString})
	}
	if len(out) > labelboxFreeFields {
		l.b.warn(0, nil, "the data rows use %d custom metadata fields (labelbox/metadata_schema.json); an organisation may have 5 on Labelbox's Free plan, 100 or more on others; name fewer in metadata:", len(out))
	}
	return l.b.file("labelbox/metadata_schema.json", func(w io.Writer) error { return writeJSON(w, out) })
}

// writeLeftOut lists every row that Labelbox cannot take; no file when all fit.
func (l *labelbox) writeLeftOut(ctx context.Context) error {
	if len(l.left) == 0 {
		return nil
	}
	return l.b.file("labelbox/left_out.jsonl", func(w io.Writer) error {
		return lines(w, func(put func(any) error) error {
			return l.b.each(ctx, func(r *BatchRow) error {
				row := l.row(r)
				if row.left == "" {
					return nil
				}
				o := object{{"asset_id", validUTF8(r.AssetID)}, {"reason", row.left}}
				o.add("row_data", row.detail)
				return put(o)
			})
		})
	})
}

func rowCount(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// report turns the counts into warnings.
func (l *labelbox) report() {
	for _, reason := range slices.Sorted(maps.Keys(l.left)) {
		t := l.left[reason]
		l.b.warn(t.n, t.ids, "%d of %d rows left out: %s (all in labelbox/left_out.jsonl)", t.n, l.b.rows, leftOutHelp[reason])
	}
	note := func(t tally, format string, args ...any) {
		if t.n > 0 {
			l.b.warn(t.n, t.ids, format, args...)
		}
	}
	note(l.local, "%s with a file of this machine: create_data_rows uploads it when it runs here", rowCount(l.local.n))
	note(l.hashed, "%s with an id over %d characters: the global_key is a hash, the id stands in external_id and %s", rowCount(l.hashed.n), labelboxMaxKey, fieldAssetID)
	note(l.known, "%s in Labelbox already: in the batch, but not uploaded again", rowCount(l.known.n))
	note(l.cut, "%s with metadata over %d characters, which is cut", rowCount(l.cut.n), labelboxMaxString)
	note(l.bad, "%s with a value that a field reserved by Labelbox cannot take (split: train, valid or test; captureDateTime: a time), which is left out", rowCount(l.bad.n))
	if len(l.media) > 1 {
		l.b.warn(0, nil, "the batch mixes %s; a Labelbox project takes one media type", strings.Join(slices.Sorted(maps.Keys(l.media)), ", "))
	}
	if l.keys == 0 {
		l.b.warn(0, nil, "no row is left, so there is no labelbox/batch.json: Labelbox refuses an empty batch")
	}
}
