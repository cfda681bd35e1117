package manifest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Matrix reads a NumPy .npy file of one or two dimensions row by row, in bounded
// memory. The format is NumPy's NEP 1, versions 1 to 3. Files come from anywhere:
// every size in a header is checked before it is believed.
type Matrix struct {
	Rows int64
	Dim  int // numbers a row

	r     *bufio.Reader
	kind  byte // f, i, u or U
	size  int  // bytes of an element
	order binary.ByteOrder
	row   int64
	buf   []byte
}

const (
	maxNPYHeader = 1 << 16
	maxNPYDim    = 1 << 16
)

var (
	npyDescr = regexp.MustCompile(`'descr'\s*:\s*'([<>|=]?)([a-zA-Z])(\d+)'`)
	npyOrder = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	npyShape = regexp.MustCompile(`'shape'\s*:\s*\(([0-9,\sL]*)\)`)
)

// OpenMatrix reads the header of a .npy file. A file of one dimension, and a
// matrix of texts or whole numbers, are read with one dimension: Dim is 1.
// vector says that one dimension means one row.
func OpenMatrix(r io.Reader, vector bool) (*Matrix, error) {
	m := &Matrix{r: bufio.NewReaderSize(r, 256<<10)}
	header, err := m.header()
	if err != nil {
		return nil, err
	}
	d, o, s := npyDescr.FindStringSubmatch(header), npyOrder.FindStringSubmatch(header), npyShape.FindStringSubmatch(header)
	if d == nil || o == nil || s == nil {
		return nil, fmt.Errorf("its header does not describe plain numbers or texts: %.120q", header)
	}
	m.kind, m.order = d[2][0], binary.LittleEndian
	if d[1] == ">" {
		m.order = binary.BigEndian
	}
	if m.size, err = strconv.Atoi(d[3]); err != nil {
		return nil, fmt.Errorf("elements of %s bytes", d[3])
	}
	if m.kind == 'U' {
		m.size *= 4
	}
	if err := m.checkType(d[2] + d[3]); err != nil {
		return nil, err
	}
	return m, m.setShape(s[1], o[1] == "True", vector)
}

func (m *Matrix) header() (string, error) {
	var head [8]byte
	if _, err := io.ReadFull(m.r, head[:]); err != nil || string(head[:6]) != "\x93NUMPY" {
		return "", errors.New("it is no .npy file")
	}
	var n int64
	switch head[6] {
	case 1:
		var b [2]byte
		if _, err := io.ReadFull(m.r, b[:]); err != nil {
			return "", errCutNPY
		}
		n = int64(binary.LittleEndian.Uint16(b[:]))
	case 2, 3:
		var b [4]byte
		if _, err := io.ReadFull(m.r, b[:]); err != nil {
			return "", errCutNPY
		}
		n = int64(binary.LittleEndian.Uint32(b[:]))
	default:
		return "", fmt.Errorf("it has .npy version %d; save it with a NumPy of today", head[6])
	}
	if n > maxNPYHeader {
		return "", fmt.Errorf("its header should have %d bytes", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(m.r, text); err != nil {
		return "", errCutNPY
	}
	return string(text), nil
}

var errCutNPY = errors.New("it is cut off in its header")

func (m *Matrix) checkType(name string) error {
	ok := false
	switch m.kind {
	case 'f':
		ok = m.size == 2 || m.size == 4 || m.size == 8
	case 'i', 'u':
		ok = m.size == 1 || m.size == 2 || m.size == 4 || m.size == 8
	case 'U':
		ok = m.size > 0 && m.size <= 1<<16
	}
	if !ok {
		return fmt.Errorf("it holds %s; save it as float16, float32 or float64 (ids as whole numbers or text)", name)
	}
	return nil
}

func (m *Matrix) setShape(text string, fortran, vector bool) error {
	var shape []int64
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSuffix(strings.TrimSpace(part), "L")
		if part == "" {
			continue
		}
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n > 1<<40 {
			return fmt.Errorf("it has the shape (%s)", text)
		}
		shape = append(shape, n)
	}
	dim := int64(1)
	switch {
	case len(shape) == 1 && vector:
		m.Rows, dim = 1, shape[0]
	case len(shape) == 1:
		m.Rows = shape[0]
	case len(shape) == 2:
		m.Rows, dim = shape[0], shape[1]
	default:
		return fmt.Errorf("it has the shape (%s); want (rows, dim)", text)
	}
	if dim < 1 || dim > maxNPYDim {
		return fmt.Errorf("it has the shape (%s): rows have 1 to %d numbers", text, maxNPYDim)
	}
	if fortran && m.Rows > 1 && dim > 1 {
		return errors.New("it stands in Fortran order; save numpy.ascontiguousarray(it)")
	}
	m.Dim = int(dim)
	return nil
}

// next reads the bytes of the next row; io.EOF follows the last.
func (m *Matrix) next() ([]byte, error) {
	if m.row >= m.Rows {
		return nil, io.EOF
	}
	n := m.Dim * m.size
	if cap(m.buf) < n {
		m.buf = make([]byte, n)
	}
	m.buf = m.buf[:n]
	if _, err := io.ReadFull(m.r, m.buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("it ends after row %d of %d: it is cut off", m.row, m.Rows)
		}
		return nil, err
	}
	m.row++
	return m.buf, nil
}

// Next reads the next row into dst, Dim numbers. io.EOF follows the last row.
func (m *Matrix) Next(dst []float32) error {
	if m.kind == 'U' {
		return errors.New("it holds texts, not numbers")
	}
	b, err := m.next()
	if err != nil {
		return err
	}
	for i := range dst[:m.Dim] {
		at := b[i*m.size:]
		switch {
		case m.kind != 'f':
			dst[i] = float32(m.whole(at))
		case m.size == 2:
			dst[i] = halfFloat(m.order.Uint16(at))
		case m.size == 4:
			dst[i] = math.Float32frombits(m.order.Uint32(at))
		default:
			dst[i] = float32(math.Float64frombits(m.order.Uint64(at)))
		}
	}
	return nil
}

// NextText reads the next row of one text or whole number as text.
func (m *Matrix) NextText() (string, error) {
	if m.Dim != 1 || m.kind == 'f' {
		return "", errors.New("it holds no ids: those are a list of texts or of whole numbers")
	}
	b, err := m.next()
	if err != nil {
		return "", err
	}
	if m.kind != 'U' {
		return strconv.FormatInt(m.whole(b), 10), nil
	}
	var s []byte
	for ; len(b) >= 4; b = b[4:] { // UCS-4, padded with zeros
		if c := m.order.Uint32(b); c != 0 {
			s = utf8.AppendRune(s, rune(c))
		}
	}
	return string(s), nil
}

func (m *Matrix) whole(b []byte) int64 {
	switch m.size {
	case 1:
		if m.kind == 'u' {
			return int64(b[0])
		}
		return int64(int8(b[0]))
	case 2:
		v := m.order.Uint16(b)
		if m.kind == 'u' {
			return int64(v)
		}
		return int64(int16(v))
	case 4:
		v := m.order.Uint32(b)
		if m.kind == 'u' {
			return int64(v)
		}
		return int64(int32(v))
	}
	return int64(m.order.Uint64(b))
}

// halfFloat is the value of an IEEE 754 binary16 number.
func halfFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch {
	case exp == 0x1f: // infinity, NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	v := float32(frac) / (1 << 24) // subnormal, or zero
	if sign != 0 {
		v = -v
	}
	return v
}
