package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"winnow/configs"
	"winnow/io/query"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/pipeline"
	statistics "winnow/pipeline/function"
)

// DiffCmd is the command function diff.
type DiffCmd struct {
	Old        string `arg:"" help:"A function's file before the change; or the only function, by name or file."`
	New        string `arg:"" optional:"" help:"The function after it, by file or name. Without it, what the workspace has scored is compared with what the file says now."`
	Git        string `help:"Compare with the file as it was in this revision of its git repository." placeholder:"REV" xor:"old"`
	Statistics int    `help:"Compare with the function fitted to this version of the corpus statistics; see winnow stats list." placeholder:"N" xor:"old"`
	Embedding  string `short:"e" help:"Whose statistics --statistics means, of a function over several embeddings." placeholder:"NAME"`
	K          int    `short:"k" default:"5" help:"How many examples of rows that enter and leave."`
}

// Help shows examples.
func (*DiffCmd) Help() string {
	return `Says what a change of a definition changes: the threshold, the matches that enter and leave with examples, and how
far the order of the highest rows stays (Spearman's rank correlation). Both sides are scored now where the
workspace does not have them; nothing is written.

Examples:
  winnow function diff old/apples.yaml functions/apples.yaml
  winnow function diff apples                  what has been scored, and what the file says now
  winnow function diff apples --git HEAD~1     the file as it was
  winnow function diff apples --statistics 1   after winnow stats refresh; -e NAME with several embeddings

Of a function over several embeddings its parts are scored, and the mean is taken when scores are read: what has been
scored shows no change of the weights alone. Name the other file, or a revision with --git.

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// Differs is what a change changes.
type Differs struct {
	score.Change
	Old  string `json:"old"` // what the sides are
	New  string `json:"new"`
	Same bool   `json:"same"` // one version and threshold: nothing changes
	// Weightless: a function over several embeddings is compared with its parts as they
	// are scored, which know no weights, so that a change of these does not show.
	Weightless bool    `json:"weightless,omitempty"`
	Entered    int64   `json:"entered"`
	Left       int64   `json:"left"`
	Kept       int64   `json:"kept"`
	Enter      []Moved `json:"enter"` // examples: the highest after
	Leave      []Moved `json:"leave"` // examples: the highest before
}

// Moved is a row whose match changes.
type Moved struct {
	Row
	Before *float64 `json:"before"` // its score on each side; nil without one
	After  *float64 `json:"after"`
}

// Run compares.
func (c *DiffCmd) Run(ctx context.Context, app *job.App) error {
	if c.K < 0 {
		return pipeline.Usagef("-k %d: want 0 or more", c.K)
	}
	if c.Embedding != "" && c.Statistics == 0 {
		return pipeline.Usagef("--embedding says whose --statistics are meant, and there is no --statistics")
	}
	if c.New != "" && (c.Git != "" || c.Statistics != 0) {
		return pipeline.Usagef("two functions are given: leave out --git and --statistics, or the second function")
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	old, now, err := c.sides(ctx, w)
	if err != nil {
		return err
	}
	r, err := Compare(ctx, old, now, c.K)
	if err != nil {
		return err
	}
	r.Old, r.New = old.title, now.title
	r.Weightless = now.parts != nil && c.New == "" && c.Git == "" && c.Statistics == 0
	return app.Print(r, r.Print)
}

// Side is one side of a comparison.
type Side struct {
	*subject
	title string
}

// sides opens what is to be compared.
func (c *DiffCmd) sides(ctx context.Context, w *workspace.Workspace) (old, now *Side, err error) {
	f, err := score.Named(w, c.Old)
	if err != nil {
		return nil, nil, err
	}
	title := relative(f.File)
	switch {
	case c.New != "":
		g, err := score.Named(w, c.New)
		if err != nil {
			return nil, nil, err
		}
		if old, err = openSide(ctx, w, f, "before", title, nil); err == nil {
			now, err = openSide(ctx, w, g, "after", relative(g.File), nil)
		}
		return old, now, err
	case c.Git != "":
		g, err := revision(ctx, w, f, c.Git)
		if err != nil {
			return nil, nil, err
		}
		if old, err = openSide(ctx, w, g, "before", title+" at "+c.Git, nil); err == nil {
			now, err = openSide(ctx, w, f, "after", title, nil)
		}
		return old, now, err
	case c.Statistics != 0:
		st, err := statisticsOf(ctx, w, f, c.Embedding, c.Statistics)
		if err != nil {
			return nil, nil, err
		}
		if old, err = openSide(ctx, w, f, "before", fmt.Sprintf("%s with statistics %d", title, c.Statistics), st); err == nil {
			now, err = openSide(ctx, w, f, "after", title+" with the newest statistics", nil)
		}
		return old, now, err
	}
	if now, err = openSide(ctx, w, f, "after", title, nil); err == nil {
		old, err = stored(ctx, w, f, now)
	}
	return old, now, err
}

func openSide(ctx context.Context, w *workspace.Workspace, f *configs.Function, table, title string, st *statistics.Statistics) (*Side, error) {
	from := anyScores
	if st != nil {
		from = fresh
	}
	s, err := open(ctx, w, f, "diff "+table, from, st)
	if err != nil {
		return nil, err
	}
	return &Side{s, title}, nil
}

// statisticsOf reads version n of an embedding's statistics: of the function's own
// where embedding is "".
func statisticsOf(ctx context.Context, w *workspace.Workspace, f *configs.Function, embedding string, n int) (*statistics.Statistics, error) {
	switch names := f.Spaces(); {
	case embedding == "" && len(names) > 1:
		return nil, pipeline.Usagef("function %s searches %s; say whose statistics %d are meant with --embedding", f.Name, f.Space(), n)
	case embedding == "":
		embedding = names[0]
	case !slices.Contains(names, embedding):
		return nil, pipeline.Usagef("function %s searches %s, not %s", f.Name, strings.Join(names, ", "), embedding)
	}
	e, err := w.Embedding(embedding)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	return score.StatisticsAt(ctx, w, l, n)
}

// stored is the side that the workspace has scored, whatever definition that was.
func stored(ctx context.Context, w *workspace.Workspace, f *configs.Function, now *Side) (*Side, error) {
	if now.stale == "" { // the definition of now
		return &Side{now.subject, "what is scored"}, nil
	}
	s := *now.subject
	if s.parts == nil {
		return &Side{&s, "what is scored"}, s.loadStored(ctx, "diff before")
	}
	s.parts = nil
	for _, p := range now.parts {
		part := *p
		if err := part.loadStored(ctx, "diff before in "+p.f.Embedding); err != nil {
			return nil, err
		}
		s.parts = append(s.parts, &part)
	}
	return &Side{&s, "what is scored"}, s.join(ctx, "diff before")
}

// loadStored takes the scores that the workspace has, of whatever version.
func (s *subject) loadStored(ctx context.Context, table string) error {
	snap, err := s.w.Snapshot(ctx, workspace.ScoresRoot(s.f.Embedding))
	if err != nil {
		return err
	}
	if snap.Version < 0 || snap.Schema.Field(s.f.Name) == nil {
		return pipeline.Usagef("function %s was never scored, so there is nothing to compare with; name another file, or a revision with --git", s.f.Name)
	}
	if s.scored, err = score.Stored(ctx, s.w, s.l, snap, s.f.Name, table); err == nil {
		old, err := score.StoredScorer(ctx, s.w, s.l, snap, s.f.Name)
		if err != nil {
			return err
		}
		if s.scored.Scorers[s.f.Name] = s.scorer; old != nil {
			s.scored.Scorers[s.f.Name] = old
		}
	}
	return err
}

// revision reads a function's file as git has it.
func revision(ctx context.Context, w *workspace.Workspace, f *configs.Function, rev string) (*configs.Function, error) {
	if strings.HasPrefix(rev, "-") {
		return nil, pipeline.Usagef("--git %q is no revision", rev)
	}
	var out, fault bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", "-C", f.Dir(), "show", rev+":./"+filepath.Base(f.File))
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, pipeline.Usagef("--git needs the program git")
		}
		return nil, pipeline.Usagef("git show %s: %s", rev, strings.TrimSpace(fault.String()))
	}
	return configs.ParseFunction(f.File, out.Bytes(), w.App.Getenv, w.Config.Definitions...)
}

// Compare measures two sides.
func Compare(ctx context.Context, old, now *Side, k int) (*Differs, error) {
	r := &Differs{Enter: []Moved{}, Leave: []Moved{}}
	r.Name, r.Rule = now.f.Name, now.f.Threshold.String()
	var err error
	if r.Before, err = old.scored.Side(ctx, old.f); err != nil {
		return nil, err
	}
	if r.After, err = now.scored.Side(ctx, now.f); err != nil {
		return nil, err
	}
	if err := r.Change.Compare(ctx, old.scored, now.scored, old.f.Name, now.f.Name); err != nil {
		return nil, err
	}
	r.Kept, r.Entered, r.Left = r.Both, r.After.Matches-r.Both, r.Before.Matches-r.Both
	r.Same = r.Entered == 0 && r.Left == 0 && r.TopCorrelation != nil && *r.TopCorrelation > 1-1e-12
	if r.Enter, err = moved(ctx, old, now, r, true, k); err != nil {
		return nil, err
	}
	r.Leave, err = moved(ctx, old, now, r, false, k)
	return r, err
}

// moved lists rows that enter or leave, those of the highest score first.
func moved(ctx context.Context, old, now *Side, r *Differs, enter bool, k int) ([]Moved, error) {
	in, out, order := "coalesce(n.x >= "+r.After.SQL()+", false)", "coalesce(o.x >= "+r.Before.SQL()+", false)", "n.x"
	if !enter {
		in, out, order = out, in, "o.x"
	}
	list := []Moved{}
	sql := fmt.Sprintf(`SELECT a.asset_id, o.x, n.x, coalesce(a.caption, ''), coalesce(a.text, ''), coalesce(a.uri, ''), coalesce(l.label, '')
		FROM (SELECT asset_id, %[1]s AS x FROM %[2]s) o FULL JOIN (SELECT asset_id, %[3]s AS x FROM %[4]s) n USING (asset_id)
		JOIN assets a USING (asset_id) LEFT JOIN (SELECT asset_id, min(label) AS label FROM labels GROUP BY asset_id) l USING (asset_id)
		WHERE %[5]s AND NOT %[6]s ORDER BY %[7]s DESC, a.asset_id LIMIT %[8]d`,
		old.column(), old.scored.Table, query.Ident(now.f.Name), now.scored.Table, in, out, order, k)
	err := now.scored.DB.Each(ctx, sql, func(scan func(...any) error) error {
		var m Moved
		if err := scan(&m.AssetID, &m.Before, &m.After, &m.Caption, &m.Text, &m.URI, &m.Label); err != nil {
			return err
		}
		if m.Match = enter; m.After != nil {
			m.Score = *m.After
		}
		list = append(list, m)
		return nil
	})
	return list, err
}

// Print shows it to people.
func (r *Differs) Print(out io.Writer) {
	fmt.Fprintf(out, "function %s\n  before  %s\n  after   %s\n\n", r.Name, r.Old, r.New)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  \tbefore\tafter\t")
	fmt.Fprintf(tw, "  at or above\t%s\t%s\t\n", orDash(number(r.Before.Threshold)), orDash(number(r.After.Threshold)))
	fmt.Fprintf(tw, "  matches\t%d of %d\t%d of %d\t\n", r.Before.Matches, r.Before.Rows, r.After.Matches, r.After.Rows)
	tw.Flush()
	fmt.Fprintf(out, "  %d enter, %d leave, %d stay\n", r.Entered, r.Left, r.Kept)
	if r.TopCorrelation != nil {
		fmt.Fprintf(out, "  of the %d highest rows %d stay among them; rank correlation %.3f\n", r.Top, r.TopCommon, *r.TopCorrelation)
	}
	if r.Same {
		fmt.Fprintln(out, "  nothing changes")
	}
	if r.Weightless {
		fmt.Fprintln(out, "  the parts in its embeddings are what is scored; a change of weights alone shows with --git, or with both files")
	}
	for _, part := range []struct {
		title string
		rows  []Moved
	}{{"enter", r.Enter}, {"leave", r.Leave}} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", part.title)
		tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		for _, m := range part.rows {
			note := ""
			if m.Label != "" {
				note = "label " + m.Label
			}
			fmt.Fprintf(tw, "  %s → %s\t%s\t%s\t%s\t\n", orDash(number(m.Before)), orDash(number(m.After)), m.AssetID, m.about(), note)
		}
		tw.Flush()
	}
}

func orDash(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "-"
	}
	return s
}

// WithStatistics compares a function as it is with itself fitted to other
// statistics; nil where that makes no other version. k is how many examples.
func WithStatistics(ctx context.Context, w *workspace.Workspace, f *configs.Function, st *statistics.Statistics, k int) (*Differs, error) {
	old, err := openSide(ctx, w, f, "before", "the statistics of now", nil)
	if err != nil {
		return nil, err
	}
	now, err := openSide(ctx, w, f, "after", "new statistics", st)
	if err != nil || now.scorer.Version == old.scorer.Version {
		return nil, err
	}
	r, err := Compare(ctx, old, now, k)
	if err == nil {
		r.Old, r.New = old.title, now.title
	}
	return r, err
}
