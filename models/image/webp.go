package image

/*
#include "webp.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	stdimage "image"
	"io"
	"unsafe"

	"golang.org/x/image/webp"
)

// webpFile is the first frame of a file and its place on the canvas.
type webpFile struct {
	w, h         int // of the canvas
	extended     bool
	x, y, fw, fh int
	alpha        bool   // the file has transparency
	alph         []byte // ALPH chunk of a lossy frame
	kind         string // "VP8 " or "VP8L"
	body         []byte
	exif         []byte
}

// webpChunks calls fn with each chunk until it returns false.
func webpChunks(data []byte, fn func(kind string, body []byte) bool) error {
	for len(data) > 0 {
		if len(data) < 8 {
			return io.ErrUnexpectedEOF
		}
		n := u32(data[4:])
		if n > len(data)-8 {
			return io.ErrUnexpectedEOF
		}
		if !fn(string(data[:4]), data[8:8+n]) {
			return nil
		}
		data = data[min(8+n+n%2, len(data)):]
	}
	return nil
}

// readWebP reads everything but the pixels.
func readWebP(data []byte) (f webpFile, err error) {
	var bad error
	frame := func(kind string, body []byte) bool {
		switch kind {
		case "ALPH":
			f.alph = body
		case "VP8 ", "VP8L":
			f.kind, f.body = kind, body
			bad = f.readFrameSize()
			return false
		}
		return true
	}
	end := min(8+u32(data[4:]), len(data))
	err = webpChunks(data[12:end], func(kind string, body []byte) bool {
		switch kind {
		case "VP8X":
			if len(body) < 10 {
				bad = io.ErrUnexpectedEOF
				return false
			}
			f.extended, f.alpha = true, body[0]&0x10 != 0
			f.w, f.h = u24(body[4:])+1, u24(body[7:])+1
		case "ANMF":
			if f.kind != "" {
				return true
			}
			if len(body) < 16 {
				bad = io.ErrUnexpectedEOF
				return false
			}
			f.x, f.y = u24(body)*2, u24(body[3:])*2
			if err := webpChunks(body[16:], frame); err != nil && bad == nil {
				bad = err
			}
		case "EXIF":
			f.exif = body
		default:
			if f.kind == "" {
				frame(kind, body)
			}
		}
		return bad == nil
	})
	switch {
	case bad != nil:
		return f, bad
	case f.kind == "":
		return f, io.ErrUnexpectedEOF // the file's end, or none of the frames that its header promises
	case err != nil && end == len(data) && f.kind != "":
		// Something after the pixels is cut: they are whole.
		err = nil
	}
	if !f.extended {
		f.w, f.h = f.fw, f.fh
	}
	if f.x+f.fw > f.w || f.y+f.fh > f.h {
		return f, errors.New("its frame is larger than the canvas")
	}
	return f, err
}

// readFrameSize reads the size from the frame's own header, which is what a
// decoder allocates memory for.
func (f *webpFile) readFrameSize() error {
	if f.kind == "VP8 " {
		if len(f.body) < 10 {
			return io.ErrUnexpectedEOF
		}
		if f.body[0]&1 != 0 || string(f.body[3:6]) != "\x9d\x01\x2a" {
			return errors.New("no key frame")
		}
		f.fw, f.fh = u16(f.body[6:])&0x3fff, u16(f.body[8:])&0x3fff
		return nil
	}
	if len(f.body) < 5 {
		return io.ErrUnexpectedEOF
	}
	if f.body[0] != 0x2f {
		return errors.New("no lossless frame")
	}
	v := u32(f.body[1:])
	f.fw, f.fh = v&0x3fff+1, v>>14&0x3fff+1
	if !f.extended {
		f.alpha = v>>28&1 != 0
	}
	return nil
}

func webpHeader(data []byte) (header, error) {
	f, err := readWebP(data)
	return header{format: formatWebP, w: f.w, h: f.h}, err
}

// container wraps the frame alone as a file that webp.Decode takes.
func (f webpFile) container() []byte {
	var b bytes.Buffer
	chunk := func(kind string, body []byte) {
		b.WriteString(kind)
		_ = binary.Write(&b, binary.LittleEndian, uint32(len(body)))
		b.Write(body)
		if len(body)%2 == 1 {
			b.WriteByte(0)
		}
	}
	b.WriteString("RIFF\x00\x00\x00\x00WEBP")
	if f.kind == "VP8 " && f.alph != nil {
		w, h := f.fw-1, f.fh-1
		chunk("VP8X", []byte{0x10, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
		chunk("ALPH", f.alph)
	}
	chunk(f.kind, f.body)
	out := b.Bytes()
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

func decodeWebP(data []byte) (*raster, error) {
	f, err := readWebP(data)
	if err != nil {
		return nil, err
	}
	img, err := webp.Decode(bytes.NewReader(f.container()))
	if err != nil {
		return nil, err
	}
	var ra *raster
	switch m := img.(type) {
	case *stdimage.YCbCr:
		ra, err = fromYUV(m)
	case *stdimage.NYCbCrA:
		if ra, err = fromYUV(&m.YCbCr); err == nil {
			for y := range ra.h {
				for x, a := range m.A[y*m.AStride:][:ra.w] {
					ra.pix[y*ra.stride+x*4+3] = a
				}
			}
		}
	case *stdimage.NRGBA:
		ra = &raster{w: m.Rect.Dx(), h: m.Rect.Dy(), stride: m.Stride, pix: m.Pix}
	default:
		err = fmt.Errorf("pixels of type %T are %w", img, errUnsupported)
	}
	if err != nil {
		return nil, err
	}
	if !f.alpha {
		ra.opaque()
	}
	if f.fw == f.w && f.fh == f.h {
		return ra, nil
	}
	// A small first frame stands on a transparent canvas, or a black one.
	canvas := newRaster(f.w, f.h)
	clear(canvas.pix)
	for y := range f.fh {
		copy(canvas.pix[(f.y+y)*canvas.stride+f.x*4:], ra.pix[y*ra.stride:][:f.fw*4])
	}
	ra.release()
	if !f.alpha {
		canvas.opaque()
	}
	return canvas, nil
}

func (ra *raster) opaque() {
	for y := range ra.h {
		row := ra.pix[y*ra.stride:][:ra.w*4]
		for x := 3; x < len(row); x += 4 {
			row[x] = 255
		}
	}
}

// fromYUV converts as libwebp does: chroma is interpolated between its four
// nearest samples, then fixed-point arithmetic.
func fromYUV(m *stdimage.YCbCr) (*raster, error) {
	if m.SubsampleRatio != stdimage.YCbCrSubsampleRatio420 {
		return nil, fmt.Errorf("chroma %v is %w", m.SubsampleRatio, errUnsupported)
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	ra := newRaster(w, h)
	cw, ch := (w+1)/2, (h+1)/2
	for y := range h {
		// The chroma row of y, and the next nearest one.
		a := y / 2
		b := min(max(a-1+y%2*2, 0), ch-1)
		chroma := func(plane []uint8, row int) *C.uint8_t { return bytesOf(plane[row*m.CStride:][:cw]) }
		C.winnow_webp_row(bytesOf(m.Y[y*m.YStride:][:w]), chroma(m.Cb, a), chroma(m.Cb, b), chroma(m.Cr, a), chroma(m.Cr, b),
			C.int(w), bytesOf(ra.pix[y*ra.stride:][:w*4]))
	}
	return ra, nil
}

func bytesOf(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(&b[0])) }
