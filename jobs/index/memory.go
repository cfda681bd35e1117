package index

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
)

// manyRows in one embedding are where memory is watched: the database's share for them
// would be as large as the whole that an index may take.
const manyRows = 200_000

// memory is the least that an index of the config may take, in bytes.
func (s *Stage) memory() int64 {
	least := int64(0)
	for _, e := range s.W.Config.Embeddings {
		if m := int64(e.Index.Memory); least == 0 || m < least {
			least = m
		}
	}
	return least
}

// collected holds how many users the limit of Go's memory has, and what it was before.
var collected struct {
	sync.Mutex
	users  int
	before int64
}

// frugal has garbage collected before it is as much as the index's memory allows, until
// the returned function is called.
func (s *Stage) frugal() (done func()) {
	collected.Lock()
	defer collected.Unlock()
	if collected.users++; collected.users == 1 {
		collected.before = debug.SetMemoryLimit(s.memory() / 2)
	}
	return func() {
		collected.Lock()
		defer collected.Unlock()
		if collected.users--; collected.users == 0 {
			debug.SetMemoryLimit(collected.before)
		}
	}
}

// liveOf finds the live rows of an embedding and keeps them, for the database, which
// found them, is given back where they are many.
func (s *Stage) liveOf(ctx context.Context, e configs.Embedding) (_ *workspace.Live, err error) {
	if l := s.lives[e.Name]; l != nil {
		return l, nil
	}
	sp, err := s.W.Current(ctx, e)
	if err != nil {
		return nil, err
	}
	snap, err := s.W.Snapshot(ctx, sp.Root())
	if err != nil {
		return nil, err
	}
	if snap.Rows() >= manyRows {
		limit := s.W.Config.Limits.Memory
		if err := s.W.Release(); err != nil {
			return nil, err
		}
		s.W.Config.Limits.Memory = min(limit, configs.Bytes(s.memory()/2))
		defer func() {
			s.W.Config.Limits.Memory = limit
			err = errors.Join(err, s.W.Release())
		}()
	}
	l, err := s.W.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	if s.lives == nil {
		s.lives = map[string]*workspace.Live{}
	}
	s.lives[e.Name] = l
	return l, nil
}
