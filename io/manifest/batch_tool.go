package manifest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tool writes the list of a labeling tool: one JSON object an asset, in as many
// files as the tool's limits ask for. Rows that the tool could not take stand in
// left_out.jsonl beside it.
type tool struct {
	folder, file, ext string // folder/file.ext, or folder/file0000.ext, …
	// row makes a row's object; it is called twice a row and must be a function of
	// the row.
	row func(r *BatchRow) toolRow

	lines bool   // one object a line; else an array of them
	head  string // what stands before the rows
	tail  string // and after them
	noNUL bool   // the tool's database cannot hold zero bytes: U+FFFD stands for them

	maxRows, maxBytes int64 // of one file; 0: no limit

	help  map[string]string // what to do about a reason for leaving rows out
	notes map[string]string // what to tell of rows that carry a note
}

// toolRow is what becomes of one row.
type toolRow struct {
	data   object // nil: left out
	left   string // why: a key of help
	detail string
	notes  []string // keys of notes
}

func leftOut(why, detail string) toolRow { return toolRow{left: why, detail: detail} }

// toolLimits stands in for the limits of tools in tests.
type toolLimits struct {
	rows, bytes int64 // of a file
	first       int64 // bytes from which Hugging Face's datasets learns types
}

// span is the rows of one file, by rank, both ends included.
type span struct {
	suffix   string
	from, to int64
}

// emit writes the files and warns about what is not as the user may expect.
func (t *tool) emit(ctx context.Context, b *batch) error {
	if b.limits.rows > 0 {
		t.maxRows = b.limits.rows
	}
	if b.limits.bytes > 0 {
		t.maxBytes = b.limits.bytes
	}
	left, notes := map[string]*tally{}, map[string]*tally{}
	spans, err := t.plan(ctx, b, left, notes)
	if err != nil {
		return err
	}
	for _, s := range spans {
		if err := t.write(ctx, b, s); err != nil {
			return err
		}
	}
	for _, why := range slices.Sorted(maps.Keys(left)) {
		n := left[why]
		b.warn(n.n, n.ids, "%d of %d rows left out: %s (all in %s/left_out.jsonl)", n.n, b.rows, t.help[why], t.folder)
	}
	for _, what := range slices.Sorted(maps.Keys(notes)) {
		n := notes[what]
		b.warn(n.n, n.ids, "%s %s", rowCount(n.n), t.notes[what])
	}
	return t.writeLeftOut(ctx, b, len(left) > 0)
}

// plan looks at every row once, and cuts the batch into files.
func (t *tool) plan(ctx context.Context, b *batch, left, notes map[string]*tally) ([]span, error) {
	count := func(m map[string]*tally, key, id string) {
		if m[key] == nil {
			m[key] = &tally{}
		}
		m[key].add(id)
	}
	frame := int64(len(t.head) + len(t.tail) + 4)
	spans := []span{{from: 1, to: b.rows}}
	rows, size := int64(0), frame
	err := b.each(ctx, func(r *BatchRow) error {
		row := t.row(r)
		if row.data == nil {
			count(left, row.left, r.AssetID)
			return nil
		}
		for _, n := range row.notes {
			count(notes, n, r.AssetID)
		}
		raw, err := t.encode(row.data)
		if err != nil {
			return fmt.Errorf("asset %q: %w", r.AssetID, err)
		}
		n := int64(len(raw)) + 2 // a comma and the end of the line
		if rows > 0 && (t.maxRows > 0 && rows+1 > t.maxRows || t.maxBytes > 0 && size+n > t.maxBytes) {
			spans[len(spans)-1].to = r.Rank - 1
			spans = append(spans, span{from: r.Rank, to: b.rows})
			rows, size = 0, frame
		}
		rows++
		size += n
		return nil
	})
	if len(spans) > 1 {
		for i := range spans {
			spans[i].suffix = fmt.Sprintf("%04d", i)
		}
	}
	return spans, err
}

func (t *tool) encode(o object) ([]byte, error) {
	raw, err := encodeJSON(o)
	if err == nil && t.noNUL {
		raw = withoutNUL(raw)
	}
	return raw, err
}

// write writes the rows of one file. Each file replays the batch, so that it can
// be written twice and none is held.
func (t *tool) write(ctx context.Context, b *batch, s span) error {
	return b.file(t.folder+"/"+t.file+s.suffix+t.ext, func(w io.Writer) error {
		bw := bufio.NewWriterSize(w, 1<<16)
		bw.WriteString(t.head)
		sep, end := "[\n", "\n]"
		if t.lines {
			sep, end = "", "\n"
		}
		empty := true
		err := b.each(ctx, func(r *BatchRow) error {
			if r.Rank < s.from || r.Rank > s.to {
				return nil
			}
			row := t.row(r)
			if row.data == nil {
				return nil
			}
			raw, err := t.encode(row.data)
			if err != nil {
				return err
			}
			bw.WriteString(sep)
			empty = false
			if sep = ",\n"; t.lines {
				sep = "\n"
			}
			_, err = bw.Write(raw)
			return err
		})
		switch {
		case err != nil:
			return err
		case empty && t.lines:
			end = ""
		case empty:
			end = "[]"
		}
		bw.WriteString(end)
		bw.WriteString(t.tail)
		return bw.Flush() // says what went wrong before, too
	})
}

// writeLeftOut lists every row that the tool cannot take; no file when all fit.
func (t *tool) writeLeftOut(ctx context.Context, b *batch, some bool) error {
	if !some {
		return nil
	}
	return b.file(t.folder+"/left_out.jsonl", func(w io.Writer) error {
		return lines(w, func(put func(any) error) error {
			return b.each(ctx, func(r *BatchRow) error {
				row := t.row(r)
				if row.data != nil {
					return nil
				}
				o := object{{"asset_id", validUTF8(r.AssetID)}, {"reason", row.left}}
				o.add("detail", clip(row.detail, 200))
				return put(o)
			})
		})
	})
}

// withoutNUL puts U+FFFD where a JSON text escapes a zero byte.
func withoutNUL(raw []byte) []byte {
	nul := []byte(`\u0000`)
	if !bytes.Contains(raw, nul) {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] != '\\':
			out = append(out, raw[i])
		case bytes.HasPrefix(raw[i:], nul):
			out = append(out, `\ufffd`...)
			i += len(nul) - 1
		default:
			out = append(out, raw[i], raw[i+1])
			i++
		}
	}
	return out
}

// scores are a row's scores by function, without those that do not exist.
func (b *batch) scores(r *BatchRow) object {
	var o object
	for i, s := range r.Scores {
		if s.Has() {
			o = append(o, member{b.Info.Functions[i].Name, s.Score})
		}
	}
	return o
}

// metadata is a row's metadata as JSON, lists and objects included.
func metadata(r *BatchRow) object {
	var o object
	for _, m := range r.Metadata {
		if v := metaValue(m.Value); v != nil {
			o = append(o, member{validUTF8(m.Name), jsonMeta(v)})
		}
	}
	return o
}

// fieldNames gives every metadata column a field name that is not taken yet;
// clean makes a name that the tool accepts.
func (b *batch) fieldNames(taken map[string]bool, clean func(string) string) map[string]string {
	out := make(map[string]string, len(b.columns))
	for _, c := range b.columns {
		name := validUTF8(c.Name)
		if clean != nil {
			name = clean(name)
		}
		for taken[name] {
			name += "_"
		}
		taken[name] = true
		out[c.Name] = name
	}
	return out
}

// typed gives one value for each metadata column of the batch, nil where a row
// has none. All values of a column are of one JSON type, so that readers which
// learn types from the first rows stay right.
func (b *batch) typed(r *BatchRow) []any {
	out := make([]any, len(b.columns))
	at := make(map[string]any, len(r.Metadata))
	for _, m := range r.Metadata {
		at[m.Name] = metaValue(m.Value)
	}
	for i, c := range b.columns {
		out[i] = typedValue(c.Kind, at[c.Name])
	}
	return out
}

func typedValue(k kind, v any) any {
	if v == nil {
		return nil
	}
	switch x := v.(type) {
	case int64:
		if k == kindFloat {
			return floatNumber(float64(x), 64)
		}
	case float64:
		if k == kindFloat {
			return floatNumber(x, 64)
		}
	case time.Time:
		if k == kindTime {
			return x.Format("2006-01-02T15:04:05.000000Z")
		}
	}
	if k == kindText {
		s, _ := metaText(v)
		return s
	}
	return v
}

// decimal is a number with a decimal point: 3.0, which no reader takes for an
// integer.
type decimal string

// MarshalJSON implements json.Marshaler.
func (d decimal) MarshalJSON() ([]byte, error) { return []byte(d), nil }

func floatNumber(x float64, bits int) any {
	s := strconv.FormatFloat(x, 'g', -1, bits)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return decimal(s)
}

func scoreNumber(x float32) any {
	if !finite(x) {
		return nil
	}
	return floatNumber(float64(x), 32)
}
