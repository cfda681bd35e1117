// Package seeded gives every id a fixed place in a random order. The order
// depends on the seed and the ids alone, so samples and random choices do not
// depend on how rows are spread over files, tasks or workers.
package seeded

// Hash returns the place of id in the order of seed: uniform over all 64 bits.
// The function is part of the data formats and never changes.
func Hash(seed uint64, id string) uint64 {
	// FNV-1a reads the bytes; the finaliser of MurmurHash3 spreads them, once
	// with the seed mixed in, so that two seeds give unrelated orders.
	h := uint64(14695981039346656037)
	for i := 0; i < len(id); i++ {
		h ^= uint64(id[i])
		h *= 1099511628211
	}
	return mix(mix(h) ^ mix(seed+0x9e3779b97f4a7c15))
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

// Unit returns a number in (0, 1] that falls as Hash grows: rows that come
// first in the order of seed have the largest.
func Unit(seed uint64, id string) float64 {
	return 1 - float64(Hash(seed, id)>>11)/(1<<53)
}
