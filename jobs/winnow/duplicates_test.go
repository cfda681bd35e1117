package main

import (
	"encoding/csv"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/draw"
)

// variant writes a copy of a picture: cropped to 95 %, recompressed, or resized.
func variant(t *testing.T, r *rand.Rand, kind int, src image.Image, path string) {
	t.Helper()
	b, quality := src.Bounds(), 92
	to := b
	switch kind {
	case 0:
		dx, dy := b.Dx()/20, b.Dy()/20
		b.Min.X += r.IntN(dx + 1)
		b.Min.Y += r.IntN(dy + 1)
		b.Max.X, b.Max.Y = b.Min.X+to.Dx()-dx, b.Min.Y+to.Dy()-dy
		to = b
	case 1:
		quality = 50 + r.IntN(30)
	case 2:
		to = image.Rect(0, 0, to.Dx()*7/10, to.Dy()*7/10)
	}
	out := image.NewRGBA(image.Rect(0, 0, to.Dx(), to.Dy()))
	draw.CatmullRom.Scale(out, out.Bounds(), src, b, draw.Src, nil)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := jpeg.Encode(f, out, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
}

// TestPlantedDuplicates finds cropped, recompressed and resized copies of photos.
func TestPlantedDuplicates(t *testing.T) {
	needModels(t)
	s := &site{dir: t.TempDir()}
	s.workspace = "file://" + s.dir + "/workspace"
	s.file(t, "winnow.yaml", "workspace: ./workspace\nsources: [{manifest: ./m.jsonl}]\nembeddings: [{name: image, model: efficientnet-lite0, of: image}]\n")
	files, err := filepath.Glob(filepath.Join(photosDir(t), "*-0.jpg")) // one cut of each photo
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	r := rand.New(rand.NewPCG(3, 3))
	of := map[string]string{}
	var lines strings.Builder
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		src, err := jpeg.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".jpg")
		for c := -1; c < 3; c++ {
			id := fmt.Sprintf("%s%+d", name, c)
			path := filepath.Join(s.dir, id+".jpg")
			if of[id] = name; c < 0 {
				variant(t, r, 3, src, path)
			} else {
				variant(t, r, c, src, path)
			}
			fmt.Fprintf(&lines, "{\"asset_id\": %q, \"uri\": %q}\n", id, id+".jpg")
		}
	}
	s.file(t, "m.jsonl", lines.String())
	s.run(t, "run")
	s.run(t, "duplicates", "--distance", "0.2", "--out", filepath.Join(s.dir, "all.csv"))
	f, err := os.Open(filepath.Join(s.dir, "all.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	group := map[string]string{}
	for _, row := range rows[1:] {
		group[row[0]] = row[2]
	}
	var planted, said, both float64
	for a := range of {
		for b := range of {
			if a >= b {
				continue
			}
			same := of[a] == of[b]
			found := group[a] != "" && group[a] == group[b]
			if same {
				planted++
			}
			if found {
				said++
			}
			if same && found {
				both++
			}
		}
	}
	if both < 0.99*planted || both < 0.99*said {
		t.Errorf("of %v planted pairs %v were found, among %v", planted, both, said)
	}
}
