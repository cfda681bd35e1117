package shard

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/parquet-go/parquet-go"
)

const (
	// ScoreGroupRows is the number of rows of a score file's row group, fewer
	// where more than 512 columns would make it larger than 256 MiB; the last one
	// may be shorter.
	ScoreGroupRows = 128 << 10
	// MaxScoreColumns is the largest number of functions in one file.
	MaxScoreColumns = 4096

	scoreChunk      = 4096 // row groups are multiples of so many rows
	scoreGroupBytes = 256 << 20
)

// groupRows keeps the row groups of very many columns within memory.
func groupRows(columns int) int {
	rows := scoreGroupBytes / (4 * max(columns, 1)) / scoreChunk * scoreChunk
	return min(ScoreGroupRows, max(scoreChunk, rows))
}

// orderedGroup is a parquet.Group that keeps its fields in order.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g orderedGroup) Fields() []parquet.Field { return g.fields }

type field struct {
	parquet.Node
	name string
}

func (f field) Name() string { return f.name }

func (f field) Value(base reflect.Value) reflect.Value {
	return base.MapIndex(reflect.ValueOf(f.name))
}

// scoreSchema is asset_id, version and the columns, in this order.
func scoreSchema(columns []string) *parquet.Schema {
	g := orderedGroup{Group: parquet.Group{}}
	add := func(name string, n parquet.Node) {
		g.Group[name] = n
		g.fields = append(g.fields, field{n, name})
	}
	id := parquet.Compressed(parquet.String(), &parquet.Zstd)
	// Measured on 10M random scores: zstd saves nothing on plain numbers, and 8 %
	// after byte-stream-split, which doubles the time to write and to read.
	score := parquet.Compressed(parquet.Encoded(parquet.Leaf(parquet.FloatType), &parquet.Plain), &parquet.Uncompressed)
	add(colAsset, id)
	add(colVersion, id)
	for _, c := range columns {
		add(c, score)
	}
	return parquet.NewSchema("scores", g)
}

// Scores reads a score file. Several calls of Read may go on at once.
type Scores struct {
	f       *parquet.File
	columns []string
	leaf    map[string]int
	ids     [2]int
}

// OpenScores reads the footer of a score file of size bytes. Every FLOAT column
// is a score column.
func OpenScores(r io.ReaderAt, size int64) (*Scores, error) {
	s := &Scores{leaf: map[string]int{}}
	if err := guard(func() error { return s.open(r, size) }); err != nil {
		return nil, fmt.Errorf("open scores: %w", err)
	}
	return s, nil
}

func (s *Scores) open(r io.ReaderAt, size int64) (err error) {
	if s.f, err = openFile(r, size); err != nil {
		return err
	}
	if err := checkFormat(s.f); err != nil {
		return err
	}
	for i, name := range []string{colAsset, colVersion} {
		if s.ids[i], err = stringLeaf(s.f, name); err != nil {
			return err
		}
	}
	for _, c := range s.f.Root().Columns() {
		name := c.Name()
		if name == colAsset || name == colVersion {
			continue
		}
		if s.leaf[name], err = floatLeaf(s.f, name); err != nil {
			return err
		}
		s.columns = append(s.columns, name)
	}
	return nil
}

// Rows is the number of rows.
func (s *Scores) Rows() int64 { return s.f.NumRows() }

// Columns are the names of the score columns, in the file's order.
func (s *Scores) Columns() []string { return s.columns }

// Read reads columns of all rows and calls fn with a block of at most 8,192
// rows at a time: first is the number of its first row, cols[c][i] the score of
// asset ids[i] in columns[c]. The slices are used again once fn returns. An
// error of fn ends the scan and is returned as it is.
func (s *Scores) Read(columns []string, fn func(first int64, ids, versions []string, cols [][]float32) error) error {
	return s.read(columns, true, fn)
}

// ReadColumns is Read without ids and versions.
func (s *Scores) ReadColumns(columns []string, fn func(first int64, cols [][]float32) error) error {
	return s.read(columns, false, func(first int64, _, _ []string, cols [][]float32) error { return fn(first, cols) })
}

const scoreBlock = 8192

func (s *Scores) read(columns []string, ids bool, fn func(first int64, ids, versions []string, cols [][]float32) error) error {
	for _, c := range columns {
		if _, ok := s.leaf[c]; !ok {
			return fmt.Errorf("read scores: there is no column %q; the file has %s", c, strings.Join(s.columns, ", "))
		}
	}
	var names [2][]string
	cols := make([][]float32, len(columns))
	first := int64(0)
	for _, g := range s.f.RowGroups() {
		err := func() error {
			sc := newScan(g, first, false)
			defer sc.close()
			if ids {
				sc.strings(s.ids[0], colAsset, &names[0])
				sc.strings(s.ids[1], colVersion, &names[1])
			}
			for i, c := range columns {
				sc.floats(s.leaf[c], c, &cols[i])
			}
			return sc.run(nil, scoreBlock, func(first int64, _ []int64) error {
				return fn(first, names[0], names[1], cols)
			})
		}()
		if err != nil {
			return err
		}
		first += g.NumRows()
	}
	return nil
}
