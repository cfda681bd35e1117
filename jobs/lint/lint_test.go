package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

func run(t *testing.T, asJSON bool, files ...string) (string, error) {
	t.Helper()
	env := map[string]string{"BUCKET": "b", "AWS_REGION": "r"}
	var out bytes.Buffer
	app := &job.App{Out: &out, Getenv: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
	app.JSON = asJSON
	app.Globals.Config = "winnow.yaml"
	err := (&Cmd{Files: files}).Run(t.Context(), app)
	return out.String(), err
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const config = `workspace: ./w
sources: [{manifest: m.jsonl}]
embeddings:
  - {name: image, model: efficientnet-lite0, of: image}
  - {name: text, model: use-multilingual-v3, of: caption}
functions: f.yaml
batches:
  - name: one
    where: f_match AND metadata.x > 1
    select: [{random: {}}]
    size: 1
`

const function = "name: f\nembedding: image\nanchors: {positive: [{asset: a}]}\n"

func TestGood(t *testing.T) {
	write(t, map[string]string{"winnow.yaml": config, "f.yaml": function})
	out, err := run(t, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := "winnow.yaml: all is well: 1 source, 2 embeddings, 1 function, 1 batch\n"; out != want {
		t.Errorf("says %q", out)
	}
	out, err = run(t, true, "winnow.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	if err := json.Unmarshal([]byte(out), &files); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]File{{"winnow.yaml", 1, 2, 1, 1}}, files); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestEverythingAtOnce has mistakes in two configs that share a function file, in
// models, in SQL.
func TestEverythingAtOnce(t *testing.T) {
	edit := strings.NewReplacer("f_match AND metadata.x > 1", "f_match AND AND x", "efficientnet-lite0", "efficientnet-lite9", "of: caption}", "of: image}").Replace(config)
	more := strings.NewReplacer("where: f_match AND metadata.x > 1", "where: |\n      f_match\n      AND a; DROP TABLE b", "size: 1", "size: 0").Replace(config)
	write(t, map[string]string{"winnow.yaml": edit, "more.yaml": more, "f.yaml": strings.Replace(function, "{asset: a}", "{text: a}, {asst: b}", 1)})
	_, err := run(t, false, "winnow.yaml", "more.yaml")
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) || pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Fatalf("error is %T: %v", err, err)
	}
	places := map[string]string{}
	for _, p := range usage.Problems {
		s := p.String()
		at := s[:strings.Index(s, ": ")]
		places[at] = s
	}
	for at, part := range map[string]string{
		"winnow.yaml:4:26": "efficientnet-lite9", "winnow.yaml:5:50": "embeds texts, not images", "winnow.yaml:9:24": "syntax error",
		"f.yaml:3:34": `"asst"`, "more.yaml:11:12": "", "more.yaml:13:11": "size is 0", "f.yaml:3:29": "embeds no texts",
	} {
		if s, ok := places[at]; !ok || !strings.Contains(s, part) {
			t.Errorf("no %q at %s; there are:\n%v", part, at, err)
		}
	}
	if n := strings.Count(err.Error(), "asst"); n != 1 {
		t.Errorf("a shared file's problem is said %d times", n)
	}
}

// TestShippedConfigs lints all configs of this repository.
func TestShippedConfigs(t *testing.T) {
	files, err := filepath.Glob("../../configs/examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	if _, err := run(t, false, append(files, "../../configs/demo/winnow.yaml")...); err != nil {
		t.Error(err)
	}
}

// TestFormatsAgree keeps the config's words for output formats and the emitters' the same.
func TestFormatsAgree(t *testing.T) {
	for _, name := range manifest.EmitterNames() {
		write(t, map[string]string{"winnow.yaml": config + "    emit: [" + name + "]\n", "f.yaml": function})
		if _, err := configs.Load("winnow.yaml", nil); err != nil {
			t.Errorf("the emitter %s cannot be configured: %v", name, err)
		}
	}
	raw, err := configs.SchemaJSON("config")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties struct {
			Batches struct {
				Items struct {
					Properties struct {
						Emit struct{ Items struct{ Enum []string } }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	known := strings.Join(manifest.EmitterNames(), " ")
	for _, name := range s.Properties.Batches.Items.Properties.Emit.Items.Enum {
		if !strings.Contains(known, name) {
			t.Errorf("a config may say emit: [%s], and there is no such emitter", name)
		}
	}
}
