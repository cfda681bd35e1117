package shard

import (
	"bytes"
	"slices"
	"testing"
)

// TestPlain reads Writer's pages directly, all rows and some, and leaves a page
// with other levels than it should have to floatColumn.
func TestPlain(t *testing.T) {
	const n, dim = 1000, 384 // several pages
	want := rows(n, dim)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, Meta{Dim: dim})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		only    []int64
		indexed bool
		bad     bool // levels that no page has
	}{
		"all":           {},
		"some":          {only: []int64{0, 1, 190, 191, 192, 700, 999}},
		"by the index":  {only: []int64{0, 1, 190, 191, 192, 700, 999}, indexed: true},
		"last alone":    {only: []int64{999}, indexed: true},
		"other levels":  {bad: true},
		"some of these": {only: []int64{3, 500, 998}, bad: true},
		"these by it":   {only: []int64{3, 500, 998}, indexed: true, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
			if err != nil {
				t.Fatal(err)
			}
			if c.bad {
				r.levels.byRows = map[int][2][]byte{}
				for k := range n {
					r.levels.byRows[k+1] = [2][]byte{{1}, {2}}
				}
			}
			var out, got, expected []float32
			sc := newScan(r.f.RowGroups()[0], 0, c.indexed)
			defer sc.close()
			sc.vectors(r.leaf.vector, colVector, dim, &out, r.file, &r.f.Metadata().RowGroups[0].Columns[r.leaf.vector].MetaData, &r.levels)
			if err := sc.run(c.only, 100, func(int64, []int64) error { got = append(got, out...); return nil }); err != nil {
				t.Fatal(err)
			}
			expected = want.Vectors
			if c.only != nil {
				expected = nil
				for _, row := range c.only {
					expected = append(expected, want.Vectors[row*dim:(row+1)*dim]...)
				}
			}
			if !slices.Equal(got, expected) {
				t.Error("other numbers than were written")
			}
			if p := sc.columns[0].(*plainColumn); p.slow != c.bad {
				t.Errorf("floatColumn read: %v, want %v", p.slow, c.bad)
			}
		})
	}
}

// TestOnlyReadsLittle reads one row of a row group: its page alone, not those
// before it, which a remote file would have to fetch.
func TestOnlyReadsLittle(t *testing.T) {
	const n, dim = 4096, 384
	data := write(t, rows(n, dim))
	in := &counted{r: bytes.NewReader(data)}
	r, err := Open(in, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	in.bytes, in.reads = 0, 0
	got, err := collect(r, ScanOptions{Vectors: true, Only: []int64{4000}})
	if err != nil || !slices.Equal(got.Vectors, rows(n, dim).Vectors[4000*dim:4001*dim]) {
		t.Fatal(err)
	}
	if in.bytes > 3*pageBytes || in.reads > 8 {
		t.Errorf("%d bytes in %d reads for one row of %d bytes", in.bytes, in.reads, 4*dim)
	}
}

type counted struct {
	r            *bytes.Reader
	bytes, reads int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.bytes, c.reads = c.bytes+len(p), c.reads+1
	return c.r.ReadAt(p, off)
}

// TestGroups reads a shard by parts of its row groups: the same blocks as at once.
func TestGroups(t *testing.T) {
	const n, dim = 3*RowGroupRows + 100, 2
	data := write(t, rows(n, dim))
	r := open(t, data)
	if got := r.GroupRows(); !slices.Equal(got, []int64{RowGroupRows, RowGroupRows, RowGroupRows, 100}) {
		t.Fatalf("row groups of %v rows", got)
	}
	type block struct {
		first int64
		n     int
		id    string
	}
	read := func(o ScanOptions) (out []block) {
		o.IDs, o.Vectors, o.MaxRows = true, true, 1000
		if err := r.Blocks(o, func(b *Block) error { out = append(out, block{b.First, b.Len(), b.AssetID[0]}); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	var parts []block
	for _, g := range []Groups{{0, 1}, {1, 3}, {3, 4}, {4, 9}} {
		parts = append(parts, read(ScanOptions{Groups: g})...)
	}
	if whole := read(ScanOptions{}); !slices.Equal(whole, parts) {
		t.Errorf("by parts %v, at once %v", parts, whole)
	}
	only := []int64{5, RowGroupRows + 1, 2*RowGroupRows + 7, 3*RowGroupRows + 2}
	if got := read(ScanOptions{Groups: Groups{1, 3}, Only: only}); len(got) != 2 || got[0].first != only[1] || got[1].first != only[2] {
		t.Errorf("some rows of some groups: %v", got)
	}
}
