package image

import (
	"compress/lzw"
	"fmt"
	"io"
)

// gifFrame is the first frame of a file. Pictures that move are taken as their
// first frame.
type gifFrame struct {
	w, h         int // of the canvas
	x, y, fw, fh int // of the frame on it
	palette      []byte
	transparent  int // index, or -1
	interlaced   bool
	litWidth     int
	blocks       []byte // sub-blocks of compressed indices, and what follows
}

// readGIF reads up to the pixels of the first frame.
func readGIF(data []byte) (f gifFrame, err error) {
	defer func() {
		if recover() != nil { // an index past the end: the only way that the slicing below can panic
			err = io.ErrUnexpectedEOF
		}
	}()
	f.w, f.h, f.transparent = u16(data[6:]), u16(data[8:]), -1
	at := 13
	if flags := data[10]; flags&0x80 != 0 {
		n := 3 << (flags&7 + 1)
		f.palette = data[at : at+n]
		at += n
	}
	for {
		switch kind := data[at]; kind {
		case '!':
			if data[at+1] == 0xf9 && data[at+2] >= 4 && data[at+3]&1 != 0 {
				f.transparent = int(data[at+6])
			}
			for at += 2; data[at] != 0; {
				at += 1 + int(data[at])
			}
			at++
		case ',':
			f.x, f.y, f.fw, f.fh = u16(data[at+1:]), u16(data[at+3:]), u16(data[at+5:]), u16(data[at+7:])
			flags := data[at+9]
			at += 10
			f.interlaced = flags&0x40 != 0
			if flags&0x80 != 0 {
				n := 3 << (flags&7 + 1)
				f.palette = data[at : at+n]
				at += n
			}
			f.litWidth, f.blocks = int(data[at]), data[at+1:]
			f.w, f.h = max(f.w, f.x+f.fw), max(f.h, f.y+f.fh)
			return f, nil
		case 0: // stray bytes between blocks
			at++
		default:
			return f, fmt.Errorf("no frame before byte %d", at)
		}
	}
}

func gifHeader(data []byte) (header, error) {
	f, err := readGIF(data)
	return header{format: formatGIF, w: f.w, h: f.h}, err
}

// colours is the palette as pixels. A palette of greys in order is no palette to
// Pillow, and such a picture has no transparency.
func (f gifFrame) colours() (t [256][4]byte) {
	identity := true
	for i := 0; i*3+3 <= len(f.palette); i++ {
		p := f.palette[i*3:]
		identity = identity && int(p[0]) == i && int(p[1]) == i && int(p[2]) == i
	}
	for i := range t {
		switch {
		case identity:
			setGray(t[i][:], uint8(i), 255)
		case i*3+3 <= len(f.palette):
			t[i] = [4]byte{f.palette[i*3], f.palette[i*3+1], f.palette[i*3+2], 255}
		default:
			t[i][3] = 255
		}
	}
	if !identity && f.transparent >= 0 {
		t[f.transparent][3] = 0
	}
	return t
}

func decodeGIF(data []byte) (*raster, error) {
	f, err := readGIF(data)
	if err != nil {
		return nil, err
	}
	if f.litWidth < 2 || f.litWidth > 8 {
		return nil, fmt.Errorf("a code size of %d bits", f.litWidth)
	}
	if f.fw == 0 || f.fh == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	indices := make([]byte, f.fw*f.fh)
	lz := lzw.NewReader(&subBlocks{data: f.blocks}, lzw.LSB, f.litWidth)
	defer lz.Close()
	if _, err := io.ReadFull(lz, indices); err != nil {
		return nil, err
	}
	t := f.colours()
	ra := newRaster(f.w, f.h)
	rest := t[max(f.transparent, 0)]
	for i := 0; i < len(ra.pix); i += 4 {
		copy(ra.pix[i:i+4], rest[:])
	}
	for i, y := range f.rows() {
		out := ra.pix[(f.y+y)*ra.stride+f.x*4:]
		for x, v := range indices[i*f.fw : (i+1)*f.fw] {
			copy(out[x*4:x*4+4], t[v][:])
		}
	}
	return ra, nil
}

// rows lists the rows of the frame in the order in which they are stored.
func (f gifFrame) rows() []int {
	order := make([]int, 0, f.fh)
	if !f.interlaced {
		for y := range f.fh {
			order = append(order, y)
		}
		return order
	}
	for _, p := range [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		for y := p[0]; y < f.fh; y += p[1] {
			order = append(order, y)
		}
	}
	return order
}

// subBlocks reads what a chain of sub-blocks holds. A chain that the file's end
// cuts gives io.ErrUnexpectedEOF.
type subBlocks struct {
	data []byte
	left int // of the current block
}

func (s *subBlocks) Read(p []byte) (int, error) {
	for s.left == 0 {
		if len(s.data) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		s.left = int(s.data[0])
		s.data = s.data[1:]
		if s.left == 0 {
			return 0, io.EOF
		}
	}
	n := min(s.left, len(p), len(s.data))
	if n == 0 && len(p) > 0 {
		return 0, io.ErrUnexpectedEOF
	}
	copy(p, s.data[:n])
	s.data, s.left = s.data[n:], s.left-n
	return n, nil
}

// ReadByte keeps lzw from buffering.
func (s *subBlocks) ReadByte() (byte, error) {
	if s.left > 0 && len(s.data) > 0 {
		b := s.data[0]
		s.data, s.left = s.data[1:], s.left-1
		return b, nil
	}
	var b [1]byte
	_, err := s.Read(b[:])
	return b[0], err
}

var _ io.ByteReader = (*subBlocks)(nil)
