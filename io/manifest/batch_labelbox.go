package manifest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"

	"lukechampine.com/blake3"

	"winnow/pipeline"
)

// Limits of Labelbox, from its documentation and its Python SDK.
const (
	labelboxMaxDataRows  = 150_000 // rows of one upload
	labelboxMaxBatchRows = 100_000 // rows of one batch
	labelboxMaxKey       = 200     // characters of a global key
	labelboxMaxText      = 64_000  // characters of inline text; the limit is given as 64K
	labelboxFreeFields   = 5       // custom metadata fields of an organisation on the smallest plan
)

// LabelboxOptions says how a batch becomes Labelbox data rows.
type LabelboxOptions struct {
	// URIRewrite turns the URIs of storage that Labelbox cannot read into ones
	// that it can. The first rule whose From is a prefix of the URI applies.
	URIRewrite []URIRule
	Priority   int                // of the batch, 1 (highest) to 5; 0 means 5
	Consensus  *LabelboxConsensus // nil: the project's own setting
	// Metadata names the metadata fields to send; nil sends all. Names are those
	// of labelbox/metadata_schema.json.
	Metadata []string
	// Known tells whether Labelbox has a data row of this global key already. Such
	// rows join the batch but are not uploaded again. It may be nil.
	Known func(globalKey string) bool

	maxDataRows, maxBatchRows int // set by tests; 0: Labelbox's limits
}

// URIRule replaces a prefix of a URI.
type URIRule struct {
	From string `json:"from" yaml:"from"`
	To   string `json:"to" yaml:"to"`
}

// LabelboxConsensus asks for several labels of a share of the rows.
type LabelboxConsensus struct {
	Labels   int     // labels of one row, at least 2
	Coverage float64 // share of the rows, in (0, 1]
}

// Check finds options that Labelbox would refuse, as a *pipeline.UsageError.
func (o LabelboxOptions) Check() error {
	var problems []pipeline.Problem
	bad := func(format string, args ...any) {
		problems = append(problems, pipeline.Problem{What: "labelbox: " + fmt.Sprintf(format, args...)})
	}
	if o.Priority < 0 || o.Priority > 5 {
		bad("priority is %d; Labelbox takes 1 (highest) to 5", o.Priority)
	}
	if c := o.Consensus; c != nil {
		if c.Labels < 2 {
			bad("consensus asks for %d labels of a row; at least 2 make a consensus", c.Labels)
		}
		if !(c.Coverage > 0 && c.Coverage <= 1) {
			bad("consensus coverage is %g; it is a share of the rows, over 0 and at most 1", c.Coverage)
		}
	}
	for i, r := range o.URIRewrite {
		if r.From == "" || r.To == "" {
			bad("uri_rewrite rule %d needs both from and to", i+1)
		} else if strings.HasPrefix(r.To, "s3:/") {
			bad("uri_rewrite rule %d leads to %s; Labelbox refuses s3:/ and wants https", i+1, r.To)
		}
	}
	if len(problems) > 0 {
		return &pipeline.UsageError{Problems: problems}
	}
	return nil
}

// Why a row is not uploaded; words of labelbox/left_out.jsonl.
const (
	leftS3      = "s3_uri"
	leftScheme  = "unreadable_uri"
	leftLong    = "text_too_long"
	leftNothing = "no_content"
	leftS3Text  = "text_like_s3_uri"
)

var leftOutHelp = map[string]string{
	leftS3:      "Labelbox refuses row_data that begins with s3:/; give a uri_rewrite rule to https URLs",
	leftScheme:  "Labelbox reads https, http and gs URIs and, through its SDK, local files; give a uri_rewrite rule",
	leftLong:    fmt.Sprintf("Labelbox takes at most %d characters of inline text; split the text or store it as a file", labelboxMaxText),
	leftNothing: "the asset has neither a URI nor a text",
	leftS3Text:  "Labelbox refuses row_data that begins with s3:/, also where it is a text",
}

// labelboxRow is what becomes of one batch row.
type labelboxRow struct {
	data   object // nil when the row is not uploaded
	key    string // its global key; empty when it is left out
	left   string // why it is left out
	detail string
	local  bool // row_data is a local path
	hashed bool // the key stands for a longer id
	cut    bool // a metadata value was shortened
	bad    bool // a metadata value that Labelbox would refuse was dropped
	media  string
}

// emitLabelbox writes labelbox/data_rows.json (for Dataset.create_data_rows),
// labelbox/batch.json (the arguments of Project.create_batch) and
// labelbox/metadata_schema.json (the fields that the organisation must have).
// Over Labelbox's limits a file is split: data_rows0000.json, batch0000.json, ….
// Rows that Labelbox cannot take stand in labelbox/left_out.jsonl.
func emitLabelbox(ctx context.Context, b *batch) error {
	l := &labelbox{b: b, o: b.Labelbox, fields: labelboxFields(b)}
	l.o.URIRewrite = slices.Concat(l.o.URIRewrite, b.URIRewrite)
	if l.o.maxDataRows == 0 {
		l.o.maxDataRows = labelboxMaxDataRows
	}
	if l.o.maxBatchRows == 0 {
		l.o.maxBatchRows = labelboxMaxBatchRows
	}
	if err := l.count(ctx); err != nil {
		return err
	}
	for _, write := range []func(context.Context) error{l.writeDataRows, l.writeBatches, l.writeSchema, l.writeLeftOut} {
		if err := write(ctx); err != nil {
			return err
		}
	}
	l.report()
	return nil
}

type labelbox struct {
	b      *batch
	o      LabelboxOptions
	fields []labelboxField

	uploads, keys      int64 // rows of data_rows.json and of batch.json
	known, hashed, cut tally
	bad, local         tally
	left               map[string]*tally
	media              map[string]int64
}

// count is the pass that finds how many rows each file will have.
func (l *labelbox) count(ctx context.Context) error {
	l.left, l.media = map[string]*tally{}, map[string]int64{}
	return l.b.each(ctx, func(r *BatchRow) error {
		row := l.row(r)
		if row.left != "" {
			t := l.left[row.left]
			if t == nil {
				t = &tally{}
				l.left[row.left] = t
			}
			t.add(r.AssetID)
			return nil
		}
		l.keys++
		l.media[row.media]++
		if row.hashed {
			l.hashed.add(r.AssetID)
		}
		if row.data == nil {
			l.known.add(r.AssetID)
			return nil
		}
		l.uploads++
		if row.local {
			l.local.add(r.AssetID)
		}
		if row.cut {
			l.cut.add(r.AssetID)
		}
		if row.bad {
			l.bad.add(r.AssetID)
		}
		return nil
	})
}

// row decides what becomes of one asset.
func (l *labelbox) row(r *BatchRow) labelboxRow {
	out := labelboxRow{media: labelboxMedia(r)}
	data, local, left := l.rowData(r)
	if left != "" {
		out.left, out.detail = left, clip(data, 200)
		return out
	}
	out.key, out.hashed = globalKey(r.AssetID)
	if l.o.Known != nil && l.o.Known(out.key) {
		return out
	}
	out.local = local
	o := object{{"row_data", data}, {"global_key", out.key}}
	o.add("external_id", r.AssetID)
	o.add("media_type", out.media)
	var meta []object
	meta, out.cut, out.bad = l.metadata(r, out.hashed)
	if len(meta) > 0 {
		o.add("metadata_fields", meta)
	}
	if r.Caption != "" {
		o.add("attachments", []object{{{"type", "RAW_TEXT"}, {"value", validUTF8(r.Caption)}, {"name", "caption"}}})
	}
	out.data = o
	return out
}

// rowData is the URI or text of a row as Labelbox takes it, or why it cannot.
func (l *labelbox) rowData(r *BatchRow) (data string, local bool, left string) {
	if r.URI == "" {
		text := validUTF8(r.Text)
		switch {
		case text == "":
			return "", false, leftNothing
		case strings.HasPrefix(text, "s3:/"):
			return text, false, leftS3Text
		case utf16Len(text) > labelboxMaxText:
			return text, false, leftLong
		}
		return text, false, ""
	}
	uri := rewriteURI(l.o.URIRewrite, validUTF8(r.URI))
	scheme, _, _ := strings.Cut(uri, ":")
	switch strings.ToLower(scheme) {
	case "https", "http", "gs":
		return uri, false, ""
	case "s3":
		return uri, false, leftS3
	case "file":
		if path, ok := filePath(uri); ok {
			return path, true, ""
		}
	}
	return uri, false, leftScheme
}

// globalKey is the asset's id, or a stable stand-in where it is too long.
func globalKey(id string) (key string, hashed bool) {
	id = validUTF8(id)
	if utf16Len(id) <= labelboxMaxKey && strings.TrimSpace(id) != "" {
		return id, false
	}
	sum := blake3.Sum256([]byte(id))
	return "winnow-" + hex.EncodeToString(sum[:16]), true
}

// utf16Len counts characters as JavaScript and databases with UTF-16 do, which
// is never fewer than any other way of counting them.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// rewriteURI applies the first rule that fits. URIs of files and of the web are
// escaped, keys of buckets are not: between the two the rest of the key is made
// safe for a URL, where what is escaped already stays as it is, or is unescaped.
func rewriteURI(rules []URIRule, uri string) string {
	for _, r := range rules {
		rest, ok := strings.CutPrefix(uri, r.From)
		if !ok {
			continue
		}
		switch to := escapedURI(r.To); {
		case strings.HasPrefix(r.To, "http") || to && !escapedURI(uri):
			rest = escapeRest(rest)
		case !to && escapedURI(uri):
			if plain, err := url.PathUnescape(rest); err == nil {
				rest = plain
			}
		}
		return r.To + rest
	}
	return uri
}

// escapedURI tells whether URIs of this beginning are escaped: those of files, of
// the web, and addresses with a query, such as Label Studio's local files.
func escapedURI(uri string) bool {
	scheme, _, ok := strings.Cut(uri, "://")
	switch strings.ToLower(scheme) {
	case "http", "https", "file":
		return true
	}
	return !ok && strings.Contains(uri, "?")
}

func escapeRest(s string) string {
	const plain = "-._~!$&'()*+,;=:@/?%" // besides letters and digits
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%' && !(i+2 < len(s) && ishex(s[i+1]) && ishex(s[i+2])):
			b.WriteString("%25")
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func ishex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// filePath is the path of a file URI. Labelbox's SDK uploads row_data that names
// an existing local file; it does not know file URIs.
func filePath(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Path == "" || u.Host != "" && u.Host != "localhost" {
		return "", false
	}
	return u.Path, true
}

func labelboxMedia(r *BatchRow) string {
	kind, _, _ := strings.Cut(strings.ToLower(r.MediaType), "/")
	switch kind {
	case "image", "video", "audio", "html":
		return strings.ToUpper(kind)
	case "text":
		return "TEXT"
	case "":
		if r.URI == "" {
			return "TEXT"
		}
		return "IMAGE"
	}
	if strings.HasSuffix(strings.ToLower(r.MediaType), "pdf") {
		return "PDF"
	}
	return "" // Labelbox finds out by itself
}

// part is the rows [from, to) of a file that may be one of several.
type part struct {
	suffix   string // "" when there is one part only
	from, to int64
}

// parts cuts total rows into files of at most size rows.
func parts(total, size int64) []part {
	if total <= size {
		return []part{{to: total}}
	}
	var out []part
	for from := int64(0); from < total; from += size {
		out = append(out, part{fmt.Sprintf("%04d", len(out)), from, min(from+size, total)})
	}
	return out
}

// eachOf calls fn with the part's rows of those that pick accepts. Each part
// replays the batch, so that a part can be written twice and none is held.
func (l *labelbox) eachOf(ctx context.Context, p part, pick func(labelboxRow) bool, fn func(labelboxRow) error) error {
	at := int64(0)
	return l.b.each(ctx, func(r *BatchRow) error {
		row := l.row(r)
		if !pick(row) {
			return nil
		}
		at++
		if at <= p.from || at > p.to {
			return nil
		}
		return fn(row)
	})
}

func (l *labelbox) writeDataRows(ctx context.Context) error {
	for _, p := range parts(l.uploads, int64(l.o.maxDataRows)) {
		err := l.b.file("labelbox/data_rows"+p.suffix+".json", func(w io.Writer) error {
			err := array(w, func(put func(any) error) error {
				return l.eachOf(ctx, p, func(r labelboxRow) bool { return r.data != nil },
					func(r labelboxRow) error { return put(r.data) })
			})
			if err != nil {
				return err
			}
			_, err = io.WriteString(w, "\n")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
