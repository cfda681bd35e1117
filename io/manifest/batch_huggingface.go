package manifest

import (
	"cmp"
	"context"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	oddName = "odd_name"
	// datasets learns the types of columns from the first 10 MiB of metadata.jsonl,
	// and then refuses a column that had no value there.
	huggingFaceFirst = 8 << 20
)

// emitHuggingFace writes huggingface/metadata.jsonl, the metadata of an image
// folder of Hugging Face's datasets: file_name (relative to the folder, where the
// pictures must be put), or text for texts, then asset_id, uri, caption, rank,
// reason, score_F of every function, and the metadata. Every line has every
// column, each of one type.
func emitHuggingFace(ctx context.Context, b *batch) error {
	p, err := b.placesOf(ctx)
	if err != nil {
		return err
	}
	taken := map[string]bool{"file_name": true, "image": true, "text": true, "asset_id": true, "uri": true, "caption": true, "rank": true, "reason": true}
	for _, f := range b.Info.Functions {
		taken["score_"+f.Name] = true
	}
	h := &huggingFace{b: b, places: p, names: b.fieldNames(taken, huggingFaceName)}
	if err := h.look(ctx); err != nil {
		return err
	}
	if len(h.late) > 0 {
		b.warn(0, nil, "columns %s are text, empty where there is none: datasets takes no column whose values begin only after 10 MB", strings.Join(slices.Sorted(maps.Keys(h.late)), ", "))
	}
	if root := p.root(); root != "" {
		b.warn(0, nil, "file_name is relative to %s: put the pictures beside metadata.jsonl, in the same folders", root)
	}
	t := &tool{folder: "huggingface", file: "metadata", ext: ".jsonl", lines: true, row: h.row, help: map[string]string{
		noContent:     "the asset has neither a URI nor a text",
		noPicture:     "an image folder of Hugging Face's holds pictures",
		unreadableURI: "the address has no file name",
		oddName:       "datasets refuses file names with ://, that begin with a slash, or that lead out of the folder",
	}}
	return t.emit(ctx, b)
}

type huggingFace struct {
	b                      *batch
	places                 *whereabouts
	names                  map[string]string
	texts, files, captions bool            // whether the batch has any
	late                   map[string]bool // columns without a value in the first rows
}

// look finds which columns there are, and which of them begin late.
func (h *huggingFace) look(ctx context.Context) error {
	err := h.b.each(ctx, func(r *BatchRow) error {
		h.texts = h.texts || r.URI == ""
		h.files = h.files || r.URI != ""
		h.captions = h.captions || r.Caption != ""
		return nil
	})
	if err != nil {
		return err
	}
	limit := cmp.Or(h.b.limits.first, huggingFaceFirst)
	first, ever := map[string]bool{}, map[string]bool{}
	size := int64(0)
	err = h.b.each(ctx, func(r *BatchRow) error {
		o := h.row(r).data
		for _, m := range o {
			if m.Value != nil {
				first[m.Key] = first[m.Key] || size < limit
				ever[m.Key] = true
			}
		}
		if size >= limit || o == nil {
			return nil
		}
		raw, err := encodeJSON(o)
		size += int64(len(raw)) + 1
		return err
	})
	h.late = map[string]bool{}
	for name := range ever {
		if !first[name] {
			h.late[name] = true
		}
	}
	return err
}

// asText is a value of a column that begins late.
func asText(v any) string {
	if d, ok := v.(decimal); ok {
		return string(d)
	}
	s, _ := metaText(v)
	return s
}

func (h *huggingFace) row(r *BatchRow) toolRow {
	var o object
	if h.files {
		var file any
		if r.URI != "" {
			if mediaKind(r) != "image" {
				return leftOut(noPicture, h.b.uri(r))
			}
			s, ok := h.b.picture(r)
			if !ok {
				return leftOut(unreadableURI, h.b.uri(r))
			}
			name := h.places.file(s)
			if c := path.Clean(name); strings.Contains(name, "://") || strings.HasPrefix(name, "/") || c == ".." || strings.HasPrefix(c, "../") {
				return leftOut(oddName, name)
			}
			file = name
		}
		o = append(o, member{"file_name", file})
	}
	if r.URI == "" && r.Text == "" {
		return leftOut(noContent, "")
	}
	o = append(o, member{"asset_id", validUTF8(r.AssetID)})
	if h.files {
		o = append(o, member{"uri", orNull(h.b.uri(r))})
	}
	if h.texts {
		o = append(o, member{"text", orNull(r.Text)})
	}
	if h.captions {
		o = append(o, member{"caption", orNull(r.Caption)})
	}
	o = append(o, member{"rank", r.Rank}, member{"reason", orNull(r.Reason)})
	for i, s := range r.Scores {
		o = append(o, member{"score_" + h.b.Info.Functions[i].Name, scoreNumber(s.Score)})
	}
	for i, v := range h.b.typed(r) {
		if c := h.b.columns[i]; c.Kind != kindNone {
			o = append(o, member{h.names[c.Name], v})
		}
	}
	for i, m := range o {
		if h.late[m.Key] {
			o[i].Value = asText(m.Value)
		}
	}
	return toolRow{data: o}
}

// huggingFaceName keeps metadata from being taken for more files: columns that
// end in _file_name or _file_names are, in datasets.
func huggingFaceName(s string) string {
	if s == "file_names" || strings.HasSuffix(s, "_file_name") || strings.HasSuffix(s, "_file_names") {
		return s + "_"
	}
	return s
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return validUTF8(s)
}
