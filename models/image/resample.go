package image

/*
#include <stdlib.h>
#include "resample.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

var hasSIMD = C.winnow_resample_simd() != 0

// geometry says which part of which resize becomes the output.
type geometry struct {
	w, h           int // of the resized image
	x0, y0, x1, y1 int // the window of it that is shown
	left, top      int // where the window goes in the output
}

// yFirst reports whether a resize of w × h goes along y first. So Pillow decides
// since 13.0.0; before, it always went along x first. The results differ a little.
func (g geometry) yFirst(w, h int) bool { return h > g.h && h-g.h > 2*(w-g.w) && w != g.w }

// resizer carries out one resize. rows come in through resize_rows in C, the
// output leaves through finish.
type resizer struct {
	c      *C.winnow_resize // apart, since all that C can reach must be pinned
	pin    runtime.Pinner
	middle *[]byte
}

// newResizer prepares a resize of an image of w × h into out, which is outWidth
// pixels wide. Close it.
func newResizer(f Filter, w, h int, g geometry, simd bool, out []byte, outWidth int) *resizer {
	r := &resizer{c: &C.winnow_resize{}}
	ow, oh := g.x1-g.x0, g.y1-g.y0
	r.c.x0, r.c.y0 = C.int32_t(g.x0), C.int32_t(g.y0)
	r.c.width, r.c.height = C.int32_t(ow), C.int32_t(oh)
	first, last := g.y0, g.y1
	if g.w != w {
		r.c.x = r.axis(newAxis(f, w, g.w, g.x0, g.x1, true, simd))
	}
	if g.h != h {
		a := newAxis(f, h, g.h, g.y0, g.y1, false, simd)
		first, last = int(a.start[0]), int(a.start[oh-1]+a.count[oh-1])
		if g.yFirst(w, h) {
			first, last = 0, 1
		}
		r.c.y = r.axis(a.from(first))
	}
	r.c.first, r.c.last = C.int32_t(first), C.int32_t(last)
	stride := (ow*4 + 31) &^ 31
	if g.yFirst(w, h) {
		stride = w * 4
	}
	r.middle = getBuffer((last - first) * stride)
	r.pin.Pin(&(*r.middle)[0])
	out = out[(g.top*outWidth+g.left)*3:]
	r.pin.Pin(&out[0])
	r.c.middle, r.c.middle_stride = (*C.uint8_t)(&(*r.middle)[0]), C.size_t(stride)
	r.c.out, r.c.out_stride = (*C.uint8_t)(&out[0]), C.size_t(outWidth*3)
	return r
}

// from is the axis with inputs counted from first.
func (a *axis) from(first int) *axis {
	if first == 0 {
		return a
	}
	b := *a
	b.start = make([]int32, len(a.start))
	for i, s := range a.start {
		b.start[i] = s - int32(first)
	}
	return &b
}

// axis pins an axis for C.
func (r *resizer) axis(a *axis) *C.winnow_axis {
	c := &C.winnow_axis{out: C.int32_t(a.size), ksize: C.int32_t(a.ksize), groups: C.int32_t(a.groups)}
	if a.simd {
		c.simd = 1
	}
	c.start, c.count, c.k = pinned(&r.pin, a.start), pinned(&r.pin, a.count), pinned(&r.pin, a.k)
	if a.taps != nil {
		c.tap_start = pinned(&r.pin, a.tapStart)
		r.pin.Pin(&a.taps[0])
		c.taps = (*C.int16_t)(&a.taps[0])
	}
	r.pin.Pin(c)
	return c
}

func pinned(pin *runtime.Pinner, s []int32) *C.int32_t {
	pin.Pin(&s[0])
	return (*C.int32_t)(&s[0])
}

// rows resizes rows of 4-byte pixels that start at row along x.
func (r *resizer) rows(pix []byte, stride, row, n int) {
	C.winnow_resize_rows(r.c, (*C.uint8_t)(unsafe.Pointer(&pix[0])), C.size_t(stride), C.int(row), C.int(n))
}

// finish resizes along y and writes the output.
func (r *resizer) finish() {
	line := getBuffer(int(r.c.width)*4 + 32)
	C.winnow_resize_finish(r.c, (*C.uint8_t)(&(*line)[0]))
	putBuffer(line)
}

func (r *resizer) close() {
	r.pin.Unpin()
	putBuffer(r.middle)
}

// resize puts a resize of the raster into out, which is outWidth pixels wide.
func (ra *raster) resize(f Filter, g geometry, simd bool, out []byte, outWidth int) {
	if f == Nearest && (g.w != ra.w || g.h != ra.h) {
		xs, ys := nearest(ra.w, g.w, g.x0, g.x1), nearest(ra.h, g.h, g.y0, g.y1)
		for i, y := range ys {
			row, out := ra.pix[y*ra.stride:], out[((g.top+i)*outWidth+g.left)*3:]
			for _, x := range xs {
				out[0], out[1], out[2] = row[x*4], row[x*4+1], row[x*4+2]
				out = out[3:]
			}
		}
		return
	}
	r := newResizer(f, ra.w, ra.h, g, simd, out, outWidth)
	defer r.close()
	if g.yFirst(ra.w, ra.h) {
		line := getBuffer(int(r.c.width) * 4)
		defer putBuffer(line)
		C.winnow_resize_y_first(r.c, (*C.uint8_t)(unsafe.Pointer(&ra.pix[0])), C.size_t(ra.stride), C.int(ra.w), (*C.uint8_t)(&(*line)[0]))
		return
	}
	r.rows(ra.pix, ra.stride, 0, ra.h)
	r.finish()
}
