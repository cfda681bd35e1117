package diagnose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
)

// A suggestion whose mistakes are gone goes, unless somebody changed it, another
// question brought it, or the config names it.
func TestClear(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "winnow.yaml")
	app := &job.App{}
	app.Globals.Config = config
	d := &diagnosis{Cmd: &Cmd{}, w: &workspace.Workspace{App: app, Config: &configs.Config{}}, report: &Report{}}
	ours, other := d.question("m1"), d.question("m2")
	for name, text := range map[string]string{
		"winnow.yaml":     "batches: [{name: b, where: used_match}]\n",
		"s/gone.yaml":     seal(ours, "name: gone\n"),
		"s/used.yaml":     seal(ours, "name: used\n"),
		"s/other.yaml":    seal(other, "name: other\n"),
		"s/changed.yaml":  seal(ours, "name: changed\n") + "threshold: 3\n",
		"s/mine.yaml":     "name: mine\n",
		"s/still.yaml":    seal(ours, "name: still\n"),
		"s/use.yaml":      seal(ours, "name: use\n"),
		"s/gone.yaml.txt": seal(ours, "name: gone\n"),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := filepath.Join(dir, "s")
	d.report.Functions = []Suggestion{{File: filepath.Join(s, "still.yaml")}}
	if err := d.clear(s, ours); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(s, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got, want := strings.Join(left, " "), "changed.yaml gone.yaml.txt mine.yaml other.yaml still.yaml used.yaml"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
	if len(d.report.Removed) != 2 || len(d.report.Warnings) != 2 {
		t.Errorf("removed %q, warnings %q", d.report.Removed, d.report.Warnings)
	}
}
