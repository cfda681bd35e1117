package manifest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxLine bounds a manifest's line where the caller does not.
const DefaultMaxLine = 8 << 20

// record is a piece of a manifest that holds one row: a line of JSON Lines, an
// element of a JSON array, a row of a CSV file. Its bytes are valid until the
// next one is read.
type record struct {
	line int64 // on which it starts, from 1
	data []byte
	err  error // a fault of this record: errTooLong or errOpenQuote
}

// recordReader gives the records of one file in order, and io.EOF after the
// last. Other errors are the file's.
type recordReader interface {
	next() (record, error)
}

var (
	errTooLong   = errors.New("over the limit")
	errOpenQuote = errors.New("a quoted field that starts here does not end")
	errOpenArray = errors.New("the file ends within this row: the array is not closed")
)

// maybeGzip looks at the first bytes of a file and unpacks gzip, whatever the
// file's name says.
func maybeGzip(r io.Reader) (*bufio.Reader, error) {
	br := bufio.NewReaderSize(r, 128<<10)
	head, err := br.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return br, nil
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		return nil, fmt.Errorf("the gzip data is damaged: %w", err)
	}
	return bufio.NewReaderSize(gzipReader{z}, 128<<10), nil
}

// gzipReader names what is damaged.
type gzipReader struct{ z *gzip.Reader }

func (g gzipReader) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	switch {
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the gzip data is damaged or cut off: %w", err)
	}
	return n, err
}

// lineReader splits a stream into lines of at most max bytes. Longer ones are
// passed over in bounded memory and reported as records with errTooLong. Line
// ends ("\n", "\r\n") and a byte order mark at the beginning are not part of a
// line.
type lineReader struct {
	r    *bufio.Reader
	max  int
	line int64
	buf  []byte
}

func newLineReader(r *bufio.Reader, most int64) *lineReader {
	return &lineReader{r: r, max: int(most)}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func (l *lineReader) next() (record, error) {
	l.line++
	if cap(l.buf) > 1<<20 { // do not keep what one long line took
		l.buf = nil
	}
	l.buf = l.buf[:0]
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if !long {
			// Two more bytes, for the line end that is cut off below.
			if long = len(l.buf)+len(part) > l.max+2; !long {
				l.buf = append(l.buf, part...)
			}
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF:
			if len(l.buf) == 0 && !long {
				return record{}, io.EOF
			}
		case err != nil:
			return record{}, fmt.Errorf("after line %d: %w", l.line-1, err)
		}
		break
	}
	data := bytes.TrimSuffix(l.buf, []byte("\n"))
	data = bytes.TrimSuffix(data, []byte("\r"))
	if l.line == 1 {
		data = bytes.TrimPrefix(data, byteOrderMark)
	}
	if long || len(data) > l.max {
		l.buf = nil
		return record{line: l.line, err: errTooLong}, nil
	}
	return record{line: l.line, data: data}, nil
}

// arrayReader splits a JSON document that is one array into its elements of at
// most max bytes each. It looks only as deep as is needed to find their ends:
// what an element holds is checked by whoever reads it.
type arrayReader struct {
	r    *bufio.Reader
	max  int
	line int64
	buf  []byte
	open bool
	done bool
}

// isArray tells whether the first character of a stream that is not white space
// opens an array. It looks at most at the reader's buffer.
func isArray(r *bufio.Reader) bool {
	head, _ := r.Peek(512)
	head = bytes.TrimLeft(bytes.TrimPrefix(head, byteOrderMark), " \t\r\n")
	return len(head) > 0 && head[0] == '['
}

func newArrayReader(r *bufio.Reader, most int64) *arrayReader {
	return &arrayReader{r: r, max: int(most), line: 1}
}

func (a *arrayReader) next() (record, error) {
	if a.done {
		return record{}, io.EOF
	}
	if err := a.begin(); err != nil {
		return record{}, err
	}
	if cap(a.buf) > 1<<20 {
		a.buf = nil
	}
	a.buf = a.buf[:0]
	start := int64(0) // line of the element's first character
	long := false
	var at nesting
	for {
		c, err := a.r.ReadByte()
		if err == io.EOF {
			a.done = true
			return record{line: max(start, 1), err: errOpenArray}, nil
		}
		if err != nil {
			return record{}, fmt.Errorf("after line %d: %w", a.line, err)
		}
		if at.ends(c) {
			a.done = c == ']'
			if start == 0 && a.done { // an empty array, or a comma before the end
				return record{}, io.EOF
			}
			if start == 0 {
				start = a.line
			}
			if long {
				a.buf = nil
				return record{line: start, err: errTooLong}, nil
			}
			return record{line: start, data: bytes.TrimRight(a.buf, " \t")}, nil
		}
		switch c {
		case '\n':
			a.line++
			c = ' ' // rows are written one a line
		case '\r':
			c = ' '
		}
		if start == 0 {
			if c == ' ' || c == '\t' {
				continue
			}
			start = a.line
		}
		if long = long || len(a.buf) >= a.max; !long {
			a.buf = append(a.buf, c)
		}
	}
}

// begin reads up to the bracket that opens the array.
func (a *arrayReader) begin() error {
	for !a.open {
		c, err := a.r.ReadByte()
		if err != nil {
			return err
		}
		if c == '\n' {
			a.line++
		}
		a.open = c == '['
	}
	return nil
}

// nesting follows brackets and strings through an array's elements.
type nesting struct {
	depth         int
	text, escaped bool
}

// ends takes one more byte and tells whether it ends an element.
func (n *nesting) ends(c byte) bool {
	switch {
	case n.escaped:
		n.escaped = false
	case n.text:
		n.escaped = c == '\\'
		n.text = c != '"'
	case c == '"':
		n.text = true
	case c == '{' || c == '[':
		n.depth++
	case n.depth > 0 && (c == '}' || c == ']'):
		n.depth--
	case n.depth == 0 && (c == ',' || c == ']'):
		return true
	}
	return false
}
