package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"lukechampine.com/blake3"

	"winnow/pipeline"
)

// Fields names, for winnow's own words, the columns of a manifest that hold
// them: Fields{"asset_id": "global_key"}. A dot reaches into an object, unless
// a column has the whole name. A word that is named here is looked for nowhere
// else.
type Fields map[string]string

// The words of asset manifests, and where they are looked for, in this order,
// unless Fields names them. They cover winnow's own names, Labelbox data rows
// and exports, Label Studio tasks, SageMaker Ground Truth, clip-retrieval and
// img2dataset, and Hugging Face's metadata.jsonl.
var places = map[string][]string{
	"asset_id":   {"asset_id", "global_key", "data_row.global_key", "external_id", "data_row.external_id", "data_row.id", "id", "image_id", "key", "file_name", "image_path", "source-ref"},
	"uri":        {"uri", "row_data", "data_row.row_data", "data.image", "source-ref", "image_path", "file_name", "image", "image_url", "url"},
	"text":       {"text", "data.text", "row_data", "data_row.row_data", "source"},
	"caption":    {"caption", "data.caption"},
	"version":    {"version", "etag", "md5", "mtime"},
	"media_type": {"media_type"},
}

// Parts of exports that are no metadata: annotations and the tool's own books.
var (
	notInExports = map[string]bool{"projects": true, "experiments": true, "embeddings": true, "labels": true, "performance_details": true, "label_details": true}
	notInTasks   = map[string]bool{"annotations": true, "predictions": true, "drafts": true, "completions": true}
)

// assetRow is a row of a manifest in winnow's words. Values are JSON, nil where
// there is none.
type assetRow struct {
	id, uri, text, caption, version, mediaType string
	meta                                       []jsonMember
}

// rowMapper finds winnow's words in the rows of a manifest.
type rowMapper struct {
	fields Fields

	top     []jsonMember
	index   map[string]int  // of top, by name
	used    map[string]bool // names in top that are taken
	scratch []jsonMember
}

func newRowMapper(f Fields) *rowMapper {
	return &rowMapper{fields: f, index: map[string]int{}, used: map[string]bool{}}
}

// rowFault is a fault of one row.
func rowFault(reason, format string, args ...any) *pipeline.RowError {
	return pipeline.Rowf(reason, format, args...)
}

// load takes over the members of a row. Of two with one name, the last counts.
func (m *rowMapper) load(top []jsonMember) {
	m.top = top
	clear(m.index)
	clear(m.used)
	for i, f := range top {
		m.index[f.key] = i
	}
}

// lookup returns the value at a path and the top-level name that it lies in.
func (m *rowMapper) lookup(path string) (raw []byte, top string) {
	if i, ok := m.index[path]; ok {
		return m.top[i].raw, path
	}
	name, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil, ""
	}
	i, ok := m.index[name]
	if !ok {
		return nil, ""
	}
	raw = m.top[i].raw
	for rest != "" && raw != nil {
		if raw[0] != '{' {
			return nil, ""
		}
		inner, err := members(raw, m.scratch[:0])
		m.scratch = inner
		if err != nil {
			return nil, ""
		}
		var part string
		part, rest, _ = strings.Cut(rest, ".")
		raw = nil
		for _, f := range inner {
			if f.key == part {
				raw = f.raw
			}
		}
	}
	return raw, name
}

// find returns the text of a word, "" where the row has none. Strings and
// numbers are taken as they stand; null and blank strings are none. Other
// values are an error where the user, or winnow's own name, asked for them, and
// passed over elsewhere.
func (m *rowMapper) find(word string, accept func(path, s string) bool) (string, string, error) {
	paths, own := places[word], word
	if p := m.fields[word]; p != "" {
		paths, own = []string{p}, p
	}
	for _, p := range paths {
		raw, top := m.lookup(p)
		if raw == nil {
			continue
		}
		s, err := scalar(raw)
		if err != nil {
			if p == own {
				return "", p, rowFault(pipeline.ReasonInvalidRow, "%s: %w", p, err)
			}
			continue
		}
		if strings.TrimSpace(s) == "" || accept != nil && m.fields[word] == "" && !accept(p, s) {
			if p == own && top == p {
				m.used[top] = true
			}
			continue
		}
		if top == p {
			m.used[top] = true
		}
		return s, p, nil
	}
	return "", "", nil
}

// scalar returns the text of a string or number.
func scalar(raw []byte) (string, error) {
	switch c := raw[0]; {
	case c == '"':
		return unquote(raw)
	case c == 'n':
		return "", nil
	case c == '-' || c >= '0' && c <= '9':
		return string(raw), nil
	case c == '{':
		return "", errors.New("it is an object, not a text")
	case c == '[':
		return "", errors.New("it is a list, not a text")
	}
	return "", errors.New("it is true or false, not a text")
}

var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// isAddress tells whether Labelbox's row_data is where the content is, rather
// than the content.
func isAddress(s, mediaType string) bool {
	if hasScheme.MatchString(s) {
		return true
	}
	switch strings.ToUpper(mediaType) {
	case "":
		return !strings.ContainsAny(s, " \t\n")
	case "TEXT", "CONVERSATIONAL", "HTML":
		return false
	}
	return true
}

// asset finds winnow's words in one row.
func (m *rowMapper) asset(top []jsonMember) (a assetRow, err error) {
	m.load(top)
	var uriAt string
	if a.id, _, err = m.find("asset_id", nil); err != nil {
		return a, err
	}
	if a.mediaType, _, err = m.find("media_type", nil); err != nil {
		return a, err
	}
	rowData := func(path string) bool { return path == "row_data" || path == "data_row.row_data" }
	a.uri, uriAt, err = m.find("uri", func(path, s string) bool { return !rowData(path) || isAddress(s, a.mediaType) })
	if err != nil {
		return a, err
	}
	a.text, _, err = m.find("text", func(path, s string) bool {
		switch {
		case rowData(path):
			return uriAt != path
		case path == "source": // Ground Truth's texts have neither an id nor anything else
			return a.id == "" && a.uri == ""
		}
		return true
	})
	if err != nil {
		return a, err
	}
	if a.caption, _, err = m.find("caption", nil); err != nil {
		return a, err
	}
	if a.version, _, err = m.find("version", nil); err != nil {
		return a, err
	}
	// In Hugging Face's image folders the text beside a picture is its caption.
	if uriAt == "file_name" && a.caption == "" && m.fields["text"] == "" {
		a.text, a.caption = "", a.text
	}
	if a.id == "" && a.text != "" && m.used["source"] && m.fields["asset_id"] == "" {
		sum := blake3.Sum256([]byte(a.text))
		a.id = fmt.Sprintf("text-%x", sum[:8])
	}
	switch {
	case a.id == "":
		return a, rowFault(pipeline.ReasonMissingID, "the row has no asset_id; name its column with fields: {asset_id: …}")
	case strings.ContainsRune(a.id, 0):
		return a, rowFault(pipeline.ReasonInvalidRow, "the asset_id contains a zero byte")
	case a.uri == "" && a.text == "":
		return a, rowFault(pipeline.ReasonNothing, "the row has neither a uri nor a text; name their columns with fields: {uri: …} or {text: …}")
	}
	a.meta, err = m.metadata()
	return a, err
}

// metadata returns what is left of a row: the members of metadata,
// metadata_fields, and everything at the top that has no other meaning.
func (m *rowMapper) metadata() (meta []jsonMember, err error) {
	_, export := m.objectAt("data_row")
	data, task := m.objectAt("data")
	if task = task && !m.has("asset_id") && !m.has("uri") && !m.has("row_data"); task {
		for _, f := range data {
			if f.key != "image" && f.key != "text" && f.key != "caption" {
				meta = append(meta, f)
			}
		}
	}
	for _, f := range m.top {
		switch {
		case m.used[f.key], f.raw[0] == 'n':
			continue
		case f.key == "data" && task, f.key == "data_row" && export:
			continue
		case export && notInExports[f.key], task && notInTasks[f.key]:
			continue
		case f.key == "metadata" || task && f.key == "meta" || export && f.key == "media_attributes":
			if inner, ok := m.objectAt(f.key); ok {
				meta = append(meta, inner...)
				continue
			}
		case f.key == "metadata_fields" && f.raw[0] == '[':
			pairs, ok := namedValues(f.raw)
			if ok {
				meta = append(meta, pairs...)
				continue
			}
		}
		name := f.key
		for _, prefix := range []string{"metadata.", "metadata_"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && f.key != "metadata_fields" {
				name = rest
				break
			}
		}
		meta = append(meta, jsonMember{name, f.raw})
	}
	kept := meta[:0]
	for _, f := range meta {
		if f.raw[0] == 'n' {
			continue
		}
		if strings.TrimSpace(f.key) == "" || len(f.key) > maxMetaName || strings.ContainsRune(f.key, 0) {
			return nil, rowFault(pipeline.ReasonInvalidRow, "a metadata field has no name or one of over %d bytes", maxMetaName)
		}
		kept = append(kept, f)
	}
	return kept, nil
}

// maxMetaName bounds the names of metadata fields, in bytes.
const maxMetaName = 200

func (m *rowMapper) has(name string) bool { _, ok := m.index[name]; return ok }

func (m *rowMapper) objectAt(name string) ([]jsonMember, bool) {
	i, ok := m.index[name]
	if !ok || m.top[i].raw[0] != '{' {
		return nil, false
	}
	inner, err := members(m.top[i].raw, nil)
	return inner, err == nil
}

// namedValues reads Labelbox's list of {name, value}; exports say schema_name.
func namedValues(raw []byte) (out []jsonMember, ok bool) {
	ok = true
	var buf []jsonMember
	err := elements(raw, func(raw []byte) error {
		if raw[0] != '{' {
			ok = false
			return nil
		}
		var err error
		if buf, err = members(raw, buf[:0]); err != nil {
			return err
		}
		var name string
		var value []byte
		for _, f := range buf {
			switch {
			case (f.key == "name" || f.key == "schema_name" && name == "") && f.raw[0] == '"':
				name, _ = unquote(f.raw)
			case f.key == "value":
				value = f.raw
			}
		}
		if name == "" || value == nil {
			ok = false
			return nil
		}
		out = append(out, jsonMember{name, value})
		return nil
	})
	return out, ok && err == nil
}
