package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"sync"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// plainColumn reads vectors whose pages are as Writer writes them: version 2,
// uncompressed, PLAIN, whole rows of dim numbers without a null. The numbers of
// such a page are read to where they are wanted, and its levels compared with
// what they must be, where parquet-go unpacks the levels and copies both several
// times. As soon as something is otherwise the rest of the row group is
// floatColumn's, which reads all that Parquet allows and says what is wrong.
type plainColumn struct {
	floatColumn
	file   io.ReaderAt
	off    int64 // where the next page begins
	end    int64 // where the column chunk ends
	levels *levels

	header  format.PageHeader
	buf     []byte // header, levels, and the numbers that are not read to out at once
	ahead   int    // bytes to read with the next header: the last page's header and levels
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

func (c *plainColumn) skipTo(row int64) error {
	if row-c.row > int64(c.n-c.next) && !c.slow {
		if err := c.jump(row); err != nil {
			return err
		}
	}
	return c.through(row-c.row, false)
}

// jump goes to the page of a row by the offset index, where there is one.
// Without, the headers of the pages between tell the way.
func (c *plainColumn) jump(row int64) error {
	chunk, ok := c.chunk.(*parquet.FileColumnChunk)
	if !c.indexed || !ok {
		return nil
	}
	index, err := chunk.OffsetIndex()
	if err != nil {
		c.indexed = false
		if errors.Is(err, parquet.ErrMissingOffsetIndex) {
			return nil
		}
		return err
	}
	at := sort.Search(index.NumPages(), func(i int) bool { return index.FirstRowIndex(i) > row }) - 1
	if at < 0 || index.FirstRowIndex(at) <= c.row {
		return nil
	}
	off := index.Offset(at)
	if off < c.off || off >= c.end {
		return corruptf("the offset index has row %d at byte %d, outside of its column", c.first+row, off)
	}
	c.off, c.row, c.next, c.n = off, index.FirstRowIndex(at), 0, 0
	return nil
}

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
			if c.numbers != nil { // otherwise page has put them there
				copy(bytesOf((*c.out)[at:]), c.numbers[c.next*size:(c.next+k)*size])
			}
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

// page makes the next page the current one and reports whether it could. Of a page
// of no more than the n rows that are gone through the numbers are not kept here:
// they are read to behind the end of out, or, unless keep is set, not at all.
func (c *plainColumn) page(n int64, keep bool) (bool, error) {
	head := c.room(int(min(int64(max(headerBytes, c.ahead)), c.end-c.off)))
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
	levels := int64(v.RepetitionLevelsByteLength) + int64(v.DefinitionLevelsByteLength)
	switch {
	case h.Type != format.DataPageV2 || !h.DataPageHeaderV2.Valid || v.Encoding != format.Plain || v.NumNulls != 0,
		h.UncompressedPageSize != h.CompressedPageSize || size > maxPlain || size > c.end-body,
		rows < 1 || rows > c.rows-c.row || int64(v.NumValues) != rows*int64(c.dim),
		v.RepetitionLevelsByteLength < 0 || v.DefinitionLevelsByteLength < 0,
		levels+4*rows*int64(c.dim) != size:
		return false, nil
	}
	if c.row+rows == c.rows && body+size != c.end {
		return false, nil // numbers behind the last row
	}
	c.next, c.n = 0, int(rows)
	c.numbers = nil
	c.off = body + size
	whole := rows <= n
	if !keep && whole {
		return true, nil
	}
	ok, err := c.load(body, int(levels), head[r.BytesRead():], whole)
	if !ok || err != nil {
		c.n = 0
	}
	return ok, err
}

// load reads the levels and numbers of a page, whose first bytes are known, and
// reports whether they are as they must be. The numbers go to behind the end of
// out, or to c.numbers.
func (c *plainColumn) load(body int64, levels int, known []byte, toOut bool) (bool, error) {
	c.ahead = headerBytes + levels
	size := 4 * c.n * c.dim
	if levels > len(known) {
		known = c.room(levels)
		if err := c.readAt(known, body); err != nil {
			return false, err
		}
	}
	sum := crc32.ChecksumIEEE(known[:levels])
	if !c.sound(known[:levels]) {
		return false, nil
	}
	var to []byte
	if toOut {
		at := len(*c.out)
		*c.out = slices.Grow(*c.out, c.n*c.dim)
		to = bytesOf((*c.out)[at : at+c.n*c.dim])
	} else {
		to = c.room(size)
		c.numbers = to
	}
	if err := c.readAt(to, body+int64(levels)); err != nil {
		return false, err
	}
	return c.header.CRC == 0 || uint32(c.header.CRC) == crc32.Update(sum, crc32.IEEETable, to), nil
}

// sound compares a page's levels with those of whole rows.
func (c *plainColumn) sound(data []byte) bool {
	want, err := c.levels.of(c.n, c.dim)
	a := int(c.header.DataPageHeaderV2.V.RepetitionLevelsByteLength)
	return err == nil && bytes.Equal(data[:a], want[0]) && bytes.Equal(data[a:], want[1])
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
