package shard

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// scan reads some columns of one row group in step.
type scan struct {
	group   parquet.RowGroup
	first   int64 // number in the file of the group's row 0
	rows    int64
	indexed bool // offset indexes may be used
	columns []column
	buf     []int64
}

// column appends rows of one column to a slice.
type column interface {
	reset(n int)            // empties the slice and makes room for n rows
	skipTo(row int64) error // row of the group, not before the current one
	append(n int) error     // appends the next n rows
	name() string
	close()
}

func newScan(g parquet.RowGroup, first int64, indexed bool) *scan {
	return &scan{group: g, first: first, rows: g.NumRows(), indexed: indexed}
}

func (s *scan) strings(leaf int, name string, out *[]string) {
	s.columns = append(s.columns, &stringColumn{pager: s.pager(leaf, name), out: out})
}

func (s *scan) floats(leaf int, name string, out *[]float32) {
	s.columns = append(s.columns, &floatColumn{pager: s.pager(leaf, name), out: out, dim: 1})
}

// vectors reads from file, where meta says the column chunk lies, as directly as
// its pages allow.
func (s *scan) vectors(leaf int, name string, dim int, out *[]float32, file io.ReaderAt, meta *format.ColumnMetaData, known *levels) {
	c := floatColumn{pager: s.pager(leaf, name), out: out, dim: dim, list: true}
	if f, ok := c.chunk.(*parquet.FileColumnChunk); ok {
		c.defined = byte(f.Node().(*parquet.Column).MaxDefinitionLevel())
	}
	if p := newPlain(c, file, meta, known); p != nil {
		s.columns = append(s.columns, p)
		return
	}
	s.columns = append(s.columns, &c)
}

func (s *scan) pager(leaf int, name string) pager {
	return pager{chunk: s.group.ColumnChunks()[leaf], column: name, first: s.first, rows: s.rows, indexed: s.indexed}
}

func (s *scan) close() {
	for _, c := range s.columns {
		_ = guard(func() error { c.close(); return nil })
	}
}

// run reads all rows of the group, or those of the file that only lists, in
// blocks of at most maxRows, and calls fn after each.
func (s *scan) run(only []int64, maxRows int, fn func(first int64, rows []int64) error) error {
	if only == nil {
		for at := int64(0); at < s.rows; {
			n := int(min(int64(maxRows), s.rows-at))
			if err := s.fill(n, func(c column) error { return c.append(n) }); err != nil {
				return err
			}
			if err := fn(s.first+at, nil); err != nil {
				return err
			}
			at += int64(n)
		}
		return nil
	}
	for len(only) > 0 {
		rows := only[:min(maxRows, len(only))]
		only = only[len(rows):]
		if err := s.fill(len(rows), func(c column) error { return s.pick(c, rows) }); err != nil {
			return err
		}
		s.buf = append(s.buf[:0], rows...) // fn may not change the caller's rows
		if err := fn(rows[0], s.buf); err != nil {
			return err
		}
	}
	return nil
}

// pick appends the given rows of the file, run by run.
func (s *scan) pick(c column, rows []int64) error {
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && rows[j] == rows[j-1]+1 {
			j++
		}
		if err := c.skipTo(rows[i] - s.first); err != nil {
			return err
		}
		if err := c.append(j - i); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func (s *scan) fill(n int, read func(column) error) error {
	for _, c := range s.columns {
		err := guard(func() error {
			c.reset(n)
			return read(c)
		})
		if err != nil {
			return fmt.Errorf("read column %s: %w", c.name(), err)
		}
	}
	return nil
}

// pager hands out the pages of one column chunk. row is the group's row that
// comes next: the first of the page's rest.
type pager struct {
	chunk   parquet.ColumnChunk
	column  string
	first   int64
	rows    int64 // of the group
	indexed bool

	pages parquet.Pages
	page  parquet.Page
	row   int64
}

func (p *pager) name() string { return p.column }

// next loads the next page; io.ErrUnexpectedEOF says that there is none.
func (p *pager) next() (parquet.Page, error) {
	if p.pages == nil {
		p.pages = p.chunk.Pages()
	}
	p.release()
	page, err := p.pages.ReadPage()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = corruptf("the column ends at row %d: %w", p.first+p.row, io.ErrUnexpectedEOF)
		}
		return nil, err
	}
	p.page = page
	return page, nil
}

// seek moves to the group's row by the offset index and reports whether it
// could; p.row is then the row, and no page is loaded.
func (p *pager) seek(row int64) (bool, error) {
	if !p.indexed {
		return false, nil
	}
	c, ok := p.chunk.(*parquet.FileColumnChunk)
	if !ok {
		return false, nil
	}
	if _, err := c.OffsetIndex(); err != nil {
		p.indexed = false // a file without one is read page by page
		if errors.Is(err, parquet.ErrMissingOffsetIndex) {
			return false, nil
		}
		return false, err
	}
	if p.pages == nil {
		p.pages = p.chunk.Pages()
	}
	p.release()
	if err := p.pages.SeekToRow(row); err != nil {
		return false, corruptf("seek to row %d: %w", p.first+row, err)
	}
	p.row = row
	return true, nil
}

func (p *pager) release() {
	if p.page != nil {
		parquet.Release(p.page)
		p.page = nil
	}
}

func (p *pager) close() {
	p.release()
	if p.pages != nil {
		_ = p.pages.Close()
		p.pages = nil
	}
}
