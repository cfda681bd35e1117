package image

/*
#cgo CFLAGS: -O3
#cgo LDFLAGS: -lm
#include <math.h>
#include "resample.h"

static void winnow_lanczos3(double *x, int n) {
  for (int i = 0; i < n; i++) {
    double v = x[i], a = v * M_PI, b = v / 3.0 * M_PI;
    if (!(v >= -3.0 && v < 3.0)) x[i] = 0;
    else if (v == 0) x[i] = 1;
    else x[i] = sin(a) / a * (sin(b) / b);
  }
}
*/
import "C"

import (
	"math"
	"sync"
)

// Filter is a resize filter: what Pillow calls Resampling.
type Filter string

const (
	Nearest  Filter = "nearest"
	Box      Filter = "box"
	Bilinear Filter = "bilinear"
	Bicubic  Filter = "bicubic"
	Lanczos  Filter = "lanczos"
)

// Filters are all filters.
var Filters = []Filter{Bicubic, Bilinear, Nearest, Lanczos, Box}

// support is how far a filter reaches, in inputs of an unscaled image.
func (f Filter) support() float64 {
	switch f {
	case Box:
		return 0.5
	case Bilinear:
		return 1
	case Bicubic:
		return 2
	}
	return 3
}

// eval replaces distances by weights. Conversions keep compilers that fuse
// multiplications and additions from rounding differently than Pillow.
func (f Filter) eval(x []float64) {
	switch f {
	case Box:
		for i, v := range x {
			x[i] = 0
			if v > -0.5 && v <= 0.5 {
				x[i] = 1
			}
		}
	case Bilinear:
		for i, v := range x {
			x[i] = max(0, 1-math.Abs(v))
		}
	case Bicubic:
		const a = -0.5
		for i, v := range x {
			v = math.Abs(v)
			switch {
			case v < 1:
				x[i] = float64(float64(float64(float64((a+2)*v)-(a+3))*v)*v) + 1
			case v < 2:
				x[i] = (float64((float64((v-5)*v)+8)*v) - 4) * a
			default:
				x[i] = 0
			}
		}
	default:
		C.winnow_lanczos3((*C.double)(&x[0]), C.int(len(x)))
	}
}

const fraction = 22 // bits after the point of a weight

// axis holds the weights of a resize along one axis: the outputs [lo, hi) of a
// resize from in to out.
type axis struct {
	size, ksize, groups int
	start, count, k     []int32 // see resample.h
	tapStart            []int32
	taps                []int16
	simd                bool
}

type axisKey struct {
	filter          Filter
	in, out, lo, hi int
	taps, simd      bool
}

// Weights take a tenth of a millisecond to compute and images of a source tend to
// be of few sizes.
var axes = struct {
	sync.Mutex
	m map[axisKey]*axis
}{m: map[axisKey]*axis{}}

const maxAxes = 64

// newAxis returns the weights for the outputs [lo, hi) of a resize from in to out
// pixels. taps asks for those of the vector code along x.
func newAxis(f Filter, in, out, lo, hi int, taps, simd bool) *axis {
	key := axisKey{f, in, out, lo, hi, taps, simd}
	axes.Lock()
	a := axes.m[key]
	axes.Unlock()
	if a != nil {
		return a
	}
	a = computeAxis(f, in, out, lo, hi)
	a.simd = simd && a.small()
	if taps && a.simd && a.groups*4 <= in {
		a.split(in)
	}
	axes.Lock()
	defer axes.Unlock()
	if len(axes.m) >= maxAxes {
		clear(axes.m)
	}
	if 4*len(a.k) < 1<<20 {
		axes.m[key] = a
	}
	return a
}

func computeAxis(f Filter, in, out, lo, hi int) *axis {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := f.support() * stretch
	a := &axis{size: hi - lo, ksize: min(int(math.Ceil(support))*2+1, in)}
	a.groups = (a.ksize + 3) / 4
	a.start, a.count = make([]int32, a.size), make([]int32, a.size)
	a.k = make([]int32, a.size*a.ksize)
	w := make([]float64, a.ksize)
	inv := 1 / stretch
	for i := range a.size {
		center := float64((float64(lo+i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		last := min(int(center+support+0.5), in)
		w := w[:last-first]
		for j := range w {
			w[j] = float64(float64(j+first)-center+0.5) * inv
		}
		f.eval(w)
		var sum float64
		for _, v := range w {
			sum += v
		}
		k := a.k[i*a.ksize:]
		for j, v := range w {
			if sum != 0 {
				v /= sum
			}
			v = float64(v * (1 << fraction))
			if v < 0 {
				k[j] = int32(v - 0.5)
			} else {
				k[j] = int32(v + 0.5)
			}
		}
		a.start[i], a.count[i] = int32(first), int32(len(w))
	}
	return a
}

// small reports whether the high half of every weight fits 16 bits.
func (a *axis) small() bool {
	for _, k := range a.k {
		if k >= 1<<23 || k < -1<<23 {
			return false
		}
	}
	return true
}

// split fills taps: groups of 4 weights, shifted left where they would reach past
// the end of the input.
func (a *axis) split(in int) {
	a.tapStart = make([]int32, a.size)
	a.taps = make([]int16, a.size*a.groups*32)
	for i := range a.size {
		start := min(int(a.start[i]), in-4*a.groups)
		shift := int(a.start[i]) - start
		a.tapStart[i] = int32(start)
		t := a.taps[i*a.groups*32:]
		for j := range int(a.count[i]) {
			k := a.k[i*a.ksize+j]
			// A group is 16 high halves, then 16 low ones: per channel a pair of
			// weights, inputs 0 and 1 in the first 8, 2 and 3 in the last 8.
			g, in4 := (j+shift)/4, (j+shift)%4
			at := g*32 + in4/2*8 + in4%2
			for ch := 0; ch < 8; ch += 2 {
				t[at+ch], t[at+ch+16] = int16(k>>8), int16(k&255)
			}
		}
	}
}

// nearest lists the inputs that the outputs [lo, hi) of a nearest-neighbour
// resize take, with the running sum that Pillow keeps.
func nearest(in, out, lo, hi int) []int {
	step := float64(in) / float64(out)
	at := step * 0.5
	from := make([]int, hi)
	for i := range from {
		from[i] = min(int(at), in-1)
		at += step
	}
	return from[lo:]
}
