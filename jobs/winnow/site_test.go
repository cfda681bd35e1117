package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site is a config and what it names, in a folder of its own.
type site struct {
	dir       string // of the config
	workspace string // its URL
}

// plan says what a site's config holds. The zero value is everything over the
// photos of testdata/photos.
type plan struct {
	manifest  string   // URL; default the photos' own
	allow     string   // URL; default the manifest's folder
	workspace string   // URL; default a folder of the site
	without   []string // functions that are left out
	batches   string   // YAML; default photoBatches
	tasks     int      // rows of an embed task; default 8
}

// function files over the photos. cats has a threshold that depends on what was
// batched before, and anchors in languages that the captions do not have.
var photoFunctions = map[string]string{
	"space": `embedding: image
anchors:
  positive: [{asset: hubble_deep_field-0}, {asset: hubble_deep_field-2}, {asset: moon-0}, {asset: rocket-0, weight: 2}]
  negative: [{asset: brick-0}, {asset: grass-1}]
combine: lda
`,
	"texture": `embedding: image
anchors: {positive: [{asset: brick-0}, {asset: grass-0}, {asset: gravel-0}]}
combine: mean
threshold: {percentile: 70}
`,
	"people": `embedding: image
anchors:
  positive: [{asset: astronaut-0}, {asset: astronaut-1}, {asset: camera-0}]
  negative: [{asset: coffee-0}, {asset: moon-1}]
combine: classifier
threshold: 0.5
`,
	"cats": `embedding: text
anchors: {positive: [{text: eine Katze}, {text: ネコ}, {text: un gato}], negative: [{text: ein Hund}]}
combine: sum
threshold: {top: 12}
`,
	"drinks": `embedding: text
anchors: {positive: [{text: heiße Getränke}, {text: コーヒー}]}
combine: max
threshold: {percentile: 80}
`,
}

// The second batch asks for what cats matches once the first batch has taken
// rows away.
const photoBatches = `
batches:
  - name: cats
    where: cats_match
    select: [{top: cats}]
    size: 8
    emit: [jsonl, html, labelbox]
    labelbox: {uri_rewrite: [{from: "%[1]s", to: "https://cdn.example.com/"}]}
  - name: mixed
    where: cats_match OR texture_pct >= 60 OR people_match
    dedupe: {embedding: image, distance: 0.01}
    select: [{diversity: {embedding: image}}, {random: {seed: 3}}]
    size: 10
    emit: [jsonl, parquet, html, labelbox]
    labelbox: {uri_rewrite: [{from: "%[1]s", to: "https://cdn.example.com/"}]}
`

func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func photosDir(t testing.TB) string { return filepath.Join(root(t), "testdata", "photos") }

// needModels fails t where `make setup` has not run.
func needModels(t testing.TB) {
	t.Helper()
	for _, f := range []string{"lib/libonnxruntime.so", "models/efficientnet-lite0/model.onnx", "models/use-multilingual-v3/model.onnx"} {
		if _, err := os.Stat(filepath.Join(root(t), ".deps", f)); err != nil {
			t.Fatalf("%v; run make setup", err)
		}
	}
}

// newSite writes a config and its functions.
func newSite(t testing.TB, p plan) *site {
	t.Helper()
	needModels(t)
	s := &site{dir: t.TempDir()}
	s.write(t, p)
	return s
}

// write writes the config anew.
func (s *site) write(t testing.TB, p plan) {
	t.Helper()
	if p.manifest == "" {
		p.manifest = "file://" + photosDir(t) + "/manifest.jsonl"
	}
	if p.allow == "" {
		p.allow, _, _ = strings.Cut(p.manifest, "?")
		p.allow = p.allow[:strings.LastIndex(p.allow, "/")+1]
		if _, query, ok := strings.Cut(p.manifest, "?"); ok {
			p.allow += "?" + query
		}
	}
	if p.workspace == "" {
		p.workspace = "file://" + s.dir + "/workspace"
	}
	if p.tasks == 0 {
		p.tasks = 8
	}
	s.workspace = p.workspace
	var b strings.Builder
	fmt.Fprintf(&b, "workspace: %q\nsources: [{name: photos, manifest: %q, allow: [%q]}]\n", p.workspace, p.manifest, p.allow)
	b.WriteString("embeddings:\n  - {name: image, model: efficientnet-lite0, of: image}\n  - {name: text, model: use-multilingual-v3, of: caption}\n")
	fmt.Fprintf(&b, "functions: functions/*.yaml\ntasks: {embed: %d, score: 16}\n", p.tasks)
	if p.batches == "" {
		place, _, _ := strings.Cut(p.allow, "?")
		p.batches = fmt.Sprintf(photoBatches, place)
	}
	b.WriteString(p.batches)
	s.file(t, "winnow.yaml", b.String())
	if err := os.RemoveAll(filepath.Join(s.dir, "functions")); err != nil {
		t.Fatal(err)
	}
	for name, body := range photoFunctions {
		if !slices.Contains(p.without, name) {
			s.file(t, "functions/"+name+".yaml", "name: "+name+"\n"+body)
		}
	}
}

func (s *site) file(t testing.TB, name, body string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

// folder is the workspace's folder, of a workspace that is one.
func (s *site) folder() string { return strings.TrimPrefix(s.workspace, "file://") }

// process is a winnow that was started.
type process struct {
	t        testing.TB
	args     []string
	cmd      *exec.Cmd
	out, err bytes.Buffer
	started  time.Time
	took     time.Duration
	done     chan struct{} // closed when it has ended
	code     int           // valid then; -1 when a signal ended it
}

// start starts winnow in the site's folder. It is killed when t ends first.
func (s *site) start(t testing.TB, args ...string) *process {
	t.Helper()
	bin, err := exec.LookPath("winnow") // testscript.Main has put it there
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, args: args, done: make(chan struct{}), started: time.Now()}
	p.cmd = exec.Command(bin, args...)
	p.cmd.Dir = s.dir
	deps := filepath.Join(root(t), ".deps")
	p.cmd.Env = append(os.Environ(), "HOME="+s.dir, "WINNOW_MODELS="+filepath.Join(deps, "models"),
		"ONNXRUNTIME_LIB="+filepath.Join(deps, "lib", "libonnxruntime.so"), "WINNOW_CACHE="+filepath.Join(s.dir, "cache"),
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // else each process sleeps a second with -race
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.took, p.code = time.Since(p.started), p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends the process with SIGKILL and waits. It reports whether the process
// was still running.
func (p *process) kill() bool {
	_ = p.cmd.Process.Kill()
	<-p.done
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(10 * time.Minute):
		p.kill()
		p.t.Fatalf("winnow %s did not end in 10 minutes\n%s", strings.Join(p.args, " "), p.said())
	}
	return p.code
}

// want waits and fails t unless the exit code is one of codes.
func (p *process) want(codes ...int) *process {
	p.t.Helper()
	got := p.wait()
	if slices.Contains(codes, got) {
		return p
	}
	p.t.Fatalf("winnow %s ended with %v, want exit status %v\n%s", strings.Join(p.args, " "), p.cmd.ProcessState, codes, p.said())
	return p
}

// said is all output, without the middle where it is long.
func (p *process) said() string {
	const most = 4000
	short := func(b []byte) string {
		if len(b) <= 2*most {
			return string(b)
		}
		return fmt.Sprintf("%s\n…\n%s", b[:most], b[len(b)-most:])
	}
	return fmt.Sprintf("stdout: %s\nstderr: %s", short(p.out.Bytes()), short(p.err.Bytes()))
}

// run runs winnow to its end and fails t unless it leaves with 0.
func (s *site) run(t testing.TB, args ...string) *process {
	t.Helper()
	return s.start(t, args...).want(0)
}

// decode decodes stdout, which is one JSON value.
func (p *process) decode(v any) {
	p.t.Helper()
	if err := json.Unmarshal(p.out.Bytes(), v); err != nil {
		p.t.Fatalf("winnow %s: %v\n%s", strings.Join(p.args, " "), err, p.said())
	}
}

// outcome is what `winnow run --json` says.
type outcome struct {
	Run    string
	Ingest struct{ New, Changed, Removed, Rejected int64 }
	Stages []struct {
		Stage    string
		Tasks    int
		Rows     int64
		Rejected int64
	}
	Batches []struct {
		Name, Slot string
		Rows       int64
		Existing   bool
	}
}

// outcome runs all stages and returns what it says of them.
func (s *site) outcome(t testing.TB, args ...string) *outcome {
	t.Helper()
	var o outcome
	s.run(t, append([]string{"run", "--json"}, args...)...).decode(&o)
	return &o
}

// idle fails t unless the run found nothing to do.
func (o *outcome) idle(t testing.TB) {
	t.Helper()
	if o.Ingest.New+o.Ingest.Changed+o.Ingest.Removed+o.Ingest.Rejected > 0 {
		t.Errorf("ingest found work: %+v", o.Ingest)
	}
	for _, s := range o.Stages {
		if s.Tasks > 0 {
			t.Errorf("%s found %d tasks", s.Stage, s.Tasks)
		}
	}
	for _, b := range o.Batches {
		if !b.Existing {
			t.Errorf("batch %s was chosen again, as slot %s", b.Name, b.Slot)
		}
	}
	if len(o.Stages) != 3 || len(o.Batches) == 0 {
		t.Errorf("the run has %d stages and %d batches", len(o.Stages), len(o.Batches))
	}
}

// rows is how many rows a stage worked on.
func (o *outcome) rows(stage string) int64 {
	for _, s := range o.Stages {
		if s.Stage == stage {
			return s.Rows
		}
	}
	return -1
}

func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
