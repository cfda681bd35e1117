// Package job is what every command of winnow shares: global flags, output,
// logs and progress.
//
// Rules of output:
//   - Results go to stdout: tables for people, one JSON value with --json.
//   - Everything else goes to stderr: progress bars and console logs on a
//     terminal, JSON logs elsewhere.
//   - An error is said once, by main.
package job

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/term"

	"winnow/pipeline"
)

// Globals are the flags that every command takes.
type Globals struct {
	Config    string `short:"c" default:"winnow.yaml" env:"WINNOW_CONFIG" help:"The config file." type:"path" placeholder:"FILE"`
	JSON      bool   `name:"json" help:"Print the result as JSON on stdout; logs as JSON too."`
	Quiet     bool   `short:"q" help:"No progress, and logs from warnings up."`
	Verbose   bool   `short:"v" help:"Logs from debug up."`
	Log       string `enum:"auto,console,json" default:"auto" help:"How logs look: ${enum}." placeholder:"auto"`
	Run       string `help:"Name of the run; needed to share one plan among processes. Default: the time." placeholder:"NAME"`
	Cache     string `env:"WINNOW_CACHE" help:"Folder for copies of remote files. Default: the user's cache folder." type:"path" placeholder:"DIR"`
	Wait      bool   `help:"Wait for another run's lock instead of leaving with 11."`
	BreakLock bool   `help:"Take over the lock of a run that is dead."`
}

// App is what a command works with.
type App struct {
	Globals
	Out      io.Writer
	Err      io.Writer
	Log      *zap.Logger
	Progress pipeline.Progress
	Now      func() time.Time
	Getenv   func(string) (string, bool)
	Version  string

	bars *bars
}

// New makes the App of a process from its flags.
func New(g Globals, version string) *App {
	a := &App{Globals: g, Out: os.Stdout, Err: os.Stderr, Now: time.Now, Getenv: os.LookupEnv, Version: version}
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	console := g.Log == "console" || g.Log == "auto" && terminal && !g.JSON
	switch {
	case g.Quiet:
		a.Progress = pipeline.Quiet
		a.Log = newLogger(os.Stderr, console, zap.WarnLevel)
	case terminal && console:
		a.bars = newBars(os.Stderr)
		a.Progress = a.bars
		a.Log = newLogger(a.bars, console, level(g))
	default:
		a.Log = newLogger(os.Stderr, console, level(g))
		a.Progress = newLines(a.Log, 10*time.Second)
	}
	if a.Run == "" {
		a.Run = a.Now().UTC().Format("20060102T150405.000Z")
	}
	return a
}

// Close ends the progress bars, so that later output stands below them.
func (a *App) Close() {
	if a.bars != nil {
		a.bars.close()
	}
	_ = a.Log.Sync()
}

// Print writes v as JSON with --json, else calls text.
func (a *App) Print(v any, text func(w io.Writer)) error {
	if a.bars != nil {
		a.bars.close()
	}
	if !a.JSON {
		text(a.Out)
		return nil
	}
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}
