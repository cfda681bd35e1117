package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// Reader reads a shard. Several calls of Blocks may go on at once.
type Reader struct {
	file   io.ReaderAt
	f      *parquet.File
	meta   Meta
	leaf   vectorLeaves
	seek   bool // offset indexes can be trusted
	levels levels
}

type vectorLeaves struct{ asset, version, hash, vector int }

// Open reads the footer of a shard of size bytes. Files that other tools have
// rewritten (delta-rs's optimize, Spark) are read too; when their footers lost
// winnow's entries, Meta holds nothing but Dim.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	s := &Reader{file: r}
	err := guard(func() error { return s.open(r, size) })
	if err != nil {
		return nil, fmt.Errorf("open shard: %w", err)
	}
	return s, nil
}

func openFile(r io.ReaderAt, size int64) (*parquet.File, error) {
	if err := checkTail(r, size); err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(pageBytes))
	if err != nil {
		return nil, corruptf("%w", err)
	}
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	return f, nil
}

// checkTail reads the footer's length before parquet-go makes room for it.
func checkTail(r io.ReaderAt, size int64) error {
	const tail = 8 // length, magic
	var b [tail]byte
	if size < tail+4 {
		return corruptf("%d bytes are no Parquet file", size)
	}
	if _, err := r.ReadAt(b[:], size-tail); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if magic := string(b[4:]); magic != "PAR1" {
		return corruptf("it ends in %q, not in the magic footer PAR1", magic)
	}
	if n := int64(binary.LittleEndian.Uint32(b[:])); n > size-tail-4 {
		return corruptf("its footer should have %d bytes, the whole file has %d", n, size)
	}
	return nil
}

// checkFooter compares what the footer claims with what can be.
func checkFooter(f *parquet.File, size int64) error {
	rows := int64(0)
	for i, g := range f.Metadata().RowGroups {
		if g.NumRows < 0 {
			return corruptf("row group %d has %d rows", i, g.NumRows)
		}
		rows += g.NumRows
		for _, c := range g.Columns {
			m := &c.MetaData
			start := m.DataPageOffset
			if m.DictionaryPageOffset != 0 {
				start = min(start, m.DictionaryPageOffset)
			}
			if start < 0 || m.TotalCompressedSize < 0 || start > size || m.TotalCompressedSize > size-start {
				return corruptf("row group %d: column %v lies outside the file", i, m.PathInSchema)
			}
		}
	}
	if rows != f.NumRows() {
		return corruptf("the footer counts %d rows, its row groups %d", f.NumRows(), rows)
	}
	return nil
}

// ordered reports whether parquet-go finds the right offset index of every row
// group: it looks by ordinal, which some writers leave 0.
func ordered(f *parquet.File) bool {
	for i, g := range f.Metadata().RowGroups {
		if int(g.Ordinal) != i {
			return false
		}
	}
	return true
}

func (s *Reader) open(r io.ReaderAt, size int64) error {
	f, err := openFile(r, size)
	if err != nil {
		return err
	}
	s.f, s.seek = f, ordered(f)
	if s.leaf.asset, err = stringLeaf(f, colAsset); err != nil {
		return err
	}
	if s.leaf.version, err = stringLeaf(f, colVersion); err != nil {
		return err
	}
	if s.leaf.hash, err = stringLeaf(f, colHash); err != nil {
		return err
	}
	if s.leaf.vector, err = listLeaf(f, colVector); err != nil {
		return err
	}
	return s.readMeta()
}

// checkFormat refuses what a newer winnow has written.
func checkFormat(f *parquet.File) error {
	v, ok := f.Lookup(keyFormat)
	if !ok {
		return nil // another tool's
	}
	if n, err := strconv.Atoi(v); err != nil || n < 1 || n > formatVersion {
		return fmt.Errorf("the file has format %q, this winnow reads up to %d; use a newer winnow", v, formatVersion)
	}
	return nil
}

func (s *Reader) readMeta() error {
	if err := checkFormat(s.f); err != nil {
		return err
	}
	m := &s.meta
	m.Embedding, _ = s.f.Lookup(keyEmbedding)
	m.Fingerprint, _ = s.f.Lookup(keyFingerprint)
	normalized, _ := s.f.Lookup(keyNormalized)
	m.Normalized = normalized == "true"
	if v, ok := s.f.Lookup(keyDim); ok {
		dim, err := strconv.Atoi(v)
		if err != nil || dim < 1 || dim > MaxDim {
			return corruptf("%s is %q", keyDim, v)
		}
		m.Dim = dim
		return nil
	}
	return s.countDim()
}

// countDim divides the values of the first row group by its rows. That all
// rows have so many shows when they are read.
func (s *Reader) countDim() error {
	for _, g := range s.f.RowGroups() {
		n := g.NumRows()
		if n == 0 {
			continue
		}
		values := g.ColumnChunks()[s.leaf.vector].NumValues()
		if values%n != 0 || values/n < 1 || values/n > MaxDim {
			return corruptf("column %s: %d rows have %d numbers, not equally many each", colVector, n, values)
		}
		s.meta.Dim = int(values / n)
		return nil
	}
	return nil
}

// Rows is the number of rows.
func (s *Reader) Rows() int64 { return s.f.NumRows() }

// Meta describes the vectors.
func (s *Reader) Meta() Meta { return s.meta }

// ScanOptions say which columns and rows Blocks reads.
type ScanOptions struct {
	Vectors  bool    // fill Vectors
	AssetIDs bool    // fill AssetID
	Keys     bool    // fill AssetID and Version
	IDs      bool    // fill AssetID, Version and ContentHash
	MaxRows  int     // rows a block at most; default RowGroupRows
	Only     []int64 // ascending row numbers; nil reads all rows
	Groups   Groups  // row groups; none reads all
}

// Groups are row groups From to To−1 of a file.
type Groups struct{ From, To int }

// GroupRows are the numbers of rows of the row groups, which blocks never cross.
func (s *Reader) GroupRows() []int64 {
	var out []int64
	for _, g := range s.f.RowGroups() {
		out = append(out, g.NumRows())
	}
	return out
}

// Blocks reads the rows in order and calls fn with a block at a time. The
// block's slices are used again once fn returns; its strings may be kept, but
// keep up to a page alive (strings.Clone lets go of it). An error of fn ends
// the scan and is returned as it is.
func (s *Reader) Blocks(o ScanOptions, fn func(*Block) error) error {
	if o.MaxRows <= 0 {
		o.MaxRows = RowGroupRows
	}
	if err := checkSelection(o.Only, s.Rows()); err != nil {
		return fmt.Errorf("read shard: %w", err)
	}
	b := &Block{Dim: s.meta.Dim}
	first := int64(0)
	for i, g := range s.f.RowGroups() {
		last := first + g.NumRows()
		if o.Groups != (Groups{}) && (i < o.Groups.From || i >= o.Groups.To) {
			first = last
			continue
		}
		only := o.Only
		if only != nil {
			from, _ := slices.BinarySearch(only, first)
			n, _ := slices.BinarySearch(only, last)
			only, o.Only = only[from:n], only[n:]
			if len(only) == 0 {
				first = last
				continue
			}
		}
		if err := s.group(i, g, first, only, o, b, fn); err != nil {
			return err
		}
		first = last
	}
	return nil
}

func checkSelection(only []int64, rows int64) error {
	for i, r := range only {
		if r < 0 || r >= rows {
			return fmt.Errorf("row %d was asked for, the file has %d rows", r, rows)
		}
		if i > 0 && r <= only[i-1] {
			return fmt.Errorf("the rows asked for do not ascend: %d after %d", r, only[i-1])
		}
	}
	return nil
}

// group reads the rows of row group i whose row 0 is number first of the file;
// only lists rows of the file.
func (s *Reader) group(i int, g parquet.RowGroup, first int64, only []int64, o ScanOptions, b *Block, fn func(*Block) error) (err error) {
	sc := newScan(g, first, s.seek && only != nil)
	defer sc.close()
	if o.AssetIDs || o.Keys || o.IDs {
		sc.strings(s.leaf.asset, colAsset, &b.AssetID)
	}
	if o.Keys || o.IDs {
		sc.strings(s.leaf.version, colVersion, &b.Version)
	}
	if o.IDs {
		sc.strings(s.leaf.hash, colHash, &b.ContentHash)
	}
	if o.Vectors {
		sc.vectors(s.leaf.vector, colVector, s.meta.Dim, &b.Vectors, s.file, &s.f.Metadata().RowGroups[i].Columns[s.leaf.vector].MetaData, &s.levels)
	}
	return sc.run(only, o.MaxRows, func(first int64, rows []int64) error {
		b.First, b.Rows = first, rows
		return fn(b)
	})
}
