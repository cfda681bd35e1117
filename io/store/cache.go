package store

import (
	"container/list"
	"errors"
	"io"
	"sync"
)

const (
	blockSize   = 1 << 20  // of the cache
	readAhead   = 4 << 20  // fetched at once when reads come in order
	wholeObject = 4 << 20  // objects up to this size are fetched at once
	cacheBytes  = 16 << 20 // per open file
)

// blockCache serves random reads of an immutable object from blocks of 1 MiB,
// least recently used out first. Reads of over readAhead bytes pass it by.
type blockCache struct {
	size  int64
	fetch func(off, n int64) ([]byte, error) // exactly n bytes

	mu     sync.Mutex
	blocks map[int64]*list.Element // of *block
	order  *list.List              // most recently used first
	next   int64                   // where a sequential reader would go on
}

type block struct {
	index int64
	ready chan struct{} // closed when data or err is set
	data  []byte
	err   error
}

func newBlockCache(size int64, fetch func(off, n int64) ([]byte, error)) *blockCache {
	return &blockCache{size: size, fetch: fetch, blocks: map[int64]*list.Element{}, order: list.New()}
}

func (c *blockCache) readAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read at a negative offset")
	}
	if len(p) == 0 {
		return 0, nil
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var end error
	if want := c.size - off; int64(len(p)) > want {
		p, end = p[:want], io.EOF
	}
	if len(p) > readAhead {
		data, err := c.fetch(off, int64(len(p)))
		if err != nil {
			return 0, err
		}
		return copy(p, data), end
	}
	n := 0
	for n < len(p) {
		b := c.block(off+int64(n), off+int64(len(p)))
		<-b.ready
		if b.err != nil {
			return n, b.err
		}
		n += copy(p[n:], b.data[off+int64(n)-b.index*blockSize:])
	}
	return n, end
}

// block returns the block that holds off. When it is not there, it and those
// up to end that are missing too, or more in a sequential read, are fetched by
// one request.
func (c *blockCache) block(off, end int64) *block {
	c.mu.Lock()
	index := off / blockSize
	sequential := index*blockSize <= c.next && c.next <= (index+1)*blockSize
	c.next = end
	if e := c.blocks[index]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*block)
	}
	last := (min(end, c.size) - 1) / blockSize
	switch {
	case c.size <= wholeObject:
		last = (c.size - 1) / blockSize
	case sequential && off > 0:
		last = min(max(last, index+readAhead/blockSize-1), (c.size-1)/blockSize)
	}
	var run []*block
	for i := index; i <= last && c.blocks[i] == nil; i++ {
		b := &block{index: i, ready: make(chan struct{})}
		c.blocks[i] = c.order.PushFront(b)
		run = append(run, b)
	}
	c.evict()
	c.mu.Unlock()
	c.fill(run)
	return run[0]
}

// fill fetches the blocks of run, which follow one another.
func (c *blockCache) fill(run []*block) {
	from := run[0].index * blockSize
	to := min((run[len(run)-1].index+1)*blockSize, c.size)
	data, err := c.fetch(from, to-from)
	for _, b := range run {
		if err != nil {
			b.err = err
			c.forget(b)
		} else {
			// A copy, lest one block keep the whole run in memory.
			lo := b.index*blockSize - from
			hi := min(lo+blockSize, to-from)
			b.data = data[lo:hi:hi]
			if len(run) > 1 {
				b.data = append([]byte(nil), b.data...)
			}
		}
		close(b.ready)
	}
}

// forget drops a block that could not be fetched, so that a later read tries
// again.
func (c *blockCache) forget(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.blocks[b.index]; e != nil && e.Value.(*block) == b {
		c.order.Remove(e)
		delete(c.blocks, b.index)
	}
}

func (c *blockCache) evict() {
	for c.order.Len() > cacheBytes/blockSize {
		e := c.order.Back()
		c.order.Remove(e)
		delete(c.blocks, e.Value.(*block).index)
	}
}

func (c *blockCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.blocks)
}
