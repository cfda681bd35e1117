package table

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"winnow/io/store"
	"winnow/pipeline"
)

// Change is what one commit does to a table. All of it becomes visible at once.
type Change struct {
	Base       int64             // the version that the change was planned on; -1: the table does not exist
	Schema     Schema            // nil: unchanged; needed to create the table
	Properties map[string]string // set beside those that are there; an empty value removes one
	Adds       []File            // their objects are in the store, and Size is the true size
	Removes    []string          // paths of files that leave the table; the objects stay for older versions

	// AppID and AppVersion name the transaction. A commit whose transaction is
	// in the table already, at AppVersion or above, changes nothing and returns
	// the version that holds it. Without AppID there is no such check.
	AppID      string
	AppVersion int64

	Operation string            // for the history, such as WRITE
	Info      map[string]string // for the history

	// Exclusive makes any commit of others since Base a conflict, for changes
	// whose rows depend on all rows of the table.
	Exclusive bool
	// Rearranged says that the rows stay the same and only lie in other files,
	// so that followers of the table need not read them again.
	Rearranged bool
}

// nonceKey marks an entry in its commitInfo, so that its writer knows it again.
const nonceKey = "winnowCommit"

// Commit applies c and returns the version that holds it. Changes of other
// writers since c.Base that do not contradict c are kept; others give
// ErrConflict: a removed file that is gone, an added path that is there, a
// changed schema or property, or any change for an Exclusive c.
//
// After a transient error the change may have been committed; the same call
// finds that out if c names a transaction.
func (t *Table) Commit(ctx context.Context, c Change) (int64, error) {
	v, err := t.commit(ctx, c)
	if err != nil {
		return v, fmt.Errorf("commit to table %s: %w", t.name, err)
	}
	return v, nil
}

func (t *Table) commit(ctx context.Context, c Change) (int64, error) {
	if err := c.check(); err != nil {
		return -1, err
	}
	adds, err := t.verify(ctx, c.Adds)
	if err != nil {
		return -1, err
	}
	c.Adds = adds
	nonce := crand.Text()
	const most = 1000 // a writer that loses so often is in a loop
	var unclear error // of a put that may have landed
	for attempt := 1; attempt <= most; attempt++ {
		st, err := t.load(ctx, Latest)
		if err != nil {
			return -1, err
		}
		if v, ok, err := t.landed(ctx, st, c, nonce, unclear != nil); err != nil || ok {
			return v, err
		}
		if err := t.compatible(ctx, st, c); err != nil {
			return -1, err
		}
		v := st.version + 1
		data, err := c.entry(st, nonce)
		if err != nil {
			return -1, err
		}
		created, err := t.s.CreateAll(ctx, entryKey(v), data)
		switch {
		case created:
			t.committed(ctx, v)
			return v, nil
		case err == nil:
			// Another writer's, or ours after a lost reply.
			if mine, err := t.isMine(ctx, v, nonce); err != nil || mine {
				return v, err
			}
		case unclear != nil || !store.IsTransient(err):
			return -1, err
		default:
			unclear = err // look whether it landed, and try once more
		}
		if err := wait(ctx, attempt); err != nil {
			return -1, err
		}
	}
	return -1, &pipeline.TransientError{Err: fmt.Errorf("lost against other writers %d times", most)}
}

// wait lets the other writers of a crowd go first, for up to 200 ms.
func wait(ctx context.Context, attempt int) error {
	t := time.NewTimer(rand.N(min(time.Duration(attempt)*5*time.Millisecond, 200*time.Millisecond)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// check looks for faults of the caller.
func (c *Change) check() error {
	if c.Base < -1 {
		return fmt.Errorf("the base version is %d", c.Base)
	}
	if c.Base < 0 && c.Schema == nil {
		return errors.New("a new table needs a schema")
	}
	if c.Schema == nil && len(c.Properties)+len(c.Adds)+len(c.Removes) == 0 && c.AppID == "" {
		return errors.New("there is nothing to commit")
	}
	if err := c.Schema.check(); err != nil {
		return err
	}
	removed := map[string]bool{}
	for _, p := range c.Removes {
		if removed[p] {
			return fmt.Errorf("%s is removed twice", p)
		}
		removed[p] = true
	}
	added := map[string]bool{}
	for _, f := range c.Adds {
		switch {
		case f.Path == "" || strings.HasPrefix(f.Path, logDir):
			return fmt.Errorf("%q is no path of a data file", f.Path)
		case added[f.Path]:
			return fmt.Errorf("%s is added twice", f.Path)
		case removed[f.Path]:
			return fmt.Errorf("%s is both added and removed; data files are never replaced, give the new one another name", f.Path)
		}
		added[f.Path] = true
	}
	return nil
}

// verify compares each added file with its object: Polars and others trust the
// size in the log. It returns the files with their times filled in.
func (t *Table) verify(ctx context.Context, adds []File) ([]File, error) {
	out := slices.Clone(adds)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range out {
		g.Go(func() error {
			f := &out[i]
			obj, err := t.s.Stat(gctx, f.Path)
			if err != nil {
				return fmt.Errorf("the data file must be there before its commit: %w", err)
			}
			if obj.Size != f.Size {
				return fmt.Errorf("%s has %d bytes, not %d", f.Path, obj.Size, f.Size)
			}
			if f.ModTime == 0 {
				f.ModTime = obj.ModTime.UnixMilli()
			}
			return nil
		})
	}
	return out, g.Wait()
}

// landed looks for the change in the table: by its transaction, and after an
// unclear put by its nonce.
func (t *Table) landed(ctx context.Context, st *state, c Change, nonce string, unclear bool) (int64, bool, error) {
	x, done := st.txns[c.AppID]
	done = done && c.AppID != "" && x.Version >= c.AppVersion
	if !done && !unclear {
		return -1, false, nil
	}
	for v := max(c.Base+1, 0); v <= st.version; v++ {
		actions, err := t.readEntry(ctx, v)
		if errors.Is(err, store.ErrNotFound) {
			continue // cleaned away
		}
		if err != nil {
			return -1, false, err
		}
		for _, a := range actions {
			if done && a.Txn != nil && a.Txn.AppID == c.AppID && a.Txn.Version >= c.AppVersion || a.hasNonce(nonce) {
				return v, true, nil
			}
		}
	}
	if done {
		// Committed before c.Base, or its entry has been cleaned away.
		return min(max(c.Base, 0), st.version), true, nil
	}
	return -1, false, nil
}

func (a action) hasNonce(nonce string) bool {
	var s string
	return a.CommitInfo != nil && json.Unmarshal(a.CommitInfo[nonceKey], &s) == nil && s == nonce
}

func (t *Table) isMine(ctx context.Context, v int64, nonce string) (bool, error) {
	actions, err := t.readEntry(ctx, v)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(actions, func(a action) bool { return a.hasNonce(nonce) }), nil
}

// compatible tells whether c can follow st.
func (t *Table) compatible(ctx context.Context, st *state, c Change) error {
	switch {
	case c.Base > st.version:
		return fmt.Errorf("%w: the table is at version %d, the change was planned on %d", ErrConflict, st.version, c.Base)
	case st.version >= 0 && st.protocol.MinWriterVersion > writerVersion:
		return fmt.Errorf("%w: writing needs writer version %d of the Delta protocol, this winnow knows %d", ErrUnsupported, st.protocol.MinWriterVersion, writerVersion)
	case c.Exclusive && c.Base != st.version:
		return fmt.Errorf("%w: others committed up to version %d since %d, and this change allows for none", ErrConflict, st.version, c.Base)
	}
	for _, p := range c.Removes {
		if _, ok := st.files[p]; !ok {
			return fmt.Errorf("%w: %s is to be removed and not in version %d", ErrConflict, p, st.version)
		}
	}
	for _, f := range c.Adds {
		if _, ok := st.files[f.Path]; ok {
			return fmt.Errorf("%w: %s is in version %d already", ErrConflict, f.Path, st.version)
		}
	}
	return t.sameMeta(ctx, st, c)
}

// sameMeta tells whether schema and properties are still those of c.Base, or
// those that c sets anyway.
func (t *Table) sameMeta(ctx context.Context, st *state, c Change) error {
	if st.version == c.Base || st.metaAt >= 0 && st.metaAt <= c.Base {
		return nil
	}
	if c.Base < 0 {
		if !st.schema.Equal(c.Schema) || !maps.Equal(c.properties(nil), st.meta.Configuration) {
			return fmt.Errorf("%w: another writer created the table with another schema or other properties", ErrConflict)
		}
		return nil
	}
	base, err := t.load(ctx, c.Base)
	if err != nil {
		return err
	}
	if base.meta.ID != st.meta.ID || !base.schema.Equal(st.schema) || !maps.Equal(base.meta.Configuration, st.meta.Configuration) {
		return fmt.Errorf("%w: the schema or the properties changed since version %d", ErrConflict, c.Base)
	}
	return nil
}

// properties returns those that the change leads to.
func (c *Change) properties(old map[string]string) map[string]string {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range c.Properties {
		if v == "" {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

// entry returns the log entry that applies c to st.
func (c *Change) entry(st *state, nonce string) ([]byte, error) {
	now := time.Now().UnixMilli()
	info, err := c.commitInfo(st, nonce, now)
	if err != nil {
		return nil, err
	}
	actions := []action{{CommitInfo: info}}
	meta, err := c.metaData(st, now)
	if err != nil {
		return nil, err
	}
	if st.version < 0 {
		actions = append(actions, action{Protocol: &protocol{readerVersion, writerVersion}})
	}
	if meta != nil {
		actions = append(actions, action{MetaData: meta})
	}
	if c.AppID != "" {
		actions = append(actions, action{Txn: &txn{AppID: c.AppID, Version: c.AppVersion, LastUpdated: &now}})
	}
	for _, p := range slices.Sorted(slices.Values(c.Removes)) {
		size := st.files[p].Size
		actions = append(actions, action{Remove: &remove{
			Path: encodePath(p), DeletionTimestamp: &now, DataChange: !c.Rearranged, Size: &size,
		}})
	}
	adds := slices.Clone(c.Adds)
	slices.SortFunc(adds, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range adds {
		a, err := f.add(!c.Rearranged)
		if err != nil {
			return nil, err
		}
		actions = append(actions, action{Add: a})
	}
	return encode(actions)
}

// metaData returns the new table's, or the changed one, or nil.
func (c *Change) metaData(st *state, now int64) (*metaData, error) {
	m := metaData{Format: format{Provider: "parquet", Options: map[string]string{}}, PartitionColumns: []string{}}
	if st.meta == nil {
		m.ID, m.CreatedTime = newUUID(), &now
	} else {
		m = *st.meta
	}
	schema := st.schema
	if c.Schema != nil {
		schema = c.Schema
	}
	props := c.properties(m.Configuration)
	if st.meta != nil && schema.Equal(st.schema) && maps.Equal(props, m.Configuration) {
		return nil, nil
	}
	m.Configuration = props
	text, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	m.SchemaString = string(text)
	return &m, nil
}

func newUUID() string {
	var b [16]byte
	crand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (c *Change) commitInfo(st *state, nonce string, now int64) (map[string]json.RawMessage, error) {
	op := c.Operation
	if op == "" {
		op = "WRITE"
	}
	values := map[string]any{}
	for k, v := range c.Info {
		values[k] = v
	}
	values["timestamp"] = now
	values["operation"] = op
	values["operationParameters"] = map[string]string{}
	values["engineInfo"] = "winnow"
	values["isBlindAppend"] = len(c.Removes) == 0 && !c.Exclusive
	values[nonceKey] = nonce
	if st.version >= 0 {
		values["readVersion"] = st.version
	}
	out := make(map[string]json.RawMessage, len(values))
	for k, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out[k] = raw
	}
	return out, nil
}

// committed writes a checkpoint when one is due. The commit stands whatever
// happens here.
func (t *Table) committed(ctx context.Context, v int64) {
	st, err := t.load(ctx, Latest)
	if err == nil && st.version-max(st.checkpoint, 0) >= st.interval() {
		err = t.writeCheckpoint(ctx, st)
	}
	if err != nil && t.Warn != nil {
		t.Warn(fmt.Errorf("table %s: version %d is committed, but its checkpoint failed: %w", t.name, v, err))
	}
}
