package index

/*
#include <stdint.h>
#include <stdlib.h>
int faiss_train_with_centroids(const char *path, int d, const char *description, int metric, size_t nlist,
                               const float *centroids, int64_t n, const float *x);
const char *faiss_get_last_error(void);
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	faiss "github.com/blevesearch/go-faiss"

	"winnow/pipeline/vec"
)

// ivf is a FAISS index. Its methods check what go-faiss does not: empty slices,
// numbers that are no whole rows, use after Close. Every call to FAISS is made
// on its owner's thread.
type ivf struct {
	ix    *faiss.IndexImpl // nil once closed; only the owner's thread touches it
	param *faiss.ParameterSpace
	dim   int
	rows  int64
	nlist int
	hnsw  bool
	coded bool // scores are approximate, so ties mean nothing
}

var errClosed = errors.New("the index is closed")

func newIVF(ctx context.Context, p *Params) (*ivf, error) {
	v := &ivf{dim: p.Dim, nlist: p.NList, hnsw: p.HNSW, coded: p.coded()}
	err := onFAISS(ctx, func() (err error) {
		if v.ix, err = faiss.IndexFactory(p.Dim, p.Factory, faiss.MetricInnerProduct); err != nil {
			return err
		}
		return v.prepare()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a FAISS index %s: %w", p.Factory, err), v.close())
	}
	return v, nil
}

// trainWith writes an empty index with the given centroids. A graph of them grows on
// one thread: on more, its links would depend on their race.
func trainWith(ctx context.Context, path string, p *Params, centres, sample []float32) error {
	cpath, cfactory := C.CString(path), C.CString(p.Factory)
	defer C.free(unsafe.Pointer(cpath))
	defer C.free(unsafe.Pointer(cfactory))
	return onFAISS(ctx, func() error {
		if p.HNSW {
			faiss.SetOMPThreads(1)
			defer faiss.SetOMPThreads(uint(runtime.GOMAXPROCS(0)))
		}
		code := C.faiss_train_with_centroids(cpath, C.int(p.Dim), cfactory, metricIP, C.size_t(p.NList),
			(*C.float)(&centres[0]), C.int64_t(len(sample)/p.Dim), (*C.float)(&sample[0]))
		if code != 0 {
			return errors.New(C.GoString(C.faiss_get_last_error()))
		}
		return nil
	})
}

// openIVF maps an index file, after a look at its layout.
func openIVF(ctx context.Context, path string, p *Params) (*ivf, error) {
	return readIVF(ctx, path, p, faiss.IOFlagReadMmap|faiss.IOFlagSkipPrefetch)
}

// loadIVF reads an index file into memory, to add rows.
func loadIVF(ctx context.Context, path string, p *Params) (*ivf, error) {
	return readIVF(ctx, path, p, 0)
}

func readIVF(ctx context.Context, path string, p *Params, flags int) (*ivf, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	_, err = layoutOf(f, p)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	v := &ivf{dim: p.Dim, rows: p.Rows, nlist: p.NList, hnsw: p.HNSW, coded: p.coded()}
	err = onFAISS(ctx, func() (err error) {
		if v.ix, err = faiss.ReadIndex(path, flags); err != nil {
			return damagedf("FAISS %s cannot read it: %w", FAISSVersion(), err)
		}
		return v.prepare()
	})
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

func (v *ivf) prepare() (err error) {
	if d := v.ix.D(); d != v.dim {
		return fmt.Errorf("FAISS says dimension %d, not %d", d, v.dim)
	}
	if n := v.ix.Ntotal(); n != v.rows {
		return fmt.Errorf("FAISS counts %d rows, not %d", n, v.rows)
	}
	if v.param, err = faiss.NewParameterSpace(); err != nil || !v.hnsw {
		return err
	}
	return v.param.SetIndexParameter(v.ix, "quantizer_efSearch", graphBreadth)
}

// graphBreadth is how many centroids a search of their graph keeps in view, at least.
const graphBreadth = 64

// call runs fn on FAISS's thread unless the index is closed.
func (v *ivf) call(ctx context.Context, fn func() error) error {
	return onFAISS(ctx, func() error {
		if v.ix == nil {
			return errClosed
		}
		return fn()
	})
}

// train finds the centroids, and what else there is to train. FAISS leaves the
// products to BLAS, which must use all cores. A graph grows on one thread: on more,
// its links would depend on their race.
func (v *ivf) train(ctx context.Context, rows []float32) error {
	if len(rows) == 0 || len(rows)%v.dim != 0 {
		return fmt.Errorf("%d numbers are no rows of %d", len(rows), v.dim)
	}
	return v.call(ctx, func() (err error) {
		if v.hnsw {
			faiss.SetOMPThreads(1)
			defer faiss.SetOMPThreads(uint(runtime.GOMAXPROCS(0)))
		}
		vec.WithThreads(runtime.GOMAXPROCS(0), func() { err = v.ix.Train(rows) })
		return err
	})
}

// add appends rows; their ids are their ordinals.
func (v *ivf) add(ctx context.Context, rows []float32) error {
	if len(rows) == 0 {
		return nil
	}
	if len(rows)%v.dim != 0 {
		return fmt.Errorf("%d numbers are no rows of %d", len(rows), v.dim)
	}
	return v.call(ctx, func() (err error) {
		vec.WithThreads(runtime.GOMAXPROCS(0), func() { err = v.ix.Add(rows) })
		v.rows = v.ix.Ntotal()
		return err
	})
}

// write saves the index.
func (v *ivf) write(ctx context.Context, path string) error {
	return v.call(ctx, func() error { return faiss.WriteIndex(v.ix, path) })
}

// close frees the index. It may be called twice.
func (v *ivf) close() error {
	return onFAISS(context.Background(), func() error {
		if v.param != nil {
			v.param.Delete()
			v.param = nil
		}
		if v.ix != nil {
			v.ix.Close()
			v.ix = nil
		}
		return nil
	})
}

const (
	searchQueries = 256 // queries of one FAISS call; ctx is looked at between
	tieSlack      = 16  // rows asked for beyond k, to see whether a tie is cut
)

func (v *ivf) search(ctx context.Context, queries []float32, k, nprobe int, out func(q int, hits []hit)) error {
	n := len(queries) / v.dim
	for q0 := 0; q0 < n; q0 += searchQueries {
		q1 := min(q0+searchQueries, n)
		err := v.call(ctx, func() error {
			found, err := v.nearest(queries[q0*v.dim:q1*v.dim], v.ask(k), nprobe)
			if err != nil {
				return err
			}
			for i, hits := range found {
				q := queries[(q0+i)*v.dim : (q0+i+1)*v.dim]
				if hits, err = v.complete(q, hits, k, nprobe); err != nil {
					return err
				}
				out(q0+i, hits)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask is the number of rows to ask FAISS for.
func (v *ivf) ask(k int) int {
	if v.coded {
		return int(min(int64(k), v.rows))
	}
	return int(min(int64(k)+tieSlack, v.rows))
}

// complete returns the k first of hits. FAISS breaks ties by the order in which
// it meets the rows, and finds fewer than k rows when the probed lists hold no
// more: then it asks again for more rows, or in more lists.
func (v *ivf) complete(query []float32, hits []hit, k, nprobe int) ([]hit, error) {
	want := int(min(int64(k), v.rows))
	for ask := v.ask(k); ; {
		switch {
		case len(hits) < want && nprobe < v.nlist:
			nprobe = min(2*nprobe, v.nlist)
		case !v.coded && len(hits) == ask && int64(ask) < v.rows && hits[want-1].score == hits[ask-1].score:
			ask = int(min(4*int64(ask), v.rows))
		default:
			return hits[:min(want, len(hits))], nil
		}
		found, err := v.nearest(query, ask, nprobe)
		if err != nil {
			return nil, err
		}
		hits = found[0]
	}
}

// nearest is FAISS's search, in the order of hits. It must run on the owner's
// thread.
func (v *ivf) nearest(queries []float32, k, nprobe int) ([][]hit, error) {
	if len(queries) == 0 || k == 0 {
		return make([][]hit, len(queries)/v.dim), nil
	}
	if err := v.param.SetIndexParameter(v.ix, "nprobe", float64(nprobe)); err != nil {
		return nil, err
	}
	scores, rows, err := v.ix.Search(queries, int64(k))
	if err != nil {
		return nil, err
	}
	found := make([][]hit, len(queries)/v.dim)
	for q := range found {
		hits := make([]hit, 0, k)
		for i := q * k; i < (q+1)*k; i++ {
			if rows[i] < 0 {
				continue // FAISS's filler
			}
			if rows[i] >= v.rows {
				return nil, damagedf("it has a row %d, beyond its %d rows", rows[i], v.rows)
			}
			hits = append(hits, hit{scores[i], rows[i]})
		}
		slices.SortFunc(hits, compareHits)
		found[q] = hits
	}
	return found, nil
}
