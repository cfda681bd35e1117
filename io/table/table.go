// Package table keeps Delta Lake tables: Parquet files in a store, and a log of
// numbered entries that says which of them make up each version.
//
// It speaks reader version 1 and writer version 2 of the protocol, so
// delta-rs, Polars, DuckDB and Spark open every table as it is, and refuses
// tables that need more. Tables are not partitioned.
//
// A commit is one put-if-absent of the next entry, after all data files: who
// reads sees whole versions only, and of two writers one wins. The loser reads
// what the winner did, gives up with ErrConflict where that contradicts its
// own change, and else tries the next number. Every entry carries a token, and
// the caller's transaction (txn) where it names one, so a writer that was
// refused, lost a reply, or is run again finds out that its entry is there.
//
// The package knows nothing of what is in the data files.
package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"winnow/io/store"
)

// Latest asks Snapshot for the newest version.
const Latest int64 = -1

// The protocol versions that are written, and the highest that are accepted.
const (
	readerVersion = 1
	writerVersion = 2
)

var (
	// ErrConflict says that another writer's commit contradicts a change: plan
	// it again from a fresh snapshot.
	ErrConflict = errors.New("another commit contradicts this change")
	// ErrNoVersion says that a table has no such version (any more).
	ErrNoVersion = errors.New("no such table version")
	// ErrUnsupported says that a table uses what this package does not know.
	ErrUnsupported = errors.New("unsupported table")
)

// Table is a Delta table. Its methods may be called by many goroutines. It
// remembers the newest state that it has read.
type Table struct {
	s    *store.Store // at the table's root
	name string       // for errors

	// Warn, when set before first use, hears of faults that do no harm, such
	// as a checkpoint that could not be written after its commit.
	Warn func(error)

	mu    sync.Mutex
	cache *state
}

// Open returns the table at root, a key prefix of s. It reads nothing: the
// table need not exist.
func Open(s *store.Store, root string) *Table {
	sub := s.Sub(root)
	name := strings.Trim(root, "/")
	if name == "" {
		name = sub.URL()
	}
	return &Table{s: sub, name: name}
}

// Files returns the store of the table's data files; File.Path is a key of it.
func (t *Table) Files() *store.Store { return t.s }

// Snapshot is one version of a table. It is shared: do not change it.
type Snapshot struct {
	Version    int64 // -1: the table does not exist
	Schema     Schema
	Files      []File            // sorted by Path
	Txns       map[string]int64  // the last version of each application's transaction
	Properties map[string]string // such as delta.checkpointInterval
	ID         string            // of the table, a UUID
	Created    time.Time         // zero when unknown
}

// Rows returns the number of rows of all files; -1 when one does not say.
func (s *Snapshot) Rows() int64 {
	var n int64
	for _, f := range s.Files {
		if f.Rows < 0 {
			return -1
		}
		n += f.Rows
	}
	return n
}

// Bytes returns the size of all files.
func (s *Snapshot) Bytes() int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// File is a data file of a table.
type File struct {
	Path    string            // relative to the table's root, not escaped
	Size    int64             // bytes
	Rows    int64             // -1: unknown
	Stats   string            // JSON as Stats makes it; "" in a Change means rows alone
	Tags    map[string]string // nil when there are none
	ModTime int64             // milliseconds since 1970; 0 in a Change means that of the object
}

// Snapshot returns the given version, or the newest for Latest. A table that
// does not exist has the version -1 and nothing else; a version that does not
// exist is ErrNoVersion.
func (t *Table) Snapshot(ctx context.Context, version int64) (*Snapshot, error) {
	if version < Latest {
		return nil, fmt.Errorf("table %s: %w: %d", t.name, ErrNoVersion, version)
	}
	st, err := t.load(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	return st.snapshot(), nil
}

// state is a version in the form that log entries are applied to. It is not
// changed once it is shared.
type state struct {
	version    int64
	checkpoint int64 // the newest known checkpoint up to version; -1 none
	protocol   protocol
	meta       *metaData
	metaAt     int64 // version of meta's entry; -1: it came from a checkpoint
	schema     Schema
	files      map[string]File
	txns       map[string]txn
	removed    map[string]remove // not yet forgotten, by path
}

func emptyState() *state {
	return &state{
		version: -1, checkpoint: -1, metaAt: -1,
		files: map[string]File{}, txns: map[string]txn{}, removed: map[string]remove{},
	}
}

func (st *state) snapshot() *Snapshot {
	s := &Snapshot{
		Version:    st.version,
		Schema:     st.schema,
		Files:      make([]File, 0, len(st.files)),
		Txns:       make(map[string]int64, len(st.txns)),
		Properties: map[string]string{},
	}
	for _, f := range st.files {
		s.Files = append(s.Files, f)
	}
	slices.SortFunc(s.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for id, x := range st.txns {
		s.Txns[id] = x.Version
	}
	if st.meta != nil {
		for k, v := range st.meta.Configuration {
			s.Properties[k] = v
		}
		s.ID = st.meta.ID
		if st.meta.CreatedTime != nil {
			s.Created = time.UnixMilli(*st.meta.CreatedTime).UTC()
		}
	}
	return s
}

// Entry is one commit of a table's history.
type Entry struct {
	Version   int64
	Time      time.Time // zero when the entry does not say
	Operation string
	Info      map[string]string // what the writer added, and its name as engineInfo
	Added     int               // files
	Removed   int
}

// History yields the table's commits, the newest first.
func (t *Table) History(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		st, err := t.load(ctx, Latest)
		if err != nil {
			yield(Entry{}, fmt.Errorf("table %s: %w", t.name, err))
			return
		}
		for v := st.version; v >= 0; v-- {
			actions, err := t.readEntry(ctx, v)
			if errors.Is(err, store.ErrNotFound) {
				return // the older ones have been cleaned away
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("table %s: %w", t.name, err))
				return
			}
			if !yield(historyEntry(v, actions), nil) {
				return
			}
		}
	}
}

func historyEntry(v int64, actions []action) Entry {
	e := Entry{Version: v, Info: map[string]string{}}
	for _, a := range actions {
		switch {
		case a.Add != nil:
			e.Added++
		case a.Remove != nil:
			e.Removed++
		case a.CommitInfo != nil:
			for k, raw := range a.CommitInfo {
				var s string
				switch {
				case k == "timestamp":
					var ms int64
					if json.Unmarshal(raw, &ms) == nil {
						e.Time = time.UnixMilli(ms).UTC()
					}
				case k == "operation":
					json.Unmarshal(raw, &e.Operation)
				case json.Unmarshal(raw, &s) == nil:
					e.Info[k] = s
				default:
					e.Info[k] = string(raw)
				}
			}
		}
	}
	return e
}
