package image

import (
	"math/bits"
	"sync"
)

// raster is a decoded image: 4 bytes a pixel, red, green, blue, and alpha until
// flatten has put it on white.
type raster struct {
	w, h, stride int
	pix          []byte
	buf          *[]byte // to give back, or nil
}

// buffers are reused between images, by the power of two of their size; the garbage
// collector takes what idles.
var buffers [48]sync.Pool

// getBuffer returns n bytes of anything.
func getBuffer(n int) *[]byte {
	class := bits.Len(uint(max(n, 64) - 1))
	if b, _ := buffers[class].Get().(*[]byte); b != nil {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<class)
	return &b
}

func putBuffer(b *[]byte) {
	if b != nil {
		buffers[bits.Len(uint(cap(*b)-1))].Put(b)
	}
}

func newRaster(w, h int) *raster {
	buf := getBuffer(w * h * 4)
	return &raster{w: w, h: h, stride: w * 4, pix: *buf, buf: buf}
}

func (ra *raster) release() {
	putBuffer(ra.buf)
	ra.buf, ra.pix = nil, nil
}

// onWhite composites one channel value of opacity a onto white, as Pillow's
// alpha_composite rounds it.
func onWhite(v, a uint8) uint8 {
	t := (uint32(v)*uint32(a)+255*(255-uint32(a)))<<7 + 128<<7
	return uint8(((t >> 8) + t) >> 8 >> 7)
}

// flatten composites the pixels onto white.
func (ra *raster) flatten() {
	for y := range ra.h {
		row := ra.pix[y*ra.stride:][:ra.w*4]
		for ; len(row) >= 4; row = row[4:] {
			p := row[:4:4]
			switch a := p[3]; a {
			case 255:
			case 0:
				p[0], p[1], p[2], p[3] = 255, 255, 255, 255
			default:
				p[0], p[1], p[2], p[3] = onWhite(p[0], a), onWhite(p[1], a), onWhite(p[2], a), 255
			}
		}
	}
}

// divideByAlpha undoes a multiplication of the colours by the opacity.
func (ra *raster) divideByAlpha() {
	for i := 0; i+4 <= len(ra.pix); i += 4 {
		if a := uint32(ra.pix[i+3]); a != 0 && a != 255 {
			for q := range 3 {
				ra.pix[i+q] = uint8(min(255*uint32(ra.pix[i+q])/a, 255))
			}
		}
	}
}

func setGray(p []byte, v, a uint8) { p[0], p[1], p[2], p[3] = v, v, v, a }
