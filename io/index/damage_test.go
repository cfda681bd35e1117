package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A damaged file is refused, or differs only in numbers that no structure
// depends on. FAISS alone would end the process on some of them.
func TestDamagedFiles(t *testing.T) {
	const n, dim = 600, 6
	rows := clustered(n, dim, 8, 1)
	for _, kind := range []string{Flat, IVFFlat} {
		t.Run(kind, func(t *testing.T) {
			p := planned(t, n, dim, kind, 7)
			ix, path := build(t, p, rows)
			p = ix.Params()
			pristine, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			structure := flatData
			if kind == IVFFlat { // header, quantizer, list sizes
				structure = headerSize + 16 + flatData + 4*7*dim + 9 + 20 + 12 + 8*7
			}
			rng := rand.New(rand.NewPCG(1, 2))
			opened, rounds := 0, 240
			if os.Getenv("WINNOW_SOAK") != "" {
				rounds *= 10
			}
			for i := range rounds {
				data := bytes.Clone(pristine)
				switch i % 4 {
				case 0:
					data = data[:rng.IntN(len(data))]
				case 1:
					data[rng.IntN(structure)] ^= byte(1 + rng.IntN(255))
				case 2:
					for range 4 {
						data[rng.IntN(structure)] = byte(rng.Uint32())
					}
				case 3: // a row's numbers or its id
					for range 8 {
						data[rng.IntN(len(data))] = byte(rng.Uint32())
					}
				}
				if tryDamaged(t, data, p, rows[:20*dim]) {
					opened++
				}
			}
			t.Logf("%d of %d opened", opened, rounds)
			if 3*opened > 2*rounds { // numbers and ids, and centroids
				t.Errorf("%d of %d damaged files opened", opened, rounds)
			}
		})
	}
}

// tryDamaged opens and searches a file and reports whether it opened.
func tryDamaged(t *testing.T, data []byte, p Params, q []float32) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ix, err := Open(path, p)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("err = %v", err)
		}
		return false
	}
	defer ix.Close()
	for _, probes := range []int{1, p.NList} {
		_, rows, err := ix.SearchProbes(t.Context(), q, 5, probes)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("search: %v", err)
		}
		for _, r := range rows {
			if r < -1 || r >= p.Rows {
				t.Fatalf("row %d", r)
			}
		}
	}
	return true
}

func FuzzLayout(f *testing.F) {
	var plans []Params
	for _, kind := range []string{Flat, IVFFlat, IVFSQ8} {
		p := planned(f, 200, 3, kind, 4)
		path := filepath.Join(f.TempDir(), "x")
		if _, err := Build(f.Context(), path, p, from(clustered(200, 3, 4, 1), 3, 20), nil); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		plans = append(plans, p)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		for _, p := range plans {
			_ = checkLayout(bytes.NewReader(data), int64(len(data)), &p)
		}
	})
}
