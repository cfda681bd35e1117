package image

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"winnow/pipeline"
)

func pngChunk(kind string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, kind...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func deflated(n int) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return z.Bytes()
}

// tiffOf is a little-endian TIFF of grey pixels, whose strips of one row are all
// the same bytes.
func tiffOf(w, h, compression int, strip []byte) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00\x09\x00")
	at := 8 + 2 + 9*12 + 4
	tag := func(tag, kind uint16, n, v int) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, kind)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	tag(tagWidth, 4, 1, w)
	tag(tagHeight, 4, 1, h)
	tag(tagBits, 3, 1, 8)
	tag(tagCompression, 3, 1, compression)
	tag(tagPhotometric, 3, 1, 1)
	tag(tagStripOffsets, 4, h, at)
	tag(tagSamples, 3, 1, 1)
	tag(tagRowsPerStrip, 4, 1, 1)
	tag(tagStripCounts, 4, h, at+4*h)
	b = append(b, 0, 0, 0, 0)
	for range h {
		b = binary.LittleEndian.AppendUint32(b, uint32(at+8*h))
	}
	for range h {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(strip)))
	}
	return append(b, strip...)
}

// patched writes bytes over a copy of data, at what is found.
func patched(data []byte, find string, offset int, with string) []byte {
	data = slices.Clone(data)
	copy(data[bytes.Index(data, []byte(find))+offset:], with)
	return data
}

// TestHeadersThatLie gives every format a size of 65,535 × 65,535 or more.
func TestHeadersThatLie(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"PNG", pngOf(65535, 65535)},
		{"JPEG", jpegOf(read(t, "rgb-420.jpg"), 65500, 65500)},
		{"GIF", append([]byte("GIF89a\xff\xff\xff\xff"), read(t, "p.gif")[10:]...)},
		{"BMP", patched(read(t, "rgb.bmp"), "BM", 18, "\xff\xff\x00\x00\xff\xff\x00\x00")},
		{"TIFF", tiffOf(65535, 65535, tiffRaw, nil)[:200]},
		{"WebP", patched(read(t, "lossy-alpha.webp"), "VP8X", 12, "\xff\xff\x00\xff\xff\x00")},
		{"HEIC", patched(read(t, "heif/rgb-444.heic"), "ispe", 8, "\x00\x00\xff\xff\x00\x00\xff\xff")},
		{"AVIF", patched(read(t, "heif/rgb-444.avif"), "ispe", 8, "\x00\x00\xff\xff\x00\x00\xff\xff")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "HEIC" || c.name == "AVIF" {
				needHEIF(t, format(c.name))
			}
			want := pipeline.ReasonTooManyPixels
			if c.name == "TIFF" { // its lists of strips end before the file does
				want = pipeline.ReasonTruncated
			}
			if got := reasonOf(t, Limits{}, c.data); got != want {
				t.Errorf("reason %q, want %q", got, want)
			}
		})
	}
}

// TestBombs decodes small files that ask for much work.
func TestBombs(t *testing.T) {
	png, gif, jpg := read(t, "rgb.png"), read(t, "p.gif"), read(t, "rgb-420-progressive.jpg")
	webp := read(t, "moving.webp")
	head, rest := png[:33], png[33:]
	bomb := deflated(1 << 20)
	frame := bytes.IndexByte(gif[13+3<<(gif[10]&7+1):], ',') + 13 + 3<<(gif[10]&7+1)
	scan := bytes.LastIndex(jpg, []byte("\xff\xda"))
	anmf := bytes.Index(webp, []byte("ANMF"))
	empty := []byte("ANMF\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"PNG with a bomb for a colour profile", "", slices.Concat(head, pngChunk("iCCP", append([]byte("x\x00\x00"), bomb...)), rest)},
		{"PNG with a bomb for a text", "", slices.Concat(head, pngChunk("zTXt", append([]byte("x\x00\x00"), bomb...)), rest)},
		{"PNG that inflates to 1 MiB more", "", slices.Concat(pngOf(4, 4), pngChunk("IDAT", bomb), pngChunk("IEND", nil))},
		{"PNG of 50,000 chunks", "", slices.Concat(head, bytes.Repeat(pngChunk("tEXt", []byte("a\x00b")), 50_000), rest)},
		{"PNG of 50,000 empty parts", "", slices.Concat(head, bytes.Repeat(pngChunk("IDAT", nil), 50_000), rest)},
		{"GIF of 20,000 frames", "", append(slices.Clone(gif[:len(gif)-1]), bytes.Repeat(gif[frame:len(gif)-1], 20_000)...)},
		{"GIF of a million comments", "", slices.Concat(gif[:frame], bytes.Repeat([]byte("!\xfe\x01a\x00"), 1_000_000), gif[frame:])},
		{"GIF of 9,000 × 9,000 pixels in 100 bytes", pipeline.ReasonTruncated, append([]byte("GIF89a\x28\x23\x28\x23\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x28\x23\x28\x23\x00\x02\x20"), make([]byte, 60)...)},
		{"JPEG of 700 scans", pipeline.ReasonCorrupt, append(slices.Clone(jpg[:len(jpg)-2]), append(bytes.Repeat(jpg[scan:len(jpg)-2], 700), 0xff, 0xd9)...)},
		{"JPEG of a million comments", "", slices.Concat(jpg[:2], bytes.Repeat([]byte("\xff\xfe\x00\x02"), 1_000_000), jpg[2:])},
		{"JPEG of ten million fill bytes", "", slices.Concat(jpg[:2], bytes.Repeat([]byte("\xff"), 10_000_000), jpg[2:])},
		{"WebP of 100,000 frames that are none", "", slices.Concat(webp[:anmf], bytes.Repeat(empty, 100_000), webp[anmf:])},
		{"TIFF of 50,000 strips in one place", "", tiffOf(8, 50_000, tiffDeflate, deflated(8))},
		{"TIFF of strips that inflate to 1 MiB each", "", tiffOf(64, 200, tiffDeflate, bomb)},
		{"TIFF of strips that unpack to much", "", tiffOf(64, 20_000, tiffPackBits, bytes.Repeat([]byte("\x81\x00"), 1000))},
		{"TIFF of more than a million strips", pipeline.ReasonCorrupt, tiffOf(1, 1_100_000, tiffRaw, []byte{1})},
		{"BMP that skips and skips", pipeline.ReasonTruncated, append(slices.Clone(read(t, "rle8.bmp")[:1078-60*4]), bytes.Repeat([]byte("\x00\x02\x01\x00"), 500_000)...)},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			data := c.data
			if strings.HasPrefix(c.name, "WebP") {
				binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
			}
			start := time.Now()
			got := reasonOf(t, Limits{}, data)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%d bytes took %v", len(data), took)
			} else {
				t.Logf("%d KiB took %v", len(data)>>10, took)
			}
			if got != c.want {
				t.Errorf("reason %q, want %q", got, c.want)
			}
		})
	}
}
