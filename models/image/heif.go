package image

/*
#cgo LDFLAGS: -ldl
#include "heif.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"winnow/pipeline"
)

const howToHEIF = "install it (Debian and Ubuntu: apt-get install libheif1; Fedora: dnf install libheif libheif-freeworld; macOS is not supported) and run again"

// HEIF returns the version of libheif, by which HEIC and AVIF files are decoded,
// and which of the two it can decode. It is opened at run time: where it is
// absent, the error says how to get it, and such files are refused as
// unsupported_format.
func HEIF() (version string, heic, avif bool, err error) {
	version, why := openHEIF()
	if version == "" {
		return "", false, false, fmt.Errorf("libheif: %s: %s", why, howToHEIF)
	}
	return version, C.winnow_heif_decodes(1) != 0, C.winnow_heif_decodes(4) != 0, nil
}

// openHEIF is a variable so that tests can play a machine without libheif.
var openHEIF = func() (version, why string) {
	var fault *C.char
	v := C.winnow_heif_version(&fault)
	return C.GoString(v), C.GoString(fault)
}

// sniffHEIF tells AVIF and HEIC from other ISO media files by the brands in the
// ftyp box.
func sniffHEIF(data []byte) format {
	if len(data) < 16 || string(data[4:8]) != "ftyp" {
		return ""
	}
	end := min(int(binary.BigEndian.Uint32(data)), len(data))
	brands := []string{string(data[8:12])}
	for at := 16; at+4 <= end && at < 512; at += 4 {
		brands = append(brands, string(data[at:at+4]))
	}
	switch {
	case slices.Contains(brands, "avif"), slices.Contains(brands, "avis"):
		return formatAVIF
	case slices.ContainsFunc(brands, func(b string) bool {
		return slices.Contains([]string{"heic", "heix", "hevc", "hevx", "heim", "heis"}, b)
	}):
		return formatHEIC
	case brands[0] == "mif1", brands[0] == "msf1":
		return formatHEIC
	}
	return ""
}

func heifHeader(f format, data []byte, l Limits) (header, error) {
	h := header{format: f}
	_, heic, avif, err := HEIF()
	if err != nil {
		return h, pipeline.Rowf(pipeline.ReasonUnsupported, "it is a file of format %s, which is read by %w", f, err)
	}
	if f == formatHEIC && !heic || f == formatAVIF && !avif {
		return h, pipeline.Rowf(pipeline.ReasonUnsupported, "this libheif has no decoder for %s: install one (Debian and Ubuntu: the package libde265-0 for HEIC, libdav1d or libaom for AVIF, with the plugin of libheif where it is apart)", f)
	}
	if err := checkHEIFSizes(f, data, l); err != nil {
		return h, err
	}
	var info C.winnow_heif_info
	code := C.winnow_heif_header((*C.uint8_t)(unsafe.Pointer(&data[0])), C.size_t(len(data)), C.int64_t(l.Pixels), &info)
	h.w, h.h = int(info.width), int(info.height)
	return h, heifFault(f, code, &info)
}

// decodeHEIF decodes the primary image. libheif turns, mirrors and crops it as
// the file says; colour profiles are left alone, more than 8 bits are cut to 8.
func decodeHEIF(h header, data []byte, l Limits) (*raster, error) {
	ra := newRaster(h.w, h.h)
	var info C.winnow_heif_info
	code := C.winnow_heif_decode((*C.uint8_t)(unsafe.Pointer(&data[0])), C.size_t(len(data)), C.int64_t(l.Pixels),
		C.int32_t(h.w), C.int32_t(h.h), C.int(ownChroma(h, data)), (*C.uint8_t)(unsafe.Pointer(&ra.pix[0])), C.size_t(ra.stride), &info)
	if err := heifFault(h.format, code, &info); err != nil {
		ra.release()
		return nil, err
	}
	if info.premultiplied != 0 {
		ra.divideByAlpha()
	}
	return ra, nil
}

// ownChroma returns the chroma format (libheif's number) of an AVIF whose colours
// avif.c computes, or 0. It is 0 for other than 8 bits, for greys, and where only
// libheif knows which chroma belongs to which pixel: after a crop, or a turn of an
// odd size.
func ownChroma(h header, data []byte) int {
	meta, err := isoBoxes(data)
	at := bytes.Index(meta, []byte("av1C"))
	if h.format != formatAVIF || err != nil || at < 0 || at+8 > len(meta) || bytes.Contains(meta, []byte("clap")) {
		return 0
	}
	if (bytes.Contains(meta, []byte("irot")) || bytes.Contains(meta, []byte("imir"))) && (h.w%2 != 0 || h.h%2 != 0) {
		return 0
	}
	switch meta[at+6] & 0x7c { // depth: two bits, grey, halved along x, along y
	case 0:
		return 3
	case 0x08:
		return 2
	case 0x0c:
		return 1
	}
	return 0
}

func heifFault(f format, code C.int, info *C.winnow_heif_info) error {
	reason := pipeline.ReasonCorrupt
	switch code {
	case C.WINNOW_HEIF_OK:
		return nil
	case C.WINNOW_HEIF_TRUNCATED:
		reason = pipeline.ReasonTruncated
	case C.WINNOW_HEIF_UNSUPPORTED:
		reason = pipeline.ReasonUnsupported
	case C.WINNOW_HEIF_TOO_LARGE:
		reason = pipeline.ReasonTooManyPixels
	}
	return pipeline.Rowf(reason, "%s: %s", f, C.GoString(&info.message[0]))
}

// checkHEIFSizes holds every size that the file's boxes state against the limit:
// the decoders behind libheif take memory for a coded picture of any size before
// libheif compares it with what the file promises.
func checkHEIFSizes(f format, data []byte, l Limits) error {
	meta, err := isoBoxes(data)
	if err != nil {
		return fault(f, err)
	}
	for at := range meta {
		if at+8 > len(meta) {
			break
		}
		w, h := 0, 0
		switch body := meta[at+4:]; string(meta[at : at+4]) {
		case "ispe":
			if len(body) >= 12 {
				w, h = int(binary.BigEndian.Uint32(body[4:])), int(binary.BigEndian.Uint32(body[8:]))
			}
		case "hvcC":
			w, h = hevcSize(body)
		}
		if w > 0 && h > 0 && (int64(w) > l.Pixels || int64(h) > l.Pixels/int64(w)) {
			return pipeline.Rowf(pipeline.ReasonTooManyPixels, "%s with a picture of %d × %d pixels, the limit is %d pixels", f, w, h, l.Pixels)
		}
	}
	return nil
}

// isoBoxes returns the meta box of an ISO media file. What follows a whole meta
// and a whole mdat box is not looked at: telephones append things of their own.
func isoBoxes(data []byte) (meta []byte, err error) {
	pixels := false
	for at := 0; at < len(data) && (meta == nil || !pixels); {
		rest := data[at:]
		if len(rest) < 16 {
			return nil, io.ErrUnexpectedEOF
		}
		n, kind := uint64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		switch n {
		case 0: // up to the end of the file
			n = uint64(len(rest))
		case 1:
			n = binary.BigEndian.Uint64(rest[8:])
		}
		switch {
		case n < 8:
			return nil, errors.New("a box of no length")
		case n > uint64(len(rest)):
			return nil, io.ErrUnexpectedEOF
		case kind == "meta":
			meta = rest[:n]
		case kind == "mdat":
			pixels = true
		}
		at += int(n)
	}
	if meta == nil {
		return nil, fmt.Errorf("a file without a still picture is %w", errUnsupported)
	}
	return meta, nil
}

// hevcSize returns the largest coded size in the sequence parameter sets of a
// decoder configuration (ISO/IEC 14496-15, 8.3.3; ITU-T H.265, 7.3.2.2).
func hevcSize(c []byte) (w, h int) {
	if len(c) < 23 {
		return 0, 0
	}
	arrays := int(c[22])
	for c = c[23:]; arrays > 0 && len(c) >= 3; arrays-- {
		kind, units := c[0]&0x3f, int(binary.BigEndian.Uint16(c[1:]))
		for c = c[3:]; units > 0 && len(c) >= 2; units-- {
			n := int(binary.BigEndian.Uint16(c))
			if n > len(c)-2 {
				return w, h
			}
			if kind == 33 {
				uw, uh := spsSize(c[2 : 2+n])
				w, h = max(w, uw), max(h, uh)
			}
			c = c[2+n:]
		}
	}
	return w, h
}

// spsSize returns the size in one sequence parameter set.
func spsSize(unit []byte) (w, h int) {
	b := bitReader{data: unescaped(unit)}
	b.skip(16 + 4) // header of the unit, video parameter set
	layers := b.bits(3)
	b.skip(1)
	b.skip(88 + 8) // general profile, tier and level
	var profile, level [8]bool
	for i := range layers {
		profile[i], level[i] = b.bits(1) == 1, b.bits(1) == 1
	}
	if layers > 0 {
		b.skip(2 * (8 - layers))
	}
	for i := range layers {
		if profile[i] {
			b.skip(88)
		}
		if level[i] {
			b.skip(8)
		}
	}
	b.golomb() // id
	if b.golomb() == 3 {
		b.skip(1)
	}
	return b.golomb(), b.golomb()
}

// unescaped removes the bytes that keep start codes out of a unit.
func unescaped(unit []byte) []byte {
	out, zeros := make([]byte, 0, len(unit)), 0
	for _, v := range unit {
		if zeros >= 2 && v == 3 {
			zeros = 0
			continue
		}
		if zeros++; v != 0 {
			zeros = 0
		}
		out = append(out, v)
	}
	return out
}

// bitReader reads bits, the highest first; behind the end are zeros.
type bitReader struct {
	data []byte
	at   int
}

func (b *bitReader) skip(n int) { b.at += n }

func (b *bitReader) bits(n int) int {
	v := 0
	for range n {
		v <<= 1
		if i := b.at / 8; i < len(b.data) {
			v |= int(b.data[i]>>(7-b.at%8)) & 1
		}
		b.at++
	}
	return v
}

// golomb reads an unsigned Exp-Golomb code.
func (b *bitReader) golomb() int {
	zeros := 0
	for zeros < 32 && b.bits(1) == 0 {
		zeros++
	}
	return 1<<zeros - 1 + b.bits(zeros)
}
