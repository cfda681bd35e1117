// Package layout is the mathematics of the projector: where rows lie on a map of
// two dimensions, how far that map can be trusted, which rows form clusters, and
// what those are called.
//
// # A map
//
//	m, err := layout.UMAP(ctx, &layout.Neighbors{K: 15, Rows: rows, Distances: cosines}, layout.Options{Seed: 1})
//
// lays out all rows of a graph of neighbours, as the stage of neighbour graphs
// leaves it: for each row the numbers of its K nearest and their cosine distances.
// Rows that come later are placed, and nothing else moves:
//
//	places, apart, err := layout.Place(ctx, m.Points, &newNeighbors, options)
//
// PCA and Project make the other kind of map, from the vectors themselves.
// Trustworthiness measures any map against the vectors.
//
// # The same bytes
//
// All results depend on the inputs and the seed alone, not on the number of
// threads. Other kinds of processors round differently, so a map is the same to
// the last bit on machines of one kind.
//
// # Memory
//
// A graph of K = 15 is 120 bytes a row, which are the caller's. UMAP adds some 900
// bytes for each row that is laid out, and so no more than 180 MB for the default
// of 200,000 landmarks; and 30 bytes for each other row. PCA takes 16·dim² bytes,
// Trustworthiness 4·dim for each of 2,000·(k + 1) rows; both read vectors in blocks.
package layout
