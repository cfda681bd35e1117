package image

/*
#cgo LDFLAGS: -ldeflate
#include "png.h"
*/
import "C"

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"unsafe"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

var errPNG = errors.New("a damaged chunk")

func pngHeader(data []byte) (header, error) {
	h := header{format: formatPNG}
	if len(data) < 33 {
		return h, io.ErrUnexpectedEOF
	}
	if binary.BigEndian.Uint32(data[8:]) != 13 || string(data[12:16]) != "IHDR" {
		return h, errPNG
	}
	b := data[16:29]
	if crc32.ChecksumIEEE(data[12:29]) != binary.BigEndian.Uint32(data[29:]) {
		return h, fmt.Errorf("%w: IHDR has a wrong checksum", errPNG)
	}
	w, hh := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 1<<31-1 || hh > 1<<31-1 {
		return h, fmt.Errorf("%w: a size of %d × %d", errPNG, w, hh)
	}
	h.w, h.h = int(w), int(hh)
	h.depth, h.colour, h.interlaced = int(b[8]), int(b[9]), b[12] == 1
	known := map[int][]byte{0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
	if bytes.IndexByte(known[h.colour], b[8]) < 0 || b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return h, fmt.Errorf("%w: IHDR says what no PNG can be", errPNG)
	}
	return h, nil
}

func (h header) channels() int { return [...]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[h.colour] }

// bytesPerPixel is at least 1: filters work on bytes.
func (h header) bytesPerPixel() int { return max(1, h.channels()*h.depth/8) }

func (h header) rowBytes(w int) int { return (w*h.channels()*h.depth + 7) / 8 }

// pngChunks is what decoding needs of a file.
type pngChunks struct {
	palette, alpha []byte
	idat           []byte
}

// readPNGChunks walks the chunks up to the end of the pixels. A file whose end
// is missing after them has lost nothing.
func readPNGChunks(data []byte) (c pngChunks, err error) {
	var parts [][]byte
	for at, open := 33, true; open; {
		rest := data[at:]
		if len(rest) < 8 {
			break
		}
		n := int(binary.BigEndian.Uint32(rest))
		kind := string(rest[4:8])
		if n > len(rest)-12 {
			if len(parts) > 0 && kind != "IDAT" {
				break
			}
			return c, io.ErrUnexpectedEOF
		}
		body := rest[8 : 8+n]
		switch kind {
		case "PLTE", "tRNS", "IDAT":
			if crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(rest[8+n:]) {
				return c, fmt.Errorf("%w: %s has a wrong checksum", errPNG, kind)
			}
		}
		switch kind {
		case "PLTE":
			c.palette = body
		case "tRNS":
			c.alpha = body
		case "IDAT":
			parts = append(parts, body)
		case "IEND":
			open = false
		}
		at += 12 + n
	}
	switch len(parts) {
	case 0:
		return c, io.ErrUnexpectedEOF
	case 1:
		c.idat = parts[0]
	default:
		c.idat = bytes.Join(parts, nil)
	}
	return c, nil
}

// table is the palette as pixels, on white unless dropAlpha.
func (c pngChunks) table(dropAlpha bool) []byte {
	t := make([]byte, 256*4)
	for i := range 256 {
		p := t[i*4 : i*4+4]
		p[3] = 255
		if len(c.palette) >= i*3+3 {
			copy(p, c.palette[i*3:i*3+3])
		}
		if i < len(c.alpha) && !dropAlpha {
			a := c.alpha[i]
			p[0], p[1], p[2] = onWhite(p[0], a), onWhite(p[1], a), onWhite(p[2], a)
		}
	}
	return t
}

// decodePNG decodes into r, which interlaced files cannot, or ra.
func (h header) decodePNG(data []byte, dropAlpha bool, r *resizer, ra *raster) error {
	c, err := readPNGChunks(data)
	if err != nil {
		return fault(formatPNG, err)
	}
	if h.colour == 3 && (len(c.palette) == 0 || len(c.palette)%3 != 0 || len(c.palette) > 768) {
		return fault(formatPNG, fmt.Errorf("%w: no palette", errPNG))
	}
	passes := []pngPass{{0, 0, 1, 1}}
	if h.interlaced {
		passes = adam7[:]
	}
	size := 0
	for _, p := range passes {
		if w, hh := p.size(h); w > 0 && hh > 0 {
			size += hh * (1 + h.rowBytes(w))
		}
	}
	raw := getBuffer(size)
	defer putBuffer(raw)
	if err := inflate(c.idat, *raw); err != nil {
		return fault(formatPNG, err)
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	png := &C.winnow_png{width: C.int32_t(h.w), height: C.int32_t(h.h), depth: C.int32_t(h.depth), colour: C.int32_t(h.colour)}
	if dropAlpha {
		png.drop_alpha = 1
	}
	if h.colour == 3 {
		t := c.table(dropAlpha)
		pin.Pin(&t[0])
		png.palette = (*C.uint8_t)(&t[0])
	}
	ok := true
	if h.interlaced {
		ok = h.interlace(png, *raw, ra)
	} else {
		ok = h.pngRows(png, *raw, r, ra)
	}
	if !ok {
		return fault(formatPNG, errors.New("an unknown filter"))
	}
	return nil
}

func (h header) pngRows(png *C.winnow_png, raw []byte, r *resizer, ra *raster) bool {
	var resize *C.winnow_resize
	var rows *C.uint8_t
	var stride C.size_t
	if r != nil {
		resize = r.c
	} else {
		rows, stride = (*C.uint8_t)(unsafe.Pointer(&ra.pix[0])), C.size_t(ra.stride)
	}
	block := getBuffer(8 * 4 * h.w)
	defer putBuffer(block)
	return C.winnow_png_rows(png, (*C.uint8_t)(unsafe.Pointer(&raw[0])), C.size_t(h.rowBytes(h.w)), C.int(h.bytesPerPixel()),
		resize, (*C.uint8_t)(unsafe.Pointer(&(*block)[0])), rows, stride) != 0
}

// pngPass is one of the images that an interlaced file consists of: where its
// first pixel goes, and how far apart the others are.
type pngPass struct{ x, y, dx, dy int }

var adam7 = [7]pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}

func (p pngPass) size(h header) (int, int) {
	return (h.w - p.x + p.dx - 1) / p.dx, (h.h - p.y + p.dy - 1) / p.dy
}

func (h header) interlace(png *C.winnow_png, raw []byte, ra *raster) bool {
	for _, p := range adam7 {
		w, hh := p.size(h)
		if w <= 0 || hh <= 0 {
			continue
		}
		n := h.rowBytes(w)
		if C.winnow_png_unfilter((*C.uint8_t)(unsafe.Pointer(&raw[0])), C.int(hh), C.size_t(n), C.int(h.bytesPerPixel())) == 0 {
			return false
		}
		for y := range hh {
			out := ra.pix[(p.y+y*p.dy)*ra.stride+p.x*4:]
			C.winnow_png_expand(png, (*C.uint8_t)(unsafe.Pointer(&raw[y*(n+1)+1])), C.int(w), (*C.uint8_t)(unsafe.Pointer(&out[0])), C.int(p.dx))
		}
		raw = raw[hh*(n+1):]
	}
	return true
}

// inflate fills out from a zlib stream.
func inflate(in, out []byte) error {
	if len(in) < 6 {
		return io.ErrUnexpectedEOF
	}
	switch C.winnow_png_inflate((*C.uint8_t)(unsafe.Pointer(&in[0])), C.size_t(len(in)), (*C.uint8_t)(unsafe.Pointer(&out[0])), C.size_t(len(out))) {
	case 0:
		return nil
	case 2:
		return io.ErrUnexpectedEOF
	}
	// libdeflate is fast and says little. Go's zlib tells data that ends early
	// from bad data, and takes a stream that is longer than the picture.
	r, err := zlib.NewReader(bytes.NewReader(in))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, out)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	// The checksum follows where the stream ends here; more data is ignored.
	var more [1]byte
	if _, err := r.Read(more[:]); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
