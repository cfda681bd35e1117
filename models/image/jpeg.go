package image

/*
#cgo LDFLAGS: -ljpeg
#include "jpeg.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"winnow/pipeline"
)

const maxScans = 500 // honest progressive files have about ten

func jpegHeader(data []byte) (header, error) {
	var info C.winnow_jpeg_info
	code := C.winnow_jpeg_header((*C.uint8_t)(unsafe.Pointer(&data[0])), C.size_t(len(data)), &info)
	h := header{format: formatJPEG, w: int(info.width), h: int(info.height), components: int(info.components), progressive: info.progressive != 0}
	return h, jpegFault(code, &info)
}

func scaledSide(side, eighths int) int {
	return int(C.winnow_jpeg_scaled(C.int32_t(side), C.int32_t(eighths)))
}

// decodeJPEG decodes at the plan's scale into r or ra.
func (h header) decodeJPEG(data []byte, l Limits, p plan, r *resizer, ra *raster) error {
	limits := C.winnow_jpeg_limits{
		eighths: C.int32_t(p.eighths), max_scans: maxScans,
		deadline_ns: C.winnow_now_ns() + C.int64_t(l.Time),
		max_memory:  C.int64_t(3*h.memory(false) + 16<<20),
	}
	var resize *C.winnow_resize
	var rows *C.uint8_t
	var stride C.size_t
	if r != nil {
		resize = r.c
	} else {
		rows, stride = (*C.uint8_t)(unsafe.Pointer(&ra.pix[0])), C.size_t(ra.stride)
	}
	var info C.winnow_jpeg_info
	code := C.winnow_jpeg_decode((*C.uint8_t)(unsafe.Pointer(&data[0])), C.size_t(len(data)), &limits,
		C.int32_t(p.w), C.int32_t(p.h), resize, rows, stride, &info)
	runtime.KeepAlive(r)
	return jpegFault(code, &info)
}

func jpegFault(code C.int, info *C.winnow_jpeg_info) error {
	reason := ""
	switch code {
	case C.WINNOW_JPEG_OK:
		return nil
	case C.WINNOW_JPEG_NO_PIXELS:
		reason = pipeline.ReasonNoPixels
	case C.WINNOW_JPEG_TRUNCATED:
		reason = pipeline.ReasonTruncated
	case C.WINNOW_JPEG_UNSUPPORTED:
		reason = pipeline.ReasonUnsupported
	case C.WINNOW_JPEG_TIMEOUT:
		reason = pipeline.ReasonTimeout
	default: // libjpeg's own bound on memory included: only a lying file meets it
		reason = pipeline.ReasonCorrupt
	}
	return pipeline.Rowf(reason, "JPEG: %s", C.GoString(&info.message[0]))
}
