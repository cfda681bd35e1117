package neighbors

import (
	"context"
	"fmt"

	"winnow/io/index"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/graph"
	"winnow/pipeline/seeded"
)

// keys are the ids of all live rows, by their number in the order of Live.Keys,
// and the numbers by id and version: some 20 bytes a row beside the ids. The tasks
// of one process share them.
type keys struct {
	ids   []byte
	ends  []int // of the ids
	hash  []uint64
	slots []int32 // open addressing; 0 is free, else a row's number + 1
}

// readKeys numbers the live rows.
func readKeys(ctx context.Context, l *workspace.Live) (*keys, error) {
	if l.Rows > graph.MaxRows {
		return nil, fmt.Errorf("embedding %s has %d rows; neighbours are found among up to %d", l.Embedding.Name, l.Rows, graph.MaxRows)
	}
	k := &keys{ends: make([]int, 0, l.Rows), hash: make([]uint64, 0, l.Rows)}
	size := 16
	for int64(size) < l.Rows*3/2 {
		size *= 2
	}
	k.slots = make([]int32, size)
	err := l.Keys(ctx, func(ids, versions []string) error {
		for i, id := range ids {
			k.add(id, versions[i])
		}
		return nil
	})
	if err == nil && int64(len(k.ends)) != l.Rows {
		err = fmt.Errorf("embedding %s gave %d of %d rows", l.Embedding.Name, len(k.ends), l.Rows)
	}
	return k, err
}

func hashOf(id, version string) uint64 { return seeded.Hash(uint64(len(id)), id+"\x00"+version) }

func (k *keys) add(id, version string) {
	k.ids = append(k.ids, id...)
	k.ends = append(k.ends, len(k.ids))
	h := hashOf(id, version)
	k.hash = append(k.hash, h)
	at := h & uint64(len(k.slots)-1)
	for k.slots[at] != 0 {
		at = (at + 1) & uint64(len(k.slots)-1)
	}
	k.slots[at] = int32(len(k.ends))
}

func (k *keys) len() int { return len(k.ends) }

// id is the id of a row.
func (k *keys) id(row int32) string { return string(k.bytes(row)) }

func (k *keys) bytes(row int32) []byte {
	from := 0
	if row > 0 {
		from = k.ends[row-1]
	}
	return k.ids[from:k.ends[row]]
}

// find is the number of the live row of an asset in a version, -1 without one.
func (k *keys) find(id, version string) int32 {
	h := hashOf(id, version)
	for at := h & uint64(len(k.slots)-1); k.slots[at] != 0; at = (at + 1) & uint64(len(k.slots)-1) {
		if row := k.slots[at] - 1; k.hash[row] == h && string(k.bytes(row)) == id {
			return row
		}
	}
	return -1
}

// ofIndex gives the live row of every row of an index, -1 for what is not live,
// and says how many live rows the index lacks.
func (k *keys) ofIndex(ctx context.Context, f *index.Folder) (rows []int32, lacks int, err error) {
	lacks = k.len()
	err = f.Keys(ctx, func(ids, versions []string) error {
		for i, id := range ids {
			row := k.find(id, versions[i])
			if rows = append(rows, row); row >= 0 {
				lacks--
			}
		}
		return nil
	})
	return rows, lacks, err
}
