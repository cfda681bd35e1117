package schema

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winnow/jobs/internal/job"
)

func TestRun(t *testing.T) {
	for _, kind := range []string{"config", "function"} {
		want, err := os.ReadFile("../../configs/schema/" + kind + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := (&Cmd{Kind: kind}).Run(t.Context(), &job.App{Out: &out}); err != nil || out.String() != string(want) {
			t.Errorf("%s: %v, %d bytes, want %d", kind, err, out.Len(), len(want))
		}
		out.Reset()
		file := filepath.Join(t.TempDir(), "s.json")
		if err := (&Cmd{Kind: kind, Out: file}).Run(t.Context(), &job.App{Out: &out}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes in the file", kind, err, len(got))
		}
		if !strings.Contains(out.String(), "$schema="+file) {
			t.Errorf("says %q", out.String())
		}
	}
	if err := (&Cmd{Kind: "batch"}).Run(t.Context(), &job.App{Out: &bytes.Buffer{}}); err == nil {
		t.Error("a schema of nothing")
	}
}
