package main

import (
	"github.com/alecthomas/kong"
	completion "github.com/jotaen/kong-completion"

	"winnow/jobs/argo"
	"winnow/jobs/backfill"
	"winnow/jobs/curate"
	"winnow/jobs/diagnose"
	"winnow/jobs/doctor"
	"winnow/jobs/duplicates"
	"winnow/jobs/embed"
	functioncmd "winnow/jobs/function"
	"winnow/jobs/index"
	"winnow/jobs/ingest"
	"winnow/jobs/initcmd"
	"winnow/jobs/internal/job"
	"winnow/jobs/leaks"
	"winnow/jobs/lint"
	modelcmd "winnow/jobs/model"
	"winnow/jobs/neighbors"
	"winnow/jobs/rejects"
	"winnow/jobs/run"
	"winnow/jobs/schema"
	"winnow/jobs/score"
	"winnow/jobs/search"
	"winnow/jobs/stats"
	"winnow/jobs/status"
	versioncmd "winnow/jobs/version"
)

// cli is the command line: the global flags and one command a job.
type cli struct {
	job.Globals

	Init       initcmd.Cmd     `cmd:"" help:"Write a config for a folder of pictures or a file of texts."`
	Run        run.Cmd         `cmd:"" help:"All stages, only what is new."`
	Status     status.Cmd      `cmd:"" help:"What is in the workspace, and what is stale."`
	Ingest     ingest.Cmd      `cmd:"" help:"Read the manifests that changed." group:"Stages"`
	Embed      embed.Cmd       `cmd:"" help:"Turn assets that have no vector into vectors." group:"Stages"`
	Index      index.Cmd       `cmd:"" help:"Build indexes for fast search." group:"Stages"`
	Neighbors  neighbors.Cmd   `cmd:"" help:"Find the nearest rows of every row." group:"Stages"`
	Score      score.Cmd       `cmd:"" help:"Score every row against every function." group:"Stages"`
	Curate     curate.Cmd      `cmd:"" help:"Choose batches for labeling." group:"Stages"`
	Backfill   backfill.Cmd    `cmd:"" help:"Move an embedding to another model, beside everything else."`
	Search     search.Cmd      `cmd:"" help:"The rows nearest to assets, texts, files or vectors, and the highest of a function."`
	Function   functioncmd.Cmd `cmd:"" help:"Saved searches: list, show, make, test and compare them."`
	Diagnose   diagnose.Cmd    `cmd:"" help:"Where a model is weak, and functions that find rows like its mistakes."`
	Stats      stats.Cmd       `cmd:"" help:"What functions know of the corpus: list and refresh it."`
	Duplicates duplicates.Cmd  `cmd:"" help:"Groups of rows that are nearly the same, and which of each can go."`
	Leaks      leaks.Cmd       `cmd:"" help:"Rows of test that are copies, or nearly, of rows of train."`
	Rejects    rejects.Cmd     `cmd:"" help:"Rows that could not be read or embedded, by reason."`
	Lint       lint.Cmd        `cmd:"" help:"Every problem of configs and functions, with line and column." group:"Setting up"`
	Schema     schema.Cmd      `cmd:"" help:"JSON Schema of the config, for editors." group:"Setting up"`
	Doctor     doctor.Cmd      `cmd:"" help:"Check libraries, models, devices and storage access." group:"Setting up"`
	Model      modelcmd.Cmd    `cmd:"" help:"Look into ONNX files, and try model specs." group:"Setting up"`
	Argo       argo.Cmd        `cmd:"" help:"Write an Argo WorkflowTemplate and CronWorkflow." group:"Setting up"`

	Version    versioncmd.Cmd `cmd:"" help:"Versions of winnow and its libraries." group:"Setting up"`
	Completion completionCmd  `cmd:"" help:"Code for shell completion." group:"Setting up"`
}

// completionCmd prints the code that a shell's start file evaluates.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: ${enum}."`
}

// Help shows examples.
func (*completionCmd) Help() string {
	return `Examples:
  winnow completion bash >> ~/.bashrc
  winnow completion zsh  >> ~/.zshrc
  winnow completion fish > ~/.config/fish/completions/winnow.fish`
}

// Run prints the code.
func (c *completionCmd) Run(ctx *kong.Context) error {
	return (&completion.Completion{Shell: c.Shell, Code: true}).Run(ctx)
}

func registerCompletion(k *kong.Kong) { completion.Register(k) }
