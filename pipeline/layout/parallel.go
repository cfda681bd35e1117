package layout

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// each calls fn for the ranges of n things in chunks, on all processors. What fn
// computes must not depend on which other chunks are done.
func each(ctx context.Context, n, chunk int, fn func(lo, hi int)) error {
	chunks := (n + chunk - 1) / chunk
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			c := int(next.Add(1)) - 1
			if c >= chunks {
				return
			}
			fn(c*chunk, min((c+1)*chunk, n))
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), chunks) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return ctx.Err()
}

// mix spreads the bits of x: the finaliser of SplitMix64 (Steele et al. 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit makes a number in [0, 1) of 64 random bits.
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
