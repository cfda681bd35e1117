package image

import (
	"encoding/binary"
	"fmt"

	"winnow/pipeline"
)

// decodeTIFF decodes the first page.
func decodeTIFF(data []byte) (*raster, error) {
	t, err := readTIFF(data)
	if err != nil {
		return nil, err
	}
	if err := t.layOut(); err != nil {
		return nil, err
	}
	samples := getBuffer(t.w * t.h * t.samples)
	defer putBuffer(samples)
	if err := t.decodeBlocks(*samples); err != nil {
		return nil, err
	}
	ra := newRaster(t.w, t.h)
	if err := t.colours(*samples, ra.pix); err != nil {
		ra.release()
		return nil, err
	}
	if t.alpha == tiffMultiplied {
		ra.divideByAlpha()
	}
	return ra, nil
}

// decodeBlocks decodes the strips or tiles to one byte a sample: the high one of
// 16 bits, the number itself of fewer than 8.
func (t *tiffFile) decodeBlocks(samples []byte) error {
	inBlock := t.samples / t.planes()
	rowBytes := (t.blockW*inBlock*t.bits + 7) / 8
	if int64(rowBytes)*int64(t.blockH) > 1<<31 {
		return pipeline.Rowf(pipeline.ReasonTooManyPixels, "TIFF: a tile of %d × %d pixels", t.blockW, t.blockH)
	}
	buf := getBuffer(rowBytes * t.blockH)
	defer putBuffer(buf)
	line := make([]byte, t.blockW*inBlock)
	for i := range t.across() * t.down() * t.planes() {
		plane, block := i/(t.across()*t.down()), i%(t.across()*t.down())
		x, y := block%t.across()*t.blockW, block/t.across()*t.blockH
		rows := t.blockH
		if !t.tiled {
			rows = min(rows, t.h-y)
		}
		part := (*buf)[:rowBytes*rows]
		if err := t.unpack(i, rows, part); err != nil {
			return err
		}
		w := min(t.blockW, t.w-x)
		for r := range min(rows, t.h-y) {
			row := part[r*rowBytes:][:rowBytes]
			if err := t.unpredict(row, inBlock); err != nil {
				return err
			}
			t.bytesOf(row, line)
			out := samples[((y+r)*t.w+x)*t.samples:]
			if !t.planar {
				copy(out, line[:w*inBlock])
				continue
			}
			for q := range w {
				out[q*t.samples+plane] = line[q]
			}
		}
	}
	return nil
}

// unpredict undoes the differences between neighbours in a row.
func (t *tiffFile) unpredict(row []byte, inBlock int) error {
	switch {
	case t.predictor == 1, t.compression != tiffLZW && t.compression != tiffDeflate && t.compression != tiffDeflate32:
	case t.predictor == 2 && t.bits == 8:
		for i := inBlock; i < len(row); i++ {
			row[i] += row[i-inBlock]
		}
	case t.predictor == 2 && t.bits == 16:
		for i := inBlock * 2; i+2 <= len(row); i += 2 {
			t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-inBlock*2:]))
		}
	default:
		return fmt.Errorf("predictor %d of %d bits is %w", t.predictor, t.bits, errUnsupported)
	}
	return nil
}

func (t *tiffFile) bytesOf(row, out []byte) {
	switch t.bits {
	case 8:
		copy(out, row)
	case 16:
		high := 0
		if t.order == binary.LittleEndian {
			high = 1
		}
		for i := range out {
			out[i] = row[i*2+high]
		}
	default:
		for i := range out {
			at := i * t.bits
			out[i] = row[at/8] >> (8 - t.bits - at%8) & (1<<t.bits - 1)
		}
	}
}

// colours turns samples into pixels.
func (t *tiffFile) colours(in, out []byte) error {
	var table [256][4]byte
	switch t.photometric {
	case 0, 1:
		most := 255
		if t.bits < 8 {
			most = 1<<t.bits - 1
		}
		for i := range table {
			v := uint8(min(i, most) * 255 / most)
			if t.photometric == 0 {
				v = 255 - v
			}
			setGray(table[i][:], v, 255)
		}
	case 3:
		n := 1 << t.bits
		m := t.all(tagColorMap, 3*n)
		if len(m) < 3*n {
			return fmt.Errorf("a palette of %d colours, not %d", len(m)/3, n)
		}
		for i := range n {
			table[i] = [4]byte{uint8(m[i] >> 8), uint8(m[n+i] >> 8), uint8(m[2*n+i] >> 8), 255}
		}
	}
	for n := t.samples; len(in) >= n; in, out = in[n:], out[4:] {
		p := out[:4:4]
		switch t.photometric {
		case 2:
			p[0], p[1], p[2], p[3] = in[0], in[1], in[2], 255
			if t.alpha != tiffOpaque {
				p[3] = in[3]
			}
		case 5:
			left := 255 - in[3]
			for q := range 3 {
				p[q] = left - div255(int(in[q])*int(left))
			}
			p[3] = 255
		default:
			*(*[4]byte)(p) = table[in[0]]
			if t.alpha != tiffOpaque {
				p[3] = in[1]
			}
		}
	}
	return nil
}

// div255 divides by 255 and rounds, as Pillow's MULDIV255 does.
func div255(v int) uint8 {
	v += 128
	return uint8((v + v>>8) >> 8)
}
