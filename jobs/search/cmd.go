// Package search is the search job: the rows nearest to assets, texts, files and
// vectors, or with the highest scores of a function; from the newest index and the
// rows that it lacks, or by comparing with all.
package search

import (
	"context"

	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
)

// Cmd is the search command.
type Cmd struct {
	Assets   []string `name:"asset" short:"a" sep:"none" help:"Search by an asset of the workspace. Several examples count as their mean." placeholder:"ID"`
	Texts    []string `name:"text" short:"t" sep:"none" help:"Search by a text." placeholder:"TEXT"`
	Files    []string `name:"file" short:"f" sep:"none" help:"Search by a picture or a text: a path, or a URI that a source allows." placeholder:"FILE"`
	Vectors  []string `name:"vector" sep:"none" help:"Search by a vector: a .npy file, or JSON with a list of numbers." placeholder:"FILE"`
	Not      []string `sep:"none" help:"An asset that is not meant, beside what is." placeholder:"ID"`
	NotTexts []string `name:"not-text" sep:"none" help:"A text that is not meant, beside what is." placeholder:"TEXT"`
	Function string   `help:"The highest scores of a function: its name, or its file." placeholder:"NAME"`
	Queries  string   `help:"One search a row of a file: .jsonl, .csv, .parquet (columns asset, text, file or vector, and id), .npy of vectors, or .txt with a text a line. Prints JSON Lines." placeholder:"FILE"`

	Embedding string   `short:"e" help:"The embedding to search in. Default: the first that the query fits." placeholder:"NAME"`
	K         *int     `short:"k" help:"How many rows to show; 10 without it." placeholder:"10"`
	Where     string   `help:"Only rows that meet a condition, as in a batch." placeholder:"SQL"`
	Exact     bool     `help:"Compare with every vector instead of using the index."`
	Columns   []string `help:"What to show of each row: columns that conditions see, such as label or metadata.camera." placeholder:"NAME,…"`
	CSV       bool     `name:"csv" help:"Print CSV."`
	HTML      string   `name:"html" help:"Write a page with the pictures, too." placeholder:"FILE"`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow search -a food/fruit/apple                  the assets most like this one
  winnow search -t "ein roter Apfel" --html out.html by a text, in any language of the model; a page with pictures
  winnow search -f ./apple.jpg -k 20 --json          by a file, for machines
  winnow search -e clip -t "a red apple"             pictures by a text, where their model has a text_tower
  winnow search -a apple-1 -a apple-2 --not ball-7   between two examples, and away from a third
  winnow search -a apple-1 --where "NOT labeled AND metadata.camera = 'front'" --columns label,metadata.taken
  winnow search --function ripe_apples -k 50 --csv   the highest scores of a function
  winnow search --queries ids.jsonl -k 5 > out.jsonl one search a line, such as {"id": 1, "asset": "apple-1"}

The score is the cosine similarity, from -1 to 1; of a function it is the function's own. The examples themselves are
left out. Removed assets never appear, and new ones do before they are in the index.

Exit status: 0 done, 1 failed, 2 usage or config (an id that does not exist included), 3 some of --queries failed.`
}

// Run searches and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	r, err := c.request(app)
	if err != nil {
		return err
	}
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	if c.Queries != "" {
		return many(ctx, w, r, c.Queries)
	}
	found, err := Find(ctx, w, *r)
	if err != nil {
		return err
	}
	if found.Note != "" {
		app.Log.Sugar().Warn(found.Note)
	}
	if c.HTML != "" {
		if err := found.page(ctx, w, c.HTML); err != nil {
			return err
		}
	}
	return c.print(app, found)
}

// request is what the flags ask for. Everything that is wrong with them alone is told
// before anything is opened.
func (c *Cmd) request(app *job.App) (*Request, error) {
	r := &Request{Function: c.Function, Embedding: c.Embedding, Where: c.Where, Exact: c.Exact, Columns: c.Columns, CapK: c.K == nil, K: 10}
	var wrong pipeline.UsageError
	say := func(what string) { wrong.Problems = append(wrong.Problems, pipeline.Problem{What: what}) }
	if c.K != nil {
		if r.K = *c.K; r.K < 1 {
			say("-k wants at least 1")
		}
	}
	for _, id := range c.Assets {
		r.Queries = append(r.Queries, Query{Asset: id})
	}
	for _, s := range c.Texts {
		r.Queries = append(r.Queries, Query{Text: s})
	}
	for _, f := range c.Files {
		r.Queries = append(r.Queries, Query{File: f})
	}
	for _, f := range c.Vectors {
		v, err := readVector(f)
		if err != nil {
			return nil, err
		}
		r.Queries = append(r.Queries, Query{Vector: v, From: f})
	}
	for _, id := range c.Not {
		r.Queries = append(r.Queries, Query{Asset: id, Not: true})
	}
	for _, s := range c.NotTexts {
		r.Queries = append(r.Queries, Query{Text: s, Not: true})
	}
	c.check(app, r.Queries, say)
	if len(wrong.Problems) > 0 {
		return nil, &wrong
	}
	return r, nil
}

// check says what is wrong with the flags together.
func (c *Cmd) check(app *job.App, queries []Query, say func(what string)) {
	examples := 0
	for _, q := range queries {
		if !q.Not {
			examples++
		}
		if q.Asset == "" && q.Text == "" && q.File == "" && q.Vector == nil {
			say("an empty id, text or file finds nothing")
			break
		}
	}
	ways := 0
	for _, is := range []bool{len(queries) > 0, c.Function != "", c.Queries != ""} {
		if is {
			ways++
		}
	}
	switch {
	case ways == 0:
		say("nothing to search for: give --asset, --text, --file, --vector, --function or --queries")
	case ways > 1:
		say("--function and --queries stand alone, without other examples")
	case len(queries) > 0 && examples == 0:
		say("there is nothing to find beside what is not meant: give --asset, --text, --file or --vector, too")
	}
	if c.Queries != "" && (c.CSV || c.HTML != "") {
		say("--queries prints JSON Lines: leave out --csv and --html")
	}
	if c.CSV && app.JSON {
		say("choose one of --csv and --json")
	}
}
