package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// expected is what testdata/make.py wrote down of Pillow's results.
type expected struct {
	Size           [2]int // height, width of every file's small resize
	Blend          string
	Files          []expectedFile
	Resizes, Crops []expectedResize
	Pads           []expectedResize
}

type expectedFile struct {
	File          string
	EXIF          bool
	Width, Height int
	RGB, Small    string
}

type expectedResize struct {
	File                    string
	EXIF                    bool
	Filter                  Filter
	Shortest, Width, Height int
	Letterbox               []uint8 // the fill, or nothing
	RGB                     string
}

func readExpected(t *testing.T) expected {
	t.Helper()
	var e expected
	if err := json.Unmarshal(read(t, "expected.json"), &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Files) < 70 || len(e.Resizes) < 150 || len(e.Pads) < 60 {
		t.Fatalf("expected.json lists %d files and %d resizes", len(e.Files), len(e.Resizes))
	}
	return e
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// bothWays runs a test with the vector code and without.
func bothWays(t *testing.T, fn func(t *testing.T, simd bool)) {
	t.Run("plain", func(t *testing.T) { fn(t, false) })
	if hasSIMD {
		t.Run("simd", func(t *testing.T) { fn(t, true) })
	}
}

func decodeWith(t *testing.T, o Options, simd bool, data []byte) []byte {
	t.Helper()
	d, err := NewDecoder(o, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d.simd = simd
	out := make([]byte, d.Size())
	if err := d.Decode(context.Background(), data, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFilesEqualPillow(t *testing.T) {
	e := readExpected(t)
	bothWays(t, func(t *testing.T, simd bool) {
		for _, f := range e.Files {
			data := read(t, f.File)
			whole := decodeWith(t, Options{Height: f.Height, Width: f.Width, EXIF: f.EXIF}, simd, data)
			if digest(whole) != f.RGB {
				t.Errorf("%s: pixels differ from Pillow's%s", f.File, difference(f.File+".rgb", whole))
				continue
			}
			small := decodeWith(t, Options{Height: e.Size[0], Width: e.Size[1], EXIF: f.EXIF}, simd, data)
			if digest(small) != f.Small {
				t.Errorf("%s: the resize differs from Pillow's%s", f.File, difference(f.File+".small", small))
			}
		}
	})
}

// difference says more where WINNOW_RAW names the folder of `make.py --raw`.
func difference(name string, got []byte) string {
	dir := os.Getenv("WINNOW_RAW")
	if dir == "" {
		return ""
	}
	want, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || len(want) != len(got) {
		return fmt.Sprintf(" (%v, %d bytes against %d)", err, len(got), len(want))
	}
	n, most, first := 0, 0, -1
	for i := range got {
		if d := int(got[i]) - int(want[i]); d != 0 {
			if n++; first < 0 {
				first = i
			}
			most = max(most, max(d, -d))
		}
	}
	return fmt.Sprintf(": %d of %d bytes, by up to %d, the first at %d: %v against %v", n, len(got), most, first,
		got[first:min(first+12, len(got))], want[first:min(first+12, len(got))])
}

func TestResizesEqualPillow(t *testing.T) {
	e := readExpected(t)
	bothWays(t, func(t *testing.T, simd bool) {
		for _, r := range slices.Concat(e.Resizes, e.Crops, e.Pads) {
			o := Options{Height: r.Height, Width: r.Width, Filter: r.Filter, EXIF: r.EXIF, Crop: r.Shortest > 0, Shortest: r.Shortest}
			if len(r.Letterbox) == 3 {
				o.Letterbox, o.Fill = true, [3]uint8(r.Letterbox)
			}
			got := decodeWith(t, o, simd, read(t, r.File))
			name := fmt.Sprintf("%s.%s.%dx%d", r.File, r.Filter, r.Width, r.Height)
			if r.Shortest > 0 {
				name = fmt.Sprintf("%s.crop.%d.%dx%d", r.File, r.Shortest, r.Width, r.Height)
			}
			if len(r.Letterbox) == 3 {
				name = fmt.Sprintf("%s.pad.%s.%dx%d", r.File, r.Filter, r.Width, r.Height)
			}
			if digest(got) != r.RGB {
				t.Errorf("%s differs from Pillow's%s", name, difference(name, got))
			}
		}
	})
}

func TestAlphaOnWhiteEqualsPillow(t *testing.T) {
	ra := &raster{w: 256, h: 256, stride: 1024, pix: make([]byte, 256*1024)}
	for i := 0; i < len(ra.pix); i += 4 {
		setGray(ra.pix[i:], uint8(i/4), uint8(i/1024))
	}
	ra.flatten()
	var rgb []byte
	for i := 0; i < len(ra.pix); i += 4 {
		rgb = append(rgb, ra.pix[i:i+3]...)
	}
	if want := readExpected(t).Blend; digest(rgb) != want {
		t.Error("the 65,536 blends of a value and an opacity with white are not Pillow's")
	}
}
