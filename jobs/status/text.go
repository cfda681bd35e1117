package status

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"winnow/jobs/internal/workspace"
)

// shownSlots is how many slots of a batch the text shows; the JSON has them all.
const shownSlots = 5

// Print writes the report for people.
func (r *Report) Print(out io.Writer) {
	p := &printer{out: out}
	p.line("workspace", "%s", r.Workspace)
	if !r.Exists {
		p.line("", "nothing is here yet")
		p.next(r.Next)
		return
	}
	if r.Lock != nil {
		p.line("lock", "%s", r.Lock.text())
	}
	p.assets(&r.Assets)
	for i := range r.Embeddings {
		p.embedding(&r.Embeddings[i])
	}
	for _, m := range r.Unused {
		p.line("not used", "embedding %s, model %s: %s; the config does not name it", m.Embedding, short(m.Fingerprint), m.text())
	}
	p.functions(r.Functions)
	p.batches(r.Batches)
	p.line("last run", "%s", r.LastRun.text())
	for i, s := range r.Problems {
		p.line(first(i, "problems"), "%s", s)
	}
	if len(r.Stale) == 0 && len(r.Problems) == 0 {
		p.line("stale", "nothing")
	}
	for i, s := range r.Stale {
		p.line(first(i, "stale"), "%s", s)
	}
	p.next(r.Next)
}

// printer writes lines with a label in the first column.
type printer struct{ out io.Writer }

const labelWidth = 12

func (p *printer) line(label, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", labelWidth))
	fmt.Fprintf(p.out, "%-*s%s\n", labelWidth, label, text)
}

// table writes rows below a label, in aligned columns.
func (p *printer) table(label string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	tw.Flush()
	for i, l := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		p.line(first(i, label), "%s", strings.TrimRight(l, " "))
	}
}

// first is the label on the first of several lines.
func first(i int, label string) string {
	if i == 0 {
		return label
	}
	return ""
}

func (p *printer) assets(a *Assets) {
	if a.Problem != "" {
		p.line("assets", "cannot be read, see problems")
		return
	}
	p.line("assets", "%s", count(a.Rows, "row"))
	var rows [][]string
	for _, s := range a.Sources {
		name := s.Name
		if name == "" {
			name = "(no source)"
		}
		rows = append(rows, []string{strconv.FormatInt(s.Rows, 10), name})
	}
	p.table("", rows)
	p.reasons("refused", a.Rejected)
}

func (p *printer) reasons(label string, list []workspace.RejectReason) {
	i := 0
	for _, r := range list {
		again := ""
		if r.Transient {
			again = ", tried again by the next run"
		}
		p.line(first(i, label), "%d %s%s", r.Rows, r.Reason, again)
		i++
		for _, x := range r.Examples {
			p.line("", "  %s", exampleText(x))
		}
	}
}

func exampleText(x workspace.RejectExample) string {
	var parts []string
	if x.Source != "" {
		at := path.Base(x.Source)
		if x.Line > 0 {
			at += ":" + strconv.FormatInt(x.Line, 10)
		}
		parts = append(parts, at)
	}
	if x.AssetID != "" {
		parts = append(parts, x.AssetID)
	}
	return strings.Join(append(parts, clip(x.Error, 120)), "  ")
}

func (p *printer) embedding(e *Embedding) {
	fmt.Fprintln(p.out)
	p.line("embedding", "%s: %s by %s (%d numbers, fingerprint %s)", e.Name, e.Of, e.Model, e.Dim, short(e.Fingerprint))
	if e.Problem != "" {
		p.line("", "cannot be read, see problems")
		return
	}
	p.line("", "%d embedded, %d to do, %d rejected, of %d with content", e.Embedded, e.Todo, e.Rejected, e.Content)
	if e.Missing > 0 {
		p.line("", "%s of them without a vector in the files", count(e.Missing, "asset"))
	}
	if e.Unmatched > 0 {
		p.line("", "%s in the files of no asset, such as %s", count(e.Unmatched, "vector"), strings.Join(e.UnmatchedIDs, ", "))
	}
	if e.Repeated > 0 {
		p.line("", "%s in the files repeat an id: the first counts", count(e.Repeated, "vector"))
	}
	p.reasons("rejected", e.Reasons)
	dead := ""
	if n := e.Rows - e.Embedded - e.Unmatched - e.Repeated; n > 0 {
		dead = fmt.Sprintf(", %d of them of removed or changed assets", n)
	}
	p.line("shards", "%s, %s, %s%s", count(int64(e.Shards), "shard"), size(e.Bytes), count(e.Rows, "row"), dead)
	p.line("index", "%s", e.Index.text())
	if b := e.Backfill; b != nil {
		p.line("backfill", "to %s, which the config names: %d embedded, %d to do, %d rejected, of %d with content", b.Model, b.Embedded, b.Todo, b.Rejected, b.Content)
		p.reasons("rejected", b.Reasons)
	}
	for _, m := range e.Others {
		p.line("other model", "%s: %s", short(m.Fingerprint), m.text())
	}
}

func (m *Model) text() string {
	return fmt.Sprintf("%s in %s, %s", count(m.Rows, "row"), count(int64(m.Shards), "shard"), size(m.Bytes))
}

func (i *Index) text() string {
	if i == nil {
		return "none"
	}
	state := "fresh"
	if !i.Fresh {
		state = i.lag()
	}
	kind := i.Kind
	if i.Drift != nil {
		kind += " (" + i.Factory + ")"
	}
	parts := []string{kind, count(i.Rows, "row")}
	if i.Segments > 0 {
		parts = append(parts, count(int64(i.Segments), "segment"))
	}
	if i.Dead > 0 {
		parts = append(parts, fmt.Sprintf("%d dead", i.Dead))
	}
	parts = append(parts, fmt.Sprintf("recall@10 %.3f", i.Recall10))
	if d := i.Drift; d != nil {
		if d.NewRecall > 0 {
			parts = append(parts, fmt.Sprintf("%.3f of new rows", d.NewRecall))
		}
		if d.Imbalance > d.Trained {
			parts = append(parts, fmt.Sprintf("imbalance %.2f, %.2f when trained", d.Imbalance, d.Trained))
		}
	}
	parts = append(parts, size(i.Bytes), state)
	if i.Drift != nil && i.Drift.Retrain != "" {
		parts = append(parts, "to be trained anew: "+i.Drift.Retrain)
	}
	return strings.Join(parts, ", ")
}

func (p *printer) functions(list []Function) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(p.out)
	rows := [][]string{{"function", "embedding", "combine", "threshold", "matches", "state"}}
	for _, f := range list {
		threshold, matches := f.Rule, ""
		if f.Threshold != nil {
			if threshold = fmt.Sprintf("%.4g", *f.Threshold); f.Rule != "" && f.Rule != threshold {
				threshold += " (" + f.Rule + ")"
			}
		}
		if f.Matches != nil {
			matches = strconv.FormatInt(*f.Matches, 10)
		}
		state := f.State
		if f.What != "" {
			state += ": " + clip(f.What, 200)
		}
		rows = append(rows, []string{f.Name, f.Embedding, f.Combine, threshold, matches, state})
	}
	p.table("functions", rows)
}

func (p *printer) batches(list []Batch) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(p.out)
	rows := [][]string{{"batch", "slot", "rows", "made", "where"}}
	for i := 0; i < len(list); {
		end := i
		for end < len(list) && list[end].Name == list[i].Name {
			end++
		}
		if hidden := end - i - shownSlots; hidden > 0 {
			var n int64
			for _, b := range list[i : i+hidden] {
				n += b.Rows
			}
			rows = append(rows, []string{list[i].Name, fmt.Sprintf("(%d earlier)", hidden), strconv.FormatInt(n, 10), "", ""})
			i += hidden
		}
		for ; i < end; i++ {
			b := list[i]
			if b.Slot == "" {
				rows = append(rows, []string{b.Name, "never made", "", "", ""})
				continue
			}
			rows = append(rows, []string{b.Name, b.Slot, strconv.FormatInt(b.Rows, 10), stamp(b.Made), b.Dir})
		}
	}
	p.table("batches", rows)
	fmt.Fprintln(p.out)
}

func (p *printer) next(steps []Step) {
	var rows [][]string
	for _, s := range steps {
		rows = append(rows, []string{s.Command, "# " + s.Why})
	}
	p.table("next", rows)
}

func (r *Run) text() string {
	if r == nil {
		return "none on record"
	}
	s := r.Run
	if !r.Started.IsZero() {
		s += ", " + stamp(r.Started)
	}
	switch {
	case r.Error != "":
		return s + ", failed: " + clip(r.Error, 300)
	case r.Finished.IsZero():
		return s + ", did not finish"
	case !r.OK:
		s += ", not all well"
	default:
		s += ", ok"
	}
	return s + ", took " + r.Finished.Sub(r.Started).Round(100*time.Millisecond).String()
}

func (l *Lock) text() string {
	s := l.Holder
	if s == "" {
		s = "held, the holder has not said its name yet"
	}
	if !l.Since.IsZero() {
		s += ", since " + stamp(l.Since)
	}
	if l.Stale {
		s += ", no sign of life since " + stamp(l.Seen)
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func short(fingerprint string) string { return fingerprint[:min(len(fingerprint), 12)] }

// clip makes a text one line of at most n characters.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// size says a size as people do: 1.5 MiB.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n), 0
	for x >= 1023.95 && unit < 5 {
		x, unit = x/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", x, " KMGTP"[unit])
}
