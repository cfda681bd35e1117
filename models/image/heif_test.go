package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"winnow/pipeline"
)

// needHEIF skips a test where the library, or one of its decoders, is not there.
func needHEIF(t testing.TB, f format) {
	t.Helper()
	version, heic, avif, err := HEIF()
	if err != nil {
		t.Skipf("%v", err)
	}
	if f == formatHEIC && !heic || f == formatAVIF && !avif {
		t.Skipf("libheif %s does not decode %s", version, f)
	}
}

// TestHEIFIsCloseToPython holds libheif against Pillow (AVIF) and pillow-heif
// (HEIC). A libheif before 1.16 makes YCbCr out of RGB again where avif.c asks for
// it, which costs a little; limited ranges the most.
func TestHEIFIsCloseToPython(t *testing.T) {
	files, err := filepath.Glob("testdata/heif/*.png")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".png")
		t.Run(name, func(t *testing.T) {
			data := read(t, "heif/"+name)
			needHEIF(t, sniff(data))
			want := read(t, "heif/"+name+".png")
			h, err := pngHeader(want)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Height: h.h, Width: h.w, EXIF: true}
			a, b := decodeWith(t, o, hasSIMD, data), decodeWith(t, o, hasSIMD, want)
			most, sum := 0, 0
			for i := range a {
				d := int(a[i]) - int(b[i])
				most, sum = max(most, d, -d), sum+max(d, -d)
			}
			mean := float64(sum) / float64(len(a))
			t.Logf("%d × %d: mean difference %.3f, most %d", h.w, h.h, mean, most)
			if mean > 1 || most > 3 {
				t.Errorf("the pixels differ by %.3f on average and by up to %d", mean, most)
			}
		})
	}
}

func TestWithoutLibheif(t *testing.T) {
	open := openHEIF
	t.Cleanup(func() { openHEIF = open })
	openHEIF = func() (string, string) { return "", "libheif.so.1: no such file" }
	for _, f := range []string{"rgb-444.avif", "rgb-444.heic"} {
		d, err := NewDecoder(Options{Height: 8, Width: 8}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Decode(context.Background(), read(t, "heif/"+f), make([]byte, d.Size()))
		var row *pipeline.RowError
		if !errors.As(err, &row) || row.Reason != pipeline.ReasonUnsupported || !strings.Contains(err.Error(), "apt-get install libheif1") {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestHEIFFaults(t *testing.T) {
	needHEIF(t, formatHEIC)
	needHEIF(t, formatAVIF)
	for _, f := range []string{"rgb-420.avif", "rgb-420.heic", "rgba.avif", "rgba.heic"} {
		data := read(t, "heif/"+f)
		for n := 12; n < len(data); n++ {
			if got := reasonOf(t, Limits{}, data[:n]); got != pipeline.ReasonTruncated && n >= 40 {
				t.Errorf("%s cut to %d of %d bytes: reason %q", f, n, len(data), got)
			}
		}
		if got := reasonOf(t, Limits{Pixels: 6000}, data); got != pipeline.ReasonTooManyPixels {
			t.Errorf("%s: reason %q for too many pixels", f, got)
		}
		if got := reasonOf(t, Limits{Time: time.Nanosecond}, data); got != pipeline.ReasonTimeout {
			t.Errorf("%s: reason %q for too little time", f, got)
		}
	}
}

// TestLeftBehind gives up a decode and waits for its memory, which must come back.
func TestLeftBehind(t *testing.T) {
	for _, name := range []string{"p.gif", "lossy.webp", "rgb.bmp", "rgb-tiff_lzw.tif"} {
		d, err := NewDecoder(Options{Height: 8, Width: 8}, Limits{Time: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		var row *pipeline.RowError
		for range 50 {
			// A fast decode on a slow clock may be done in time.
			if err := d.Decode(context.Background(), read(t, name), make([]byte, d.Size())); err != nil {
				if !errors.As(err, &row) || row.Reason != pipeline.ReasonTimeout {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		if row == nil {
			t.Errorf("%s: no decode of 50 took longer than a nanosecond", name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.memory.Acquire(ctx, d.l.Memory); err != nil {
			t.Errorf("%s: the memory did not come back: %v", name, err)
		}
	}
}

// TestHEVCSize reads the coded size out of files, which is a multiple of 8 or 16.
func TestHEVCSize(t *testing.T) {
	files, _ := filepath.Glob("testdata/heif/*.heic")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.Index(string(data), "hvcC")
		if w, h := hevcSize(data[at+4:]); w < 96 || w > 112 || h < 64 || h > 80 {
			t.Errorf("%s: coded as %d × %d", f, w, h)
		}
	}
}
