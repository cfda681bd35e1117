package embed

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestTunedIsRemembered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "batches", "x.json")
	if n := readTuned(file); n != 0 {
		t.Errorf("before: %d", n)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := writeTuned(file, tuning{Fingerprint: "f", Devices: "cuda H100", Driver: 13000, Runtime: "1.31.1", Batch: 128, Rate: 9000}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := readTuned(file); n != 128 {
		t.Errorf("after: %d", n)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
	for _, bad := range []string{"", "{", `{"batch": 0}`, `{"batch": -4}`, `{"batch": 100000}`, `{"batch": "many"}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := readTuned(file); n != 0 {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
