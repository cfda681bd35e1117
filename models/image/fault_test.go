package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"winnow/pipeline"
)

func reasonOf(t *testing.T, l Limits, data []byte) string {
	t.Helper()
	d, err := NewDecoder(Options{Height: 8, Width: 8}, l)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Decode(context.Background(), data, make([]byte, d.Size()))
	if err == nil {
		return ""
	}
	var row *pipeline.RowError
	if !errors.As(err, &row) {
		t.Fatalf("%v is no RowError", err)
	}
	if row.Err == nil || row.Err.Error() == "" {
		t.Errorf("reason %s comes without words", row.Reason)
	}
	return row.Reason
}

func pngOf(w, h uint32) []byte {
	b := []byte(pngMagic + "\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 8, 6, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

// jpegOf changes the size in a JPEG's frame header.
func jpegOf(data []byte, w, h uint16) []byte {
	data = slices.Clone(data)
	at := bytes.Index(data, []byte{0xff, 0xc0}) + 5
	binary.BigEndian.PutUint16(data[at:], h)
	binary.BigEndian.PutUint16(data[at+2:], w)
	return data
}

func TestFaultsHaveReasons(t *testing.T) {
	jpg, png, gif := read(t, "rgb-420.jpg"), read(t, "rgba.png"), read(t, "p.gif")
	damaged := slices.Clone(png)
	damaged[len(damaged)-60] ^= 1
	lying := slices.Clone(png)
	binary.BigEndian.PutUint32(lying[bytes.Index(lying, []byte("IDAT"))-4:], 1<<30)
	middle := slices.Clone(jpg)
	copy(middle[len(middle)-200:], "\xff\xd9\xff\xd9")
	noGIF := slices.Clone(gif)
	copy(noGIF[6:], "\x00\x00\x00\x00")
	palette := 13 + 3<<(gif[10]&7+1)
	frame := palette + bytes.IndexByte(gif[palette:], ',')
	copy(noGIF[frame+1:], "\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, c := range []struct {
		name, want string
		data       []byte
		limits     Limits
	}{
		{"nothing", pipeline.ReasonEmpty, nil, Limits{}},
		{"text", pipeline.ReasonUnsupported, []byte("this is no picture\n"), Limits{}},
		{"HTML", pipeline.ReasonUnsupported, []byte("<!doctype html><p>404"), Limits{}},
		{"MP4", pipeline.ReasonUnsupported, []byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"), Limits{}},
		{"one byte", pipeline.ReasonUnsupported, []byte{0xff}, Limits{}},
		{"many bytes", pipeline.ReasonTooLarge, jpg, Limits{Bytes: 100}},
		{"many pixels", pipeline.ReasonTooManyPixels, jpg, Limits{Pixels: 1000}},
		{"PNG bomb", pipeline.ReasonTooManyPixels, pngOf(65535, 65535), Limits{}},
		{"JPEG bomb", pipeline.ReasonTooManyPixels, jpegOf(jpg, 65000, 65000), Limits{}},
		{"GIF bomb", pipeline.ReasonTooManyPixels, append([]byte("GIF89a\xff\xff\xff\xff"), gif[10:]...), Limits{}},
		{"PNG of 0 × 0", pipeline.ReasonNoPixels, pngOf(0, 0), Limits{}},
		{"PNG of 5 × 0", pipeline.ReasonNoPixels, pngOf(5, 0), Limits{}},
		{"JPEG of 0 × 0", pipeline.ReasonNoPixels, jpegOf(jpg, 0, 0), Limits{}},
		{"GIF of 0 × 0", pipeline.ReasonNoPixels, noGIF, Limits{}},
		{"JPEG larger than its data", pipeline.ReasonCorrupt, jpegOf(jpg, 400, 400), Limits{}},
		{"JPEG that ends in the middle", pipeline.ReasonCorrupt, middle, Limits{}},
		{"half a JPEG", pipeline.ReasonTruncated, jpg[:len(jpg)/2], Limits{}},
		{"half a PNG", pipeline.ReasonTruncated, png[:len(png)/2], Limits{}},
		{"half a GIF", pipeline.ReasonTruncated, gif[:len(gif)-400], Limits{}},
		{"PNG header", pipeline.ReasonTruncated, png[:20], Limits{}},
		{"damaged PNG", pipeline.ReasonCorrupt, damaged, Limits{}},
		{"PNG with a lying length", pipeline.ReasonTruncated, lying, Limits{}},
		{"slow JPEG", pipeline.ReasonTimeout, jpg, Limits{Time: 1}},
	} {
		if got := reasonOf(t, c.limits, c.data); got != c.want {
			t.Errorf("%s: reason %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCutFiles(t *testing.T) {
	for name, tail := range map[string]int{
		// tail: bytes at the end whose loss costs no pixel
		"rgb-420.jpg": 0, "rgb-420-progressive.jpg": 0, "cmyk.jpg": 0,
		"odd/arithmetic.jpg": 0, "odd/arithmetic-progressive.jpg": 0, "odd/restart-rows.jpg": 0, "odd/rgb.jpg": 0, "odd/sample-4x1.jpg": 0,
		"rgba.png": 12, "p4-transparent.png": 12, "rgba-interlaced.png": 12,
		"cmyk.tif": 300, "tiles.tif": 0, "predictor.tif": 600, "la.tif": 300,
		"lossless.webp": 1, "lossy.webp": 1, "rgb.bmp": 1, "rle8.bmp": 2, "p.gif": 3,
	} {
		data := read(t, name)
		for n := 1; n < len(data)-tail; n++ {
			got := reasonOf(t, Limits{}, data[:n])
			if got == "" {
				t.Errorf("%s cut to %d of %d bytes was taken", name, n, len(data))
			}
			if strings.HasSuffix(name, ".jpg") && n > 3 && got != pipeline.ReasonTruncated {
				t.Errorf("%s cut to %d of %d bytes: reason %q", name, n, len(data), got)
			}
		}
	}
}

// pictures lists the test pictures by format.
func pictures(t testing.TB) map[format][]string {
	t.Helper()
	by := map[format][]string{}
	for _, pattern := range []string{"*.*", "odd/*.jpg", "heif/*.heic", "heif/*.avif"} {
		files, err := filepath.Glob("testdata/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := strings.TrimPrefix(f, "testdata/")
			if kind := sniff(read(t, name)); kind != "" && name != "large.jpg" {
				by[kind] = append(by[kind], name)
			}
		}
	}
	if len(by) != 8 {
		t.Fatalf("pictures of %d formats", len(by))
	}
	return by
}

// TestMutatedFiles damages files in 10,000 ways a format, a tenth of it in a short
// run. A decoder may take the result or refuse it, but must return soon and leave
// the memory as it was.
func TestMutatedFiles(t *testing.T) {
	rounds := 1000
	if os.Getenv("WINNOW_SOAK") != "" {
		rounds = 10_000
	}
	limits := Limits{Pixels: 1 << 20, Time: 5 * time.Second}
	d, err := NewDecoder(Options{Height: 16, Width: 16, EXIF: true}, limits)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, d.Size())
	for kind, names := range pictures(t) {
		t.Run(string(kind), func(t *testing.T) {
			if kind == formatHEIC || kind == formatAVIF {
				needHEIF(t, kind)
			}
			rng := rand.New(rand.NewPCG(1, uint64(len(names))))
			taken := 0
			for i := range rounds {
				name := names[i%len(names)]
				data := mutate(rng, read(t, name))
				start := time.Now()
				err := d.Decode(context.Background(), data, out)
				if took := time.Since(start); took > limits.Time+time.Second {
					t.Errorf("%s, round %d: took %v", name, i, took)
				}
				var row *pipeline.RowError
				if err != nil && !errors.As(err, &row) {
					t.Errorf("%s, round %d: %v is no RowError", name, i, err)
				}
				if err != nil && strings.Contains(err.Error(), "gave up") {
					t.Errorf("%s, round %d: %v", name, i, err)
				}
				if err == nil {
					taken++
				}
			}
			t.Logf("%d of %d were taken", taken, rounds)
			if d.memory.TryAcquire(d.l.Memory) {
				d.memory.Release(d.l.Memory)
			} else {
				t.Error("a decode keeps memory")
			}
			if peak := peakMemory(t); peak > 2<<30 {
				t.Errorf("the process took %d MiB", peak>>20)
			}
		})
	}
}

// peakMemory is the most memory that the process ever had, that of C included.
func peakMemory(t *testing.T) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	var kib int64
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// mutate changes, removes, repeats or cuts bytes; half of the changes hit the
// first 200 bytes. Checksums of PNG are made right again, or nothing behind them
// would be reached.
func mutate(rng *rand.Rand, data []byte) []byte {
	data = slices.Clone(data)
	for range 1 + rng.IntN(4) {
		n := len(data)
		if n < 8 {
			break
		}
		at := rng.IntN(n)
		if rng.IntN(2) == 0 {
			at = rng.IntN(min(n, 200))
		}
		switch rng.IntN(6) {
		case 0:
			data[at] = byte(rng.IntN(256))
		case 1:
			data[at] ^= 1 << rng.IntN(8)
		case 2:
			data[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[rng.IntN(5)]
		case 3:
			data = slices.Delete(data, at, min(at+1+rng.IntN(8), n))
		case 4:
			data = slices.Insert(data, at, data[at:min(at+1+rng.IntN(16), n)]...)
		case 5:
			data = data[:at]
		}
	}
	if bytes.HasPrefix(data, []byte(pngMagic)) {
		for at := 8; at+12 <= len(data); {
			n := int(binary.BigEndian.Uint32(data[at:]))
			if n > len(data)-at-12 {
				break
			}
			binary.BigEndian.PutUint32(data[at+8+n:], crc32.ChecksumIEEE(data[at+4:at+8+n]))
			at += 12 + n
		}
	}
	return data
}

func FuzzDecode(f *testing.F) {
	for _, names := range pictures(f) {
		for _, name := range names {
			if b := read(f, name); len(b) < 5000 {
				f.Add(b)
			}
		}
	}
	d, err := NewDecoder(Options{Height: 16, Width: 16, EXIF: true}, Limits{Pixels: 1 << 20, Time: 5 * time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := make([]byte, d.Size())
		start := time.Now()
		err := d.Decode(context.Background(), data, out)
		var row *pipeline.RowError
		if err != nil && !errors.As(err, &row) {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Fatalf("it took %v", took)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{},
		{Height: 10},
		{Height: 1 << 20, Width: 10},
		{Height: 10, Width: 10, Filter: "cubic"},
		{Height: 10, Width: 20, Crop: true, Shortest: 15},
		{Height: 10, Width: 20, Crop: true, Letterbox: true},
	} {
		if _, err := NewDecoder(o, Limits{}); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	d, err := NewDecoder(Options{Height: 4, Width: 4}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(context.Background(), read(t, "rgb.png"), make([]byte, 3)); err == nil {
		t.Error("a short output was taken")
	}
}

// TestFastIsClose holds `fast` against exact: on photos the model's vectors then
// differ by a cosine of at most .001.
func TestFastIsClose(t *testing.T) {
	data := read(t, "large.jpg")
	exact := decodeWith(t, Options{Height: 64, Width: 64}, hasSIMD, data)
	fast := decodeWith(t, Options{Height: 64, Width: 64, Fast: true}, hasSIMD, data)
	if bytes.Equal(exact, fast) {
		t.Fatal("fast did the same as exact")
	}
	var sum float64
	for i := range exact {
		d := float64(exact[i]) - float64(fast[i])
		sum += d * d
	}
	if mse := sum / float64(len(exact)); mse > 4 {
		t.Errorf("fast differs by a mean square of %.1f", mse)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	d, err := NewDecoder(Options{Height: 4, Width: 4}, Limits{Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.memory.Acquire(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() { done <- d.Decode(ctx, read(t, "rgb.png"), make([]byte, d.Size())) }()
	why := fmt.Errorf("enough")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("a decode that waits for memory ended with %v", err)
	}
}
