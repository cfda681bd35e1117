package image

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"winnow/pipeline"
)

type format string

const (
	formatJPEG format = "JPEG"
	formatPNG  format = "PNG"
	formatGIF  format = "GIF"
	formatWebP format = "WebP"
	formatBMP  format = "BMP"
	formatTIFF format = "TIFF"
	formatHEIC format = "HEIC"
	formatAVIF format = "AVIF"
)

// header is what a file says about itself before any pixel is decoded.
type header struct {
	format        format
	w, h          int
	depth, colour int  // PNG: as in IHDR
	interlaced    bool // PNG
	components    int  // JPEG
	progressive   bool // JPEG
}

// streams reports whether rows come out of the decoder in their order.
func (h header) streams() bool {
	return h.format == formatJPEG || h.format == formatPNG && !h.interlaced
}

// rare reports whether a format is one that decodeOther decodes.
func (h header) rare() bool { return h.format != formatJPEG && h.format != formatPNG }

// memory estimates what decoding takes, in bytes. whole says that the pixels are
// kept until all are there.
func (h header) memory(whole bool) int64 {
	n := int64(h.w) * int64(h.h)
	size := int64(1 << 20)
	switch h.format {
	case formatJPEG:
		size += int64(h.w) * 4 * 16
		if h.progressive {
			size += n * int64(h.components) * 2
		}
	case formatPNG:
		size += n * int64(h.bytesPerPixel())
	default:
		return size + n*16
	}
	if whole {
		size += n * 8 // buffers come in powers of two
	}
	return size
}

// readHeader recognises a file and checks its size against the limits.
func readHeader(data []byte, l Limits) (header, error) {
	var h header
	if len(data) == 0 {
		return h, pipeline.Rowf(pipeline.ReasonEmpty, "the file is empty")
	}
	if int64(len(data)) > l.Bytes {
		return h, pipeline.Rowf(pipeline.ReasonTooLarge, "the file has %d bytes, the limit is %d", len(data), l.Bytes)
	}
	var err error
	switch f := sniff(data); f {
	case formatJPEG:
		h, err = jpegHeader(data)
	case formatPNG:
		h, err = pngHeader(data)
	case formatGIF:
		h, err = gifHeader(data)
	case formatWebP:
		h, err = webpHeader(data)
	case formatBMP:
		h, err = bmpHeader(data)
	case formatTIFF:
		h, err = tiffHeader(data)
	case formatHEIC, formatAVIF:
		h, err = heifHeader(f, data, l)
	default:
		return h, pipeline.Rowf(pipeline.ReasonUnsupported, "%s; winnow reads JPEG, PNG, WebP, GIF, BMP, TIFF and, by libheif, HEIC and AVIF", describe(data))
	}
	if err != nil {
		return h, fault(h.format, err)
	}
	if h.w <= 0 || h.h <= 0 {
		return h, pipeline.Rowf(pipeline.ReasonNoPixels, "%s of %d × %d pixels", h.format, h.w, h.h)
	}
	if n := int64(h.w) * int64(h.h); n > l.Pixels || h.w > 1<<24 || h.h > 1<<24 {
		return h, pipeline.Rowf(pipeline.ReasonTooManyPixels, "%s of %d × %d pixels, the limit is %d pixels", h.format, h.w, h.h, l.Pixels)
	}
	return h, nil
}

func sniff(data []byte) format {
	s := string(data[:min(len(data), 16)])
	switch {
	case strings.HasPrefix(s, "\xff\xd8\xff"):
		return formatJPEG
	case strings.HasPrefix(s, pngMagic):
		return formatPNG
	case strings.HasPrefix(s, "GIF87a"), strings.HasPrefix(s, "GIF89a"):
		return formatGIF
	case len(s) >= 12 && s[:4] == "RIFF" && s[8:12] == "WEBP":
		return formatWebP
	case strings.HasPrefix(s, "II*\x00"), strings.HasPrefix(s, "MM\x00*"):
		return formatTIFF
	case strings.HasPrefix(s, "BM") && len(data) >= 26:
		return formatBMP
	}
	return sniffHEIF(data)
}

// describe says what a file is that is no picture we read.
func describe(data []byte) string {
	head := data[:min(len(data), 512)]
	s := string(head)
	for _, k := range []struct{ magic, what string }{
		{"%PDF", "it is a PDF"},
		{"8BPS", "it is a Photoshop file"},
		{"\x00\x00\x00\x0cjP  ", "it is a JPEG 2000 file"},
		{"\xff\x0a", "it is a JPEG XL file"},
		{"\x00\x00\x00\x0cJXL ", "it is a JPEG XL file"},
		{"II+\x00", "it is a BigTIFF file"},
		{"MM\x00+", "it is a BigTIFF file"},
		{"PK\x03\x04", "it is a zip archive"},
		{"\x1f\x8b", "it is compressed with gzip"},
		{"\xff\xd8", "it starts like a JPEG and ends at once"},
		{pngMagic[:4], "it starts like a PNG and ends at once"},
	} {
		if strings.HasPrefix(s, k.magic) {
			return k.what
		}
	}
	if len(s) >= 12 && s[4:8] == "ftyp" {
		return "it is a video or another ISO media file"
	}
	text := strings.TrimSpace(strings.TrimPrefix(s, "\ufeff"))
	if strings.Contains(s, "<svg") {
		return "it is an SVG drawing"
	}
	if strings.HasPrefix(text, "<") {
		return "it is HTML or XML, not a picture"
	}
	for i := 0; i < utf8.UTFMax && !utf8.ValidString(text) && len(text) > 0; i++ {
		text = text[:len(text)-1] // a character that the 512 bytes cut
	}
	if text != "" && utf8.ValidString(text) && !strings.ContainsRune(text, 0) {
		return "it is text, not a picture"
	}
	return "its first bytes belong to no known format"
}

func unsupported(err error) bool { return errors.Is(err, errUnsupported) }

// errUnsupported marks files that are well-formed but of a kind that is not read.
var errUnsupported = errors.New("not supported")

func u16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }
func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
func u32(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }
