package duplicates

import (
	"cmp"
	"context"
	"math"
	"slices"

	"winnow/io/manifest"
	"winnow/pipeline"
	"winnow/pipeline/graph"
	"winnow/pipeline/seeded"
)

// clusterBytes bounds the vectors of the sample that centres are found in, and those
// of one cluster.
const clusterBytes = 512 << 20

// semantic clusters the rows, and lets those of a cluster go that are within epsilon
// of one that comes before.
func (f *found) semantic(ctx context.Context) error {
	n := int(f.l.Rows)
	k := f.c.Clusters
	if k == 0 {
		k = max(int(math.Sqrt(float64(n))), 1)
	}
	if k > n {
		return pipeline.Usagef("--clusters %d: there are only %d rows", k, n)
	}
	f.r.Clusters, f.least = k, float32(1-f.c.Epsilon)
	clusters, err := f.train(ctx, k)
	if err != nil {
		return err
	}
	of, rank := make([]int32, 0, n), make([]float32, 0, n)
	count := f.w.App.Progress.Start("clusters", "rows", int64(n))
	err = f.l.Each(ctx, func(ids []string, v []float32) error {
		o, _ := clusters.Assign(v)
		for i, c := range o {
			d := f.l.Dim
			x := graph.Cosine(v[i*d:(i+1)*d], clusters.Centers[int(c)*d:(int(c)+1)*d])
			switch f.c.Keep {
			case keepHard:
				x = -x
			case keepRandom:
				x = float32(seeded.Unit(f.w.Config.Seed, ids[i]))
			}
			of, rank = append(of, c), append(rank, x)
		}
		count.Add(int64(len(ids)))
		return nil
	})
	count.Done()
	if err != nil {
		return err
	}
	rows := make([]int32, n) // by cluster, those that come first first
	for i := range rows {
		rows[i] = int32(i)
	}
	slices.SortFunc(rows, func(a, b int32) int {
		return cmp.Or(cmp.Compare(of[a], of[b]), cmp.Compare(rank[b], rank[a]), cmp.Compare(a, b))
	})
	before := make([]int32, n) // the nearest earlier row of those that go, else -1
	nearest := rank            // its cosine; ranks are of no more use
	if err := f.within(ctx, rows, of, before, nearest); err != nil {
		return err
	}
	return f.semanticGroups(ctx, rows, before, nearest)
}

// train finds the centres in a seeded sample.
func (f *found) train(ctx context.Context, k int) (*graph.Clusters, error) {
	n := int(f.l.Rows)
	want := min(n, max(k, min(graph.SampleSize(k), clusterBytes/(4*f.l.Dim))))
	rows := make([]int32, 0, n)
	if want < n {
		place := make([]uint64, 0, n)
		err := f.l.IDs(ctx, func(_ int, _ int64, id string) error {
			rows, place = append(rows, int32(len(rows))), append(place, seeded.Hash(f.w.Config.Seed, id))
			return nil
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(rows, func(a, b int32) int { return cmp.Or(cmp.Compare(place[a], place[b]), cmp.Compare(a, b)) })
		rows = slices.Clone(rows[:want])
		slices.Sort(rows)
	} else {
		for i := range n {
			rows = append(rows, int32(i))
		}
	}
	sample, err := f.read(ctx, rows)
	if err != nil {
		return nil, err
	}
	return graph.Train(ctx, sample, f.l.Dim, k, f.w.Config.Seed)
}

// within looks for the nearest earlier row of each row in its cluster.
func (f *found) within(ctx context.Context, rows, of, before []int32, nearest []float32) error {
	d := f.l.Dim
	count := f.w.App.Progress.Start("duplicates", "rows", int64(len(rows)))
	defer count.Done()
	for lo := 0; lo < len(rows); {
		// Some whole clusters.
		hi := lo
		for hi < len(rows) {
			end := hi + 1
			for end < len(rows) && of[rows[end]] == of[rows[hi]] {
				end++
			}
			if size := (end - hi) * d * 4; size > clusterBytes {
				return pipeline.Usagef("a cluster has %s rows, more than fit into memory; raise --clusters %d", manifest.Thousands(int64(end-hi)), f.r.Clusters)
			}
			if hi > lo && (end-lo)*d*4 > blockBytes {
				break
			}
			hi = end
		}
		part := rows[lo:hi]
		sorted := slices.Sorted(slices.Values(part))
		vectors, err := f.read(ctx, sorted)
		if err != nil {
			return err
		}
		for at := 0; at < len(part); {
			end := at + 1
			for end < len(part) && of[part[end]] == of[part[at]] {
				end++
			}
			own := make([]float32, 0, (end-at)*d)
			for _, row := range part[at:end] {
				i, _ := slices.BinarySearch(sorted, row)
				own = append(own, vectors[i*d:(i+1)*d]...)
			}
			earlier, cosines, err := graph.Earlier(ctx, own, d)
			if err != nil {
				return err
			}
			for i, row := range part[at:end] {
				before[row], nearest[row] = -1, 1
				if e := earlier[i]; e >= 0 && cosines[i] >= f.least {
					before[row], nearest[row] = part[at+int(e)], cosines[i]
				}
			}
			at = end
		}
		count.Add(int64(hi - lo))
		lo = hi
	}
	return nil
}

// semanticGroups joins the rows that go with those that they go for.
func (f *found) semanticGroups(ctx context.Context, rows, before []int32, nearest []float32) error {
	f.union = graph.NewUnion(len(rows))
	for row, b := range before {
		if b >= 0 {
			f.union.Join(int32(row), b)
		}
	}
	order := make([]int32, len(rows)) // of each row
	for i, row := range rows {
		order[row] = int32(i)
	}
	for _, g := range f.union.Groups() {
		slices.SortFunc(g, func(a, b int32) int { return cmp.Compare(order[a], order[b]) })
		place := make(map[int32]int32, len(g))
		list := make([]member, len(g))
		for i, row := range g {
			place[row] = int32(i)
			list[i] = member{row: row, of: int32(i), keep: before[row] < 0, cosine: nearest[row]}
			if !list[i].keep {
				list[i].of = place[before[row]] // it comes first
			}
		}
		f.r.groups = append(f.r.groups, list)
	}
	if err := f.name(ctx); err != nil {
		return err
	}
	f.r.count()
	return nil
}
