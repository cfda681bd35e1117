package shard

import (
	"bytes"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// stringLeaf finds a top-level string column and returns its leaf's index.
func stringLeaf(f *parquet.File, name string) (int, error) {
	c := f.Root().Column(name)
	if c == nil {
		return 0, corruptf("there is no column %s", name)
	}
	if !c.Leaf() || c.Type().Kind() != parquet.ByteArray || c.MaxRepetitionLevel() != 0 {
		return 0, corruptf("column %s is %s, not a string", name, kind(c))
	}
	return int(c.Index()), nil
}

// floatLeaf finds a top-level FLOAT column.
func floatLeaf(f *parquet.File, name string) (int, error) {
	c := f.Root().Column(name)
	if c == nil {
		return 0, corruptf("there is no column %s", name)
	}
	if !c.Leaf() || c.Type().Kind() != parquet.Float || c.MaxRepetitionLevel() != 0 {
		return 0, corruptf("column %s is %s, not FLOAT", name, kind(c))
	}
	return int(c.Index()), nil
}

// listLeaf finds the numbers of a list of FLOAT, whatever names its inner
// groups have.
func listLeaf(f *parquet.File, name string) (int, error) {
	top := f.Root().Column(name)
	if top == nil {
		return 0, corruptf("there is no column %s", name)
	}
	c := top
	for !c.Leaf() {
		inner := c.Columns()
		if len(inner) != 1 {
			return 0, corruptf("column %s is %s, not a list of FLOAT", name, kind(top))
		}
		c = inner[0]
	}
	if c.Type().Kind() != parquet.Float || c.MaxRepetitionLevel() != 1 {
		return 0, corruptf("column %s is %s, not a list of FLOAT", name, kind(top))
	}
	return int(c.Index()), nil
}

func kind(c *parquet.Column) string {
	for !c.Leaf() {
		inner := c.Columns()
		if len(inner) != 1 {
			return "a group"
		}
		c = inner[0]
	}
	s := c.Type().String()
	if c.MaxRepetitionLevel() > 0 {
		s = "a list of " + s
	}
	return s
}

// stringColumn appends strings. All strings of a page share its copy.
type stringColumn struct {
	pager
	out *[]string

	text    string
	offsets []uint32 // of the page's values, one more than values
	index   []int32  // dictionary positions, when the page has a dictionary
	at, n   int      // position in the page, rows of the page
	dict    parquet.Dictionary
	words   []string
}

func (c *stringColumn) reset(n int) { *c.out = slices.Grow((*c.out)[:0], n) }

func (c *stringColumn) load() error {
	page, err := c.next()
	if err != nil {
		return err
	}
	c.at, c.n = 0, int(page.NumRows())
	if page.NumNulls() > 0 {
		return corruptf("a null among rows %d to %d", c.first+c.row, c.first+c.row+int64(c.n)-1)
	}
	data := page.Data()
	if d := page.Dictionary(); d != nil {
		c.index = data.Int32()
		if d != c.dict {
			c.words = wordsOf(d)
			c.dict = d
		}
		if len(c.index) != c.n {
			return corruptf("a page of %d rows has %d values", c.n, len(c.index))
		}
		return nil
	}
	values, offsets := data.ByteArray()
	c.index, c.text = nil, string(values)
	c.offsets = append(c.offsets[:0], offsets...)
	if len(offsets) != c.n+1 {
		return corruptf("a page of %d rows has %d values", c.n, len(offsets)-1)
	}
	return nil
}

func wordsOf(d parquet.Dictionary) []string {
	data := d.Page().Data()
	values, offsets := data.ByteArray()
	text := string(values)
	words := make([]string, max(len(offsets)-1, 0))
	for i := range words {
		words[i] = text[offsets[i]:offsets[i+1]]
	}
	return words
}

func (c *stringColumn) append(n int) error {
	for n > 0 {
		if c.at == c.n {
			if err := c.load(); err != nil {
				return err
			}
			continue
		}
		k := min(n, c.n-c.at)
		for i := c.at; i < c.at+k; i++ {
			if c.index != nil {
				*c.out = append(*c.out, c.words[c.index[i]])
			} else {
				*c.out = append(*c.out, c.text[c.offsets[i]:c.offsets[i+1]])
			}
		}
		c.at += k
		c.row += int64(k)
		n -= k
	}
	return nil
}

func (c *stringColumn) skipTo(row int64) error {
	if row-c.row > int64(c.n-c.at) {
		if ok, err := c.seek(row); err != nil || ok {
			c.at, c.n = 0, 0
			return err
		}
	}
	for c.row < row {
		if c.at == c.n {
			if err := c.load(); err != nil {
				return err
			}
			continue
		}
		k := min(row-c.row, int64(c.n-c.at))
		c.at += int(k)
		c.row += k
	}
	return nil
}

// floatColumn appends numbers: dim a row.
type floatColumn struct {
	pager
	out  *[]float32
	dim  int
	list bool // a list of dim values a row, else one value

	values  []float32 // the page's numbers
	at      int       // the next of them
	defined byte      // the definition level of a number that is there
	reps    []byte    // their repetition levels
	pattern []byte    // the levels of one row: 0 1 1 1 …
	dict    parquet.Dictionary
	words   []float32
	decoded []float32
}

func (c *floatColumn) reset(n int) { *c.out = slices.Grow((*c.out)[:0], n*c.dim) }

// load reads the next page. Its first number may continue a row of the page
// before: version 1 pages need not start with a row.
func (c *floatColumn) load() error {
	page, err := c.next()
	if err != nil {
		return err
	}
	c.at = 0
	c.reps = page.RepetitionLevels()
	if page.NumNulls() > 0 {
		return corruptf("row %d has a null, or no numbers at all", c.first+c.nullRow(page.DefinitionLevels()))
	}
	data := page.Data()
	if d := page.Dictionary(); d != nil {
		if d != c.dict {
			words := d.Page().Data()
			c.words, c.dict = words.Float(), d
		}
		index := data.Int32()
		c.decoded = slices.Grow(c.decoded[:0], len(index))[:len(index)]
		for i, w := range index {
			c.decoded[i] = c.words[w]
		}
		c.values = c.decoded
	} else {
		c.values = data.Float()
	}
	if int64(len(c.values)) != page.NumValues() {
		return corruptf("a page of %d values holds %d", page.NumValues(), len(c.values))
	}
	if c.list && len(c.reps) != len(c.values) {
		return corruptf("a page of %d values has %d repetition levels", len(c.values), len(c.reps))
	}
	return nil
}

// nullRow finds the group's row of the first value that is not there.
func (c *floatColumn) nullRow(defs []byte) int64 {
	row := c.row
	for i, d := range defs {
		if i > 0 && (len(c.reps) == 0 || c.reps[i] == 0) {
			row++
		}
		if d < c.defined {
			break
		}
	}
	return row
}

func (c *floatColumn) append(n int) error { return c.take(int64(n), true) }

func (c *floatColumn) skipTo(row int64) error {
	if row-c.row > int64((len(c.values)-c.at)/c.dim) {
		if ok, err := c.seek(row); err != nil || ok {
			c.values, c.at = nil, 0
			return err
		}
	}
	return c.take(row-c.row, false)
}

// take goes n rows further, and keeps their numbers if keep is set.
func (c *floatColumn) take(n int64, keep bool) error {
	need := n * int64(c.dim)
	in := 0 // numbers of the current row that are behind
	for need > 0 {
		if c.at == len(c.values) {
			if err := c.load(); err != nil {
				return err
			}
			continue
		}
		k := int(min(need, int64(len(c.values)-c.at)))
		if c.list {
			if err := c.checkRows(c.reps[c.at:c.at+k], in, c.first+c.row); err != nil {
				return err
			}
		}
		if keep {
			*c.out = append(*c.out, c.values[c.at:c.at+k]...)
		}
		c.at += k
		need -= int64(k)
		c.row += int64((in + k) / c.dim)
		in = (in + k) % c.dim
	}
	if c.list && n > 0 {
		return c.checkEnd()
	}
	return nil
}

// checkRows compares repetition levels with those of whole rows; in numbers of
// the first row went before.
func (c *floatColumn) checkRows(reps []byte, in int, row int64) error {
	if len(c.pattern) != c.dim {
		c.pattern = bytes.Repeat([]byte{1}, c.dim)
		c.pattern[0] = 0
	}
	for len(reps) > 0 {
		k := min(len(reps), c.dim-in)
		if !bytes.Equal(reps[:k], c.pattern[in:in+k]) {
			if in == 0 && reps[0] != 0 && row > c.first {
				return corruptf("row %d has more than %d numbers", row-1, c.dim)
			}
			return corruptf("row %d has not %d numbers", row, c.dim)
		}
		reps, in = reps[k:], 0
		row++
	}
	return nil
}

// checkEnd makes sure that the row just read has no more numbers: on to the
// next page if need be.
func (c *floatColumn) checkEnd() error {
	for c.at == len(c.values) {
		if c.row == c.rows {
			if n := c.chunk.NumValues(); n != c.rows*int64(c.dim) {
				return corruptf("%d rows of dimension %d have %d numbers", c.rows, c.dim, n)
			}
			return nil
		}
		if err := c.load(); err != nil {
			return err
		}
	}
	if c.reps[c.at] != 0 || c.row == c.rows {
		return corruptf("row %d has more than %d numbers", c.first+c.row-1, c.dim)
	}
	return nil
}
