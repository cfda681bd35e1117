package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrDamaged says that an index file is not what its index.json says: cut off,
// changed, or written by a FAISS whose format this winnow does not know.
var ErrDamaged = errors.New("the index is damaged")

// remedy is what helps against ErrDamaged.
const remedy = "delete the folder of the index and run `winnow index`"

func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w; %s", ErrDamaged, fmt.Errorf(format, args...), remedy)
}

// FAISS's file format (write_index of 1.7 to 1.15) as far as this package
// writes it, little-endian:
//
//	flat    "IxFI" header  count of numbers (u64)  numbers
//	ivf     "IwFl" header  nlist, nprobe (u64)  quantizer (flat)
//	        direct map: type (u8), size (u64)
//	        "ilar" nlist, code size (u64)
//	        "full" nlist sizes | "sprs" (list, size) pairs; each a u64 count and u64s
//	        for each list: its vectors, its ids (i64)
//	header  dim (i32)  rows (i64)  two constants (i64)  trained (u8)  metric (i32)
const (
	fourFlatIP = "IxFI"
	fourIVF    = "IwFl"
	fourLists  = "ilar"
	fourFull   = "full"
	fourSparse = "sprs"

	metricIP   = 0
	headerSize = 4 + 4 + 8 + 8 + 8 + 1 + 4
	flatData   = headerSize + 8 // where a flat index's numbers begin
	filler     = 1 << 20        // the two constants
)

// layout reads an index file's structure, bounds checked.
type layout struct {
	r    *bufio.Reader
	at   int64
	size int64
	err  error
}

func (l *layout) read(p []byte) {
	if l.err != nil {
		return
	}
	if _, err := io.ReadFull(l.r, p); err != nil {
		l.err = damagedf("it ends at byte %d, within its structure", l.size)
		return
	}
	l.at += int64(len(p))
}

func (l *layout) u64() uint64 {
	var b [8]byte
	l.read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (l *layout) u32() uint32 {
	var b [4]byte
	l.read(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (l *layout) u8() uint8 {
	var b [1]byte
	l.read(b[:])
	return b[0]
}

func (l *layout) four() string {
	var b [4]byte
	l.read(b[:])
	return string(b[:])
}

func (l *layout) skip(n int64) {
	if l.err != nil {
		return
	}
	if n < 0 || n > l.size-l.at {
		l.err = damagedf("it has %d bytes and should have more", l.size)
		return
	}
	for n > 0 {
		k, err := l.r.Discard(int(min(n, math.MaxInt32)))
		l.at += int64(k)
		n -= int64(k)
		if err != nil {
			l.err = damagedf("it ends at byte %d", l.at)
			return
		}
	}
}

// want records a difference.
func (l *layout) want(what string, got, want any) {
	if l.err == nil && got != want {
		l.err = damagedf("its %s is %v, not %v", what, got, want)
	}
}

// header reads what every FAISS index begins with.
func (l *layout) header(four string, dim int, rows int64) {
	l.want("type", l.four(), four)
	l.want("dimension", int64(int32(l.u32())), int64(dim))
	l.want("number of rows", int64(l.u64()), rows)
	l.u64()
	l.u64()
	l.want("trained flag", l.u8(), uint8(1))
	l.want("metric", int32(l.u32()), int32(metricIP))
}

func (l *layout) flat(dim int, rows int64) {
	l.header(fourFlatIP, dim, rows)
	l.want("count of numbers", l.u64(), uint64(rows)*uint64(dim))
	l.skip(rows * int64(dim) * 4)
}

func (l *layout) ivf(p *Params) {
	l.header(fourIVF, p.Dim, p.Rows)
	l.want("number of lists", l.u64(), uint64(p.NList))
	l.u64() // nprobe: set before every search
	l.flat(p.Dim, int64(p.NList))
	l.want("direct map", l.u8(), uint8(0))
	l.want("size of the direct map", l.u64(), uint64(0))
	l.want("type of lists", l.four(), fourLists)
	l.want("number of inverted lists", l.u64(), uint64(p.NList))
	l.want("size of a vector", l.u64(), uint64(4*p.Dim))
	rows := l.listRows(p)
	l.want("number of rows in the lists", rows, p.Rows)
	if l.err == nil {
		l.skip(rows * int64(4*p.Dim+8))
	}
}

// listRows adds up the sizes of the lists.
func (l *layout) listRows(p *Params) int64 {
	kind := l.four()
	n := l.u64()
	switch kind {
	case fourFull:
		l.want("count of list sizes", n, uint64(p.NList))
	case fourSparse:
		if n > 2*uint64(p.NList) || n%2 != 0 {
			l.want("count of list sizes", n, fmt.Sprintf("an even number up to %d", 2*p.NList))
		}
	default:
		l.want("kind of list sizes", kind, fourFull)
	}
	total, last := int64(0), int64(-1)
	for i := uint64(0); i < n && l.err == nil; i++ {
		v := l.u64()
		if kind == fourSparse && i%2 == 0 {
			if v >= uint64(p.NList) || int64(v) <= last {
				l.err = damagedf("its list numbers do not ascend below %d", p.NList)
			}
			last = int64(v)
			continue
		}
		if v > uint64(p.Rows-total) {
			l.err = damagedf("its lists hold more than its %d rows", p.Rows)
			return total
		}
		total += int64(v)
	}
	return total
}

// checkLayout makes sure that a file of size bytes is an index as p says, to
// the last byte. FAISS trusts the sizes in a file, so that a wrong one could
// end the process.
func checkLayout(r io.Reader, size int64, p *Params) error {
	l := &layout{r: bufio.NewReaderSize(r, 1<<20), size: size}
	if p.Kind == Flat {
		l.flat(p.Dim, p.Rows)
	} else {
		l.ivf(p)
	}
	if l.err == nil && l.at != size {
		l.err = damagedf("it has %d bytes, not %d", size, l.at)
	}
	return l.err
}
