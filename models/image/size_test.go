package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"winnow/pipeline"
)

func TestSize(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no pictures", err)
	}
	turned := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // a folder
		}
		w, h, err := Size(data, Limits{})
		var row *pipeline.RowError
		if err != nil {
			if !errors.As(err, &row) {
				t.Errorf("%s: %v is no fault of the file", f, err)
			}
			continue
		}
		head, _ := readHeader(data, Limits{}.withDefaults())
		if w == head.w && h == head.h {
			continue
		}
		if w != head.h || h != head.w || readOrientation(head.format, data) < 5 {
			t.Errorf("%s: %d × %d of a picture of %d × %d", f, w, h, head.w, head.h)
		}
		turned++
	}
	if turned == 0 {
		t.Error("no picture stood on its side")
	}
	for _, data := range [][]byte{nil, []byte("text"), []byte("\xff\xd8\xff\xe0")} {
		if _, _, err := Size(data, Limits{}); err == nil {
			t.Errorf("%q has a size", data)
		}
	}
}
