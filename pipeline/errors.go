package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Exit codes of the winnow command. They are decided in one place, ExitCode.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitPartial     = 3
	ExitTransient   = 5
	ExitLocked      = 11
	ExitInterrupted = 130
	ExitTerminated  = 143
)

// RowError is a fault of one asset: the row is rejected and the stage goes on.
type RowError struct {
	Reason    string // one of the Reason words
	Err       error
	Transient bool // the fault may pass, so the next run tries again
}

func (e *RowError) Error() string { return e.Reason + ": " + e.Err.Error() }

func (e *RowError) Unwrap() error { return e.Err }

// Rowf returns a RowError with a formatted cause.
func Rowf(reason, format string, args ...any) *RowError {
	return &RowError{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Problem is one finding about a user's file.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; 0 when unknown
	Column int    `json:"column,omitempty"`
	What   string `json:"what"`          // what is wrong
	Fix    string `json:"fix,omitempty"` // what to do
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// UsageError says that the user's command, config or function files are wrong.
// It carries every problem found, not the first.
type UsageError struct{ Problems []Problem }

func (e *UsageError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Usagef returns a UsageError with one problem that belongs to no file.
func Usagef(format string, args ...any) *UsageError {
	return &UsageError{Problems: []Problem{{What: fmt.Sprintf(format, args...)}}}
}

// PartialError says that a command did its work and some rows were rejected,
// or that it found less than was asked for.
type PartialError struct {
	Rejected int64
	What     string
}

func (e *PartialError) Error() string { return e.What }

// LockedError says that another run holds the workspace's lock.
type LockedError struct{ Holder string }

func (e *LockedError) Error() string {
	return "another run holds the lock: " + e.Holder + "; wait for it, pass --wait, or --break-lock if it is dead"
}

// TransientError wraps a fault that a later try may not meet.
type TransientError struct{ Err error }

func (e *TransientError) Error() string { return e.Err.Error() }

func (e *TransientError) Unwrap() error { return e.Err }

// ErrTerminated is the cause of a context that SIGTERM cancelled.
var ErrTerminated = errors.New("terminated")

// ExitCode maps an error to the code of DESIGN's exit table.
func ExitCode(err error) int {
	var (
		usage   *UsageError
		partial *PartialError
		locked  *LockedError
		trans   *TransientError
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, ErrTerminated):
		return ExitTerminated
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &locked):
		return ExitLocked
	case errors.As(err, &trans):
		return ExitTransient
	case errors.As(err, &partial):
		return ExitPartial
	}
	return ExitFailed
}
