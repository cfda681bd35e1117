// Package image turns files of pictures into the pixels that a model wants:
// decode, orient, put on white, resize, crop.
//
// Every step is Pillow's, bit for bit, so that vectors equal those of the Python
// code that a model comes with; testdata/interop/pixels.py compares 730 pictures.
// One thing differs on purpose: a 16-bit greyscale picture is reduced to its high
// bytes, as 16-bit colour is, where Pillow clips everything above 255 to white.
// HEIC and AVIF, which the system's libheif decodes, differ from pillow-heif and
// Pillow by rounding: of photos by less than 0.1 of 255 on average. The colours of
// an AVIF of odd size with chroma at half the size differ more at its last column
// or row, and everywhere where it is turned, too.
//
// Files are not trusted. Sizes are checked before memory is spent, the memory of
// all decodes at one time is bounded, and a fault of a file is a
// *pipeline.RowError, never a panic.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sync/semaphore"

	"winnow/pipeline"
)

// Generation counts the changes to this package that change pixels. It is part of
// every image model's fingerprint.
const Generation = 1

// Options say what a model wants to see.
type Options struct {
	Height, Width int // of the output, in pixels

	// Crop keeps the proportions: the shorter side becomes Shortest pixels and
	// the middle Height × Width is kept, with torchvision's rounding. Otherwise
	// the picture is squashed into the output.
	Crop     bool
	Shortest int // at least Height and Width; 0 is the larger of the two

	// Letterbox keeps the proportions, too: the whole picture fits into the output,
	// centred, and what it leaves free is Fill. Sizes and places are those of
	// Pillow's ImageOps.pad, which rounds halves to even; a side is at least one
	// pixel, where Pillow fails. Not together with Crop.
	Letterbox bool
	Fill      [3]uint8 // red, green, blue

	Filter Filter // "" is Bicubic

	EXIF      bool // turn and mirror as the EXIF orientation says
	DropAlpha bool // take the colours of transparent pixels as they are, instead of compositing them on white
	Fast      bool // let large JPEGs shrink while decoding, down to twice the output
}

// Limits bound what one file may cost. Zero values are the defaults.
type Limits struct {
	Bytes  int64         // of a file; 256 MiB
	Pixels int64         // of a picture; 100 million
	Time   time.Duration // of one decode; 30 s. The pixels bound that of a PNG.
	Memory int64         // of all decodes at one time; 1 GiB. A larger picture waits until it is alone.
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 256 << 20
	}
	if l.Pixels <= 0 {
		l.Pixels = 100_000_000
	}
	if l.Time <= 0 {
		l.Time = 30 * time.Second
	}
	if l.Memory <= 0 {
		l.Memory = 1 << 30
	}
	return l
}

// Decoder decodes files for one model. It is safe for concurrent use.
type Decoder struct {
	o      Options
	l      Limits
	memory *semaphore.Weighted
	simd   bool
}

// NewDecoder checks the options.
func NewDecoder(o Options, l Limits) (*Decoder, error) {
	if o.Height < 1 || o.Width < 1 || o.Height > 1<<14 || o.Width > 1<<14 {
		return nil, fmt.Errorf("image size %d × %d: sides are 1 to %d pixels", o.Height, o.Width, 1<<14)
	}
	if o.Filter == "" {
		o.Filter = Bicubic
	}
	switch o.Filter {
	case Nearest, Box, Bilinear, Bicubic, Lanczos:
	default:
		return nil, fmt.Errorf("resize filter %q: use one of %v", o.Filter, Filters)
	}
	if o.Shortest == 0 {
		o.Shortest = max(o.Height, o.Width)
	}
	if o.Crop && o.Letterbox {
		return nil, errors.New("crop and letterbox are two ways to fit: choose one")
	}
	if o.Crop && o.Shortest < max(o.Height, o.Width) {
		return nil, fmt.Errorf("a shortest side of %d pixels is less than the crop of %d × %d", o.Shortest, o.Height, o.Width)
	}
	l = l.withDefaults()
	return &Decoder{o: o, l: l, memory: semaphore.NewWeighted(l.Memory), simd: hasSIMD}, nil
}

// Size is the number of bytes of an output.
func (d *Decoder) Size() int { return d.o.Height * d.o.Width * 3 }

// Decode decodes a file into out: Height × Width × 3 bytes, red, green, blue, row
// by row. A fault of the file is a *pipeline.RowError with one of the reasons
// empty, too_large, too_many_pixels, no_pixels, unsupported_format, truncated,
// corrupt and timeout. After a timeout, or when ctx ends, data may still be read.
func (d *Decoder) Decode(ctx context.Context, data, out []byte) (err error) {
	if len(out) != d.Size() {
		return fmt.Errorf("image: output of %d bytes, want %d", len(out), d.Size())
	}
	h, err := readHeader(data, d.l)
	if err != nil {
		return err
	}
	p := d.plan(h, data)
	if d.o.Letterbox {
		d.fill(out)
	}
	cost := min(h.memory(!p.streams), d.l.Memory)
	if err := d.memory.Acquire(ctx, cost); err != nil {
		return context.Cause(ctx)
	}
	release := func() { d.memory.Release(cost) }
	var ra *raster
	if h.rare() {
		ra, err = d.watched(ctx, h, data, &release)
	} else {
		ra, err = d.common(h, p, data, out)
	}
	defer release()
	if ra == nil || err != nil {
		return err
	}
	defer ra.release()
	if p.turn != uprightOrientation {
		up := ra.turned(p.turn)
		defer up.release()
		ra = up
	}
	ra.resize(d.o.Filter, d.geometry(ra.w, ra.h), d.simd, out, d.o.Width)
	return nil
}

// watched decodes a picture of a rarer format, whose decoders cannot be stopped:
// one that takes too long, or that the context calls off, is left behind. It
// keeps its part of the memory until it ends, which the limits on bytes and
// pixels see to: it calls release, and the caller does not.
func (d *Decoder) watched(ctx context.Context, h header, data []byte, release *func()) (*raster, error) {
	type result struct {
		ra  *raster
		err error
	}
	done, left := make(chan result), make(chan struct{})
	later := *release
	go func() {
		var r result
		defer func() {
			// Go's decoders of the rarer formats were fuzzed less than the common ones.
			if p := recover(); p != nil {
				r = result{err: pipeline.Rowf(pipeline.ReasonCorrupt, "%s: the decoder gave up: %v", h.format, p)}
			}
			select {
			case done <- r:
			case <-left:
				if r.ra != nil {
					r.ra.release()
				}
				later()
			}
		}()
		r.ra, r.err = d.rare(h, data)
	}()
	begin := time.Now()
	late := time.NewTimer(d.l.Time)
	defer late.Stop()
	tooLong := pipeline.Rowf(pipeline.ReasonTimeout, "%s: decoding took longer than %v", h.format, d.l.Time)
	select {
	case r := <-done:
		if time.Since(begin) > d.l.Time && r.ra != nil { // the timer may be late itself
			r.ra.release()
			return nil, tooLong
		}
		return r.ra, r.err
	case <-late.C:
		*release = func() {}
		close(left)
		return nil, tooLong
	case <-ctx.Done():
		*release = func() {}
		close(left)
		return nil, context.Cause(ctx)
	}
}

// plan is how a file becomes an output.
type plan struct {
	w, h, eighths int // the size to which it is decoded, and the scale in eighths
	turn          int // EXIF orientation
	streams       bool
	geometry
}

func (d *Decoder) plan(h header, data []byte) plan {
	p := plan{turn: uprightOrientation}
	// Of a TIFF it is no EXIF, but a tag as old as the format, which all its readers
	// heed.
	if d.o.EXIF || h.format == formatTIFF {
		p.turn = readOrientation(h.format, data)
	}
	p.w, p.h, p.eighths = d.scaled(h, p.turn)
	p.geometry = d.geometry(p.w, p.h)
	// Most pictures are resized along x while they are decoded, and never whole in
	// memory.
	p.streams = p.turn == uprightOrientation && d.o.Filter != Nearest && !p.yFirst(p.w, p.h) && h.streams()
	return p
}

// common decodes a JPEG or PNG: into out, or, where it does not stream, into a
// raster.
func (d *Decoder) common(h header, p plan, data, out []byte) (*raster, error) {
	var r *resizer
	var ra *raster
	if p.streams {
		r = newResizer(d.o.Filter, p.w, p.h, p.geometry, d.simd, out, d.o.Width)
		defer r.close()
	} else {
		ra = newRaster(p.w, p.h)
	}
	var err error
	if h.format == formatJPEG {
		err = h.decodeJPEG(data, d.l, p, r, ra)
	} else {
		err = h.decodePNG(data, d.o.DropAlpha, r, ra)
	}
	switch {
	case err != nil && ra != nil:
		ra.release()
		return nil, err
	case err == nil && r != nil:
		r.finish()
	}
	return ra, err
}

// rare decodes a whole picture of another format, opaque.
func (d *Decoder) rare(h header, data []byte) (*raster, error) {
	ra, err := decodeOther(h, data, d.l)
	if err != nil {
		return nil, fault(h.format, err)
	}
	if ra.w != h.w || ra.h != h.h {
		ra.release()
		return nil, pipeline.Rowf(pipeline.ReasonCorrupt, "%s: its size is not the header's", h.format)
	}
	if !d.o.DropAlpha {
		ra.flatten()
	}
	return ra, nil
}

// scaled is the size to which a picture is decoded, and the scale in eighths.
func (d *Decoder) scaled(h header, turn int) (w, hh, eighths int) {
	if d.o.Fast && h.format == formatJPEG {
		for _, s := range []int{1, 2, 4} { // the others are slow in libjpeg
			w, hh := scaledSide(h.w, s), scaledSide(h.h, s)
			upW, upH := w, hh
			if turn >= 5 {
				upW, upH = hh, w
			}
			g := d.geometry(upW, upH)
			if upW >= 2*g.w && upH >= 2*g.h {
				return w, hh, s
			}
		}
	}
	return h.w, h.h, 8
}

// geometry says how a picture of w × h becomes the output.
func (d *Decoder) geometry(w, h int) geometry {
	if d.o.Letterbox {
		return d.letterbox(w, h)
	}
	if !d.o.Crop {
		return geometry{w: d.o.Width, h: d.o.Height, x1: d.o.Width, y1: d.o.Height}
	}
	rw, rh := d.o.Shortest, d.o.Shortest
	if w <= h {
		rh = int(float64(d.o.Shortest*h) / float64(w))
	} else {
		rw = int(float64(d.o.Shortest*w) / float64(h))
	}
	x, y := middle(rw-d.o.Width), middle(rh-d.o.Height)
	return geometry{w: rw, h: rh, x0: x, y0: y, x1: x + d.o.Width, y1: y + d.o.Height}
}

// letterbox fits all of w × h into the output as Pillow's ImageOps.pad does.
func (d *Decoder) letterbox(w, h int) geometry {
	ow, oh := d.o.Width, d.o.Height
	ratio, want := float64(w)/float64(h), float64(ow)/float64(oh)
	switch {
	case ratio > want:
		oh = max(1, int(math.RoundToEven(float64(h)/float64(w)*float64(ow))))
	case ratio < want:
		ow = max(1, int(math.RoundToEven(float64(w)/float64(h)*float64(oh))))
	}
	return geometry{w: ow, h: oh, x1: ow, y1: oh, left: middle(d.o.Width - ow), top: middle(d.o.Height - oh)}
}

// fill paints the whole output.
func (d *Decoder) fill(out []byte) {
	copy(out, d.o.Fill[:])
	for n := 3; n < len(out); n *= 2 {
		copy(out[n:], out[:n])
	}
}

// middle is half of an overhang, halves to even.
func middle(n int) int {
	h := n / 2
	if n%2 == 1 && h%2 == 1 {
		h++
	}
	return h
}

// fault turns a decoder's error into a reason.
func fault(f format, err error) error {
	var row *pipeline.RowError
	switch {
	case errors.As(err, &row):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return pipeline.Rowf(pipeline.ReasonTruncated, "%s: the file ends early", f)
	case unsupported(err):
		return pipeline.Rowf(pipeline.ReasonUnsupported, "%s: %w", f, err)
	}
	return pipeline.Rowf(pipeline.ReasonCorrupt, "%s: %w", f, err)
}
