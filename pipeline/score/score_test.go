package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"winnow/pipeline/function"
)

const dim = 6

// memory is a part that reuses its block, as a shard reader does.
type memory struct {
	first, rows, block int
	fail               error // after the first block
	reads              *atomic.Int64
}

func vectorOf(row int) []float32 {
	rng := rand.New(rand.NewPCG(uint64(row), 3))
	v := make([]float32, dim)
	for j := range v {
		v[j] = float32(rng.NormFloat64())
	}
	return v
}

func (m *memory) Read(ctx context.Context, fn func(Block) error) error {
	if m.reads != nil {
		m.reads.Add(1)
	}
	b := Block{AssetID: make([]string, m.block), Version: make([]string, m.block), Vectors: make([]float32, m.block*dim)}
	for lo := 0; lo < m.rows; lo += m.block {
		n := min(m.block, m.rows-lo)
		part := Block{b.AssetID[:n], b.Version[:n], b.Vectors[:n*dim]}
		for i := range n {
			row := m.first + lo + i
			part.AssetID[i], part.Version[i] = fmt.Sprintf("id%05d", row), fmt.Sprint("v", row%3)
			copy(part.Vectors[i*dim:], vectorOf(row))
		}
		if err := fn(part); err != nil {
			return err
		}
		clear(b.AssetID)
		clear(b.Vectors)
		if m.fail != nil {
			return m.fail
		}
	}
	return ctx.Err()
}

type sink struct {
	ids, versions []string
	cols          [][]float32
	fail          error
}

func (s *sink) Write(ids, versions []string, cols [][]float32) error {
	if s.fail != nil && len(s.ids) > 0 {
		return s.fail
	}
	s.ids = append(s.ids, ids...)
	s.versions = append(s.versions, versions...)
	if s.cols == nil {
		s.cols = make([][]float32, len(cols))
	}
	for c := range cols {
		s.cols[c] = append(s.cols[c], cols[c]...)
	}
	return nil
}

func functions(names ...string) []*function.Scorer {
	var fs []*function.Scorer
	for _, name := range names {
		rng := rand.New(rand.NewPCG(uint64(name[0]), uint64(len(name))))
		s := &function.Scorer{Name: name, Combine: function.LDA, Dim: dim, Offset: rng.Float64()}
		for range dim {
			s.Rows = append(s.Rows, float32(rng.NormFloat64()))
		}
		fs = append(fs, s)
	}
	return fs
}

func parts(sizes []int, block int) (ps []Part, total int) {
	for _, n := range sizes {
		ps = append(ps, &memory{first: total, rows: n, block: block})
		total += n
	}
	return ps, total
}

func want(f *function.Scorer, row int) float64 {
	s, n := 0.0, 0.0
	for j, x := range vectorOf(row) {
		s += float64(x) * float64(f.Rows[j])
		n += float64(x) * float64(x)
	}
	return s/math.Sqrt(n) + f.Offset
}

func TestRun(t *testing.T) {
	fs := functions("apples", "balls", "cats")
	var first *sink
	for _, c := range []struct {
		sizes   []int
		block   int
		workers int
	}{
		{[]int{500, 1, 0, 300, 250}, 64, 1}, {[]int{500, 1, 0, 300, 250}, 64, 2},
		{[]int{500, 1, 0, 300, 250}, 64, 0}, {[]int{500, 1, 0, 300, 250}, 64, 20},
		{[]int{1051}, 64, 0}, {slices.Repeat([]int{1}, 1051), 64, 4}, {[]int{500, 551}, 2000, 2},
	} {
		t.Run(fmt.Sprint(len(c.sizes), " parts, ", c.workers, " workers"), func(t *testing.T) {
			ps, total := parts(c.sizes, c.block)
			var s sink
			counted := int64(0)
			rows, err := Run(t.Context(), Task{
				Dim: dim, AnyLength: true, Functions: fs, Columns: []string{"cats", "apples", "balls"}, Parts: ps,
				Workers: c.workers, Count: func(n int64) { counted += n },
			}, &s)
			if err != nil || rows != int64(total) || counted != rows {
				t.Fatalf("%d rows, %d counted, %v; want %d", rows, counted, err, total)
			}
			for i := range total {
				if s.ids[i] != fmt.Sprintf("id%05d", i) || s.versions[i] != fmt.Sprint("v", i%3) {
					t.Fatalf("row %d is %s, version %s", i, s.ids[i], s.versions[i])
				}
				for col, f := range []*function.Scorer{fs[2], fs[0], fs[1]} {
					if w := want(f, i); math.Abs(float64(s.cols[col][i])-w) > 1e-5 {
						t.Fatalf("%s of row %d = %v, want %v", f.Name, i, s.cols[col][i], w)
					}
				}
			}
			if len(c.sizes) == 5 { // the same parts: the same bits
				if first == nil {
					first = &s
				} else if !reflect.DeepEqual(first.cols, s.cols) {
					t.Error("another number of workers gives other scores")
				}
			}
		})
	}
}

// keptRows yields rows [0, n) except the missing in blocks, and reuses them.
func keptRows(n, block int, missing func(int) bool, names ...string) *Kept {
	return &Kept{Columns: names, Rows: func(yield func(Scores, error) bool) {
		s := Scores{Columns: make([][]float32, len(names))}
		flush := func() bool {
			ok := yield(s, nil)
			s.AssetID, s.Version = s.AssetID[:0], s.Version[:0]
			for c := range s.Columns {
				clear(s.Columns[c])
				s.Columns[c] = s.Columns[c][:0]
			}
			return ok
		}
		for i := range n {
			if missing(i) {
				continue
			}
			s.AssetID, s.Version = append(s.AssetID, fmt.Sprintf("id%05d", i)), append(s.Version, fmt.Sprint("v", i%3))
			for c := range s.Columns {
				s.Columns[c] = append(s.Columns[c], float32(i*10+c))
			}
			if len(s.AssetID) == block && !flush() {
				return
			}
		}
		flush()
	}}
}

func TestRunKeepsColumns(t *testing.T) {
	none := func(int) bool { return false }
	// The parts lack rows 100 to 149: they are gone since the scores were made.
	ps := []Part{&memory{first: 0, rows: 100, block: 33}, &memory{first: 150, rows: 350, block: 33}}
	rowOf := func(i int) int {
		if i < 100 {
			return i
		}
		return i + 50
	}
	for _, fs := range [][]*function.Scorer{functions("new"), nil} {
		task := Task{Dim: dim, AnyLength: true, Functions: fs, Parts: ps, Columns: []string{"b", "a"}, Kept: keptRows(600, 41, none, "a", "b", "gone")}
		if fs != nil {
			task.Columns = []string{"b", "new", "a"}
		}
		var s sink
		rows, err := Run(t.Context(), task, &s)
		if err != nil || rows != 450 {
			t.Fatalf("%d rows, %v", rows, err)
		}
		for i := range s.ids {
			row := rowOf(i)
			a, b := s.cols[len(s.cols)-1][i], s.cols[0][i]
			if a != float32(row*10) || b != float32(row*10+1) {
				t.Fatalf("row %d keeps %v and %v", row, a, b)
			}
			if fs != nil && math.Abs(float64(s.cols[1][i])-want(fs[0], row)) > 1e-5 {
				t.Fatalf("row %d: new score %v", row, s.cols[1][i])
			}
		}
	}
	// Without ids the rows must be those of the parts, one for one.
	positional := func(n int) *Kept {
		k := keptRows(n, 41, none, "a")
		rows := k.Rows
		k.Rows = func(yield func(Scores, error) bool) {
			for s, err := range rows {
				if !yield(Scores{Columns: s.Columns}, err) {
					return
				}
			}
		}
		return k
	}
	var s sink
	if rows, err := Run(t.Context(), Task{Dim: dim, Parts: ps, Columns: []string{"a"}, Kept: positional(450)}, &s); err != nil || rows != 450 || s.cols[0][300] != 3000 {
		t.Errorf("by position: %d rows, %v", rows, err)
	}
	var kept *KeptError
	for n, id := range map[int]string{451: "", 600: "", 449: "id00499"} {
		if _, err := Run(t.Context(), Task{Dim: dim, Parts: ps, Columns: []string{"a"}, Kept: positional(n)}, &sink{}); !errors.As(err, &kept) || kept.AssetID != id {
			t.Errorf("%d rows by position: %v", n, err)
		}
	}
	_, err := Run(t.Context(), Task{Dim: dim, Parts: ps, Columns: []string{"a"}, Kept: keptRows(600, 41, func(i int) bool { return i == 203 }, "a")}, &sink{})
	if !errors.As(err, &kept) || kept.AssetID != "id00203" {
		t.Errorf("a row without kept scores: %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	broken := errors.New("broken")
	fs := functions("a")
	good, _ := parts([]int{300, 300, 300}, 10)
	many := func() []Part {
		var ps []Part
		for i := range 50 {
			ps = append(ps, &memory{first: i * 1000, rows: 1000, block: 10})
		}
		return ps
	}
	bad := many()
	bad[30].(*memory).fail = broken
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(int) bool { return false }
	failing := &Kept{Columns: []string{"k"}, Rows: func(yield func(Scores, error) bool) { yield(Scores{}, broken) }}
	ragged := &Kept{Columns: []string{"k"}, Rows: func(yield func(Scores, error) bool) {
		yield(Scores{AssetID: []string{"x"}, Version: []string{"v"}, Columns: [][]float32{{}}}, nil)
	}}
	for name, c := range map[string]struct {
		ctx  context.Context
		t    Task
		sink *sink
		want string
	}{
		"part":              {t.Context(), Task{Dim: dim, Functions: fs, Columns: []string{"a"}, Parts: bad, Workers: 3}, &sink{}, "broken"},
		"sink":              {t.Context(), Task{Dim: dim, Functions: fs, Columns: []string{"a"}, Parts: many(), Workers: 3}, &sink{fail: broken}, "broken"},
		"canceled":          {canceled, Task{Dim: dim, Functions: fs, Columns: []string{"a"}, Parts: many(), Workers: 3}, &sink{}, "canceled"},
		"dimension":         {t.Context(), Task{Dim: dim + 1, Functions: fs, Columns: []string{"a"}, Parts: good}, &sink{}, "function a has rows of 6"},
		"vectors":           {t.Context(), Task{Dim: dim + 1, Columns: nil, Parts: good}, &sink{}, "60 numbers for vectors of 7"},
		"column":            {t.Context(), Task{Dim: dim, Functions: fs, Columns: []string{"b"}, Parts: good}, &sink{}, "column b is neither"},
		"twice":             {t.Context(), Task{Dim: dim, Functions: functions("a", "a"), Parts: good}, &sink{}, "two functions"},
		"kept and made":     {t.Context(), Task{Dim: dim, Functions: fs, Kept: keptRows(1, 1, none, "a"), Parts: good}, &sink{}, "both kept and made"},
		"kept cannot read":  {t.Context(), Task{Dim: dim, Kept: failing, Columns: []string{"k"}, Parts: good}, &sink{}, "read the scores to keep: broken"},
		"kept is ragged":    {t.Context(), Task{Dim: dim, Kept: ragged, Columns: []string{"k"}, Parts: good}, &sink{}, "a column of 0 scores for 1 rows"},
		"kept is too short": {t.Context(), Task{Dim: dim, Kept: keptRows(500, 7, none, "k"), Columns: []string{"k"}, Parts: good}, &sink{}, "id00500"},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			if _, err := Run(c.ctx, c.t, c.sink); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v lacks %q", err, c.want)
			}
			for try := 0; runtime.NumGoroutine() > before; try++ { // the last ones are on their way out
				if runtime.Gosched(); try == 1e6 {
					t.Fatalf("%d goroutines are left over", runtime.NumGoroutine()-before)
				}
			}
		})
	}
	rows, err := Run(t.Context(), Task{Dim: dim, Functions: fs, Columns: []string{"a"}}, &sink{})
	if rows != 0 || err != nil {
		t.Errorf("no parts: %d rows, %v", rows, err)
	}
}

// A writer that does not keep up must stop the readers, not fill the memory:
// no more parts are begun than may wait.
func TestRunWaitsForTheWriter(t *testing.T) {
	const workers = 3
	var reads atomic.Int64
	var ps []Part
	for i := range 300 {
		ps = append(ps, &memory{first: i, rows: 1, block: 1, reads: &reads})
	}
	written := int64(0)
	_, err := Run(t.Context(), Task{Dim: dim, Functions: functions("a"), Columns: []string{"a"}, Parts: ps, Workers: workers}, writerFunc(func() error {
		for range 100 {
			runtime.Gosched() // give the readers every chance
		}
		if n := reads.Load(); n > written+workers+partsAhead {
			return fmt.Errorf("%d parts are begun when %d are written", n, written)
		}
		written++
		return nil
	}))
	if err != nil || written != 300 {
		t.Fatalf("%d parts, %v", written, err)
	}
}

type writerFunc func() error

func (f writerFunc) Write([]string, []string, [][]float32) error { return f() }
