package duplicates

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"winnow/io/manifest"
	"winnow/io/query"
	"winnow/jobs/internal/sheet"
	"winnow/jobs/internal/workspace"
)

// shown is the number of groups that the table shows.
const shown = 50

// Line is a row of the files.
type Line struct {
	AssetID  string  `json:"asset_id" parquet:"asset_id,zstd"`
	Version  string  `json:"version" parquet:"version,zstd"`
	Group    int64   `json:"group" parquet:"group"` // from 1, the largest group first
	Rows     int64   `json:"rows" parquet:"rows"`   // of the group
	Keep     bool    `json:"keep" parquet:"keep"`
	Of       string  `json:"of" parquet:"of,zstd"` // the row that stays for it; its own id where it stays
	Distance float64 `json:"distance" parquet:"distance"`
	Same     bool    `json:"same_content" parquet:"same_content"` // as that row's
}

func (r *Result) lines(dropped bool) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for i, g := range r.groups {
			for k := range g {
				m := &g[k]
				if dropped && m.keep {
					continue
				}
				if !yield(Line{m.id, m.version, int64(i + 1), int64(len(g)), m.keep, g[m.of].id, max(1-float64(m.cosine), 0), !m.keep && m.same(g)}) {
					return
				}
			}
		}
	}
}

// formOf is how a file of this name is written; "" for a name that says nothing.
func formOf(path string, ids bool) string {
	switch e := strings.ToLower(filepath.Ext(path)); e {
	case ".csv", ".jsonl", ".parquet":
		return e
	case ".ndjson":
		return ".jsonl"
	case ".txt":
		if ids {
			return e
		}
	}
	return ""
}

// write writes the files that were asked for.
func (c *Cmd) write(ctx context.Context, w *workspace.Workspace, r *Result) error {
	for _, f := range []struct {
		path    string
		dropped bool
	}{{c.Out, false}, {c.Drop, true}} {
		if f.path == "" {
			continue
		}
		err := save(f.path, func(out io.Writer) error { return writeLines(out, formOf(f.path, f.dropped), r.lines(f.dropped)) })
		if err != nil {
			return err
		}
		r.Files = append(r.Files, f.path)
	}
	r.dropped = c.Drop
	if c.HTML == "" {
		return nil
	}
	r.Files = append(r.Files, c.HTML)
	return save(c.HTML, func(out io.Writer) error { return r.page(ctx, w, out) })
}

// save writes a file beside its place first: one that is cut off never stands there.
func save(path string, fn func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".winnow-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	out := bufio.NewWriterSize(f, 1<<20)
	if err = fn(out); err == nil {
		err = out.Flush()
	}
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeLines(out io.Writer, form string, lines iter.Seq[Line]) error {
	switch form {
	case ".jsonl":
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		for l := range lines {
			if err := e.Encode(l); err != nil {
				return err
			}
		}
	case ".txt":
		for l := range lines {
			if _, err := io.WriteString(out, l.AssetID+"\n"); err != nil {
				return err
			}
		}
	case ".csv":
		c := csv.NewWriter(out)
		_ = c.Write([]string{"asset_id", "version", "group", "rows", "keep", "of", "distance", "same_content"})
		for l := range lines {
			_ = c.Write([]string{l.AssetID, l.Version, strconv.FormatInt(l.Group, 10), strconv.FormatInt(l.Rows, 10), strconv.FormatBool(l.Keep), l.Of,
				strconv.FormatFloat(l.Distance, 'g', 8, 64), strconv.FormatBool(l.Same)})
		}
		c.Flush()
		return c.Error()
	case ".parquet":
		w := parquet.NewGenericWriter[Line](out, parquet.CreatedBy("winnow", "1", "0"), parquet.MaxRowsPerRowGroup(128<<10))
		for l := range lines {
			if _, err := w.Write([]Line{l}); err != nil {
				return err
			}
		}
		return w.Close()
	}
	return nil
}

// Print shows the largest groups.
func (r *Result) Print(out io.Writer) {
	n := manifest.Thousands
	fmt.Fprintf(out, "%s of %s rows can go: %s groups of %s rows within a distance of %g in %s", n(r.Drop), n(r.Rows), n(int64(r.Groups)), n(r.Grouped), r.Distance, r.Embedding)
	if r.PHash != nil {
		fmt.Fprintf(out, ", or %d bits of their difference hashes", *r.PHash)
	}
	fmt.Fprintf(out, " (%s with the same content)\n", n(r.Same))
	if r.Chains > 0 {
		fmt.Fprintf(out, "%s groups are chains, of which more than one row stays: their ends are further apart than the distance\n", n(int64(r.Chains)))
	}
	if r.Recall < 1 {
		fmt.Fprintf(out, "neighbours are from %s, which finds %.3f of them\n", r.By, r.Recall)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", note)
	}
	for i, g := range r.Largest {
		if i == 0 {
			fmt.Fprintf(out, "\n  group  rows  stays (%s) → goes\n", r.Keep)
		}
		fmt.Fprintf(out, "  %5d  %4d  %s → %s\n", g.Number, g.Rows, some(g.Keep, 3), some(g.Drop, 4))
	}
	if left := r.Groups - len(r.Largest); left > 0 {
		fmt.Fprintf(out, "  … and %s more groups; --out FILE lists all\n", n(int64(left)))
	}
	for i, f := range r.Files {
		if i == 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "written: %s\n", f)
	}
	if r.dropped != "" {
		fmt.Fprintf(out, "to leave them out of a batch: exclude: [{ids: %q}]\n", r.dropped)
	}
}

// some is the first of a few names.
func some(names []string, most int) string {
	if len(names) == 0 {
		return "nothing"
	}
	s := strings.Join(names[:min(most, len(names))], " ")
	if len(names) > most {
		s += " …"
	}
	return s
}

// page writes the groups as a page.
func (r *Result) page(ctx context.Context, w *workspace.Workspace, out io.Writer) error {
	p := &sheet.Page{Kind: "duplicates", Title: fmt.Sprintf("%s groups, %s rows can go", manifest.Thousands(int64(r.Groups)), manifest.Thousands(r.Drop)),
		Lead:  fmt.Sprintf("within a cosine distance of %g in %s", r.Distance, r.Embedding),
		Notes: r.Notes, Sections: r.sections(ctx, w),
		Facts: []sheet.Line{{Name: "rows", Value: manifest.Thousands(r.Rows)}, {Name: "neighbours", Value: r.By}, {Name: "stays", Value: r.Keep}, {Name: "winnow", Value: w.App.Version}}}
	_, err := sheet.Write(ctx, out, p, w.ThumbOf, sheet.Options{})
	return err
}

const (
	pageGroups = 500 // on a page
	pageRows   = 60  // of one group
)

// sections are the groups, the largest first.
func (r *Result) sections(ctx context.Context, w *workspace.Workspace) iter.Seq2[*sheet.Section, error] {
	return func(yield func(*sheet.Section, error) bool) {
		for i, g := range r.groups {
			if i == pageGroups {
				yield(&sheet.Section{Title: fmt.Sprintf("%s more groups", manifest.Thousands(int64(len(r.groups)-i))), Note: "--out FILE lists all."}, nil)
				return
			}
			s := &sheet.Section{Title: fmt.Sprintf("Group %d: %s rows", i+1, manifest.Thousands(int64(len(g))))}
			part := g[:min(len(g), pageRows)]
			if len(part) < len(g) {
				s.Note = fmt.Sprintf("The first %d.", len(part))
			}
			err := r.cards(ctx, w, g, part, s)
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

func (r *Result) cards(ctx context.Context, w *workspace.Workspace, g, part []member, s *sheet.Section) error {
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, len(part))
	at := map[string]int{}
	for i, m := range part {
		ids[i], at[m.id] = m.id, i
	}
	s.Cards = make([]sheet.Card, len(part))
	err = db.Each(ctx, "SELECT asset_id, coalesce(uri, ''), coalesce(text, ''), coalesce(caption, ''), coalesce(media_type, '') FROM assets WHERE asset_id IN "+query.Literals(ids), func(scan func(...any) error) error {
		var c sheet.Card
		if err := scan(&c.ID, &c.URI, &c.Text, &c.Caption, &c.MediaType); err != nil {
			return err
		}
		s.Cards[at[c.ID]] = c
		return nil
	})
	for i := range part {
		m, c := &part[i], &s.Cards[i]
		if m.keep {
			c.Badge = "stays"
			continue
		}
		c.Quiet, c.Score = true, fmt.Sprintf("%.4f", max(1-float64(m.cosine), 0))
		c.Lines = append(c.Lines, sheet.Line{Name: "of", Value: g[m.of].id})
		if m.same(g) {
			c.Lines = append(c.Lines, sheet.Line{Name: "content", Value: "the same"})
		}
	}
	return err
}
