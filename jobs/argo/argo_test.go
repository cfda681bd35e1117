package argo

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

var update = flag.Bool("update", false, "rewrite configs/argo")

const s3Example = "../../configs/examples/s3.yaml"

var env = map[string]string{"BUCKET": "curation", "AWS_REGION": "eu-west-1"}

// run parses flags as the command does and runs it.
func run(t *testing.T, env map[string]string, args ...string) (string, error) {
	t.Helper()
	var c Cmd
	p, err := kong.New(&c, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	app := &job.App{Out: &out, Getenv: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
	err = c.Run(t.Context(), app)
	return out.String(), err
}

// The templates that configs/argo shows. `make argo-lint` checks them with Argo's
// own linter.
var goldens = map[string][]string{
	"s3": {s3Example, "--image=registry.example.com/winnow:1.0", "--schedule=0 3 * * *"},
	"gpu": {s3Example, "--image=registry.example.com/winnow:1.0-cuda", "--name=winnow-gpu", "-n", "curation", "--schedule=30 4 * * 1-5",
		"--timezone=Europe/Berlin", "--config-path=/app/winnow.yaml", "--gpu=1", "--cpu=8", "--memory=32Gi", "--parallelism=4", "--service-account=winnow",
		"--secret=bucket-keys", "--claim=models:/models", "--env=ONNXRUNTIME_LIB=/models/libonnxruntime.so"},
}

func TestGolden(t *testing.T) {
	for name, args := range goldens {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, env, args...)
			if err != nil {
				t.Fatal(err)
			}
			path := "../../configs/argo/" + name + ".yaml"
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s differs; if that is right: go test ./jobs/argo -update\n-want +got:\n%s", path, d)
			}
		})
	}
}

// documents decodes all YAML documents of a text.
func documents(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var d map[string]any
		if err := dec.Decode(&d); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
}

// TestPods checks what Kubernetes and Argo would not complain about.
func TestPods(t *testing.T) {
	for name, args := range goldens {
		text, err := run(t, env, args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range documents(t, text) {
			if d["kind"] != "WorkflowTemplate" {
				continue
			}
			spec := d["spec"].(map[string]any)
			templates := map[string]map[string]any{}
			for _, x := range spec["templates"].([]any) {
				templates[x.(map[string]any)["name"].(string)] = x.(map[string]any)
			}
			for _, x := range templates {
				c, ok := x["container"].(map[string]any)
				if !ok {
					continue
				}
				what := name + "/" + x["name"].(string)
				if c["command"] == nil {
					t.Errorf("%s states no command: Argo cannot look into the image", what)
				}
				if x["retryStrategy"] == nil {
					t.Errorf("%s is not retried", what)
				}
				sec := c["securityContext"].(map[string]any)
				if sec["readOnlyRootFilesystem"] != true || sec["allowPrivilegeEscalation"] != false {
					t.Errorf("%s: %v", what, sec)
				}
				if !strings.Contains(strings.Join(texts(c["args"]), " "), "--run={{workflow.name}}") {
					t.Errorf("%s: args %v name no run", what, c["args"])
				}
			}
			for _, task := range templates["main"]["dag"].(map[string]any)["tasks"].([]any) {
				if ref := task.(map[string]any)["template"].(string); templates[ref] == nil {
					t.Errorf("%s: main names the template %s", name, ref)
				}
			}
		}
	}
}

func texts(v any) (out []string) {
	for _, x := range v.([]any) {
		out = append(out, x.(string))
	}
	return out
}

// TestConfigMapKeepsFiles reads the files back out of the ConfigMap.
func TestConfigMapKeepsFiles(t *testing.T) {
	dir := t.TempDir()
	odd := "workspace: s3://b/w\nsources: [{manifest: s3://b/m.jsonl}]\nembeddings: [{name: image, model: efficientnet-lite0, of: image}]\nfunctions: [\"a b/*.yaml\"]\n"
	files := map[string]string{
		"winnow.yaml": odd + "# trailing spaces:  \n#\ttab, \u0085 and {{expression}}", // no newline at the end
		"a b/f.yaml":  "\n  \nname: f\nembedding: image\nanchors: {positive: [{asset: x}]}\n\n\n",
		"a b/g.yaml":  "name: g # ü\r\nembedding: image\r\nanchors: {positive: [{asset: x}]}\r\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := run(t, nil, filepath.Join(dir, "winnow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	docs := documents(t, text)
	data := docs[0]["data"].(map[string]any)
	items := docs[1]["spec"].(map[string]any)["volumes"].([]any)[1].(map[string]any)["configMap"].(map[string]any)["items"].([]any)
	got := map[string]string{}
	for _, x := range items {
		item := x.(map[string]any)
		got[item["path"].(string)] = data[item["key"].(string)].(string)
	}
	if d := cmp.Diff(files, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestChangedConfigIsANewConfigMap(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "winnow.yaml")
	names := map[any]bool{}
	for _, seed := range []string{"1", "2", "1"} {
		text := "workspace: s3://b/w\nsources: [{manifest: s3://b/m.jsonl}]\nembeddings: [{name: image, model: efficientnet-lite0, of: image}]\nseed: " + seed + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := run(t, nil, path)
		if err != nil {
			t.Fatal(err)
		}
		names[documents(t, out)[0]["metadata"].(map[string]any)["name"]] = true
	}
	if len(names) != 2 {
		t.Errorf("two configs make ConfigMaps %v", names)
	}
}

// said are the problems of an error, one a line.
func said(t *testing.T, err error) []string {
	t.Helper()
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("error is %T: %v", err, err)
	}
	out := strings.Split(err.Error(), "\n")
	slices.Sort(out)
	return out
}

func TestWrongFlags(t *testing.T) {
	_, err := run(t, map[string]string{"BUCKET": "{{x}}", "AWS_REGION": "r"}, s3Example, "--name=Winnow", "--namespace=a_b", "--service-account=A", "--secret=A", "--cpu=two", "--memory=4 GB", "--scratch=-1",
		"--image=a b", "--schedule=daily", "--parallelism=0", "--deadline=1", "--gpu=-1", "--claim=x", "--claim=x:/tmp", "--env=A B=1")
	want := []string{
		`--claim "x" is not understood; write NAME:/PATH`,
		`--claim "x:/tmp" takes a path that the pods need; choose another path`,
		`--cpu "two" is no quantity in Kubernetes; write a number such as 2, 500m or 4Gi`,
		`--deadline is 1; write at least 60`,
		`--env "A B" is no variable; write NAME=VALUE`,
		`--gpu is -1; write at least 0`,
		`--image "a b" is no image; write one such as registry/winnow:1.0`,
		`--memory "4 GB" is no quantity in Kubernetes; write a number such as 2, 500m or 4Gi`,
		`--name "Winnow" is no name in Kubernetes; use small letters, digits and -, at most 40`,
		`--namespace "a_b" is no name in Kubernetes; use small letters, digits, . and -`,
		`--parallelism is 0; write at least 1`,
		`--schedule "daily" is no cron schedule; write five fields such as "0 3 * * *"`,
		`--scratch "-1" is no quantity in Kubernetes; write a number such as 2, 500m or 4Gi`,
		`--secret "A" is no name in Kubernetes; use small letters, digits, . and -`,
		`--service-account "A" is no name in Kubernetes; use small letters, digits, . and -`,
		`the variable BUCKET holds {{, which Argo takes for an expression of its own; put it into a Secret and pass --secret`,
	}
	if d := cmp.Diff(want, said(t, err)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestLocalPlaces refuses what pods cannot see, unless a volume or the image has it.
func TestLocalPlaces(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const config = `workspace: /shared/w
sources: [{manifest: /shared/m.jsonl}, {manifest: ./here.jsonl}]
labels: [{manifest: l.csv}]
predictions: [{model: m, manifest: p.csv}]
embeddings: [{name: image, model: ./my.yaml, of: image}]
functions: f.yaml
`
	const fn = "name: f\nembedding: image\nanchors: {positive: [{uri: a.jpg}, {vector: /shared/b.npy}, {uri: s3://b/c.jpg}], negative: [{vector: b.npy}]}\n"
	for name, text := range map[string]string{"winnow.yaml": config, "f.yaml": fn} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const share = "use a bucket, or a volume that all pods share: --claim NAME:/PATH"
	const have = "put it into a bucket or onto a volume (--claim NAME:/PATH), or bake config and files into the image (--config-path)"
	workspace := "winnow.yaml:1:12: the workspace is a folder of this machine, and pods have none of its folders; " + share
	rest := []string{
		"f.yaml:3:28: the anchor is a file of this machine, which pods do not see; " + have,
		"f.yaml:3:103: the anchor is a file of this machine, which pods do not see; " + have,
		"winnow.yaml:2:51: the manifest is a file of this machine, which pods do not see; " + have,
		"winnow.yaml:3:21: the manifest is a file of this machine, which pods do not see; " + have,
		"winnow.yaml:4:36: the manifest is a file of this machine, which pods do not see; " + have,
		"winnow.yaml:5:35: the model's spec is a file of this machine, which pods do not see; " + have,
	}
	_, err := run(t, nil, "winnow.yaml", "--claim=data:/shared")
	slices.Sort(rest)
	if d := cmp.Diff(rest, said(t, err)); d != "" {
		t.Errorf("with a claim, -want +got:\n%s", d)
	}
	_, err = run(t, nil, "winnow.yaml", "--config-path=/app/winnow.yaml")
	if d := cmp.Diff([]string{workspace}, said(t, err)); d != "" {
		t.Errorf("baked, -want +got:\n%s", d)
	}
	if _, err = run(t, nil, "winnow.yaml", "--config-path=/app/winnow.yaml", "--claim=data:/shared"); err != nil {
		t.Error(err)
	}
}

func TestWritesFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "argo.yaml")
	text, err := run(t, env, s3Example, "-o", out, "--schedule=@daily")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "kubectl apply -f "+out+" -l app.kubernetes.io/component=workflow\n") {
		t.Errorf("says %q", text)
	}
	raw, err := os.ReadFile(out)
	if err != nil || len(documents(t, string(raw))) != 3 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestUndefinedVariableIsUsage(t *testing.T) {
	_, err := run(t, nil, s3Example)
	if pipeline.ExitCode(err) != pipeline.ExitUsage {
		t.Errorf("exit %d: %v", pipeline.ExitCode(err), err)
	}
}
