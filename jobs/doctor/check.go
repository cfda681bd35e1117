package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, but worse than it could
	Fail Status = "fail" // what needs it does not work
)

// Check is one finding.
type Check struct {
	Group  string `json:"group"` // libraries, devices, models, storage, disk, config
	Name   string `json:"name"`
	Status Status `json:"status"`
	What   string `json:"what"`          // what was found
	Fix    string `json:"fix,omitempty"` // what to do, unless ok
}

// Report is what `winnow doctor` found.
type Report struct {
	Version string  `json:"version"`
	OK      bool    `json:"ok"` // nothing failed
	Failed  int     `json:"failed"`
	Warned  int     `json:"warned"`
	Checks  []Check `json:"checks"`
	GPUs    *GPUs   `json:"gpus"`
}

func (r *Report) add(list ...Check) {
	for _, c := range list {
		switch c.Status {
		case Fail:
			r.Failed++
		case Warn:
			r.Warned++
		}
		r.Checks = append(r.Checks, c)
	}
	r.OK = r.Failed == 0
}

// Print writes the report for people, group by group.
func (r *Report) Print(out io.Writer) {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len([]rune(c.Name)))
	}
	width = min(width, 28)
	group := ""
	for _, c := range r.Checks {
		if c.Group != group {
			if group != "" {
				fmt.Fprintln(out)
			}
			group = c.Group
			fmt.Fprintln(out, group)
		}
		indent := "\n" + strings.Repeat(" ", 2+4+2+width+2)
		fmt.Fprintf(out, "  %-4s  %-*s  %s\n", c.Status, width, c.Name, strings.ReplaceAll(c.What, "\n", indent))
		if c.Fix != "" {
			fmt.Fprintf(out, "  %-4s  %-*s  → %s\n", "", width, "", strings.ReplaceAll(c.Fix, "\n", indent+"  "))
		}
	}
	fmt.Fprintln(out)
	switch {
	case r.Failed > 0:
		fmt.Fprintf(out, "%s failed, %s\n", count(r.Failed, "check"), count(r.Warned, "warning"))
	case r.Warned > 0:
		fmt.Fprintf(out, "all works, with %s\n", count(r.Warned, "warning"))
	default:
		fmt.Fprintln(out, "all is well")
	}
}

// count says "1 check", "2 checks".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ok, warn and fail make checks.
func ok(group, name, format string, args ...any) Check {
	return Check{group, name, OK, fmt.Sprintf(format, args...), ""}
}

func warn(group, name, fix, format string, args ...any) Check {
	return Check{group, name, Warn, fmt.Sprintf(format, args...), fix}
}

func fail(group, name, fix, format string, args ...any) Check {
	return Check{group, name, Fail, fmt.Sprintf(format, args...), fix}
}

// failed makes a check of an error that tells what to do behind its last
// semicolon, as winnow's own do; otherwise says what to do of one that does not.
func failed(group, name string, err error, otherwise string) Check {
	what := err.Error()
	if i := strings.LastIndex(what, "; "); i > 0 && i+2 < len(what) {
		return Check{group, name, Fail, what[:i], what[i+2:]}
	}
	return Check{group, name, Fail, what, otherwise}
}

// within runs one check with a time limit: a host that does not answer must not
// keep the others from being told.
func within(ctx context.Context, limit time.Duration, fn func(context.Context) []Check) []Check {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return fn(ctx)
}

// size says a number of bytes as people do: 1.5 GiB.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n), 0
	for x >= 1023.95 && unit < 6 {
		x, unit = x/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", x, " KMGTPE"[unit])
}
