package status

import (
	"fmt"
	"strings"
)

// conclude says what is stale and what to type next. flag is how a command
// names the config, "" for the default one.
func (r *Report) conclude(flag string) {
	r.Stale = []string{}
	if r.Exists {
		r.stale()
	}
	step := func(why, command string, args ...any) {
		r.Next = append(r.Next, Step{Command: "winnow " + fmt.Sprintf(command, args...) + flag, Why: why})
	}
	switch {
	case r.Lock != nil && r.Lock.Stale:
		step("its run gives no sign of life", "run --break-lock")
		return
	case r.Lock != nil:
		step("another run is at work: this waits for it", "run --wait")
		return
	case !r.Exists:
		step("read, embed, index, score and curate", "run")
		return
	}
	broken := false
	for _, f := range r.Functions {
		broken = broken || f.State == Broken
	}
	switch {
	case len(r.Problems) > 0:
		step("something could not be read", "doctor")
	case broken:
		step("once the functions are mended", "run")
	case len(r.Stale) > 0:
		step(strings.Join(r.Stale, "; "), "run")
	}
	if len(r.Next) > 0 {
		return
	}
	for _, e := range r.Embeddings {
		if e.Rejected > 0 {
			step("once the rejected files are mended", "embed --retry-rejected")
			break
		}
	}
	for _, e := range r.Embeddings {
		if b := e.Backfill; b != nil {
			step(fmt.Sprintf("move %s to the config's model %s; until then all goes on as before", e.Name, b.Model), "backfill --embedding %s", e.Name)
		}
	}
	for _, e := range r.Embeddings {
		if e.Embedded > 0 {
			step("look around: the rows nearest to one of yours", "search --asset %s", quote(e.example))
			break
		}
	}
	step("when the sources have something new", "run")
}

// stale lists what a run would do, as far as the workspace alone can tell: new
// lines of a manifest are found by ingest only.
func (r *Report) stale() {
	add := func(format string, args ...any) { r.Stale = append(r.Stale, fmt.Sprintf(format, args...)) }
	if r.Assets.Version < 0 && r.Assets.Problem == "" {
		add("no source was read yet")
	}
	for _, e := range r.Embeddings {
		if e.Problem != "" {
			continue
		}
		if e.Todo > 0 {
			add("%s to embed in %s", count(e.Todo, "row"), e.Name)
		}
		switch i := e.Index; {
		case e.Embedded == 0:
		case i == nil:
			add("%s has no index", e.Name)
		case !i.Fresh:
			add("index of %s: %s", e.Name, i.lag())
		case i.Drift != nil && i.Drift.Retrain != "":
			add("index of %s: to be trained anew", e.Name)
		}
	}
	unscored := map[string]int{}
	var order []string
	for _, f := range r.Functions {
		if f.State == Stale || f.State == NotScored {
			if unscored[f.Embedding]++; unscored[f.Embedding] == 1 {
				order = append(order, f.Embedding)
			}
		}
	}
	for _, e := range order {
		add("%s to score on %s", count(int64(unscored[e]), "function"), e)
	}
	for _, b := range r.Batches {
		if b.Slot == "" {
			add("batch %s was never made", b.Name)
		}
	}
}

// lag says how an index differs from the rows.
func (i *Index) lag() string {
	var parts []string
	if i.Behind > 0 {
		parts = append(parts, count(i.Behind, "row")+" behind")
	}
	if i.Gone > 0 {
		parts = append(parts, count(i.Gone, "row")+" gone")
	}
	if len(parts) == 0 {
		return "of another table version"
	}
	return strings.Join(parts, ", ")
}

// count says "1 row", "2 rows".
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
