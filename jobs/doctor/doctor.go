// Package doctor is the doctor job: it tries everything that a run needs on this
// machine, the libraries, the models, the devices, the places of the config and
// the disks, and says of each that fails what to do.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the doctor command.
type Cmd struct {
	NoStorage bool `help:"Leave out the workspace and the sources: nothing is written and no network is used."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Puts every library, model and place to a small use, and says what to do about each that fails. Without a
config it checks what winnow brings. In the workspace it writes and deletes a probe, runs/.doctor-…

Examples:
  winnow doctor
  winnow doctor -c winnow.yaml --json | jq '.checks[] | select(.status != "ok")'
  winnow doctor --no-storage            libraries, models and this machine only

Exit status: 0 all works (with warnings or without), 1 a check failed, 2 the config is wrong (the libraries
are checked all the same), 130 or 143 interrupted.`
}

// Run checks and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	r := &Report{Version: app.Version}
	cfg, err := loadConfig(ctx, app)
	var usage *pipeline.UsageError
	switch {
	case errors.As(err, &usage):
		n := count(len(usage.Problems), "problem")
		r.add(fail("config", "config", "see below; winnow lint shows them too", "%s has %s", app.Globals.Config, n))
	case err != nil:
		r.add(fail("config", "config", "", "%v", err))
	case cfg == nil:
		r.add(ok("config", "config", "none here (%s), so the models that winnow brings are checked, and no storage", app.Globals.Config))
	default:
		r.add(ok("config", "config", "%s: %s, %s, %s, %s", app.Globals.Config, count(len(cfg.Sources), "source"), count(len(cfg.Embeddings), "embedding"),
			count(len(cfg.Definitions), "function"), batches(len(cfg.Batches))))
	}
	r.GPUs = readGPUs(cfg)
	for _, g := range c.groups(app, cfg, r.GPUs) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.add(within(ctx, g.limit, g.checks)...)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if perr := app.Print(r, r.Print); perr != nil {
		return perr
	}
	switch {
	case err != nil:
		return err
	case r.Failed > 0:
		return errors.New("doctor: " + count(r.Failed, "check") + " failed; each says what to do")
	}
	return nil
}

// group is a part of the examination.
type group struct {
	limit  time.Duration
	checks func(context.Context) []Check
}

func (c *Cmd) groups(app *job.App, cfg *configs.Config, gpus *GPUs) []group {
	out := []group{
		{2 * time.Minute, libraryChecks},
		{time.Minute, func(context.Context) []Check { return deviceChecks(cfg, gpus) }},
		{10 * time.Minute, func(ctx context.Context) []Check { return modelChecks(ctx, cfg) }},
	}
	if cfg != nil && !c.NoStorage {
		out = append(out,
			group{placeLimit, func(ctx context.Context) []Check { return workspaceChecks(ctx, cfg.Workspace) }},
			group{5 * time.Minute, func(ctx context.Context) []Check { return placeChecks(ctx, cfg) }})
	}
	return append(out, group{time.Minute, func(context.Context) []Check { return diskChecks(cacheFolder(app.Cache)) }})
}

// loadConfig reads the config. That there is none under the default name is no
// mistake: the result is nil.
func loadConfig(ctx context.Context, app *job.App) (*configs.Config, error) {
	file := app.Globals.Config
	if std, err := filepath.Abs("winnow.yaml"); err == nil && file == std {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	checks, done, err := workspace.Checks(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return configs.Load(file, app.Getenv, checks...)
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}
