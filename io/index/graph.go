package index

import "encoding/binary"

// graph reads an HNSW graph over n rows. FAISS follows its links without a look
// at their range, so every one is checked: that it leads to a row which stands on
// the link's level, too.
func (l *layout) graph(dim int, n int64) {
	l.want("type of the quantiser", l.four(), fourGraph)
	l.header(dim, n)
	l.skipVector("probabilities", 8, maxLevels)
	upTo := l.ints32("neighbours up to each level", maxLevels+1) // [0, 64, 96, …]
	levels := l.ints32("levels", n)
	l.want("count of levels", int64(len(levels)), n)
	if l.err == nil && !ascending(upTo) {
		l.err = damagedf("its graph's numbers of neighbours do not ascend from 0")
	}
	l.want("count of offsets", l.u64(), uint64(n+1))
	links := int64(0)
	for i := int64(0); i <= n && l.err == nil; i++ {
		l.want("offset in the graph", int64(l.u64()), links)
		if i == n || l.err != nil {
			break
		}
		if levels[i] < 1 || int(levels[i]) >= len(upTo) {
			l.err = damagedf("its graph has a row on level %d of %d", levels[i], len(upTo)-1)
			return
		}
		links += int64(upTo[levels[i]])
	}
	l.links(levels, upTo, links)
	entry, top := int32(l.u32()), int32(l.u32())
	if l.err == nil && (entry < 0 || int64(entry) >= n || top < 0 || top >= levels[entry]) {
		l.err = damagedf("its graph begins at row %d, level %d", entry, top)
	}
	for range 2 {
		if w := int32(l.u32()); l.err == nil && (w < 1 || w > maxBreadth) {
			l.err = damagedf("its graph is searched with a breadth of %d", w)
		}
	}
	l.u32()
	l.flat(dim, n)
}

const (
	maxLevels  = 64 // of a graph
	maxBreadth = 1 << 16
)

// links reads the neighbours of all rows.
func (l *layout) links(levels, upTo []int32, links int64) {
	l.want("count of links", int64(l.u64()), links)
	var buf [1024 * 4]byte
	for row := 0; row < len(levels) && l.err == nil; row++ {
		for level := int32(0); level < levels[row]; level++ {
			for k := upTo[level+1] - upTo[level]; k > 0 && l.err == nil; {
				part := buf[:4*min(k, 1024)]
				l.read(part)
				k -= int32(len(part) / 4)
				for i := 0; i < len(part) && l.err == nil; i += 4 {
					to := int32(binary.LittleEndian.Uint32(part[i:]))
					if to < -1 || int(to) >= len(levels) || to >= 0 && levels[to] <= level {
						l.err = damagedf("its graph has a link from row %d to %d on level %d", row, to, level)
					}
				}
			}
		}
	}
}

// skipVector skips a vector of at most most elements.
func (l *layout) skipVector(what string, size, most int64) {
	n := l.u64()
	if l.err == nil && n > uint64(most) {
		l.want("count of "+what, n, most)
	}
	if l.err == nil {
		l.skip(int64(n) * size)
	}
}

// ints32 reads a vector of at most most numbers.
func (l *layout) ints32(what string, most int64) []int32 {
	n := l.u64()
	if l.err == nil && n > uint64(most) {
		l.want("count of "+what, n, most)
	}
	if l.err != nil || int64(n) > (l.size-l.at)/4 {
		l.skip(4 * int64(min(n, 1<<60)))
		return nil
	}
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(l.u32())
	}
	return v
}

func ascending(v []int32) bool {
	if len(v) == 0 || v[0] != 0 {
		return false
	}
	for i := 1; i < len(v); i++ {
		if v[i] < v[i-1] || v[i] > maxBreadth {
			return false
		}
	}
	return true
}
