package image

import (
	"fmt"
	stdimage "image"
	"image/color"
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

// fromImage takes over what Go's decoders return. The raster may share img's
// memory.
func fromImage(img stdimage.Image) (*raster, error) {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	switch m := img.(type) {
	case *stdimage.NRGBA:
		return &raster{w: w, h: h, stride: m.Stride, pix: m.Pix}, nil
	case *stdimage.RGBA: // premultiplied
		ra := &raster{w: w, h: h, stride: m.Stride, pix: m.Pix}
		ra.divideByAlpha()
		return ra, nil
	}
	ra := newRaster(w, h)
	var row func(y int, out []byte)
	switch m := img.(type) {
	case *stdimage.Gray:
		row = func(y int, out []byte) {
			for x, v := range m.Pix[y*m.Stride:][:w] {
				setGray(out[x*4:], v, 255)
			}
		}
	case *stdimage.Gray16: // the high bytes: Pillow clips at 255, which leaves nothing of a picture
		row = func(y int, out []byte) {
			for x := range w {
				setGray(out[x*4:], m.Pix[y*m.Stride+x*2], 255)
			}
		}
	case *stdimage.NRGBA64:
		row = func(y int, out []byte) {
			for x := range w * 4 {
				out[x] = m.Pix[y*m.Stride+x*2]
			}
		}
	case *stdimage.RGBA64: // opaque: what Go's decoders return for colours without alpha
		row = func(y int, out []byte) {
			for x := range w * 4 {
				out[x] = m.Pix[y*m.Stride+x*2]
			}
		}
	case *stdimage.Paletted:
		palette := rgbaPalette(m.Palette)
		row = func(y int, out []byte) {
			for x, v := range m.Pix[y*m.Stride:][:w] {
				copy(out[x*4:x*4+4], palette[v][:])
			}
		}
	default:
		ra.release()
		return nil, fmt.Errorf("pixels of type %T", img)
	}
	for y := range h {
		row(y, ra.pix[y*ra.stride:][:w*4])
	}
	return ra, nil
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

func rgbaPalette(p color.Palette) (t [256][4]byte) {
	for i := range t {
		t[i] = [4]byte{0, 0, 0, 255}
	}
	for i, c := range p[:min(len(p), 256)] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		t[i] = [4]byte{n.R, n.G, n.B, n.A}
	}
	return t
}
