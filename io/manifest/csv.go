package manifest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// csvReader reads the records of a CSV file over a lineReader, so that every
// row keeps the line on which it starts and no row takes more than the line
// limit. DuckDB's reader, which is used for nothing here, aborts the whole file
// at a line that is too long, and does not say on which line an accepted row
// stands.
//
// A field that starts with a quote ends with one, and holds anything in between,
// line ends and doubled quotes included; elsewhere a quote is a character like
// any other.
type csvReader struct {
	lines *lineReader
	max   int
	comma byte
	buf   []byte

	pending []record // lines that were read ahead in vain
}

// sniffComma chooses the separator that the first line has most of.
func sniffComma(header []byte) byte {
	best, most := byte(','), 0
	for _, c := range []byte{',', ';', '\t', '|'} {
		if n := bytes.Count(header, []byte{c}); n > most {
			best, most = c, n
		}
	}
	return best
}

func (c *csvReader) line() (record, error) {
	if len(c.pending) > 0 {
		r := c.pending[0]
		c.pending = c.pending[1:]
		return r, nil
	}
	return c.lines.next()
}

// next returns the bytes of the next row, which may be several lines. Empty
// lines are passed over.
func (c *csvReader) next() (record, error) {
	first, err := c.line()
	for err == nil && first.err == nil && len(first.data) == 0 {
		first, err = c.line()
	}
	if err != nil || first.err != nil || !openQuote(first.data, 0, false, c.comma) {
		return first, err
	}
	// The row goes on in the next line.
	c.buf = append(c.buf[:0], first.data...)
	var ahead []record
	for {
		r, err := c.line()
		if err != nil && err != io.EOF {
			return record{}, err
		}
		if err == io.EOF || r.err != nil || len(c.buf)+1+len(r.data) > c.max {
			// The quote never ends: it is a fault of this line, and the lines after
			// it are read again as rows of their own.
			if err == nil {
				ahead = append(ahead, r.keep())
			}
			c.pending = append(ahead, c.pending...)
			return record{line: first.line, err: errOpenQuote}, nil
		}
		ahead = append(ahead, r.keep())
		end := len(c.buf)
		c.buf = append(append(c.buf, '\n'), r.data...)
		if !openQuote(c.buf, end, true, c.comma) {
			return record{line: first.line, data: c.buf}, nil
		}
	}
}

// keep copies the bytes of a record that outlives the next one.
func (r record) keep() record {
	r.data = bytes.Clone(r.data)
	return r
}

// openQuote tells whether a row ends within a quoted field. It looks from
// row[i] on, which begins a field or, when quoted, is within one.
func openQuote(row []byte, i int, quoted bool, comma byte) bool {
	for {
		if quoted || i < len(row) && row[i] == '"' {
			quoted = false
			end := endQuote(row, i)
			if end < 0 {
				return true
			}
			i = end
		}
		j := bytes.IndexByte(row[min(i, len(row)):], comma)
		if j < 0 {
			return false
		}
		i += j + 1
	}
}

// endQuote returns the position after the quote that ends a field, looking
// behind row[i], or -1.
func endQuote(row []byte, i int) int {
	for i++; ; i++ {
		j := bytes.IndexByte(row[i:], '"')
		if j < 0 {
			return -1
		}
		if i += j; i+1 >= len(row) || row[i+1] != '"' {
			return i + 1
		}
		i++
	}
}

// split appends the fields of a row to fields.
func (c *csvReader) split(row []byte, fields [][]byte) [][]byte {
	for i := 0; ; {
		start := i
		var field []byte
		if i < len(row) && row[i] == '"' {
			if end := endQuote(row, i); end >= 0 {
				field = bytes.ReplaceAll(row[i+1:end-1], []byte(`""`), []byte(`"`))
				start, i = end, end
			}
		}
		j := bytes.IndexByte(row[i:], c.comma)
		if j < 0 {
			return append(fields, tail(field, row[start:]))
		}
		fields = append(fields, tail(field, row[start:i+j]))
		i += j + 1
	}
}

// tail joins what stands behind a quoted field to it.
func tail(field, rest []byte) []byte {
	if field == nil {
		return rest
	}
	if len(rest) == 0 {
		return field
	}
	return append(bytes.Clone(field), rest...)
}

// csvRows is a CSV file with its header.
type csvRows struct {
	csvReader
	names  []string
	fields [][]byte
}

// newCSV reads the header of a CSV file. Without one there is nothing to go by,
// so a fault in it is the file's.
func newCSV(r *bufio.Reader, most int64, tabs bool) (*csvRows, error) {
	c := &csvRows{csvReader: csvReader{lines: newLineReader(r, most), max: int(most), comma: ','}}
	head, err := c.lines.next()
	for err == nil && head.err == nil && len(bytes.TrimSpace(head.data)) == 0 {
		head, err = c.lines.next()
	}
	switch {
	case err == io.EOF:
		return c, nil // no header, no rows
	case err != nil:
		return nil, err
	case head.err != nil:
		return nil, fmt.Errorf("line %d, the header: %w of %d bytes", head.line, head.err, most)
	case !utf8.Valid(head.data):
		return nil, fmt.Errorf("line %d, the header, is not valid UTF-8; convert the file with: iconv -f LATIN1 -t UTF-8", head.line)
	}
	if c.comma = sniffComma(head.data); tabs {
		c.comma = '\t'
	}
	if openQuote(head.data, 0, false, c.comma) {
		return nil, fmt.Errorf("line %d, the header: %w", head.line, errOpenQuote)
	}
	seen := map[string]bool{}
	for _, f := range c.split(head.data, nil) {
		name := strings.TrimSpace(string(f))
		switch {
		case name == "":
			return nil, fmt.Errorf("line %d, the header: column %d has no name", head.line, len(c.names)+1)
		case seen[name]:
			return nil, fmt.Errorf("line %d, the header: two columns are called %q", head.line, name)
		}
		seen[name] = true
		c.names = append(c.names, name)
	}
	return c, nil
}

// object makes a row a list of members whose values are JSON strings; empty
// fields are left out. out is reused.
func (c *csvRows) object(row []byte, out []jsonMember) ([]jsonMember, error) {
	c.fields = c.split(row, c.fields[:0])
	if len(c.fields) != len(c.names) {
		return out, fmt.Errorf("the row has %d fields, the header %d", len(c.fields), len(c.names))
	}
	for i, f := range c.fields {
		if len(f) == 0 {
			continue
		}
		out = append(out, jsonMember{key: c.names[i], raw: appendJSONString(nil, f)})
	}
	return out, nil
}
