package embed

import (
	"sync"
	"time"
)

// Worked is the time from the first task's first byte read to the end of the last
// task, or of the commit where this process commits: fetching, decoding, inference
// and writing. Loading models is left out. 0 where no task ran.
func (s *Stage) Worked() time.Duration { return s.clock.worked() }

// clock takes the time of the work of several tasks.
type clock struct {
	mu         sync.Mutex
	begin, end time.Time
	paused     time.Duration
}

func (c *clock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begin.IsZero() {
		c.begin = time.Now()
	}
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begin.IsZero() {
		c.end = time.Now()
	}
}

// pause leaves the time out until the function that it returns is called.
func (c *clock) pause() func() {
	from := time.Now()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paused += time.Since(from)
	}
}

func (c *clock) worked() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begin.IsZero() {
		return 0
	}
	return c.end.Sub(c.begin) - c.paused
}
