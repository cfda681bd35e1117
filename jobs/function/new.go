package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"winnow/configs"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/jobs/search"
	"winnow/pipeline"
	"winnow/pipeline/function"
)

// NewCmd is the command function new.
type NewCmd struct {
	Name       string   `arg:"" help:"The function's name: letters, digits and _, a letter first."`
	Embedding  string   `short:"e" help:"The embedding to search in. Default: that of the search, else the config's only one." placeholder:"NAME"`
	Positive   []string `short:"p" help:"Ids of assets to find the like of." placeholder:"ID"`
	Negative   []string `short:"n" help:"Ids of assets that are not meant." placeholder:"ID"`
	Text       []string `short:"t" sep:"none" help:"A text to find, for embeddings of texts and those with a text_tower." placeholder:"TEXT"`
	FromSearch string   `help:"Take the rows nearest to a text, or to an asset by its id." placeholder:"TEXT|ID"`
	K          int      `short:"k" default:"5" help:"How many rows of the search."`
	IDs        string   `name:"ids" type:"existingfile" help:"A file of ids: one a line, or JSON {\"positive\": [ids], \"negative\": [ids]}." placeholder:"FILE"`
	Combine    string   `help:"How the anchors make one score: ${enum}." enum:"lda,mean,max,sum,classifier" default:"lda" placeholder:"lda"`
	Threshold  string   `default:"auto" help:"auto, a number, 'percentile 99.5', 'top 500', 'precision 0.9', or as in YAML." placeholder:"auto"`
	Out        string   `short:"o" help:"The file to write; - is stdout. Default: NAME.yaml where the config has its functions." placeholder:"FILE"`
	Force      bool     `short:"f" help:"Replace the file if there is one."`
}

// Help shows examples.
func (*NewCmd) Help() string {
	return `Writes a function file, with what the examples are as comments, and says what it would match. The ids are looked
up first, all of them; one that is not there is told with the most similar one that is.

Examples:
  winnow function new apples -p fruit-0012,fruit-0340 -n ball-0007
  winnow function new cats --from-search "a cat" -k 5
  winnow function new apples --ids marked.txt --threshold "percentile 99"    the ids copied from a contact sheet
  winnow function new apples -p fruit-0012 -o - | less                       look first

Exit status: 0 done, 1 failed, 2 usage or config (an id that does not exist included).`
}

// Made is what function new did.
type Made struct {
	Name      string        `json:"name"`
	File      string        `json:"file,omitempty"` // "" for stdout
	Text      string        `json:"text"`
	Rule      string        `json:"rule"`
	Threshold *float64      `json:"threshold"`
	Labels    *score.Labels `json:"labels,omitempty"`
	Rows      int64         `json:"rows"`
	Matches   int64         `json:"matches"`
	Problem   string        `json:"problem,omitempty"` // why the threshold has no number yet
	Nearest   []Row         `json:"nearest"`
	Warning   string        `json:"warning,omitempty"`
}

// Run writes the file and says what it would match.
func (c *NewCmd) Run(ctx context.Context, app *job.App) error {
	if what, fix := function.CheckName(c.Name); what != "" {
		return pipeline.Usagef("%s; %s", what, fix)
	}
	w, err := workspace.OpenDraft(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	file, warning, err := c.place(w)
	if err != nil {
		return err
	}
	f, text, err := c.draft(ctx, w, file)
	if err != nil {
		return err
	}
	r, err := look(ctx, w, f)
	if err != nil {
		return unplaced(err)
	}
	r.Text, r.Warning = text, warning
	if c.Out == "-" && !app.JSON {
		_, err := io.WriteString(app.Out, text)
		return err
	}
	if c.Out != "-" {
		r.File = file
		if err := c.write(file, text); err != nil {
			return err
		}
	}
	return app.Print(r, r.Print)
}

// place decides where the file goes, and warns where the config does not look.
func (c *NewCmd) place(w *workspace.Workspace) (file, warning string, err error) {
	dir := filepath.Dir(absolute(w.App.Globals.Config))
	other, twin := w.Config.Function(c.Name)
	switch {
	case c.Out != "" && c.Out != "-":
		file = absolute(c.Out)
	case len(w.Config.Functions) > 0:
		folder := filepath.Dir(strings.TrimPrefix(w.Config.Functions[0], "file://"))
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(dir, folder)
		}
		file = filepath.Join(folder, c.Name+".yaml")
	default:
		file = filepath.Join(dir, "functions", c.Name+".yaml")
	}
	if twin && c.Out != "-" && other.File != file {
		return "", "", pipeline.Usagef("function %s is defined in %s already; choose another name, or replace it with: --out %s --force", c.Name, relative(other.File), relative(other.File))
	}
	if _, err := os.Lstat(file); err == nil && !c.Force && c.Out != "-" {
		return "", "", &pipeline.UsageError{Problems: []pipeline.Problem{{File: relative(file), What: "it exists", Fix: "choose another name or --out, or replace it with --force"}}}
	}
	found := slices.ContainsFunc(w.Config.Functions, func(glob string) bool {
		glob = strings.TrimPrefix(glob, "file://")
		if !filepath.IsAbs(glob) {
			glob = filepath.Join(dir, glob)
		}
		ok, err := filepath.Match(glob, file)
		return err == nil && ok
	})
	if !found && c.Out != "-" {
		warning = fmt.Sprintf("the config does not read this file: add it to functions: in %s", relative(absolute(w.App.Globals.Config)))
	}
	return file, warning, nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// unplaced takes file and line out of the problems of a file that is not there yet.
func unplaced(err error) error {
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		return err
	}
	out := &pipeline.UsageError{}
	for _, p := range usage.Problems {
		out.Problems = append(out.Problems, pipeline.Problem{What: p.What, Fix: p.Fix})
	}
	return out
}

// draft gathers the examples and writes the file's text.
func (c *NewCmd) draft(ctx context.Context, w *workspace.Workspace, file string) (*configs.Function, string, error) {
	pos, neg := c.Positive, c.Negative
	if c.IDs != "" {
		p, n, err := readIDs(c.IDs)
		if err != nil {
			return nil, "", err
		}
		pos, neg = append(pos, p...), append(neg, n...)
	}
	if _, err := w.LoadAssets(ctx); err != nil {
		return nil, "", err
	}
	embedding := c.Embedding
	if c.FromSearch != "" {
		found, in, err := c.search(ctx, w)
		if err != nil {
			return nil, "", err
		}
		pos, embedding = append(pos, found...), in
	}
	if len(pos) == 0 && len(c.Text) == 0 {
		return nil, "", pipeline.Usagef("there is no example of what to find: give --positive, --text, --from-search or --ids")
	}
	if embedding == "" {
		var names []string
		for _, e := range w.Config.Embeddings {
			names = append(names, e.Name)
		}
		if len(names) != 1 {
			return nil, "", pipeline.Usagef("name the embedding to search in: --embedding %s", strings.Join(names, " or "))
		}
		embedding = names[0]
	}
	if _, err := w.Embedding(embedding); err != nil {
		return nil, "", err
	}
	captions, err := captionsOf(ctx, w, append(slices.Clone(pos), neg...))
	if err != nil {
		return nil, "", err
	}
	text := c.yaml(embedding, unique(pos), unique(neg), captions)
	f, err := configs.ParseFunction(file, []byte(text), w.App.Getenv)
	return f, text, unplaced(err)
}

// unique keeps the first of equal ids: a search may find what was given.
func unique(ids []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		twice := seen[id]
		seen[id] = true
		return twice
	})
}

// search finds the ids nearest to a text or an asset, the asset itself first.
func (c *NewCmd) search(ctx context.Context, w *workspace.Workspace) (ids []string, embedding string, err error) {
	if c.K < 1 {
		return nil, "", pipeline.Usagef("-k %d: want at least 1", c.K)
	}
	db, err := w.DB(ctx)
	if err != nil {
		return nil, "", err
	}
	n, err := db.Int(ctx, "SELECT count(*) FROM assets WHERE asset_id = ?", c.FromSearch)
	if err != nil {
		return nil, "", err
	}
	q := search.Query{Text: c.FromSearch}
	if n > 0 {
		q, ids = search.Query{Asset: c.FromSearch}, []string{c.FromSearch}
	}
	r, err := search.Find(ctx, w, search.Request{Queries: []search.Query{q}, Embedding: c.Embedding, K: c.K, CapK: true})
	if err != nil {
		return nil, "", err
	}
	for _, h := range r.Results {
		ids = append(ids, h.AssetID)
	}
	return ids[:min(c.K, len(ids))], r.Embedding, nil
}

const maxIDs = 64 << 20 // bytes of a file of ids

// readIDs reads one id a line, or JSON: a list of ids, or an object of lists.
func readIDs(path string) (positive, negative []string, err error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxIDs+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	bad := func(what, fix string) error {
		return &pipeline.UsageError{Problems: []pipeline.Problem{{File: relative(path), What: what, Fix: fix}}}
	}
	if len(data) > maxIDs {
		return nil, nil, bad(fmt.Sprintf("it has more than %d bytes", maxIDs), "name fewer ids")
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
	const forms = `write one id a line, or {"positive": ["id"], "negative": ["id"]}`
	switch {
	case strings.HasPrefix(text, "["):
		if err := json.Unmarshal([]byte(text), &positive); err != nil {
			return nil, nil, bad("it is no JSON list of ids: "+err.Error(), forms)
		}
	case strings.HasPrefix(text, "{"):
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var both struct{ Positive, Negative []string }
		if err := d.Decode(&both); err != nil {
			return nil, nil, bad("it is no JSON selection of ids: "+err.Error(), forms)
		}
		positive, negative = both.Positive, both.Negative
	default:
		for line := range strings.Lines(text) {
			if id := strings.TrimRight(line, "\r\n"); strings.TrimSpace(id) != "" {
				positive = append(positive, id)
			}
		}
	}
	if len(positive)+len(negative) == 0 {
		return nil, nil, bad("it names no id", forms)
	}
	return positive, negative, nil
}

// yaml is the file's text.
func (c *NewCmd) yaml(embedding string, pos, neg []string, captions map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by winnow function new. `winnow function show %s` says what it finds.\n", c.Name)
	fmt.Fprintf(&b, "name: %s\nembedding: %s\nanchors:\n  positive:\n", c.Name, embedding)
	for _, t := range c.Text {
		fmt.Fprintf(&b, "    - text: %s\n", scalar(t))
	}
	asset := func(id string) {
		line := "    - asset: " + scalar(id)
		if s := captions[id]; s != "" {
			line += " # " + s
		}
		b.WriteString(line + "\n")
	}
	for _, id := range pos {
		asset(id)
	}
	if len(neg) > 0 {
		b.WriteString("  negative:\n")
		for _, id := range neg {
			asset(id)
		}
	}
	fmt.Fprintf(&b, "combine: %s\nthreshold: %s\n", c.Combine, threshold(c.Threshold))
	return b.String()
}

var ruleWords = regexp.MustCompile(`^(percentile|top|precision)[ =:]+(\S+)$`)

// threshold writes "percentile 99.5" as YAML has it; all else stands as it is.
func threshold(s string) string {
	s = strings.TrimSpace(s)
	if m := ruleWords.FindStringSubmatch(s); m != nil {
		return "{" + m[1] + ": " + m[2] + "}"
	}
	return s
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// scalar writes a text so that YAML reads it back, quoted where it might be taken
// for something else. ${ would be an environment variable.
func scalar(s string) string {
	s = strings.ReplaceAll(s, "${", "$${")
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plain.MatchString(s) {
			return s
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always JSON
	return strings.TrimSuffix(b.String(), "\n")
}

func (c *NewCmd) write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(file, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return pipeline.Usagef("%s was made by somebody else meanwhile; run again", relative(file))
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return errors.Join(err, out.Close())
}

// look scores a draft and says what it would match.
func look(ctx context.Context, w *workspace.Workspace, f *configs.Function) (*Made, error) {
	s, err := open(ctx, w, f, "function "+f.Name, fresh, nil)
	if err != nil {
		return nil, err
	}
	r := &Made{Name: f.Name, Rule: f.Threshold.String(), Rows: s.scored.Rows}
	cut, err := score.Threshold(ctx, s.scored.DB, f, s.scored.Table)
	var usage *pipeline.UsageError
	if errors.As(err, &usage) { // labels may come
		r.Problem, cut = usage.Problems[0].String(), score.Cut{}
	} else if err != nil {
		return nil, err
	} else {
		r.Threshold, r.Labels = cut.Finite(), cut.Labels
		if _, r.Matches, err = s.count(ctx, cut); err != nil {
			return nil, err
		}
	}
	r.Nearest, err = s.rows(ctx, cut, s.notAnchors(), "p.x DESC", 5)
	return r, err
}

// Print says it to people.
func (r *Made) Print(out io.Writer) {
	if r.File != "" {
		fmt.Fprintf(out, "wrote %s\n", relative(r.File))
	}
	switch {
	case r.Problem != "":
		fmt.Fprintf(out, "it has no threshold yet: %s\n", r.Problem)
	case r.Threshold == nil:
		fmt.Fprintf(out, "it would match none of %d rows (%s)\n", r.Rows, r.Rule)
	default:
		fmt.Fprintf(out, "it would match %d of %d rows, at or above %.4g (%s)\n", r.Matches, r.Rows, *r.Threshold, r.Rule)
	}
	if r.Labels != nil {
		fmt.Fprintln(out, r.Labels)
	}
	if len(r.Nearest) > 0 {
		fmt.Fprintln(out, "the nearest rows, without the anchors")
		printRows(out, r.Nearest)
	}
	if r.Warning != "" {
		fmt.Fprintln(out, r.Warning)
	}
	if r.File != "" {
		fmt.Fprintf(out, "next: winnow function show %s   winnow run\n", map[bool]string{true: r.Name, false: relative(r.File)}[r.Warning == ""])
	}
}
