package image

import (
	"bytes"
	"context"
	"fmt"
	stdimage "image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// photo is a picture of testdata/photos at a size, as RGB bytes.
func photo(b *testing.B, name string, w, h int) *stdimage.RGBA {
	b.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "photos", name))
	if err != nil {
		b.Skip(err)
	}
	d, err := NewDecoder(Options{Height: h, Width: w}, Limits{})
	if err != nil {
		b.Fatal(err)
	}
	out := make([]byte, d.Size())
	if err := d.Decode(context.Background(), data, out); err != nil {
		b.Fatal(err)
	}
	im := stdimage.NewRGBA(stdimage.Rect(0, 0, w, h))
	for i := range w * h {
		copy(im.Pix[i*4:], out[i*3:i*3+3])
		im.Pix[i*4+3] = 255
	}
	return im
}

// BenchmarkDecode decodes photos of several sizes for a model of 224 pixels.
func BenchmarkDecode(b *testing.B) {
	for _, size := range [][2]int{{224, 224}, {1024, 1024}, {4000, 3000}} {
		im := photo(b, "coffee-0.jpg", size[0], size[1])
		for _, kind := range []string{"jpeg", "fast", "png"} {
			var f bytes.Buffer
			var err error
			if kind == "png" {
				err = png.Encode(&f, im)
			} else {
				err = jpeg.Encode(&f, im, &jpeg.Options{Quality: 90})
			}
			if err != nil {
				b.Fatal(err)
			}
			if dir := os.Getenv("WINNOW_BENCH_FILES"); dir != "" && kind != "fast" {
				if err := os.WriteFile(fmt.Sprintf("%s/%d.%s", dir, size[0], kind), f.Bytes(), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("%s/%dx%d", kind, size[0], size[1]), func(b *testing.B) {
				decodeAll(b, Options{Height: 224, Width: 224, Fast: kind == "fast"}, f.Bytes())
			})
		}
	}
	for _, f := range []string{"lossy.webp", "rgba.png", "p-transparent.gif", "rgb-tiff_lzw.tif", "heif/rgb-420.heic", "heif/rgb-420.avif"} {
		b.Run(f, func(b *testing.B) { decodeAll(b, Options{Height: 224, Width: 224}, read(b, f)) })
	}
}

// BenchmarkStamps decodes the pictures of the demo, where they are.
func BenchmarkStamps(b *testing.B) {
	var files [][]byte
	err := filepath.WalkDir("../../.deps/data/tuxpaint", func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".png" && len(files) < 200 {
			data, err := os.ReadFile(path)
			files = append(files, data)
			return err
		}
		return err
	})
	if err != nil || len(files) == 0 {
		b.Skip("no stamps: make demo fetches them")
	}
	decodeAll(b, Options{Height: 224, Width: 224}, files...)
}

func decodeAll(b *testing.B, o Options, files ...[]byte) {
	d, err := NewDecoder(o, Limits{})
	if err != nil {
		b.Fatal(err)
	}
	out, size := make([]byte, d.Size()), 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		data := files[i%len(files)]
		size += len(data)
		if err := d.Decode(context.Background(), data, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/float64(b.N)/1024, "KiB/file")
}
