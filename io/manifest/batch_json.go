package manifest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"
)

// member is one key of an object whose order is kept.
type member struct {
	Key   string
	Value any
}

// object is a JSON object that keeps the order of its keys.
type object []member

// add appends a member unless its value is an empty string or an empty object.
func (o *object) add(key string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
		value = validUTF8(v)
	case object:
		if len(v) == 0 {
			return
		}
	}
	*o = append(*o, member{key, value})
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := encodeJSON(m.Key)
		if err != nil {
			return nil, err
		}
		val, err := encodeJSON(m.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), val...)
	}
	return append(b, '}'), nil
}

// encodeJSON encodes without a newline and without escaping <, > and &, which
// would make captions hard to read.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writeJSON writes a small document, indented for people.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// lines calls fn with a function that writes one JSON value a line.
func lines(w io.Writer, fn func(put func(v any) error) error) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	e := json.NewEncoder(bw)
	e.SetEscapeHTML(false)
	if err := fn(e.Encode); err != nil {
		return err
	}
	return bw.Flush()
}

// array writes a JSON array with one element a line, so that a large file still
// streams, greps and diffs. It leaves the end of the last line to the caller.
func array(w io.Writer, fn func(put func(v any) error) error) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	sep := "["
	err := fn(func(v any) error {
		raw, err := encodeJSON(v)
		if err != nil {
			return err
		}
		if _, err := bw.WriteString(sep + "\n"); err != nil {
			return err
		}
		sep = ","
		_, err = bw.Write(raw)
		return err
	})
	if err != nil {
		return err
	}
	end := "\n]"
	if sep == "[" {
		end = "[]"
	}
	if _, err := bw.WriteString(end); err != nil {
		return err
	}
	return bw.Flush()
}

// emitJSONL writes batch.jsonl: one object a row, keyed by the words of DESIGN.
// Scores that do not exist are null; matched lists the functions whose threshold
// the row reaches.
func emitJSONL(ctx context.Context, b *batch) error {
	versions := object{}
	for _, f := range b.Info.Functions {
		versions.add(f.Name, f.Version)
	}
	return b.file("batch.jsonl", func(w io.Writer) error {
		return lines(w, func(put func(any) error) error {
			return b.each(ctx, func(r *BatchRow) error { return put(b.jsonRow(r, versions)) })
		})
	})
}

func (b *batch) jsonRow(r *BatchRow, versions object) object {
	var scores, percentiles, anchors, metadata object
	matched := []string{}
	for i, s := range r.Scores {
		name := b.Info.Functions[i].Name
		scores = append(scores, member{name, jsonFloat(s.Score)})
		if finite(s.Percentile) {
			percentiles = append(percentiles, member{name, s.Percentile})
		}
		if s.Match {
			matched = append(matched, name)
		}
		anchors.add(name, s.Anchor)
	}
	for _, m := range r.Metadata {
		metadata = append(metadata, member{m.Name, jsonMeta(metaValue(m.Value))})
	}
	o := object{{"rank", r.Rank}, {"asset_id", validUTF8(r.AssetID)}}
	o.add("uri", r.URI)
	o.add("text", r.Text)
	o.add("caption", r.Caption)
	o.add("media_type", r.MediaType)
	o.add("version", r.Version)
	o.add("content_hash", r.ContentHash)
	o.add("objective", r.Objective)
	o.add("reason", r.Reason)
	if len(b.Info.Functions) > 0 {
		o.add("scores", scores)
		o.add("percentiles", percentiles)
		o.add("matched", matched)
		o.add("anchors", anchors)
		o.add("function_versions", versions)
	}
	o.add("metadata", metadata)
	return o
}

func jsonFloat(x float32) any {
	if !finite(x) {
		return nil
	}
	return x
}

// jsonMeta is a normalised value for JSON: times as RFC 3339.
func jsonMeta(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	return v
}

// lineageFormat is the version of lineage.json. A reader refuses a higher one.
const lineageFormat = 1

// writeLineage writes lineage.json: what the batch was made from, and every file
// with its size and hash. It comes last and so marks the batch as complete.
func (b *batch) writeLineage() error {
	doc := struct {
		Format int `json:"format"`
		*BatchInfo
		Rows     int64          `json:"rows"`
		Files    []BatchFile    `json:"files"`
		Warnings []BatchWarning `json:"warnings,omitempty"`
	}{lineageFormat, b.Info, b.rows, b.files, b.warnings}
	if doc.Files == nil {
		doc.Files = []BatchFile{}
	}
	return b.file("lineage.json", func(w io.Writer) error { return writeJSON(w, doc) })
}
