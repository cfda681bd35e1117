// Command winnow curates batches for labeling from buckets of images and texts.
//
// main dispatches, turns signals into cancellation, says an error once, and
// decides the exit code. The work is done by the packages beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"winnow/jobs/internal/job"
	"winnow/pipeline"
)

// version is set by the linker: -X main.version=…
var version = ""

func main() { os.Exit(command(os.Args[1:])) }

const about = `Curate batches for labeling from buckets of images and texts.

  winnow init ./photos    write a config for a folder of pictures or a file of texts
  winnow run              all stages, only what is new
  winnow search -t "a red apple"

Exit status: 0 done (nothing to do included), 1 failed, 2 usage or config, 3 done but some rows
were rejected or a batch is short, 5 a fault that a retry may not meet, 11 another run holds the
lock, 130 or 143 interrupted.`

func command(args []string) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("winnow"), kong.Description(about), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Exit(func(code int) { exit = code }))
	if err != nil {
		panic(err) // a wrong tag in cli
	}
	registerCompletion(parser)
	kctx, err := parser.Parse(args)
	if exit >= 0 { // --help and completion have said all
		return exit
	}
	if err != nil {
		return report(job.Globals{JSON: c.JSON || slices.Contains(args, "--json")}, pipeline.Usagef("%v; see winnow --help", err))
	}
	ctx, stop := signals()
	defer stop()
	app := job.New(c.Globals, versionString())
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run(app)
	app.Close()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return report(c.Globals, err)
}

// signals returns a context that SIGINT and SIGTERM cancel. A second signal ends
// the process at once.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-ch:
			cause := error(context.Canceled)
			if s == syscall.SIGTERM {
				cause = pipeline.ErrTerminated
			}
			cancel(cause)
			signal.Stop(ch)
		case <-done:
		}
	}()
	return ctx, func() { close(done); signal.Stop(ch); cancel(context.Canceled) }
}

// report says err on stderr, as JSON with --json, and returns its exit code.
func report(g job.Globals, err error) int {
	code := pipeline.ExitCode(err)
	if err == nil {
		return code
	}
	if g.JSON {
		msg := struct {
			Type     string             `json:"message_type"`
			Code     int                `json:"code"`
			Message  string             `json:"message"`
			Problems []pipeline.Problem `json:"problems,omitempty"`
		}{Type: "exit_error", Code: code, Message: err.Error()}
		var usage *pipeline.UsageError
		if errors.As(err, &usage) {
			msg.Problems = usage.Problems
		}
		_ = json.NewEncoder(os.Stderr).Encode(msg)
		return code
	}
	switch code {
	case pipeline.ExitInterrupted, pipeline.ExitTerminated:
		fmt.Fprintln(os.Stderr, "winnow: interrupted; what was done is kept, the same command goes on from there")
	default:
		fmt.Fprintf(os.Stderr, "winnow: %v\n", err)
	}
	return code
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
