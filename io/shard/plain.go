package shard

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// plainColumn reads vectors whose pages are as Writer writes them: version 2,
// uncompressed, PLAIN, whole rows of dim numbers without a null. The numbers of
// such a page are copied once, and its levels compared with what they must be,
// where parquet-go unpacks the levels and copies both several times. As soon as
// something is otherwise the rest of the row group is floatColumn's, which reads
// all that Parquet allows and says what is wrong with the rest.
type plainColumn struct {
	floatColumn
	file   io.ReaderAt
	off    int64 // where the next page begins
	end    int64 // where the column chunk ends
	levels *levels

	header  format.PageHeader
	buf     []byte
	numbers []byte // the page's
	next    int    // the page's next row
	n       int    // its rows
	slow    bool   // floatColumn reads on
}

// levels are the encoded repetition and definition levels of pages, by their
// number of rows. They are the same for all row groups of a file.
type levels struct {
	mu     sync.Mutex
	byRows map[int][2][]byte
}

const (
	headerBytes = 128 // more than a page header of ours has
	maxPlain    = 64 << 20
)

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// newPlain returns nil where the column chunk cannot have such pages.
func newPlain(slow floatColumn, file io.ReaderAt, meta *format.ColumnMetaData, known *levels) *plainColumn {
	if !littleEndian || meta.Codec != format.Uncompressed || meta.DictionaryPageOffset != 0 || slow.defined != 1 {
		return nil
	}
	return &plainColumn{floatColumn: slow, file: file, off: meta.DataPageOffset, end: meta.DataPageOffset + meta.TotalCompressedSize, levels: known}
}

func (c *plainColumn) append(n int) error { return c.through(int64(n), true) }

func (c *plainColumn) skipTo(row int64) error { return c.through(row-c.row, false) }

// through goes n rows further, and keeps their numbers if keep is set.
func (c *plainColumn) through(n int64, keep bool) error {
	size := 4 * c.dim
	for n > 0 && !c.slow {
		if c.next == c.n {
			if ok, err := c.page(n, keep); err != nil {
				return err
			} else if !ok {
				c.slow = true
				break
			}
		}
		k := int(min(n, int64(c.n-c.next)))
		if keep {
			at := len(*c.out)
			*c.out = slices.Grow(*c.out, k*c.dim)[:at+k*c.dim]
			copy(bytesOf((*c.out)[at:]), c.numbers[c.next*size:(c.next+k)*size])
		}
		c.next += k
		c.row += int64(k)
		n -= int64(k)
	}
	if n == 0 {
		return nil
	}
	return c.rest(n, keep)
}

// rest leaves n rows, and all that follow, to floatColumn.
func (c *plainColumn) rest(n int64, keep bool) error {
	if c.pages == nil && c.row > 0 {
		at := c.row
		c.row = 0
		if err := c.floatColumn.skipTo(at); err != nil {
			return err
		}
	}
	if keep {
		return c.floatColumn.append(int(n))
	}
	return c.floatColumn.skipTo(c.row + n)
}

// page makes the next page the current one and reports whether it could. A page
// of fewer rows than skip, when none is kept, is not read.
func (c *plainColumn) page(skip int64, keep bool) (bool, error) {
	head := c.room(int(min(headerBytes, c.end-c.off)))
	if len(head) == 0 {
		return false, nil
	}
	if err := c.readAt(head, c.off); err != nil {
		return false, err
	}
	var p thrift.CompactProtocol
	r := p.NewReaderFromBytes(head)
	c.header = format.PageHeader{}
	if err := thrift.NewDecoder(r).Decode(&c.header); err != nil {
		return false, nil // floatColumn says it better
	}
	h, v := &c.header, &c.header.DataPageHeaderV2.V
	body := c.off + int64(r.BytesRead())
	rows, size := int64(v.NumRows), int64(h.CompressedPageSize)
	switch {
	case h.Type != format.DataPageV2 || !h.DataPageHeaderV2.Valid || v.Encoding != format.Plain || v.NumNulls != 0,
		h.UncompressedPageSize != h.CompressedPageSize || size > maxPlain || size > c.end-body,
		rows < 1 || rows > c.rows-c.row || int64(v.NumValues) != rows*int64(c.dim),
		v.RepetitionLevelsByteLength < 0 || v.DefinitionLevelsByteLength < 0,
		int64(v.RepetitionLevelsByteLength)+int64(v.DefinitionLevelsByteLength)+4*rows*int64(c.dim) != size:
		return false, nil
	}
	if c.row+rows == c.rows && body+size != c.end {
		return false, nil // numbers behind the last row
	}
	c.next, c.n = 0, int(rows)
	c.numbers = nil
	c.off = body + size
	if !keep && rows <= skip {
		return true, nil
	}
	data := c.room(int(size))
	if err := c.readAt(data, body); err != nil {
		return false, err
	}
	if !c.sound(data) {
		c.n = 0
		return false, nil
	}
	return true, nil
}

// sound checks a page's sum and levels, and finds its numbers.
func (c *plainColumn) sound(data []byte) bool {
	v := &c.header.DataPageHeaderV2.V
	if c.header.CRC != 0 && uint32(c.header.CRC) != crc32.ChecksumIEEE(data) {
		return false
	}
	want, err := c.levels.of(c.n, c.dim)
	if err != nil {
		return false
	}
	a := int(v.RepetitionLevelsByteLength)
	b := a + int(v.DefinitionLevelsByteLength)
	c.numbers = data[b:]
	return bytes.Equal(data[:a], want[0]) && bytes.Equal(data[a:b], want[1])
}

func (c *plainColumn) room(n int) []byte {
	c.buf = slices.Grow(c.buf[:0], n)[:n]
	return c.buf
}

func (c *plainColumn) readAt(p []byte, off int64) error {
	n, err := c.file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// of returns the encoded levels of rows of dim numbers.
func (l *levels) of(rows, dim int) ([2][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if got, ok := l.byRows[rows]; ok {
		return got, nil
	}
	repetition, definition := bytes.Repeat([]byte{1}, rows*dim), bytes.Repeat([]byte{1}, rows*dim)
	for i := 0; i < len(repetition); i += dim {
		repetition[i] = 0
	}
	e := rle.Encoding{BitWidth: 1}
	var got [2][]byte
	var err error
	if got[0], err = e.EncodeLevels(nil, repetition); err != nil {
		return got, err
	}
	if got[1], err = e.EncodeLevels(nil, definition); err != nil {
		return got, err
	}
	if l.byRows == nil || len(l.byRows) > 64 { // pages of a file have a few sizes
		l.byRows = map[int][2][]byte{}
	}
	l.byRows[rows] = got
	return got, nil
}

func bytesOf(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}
