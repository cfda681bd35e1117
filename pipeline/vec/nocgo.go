//go:build !cgo || purego

package vec

// Backend names the library that does the work.
func Backend() string { return "Go, without BLAS" }

// WithThreads calls fn. The Go twin has no threads of its own.
func WithThreads(_ int, fn func()) { fn() }

func numThreads() int { return 1 }

func mulABT(m, n, k int, a, b, c []float32) { mulABTGo(m, n, k, a, b, c) }

func eigh(a []float64, n int) ([]float64, []float64, error) { return eighGo(a, n) }
