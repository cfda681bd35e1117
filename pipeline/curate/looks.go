package curate

import (
	"context"
	"fmt"
	"math/bits"
)

// Looks drops pictures that look like one that stays: those whose perceptual
// hashes, such as dHash or pHash, differ in few bits.
type Looks struct {
	Hashes []uint64 // of each candidate
	Known  []bool   // which have one; nil means all
	Bits   int      // at or below so many different bits a picture is a duplicate; from 0 to 64
}

func (l *Looks) check(candidates int) error {
	switch {
	case len(l.Hashes) != candidates || l.Known != nil && len(l.Known) != candidates:
		return fmt.Errorf("dedupe: perceptual hashes for %d candidates, want %d", len(l.Hashes), candidates)
	case l.Bits < 0 || l.Bits > 64:
		return fmt.Errorf("dedupe: %d different bits are not from 0 to 64", l.Bits)
	}
	return nil
}

const (
	bands    = 4
	bandBits = 64 / bands
	// mostFlips is the largest radius in a band for which looking up is less
	// work than comparing with everything.
	mostFlips = 3
)

// look is a kept hash and its number among the kept ones. The hash stands here
// so that a bucket is read in one go.
type look struct {
	hash uint64
	n    int32
}

// drop walks through the candidates in order and keeps each one whose hash
// differs in more than Bits bits from those of all that were kept before it. A
// dropped one is a duplicate of the first that was kept within the bits.
//
// Of two hashes that differ in b bits, one of four bands of 16 bits differs in
// at most b/4: multi-index hashing (Norouzi, Punjani and Fleet, 2012) looks
// only at kept ones of which a band is so close. It is exact.
func (l *Looks) drop(ctx context.Context, order []int) (kept []int, dropped []Duplicate, err error) {
	var keptAt []int32
	var table [bands][][]look // by the band's bits
	flips := l.Bits / bands
	masks := flipMasks(flips)
	for b := range table {
		table[b] = make([][]look, 1<<bandBits)
	}
	for n, i := range order {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if l.Known != nil && !l.Known[i] {
			kept = append(kept, i)
			continue
		}
		h, of := l.Hashes[i], -1
		if flips > mostFlips {
			of = l.scan(keptAt, h)
		} else {
			of = l.lookUp(len(keptAt), &table, masks, h)
		}
		if of >= 0 {
			to := int(keptAt[of])
			dropped = append(dropped, Duplicate{i, to, float64(bits.OnesCount64(h ^ l.Hashes[to]))})
			continue
		}
		for b := range table {
			at := uint16(h >> (b * bandBits))
			table[b][at] = append(table[b][at], look{h, int32(len(keptAt))})
		}
		kept, keptAt = append(kept, i), append(keptAt, int32(i))
	}
	return kept, dropped, nil
}

// scan finds the first kept hash within Bits, -1 without one.
func (l *Looks) scan(keptAt []int32, h uint64) int {
	for n, i := range keptAt {
		if bits.OnesCount64(h^l.Hashes[i]) <= l.Bits {
			return n
		}
	}
	return -1
}

// lookUp is scan of so many kept hashes by the bands' tables.
func (l *Looks) lookUp(kept int, table *[bands][][]look, masks []uint16, h uint64) int {
	first := int32(kept)
	for b := range table {
		band := uint16(h >> (b * bandBits))
		for _, m := range masks {
			for _, k := range table[b][band^m] {
				if k.n >= first {
					break // they ascend
				}
				if bits.OnesCount64(h^k.hash) <= l.Bits {
					first = k.n
					break
				}
			}
		}
	}
	if int(first) == kept {
		return -1
	}
	return int(first)
}

// flipMasks are the numbers with at most n of a band's bits set.
func flipMasks(n int) []uint16 {
	if n > mostFlips {
		return nil
	}
	var out []uint16
	for m := range 1 << bandBits {
		if bits.OnesCount(uint(m)) <= n {
			out = append(out, uint16(m))
		}
	}
	return out
}
