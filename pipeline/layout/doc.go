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
// # Clusters
//
//	u, err := layout.Union(ctx, &neighbors, 0)
//	cluster, k, err := layout.Clusters(ctx, u, layout.ClusterOptions{Seed: 1})
//	captions := layout.NewCaptions(k)
//	captions.Add(cluster[i], text)      // for every row
//	words := captions.Names(3)          // or NamesByFunctions(mean scores, names, 3)
//
// Communities of the graph agree better with known classes than HDBSCAN on the map
// does, and leave no row out as noise (BENCHMARKS.md); they do not depend on the map.
//
// # The same bytes
//
// All results depend on the inputs and the seed alone, not on the number of
// threads. Other kinds of processors round differently, so a map is the same to
// the last bit on machines of one kind.
//
// # Memory
//
// A graph of K = 15 is 120 bytes a row, which are the caller's. UMAP adds some 1.2
// kB for each row that is laid out, of which there are 200,000 landmarks at most by
// default, and 60 bytes for each row beyond. Union and Clusters take some 600
// bytes a row, PCA 16·dim² in all, Trustworthiness 4·dim for each of 2,000·(k + 1)
// rows; both read vectors in blocks.
package layout
