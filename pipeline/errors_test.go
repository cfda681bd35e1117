package pipeline

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitDone},
		{errors.New("disk full"), ExitFailed},
		{Usagef("no such flag"), ExitUsage},
		{fmt.Errorf("run: %w", &UsageError{}), ExitUsage},
		{&PartialError{Rejected: 3}, ExitPartial},
		{fmt.Errorf("fetch: %w", &TransientError{errors.New("503")}), ExitTransient},
		{&LockedError{Holder: "run a"}, ExitLocked},
		{fmt.Errorf("embed: %w", context.Canceled), ExitInterrupted},
		{ErrTerminated, ExitTerminated},
		{errors.Join(ErrTerminated, context.Canceled), ExitTerminated},
		{context.DeadlineExceeded, ExitFailed},
		{Rowf(ReasonEmpty, "0 bytes"), ExitFailed}, // a row's fault that nobody took up is a bug, not a success
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestProblemString(t *testing.T) {
	for _, c := range []struct {
		p    Problem
		want string
	}{
		{Problem{File: "a.yaml", Line: 3, Column: 5, What: "unknown key", Fix: "did you mean uri?"}, "a.yaml:3:5: unknown key; did you mean uri?"},
		{Problem{File: "a.yaml", Line: 3, What: "x"}, "a.yaml:3: x"},
		{Problem{File: "a.yaml", What: "x"}, "a.yaml: x"},
		{Problem{What: "x", Fix: "y"}, "x; y"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("%#v: %q, want %q", c.p, got, c.want)
		}
	}
}
