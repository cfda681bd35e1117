package index

/*
#cgo LDFLAGS: -lfaiss_c
const char *faiss_get_version(void);
void faiss_interrupt(int stop);
*/
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	faiss "github.com/blevesearch/go-faiss"
)

// FAISSVersion is the version of the FAISS library, such as "1.7.3".
func FAISSVersion() string { return C.GoString(C.faiss_get_version()) }

// owner is the one OS thread that calls FAISS. OpenMP gives every calling
// thread a team of its own that never goes away, so that calls from many
// goroutines would leave threads by the hundred.
var owner struct {
	once sync.Once
	jobs chan *job
}

// job is taken by whoever claims it first: the owner, or the caller that does
// not want it any more.
type job struct {
	fn      func() error
	claimed atomic.Bool
	done    chan struct{}
	seen    chan struct{} // closed by the caller, who may have to withdraw an interruption
	err     error
}

// queued jobs may wait; further callers block.
const queued = 16

// onFAISS runs fn on FAISS's thread. When ctx ends before fn has begun, fn is
// not run. What runs is interrupted and waited for: the memory it works on must
// stay.
func onFAISS(ctx context.Context, fn func() error) error {
	owner.once.Do(func() {
		owner.jobs = make(chan *job, queued)
		go own(owner.jobs)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{fn: fn, done: make(chan struct{}), seen: make(chan struct{})}
	select {
	case owner.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		// FAISS looks between the rounds of k-means and the blocks of a search.
		// The owner takes no other job before this one's end is seen here.
		C.faiss_interrupt(1)
		<-j.done
		C.faiss_interrupt(0)
		close(j.seen)
		if j.err != nil {
			return ctx.Err()
		}
		return nil
	}
	close(j.seen)
	return j.err
}

func own(jobs <-chan *job) {
	runtime.LockOSThread()
	// Binds this thread only. GOMAXPROCS knows a container's limit, OpenMP not.
	faiss.SetOMPThreads(uint(runtime.GOMAXPROCS(0)))
	for j := range jobs {
		if j.claimed.CompareAndSwap(false, true) {
			j.run()
			close(j.done)
			<-j.seen
		}
	}
}

func (j *job) run() {
	defer func() {
		if p := recover(); p != nil {
			j.err = fmt.Errorf("panic in a FAISS call: %v\n%s", p, debug.Stack())
		}
	}()
	j.err = j.fn()
}
