package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
)

const (
	// checkpointEvery is the number of commits between checkpoints, unless
	// delta.checkpointInterval says otherwise.
	checkpointEvery = 10
	checkpointMost  = 100

	// keepRemoved is how long checkpoints remember removed files, for the
	// vacuum of other tools: Delta's default.
	keepRemoved = 7 * 24 * time.Hour

	checkpointBatch = 512 // rows handed to parquet-go at once
)

// checkpointRow is one action in a checkpoint: exactly one field is set.
type checkpointRow struct {
	Protocol *protocol `parquet:"protocol,optional"`
	MetaData *metaData `parquet:"metaData,optional"`
	Txn      *txn      `parquet:"txn,optional"`
	Remove   *remove   `parquet:"remove,optional"`
	Add      *add      `parquet:"add,optional"`
}

func checkpointKey(v int64) string { return fmt.Sprintf("%s%020d.checkpoint.parquet", logDir, v) }

// interval returns the number of commits after which a checkpoint is due.
func (st *state) interval() int64 {
	n, err := strconv.ParseInt(st.meta.Configuration["delta.checkpointInterval"], 10, 64)
	if err != nil || n < 1 {
		return checkpointEvery
	}
	return min(n, checkpointMost)
}

// Checkpoint writes the newest state of the table as one file, so that readers
// need not replay the log before it. Commit does it when it is due.
func (t *Table) Checkpoint(ctx context.Context) error {
	st, err := t.load(ctx, Latest)
	if err == nil && st.version >= 0 && st.checkpoint < st.version {
		err = t.writeCheckpoint(ctx, st)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}

func (t *Table) writeCheckpoint(ctx context.Context, st *state) error {
	size, adds := int64(0), int64(0)
	// Put if absent: a checkpoint of this version says the same whoever writes
	// it, and a reader may be in it.
	_, err := t.s.Create(ctx, checkpointKey(st.version), func(w io.Writer) error {
		size, adds = 0, 0
		pw := parquet.NewGenericWriter[checkpointRow](w,
			parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(50_000))
		batch := make([]checkpointRow, 0, checkpointBatch)
		flush := func() error {
			_, err := pw.Write(batch)
			batch = batch[:0]
			return err
		}
		for row, err := range st.rows(time.Now()) {
			if err != nil {
				return err
			}
			size++
			if row.Add != nil {
				adds++
			}
			if batch = append(batch, row); len(batch) == cap(batch) {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
		return pw.Close()
	})
	if err != nil {
		return err
	}
	return t.pointTo(ctx, st.version, size, adds)
}

// pointTo replaces _last_checkpoint unless it names a newer one.
func (t *Table) pointTo(ctx context.Context, v, size, adds int64) error {
	if now, err := t.hint(ctx); err != nil || now >= v {
		return err
	}
	obj, err := t.s.Stat(ctx, checkpointKey(v))
	if err != nil {
		return err
	}
	if size == 0 { // another writer's file
		size = -1
	}
	data, err := json.Marshal(lastCheckpoint{Version: v, Size: size, SizeInBytes: obj.Size, NumOfAddFiles: adds})
	if err != nil {
		return err
	}
	return t.s.WriteAll(ctx, lastFile, data)
}

// rows yields the state as checkpoint rows in a fixed order.
func (st *state) rows(now time.Time) func(func(checkpointRow, error) bool) {
	return func(yield func(checkpointRow, error) bool) {
		p, m := st.protocol, *st.meta
		if m.Configuration == nil {
			m.Configuration = map[string]string{}
		}
		if m.Format.Options == nil {
			m.Format.Options = map[string]string{}
		}
		if !yield(checkpointRow{Protocol: &p}, nil) || !yield(checkpointRow{MetaData: &m}, nil) {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(st.txns)) {
			x := st.txns[id]
			if !yield(checkpointRow{Txn: &x}, nil) {
				return
			}
		}
		for _, path := range slices.Sorted(maps.Keys(st.removed)) {
			r := st.removed[path]
			if r.DeletionTimestamp == nil || now.Sub(time.UnixMilli(*r.DeletionTimestamp)) > keepRemoved {
				continue
			}
			r.DataChange = false
			if !yield(checkpointRow{Remove: &r}, nil) {
				return
			}
		}
		for _, path := range slices.Sorted(maps.Keys(st.files)) {
			a, err := st.files[path].add(false)
			if !yield(checkpointRow{Add: a}, err) || err != nil {
				return
			}
		}
	}
}

// readCheckpoint fills st from the files of one checkpoint.
func (t *Table) readCheckpoint(ctx context.Context, st *state, files []logFile) error {
	for _, f := range files {
		if err := t.readCheckpointFile(ctx, st, f.key); err != nil {
			return fmt.Errorf("checkpoint %s: %w", f.key, err)
		}
	}
	return nil
}

func (t *Table) readCheckpointFile(ctx context.Context, st *state, key string) (err error) {
	f, err := t.s.OpenAt(ctx, key)
	if err != nil {
		return err
	}
	defer f.Close()
	// parquet-go panics on some damaged files.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	pf, err := parquet.OpenFile(f, f.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[checkpointRow](pf)
	defer r.Close()
	rows := make([]checkpointRow, checkpointBatch)
	for {
		clear(rows) // a row is kept by reference and must not be overwritten
		n, rerr := r.Read(rows)
		for _, row := range rows[:n] {
			a := action{Protocol: row.Protocol, MetaData: row.MetaData, Txn: row.Txn, Remove: row.Remove, Add: row.Add}
			if err := st.apply(-1, a); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return nil
		case rerr != nil:
			return rerr
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}
