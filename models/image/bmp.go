package image

import (
	"fmt"
	"io"
	"math/bits"
)

// bmpInfo is what a file says before its pixels.
type bmpInfo struct {
	w, h    int
	topDown bool
	bits    int       // a pixel
	rle     int       // 8 or 4: run lengths
	masks   [4]uint32 // of red, green, blue, alpha; 16 and 32 bits
	palette [256][4]byte
	offset  int // of the pixels
}

const (
	bmpRGB = iota
	bmpRLE8
	bmpRLE4
	bmpBitfields
)

func readBMP(data []byte) (b bmpInfo, err error) {
	defer func() {
		if recover() != nil { // an index past the end
			err = io.ErrUnexpectedEOF
		}
	}()
	b.offset = u32(data[10:])
	size := u32(data[14:])
	head := data[14 : 14+size]
	compression, colours, entry := bmpRGB, 0, 4
	switch {
	case size == 12:
		b.w, b.h, b.bits, entry = u16(head[4:]), u16(head[6:]), u16(head[10:]), 3
	case size >= 40:
		b.w, b.h, b.bits = int(int32(u32(head[4:]))), int(int32(u32(head[8:]))), u16(head[14:])
		compression, colours = u32(head[16:]), u32(head[32:])
		if b.h < 0 {
			b.h, b.topDown = -b.h, true
		}
	default:
		return b, fmt.Errorf("a header of %d bytes is %w", size, errUnsupported)
	}
	after := 14 + size
	if compression == bmpBitfields {
		from := data[after:]
		if size >= 52 {
			from = head[40:]
		} else {
			after += 12
		}
		b.masks = [4]uint32{uint32(u32(from)), uint32(u32(from[4:])), uint32(u32(from[8:]))}
		if size >= 56 {
			b.masks[3] = uint32(u32(head[52:]))
		}
	}
	return b, b.checkKind(compression, colours, entry, data[after:])
}

// checkKind settles how pixels are stored; rest starts with the palette.
func (b *bmpInfo) checkKind(compression, colours, entry int, rest []byte) error {
	switch {
	case compression == bmpRLE8 && b.bits == 8, compression == bmpRLE4 && b.bits == 4:
		b.rle = b.bits
	case compression == bmpBitfields && (b.bits == 16 || b.bits == 32):
		if b.masks == [4]uint32{0x7c00, 0x3e0, 0x1f, 0x8000} {
			b.masks[3] = 0 // Pillow takes no alpha of one bit
		}
		if b.masks[0]|b.masks[1]|b.masks[2] == 0 {
			return fmt.Errorf("empty colour masks are %w", errUnsupported)
		}
	case compression == bmpRGB && b.bits == 16:
		b.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
	case compression == bmpRGB && b.bits == 32:
		b.masks = [4]uint32{0xff0000, 0xff00, 0xff}
	case compression == bmpRGB && (b.bits == 1 || b.bits == 4 || b.bits == 8 || b.bits == 24):
	default:
		return fmt.Errorf("%d bits a pixel with compression %d are %w", b.bits, compression, errUnsupported)
	}
	if b.bits > 8 {
		return nil
	}
	if colours == 0 || colours > 1<<b.bits {
		colours = 1 << b.bits
	}
	for i := range b.palette {
		b.palette[i][3] = 255
	}
	for i := 0; i < colours && (i+1)*entry <= len(rest); i++ {
		p := rest[i*entry:]
		b.palette[i] = [4]byte{p[2], p[1], p[0], 255}
	}
	return nil
}

func bmpHeader(data []byte) (header, error) {
	b, err := readBMP(data)
	return header{format: formatBMP, w: b.w, h: b.h}, err
}

func decodeBMP(data []byte) (*raster, error) {
	b, err := readBMP(data)
	if err != nil {
		return nil, err
	}
	if b.offset > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	pix := data[b.offset:]
	stride := (b.w*b.bits + 31) / 32 * 4
	if b.rle != 0 {
		if pix, err = b.unpack(pix); err != nil {
			return nil, err
		}
		b.bits, stride = 8, b.w
	} else if len(pix) < stride*(b.h-1)+(b.w*b.bits+7)/8 {
		return nil, io.ErrUnexpectedEOF
	}
	ra := newRaster(b.w, b.h)
	for y := range b.h {
		at := y
		if !b.topDown {
			at = b.h - 1 - y
		}
		b.row(pix[at*stride:], ra.pix[y*ra.stride:][:b.w*4])
	}
	return ra, nil
}

func (b *bmpInfo) row(in, out []byte) {
	switch b.bits {
	case 24:
		for x := range b.w {
			out[x*4], out[x*4+1], out[x*4+2], out[x*4+3] = in[x*3+2], in[x*3+1], in[x*3], 255
		}
	case 16:
		for x := range b.w {
			b.masked(uint32(u16(in[x*2:])), out[x*4:])
		}
	case 32:
		for x := range b.w {
			b.masked(uint32(u32(in[x*4:])), out[x*4:])
		}
	default:
		for x := range b.w {
			at := x * b.bits
			v := int(in[at/8]) >> (8 - b.bits - at%8) & (1<<b.bits - 1)
			copy(out[x*4:x*4+4], b.palette[v][:])
		}
	}
}

func (b *bmpInfo) masked(v uint32, out []byte) {
	for i, m := range b.masks {
		if m == 0 {
			out[i] = 0
			if i == 3 {
				out[i] = 255
			}
			continue
		}
		shift := bits.TrailingZeros32(m)
		out[i] = uint8(uint64(v&m>>shift) * 255 / uint64(m>>shift))
	}
}

// unpack turns run lengths into one index a byte. Pixels that no run reaches
// are index 0.
func (b *bmpInfo) unpack(in []byte) ([]byte, error) {
	out := make([]byte, b.w*b.h)
	x, y := 0, 0
	set := func(v byte) {
		if x < b.w && y < b.h {
			out[y*b.w+x] = v
		}
		x++
	}
	for y < b.h {
		if len(in) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		n, v := int(in[0]), in[1]
		in = in[2:]
		if n > 0 {
			for i := range n {
				if b.rle == 4 {
					set(v >> (4 - i%2*4) & 15)
				} else {
					set(v)
				}
			}
			continue
		}
		switch v {
		case 0: // end of line
			x, y = 0, y+1
		case 1: // end of picture
			return out, nil
		case 2: // skip
			if len(in) < 2 {
				return nil, io.ErrUnexpectedEOF
			}
			x, y = x+int(in[0]), y+int(in[1])
			in = in[2:]
		default: // v pixels as they are, padded to two bytes
			size := (int(v)*b.rle + 15) / 16 * 2
			if len(in) < size {
				return nil, io.ErrUnexpectedEOF
			}
			for i := range int(v) {
				if b.rle == 4 {
					set(in[i/2] >> (4 - i%2*4) & 15)
				} else {
					set(in[i])
				}
			}
			in = in[size:]
		}
	}
	return out, nil
}
