package image

import "fmt"

// decodeOther decodes the formats that need no speed.
func decodeOther(h header, data []byte, l Limits) (*raster, error) {
	switch h.format {
	case formatGIF:
		return decodeGIF(data)
	case formatBMP:
		return decodeBMP(data)
	case formatWebP:
		return decodeWebP(data)
	case formatHEIC, formatAVIF:
		return decodeHEIF(h, data, l)
	case formatTIFF:
		return decodeTIFF(data)
	}
	return nil, fmt.Errorf("the format %q is %w", h.format, errUnsupported)
}
