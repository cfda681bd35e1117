package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// damagedRounds of each file: a seeded tenth of what the soak tries.
func damagedRounds() int {
	if os.Getenv("WINNOW_SOAK") != "" {
		return 1000
	}
	return 100
}

// childEnv names the folder that a child process damages and opens.
const childEnv = "WINNOW_DAMAGED_INDEX"

// A damaged file of any kind is refused with a remedy, or differs only in numbers that
// no structure depends on. FAISS alone would end the process on some of them: so each
// kind has a process of its own, which must come to its end.
func TestDamagedFiles(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		damageAll(t, dir)
		return
	}
	for _, c := range []struct {
		kind          string
		n, dim, nlist int
		graph         bool
	}{{Flat, 600, 6, 0, false}, {IVFFlat, 600, 6, 7, false}, {IVFFlat, 800, 6, 60, true}, {IVFSQ8, 600, 6, 7, false}, {IVFPQ, 12_000, 16, 7, false}} {
		name := c.kind
		if c.graph {
			name += " with a graph"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sp := spec(t, "one", c.n, c.dim)
			sp.Params = planned(t, c.n, c.dim, c.kind, c.nlist)
			if sp.Params.Kind != c.kind {
				t.Fatalf("%s became %s", c.kind, sp.Params.Kind)
			}
			sp.Params.HNSW = c.graph
			sp.Params.Factory = sp.Params.factory()
			sp.Params.RecallTarget = 0.5
			if _, err := Create(t.Context(), openStore(t, "file://"+dir).Sub("one"), sp, from(clustered(c.n, c.dim, 8, 1), c.dim, 500), idsOf(c.n, c.n), nil); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run", "^TestDamagedFiles$", "-test.v")
			cmd.Env = append(os.Environ(), childEnv+"="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				if len(out) > 4000 {
					out = out[len(out)-4000:]
				}
				t.Fatalf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "opened") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// damageAll runs in the child process.
func damageAll(t *testing.T, dir string) {
	m, err := ReadMeta(t.Context(), openStore(t, "file://"+dir).Sub("one"))
	if err != nil {
		t.Fatal(err)
	}
	query := clustered(20, m.Dim, 8, 1)
	for i, name := range []string{BaseFile, IDsFile, MetaFile} {
		path := filepath.Join(dir, "one", name)
		pristine, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		opened := 0
		for round := range damagedRounds() {
			// A crash of the process would not say which round it was.
			fmt.Fprintln(os.Stderr, name, round)
			if err := os.WriteFile(path, damage(rng, pristine, round), 0o600); err != nil {
				t.Fatal(err)
			}
			if openDamaged(t, dir, query, name) {
				opened++
			}
		}
		if err := os.WriteFile(path, pristine, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d of %d opened", name, opened, damagedRounds())
	}
	if !openDamaged(t, dir, query, "") {
		t.Error("the whole index does not open")
	}
}

// damage cuts a file short, appends to it, or changes bytes: of its head, where the
// structure is, or anywhere.
func damage(rng *rand.Rand, pristine []byte, round int) []byte {
	data := bytes.Clone(pristine)
	head := min(len(data), 600)
	switch round % 6 {
	case 0:
		return data[:rng.IntN(len(data))]
	case 1:
		data[rng.IntN(head)] ^= byte(1 + rng.IntN(255))
	case 2:
		for range 4 {
			data[rng.IntN(head)] = byte(rng.Uint32())
		}
	case 3:
		for range 8 {
			data[rng.IntN(len(data))] = byte(rng.Uint32())
		}
	case 4: // eight bytes as a number that counts something
		at := rng.IntN(len(data) - 8)
		copy(data[at:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}[rng.IntN(8):])
	case 5:
		return append(data, make([]byte, 1+rng.IntN(64))...)
	}
	return data
}

// openDamaged opens and searches an index and reports whether it opened.
func openDamaged(t *testing.T, dir string, query []float32, name string) bool {
	t.Helper()
	check := func(err error) {
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrOlder) && !strings.Contains(err.Error(), "use a newer winnow") {
			t.Fatalf("%s: err = %v", name, err)
		}
	}
	f, err := OpenFolder(t.Context(), openStore(t, "file://"+dir).Sub("one"), "")
	if err != nil {
		check(err)
		return false
	}
	defer f.Close()
	if len(query)%f.Meta.Dim == 0 {
		_, err = f.Search(t.Context(), query, 5)
		check(err)
		for _, probes := range []int{1, f.Meta.NList} {
			_, rows, err := f.parts[0].ix.SearchProbes(t.Context(), query, 5, probes)
			check(err)
			for _, r := range rows {
				if r < -1 || r >= f.Meta.Rows {
					t.Fatalf("row %d", r)
				}
			}
		}
	}
	check(f.Places(t.Context(), func(int64, Place) error { return nil }))
	return true
}

func FuzzLayout(f *testing.F) {
	var plans []Params
	for _, kind := range []string{Flat, IVFFlat, IVFSQ8, ""} {
		graph := kind == ""
		if graph {
			kind = IVFFlat
		}
		p := planned(f, 200, 3, kind, 4)
		p.HNSW = graph
		p.Factory = p.factory()
		p.RecallTarget = 0.5
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
