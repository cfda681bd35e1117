package main

import (
	"github.com/alecthomas/kong"
	completion "github.com/jotaen/kong-completion"

	"winnow/jobs/curate"
	"winnow/jobs/embed"
	"winnow/jobs/index"
	"winnow/jobs/internal/job"
	"winnow/jobs/run"
	"winnow/jobs/score"
	"winnow/jobs/search"
)

// cli is the command line: the global flags and one command a job.
type cli struct {
	job.Globals

	Run    run.Cmd    `cmd:"" help:"All stages, only what is new."`
	Embed  embed.Cmd  `cmd:"" help:"Turn assets that have no vector into vectors." group:"Stages"`
	Index  index.Cmd  `cmd:"" help:"Build indexes for fast search." group:"Stages"`
	Score  score.Cmd  `cmd:"" help:"Score every row against every function." group:"Stages"`
	Curate curate.Cmd `cmd:"" help:"Choose batches for labeling." group:"Stages"`
	Search search.Cmd `cmd:"" help:"The rows nearest to an asset, a text or a file."`

	Completion completionCmd `cmd:"" help:"Code for shell completion."`
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
