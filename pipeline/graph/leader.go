package graph

// Lead chooses the rows of a group that stay: it walks through them in order and
// keeps each one that is nearer than least to none of those kept before. of[i] is
// the first kept row (as an index) that row i is near to, itself where it stays,
// and cosines[i] their cosine. So every row that goes has a near one that stays, which
// the groups of Union do not promise: their chains may join rows that are far from
// each other.
//
// rows holds the vectors of the group in order. Leader clustering is Hartigan's
// (1975), in the order of preference instead of any. Time is that of rows × kept rows.
func Lead(rows []float32, dim int, least float32) (of []int32, cosines []float32) {
	n := len(rows) / dim
	of, cosines = make([]int32, n), make([]float32, n)
	var kept []int32
	norms := make([]float64, n)
	row := func(i int32) []float32 { return rows[int(i)*dim : (int(i)+1)*dim] }
	for i := range int32(n) {
		norms[i] = dot(row(i), row(i))
		of[i], cosines[i] = i, 1
		for _, k := range kept {
			if c := cosine(dot(row(i), row(k)), norms[i], norms[k]); c >= least {
				of[i], cosines[i] = k, c
				break
			}
		}
		if of[i] == i {
			kept = append(kept, i)
		}
	}
	return of, cosines
}
