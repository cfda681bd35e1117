// Package argo is the argo job: it writes the Argo Workflows manifests that run
// a config on Kubernetes.
package argo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

// Cmd is the argo command.
type Cmd struct {
	File           string            `arg:"" optional:"" name:"config" help:"The config file. Default: --config." type:"path"`
	Out            string            `short:"o" help:"Write to FILE instead of stdout." placeholder:"FILE" type:"path"`
	Image          string            `default:"winnow:latest" help:"Container image that holds winnow."`
	Pull           string            `enum:"Always,IfNotPresent,Never" default:"IfNotPresent" help:"When to pull the image: ${enum}."`
	Name           string            `default:"winnow" help:"Name of the WorkflowTemplate and the CronWorkflow."`
	Namespace      string            `short:"n" help:"Namespace; without it that of kubectl." placeholder:"NAME"`
	Schedule       string            `help:"Add a CronWorkflow with this cron schedule, such as \"0 3 * * *\"." placeholder:"CRON"`
	Timezone       string            `default:"UTC" help:"Time zone of the schedule. One with summer time skips or doubles an hour; slots make that harmless."`
	ServiceAccount string            `help:"Service account of the pods." placeholder:"NAME"`
	Parallelism    int               `default:"10" help:"Pods at once."`
	Deadline       int               `default:"86400" help:"Seconds after which a run is ended."`
	CPU            string            `name:"cpu" default:"2" help:"CPUs that each pod asks for."`
	Memory         string            `default:"4Gi" help:"Memory of each pod."`
	Scratch        string            `default:"20Gi" help:"Disk of each pod, for spilling and copies."`
	GPU            int               `name:"gpu" help:"GPUs of each pod that embeds. Write device: cuda in the config too: the plan is made in a pod without." placeholder:"N"`
	Env            map[string]string `help:"An environment variable of the pods. Those that the config uses are passed on by themselves." placeholder:"NAME=VALUE"`
	Secret         []string          `help:"A Secret whose keys become environment variables of the pods." placeholder:"NAME"`
	Claim          []string          `help:"Mount a PersistentVolumeClaim at a path of the pods." placeholder:"NAME:/PATH"`
	ConfigPath     string            `help:"The config stands at this path of the image; without it, it travels in a ConfigMap." placeholder:"PATH"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Writes a WorkflowTemplate (ingest, embed, index, score, curate; the heavy stages plan, work in a pod a task, and
commit), a ConfigMap with the config and its function files, and with --schedule a CronWorkflow.

Examples:
  winnow argo winnow.yaml --image registry/winnow:1.0 --schedule "0 3 * * *" -o winnow-argo.yaml
  kubectl apply -f winnow-argo.yaml -l app.kubernetes.io/component=workflow   (templates before schedules)
  kubectl apply -f winnow-argo.yaml
  argo submit --from workflowtemplate/winnow --watch

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// configDir is where the ConfigMap is mounted.
const configDir = "/etc/winnow"

// Run writes the manifests.
func (c *Cmd) Run(_ context.Context, app *job.App) error {
	file := c.File
	if file == "" {
		file = app.Globals.Config
	}
	cfg, err := configs.Load(file, app.Getenv)
	if err != nil {
		return err
	}
	v, err := c.view(file, cfg)
	if err != nil {
		return err
	}
	if c.Out == "" {
		return render(app.Out, v)
	}
	var b strings.Builder
	if err := render(&b, v); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, []byte(b.String()), 0o644); err != nil {
		return err
	}
	return app.Print(struct {
		File string `json:"file"`
	}{c.Out}, func(out io.Writer) {
		fmt.Fprintf(out, "wrote %s; next:\n", c.Out)
		if c.Schedule != "" { // else Argo may see the schedule before its template
			fmt.Fprintf(out, "  kubectl apply -f %s -l app.kubernetes.io/component=workflow\n", c.Out)
		}
		fmt.Fprintf(out, "  kubectl apply -f %s\n  argo submit --from workflowtemplate/%s\n", c.Out, c.Name)
	})
}

// view is what the template shows.
type view struct {
	Name, Namespace, Image, Pull       string
	Schedule, Timezone, ServiceAccount string
	CPU, Memory, Scratch               string
	Parallelism, Deadline, GPU         int
	Config, ConfigDir, ConfigMap       string
	Files                              []configFile
	Env                                []envVar
	Secrets                            []string
	Claims                             []claim
}

// configFile is a file of the ConfigMap: its key, its path below the mount, its text.
type configFile struct{ Key, Path, Text string }

type envVar struct{ Name, Value string }

type claim struct{ Volume, Claim, Path string }

// view checks all flags and the config's fitness for pods, and reports all that
// is wrong at once.
func (c *Cmd) view(file string, cfg *configs.Config) (*view, error) {
	v := &view{
		Name: c.Name, Namespace: c.Namespace, Image: c.Image, Pull: c.Pull,
		Schedule: c.Schedule, Timezone: c.Timezone, ServiceAccount: c.ServiceAccount,
		CPU: c.CPU, Memory: c.Memory, Scratch: c.Scratch,
		Parallelism: c.Parallelism, Deadline: c.Deadline, GPU: c.GPU,
		Config: c.ConfigPath, ConfigDir: configDir, Secrets: c.Secret,
	}
	k := &checks{}
	k.flags(c)
	v.Claims = k.claims(c.Claim)
	v.Env = k.env(cfg, c.Env)
	k.reachable(cfg, v.Claims, c.ConfigPath != "")
	if c.ConfigPath == "" {
		v.Files = k.files(file, cfg)
		if len(v.Files) > 0 {
			v.Config = configDir + "/" + v.Files[0].Path
			v.ConfigMap = c.Name + "-config-" + hash(v.Files)
		}
	}
	if len(k.problems) > 0 {
		return nil, &pipeline.UsageError{Problems: k.problems}
	}
	return v, nil
}

func hash(files []configFile) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d:%s%d:%s", len(f.Path), f.Path, len(f.Text), f.Text)
	}
	return hex.EncodeToString(h.Sum(nil))[:8]
}

// files reads the config and its function files for the ConfigMap, the config
// first. They keep their places to each other.
func (k *checks) files(file string, cfg *configs.Config) []configFile {
	config, err := filepath.Abs(file)
	if err != nil {
		k.add("%v", err)
		return nil
	}
	dir := filepath.Dir(config)
	var out []configFile
	total := 0
	paths := []string{config}
	for _, f := range cfg.Definitions {
		paths = append(paths, f.File)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			k.add("%v", err)
			continue
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || strings.HasPrefix(rel, "..") {
			k.add("%s is not below the config's folder, and a ConfigMap holds only what is; move it, or bake the files into the image and pass --config-path", p)
			continue
		}
		rel = filepath.ToSlash(rel)
		total += len(text)
		out = append(out, configFile{Key: fmt.Sprintf("%d-%s", len(out), keyOf(rel)), Path: rel, Text: string(text)})
	}
	if total > 900<<10 {
		k.add("the config and its functions have %d KiB, and a ConfigMap holds 1 MiB; bake the files into the image and pass --config-path", total>>10)
	}
	return out
}

// keyOf makes a key of a ConfigMap from a path; the number before it keeps keys apart.
func keyOf(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, path[max(0, len(path)-100):])
}
