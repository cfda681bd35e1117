package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// MergePart is an index file that Merge takes rows from.
type MergePart struct {
	Path string
	Rows int64
	// Row gives the number of a row of the part in the merged index, or -1 for a row
	// that is left out. Nil: the rows follow those of the parts before, in order.
	Row func(row int64) int64
}

// Merge writes an index of p.Rows rows of all parts, which share one training, to the
// file path. Each part is read list by list, and the result written from beginning
// to end: in memory are the numbers of one list's rows, however many rows there are.
func Merge(ctx context.Context, path string, p Params, parts []MergePart) error {
	err := whole(path, func(temp string) (err error) {
		m := &merger{p: p}
		defer func() { err = errors.Join(err, m.close()) }()
		if err := m.open(parts); err != nil {
			return err
		}
		f, err := os.Create(temp)
		if err != nil {
			return err
		}
		m.w = bufio.NewWriterSize(f, 1<<20)
		if p.Kind == Flat {
			err = m.flat(ctx)
		} else {
			err = m.lists(ctx)
		}
		if err = errors.Join(err, m.w.Flush(), f.Close()); err != nil {
			return err
		}
		return verify(temp, &p)
	})
	if err != nil {
		return fmt.Errorf("merge %d lists of rows: %w", len(parts), err)
	}
	return nil
}

type merger struct {
	p    Params
	w    *bufio.Writer
	from []*mergeSource
	ids  []byte // of the list that is written
	buf  []byte
}

type mergeSource struct {
	MergePart
	f     *os.File
	l     *layout
	at    int64 // where the next list begins
	first int64 // row of its row 0 where Row is nil
}

func (m *merger) open(parts []MergePart) error {
	first := int64(0)
	for _, part := range parts {
		f, err := os.Open(part.Path)
		if err != nil {
			return err
		}
		s := &mergeSource{MergePart: part, f: f, first: first}
		m.from = append(m.from, s)
		p := m.p
		p.Rows = part.Rows
		if s.l, err = layoutOf(f, &p); err != nil {
			return fmt.Errorf("%s: %w", part.Path, err)
		}
		s.at = s.l.dataAt
		first += part.Rows
	}
	if len(parts) == 0 {
		return errors.New("there is nothing to merge")
	}
	return nil
}

func (m *merger) close() (err error) {
	for _, s := range m.from {
		err = errors.Join(err, s.f.Close())
	}
	return err
}

func (s *mergeSource) number(row int64) int64 {
	if s.Row == nil {
		return s.first + row
	}
	return s.Row(row)
}

// lists writes the first part's head with the new number of rows, the sizes of the
// lists, and the lists.
func (m *merger) lists(ctx context.Context) error {
	l := m.from[0].l
	head := make([]byte, l.listsAt)
	if _, err := m.from[0].f.ReadAt(head, 0); err != nil {
		return err
	}
	for _, at := range l.rowsAt {
		binary.LittleEndian.PutUint64(head[at:], uint64(m.p.Rows))
	}
	head = append(head, fourLists...)
	head = binary.LittleEndian.AppendUint64(head, uint64(m.p.NList))
	head = binary.LittleEndian.AppendUint64(head, uint64(m.p.codeSize()))
	head = append(head, fourFull...)
	head = binary.LittleEndian.AppendUint64(head, uint64(m.p.NList))
	sizes, err := m.sizes(ctx)
	if err != nil {
		return err
	}
	for _, n := range sizes {
		head = binary.LittleEndian.AppendUint64(head, uint64(n))
	}
	if _, err := m.w.Write(head); err != nil {
		return err
	}
	for list := range m.p.NList {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.ids = m.ids[:0]
		for _, s := range m.from {
			if err := m.codes(s, s.l.sizes[list]); err != nil {
				return err
			}
		}
		if int64(len(m.ids)) != sizes[list]*idBytes {
			return fmt.Errorf("list %d has %d rows, %d were counted", list, len(m.ids)/idBytes, sizes[list])
		}
		if _, err := m.w.Write(m.ids); err != nil {
			return err
		}
	}
	return nil
}

// sizes counts the rows of each merged list.
func (m *merger) sizes(ctx context.Context) ([]int64, error) {
	sizes := make([]int64, m.p.NList)
	total := int64(0)
	for _, s := range m.from {
		at := s.at
		for list, n := range s.l.sizes {
			if s.Row != nil && n > 0 {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				ids, err := m.read(s, at+n*int64(m.p.codeSize()), n*idBytes)
				if err != nil {
					return nil, err
				}
				at += n * int64(m.p.codeSize()+idBytes)
				n = 0
				for i := 0; i < len(ids); i += idBytes {
					row, err := s.id(ids[i:])
					if err != nil {
						return nil, err
					}
					if s.Row(row) >= 0 {
						n++
					}
				}
			}
			sizes[list] += n
			total += n
		}
	}
	if total != m.p.Rows {
		return nil, fmt.Errorf("there are %d rows, %d were planned", total, m.p.Rows)
	}
	return sizes, nil
}

func (s *mergeSource) id(b []byte) (int64, error) {
	row := int64(binary.LittleEndian.Uint64(b))
	if row < 0 || row >= s.Rows {
		return 0, fmt.Errorf("%s: %w", s.Path, damagedf("it has a row %d, beyond its %d rows", row, s.Rows))
	}
	return row, nil
}

// codes writes the codes of a part's next list, which has n rows, and remembers their
// new numbers.
func (m *merger) codes(s *mergeSource, n int64) error {
	const block = 1 << 20
	size := int64(m.p.codeSize())
	from := s.at
	s.at += n * (size + idBytes)
	step := max(1, block/size)
	for lo := int64(0); lo < n; lo += step {
		k := min(step, n-lo)
		ids, err := m.read(s, from+n*size+lo*idBytes, k*idBytes)
		if err != nil {
			return err
		}
		keep := make([]bool, k)
		for i := range keep {
			row, err := s.id(ids[i*idBytes:])
			if err != nil {
				return err
			}
			if row = s.number(row); row >= 0 {
				keep[i] = true
				m.ids = binary.LittleEndian.AppendUint64(m.ids, uint64(row))
			}
		}
		codes, err := m.read(s, from+lo*size, k*size)
		if err != nil {
			return err
		}
		if err := m.write(codes, keep, size); err != nil {
			return err
		}
	}
	return nil
}

// write writes the kept ones of equally large items.
func (m *merger) write(items []byte, keep []bool, size int64) error {
	for i := 0; i < len(keep); {
		if !keep[i] {
			i++
			continue
		}
		from := i
		for i < len(keep) && keep[i] {
			i++
		}
		if _, err := m.w.Write(items[int64(from)*size : int64(i)*size]); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) read(s *mergeSource, at, n int64) ([]byte, error) {
	if int64(cap(m.buf)) < n {
		m.buf = make([]byte, n)
	}
	m.buf = m.buf[:n]
	if _, err := s.f.ReadAt(m.buf, at); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	return m.buf, nil
}

// flat writes the kept rows of all parts: their order must be that of their numbers.
func (m *merger) flat(ctx context.Context) error {
	if _, err := m.w.Write(flatHead(&m.p)); err != nil {
		return err
	}
	const block = 4096
	size, next := int64(4*m.p.Dim), int64(0)
	for _, s := range m.from {
		for lo := int64(0); lo < s.Rows; lo += block {
			if err := ctx.Err(); err != nil {
				return err
			}
			keep := make([]bool, min(block, s.Rows-lo))
			for i := range keep {
				if row := s.number(lo + int64(i)); row >= 0 {
					if row != next {
						return fmt.Errorf("row %d of a flat index follows row %d", row, next-1)
					}
					keep[i] = true
					next++
				}
			}
			rows, err := m.read(s, flatData+lo*size, int64(len(keep))*size)
			if err != nil {
				return err
			}
			if err := m.write(rows, keep, size); err != nil {
				return err
			}
		}
	}
	if next != m.p.Rows {
		return fmt.Errorf("there are %d rows, %d were planned", next, m.p.Rows)
	}
	return nil
}
