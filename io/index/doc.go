// Package index builds and searches nearest-neighbour indexes: FAISS IVF for
// large embeddings, exact search for small ones.
//
// Choose fixes the parameters from the number of rows, Build streams the rows
// into an index file and tunes nprobe until the recall@10 that was asked for is
// reached on held-out queries, Open and Search use it. A row is named by its
// ordinal in the order of the source.
//
// An index is a folder of a bucket: base.faiss, which faiss-cpu opens too,
// ids.parquet, which maps ordinals to assets, and index.json, written last.
// Create, OpenFolder and List work on such folders.
//
// FAISS keeps one team of OpenMP threads for every OS thread that calls it, and
// go-faiss trusts its caller: all calls go through one goroutine of this
// package (owner.go), and no file reaches the C++ reader before its layout has
// been checked (layout.go).
package index
