package image

// Size reads a picture's width and height from its header, as it stands after the
// EXIF orientation. Faults are those of Decode: a *pipeline.RowError.
func Size(data []byte, l Limits) (width, height int, err error) {
	h, err := readHeader(data, l.withDefaults())
	if err != nil {
		return 0, 0, err
	}
	if readOrientation(h.format, data) >= 5 { // on one of its sides
		return h.h, h.w, nil
	}
	return h.w, h.h, nil
}
