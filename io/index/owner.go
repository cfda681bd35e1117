package index

/*
#cgo LDFLAGS: -lfaiss_c
const char *faiss_get_version(void);
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
	err     error
}

// queued jobs may wait; further callers block.
const queued = 16

// onFAISS runs fn on FAISS's thread. When ctx ends before fn has begun, fn is
// not run. What runs is waited for: the memory it works on must stay.
func onFAISS(ctx context.Context, fn func() error) error {
	owner.once.Do(func() {
		owner.jobs = make(chan *job, queued)
		go own(owner.jobs)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{fn: fn, done: make(chan struct{})}
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
		<-j.done
	}
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
