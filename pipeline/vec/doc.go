// Package vec is the arithmetic under scoring and search: matrix products of
// vectors, norms, and the eigenvectors of a covariance.
//
// With cgo the work is OpenBLAS's, one thread a call: callers that want more
// run several goroutines, which scales better than OpenBLAS's own threads on
// the tall, narrow products of this project. Without cgo, or with the build
// tag purego, a twin in Go computes the same, about twenty times slower. The
// two differ in the last bits only.
package vec
