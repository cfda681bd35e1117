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
// writes it, little-endian; a vector is a count (u64) and its elements:
//
//	flat      "IxFI" header  vector of numbers
//	rotated   "IxPT" header  1 (i32)  "LTra" bias (u8) matrix, bias (vectors) dims in, out (i32) trained (u8)
//	          an ivf
//	ivf       "IwFl" | "IwSq" | "IwPQ"  header  nlist, nprobe (u64)  quantizer: flat | graph
//	          direct map: type (u8), size (u64)
//	          of SQ: type, range (i32) argument (f32) dim, code size (u64) vector of numbers; code size (u64), residual (u8)
//	          of PQ: residual (u8) code size (u64); dim, M, bits (u64) vector of numbers
//	          "ilar" nlist, code size (u64)
//	          "full" nlist sizes | "sprs" (list, size) pairs; each a vector of u64
//	          for each list: its codes, its ids (i64)
//	graph     "IHNf" header  probabilities (f64), neighbours up to each level (i32), levels (i32), offsets (u64),
//	          neighbours (i32): vectors; entry, top level, two breadths, 1 (i32)  flat
//	header    dim (i32)  rows (i64)  two constants (i64)  trained (u8)  metric (i32)
const (
	fourFlatIP  = "IxFI"
	fourRotated = "IxPT"
	fourLinear  = "LTra"
	fourIVF     = "IwFl"
	fourIVFSQ   = "IwSq"
	fourIVFPQ   = "IwPQ"
	fourGraph   = "IHNf"
	fourLists   = "ilar"
	fourFull    = "full"
	fourSparse  = "sprs"

	metricIP   = 0
	headerSize = 4 + 4 + 8 + 8 + 8 + 1 + 4
	flatData   = headerSize + 8 // where a flat index's numbers begin
	filler     = 1 << 20        // the two constants
	pqCentres  = 256            // a byte a part
	sq8        = 0              // the type of a scalar quantiser: 8 bits, a range for each number
)

// layout reads an index file's structure, bounds checked.
type layout struct {
	r    *bufio.Reader
	at   int64
	size int64
	seek io.ReadSeeker // the file, where it can skip
	err  error

	rowsAt   []int64 // where the headers hold the number of rows
	nprobeAt int64
	listsAt  int64   // where "ilar" begins
	dataAt   int64   // where the first list begins
	sizes    []int64 // rows of each list; nil for flat
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
	if have := int64(l.r.Buffered()); l.seek != nil && n > have {
		if _, err := l.seek.Seek(n-have, io.SeekCurrent); err != nil {
			l.err = err
			return
		}
		l.r.Reset(l.seek)
		l.at += n
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

// header reads what every FAISS index begins with, after its type.
func (l *layout) header(dim int, rows int64) {
	l.want("dimension", int64(int32(l.u32())), int64(dim))
	l.want("number of rows", int64(l.u64()), rows)
	l.u64()
	l.u64()
	l.want("trained flag", l.u8(), uint8(1))
	l.want("metric", int32(l.u32()), int32(metricIP))
}

// count reads the count of a vector of elements of a size, which must be want.
func (l *layout) count(what string, want, size int64) {
	l.want("count of "+what, l.u64(), uint64(want))
	l.skip(want * size)
}

func (l *layout) flat(dim int, rows int64) {
	l.want("type", l.four(), fourFlatIP)
	l.header(dim, rows)
	l.want("count of numbers", l.u64(), uint64(rows)*uint64(dim))
	l.skip(rows * int64(dim) * 4)
}

func (l *layout) top(p *Params) {
	if p.Kind == IVFPQ {
		l.want("type", l.four(), fourRotated)
		l.rowsAt = append(l.rowsAt, l.at+4)
		l.header(p.Dim, p.Rows)
		l.want("number of transforms", l.u32(), uint32(1))
		l.want("transform", l.four(), fourLinear)
		l.want("bias of the transform", l.u8(), uint8(0))
		l.count("numbers of the transform", int64(p.Dim)*int64(p.PQDim), 4)
		l.count("numbers of the transform's bias", 0, 4)
		l.want("dimension before the transform", l.u32(), uint32(p.Dim))
		l.want("dimension after the transform", l.u32(), uint32(p.PQDim))
		l.want("trained flag of the transform", l.u8(), uint8(1))
	}
	l.ivf(p)
}

func (l *layout) ivf(p *Params) {
	four := map[string]string{IVFFlat: fourIVF, IVFSQ8: fourIVFSQ, IVFPQ: fourIVFPQ}[p.Kind]
	dim, code := p.listDim(), uint64(p.codeSize())
	l.want("type", l.four(), four)
	l.rowsAt = append(l.rowsAt, l.at+4)
	l.header(dim, p.Rows)
	l.want("number of lists", l.u64(), uint64(p.NList))
	l.nprobeAt = l.at
	l.u64() // nprobe: set before every search
	if p.HNSW {
		l.graph(dim, int64(p.NList))
	} else {
		l.flat(dim, int64(p.NList))
	}
	l.want("direct map", l.u8(), uint8(0))
	l.want("size of the direct map", l.u64(), uint64(0))
	switch p.Kind {
	case IVFSQ8:
		l.want("type of the scalar quantiser", l.u32(), uint32(sq8))
		l.u32() // how its ranges were found, and with what argument: used in training only
		l.u32()
		l.want("dimension of the scalar quantiser", l.u64(), uint64(dim))
		l.want("code size of the scalar quantiser", l.u64(), code)
		l.count("numbers of the scalar quantiser", 2*int64(dim), 4)
		l.want("code size", l.u64(), code)
		l.want("residual flag", l.u8(), uint8(1))
	case IVFPQ:
		l.want("residual flag", l.u8(), uint8(1))
		l.want("code size", l.u64(), code)
		l.want("dimension of the product quantiser", l.u64(), uint64(dim))
		l.want("parts of the product quantiser", l.u64(), uint64(p.PQ))
		l.want("bits of the product quantiser", l.u64(), uint64(8))
		l.count("numbers of the product quantiser", pqCentres*int64(dim), 4)
	}
	l.listsAt = l.at
	l.want("type of lists", l.four(), fourLists)
	l.want("number of inverted lists", l.u64(), uint64(p.NList))
	l.want("size of a vector", l.u64(), code)
	rows := l.listRows(p)
	l.want("number of rows in the lists", rows, p.Rows)
	l.dataAt = l.at
	if l.err == nil {
		l.skip(rows * int64(code+idBytes))
	}
}

// listRows reads the sizes of the lists and adds them up.
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
	if l.err == nil {
		l.sizes = make([]int64, p.NList)
	}
	total, list := int64(0), int64(-1)
	for i := uint64(0); i < n && l.err == nil; i++ {
		v := l.u64()
		if kind == fourSparse && i%2 == 0 {
			if v >= uint64(p.NList) || int64(v) <= list {
				l.err = damagedf("its list numbers do not ascend below %d", p.NList)
			}
			list = int64(v)
			continue
		}
		if v > uint64(p.Rows-total) {
			l.err = damagedf("its lists hold more than its %d rows", p.Rows)
		}
		if l.err != nil {
			return total
		}
		total += int64(v)
		if kind == fourFull {
			list = int64(i)
		}
		l.sizes[list] = int64(v)
	}
	return total
}

// checkLayout makes sure that a file of size bytes is an index as p says, to
// the last byte. FAISS trusts the sizes in a file, so that a wrong one could
// end the process.
func checkLayout(r io.Reader, size int64, p *Params) error {
	_, err := readLayout(r, size, p)
	return err
}

func readLayout(r io.Reader, size int64, p *Params) (*layout, error) {
	l := &layout{r: bufio.NewReaderSize(r, 64<<10), size: size}
	l.seek, _ = r.(io.ReadSeeker)
	if p.Kind == Flat {
		l.flat(p.Dim, p.Rows)
	} else {
		l.top(p)
	}
	if l.err == nil && l.at != size {
		l.err = damagedf("it has %d bytes, not %d", size, l.at)
	}
	return l, l.err
}
