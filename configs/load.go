package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"winnow/pipeline"
	"winnow/pipeline/function"
)

// Check looks at a config that is decoded, for what this package cannot know:
// whether a model exists, whether SQL parses. It runs even when other problems
// were found, so it must take empty values as they come.
type Check func(c *Config) []pipeline.Problem

// Load reads a config and its function files, and checks all of it. env looks
// up environment variables (nil: there are none). When anything is wrong the
// error is a *pipeline.UsageError with every problem, sorted by place.
func Load(path string, env func(string) (string, bool), checks ...Check) (*Config, error) {
	return load(path, env, false, checks)
}

// LoadDraft is Load for those who are about to write a function file: a glob of
// functions that finds none is no fault.
func LoadDraft(path string, env func(string) (string, bool), checks ...Check) (*Config, error) {
	return load(path, env, true, checks)
}

func load(path string, env func(string) (string, bool), draft bool, checks []Check) (*Config, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	data, err := readFile(abs)
	if err != nil {
		return nil, unreadable(shorten(abs), err, "make one with: winnow init, or name another with --config")
	}
	c, problems := decodeConfig(shorten(abs), filepath.Dir(abs), data, env, draft)
	for _, check := range checks {
		problems = append(problems, check(c)...)
	}
	if len(problems) > 0 {
		sortProblems(problems, c.File)
		return nil, &pipeline.UsageError{Problems: problems}
	}
	return c, nil
}

// readFile reads a file up to a byte beyond what parse takes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// unreadable is a usage error where the user can mend it by naming another
// file, and a plain error otherwise.
func unreadable(path string, err error, fix string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: "there is no such file", Fix: fix}}}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: "it cannot be read: " + err.Error(), Fix: "name a file that this user may read"}}}
}

// decodeConfig does the work of Load but for the reading of the config file.
func decodeConfig(file, dir string, data []byte, env func(string) (string, bool), draft bool) (*Config, []pipeline.Problem) {
	c := &Config{Env: map[string]string{}}
	lookup := env
	env = func(name string) (string, bool) {
		v, ok := lookup(name)
		if ok {
			c.Env[name] = v
		}
		return v, ok
	}
	d := decodeFile(file, data, env, configSchema(), c)
	c.File, c.marks = file, d.marks
	if len(d.marks) <= 1 { // nothing was read
		return c, d.problems
	}
	k := &checker{c: c, dir: dir, problems: d.problems, told: d.told, draft: draft}
	k.inherit()
	k.addresses()
	k.functions(env)
	k.names()
	k.batches()
	return c, k.problems
}

// LoadFunctions reads function files by themselves, without a config: paths and
// globs relative to dir. It checks all that the files alone can tell. bases are
// other functions that they may be like.
func LoadFunctions(dir string, globs []string, env func(string) (string, bool), bases ...*Function) ([]*Function, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	var problems []pipeline.Problem
	var all []*Function
	seen := map[string]bool{}
	for _, g := range globs {
		files, problem := expandGlob(dir, g)
		if problem != nil {
			problems = append(problems, pipeline.Problem{What: problem.what, Fix: problem.fix})
		}
		for _, f := range files {
			if !seen[f] {
				seen[f] = true
				fn, more := readFunction(f, env)
				all, problems = append(all, fn), append(problems, more...)
			}
		}
	}
	problems = append(problems, twins(all)...)
	problems = append(problems, derive(all, bases, len(problems) > 0)...)
	if len(problems) > 0 {
		sortProblems(problems, "")
		return nil, &pipeline.UsageError{Problems: problems}
	}
	return all, nil
}

// expandGlob lists the files that a path or glob names, sorted.
func expandGlob(dir, glob string) ([]string, *fault) {
	if strings.Contains(glob, "://") && !strings.HasPrefix(glob, "file://") {
		return nil, &fault{fmt.Sprintf("functions are read from local files, and %q is none", glob), "write a path such as functions/*.yaml"}
	}
	path, f := localPath(dir, glob)
	if f != nil {
		return nil, f
	}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return nil, &fault{fmt.Sprintf("%q is a folder", glob), "write " + strings.TrimSuffix(glob, "/") + "/*.yaml"}
	case err == nil:
		return []string{path}, nil
	case strings.Contains(glob, "**"):
		return nil, &fault{fmt.Sprintf("%q has a **, which is not known here", glob), "name each folder: [a/*.yaml, b/*.yaml]"}
	}
	if path, f = localPath(globMeta.Replace(dir), glob); f != nil {
		return nil, f
	}
	found, err := filepath.Glob(path)
	if err != nil {
		return nil, &fault{fmt.Sprintf("the pattern %q is damaged", glob), "close its brackets"}
	}
	files := slices.DeleteFunc(found, func(p string) bool {
		info, err := os.Stat(p)
		return err == nil && info.IsDir()
	})
	if len(files) == 0 {
		return nil, &fault{noFile + fmt.Sprintf("%q", glob), "write a path or glob relative to the config file, or delete the line"}
	}
	return files, nil
}

// noFile begins the fault of a glob that finds nothing.
const noFile = "no file fits "

// globMeta keeps the characters of a folder's name from being taken for a glob's.
var globMeta = strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`)

// readFunction reads and checks one function file.
func readFunction(file string, env func(string) (string, bool)) (*Function, []pipeline.Problem) {
	data, err := readFile(file)
	if err != nil {
		var usage *pipeline.UsageError
		errors.As(unreadable(shorten(file), err, ""), &usage)
		return &Function{Definition: &function.Definition{}, File: file}, usage.Problems
	}
	return decodeFunction(file, data, env)
}

// ParseFunction reads a function from what a file holds, or is to hold: file is an
// absolute path, which errors name and relative anchors begin at. bases are other
// functions that it may be like.
func ParseFunction(file string, data []byte, env func(string) (string, bool), bases ...*Function) (*Function, error) {
	fn, problems := decodeFunction(file, data, env)
	problems = append(problems, derive([]*Function{fn}, bases, false)...)
	if len(problems) > 0 {
		return nil, &pipeline.UsageError{Problems: problems}
	}
	return fn, nil
}

func decodeFunction(file string, data []byte, env func(string) (string, bool)) (*Function, []pipeline.Problem) {
	fn := &Function{Definition: &function.Definition{}, File: file}
	d := decodeFile(shorten(file), data, env, functionSchema(), fn.Definition)
	fn.marks = d.marks
	if len(d.marks) <= 1 {
		return fn, d.problems
	}
	if s := functionSchema(); !fn.said("$.like") {
		if !fn.said("$.embedding") && !fn.said("$.combine_over") {
			d.missing(s, "$", "embedding")
		}
		if !fn.said("$.anchors") {
			d.missing(s, "$", "anchors")
		} else if !fn.said("$.anchors.positive") {
			d.missing(prop(s, "anchors"), "$.anchors", "positive")
		}
	}
	// The decoder has reported what is absent or of the wrong kind; Validate sees
	// the same as empty.
	for _, f := range fn.Validate() {
		if !tells(d.told, f.Path) {
			d.problem(f.Path, d.marks.find(f.Path), f.What, f.Fix)
		}
	}
	return fn, d.problems
}

// shorten shows a path relative to the working directory where that is shorter.
func shorten(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// twins reports functions of one name. SQL takes no notice of case.
func twins(all []*Function) (problems []pipeline.Problem) {
	first := map[string]*Function{}
	for _, f := range all {
		key := strings.ToLower(f.Name)
		if key == "" {
			continue
		}
		if before := first[key]; before != nil {
			problems = append(problems, f.Problem("$.name", fmt.Sprintf("the function %s is defined in %s too", f.Name, shorten(before.File)), "give one of them another name"))
			continue
		}
		first[key] = f
	}
	return problems
}

// Problem is a finding about the value at path, such as "$.batches[0].where", in
// the config file.
func (c *Config) Problem(path, what, fix string) pipeline.Problem {
	return c.marks.problem(c.File, path, what, fix)
}

// ProblemWithin is a finding at a line and column (from 1) of the text at path,
// such as a condition. It points at the text as a whole where the place is not
// known or the text does not stand as it was written.
func (c *Config) ProblemWithin(path string, line, column int, what, fix string) pipeline.Problem {
	p := c.marks.find(path).within(line, column)
	return pipeline.Problem{File: c.File, Line: p.line, Column: p.column, What: what, Fix: fix}
}

// Problem is a finding about the value at path, such as "$.anchors.positive[2]",
// in the function's file.
func (f *Function) Problem(path, what, fix string) pipeline.Problem {
	f, path = f.placed(path)
	return f.marks.problem(shorten(f.File), path, what, fix)
}

// Dir is the folder that the function's relative anchors resolve against.
func (f *Function) Dir() string { return filepath.Dir(f.File) }

func (m marks) problem(file, path, what, fix string) pipeline.Problem {
	p := m.find(path) // zero for a config that came back from JSON
	return pipeline.Problem{File: file, Line: p.line, Column: p.column, What: what, Fix: fix}
}

// sortProblems orders problems by file, as first met after the named one, and by
// place.
func sortProblems(ps []pipeline.Problem, first string) {
	order := map[string]int{first: 0}
	for _, p := range ps {
		if _, ok := order[p.File]; !ok {
			order[p.File] = len(order)
		}
	}
	slices.SortStableFunc(ps, func(a, b pipeline.Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Embedding returns the embedding of a name.
func (c *Config) Embedding(name string) (Embedding, bool) {
	for _, e := range c.Embeddings {
		if e.Name == name {
			return e, true
		}
	}
	return Embedding{}, false
}

// Function returns the function of a name.
func (c *Config) Function(name string) (*Function, bool) {
	for _, f := range c.Definitions {
		if f.Name == name {
			return f, true
		}
	}
	return nil, false
}
