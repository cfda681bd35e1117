package image

import (
	"encoding/binary"
	"strings"
)

// uprightOrientation is the EXIF orientation of pictures that stand as they are.
const uprightOrientation = 1

// readOrientation returns a file's EXIF orientation, 1 to 8. Where a file says
// none, or nothing sensible, it is 1.
func readOrientation(f format, data []byte) int {
	switch f {
	case formatJPEG:
		return tiffOrientation(jpegEXIF(data))
	case formatPNG:
		return tiffOrientation(pngEXIF(data))
	case formatWebP:
		w, err := readWebP(data)
		if err != nil {
			return uprightOrientation
		}
		return tiffOrientation([]byte(strings.TrimPrefix(string(w.exif), "Exif\x00\x00")))
	case formatTIFF:
		return tiffOrientation(data)
	}
	return uprightOrientation
}

// jpegEXIF returns the TIFF structure in a JPEG's APP1 segment, or nothing.
func jpegEXIF(data []byte) []byte {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker := data[at+1]
		if marker == 0xff { // filler
			at++
			continue
		}
		if marker == 0xda || marker == 0xd9 {
			break
		}
		n := int(binary.BigEndian.Uint16(data[at+2:]))
		if n < 2 || at+2+n > len(data) {
			break
		}
		body := data[at+4 : at+2+n]
		if marker == 0xe1 && strings.HasPrefix(string(body[:min(len(body), 6)]), "Exif\x00\x00") {
			return body[6:]
		}
		at += 2 + n
	}
	return nil
}

func pngEXIF(data []byte) []byte {
	for at := 8; at+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[at:]))
		if n > len(data)-at-12 {
			break
		}
		if string(data[at+4:at+8]) == "eXIf" {
			return data[at+8 : at+8+n]
		}
		at += 12 + n
	}
	return nil
}

// tiffOrientation reads tag 0x112 of the first directory.
func tiffOrientation(b []byte) int {
	if len(b) < 8 {
		return uprightOrientation
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return uprightOrientation
	}
	n := int(order.Uint16(b[at:]))
	for dir := b[at+2:]; n > 0 && len(dir) >= 12; n, dir = n-1, dir[12:] {
		if order.Uint16(dir) != 0x112 {
			continue
		}
		if v := int(order.Uint16(dir[8:])); v >= 1 && v <= 8 {
			return v
		}
		break
	}
	return uprightOrientation
}

// turned is a copy of the raster, set upright.
func (ra *raster) turned(orientation int) *raster {
	w, h := ra.w, ra.h
	if orientation >= 5 {
		w, h = h, w
	}
	out := newRaster(w, h)
	for y := range h {
		row := out.pix[y*out.stride:][:w*4]
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2: // mirrored
				sx = ra.w - 1 - x
			case 3: // upside down
				sx, sy = ra.w-1-x, ra.h-1-y
			case 4:
				sy = ra.h - 1 - y
			case 5: // mirrored along the diagonal
				sx, sy = y, x
			case 6: // on its left side: turn clockwise
				sx, sy = y, ra.h-1-x
			case 7:
				sx, sy = ra.w-1-y, ra.h-1-x
			case 8:
				sx, sy = ra.w-1-y, x
			}
			copy(row[x*4:x*4+4], ra.pix[sy*ra.stride+sx*4:])
		}
	}
	return out
}
