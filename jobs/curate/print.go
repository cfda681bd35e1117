package curate

import (
	"fmt"
	"io"
	"strings"

	"winnow/io/manifest"
)

// What a dry run shows to people; JSON has all.
const (
	shownPicks = 20
	shownKinds = 12
)

// Print says what became of the batches.
func (r *Result) Print(out io.Writer) {
	for _, b := range r.Batches {
		b.print(out)
	}
}

func (b *Batch) print(out io.Writer) {
	if b.Existing {
		fmt.Fprintf(out, "batch %s/%s: there already, %s rows, %s\n", b.Name, b.Slot, manifest.Thousands(b.Rows), b.Dir)
	} else {
		fmt.Fprintf(out, "batch %s/%s: %s rows (%s)\n", b.Name, b.Slot, manifest.Thousands(b.Rows), b.Funnel)
	}
	for _, f := range b.Files {
		fmt.Fprintf(out, "  %s\n", f)
	}
	for _, p := range b.Picks[:min(shownPicks, len(b.Picks))] {
		fmt.Fprintf(out, "  %s\n", p)
	}
	if more := len(b.Picks) - shownPicks; more > 0 {
		fmt.Fprintf(out, "  … and %s more; --json lists all\n", manifest.Thousands(int64(more)))
	}
	for _, g := range b.Groups {
		fmt.Fprintf(out, "  per %s: %s\n", g.By, g.String())
	}
	if b.TooNear > 0 {
		fmt.Fprintf(out, "  near misses: %s rows lie nearer to a pick than the minimum distance\n", manifest.Thousands(int64(b.TooNear)))
	}
	if b.OverQuota > 0 {
		fmt.Fprintf(out, "  near misses: %s rows are over a quota\n", manifest.Thousands(int64(b.OverQuota)))
	}
	for _, warn := range b.Warnings {
		fmt.Fprintf(out, "  warning: %s\n", warn)
	}
}

// String gives "front 50 of 1,204, rear 12 of 12".
func (g Group) String() string {
	var parts []string
	for _, k := range g.Kinds[:min(shownKinds, len(g.Kinds))] {
		parts = append(parts, fmt.Sprintf("%s %s of %s", k.Value, manifest.Thousands(k.Rows), manifest.Thousands(k.Candidates)))
	}
	if more := len(g.Kinds) - shownKinds; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}
