package diagnose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/pipeline/task"
)

// mark is the first line of a suggested function's file. It names what was asked
// for, and the rest of the file as winnow wrote it: only a file that nobody has
// changed since is replaced, or removed by the question that it answered.
const mark = "# Suggested by winnow diagnose, which replaces or removes this file unless you change it [%s %s]\n"

var marked = regexp.MustCompile(`^# Suggested by winnow diagnose[^\n]*\[([0-9a-f]{12}) ([0-9a-f]{12})\]\r?\n`)

// question identifies what a run asks: the same one, asked later, may remove the
// suggestions of before.
func (d *diagnosis) question(model string) string {
	h := task.NewHash()
	for _, s := range append([]string{model, d.Where, fmt.Sprint(d.All, d.IgnoreCase, d.MinSupport, d.IoU)}, d.Class...) {
		h.Add(s)
	}
	return h.Sum()[:12]
}

func seal(question, text string) string {
	h := task.NewHash()
	h.Add(text)
	return fmt.Sprintf(mark, question, h.Sum()[:12]) + text
}

// sealed tells whether a file is as winnow diagnose wrote it, and for which question.
func sealed(data []byte) (question string, ok bool) {
	m := marked.FindSubmatch(data)
	if m == nil {
		return "", false
	}
	question = string(m[1])
	return question, seal(question, string(data[len(m[0]):])) == string(data)
}

// save writes the functions, checks them as lint does, and removes those that the
// same question brought earlier and that have no mistakes any more.
func (d *diagnosis) save(model string) error {
	r := d.report
	dir := d.Out
	if !filepath.IsAbs(dir) {
		base, err := filepath.Abs(d.w.App.Globals.Config)
		if err != nil {
			return err
		}
		dir = filepath.Join(filepath.Dir(base), dir)
	}
	if len(r.Functions) > 0 {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("folder for suggested functions: %w; name another with --out", err)
		}
		r.Folder = dir
		d.batches()
	}
	question := d.question(model)
	var matches []string
	for i := range r.Functions {
		f := &r.Functions[i]
		if err := f.encode(); err != nil {
			return err
		}
		f.File = filepath.Join(dir, f.Name+".yaml")
		old, err := os.ReadFile(f.File)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_, ours := sealed(old)
		if f.Kept = err == nil && !ours; f.Kept {
			d.warn("%s is kept: it is not as winnow diagnose writes it", f.File)
		} else if err := os.WriteFile(f.File, []byte(seal(question, f.text)), 0o644); err != nil {
			return err
		}
		if _, err := configs.LoadFunctions(dir, []string{f.File}, d.w.App.Getenv); err != nil {
			return err
		}
		matches = append(matches, f.Name+"_match")
	}
	r.BatchWhere = strings.Join(matches, " OR ")
	return d.clear(dir, question)
}

// clear removes earlier answers to the same question that are none any more. What
// somebody changed stays, and so does what the config still needs; both are said.
func (d *diagnosis) clear(dir, question string) error {
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.yaml"))
	if err != nil {
		return err
	}
	var stale []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		m := marked.FindSubmatch(data)
		if m == nil || string(m[1]) != question || slices.ContainsFunc(d.report.Functions, func(s Suggestion) bool { return s.File == file }) {
			continue
		}
		if _, ours := sealed(data); !ours {
			d.warn("%s is stale: there are no such mistakes any more; it is kept, for somebody changed it", file)
			continue
		}
		stale = append(stale, file)
	}
	for _, file := range stale {
		why := d.needs(file)
		if why == "" && len(stale) == len(files) && d.loads(file) {
			why = "functions: in the config would find no file"
		}
		if why != "" {
			d.warn("%s is stale: there are no such mistakes any more; it is kept, for %s", file, why)
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		d.report.Removed = append(d.report.Removed, file)
	}
	return nil
}

func escapeGlob(dir string) string {
	return regexp.MustCompile(`[\\*?\[]`).ReplaceAllString(dir, `\$0`)
}

// loads tells whether the config names the file.
func (d *diagnosis) loads(file string) bool {
	return slices.ContainsFunc(d.w.Config.Definitions, func(f *configs.Function) bool { return same(f.File, file) })
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// needs says who names a suggested function, by its file or in SQL; "" for nobody.
func (d *diagnosis) needs(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".yaml")
	word := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(name) + `(_match|_pct)?\b`)
	config := d.w.App.Globals.Config
	places := []string{config}
	for _, f := range d.w.Config.Definitions {
		if !same(f.File, file) {
			places = append(places, f.File)
		}
	}
	for _, p := range places {
		data, err := os.ReadFile(p)
		if err == nil && word.Match(data) {
			return filepath.Base(p) + " names it"
		}
	}
	return ""
}
