package search

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"winnow/pipeline/function"
)

func TestTopEqualsSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{0, 1, 3, 10, 100} {
		var all []hit
		best := top{k: k}
		for i := range 60 {
			h := hit{id: fmt.Sprint(i), score: float32(r.IntN(8))} // many ties
			all = append(all, h)
			if best.wants(h.score, h.id) {
				best.add(h)
			}
		}
		slices.SortFunc(all, compare)
		if got, want := best.sorted(), all[:min(k, len(all))]; !slices.Equal(got, want) && len(want) > 0 {
			t.Errorf("k %d: got %v, want %v", k, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	a := []hit{{id: "a", score: 0.9}, {id: "c", score: 0.5}}
	b := []hit{{id: "b", score: 0.7}, {id: "c", score: 0.5}, {id: "d", score: 0.5}}
	got := merge(a, b, 3)
	if want := []hit{{id: "a", score: 0.9}, {id: "b", score: 0.7}, {id: "c", score: 0.5}}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestUnit(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		v    []float32
		says string
	}{
		{[]float32{3, 4}, ""}, {[]float32{1}, "it has 1 numbers, embedding e has 2"}, {[]float32{0, 0}, "nothing but zeros"},
		{[]float32{1, nan}, "number 2 of it is NaN"}, {[]float32{float32(math.Inf(1)), 0}, "number 1 of it is +Inf"},
		{[]float32{1e-30, 0}, ""}, {[]float32{3e38, 3e38}, ""},
	} {
		err := unit(c.v, 2, "e")
		if c.says == "" {
			if n := math.Hypot(float64(c.v[0]), float64(c.v[1])); err != nil || math.Abs(n-1) > 1e-6 {
				t.Errorf("length %v, %v", n, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.v, err, c.says)
		}
	}
}

// Several examples are one function with combine: mean.
func TestMeanIsFunctionsMean(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const dim = 7
	var queries []Query
	var vectors [][]float32
	var pos, neg []function.Vector
	for i, not := range []bool{false, true, false, false, true} {
		v := make([]float32, dim)
		for k := range v {
			v[k] = float32(r.NormFloat64())
		}
		if err := unit(v, dim, "e"); err != nil {
			t.Fatal(err)
		}
		queries, vectors = append(queries, Query{Asset: fmt.Sprint(i), Not: not}), append(vectors, v)
		list := &pos
		if not {
			list = &neg
		}
		*list = append(*list, function.Vector{Kind: "asset", ID: fmt.Sprint(i), Hash: fmt.Sprint(i), Values: v})
	}
	got, err := mean(queries, vectors)
	if err != nil {
		t.Fatal(err)
	}
	st := &function.Statistics{ID: "s", Dim: dim}
	s, err := function.Fit(&function.Definition{Name: "f", Embedding: "e", Combine: function.Mean}, pos, neg, st)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := function.NewPass(dim, []*function.Scorer{s})
	if err != nil {
		t.Fatal(err)
	}
	scores := [][]float32{make([]float32, 1)}
	for i := range dim {
		row := make([]float32, dim)
		row[i] = 1
		pass.Score(row, 1, scores)
		if d := math.Abs(float64(scores[0][0] - got[i])); d > 1e-6 {
			t.Errorf("number %d is %v, the function's %v", i, got[i], scores[0][0])
		}
	}
	if _, err := mean([]Query{{Asset: "a"}, {Asset: "b"}}, [][]float32{{1, 0}, {-1, 0}}); err == nil {
		t.Error("examples that cancel each other out have a mean")
	}
}

func TestReadQueries(t *testing.T) {
	npy := "\x93NUMPY\x01\x00\x46\x00" + fmt.Sprintf("%-69s\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }") + "\x00\x00\x80\x3f\x00\x00\x00\xc0"
	for _, c := range []struct {
		name, text string
		want       []string // row id query, or row id !fault
		says       string
	}{
		{"a.txt", "\ufeffone\n\n two \n", []string{`1  text "one"`, `3  text "two"`}, ""},
		{"a.jsonl", `{"id":7,"asset_id":"x"}` + "\n[1,2]\n{}\n{\"asset\":\"a\",\"x\":1}\n\"a\"\n{\"vector\":[]}\n",
			[]string{`1 7 asset "x"`, `2  a vector`, `3  !it has 0 of asset`, `4  !it is no query`, `5  !it is no query`, `6  a vector`}, ""},
		{"a.csv", "id,asset,vector\n1,x,\n2,,\"[1, 2]\"\n3,,[oops\n4,\n\"5\",y,\n", []string{`2 1 asset "x"`, `3 2 a vector`, `4 3 a vector`, `5  !it has 2 fields, the first line 3`, `6 5 asset "y"`}, ""},
		{"b.csv", "id,name\n1,x\n", nil, "it has no column asset, text, file or vector, but id, name"},
		{"c.csv", "asset\n\"x\n", nil, "line"},
		{"a.npy", npy, []string{`1  a vector`, `2  a vector`}, ""},
		{"cut.npy", npy[:len(npy)-1], []string{`1  a vector`}, "cut off"},
		{"bad.parquet", "PAR1", nil, "it is no Parquet file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.name)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var got []string
			err := readQueries(t.Context(), path, func(q asked) error {
				s := fmt.Sprintf("%d %s %s", q.row, q.id, q.Query)
				if q.fault != nil {
					s = fmt.Sprintf("%d %s !%s", q.row, q.id, q.fault)
				}
				got = append(got, s)
				return nil
			})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.name)) {
				t.Errorf("error %v, want %q", err, c.says)
			}
			ok := len(got) == len(c.want)
			for i := range got {
				ok = ok && strings.HasPrefix(got[i], c.want[i])
			}
			if !ok {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestGapIsKept(t *testing.T) {
	g := &gap{Missing: map[int][][2]int64{}, Dead: [][2]string{{"a", "1"}}}
	for _, r := range [][2]int64{{0, 3}, {0, 4}, {0, 5}, {2, 0}, {0, 9}} {
		g.add(int(r[0]), r[1])
	}
	path := filepath.Join(t.TempDir(), "search", "gap.json")
	if err := g.write(path); err != nil {
		t.Fatal(err)
	}
	got, err := readGap(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (rowsOf{0: {3, 4, 5, 9}, 2: {0}}); !reflect.DeepEqual(got.rows(), want) || len(got.Missing[0]) != 2 {
		t.Errorf("rows %v in runs %v, want %v", got.rows(), got.Missing, want)
	}
	if !got.isDead("a", "1") || got.isDead("a", "2") {
		t.Error("the dead rows are others")
	}
	for _, want := range []string{"lacks 5 rows", "1 rows that are gone", "winnow index"} {
		if !strings.Contains(got.note("x"), want) {
			t.Errorf("the note %q lacks %q", got.note("x"), want)
		}
	}
}
