package text

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestHardLinesEqualSentencePiece: 5,000 hard lines and some of 100 kB give the ids
// that SentencePiece gives, with the shipped model and those of every option.
// WINNOW_SEED makes other lines.
func TestHardLinesEqualSentencePiece(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, hard lines are not compared with SentencePiece: -short")
	}
	multilingual(t)
	deps := filepath.Join("..", "..", ".deps")
	py := cmp.Or(os.Getenv("PYTHON"), filepath.Join(deps, "venv-interop", "bin", "python"))
	stamps := filepath.Join(deps, "data", "tuxpaint", "usr", "share", "tuxpaint", "stamps")
	for _, need := range []string{py, stamps} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("SKIPPED, hard lines are not compared with SentencePiece: %v; run make setup-test", err)
		}
	}
	dir := t.TempDir()
	make := exec.CommandContext(t.Context(), py, "-B", filepath.Join("testdata", "hard.py"),
		filepath.Join(deps, "models", "use-multilingual-v3", "sp.model"), stamps, dir, cmp.Or(os.Getenv("WINNOW_SEED"), "1"))
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	models, err := filepath.Glob(filepath.Join(dir, "*.model"))
	if err != nil || len(models) < 30 {
		t.Fatalf("%d models, error %v", len(models), err)
	}
	for _, file := range models {
		name := strings.TrimSuffix(filepath.Base(file), ".model")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			u := newSP(t, data, Options{BOS: true, EOS: true})
			for _, r := range readRows(t, filepath.Join(dir, name+".jsonl")) {
				r.check(t, u)
			}
		})
	}
}
