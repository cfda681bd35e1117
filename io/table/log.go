package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"winnow/io/store"
)

const (
	logDir   = "_delta_log/"
	lastFile = logDir + "_last_checkpoint"

	// maxEntry bounds one log entry: some 500,000 files.
	maxEntry = 512 << 20

	// readAtOnce is the number of log entries fetched ahead of the replay.
	readAtOnce = 8
)

func entryKey(v int64) string { return fmt.Sprintf("%s%020d.json", logDir, v) }

// logFile is a parsed name in _delta_log.
type logFile struct {
	version int64
	part    int // of a checkpoint in several files, from 1
	parts   int // 0: a log entry; 1: a checkpoint in one file
	key     string
}

// parseLogName reads names such as 00000000000000000010.json and
// 00000000000000000010.checkpoint.parquet. Others, among them the checkpoints
// of newer protocols, are not ok.
func parseLogName(key string) (f logFile, ok bool) {
	elems := strings.Split(strings.TrimPrefix(key, logDir), ".")
	if len(elems[0]) != 20 {
		return f, false
	}
	v, err := strconv.ParseInt(elems[0], 10, 64)
	if err != nil {
		return f, false
	}
	f = logFile{version: v, key: key}
	switch {
	case len(elems) == 2 && elems[1] == "json":
		return f, true
	case len(elems) == 3 && elems[1] == "checkpoint" && elems[2] == "parquet":
		f.part, f.parts = 1, 1
		return f, true
	case len(elems) == 5 && elems[1] == "checkpoint" && elems[4] == "parquet":
		part, perr := strconv.Atoi(elems[2])
		parts, serr := strconv.Atoi(elems[3])
		f.part, f.parts = part, parts
		return f, perr == nil && serr == nil && part >= 1 && part <= parts
	}
	return f, false
}

// logRange is what a list of part of _delta_log found.
type logRange struct {
	newest      int64               // entry; -1 none
	oldest      int64               // entry; -1 none
	checkpoints map[int64][]logFile // whole ones, by version
}

// listLog lists the log from version from on, up to version to, or to its end
// for Latest. It may miss entries that come into being meanwhile, even one
// before another that it finds: the list of a local directory is no snapshot.
func (t *Table) listLog(ctx context.Context, from, to int64) (logRange, error) {
	r := logRange{newest: -1, oldest: -1, checkpoints: map[int64][]logFile{}}
	after := fmt.Sprintf("%s%020d", logDir, max(from, 0)) // sorts before that version's files
	for o, err := range t.s.ListAfter(ctx, logDir, after) {
		if err != nil {
			return r, err
		}
		f, ok := parseLogName(o.Key)
		if !ok {
			continue
		}
		if to >= 0 && f.version > to {
			break
		}
		if f.parts > 0 {
			r.checkpoints[f.version] = append(r.checkpoints[f.version], f)
			continue
		}
		if r.oldest < 0 {
			r.oldest = f.version
		}
		r.newest = f.version
	}
	for v, files := range r.checkpoints {
		if len(files) != files[0].parts {
			delete(r.checkpoints, v) // a writer was killed between the parts
		}
	}
	return r, nil
}

// lastCheckpoint is the content of _last_checkpoint, a hint.
type lastCheckpoint struct {
	Version       int64 `json:"version"`
	Size          int64 `json:"size"` // actions
	Parts         *int  `json:"parts,omitempty"`
	SizeInBytes   int64 `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64 `json:"numOfAddFiles,omitempty"`
}

// hint returns the version in _last_checkpoint, or -1. A damaged one is as
// good as none: the list finds the checkpoints.
func (t *Table) hint(ctx context.Context) (int64, error) {
	data, err := t.s.Read(ctx, lastFile, 64<<10)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	var last lastCheckpoint
	if json.Unmarshal(data, &last) != nil {
		return -1, nil
	}
	return last.Version, nil
}

// load returns the state at a version; it replays as little as it can.
func (t *Table) load(ctx context.Context, version int64) (*state, error) {
	t.mu.Lock()
	cached := t.cache
	t.mu.Unlock()
	if cached != nil && cached.version == version {
		return cached, nil
	}
	if cached != nil && (version == Latest || cached.version < version) {
		r, err := t.listLog(ctx, cached.version, version)
		if err != nil {
			return nil, err
		}
		if version == Latest && r.newest == cached.version && len(r.checkpoints) == 0 {
			return cached, nil
		}
		// A table that is far ahead is read faster from its checkpoint.
		if r.newest >= cached.version && r.newest-cached.version <= 64 {
			st, err := t.replay(ctx, cached, nil, r, version)
			if !errors.Is(err, ErrNoVersion) {
				return st, err
			}
			// The entries after the cached one have been cleaned away.
		}
	}
	return t.loadFresh(ctx, version)
}

// loadFresh starts from the newest checkpoint that is not after version.
func (t *Table) loadFresh(ctx context.Context, version int64) (*state, error) {
	hint, err := t.hint(ctx)
	if err != nil {
		return nil, err
	}
	if version == Latest || hint < version {
		r, err := t.listLog(ctx, hint, version)
		if err != nil {
			return nil, err
		}
		if hint < 0 || r.checkpoints[hint] != nil {
			return t.replay(ctx, nil, r.newestCheckpoint(version), r, version)
		}
	}
	// Time travel, or a hint that leads nowhere: look back for a checkpoint in
	// growing steps.
	to := version
	for step := int64(128); ; step *= 8 {
		from := int64(0)
		if to != Latest {
			from = max(to-step, 0)
		}
		r, err := t.listLog(ctx, from, to)
		if err != nil {
			return nil, err
		}
		if cp := r.newestCheckpoint(version); cp != nil || from == 0 {
			return t.replay(ctx, nil, cp, r, version)
		}
	}
}

func (r logRange) newestCheckpoint(version int64) []logFile {
	best := int64(-1)
	for v := range r.checkpoints {
		if version == Latest || v <= version {
			best = max(best, v)
		}
	}
	return r.checkpoints[best]
}

// replay applies the entries of r to a base state or a checkpoint.
func (t *Table) replay(ctx context.Context, base *state, cp []logFile, r logRange, version int64) (*state, error) {
	st := emptyState()
	switch {
	case base != nil:
		st = base.clone()
	case cp != nil:
		if err := t.readCheckpoint(ctx, st, cp); err != nil {
			return nil, err
		}
		st.version, st.checkpoint = cp[0].version, cp[0].version
	}
	newest := r.newest
	if version != Latest {
		if newest = max(newest, st.version); newest < version {
			return nil, fmt.Errorf("%w: %d; the newest is %d", ErrNoVersion, version, newest)
		}
		newest = version
	}
	if err := t.applyEntries(ctx, st, newest); err != nil {
		missing := st.version + 1
		switch {
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		case missing < r.oldest:
			return nil, fmt.Errorf("%w: the log entries before version %d have been removed, and no checkpoint covers them", ErrNoVersion, r.oldest)
		}
		return nil, fmt.Errorf("the log has no entry %d but has %d; it is damaged", missing, newest)
	}
	for v := range r.checkpoints {
		if v <= st.version {
			st.checkpoint = max(st.checkpoint, v)
		}
	}
	if st.version >= 0 && (st.meta == nil || st.protocol == protocol{}) {
		return nil, fmt.Errorf("the log up to version %d has no metaData or no protocol action; it is damaged", st.version)
	}
	t.remember(st)
	return st, nil
}

func (st *state) clone() *state {
	c := *st
	c.files, c.txns, c.removed = maps.Clone(st.files), maps.Clone(st.txns), maps.Clone(st.removed)
	return &c
}

// remember keeps the newest state for the next load.
func (t *Table) remember(st *state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.cache
	if st.version >= 0 && (old == nil || old.version < st.version || old.version == st.version && old.checkpoint < st.checkpoint) {
		t.cache = st
	}
}

// applyEntries replays the entries after st.version up to newest. A few are
// fetched at once, since each is a round trip. When it fails, st.version+1 is
// the entry that could not be read.
func (t *Table) applyEntries(ctx context.Context, st *state, newest int64) error {
	for st.version < newest {
		n := int(min(newest-st.version, readAtOnce))
		batch, errs := make([][]action, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range batch {
			wg.Go(func() { batch[i], errs[i] = t.readEntry(ctx, st.version+1+int64(i)) })
		}
		wg.Wait()
		for i, actions := range batch {
			if errs[i] != nil {
				return errs[i]
			}
			v := st.version + 1
			for _, a := range actions {
				if err := st.apply(v, a); err != nil {
					return fmt.Errorf("%s: %w", entryKey(v), err)
				}
			}
			st.version = v
		}
	}
	return nil
}

// readEntry returns the actions of a version's log entry.
func (t *Table) readEntry(ctx context.Context, v int64) ([]action, error) {
	r, obj, err := t.s.NewReader(ctx, entryKey(v))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if obj.Size > maxEntry {
		return nil, fmt.Errorf("%s has %d bytes: %w", entryKey(v), obj.Size, store.ErrTooLarge)
	}
	var out []action
	err = decode(r, func(a action) error {
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", entryKey(v), err)
	}
	return slices.Clip(out), nil
}
