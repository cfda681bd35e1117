package image

import (
	"context"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	for _, f := range []string{"rgb-420.jpg", "scene.png", "rgba.png", "lossy.webp"} {
		b.Run(f, func(b *testing.B) {
			d, err := NewDecoder(Options{Height: 224, Width: 224}, Limits{})
			if err != nil {
				b.Fatal(err)
			}
			data, out := read(b, f), make([]byte, d.Size())
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(context.Background(), data, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
