package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"winnow/io/index"
	"winnow/io/query"
	winnowimage "winnow/models/image"
	"winnow/models/onnx"
	"winnow/pipeline/vec"
)

const libraries = "libraries"

const setupFix = "run make setup in winnow's repository (./setup.sh -h explains), or use the Docker image"

// libraryChecks puts every native library to a small use: that it is linked says
// little, that it computes the right thing says all.
func libraryChecks(ctx context.Context) []Check {
	maps, _ := os.ReadFile("/proc/self/maps") // only to name the files
	at := func(name string) string {
		if file := loaded(string(maps), name); file != "" {
			return ", " + file
		}
		return ""
	}
	return []Check{
		onnxCheck(),
		use("FAISS", setupFix, func() (string, error) {
			return index.FAISSVersion() + at("libfaiss_c"), tryIndex(ctx)
		}),
		blasCheck(at("libopenblas")),
		use("libjpeg-turbo", setupFix, func() (string, error) {
			return "decodes" + at("libjpeg"), tryJPEG(ctx)
		}),
		heifCheck(),
		use("DuckDB", "rebuild winnow: go build ./jobs/winnow", func() (string, error) {
			return duckDB(ctx)
		}),
	}
}

// use makes a check of a library from what it says of itself and how it fared.
func use(name, fix string, try func() (string, error)) Check {
	what, err := try()
	if err != nil {
		return fail(libraries, name, fix, "%s: %v", what, err)
	}
	return ok(libraries, name, "%s", what)
}

// loaded finds the file of a loaded library in the text of /proc/self/maps.
func loaded(maps, name string) string {
	for line := range strings.Lines(maps) {
		if i := strings.IndexByte(line, '/'); i >= 0 {
			if file := strings.TrimSpace(line[i:]); strings.HasPrefix(filepath.Base(file), name) {
				return file
			}
		}
	}
	return ""
}

func onnxCheck() Check {
	version, file, err := onnx.Version()
	if err != nil {
		return failed(libraries, "ONNX Runtime", err, setupFix)
	}
	list, err := onnx.Providers()
	if err != nil {
		return failed(libraries, "ONNX Runtime", err, setupFix)
	}
	for i, p := range list {
		list[i] = strings.TrimSuffix(p, "ExecutionProvider")
	}
	return ok(libraries, "ONNX Runtime", "%s, %s; built for %s", version, file, strings.Join(list, ", "))
}

func blasCheck(at string) Check {
	what := vec.Backend() + at
	if err := tryProduct(); err != nil {
		return fail(libraries, "OpenBLAS", setupFix, "%s: %v", what, err)
	}
	if !strings.HasPrefix(what, "OpenBLAS") {
		return warn(libraries, "OpenBLAS", "build with cgo and libopenblas", "%s: scoring is many times slower", what)
	}
	// The kernels without vector instructions: a wrong guess, or a very old CPU.
	for _, slow := range []string{"Prescott", "Core2", "Generic", "ARMV8"} {
		if runtime.GOARCH == "amd64" && strings.Contains(what, slow) {
			return warn(libraries, "OpenBLAS", "name this machine's kernel, such as OPENBLAS_CORETYPE=Haswell", "%s: not made for this processor", what)
		}
	}
	return ok(libraries, "OpenBLAS", "%s", what)
}

// tryProduct compares a product of matrices with plain arithmetic.
func tryProduct() error {
	const m, n, k = 9, 7, 33
	a, b, c := random(m*k, 1), random(n*k, 2), make([]float32, m*n)
	vec.MulABT(m, n, k, a, b, c)
	for i := range m {
		for j := range n {
			if want := vec.Dot(a[i*k:(i+1)*k], b[j*k:(j+1)*k]); math.Abs(float64(c[i*n+j])-want) > 1e-4 {
				return fmt.Errorf("a product of matrices is wrong: %v instead of %v", c[i*n+j], want)
			}
		}
	}
	return nil
}

func random(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// held are rows of 16 numbers.
type held []float32

const heldDim = 16

func (h held) Range(_ context.Context, lo, hi int64, yield func([]float32, int, int64) error) error {
	return yield(h[lo*heldDim:hi*heldDim], int(hi-lo), lo)
}

func (h held) Pick(_ context.Context, rows []int64, yield func([]float32, int) error) error {
	for _, r := range rows {
		if err := yield(h[r*heldDim:(r+1)*heldDim], 1); err != nil {
			return err
		}
	}
	return nil
}

// tryIndex builds a small inverted index in which every row finds itself.
func tryIndex(ctx context.Context) (err error) {
	const rows, dim = 400, heldDim
	x := random(rows*dim, 3)
	vec.Normalize(x, dim)
	dir, err := os.MkdirTemp("", "winnow-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := index.Choose(rows, dim, index.Wish{Kind: index.IVFFlat, Recall: 0.9, Seed: 1})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, index.BaseFile)
	p, err = index.Build(ctx, path, p, held(x), nil)
	if err != nil {
		return err
	}
	ix, err := index.Open(path, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	_, found, err := ix.Search(ctx, x[:10*dim], 1)
	if err != nil {
		return err
	}
	for i, row := range found {
		if row != int64(i) {
			return fmt.Errorf("a row of a small index does not find itself: row %d found %d", i, row)
		}
	}
	return nil
}

// tryJPEG decodes a picture of one colour.
func tryJPEG(ctx context.Context) error {
	const side = 32
	want := color.RGBA{R: 200, G: 40, B: 90, A: 255}
	data, err := plainJPEG(side, want)
	if err != nil {
		return err
	}
	d, err := winnowimage.NewDecoder(winnowimage.Options{Height: side / 2, Width: side / 2}, winnowimage.Limits{})
	if err != nil {
		return err
	}
	out := make([]byte, d.Size())
	if err := d.Decode(ctx, data, out); err != nil {
		return err
	}
	for i, c := range out {
		if w := [3]uint8{want.R, want.G, want.B}[i%3]; math.Abs(float64(c)-float64(w)) > 4 {
			return fmt.Errorf("a picture of one colour is decoded wrongly: %d instead of %d", c, w)
		}
	}
	return nil
}

// plainJPEG makes a square picture of one colour.
func plainJPEG(side int, c color.Color) ([]byte, error) {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95})
	return b.Bytes(), err
}

func duckDB(ctx context.Context) (version string, err error) {
	db, err := query.Open(ctx, query.Options{MemoryLimit: "256MB"})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Row(ctx, "SELECT version()", []any{&version}); err != nil {
		return "", err
	}
	n, err := db.Int(ctx, "SELECT count(*) FROM (SELECT range % 7 AS k FROM range(1000) GROUP BY k)")
	if err == nil && n != 7 {
		err = fmt.Errorf("it counts %d groups where there are 7", n)
	}
	return version, err
}
