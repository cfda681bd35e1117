package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// Tags of a directory (TIFF 6.0).
const (
	tagWidth        = 256
	tagHeight       = 257
	tagBits         = 258
	tagCompression  = 259
	tagPhotometric  = 262
	tagFillOrder    = 266
	tagStripOffsets = 273
	tagSamples      = 277
	tagRowsPerStrip = 278
	tagStripCounts  = 279
	tagPlanar       = 284
	tagT4Options    = 292
	tagPredictor    = 317
	tagColorMap     = 320
	tagTileWidth    = 322
	tagTileHeight   = 323
	tagTileOffsets  = 324
	tagTileCounts   = 325
	tagExtraSamples = 338
	tagSampleFormat = 339
)

// Compressions.
const (
	tiffRaw       = 1
	tiffGroup3    = 3
	tiffGroup4    = 4
	tiffLZW       = 5
	tiffDeflate   = 8
	tiffDeflate32 = 32946
	tiffPackBits  = 32773
)

// maxTIFFBlocks bounds the strips or tiles of a picture: each costs some work
// however small it is.
const maxTIFFBlocks = 1 << 20

// tiffFile is the first directory of a file: the first page.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[int]tiffEntry

	w, h                                           int
	bits, samples                                  int // of a sample; a pixel
	photometric, compression, predictor, fillOrder int
	planar                                         bool
	alpha                                          tiffAlpha
	blockW, blockH                                 int // a strip is a block as wide as the picture
	tiled                                          bool
	offsets, counts                                []int
}

type tiffEntry struct {
	size, count int // of a value in bytes; values
	body        []byte
}

// tiffAlpha says what the first extra sample is.
type tiffAlpha int

const (
	tiffOpaque tiffAlpha = iota
	tiffMultiplied
	tiffStraight
)

// readTIFF reads everything but the pixels, and refuses what decodeTIFF cannot
// show as Pillow does.
func readTIFF(data []byte) (*tiffFile, error) {
	if len(data) < 8 {
		return nil, io.ErrUnexpectedEOF
	}
	t := &tiffFile{data: data, order: binary.LittleEndian}
	if data[0] == 'M' {
		t.order = binary.BigEndian
	}
	if err := t.readTags(); err != nil {
		return nil, err
	}
	t.w, t.h = t.first(tagWidth, 0), t.first(tagHeight, 0)
	t.photometric, t.compression = t.first(tagPhotometric, -1), t.first(tagCompression, tiffRaw)
	t.predictor, t.fillOrder, t.planar = t.first(tagPredictor, 1), t.first(tagFillOrder, 1), t.first(tagPlanar, 1) == 2
	if err := t.checkKind(); err != nil {
		return nil, err
	}
	return t, nil
}

// readTags finds the values of the first directory.
func (t *tiffFile) readTags() error {
	at := int(t.order.Uint32(t.data[4:]))
	if at > len(t.data)-2 {
		return io.ErrUnexpectedEOF
	}
	n := int(t.order.Uint16(t.data[at:]))
	dir := t.data[at+2:]
	if len(dir) < n*12 {
		return io.ErrUnexpectedEOF
	}
	t.tags = make(map[int]tiffEntry, n)
	for ; n > 0; n, dir = n-1, dir[12:] {
		e := tiffEntry{size: map[uint16]int{1: 1, 3: 2, 4: 4}[t.order.Uint16(dir[2:])], count: int(t.order.Uint32(dir[4:]))}
		if e.size == 0 {
			continue // text, fractions: nothing that matters here
		}
		size := e.size * e.count
		e.body = dir[8:12]
		if size > 4 {
			from := int(t.order.Uint32(dir[8:]))
			if from > len(t.data) || size > len(t.data)-from {
				return io.ErrUnexpectedEOF
			}
			e.body = t.data[from : from+size]
		}
		if tag := int(t.order.Uint16(dir)); t.tags[tag].body == nil {
			t.tags[tag] = e
		}
	}
	return nil
}

func (t *tiffFile) value(e tiffEntry, i int) int {
	switch e.size {
	case 1:
		return int(e.body[i])
	case 2:
		return int(t.order.Uint16(e.body[i*2:]))
	}
	return int(t.order.Uint32(e.body[i*4:]))
}

// first is the first value of a tag, or another where there is none.
func (t *tiffFile) first(tag, otherwise int) int {
	if e := t.tags[tag]; e.count > 0 {
		return t.value(e, 0)
	}
	return otherwise
}

// all lists up to most values of a tag.
func (t *tiffFile) all(tag, most int) []int {
	e := t.tags[tag]
	v := make([]int, min(e.count, most))
	for i := range v {
		v[i] = t.value(e, i)
	}
	return v
}

// same returns the one value that all of a tag's values are.
func (t *tiffFile) same(tag, otherwise int) (int, error) {
	v := t.all(tag, 64)
	for _, x := range v {
		if x != v[0] {
			return 0, fmt.Errorf("samples of different kinds (tag %d) are %w", tag, errUnsupported)
		}
	}
	if len(v) == 0 {
		return otherwise, nil
	}
	return v[0], nil
}

// checkKind takes the kinds of pixels that Pillow reads as pictures of 8 bits, or
// as 16-bit grey.
func (t *tiffFile) checkKind() error {
	var err error
	t.samples = t.first(tagSamples, 1)
	if t.bits, err = t.same(tagBits, 1); err != nil {
		return err
	}
	form, err := t.same(tagSampleFormat, 1)
	if err != nil {
		return err
	}
	base, known := map[int]int{0: 1, 1: 1, 2: 3, 3: 1, 5: 4}[t.photometric]
	if !known || form != 1 || t.fillOrder != 1 && t.fillOrder != 2 {
		return fmt.Errorf("photometric interpretation %d with sample format %d is %w", t.photometric, form, errUnsupported)
	}
	extra := t.samples - base
	deep := t.bits == 16 && t.photometric != 3
	small := (t.bits == 1 || t.bits == 2 || t.bits == 4) && base == 1
	if !(t.bits == 8 || deep || small) || extra < 0 || extra > 2 || extra > 0 && t.bits != 8 && (t.photometric != 2 || extra > 1) {
		return fmt.Errorf("%d samples of %d bits with photometric interpretation %d are %w", t.samples, t.bits, t.photometric, errUnsupported)
	}
	if extra == 0 || t.photometric == 5 {
		return nil
	}
	switch kind := t.first(tagExtraSamples, -1); {
	case kind == 0:
	case kind == 1 && t.photometric != 3:
		t.alpha = tiffMultiplied
	case kind == 2, kind == 999 && base == 3, kind == -1 && base == 3 && extra == 1:
		t.alpha = tiffStraight
	default:
		return fmt.Errorf("an extra sample of kind %d is %w", kind, errUnsupported)
	}
	return nil
}

func tiffHeader(data []byte) (header, error) {
	t, err := readTIFF(data)
	if err != nil {
		return header{format: formatTIFF}, err
	}
	return header{format: formatTIFF, w: t.w, h: t.h}, nil
}

// layOut finds the strips or tiles, once the size is known to be within limits.
func (t *tiffFile) layOut() error {
	t.blockW, t.blockH = t.w, min(t.first(tagRowsPerStrip, t.h), t.h)
	offsets, counts := tagStripOffsets, tagStripCounts
	if t.tags[tagTileWidth].count > 0 {
		t.tiled = true
		t.blockW, t.blockH = t.first(tagTileWidth, 0), t.first(tagTileHeight, 0)
		offsets, counts = tagTileOffsets, tagTileCounts
		if t.blockW > max(1024, t.w+16) || t.blockH > max(1024, t.h+16) {
			return errors.New("tiles larger than the picture")
		}
	}
	if t.blockW < 1 || t.blockH < 1 {
		return errors.New("strips or tiles of no size")
	}
	n := t.across() * t.down() * t.planes()
	if n > maxTIFFBlocks {
		return fmt.Errorf("%d strips or tiles, more than any honest file has", n)
	}
	t.offsets, t.counts = t.all(offsets, n), t.all(counts, n)
	if n == 1 && len(t.offsets) == 1 && len(t.counts) == 0 {
		t.counts = []int{max(0, len(t.data)-t.offsets[0])}
	}
	if len(t.offsets) < n || len(t.counts) < n {
		return errors.New("fewer strips or tiles than the picture needs")
	}
	return nil
}

func (t *tiffFile) across() int { return (t.w + t.blockW - 1) / t.blockW }
func (t *tiffFile) down() int   { return (t.h + t.blockH - 1) / t.blockH }

// planes is 1, or the number of samples where each is stored apart.
func (t *tiffFile) planes() int {
	if t.planar {
		return t.samples
	}
	return 1
}

// unpack decompresses one block into out, which it must fill.
func (t *tiffFile) unpack(i, rows int, out []byte) error {
	at, n := t.offsets[i], t.counts[i]
	if at > len(t.data) || n > len(t.data)-at {
		return io.ErrUnexpectedEOF
	}
	in := t.data[at : at+n]
	if t.fillOrder == 2 {
		in = bytes.Clone(in)
		for i, v := range in {
			in[i] = bits.Reverse8(v)
		}
	}
	switch t.compression {
	case tiffRaw:
		if copy(out, in) < len(out) {
			return io.ErrUnexpectedEOF
		}
		return nil
	case tiffLZW:
		r := lzw.NewReader(bytes.NewReader(in), lzw.MSB, 8)
		defer r.Close()
		_, err := io.ReadFull(r, out)
		return err
	case tiffDeflate, tiffDeflate32:
		return inflate(in, out)
	case tiffPackBits:
		return unpackBits(in, out)
	case tiffGroup3, tiffGroup4:
		return t.unpackFax(in, rows, out)
	}
	return fmt.Errorf("compression %d is %w", t.compression, errUnsupported)
}

func (t *tiffFile) unpackFax(in []byte, rows int, out []byte) error {
	kind := ccitt.Group4
	if t.compression == tiffGroup3 {
		kind = ccitt.Group3
		if t.first(tagT4Options, 0)&1 != 0 {
			return fmt.Errorf("two-dimensional Group 3 is %w", errUnsupported)
		}
	}
	if t.bits != 1 || t.samples != 1 {
		return fmt.Errorf("fax compression of more than one bit is %w", errUnsupported)
	}
	// The reader's bits say 1 for white; files say 0 for what photometric 0 calls white.
	o := &ccitt.Options{Invert: true}
	_, err := io.ReadFull(ccitt.NewReader(bytes.NewReader(in), ccitt.MSB, kind, t.blockW, rows, o), out)
	return err
}

// unpackBits undoes the run lengths of PackBits.
func unpackBits(in, out []byte) error {
	for len(out) > 0 {
		if len(in) < 2 {
			return io.ErrUnexpectedEOF
		}
		code := int(int8(in[0]))
		switch {
		case code >= 0:
			n := copy(out, in[1:min(code+2, len(in))])
			if n < code+1 && n < len(out) {
				return io.ErrUnexpectedEOF
			}
			in, out = in[n+1:], out[n:]
		case code == -128:
			in = in[1:]
		default:
			n := min(1-code, len(out))
			for i := range n {
				out[i] = in[1]
			}
			in, out = in[2:], out[n:]
		}
	}
	return nil
}
