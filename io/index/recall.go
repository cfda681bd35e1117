package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"winnow/pipeline"
)

// Queries are rows of the index that its recall is measured with. It was not
// trained on them.
type Queries struct {
	Dim     int
	Rows    []int64
	Vectors []float32 // len(Rows) × Dim
}

// Truth holds the exact nearest rows of each query among the rows seen so far, the
// query itself included: at most eleven.
type Truth struct{ nearest [][]hit }

// NewTruth is the truth among no rows.
func NewTruth(q *Queries) *Truth { return &Truth{nearest: make([][]hit, len(q.Rows))} }

// Join adds what was found among other rows.
func (t *Truth) Join(other *Truth) {
	for i, hits := range other.nearest {
		all := append(t.nearest[i], hits...)
		slices.SortFunc(all, compareHits)
		t.nearest[i] = all[:min(recallAt+1, len(all))]
	}
}

// The two files are little-endian: counts, then numbers.

// Encode writes the queries.
func (q *Queries) Encode() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, []uint64{uint64(len(q.Rows)), uint64(q.Dim)})
	_ = binary.Write(&b, binary.LittleEndian, q.Rows)
	_ = binary.Write(&b, binary.LittleEndian, q.Vectors)
	return b.Bytes()
}

// DecodeQueries reads what Encode wrote.
func DecodeQueries(data []byte) (*Queries, error) {
	r := bytes.NewReader(data)
	var head [2]uint64
	if err := binary.Read(r, binary.LittleEndian, &head); err != nil || head[0] > maxQueries || head[1] > maxDim ||
		uint64(r.Len()) != head[0]*(8+4*head[1]) {
		return nil, damagedf("its queries are not whole")
	}
	q := &Queries{Dim: int(head[1]), Rows: make([]int64, head[0]), Vectors: make([]float32, head[0]*head[1])}
	return q, errors.Join(binary.Read(r, binary.LittleEndian, q.Rows), binary.Read(r, binary.LittleEndian, q.Vectors))
}

// Encode writes the truth.
func (t *Truth) Encode() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, uint64(len(t.nearest)))
	for _, hits := range t.nearest {
		_ = binary.Write(&b, binary.LittleEndian, uint64(len(hits)))
		for _, h := range hits {
			_ = binary.Write(&b, binary.LittleEndian, h.score)
			_ = binary.Write(&b, binary.LittleEndian, h.row)
		}
	}
	return b.Bytes()
}

// DecodeTruth reads what Encode wrote, for q.
func DecodeTruth(data []byte, q *Queries) (*Truth, error) {
	r := bytes.NewReader(data)
	var n uint64
	bad := damagedf("the neighbours of its queries are not whole")
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil || n != uint64(len(q.Rows)) {
		return nil, bad
	}
	t := &Truth{nearest: make([][]hit, n)}
	for i := range t.nearest {
		var k uint64
		if err := binary.Read(r, binary.LittleEndian, &k); err != nil || k > recallAt+1 {
			return nil, bad
		}
		for range k {
			var h hit
			if err := errors.Join(binary.Read(r, binary.LittleEndian, &h.score), binary.Read(r, binary.LittleEndian, &h.row)); err != nil {
				return nil, bad
			}
			t.nearest[i] = append(t.nearest[i], h)
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, bad
	}
	return t, nil
}

// without drops the query itself from its neighbours, and cuts them to n.
func without(hits []hit, row int64, n int) []hit {
	hits = slices.DeleteFunc(slices.Clone(hits), func(h hit) bool { return h.row == row })
	return hits[:min(n, len(hits))]
}

// share is how many of a query's true neighbours are among found. A row that is as
// near as the farthest true neighbour counts as one: it is an equal answer. Scores
// of codes say nothing of the kind.
func share(want, found []hit, coded bool) (got, of int) {
	if len(want) == 0 {
		return 0, 0
	}
	const rounding = 1e-6
	least := want[len(want)-1].score
	least -= rounding * max(least, -least)
	for _, h := range found {
		if !coded && h.score >= least || slices.ContainsFunc(want, func(w hit) bool { return w.row == h.row }) {
			got++
		}
	}
	return min(got, len(want)), len(want)
}

// Tune finds the least number of lists that reaches the recall asked for, sets
// NProbe and Recall10 (and Refine, of codes) in p, and NProbe in the file as the
// default of other readers. More lists never find less, so a bisection finds it. An
// index that cannot reach the recall is an error that says what to do.
func Tune(ctx context.Context, path string, p *Params, q *Queries, t *Truth, progress pipeline.Progress) (err error) {
	if p.Kind == Flat {
		p.Recall10 = 1
		return nil
	}
	if progress == nil {
		progress = pipeline.Quiet
	}
	v, err := openIVF(ctx, path, p)
	if err != nil {
		return fmt.Errorf("measure recall: %w", err)
	}
	defer func() { err = errors.Join(err, v.close()) }()
	u := &tuner{v: v, p: p, q: q, t: t, c: progress.Start("tune index", "searches", 0)}
	defer u.c.Done()
	for {
		if p.NProbe, p.Recall10, err = u.probes(ctx); err != nil {
			return fmt.Errorf("measure recall: %w", err)
		}
		if p.Recall10 >= p.RecallTarget {
			return writeProbes(path, p)
		}
		if !p.coded() || 2*p.Refine > maxRefine {
			break
		}
		p.Refine *= 2
	}
	advice := "ask for a lower recall, or give index: more memory"
	if p.Kind == IVFFlat || p.Kind == IVFSQ8 {
		advice = "ask for a lower recall, or choose kind: ivf_flat"
	}
	return fmt.Errorf("recall@%d of %s is %.4f with all %d lists; %.4f was asked for: %s", recallAt, p.Factory, p.Recall10, p.NList, p.RecallTarget, advice)
}

type tuner struct {
	v *ivf
	p *Params
	q *Queries
	t *Truth
	c pipeline.Counter
}

// measure is the recall with so many lists, after the candidates' cosines were
// computed where the index has codes.
func (u *tuner) measure(ctx context.Context, nprobe int) (float64, error) {
	k := recallAt
	if u.p.coded() {
		k *= max(1, u.p.Refine)
	}
	got, of := 0, 0
	err := u.v.search(ctx, u.q.Vectors, k+1, nprobe, func(i int, hits []hit) {
		row := u.q.Rows[i]
		g, o := share(without(u.t.nearest[i], row, recallAt), without(hits, row, k), u.p.coded())
		got, of = got+g, of+o
	})
	u.c.Add(1)
	return float64(got) / float64(max(of, 1)), err
}

func (u *tuner) probes(ctx context.Context) (probes int, recall float64, err error) {
	probes = 1
	recall, err = u.measure(ctx, probes)
	under := 0 // the most lists that are known to be too few
	for err == nil && recall < u.p.RecallTarget && probes < u.p.NList {
		under = probes
		probes = min(2*probes, u.p.NList)
		recall, err = u.measure(ctx, probes)
	}
	for err == nil && recall >= u.p.RecallTarget && probes-under > 1 {
		mid := (probes + under) / 2
		var r float64
		if r, err = u.measure(ctx, mid); r >= u.p.RecallTarget {
			probes, recall = mid, r
		} else {
			under = mid
		}
	}
	return probes, recall, err
}

// ChooseQueries draws rows of a segment that its recall is measured with; none where
// they are too few to tell.
func ChooseQueries(p Params, rows int64) []int64 {
	const least, most = 1000, 200
	if p.Kind == Flat || rows < least {
		return nil
	}
	c := newChooser(p.Seed, 3, most, rows)
	var out []int64
	for row := range rows {
		if c.next() {
			out = append(out, row)
		}
	}
	return out
}

// ReadQueries reads the vectors of chosen rows.
func ReadQueries(ctx context.Context, src Vectors, dim int, rows []int64) (*Queries, error) {
	v, err := pickRows(ctx, src, dim, rows, func(int64) {})
	return &Queries{Dim: dim, Rows: rows, Vectors: v}, err
}

// writeProbes changes nprobe in an index file.
func writeProbes(path string, p *Params) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	l, err := layoutOf(f, p)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(p.NProbe)), l.nprobeAt)
	return err
}
