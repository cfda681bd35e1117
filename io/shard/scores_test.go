package shard

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// scoreRows makes n rows of scores in columns z, a, m…: not in sorted order.
func scoreRows(n, columns int) (ids, versions, names []string, cols [][]float32) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("asset-%06d", i))
		versions = append(versions, fmt.Sprint(i%7))
	}
	for c := range columns {
		names = append(names, fmt.Sprintf("%c_function_%d", 'z'-c%26, c))
		col := make([]float32, n)
		for i := range col {
			col[i] = float32(i) * float32(c+1) / 3
		}
		cols = append(cols, col)
	}
	return ids, versions, names, cols
}

func writeScores(t testing.TB, n, columns, block int) []byte {
	t.Helper()
	ids, versions, names, cols := scoreRows(n, columns)
	var buf bytes.Buffer
	w, err := NewScoreWriter(&buf, names)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, uint64(block)))
	for lo := 0; lo < n; {
		hi := min(n, lo+1+rng.IntN(block))
		part := make([][]float32, columns)
		for c := range cols {
			part[c] = cols[c][lo:hi]
		}
		if err := w.Write(ids[lo:hi], versions[lo:hi], part); err != nil {
			t.Fatal(err)
		}
		lo = hi
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func openScores(t testing.TB, data []byte) *Scores {
	t.Helper()
	s, err := OpenScores(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScoresRoundTrip(t *testing.T) {
	for _, c := range []struct{ n, columns int }{{0, 3}, {1, 1}, {5, 0}, {9000, 6}, {ScoreGroupRows, 2}, {ScoreGroupRows + 4097, 3}} {
		t.Run(fmt.Sprintf("%dx%d", c.n, c.columns), func(t *testing.T) {
			ids, versions, names, cols := scoreRows(c.n, c.columns)
			data := writeScores(t, c.n, c.columns, 5000)
			if !bytes.Equal(data, writeScores(t, c.n, c.columns, 70_000)) {
				t.Error("the bytes depend on how the rows were cut")
			}
			s := openScores(t, data)
			if s.Rows() != int64(c.n) || !slices.Equal(s.Columns(), names) {
				t.Fatalf("%d rows, columns %v", s.Rows(), s.Columns())
			}
			next := 0
			backwards := slices.Clone(names)
			slices.Reverse(backwards)
			err := s.Read(backwards, func(first int64, gotIDs, gotVersions []string, got [][]float32) error {
				if int(first) != next {
					t.Fatalf("a block starts at %d, not at %d", first, next)
				}
				n := len(gotIDs)
				if !slices.Equal(gotIDs, ids[next:next+n]) || !slices.Equal(gotVersions, versions[next:next+n]) {
					t.Fatalf("ids of rows %d to %d differ", next, next+n)
				}
				for i := range got {
					if !slices.Equal(got[i], cols[len(cols)-1-i][next:next+n]) {
						t.Fatalf("column %s differs", backwards[i])
					}
				}
				next += n
				return nil
			})
			if err != nil || next != c.n {
				t.Fatalf("%d rows, %v", next, err)
			}
			if c.columns > 0 {
				n := 0
				err := s.ReadColumns(names[:1], func(first int64, got [][]float32) error { n += len(got[0]); return nil })
				if err != nil || n != c.n {
					t.Errorf("ReadColumns: %d rows, %v", n, err)
				}
			}
		})
	}
}

func TestScoresRefuse(t *testing.T) {
	for _, names := range [][]string{{""}, {"a", "a"}, {"a", "A"}, {"asset_id"}, {"Version"}, make([]string, MaxScoreColumns+1)} {
		if _, err := NewScoreWriter(&bytes.Buffer{}, names); err == nil {
			t.Errorf("columns %.40q were accepted", names)
		}
	}
	for name, c := range map[string]struct {
		versions []string
		cols     [][]float32
		says     string
	}{
		"versions":     {[]string{"1"}, [][]float32{{1, 2}}, "1 versions"},
		"columns":      {[]string{"1", "1"}, nil, "0 columns"},
		"short column": {[]string{"1", "1"}, [][]float32{{1}}, "1 scores for 2 rows"},
		"nan":          {[]string{"1", "1"}, [][]float32{{1, float32(math.NaN())}}, `row 1 (asset "b")`},
		"infinite":     {[]string{"1", "1"}, [][]float32{{float32(math.Inf(1)), 0}}, `row 0 (asset "a")`},
	} {
		w, err := NewScoreWriter(&bytes.Buffer{}, []string{"f"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write([]string{"a", "b"}, c.versions, c.cols); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Close(); err == nil {
			t.Errorf("%s: closed without an error", name)
		}
	}
	s := openScores(t, writeScores(t, 10, 2, 10))
	if err := s.ReadColumns([]string{"missing"}, nil); err == nil || !strings.Contains(err.Error(), "z_function_0, y_function_1") {
		t.Errorf("missing column: %v", err)
	}
	if err := s.ReadColumns(s.Columns(), func(int64, [][]float32) error { return errStop }); !errors.Is(err, errStop) {
		t.Errorf("the caller's error became %v", err)
	}
	if _, err := OpenScores(bytes.NewReader(write(t, rows(3, 2))), int64(len(write(t, rows(3, 2))))); err == nil {
		t.Error("a shard of vectors was opened as scores")
	}
}
