package manifest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"winnow/io/query"
	"winnow/io/store"
	"winnow/pipeline"
)

// maxMetaFields bounds the number of different metadata fields of a source.
const maxMetaFields = 1000

// metaNames gives every metadata field of a source a number. Names that differ
// by case alone are one field, under the first spelling: neither DuckDB nor
// Delta tables tell them apart.
type metaNames struct {
	names []string
	index map[string]int // by name in small letters
}

// number returns the number of a name; new ones get the next.
func (n *metaNames) number(name string) (int, error) {
	low := strings.ToLower(name)
	if i, ok := n.index[low]; ok {
		return i, nil
	}
	if len(n.names) >= maxMetaFields {
		return 0, rowFault(pipeline.ReasonInvalidRow, "the metadata field %q is one too many: a source has at most %d; put those of this row into one object", name, maxMetaFields)
	}
	if n.index == nil {
		n.index = map[string]int{}
	}
	n.index[low] = len(n.names)
	n.names = append(n.names, name)
	return len(n.names) - 1, nil
}

// rejecter lists a rejected row.
type rejecter func(id string, file int, line int64, err error) error

// normalizer writes the good rows of JSON and CSV manifests in one form for
// DuckDB to read: one object a line, whose members have short fixed names, and
// m0, m1, … for metadata. It learns the types on the way.
type normalizer struct {
	src    Source
	names  *metaNames
	uris   *uriMaker
	reject rejecter
	count  func(int64)

	path    string
	out     *os.File
	w       *bufio.Writer
	longest int // line written, in bytes

	shapes []*shape // of the metadata, by number
	slots  [][]byte // of the row at hand, by number
	line   []byte
}

// extra is what a normalised line may have more than the row it comes from.
const extra = 64 << 10

func newNormalizer(dir string, src Source, names *metaNames, uris *uriMaker, reject rejecter, count func(int64)) (*normalizer, error) {
	f, err := os.CreateTemp(dir, "manifest-*.jsonl")
	if err != nil {
		return nil, err
	}
	return &normalizer{src: src, names: names, uris: uris, reject: reject, count: count,
		path: f.Name(), out: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

// remove deletes what was written.
func (n *normalizer) remove() error {
	err := os.Remove(n.path)
	if cerr := n.out.Close(); cerr != nil && !errors.Is(cerr, os.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

// file reads one manifest file.
func (n *normalizer) file(ctx context.Context, f *found, o store.Object, number int) error {
	base, err := f.uri(o.Key)
	if err != nil {
		return err
	}
	m := newRowMapper(n.src.Fields)
	return f.rows(ctx, o, n.count, func(row row) error {
		id, err := n.add(m, row, base, number)
		var fault *pipeline.RowError
		if errors.As(err, &fault) {
			err = n.reject(id, number, row.line, fault)
		}
		return err
	})
}

// row is a record of a JSON or CSV file, taken apart.
type row struct {
	line  int64
	top   []jsonMember
	texts bool  // the values are texts, as in CSV
	fault error // a *pipeline.RowError; top is then empty
}

// rows hands on the rows of a manifest file in order; what is valid is valid
// until the next one.
func (f *found) rows(ctx context.Context, o store.Object, count func(int64), fn func(row) error) (err error) {
	in, r, header, err := f.records(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	const step = 4096
	out := row{texts: header != nil}
	for i := int64(1); ; i++ {
		if i%step == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			count(step)
		}
		rec, err := r.next()
		if err == io.EOF {
			count(i % step)
			return nil
		}
		if err != nil {
			return err
		}
		if rec.err == nil && len(bytes.TrimSpace(rec.data)) == 0 {
			continue
		}
		out.line = rec.line
		out.top, out.fault = f.parse(rec, header, out.top[:0])
		if err := fn(out); err != nil {
			return err
		}
	}
}

// parse checks a record and takes it apart.
func (f *found) parse(rec record, header *csvRows, top []jsonMember) ([]jsonMember, error) {
	switch {
	case rec.err == errTooLong:
		return top, rowFault(pipeline.ReasonLineTooLong, "the row has more than %d bytes and was passed over; raise limits.line if it is right", f.source.maxLine())
	case rec.err != nil:
		return top, rowFault(pipeline.ReasonInvalidRow, "%w", rec.err)
	case !utf8.Valid(rec.data):
		return top, rowFault(pipeline.ReasonInvalidUTF8, "byte %d is not valid UTF-8; convert the file with: iconv -f LATIN1 -t UTF-8", badByte(rec.data))
	}
	var err error
	if header != nil {
		top, err = header.object(rec.data, top)
	} else {
		top, err = members(rec.data, top)
	}
	if err != nil {
		return top[:0], rowFault(pipeline.ReasonInvalidRow, "%w", err)
	}
	return top, nil
}

// badByte returns the number of the first byte, from 1, that is not UTF-8.
func badByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i + 1
		}
		i += size
	}
	return len(data)
}

// add writes one row and returns its id, or a *pipeline.RowError.
func (n *normalizer) add(m *rowMapper, row row, base string, file int) (string, error) {
	if row.fault != nil {
		return "", row.fault
	}
	a, err := m.asset(row.top)
	if err != nil {
		return a.id, err
	}
	if a.uri != "" {
		if a.uri, err = n.uris.resolve(base, a.uri); err != nil {
			return a.id, err
		}
	}
	if err := n.place(a.meta); err != nil {
		return a.id, err
	}
	n.encode(a, file, row.line)
	if int64(len(n.line)) > 2*n.src.maxLine()+extra {
		return a.id, rowFault(pipeline.ReasonLineTooLong, "the row takes more than %d bytes as JSON; raise limits.line if it is right", 2*n.src.maxLine())
	}
	n.learn(row.texts)
	n.longest = max(n.longest, len(n.line))
	_, err = n.w.Write(n.line)
	return a.id, err
}

// place puts the metadata of a row into slots.
func (n *normalizer) place(meta []jsonMember) error {
	clear(n.slots)
	for _, f := range meta {
		i, err := n.names.number(f.key)
		if err != nil {
			return err
		}
		for i >= len(n.slots) {
			n.slots = append(n.slots, nil)
			n.shapes = append(n.shapes, &shape{})
		}
		n.slots[i] = f.raw
	}
	return nil
}

func (n *normalizer) learn(texts bool) {
	for i, raw := range n.slots {
		switch {
		case raw == nil:
		case texts:
			n.shapes[i].saw |= textKind(raw)
		default:
			n.shapes[i].add(raw, 0)
		}
	}
}

func (n *normalizer) encode(a assetRow, file int, line int64) {
	b := append(n.line[:0], fmt.Sprintf(`{"f":%d,"l":%d`, file, line)...)
	for _, f := range []struct{ name, value string }{
		{"i", a.id}, {"u", a.uri}, {"t", a.text}, {"c", a.caption}, {"v", a.version}, {"k", a.mediaType},
	} {
		if f.value != "" {
			b = append(b, `,"`...)
			b = append(b, f.name...)
			b = append(b, `":`...)
			b = appendJSONString(b, f.value)
		}
	}
	for i, raw := range n.slots {
		if raw != nil {
			b = append(b, fmt.Sprintf(`,"m%d":`, i)...)
			b = append(b, raw...)
		}
	}
	n.line = append(b, '}', '\n')
	if cap(n.line) > 1<<20 && len(n.line) < 1<<16 {
		n.line = bytes.Clone(n.line)
	}
}

// load makes the native table name of what was written, with the columns of
// fixedColumns and the metadata by number, and returns its metadata columns.
func (n *normalizer) load(ctx context.Context, db *query.DB, name string) ([]query.ColumnInfo, error) {
	if err := errors.Join(n.w.Flush(), n.out.Close()); err != nil {
		return nil, fmt.Errorf("temporary copy of the manifest: %w", err)
	}
	columns := []string{"f: 'BIGINT'", "l: 'BIGINT'", "i: 'VARCHAR'", "u: 'VARCHAR'", "t: 'VARCHAR'", "c: 'VARCHAR'", "v: 'VARCHAR'", "k: 'VARCHAR'"}
	selected := []string{"i AS asset_id", "u AS uri", "t AS text", "c AS caption", "v AS version", "k AS media_type", "f AS file", "l AS line"}
	var meta []query.ColumnInfo
	for i, s := range n.shapes {
		typ := s.typ()
		if typ.Name == query.Null.Name {
			continue
		}
		col := fmt.Sprintf("m%d", i)
		columns = append(columns, col+": "+query.Literal(typ.String()))
		selected = append(selected, col)
		meta = append(meta, query.ColumnInfo{Name: col, Type: typ})
	}
	err := db.Exec(ctx, fmt.Sprintf("CREATE OR REPLACE TABLE %s AS SELECT %s FROM read_json(%s, format = 'newline_delimited', compression = 'uncompressed', maximum_object_size = %d, columns = {%s})",
		query.Ident(name), strings.Join(selected, ", "), query.Literal(filepath.ToSlash(n.path)), max(n.longest+1024, 1<<20), strings.Join(columns, ", ")))
	return meta, err
}
