//go:build cgo && !purego

package vec

// The prototypes stand here because Debian, Fedora and macOS keep cblas.h in
// different folders; the symbols are the same everywhere.

/*
#cgo LDFLAGS: -lopenblas
#include <stddef.h>
void cblas_sgemm(int order, int transA, int transB, int m, int n, int k,
	float alpha, const float *a, int lda, const float *b, int ldb,
	float beta, float *c, int ldc);
void cblas_sgemv(int order, int trans, int m, int n, float alpha, const float *a, int lda,
	const float *x, int incx, float beta, float *y, int incy);
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w,
	double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);
void openblas_set_num_threads(int n);
int openblas_get_num_threads(void);
char *openblas_get_corename(void);

static void mul_abt(int m, int n, int k, const float *a, const float *b, float *c) {
	enum { rowMajor = 101, noTrans = 111, trans = 112 };
	// One vector on a side: OpenBLAS's sgemm would copy the other side first, twenty times the work.
	if (n == 1)
		cblas_sgemv(rowMajor, noTrans, m, k, 1, a, k, b, 1, 0, c, 1);
	else if (m == 1)
		cblas_sgemv(rowMajor, noTrans, n, k, 1, b, k, a, 1, 0, c, 1);
	else
		cblas_sgemm(rowMajor, noTrans, trans, m, n, k, 1, a, k, b, k, 0, c, n);
}

static int eigh(int n, double *a, double *w, double *work, int lwork, int *iwork, int liwork) {
	int info;
	dsyevd_("V", "U", &n, a, &n, w, work, &lwork, iwork, &liwork, &info, 1, 1);
	return info;
}
*/
import "C"

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Backend names the library that does the work.
func Backend() string { return "OpenBLAS, kernel " + C.GoString(C.openblas_get_corename()) }

func init() { C.openblas_set_num_threads(1) }

var threads struct {
	sync.Mutex
	wanted []int
}

// WithThreads lets OpenBLAS use n threads a call while fn runs: for libraries
// below (FAISS) that call it from one thread and leave the rest to it. The
// setting is the process's, so products of other goroutines become slower, not
// wrong. Calls may overlap; the largest n holds.
func WithThreads(n int, fn func()) {
	set := func(change func()) {
		threads.Lock()
		defer threads.Unlock()
		change()
		most := 1
		for _, w := range threads.wanted {
			most = max(most, w)
		}
		C.openblas_set_num_threads(C.int(most))
	}
	set(func() { threads.wanted = append(threads.wanted, n) })
	defer set(func() {
		i := slices.Index(threads.wanted, n)
		threads.wanted = slices.Delete(threads.wanted, i, i+1)
	})
	fn()
}

func numThreads() int { return int(C.openblas_get_num_threads()) }

func mulABT(m, n, k int, a, b, c []float32) {
	C.mul_abt(C.int(m), C.int(n), C.int(k), (*C.float)(&a[0]), (*C.float)(&b[0]), (*C.float)(&c[0]))
}

// eigh calls LAPACK's divide and conquer. LAPACK is column-major: the lower
// triangle of a is its upper one, and its columns of eigenvectors are our rows.
func eigh(a []float64, n int) ([]float64, []float64, error) {
	if n > math.MaxInt32/4 || 1+6*n+2*n*n > math.MaxInt32 {
		return nil, nil, fmt.Errorf("eigenvectors: %d dimensions are too many", n)
	}
	v, w := slices.Clone(a), make([]float64, n)
	work, iwork := make([]float64, 1+6*n+2*n*n), make([]C.int, 3+5*n)
	info := C.eigh(C.int(n), (*C.double)(&v[0]), (*C.double)(&w[0]), (*C.double)(&work[0]), C.int(len(work)), &iwork[0], C.int(len(iwork)))
	if info != 0 {
		return nil, nil, fmt.Errorf("eigenvectors: LAPACK's dsyevd does not converge (info %d)", info)
	}
	return w, v, nil
}
