package index

import "context"

// SearchRows is Search for those who know the rows: scores and row numbers, n × k
// each, as Index.Search gives them. Keys tells which assets they are.
func (f *Folder) SearchRows(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	return f.Index.Search(ctx, queries, k)
}
