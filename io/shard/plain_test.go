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
		only []int64
		bad  bool // levels that no page has
	}{
		"all":           {},
		"some":          {only: []int64{0, 1, 190, 191, 192, 700, 999}},
		"other levels":  {bad: true},
		"some of these": {only: []int64{3, 500, 998}, bad: true},
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
			sc := newScan(r.f.RowGroups()[0], 0, false)
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
