package graph

import (
	"context"
	"math/bits"
)

const (
	bands    = 4
	bandBits = 64 / bands
)

// Alike calls fn with pairs of rows whose hashes differ in at most most bits, 0 to 15:
// enough of them that joining them gives the groups of all such pairs. Rows of the
// same hash are named with the first of them.
//
// Of two hashes that differ in b bits, one of four bands of 16 bits differs in at
// most b/4: multi-index hashing (Norouzi, Punjani and Fleet, 2012) looks only at
// rows of which a band is so close. It is exact.
func Alike(ctx context.Context, rows []int32, hashes []uint64, most int, fn func(a, b int32)) error {
	first := make(map[uint64]int32, len(rows))
	var table [bands][][]int32 // places in rows, by the band's bits
	for b := range table {
		table[b] = make([][]int32, 1<<bandBits)
	}
	var masks []uint16
	for m := range 1 << bandBits {
		if bits.OnesCount(uint(m)) <= most/bands {
			masks = append(masks, uint16(m))
		}
	}
	for i, row := range rows {
		if i%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h := hashes[i]
		if of, ok := first[h]; ok {
			fn(of, row)
			continue
		}
		first[h] = row
		for b := range table {
			band := uint16(h >> (b * bandBits))
			for _, m := range masks {
				for _, k := range table[b][band^m] {
					if bits.OnesCount64(h^hashes[k]) <= most {
						fn(rows[k], row)
					}
				}
			}
		}
		for b := range table {
			at := uint16(h >> (b * bandBits))
			table[b][at] = append(table[b][at], int32(i))
		}
	}
	return nil
}
