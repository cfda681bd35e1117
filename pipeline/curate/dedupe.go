package curate

import (
	"context"
	"runtime"

	"winnow/pipeline"
)

func workers() int { return runtime.GOMAXPROCS(0) }

// dropEqual keeps the first of the candidates of equal content, in the given
// order.
func dropEqual(cs []Candidate, order []int) (kept []int, dropped []Duplicate) {
	first := map[string]int{}
	for _, i := range order {
		h := cs[i].Hash
		if of, ok := first[h]; ok && h != "" {
			dropped = append(dropped, Duplicate{Index: i, Of: of})
			continue
		}
		first[h] = i
		kept = append(kept, i)
	}
	return kept, dropped
}

// dropNear walks through the candidates in order and keeps each one that lies
// further than the distance from all that were kept before it. A dropped one
// is a duplicate of the first that was kept within the distance. Candidates
// without a vector are kept.
//
// Candidates are handled a tile at a time: first against everything kept
// before the tile, then among each other. The time is that of the product of
// candidates and kept rows; the memory that of the kept rows.
func dropNear(ctx context.Context, order []int, n Near, progress pipeline.Progress) (kept []int, dropped []Duplicate, err error) {
	v, limit := n.Vectors, n.Distance
	room := slack(v.Dim)
	keptRows, keptAt := &list{v: v}, []int(nil)
	step := tileRows * workers()
	counter := progress.Start("dedupe", "rows", int64(len(order)))
	defer counter.Done()
	for lo := 0; lo < len(order); lo += step {
		part := order[lo:min(lo+step, len(order))]
		rows, at := &list{v: v}, make([]int, 0, len(part))
		for _, i := range part {
			if r := v.row(i); r >= 0 {
				rows.add(r)
				at = append(at, i)
			}
		}
		of := make([]int, len(at)) // the kept row that each is a duplicate of
		for i := range of {
			of[i] = -1
		}
		err := cosines(ctx, rows, keptRows, 0, keptRows.len(), func(t *tile) {
			for i := t.lo; i < t.lo+t.n; i++ {
				for j, x := range t.of(i) {
					if of[i] < 0 && 1-float64(x) <= limit+room && distance(rows, i, keptRows, t.setLo+j) <= limit {
						of[i] = t.setLo + j
					}
				}
			}
		})
		if err != nil {
			return nil, nil, err
		}
		fresh, err := among(ctx, rows, limit, room, of)
		if err != nil {
			return nil, nil, err
		}
		next := 0
		for _, i := range part {
			if v.row(i) < 0 {
				kept = append(kept, i)
				continue
			}
			k := next
			next++
			switch {
			case of[k] >= 0:
				dropped = append(dropped, Duplicate{i, keptAt[of[k]], distance(rows, k, keptRows, of[k])})
			case fresh[k] != k:
				dropped = append(dropped, Duplicate{i, at[fresh[k]], distance(rows, k, rows, fresh[k])})
			default:
				kept = append(kept, i)
				keptRows.copyRow(rows, k)
				keptAt = append(keptAt, i)
			}
		}
		counter.Add(int64(len(part)))
	}
	return kept, dropped, nil
}

// among tells for each row of a tile that is no duplicate yet (of < 0) which
// row of the tile it is a duplicate of; a row that stays is its own.
func among(ctx context.Context, rows *list, limit, room float64, of []int) ([]int, error) {
	n := rows.len()
	within := make([][]int, n) // earlier rows within the distance, in order
	err := cosines(ctx, rows, rows, 0, n, func(t *tile) {
		for i := t.lo; i < t.lo+t.n; i++ {
			for j, x := range t.of(i) {
				if j += t.setLo; j < i && of[i] < 0 && of[j] < 0 && 1-float64(x) <= limit+room && distance(rows, i, rows, j) <= limit {
					within[i] = append(within[i], j)
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	fresh := make([]int, n)
	for i := range fresh {
		fresh[i] = i
		for _, j := range within[i] {
			if fresh[j] == j {
				fresh[i] = j
				break
			}
		}
	}
	return fresh, nil
}
