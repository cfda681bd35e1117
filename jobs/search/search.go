// Package search is the search job: the rows nearest to an asset, a text or a
// file, from the newest index or by exact search over the vectors.
package search

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"

	"winnow/configs"
	"winnow/io/index"
	indexjob "winnow/jobs/index"
	"winnow/jobs/internal/job"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/vec"
)

// Cmd is the search command.
type Cmd struct {
	Asset     string `short:"a" help:"Search by an asset of the workspace." placeholder:"ID" xor:"query"`
	Text      string `short:"t" help:"Search by a text." xor:"query" placeholder:"TEXT"`
	File      string `short:"f" help:"Search by an image or text file." type:"existingfile" xor:"query" placeholder:"FILE"`
	Embedding string `short:"e" help:"The embedding to search in. Default: the first that the query fits." placeholder:"NAME"`
	K         int    `short:"k" default:"10" help:"How many rows to show."`
	Exact     bool   `help:"Compare with every vector instead of using the index."`
}

// Help shows examples.
func (*Cmd) Help() string {
	return `Examples:
  winnow search -a food/fruit/apple          the assets most like this one
  winnow search -t "ein roter Apfel"         by a text, in any language of the model
  winnow search -f ./apple.jpg -k 20 --json  by a file, for machines
  winnow search -e clip -t "a red apple"     pictures by a text, where their model has a text_tower

Exit status: 0 done, 1 failed, 2 usage or config.`
}

// Hit is one row of the result.
type Hit struct {
	AssetID string  `json:"asset_id"`
	Score   float32 `json:"score"` // cosine similarity
	URI     string  `json:"uri,omitempty"`
	Caption string  `json:"caption,omitempty"`
}

// Result is what a search found.
type Result struct {
	Query     string `json:"query"`
	Embedding string `json:"embedding"`
	By        string `json:"by"` // exact, or the index's id
	Results   []Hit  `json:"results"`
}

// Run searches and prints.
func (c *Cmd) Run(ctx context.Context, app *job.App) error {
	w, err := workspace.Open(ctx, app)
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := c.Find(ctx, w)
	if err != nil {
		return err
	}
	return app.Print(r, func(out io.Writer) {
		fmt.Fprintf(out, "nearest to %s in embedding %s (%s)\n", r.Query, r.Embedding, r.By)
		tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "  \tcosine\tasset_id\tcaption")
		for i, h := range r.Results {
			fmt.Fprintf(tw, "  %d\t%.4f\t%s\t%s\n", i+1, h.Score, h.AssetID, short(h.Caption, 60))
		}
		tw.Flush()
	})
}

func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// Find searches without printing.
func (c *Cmd) Find(ctx context.Context, w *workspace.Workspace) (*Result, error) {
	e, err := c.embedding(ctx, w)
	if err != nil {
		return nil, err
	}
	l, err := w.Live(ctx, e)
	if err != nil {
		return nil, err
	}
	if l.Rows == 0 {
		return nil, pipeline.Usagef("embedding %s has no rows yet; run: winnow run", e.Name)
	}
	q, name, err := c.vector(ctx, w, e, l)
	if err != nil {
		return nil, err
	}
	r := &Result{Query: name, Embedding: e.Name, By: "exact"}
	k := c.K
	if c.Asset != "" {
		k++ // it finds itself
	}
	if c.Exact {
		r.Results, err = exact(ctx, l, q, k)
	} else {
		r.By, r.Results, err = byIndex(ctx, w, l, q, k)
	}
	if err != nil {
		return nil, err
	}
	if c.Asset != "" {
		for i, h := range r.Results {
			if h.AssetID == c.Asset {
				r.Results = append(r.Results[:i], r.Results[i+1:]...)
				break
			}
		}
	}
	r.Results = r.Results[:min(c.K, len(r.Results))]
	return r, describe(ctx, w, r.Results)
}

// embedding picks the embedding: by name, else the first that the query fits.
func (c *Cmd) embedding(ctx context.Context, w *workspace.Workspace) (configs.Embedding, error) {
	if c.K < 1 {
		return configs.Embedding{}, pipeline.Usagef("-k %d: want at least 1", c.K)
	}
	if c.Asset == "" && c.Text == "" && c.File == "" {
		return configs.Embedding{}, pipeline.Usagef("nothing to search for: give --asset, --text or --file")
	}
	if c.Embedding != "" {
		return w.Embedding(c.Embedding)
	}
	for _, e := range w.Config.Embeddings {
		sp, err := w.Current(ctx, e)
		if err != nil {
			return e, err
		}
		image := sp.Spec.Kind == models.Image
		texts := !image || sp.Spec.TextTower != ""
		switch {
		case c.Asset != "", e.Vectors == nil && c.text() && texts, e.Vectors == nil && !c.text() && image:
			return e, nil
		}
	}
	return configs.Embedding{}, pipeline.Usagef("no embedding of the config takes such a query; a text needs a text model or an image model with a text_tower, a picture an image model")
}

// text reports whether the query is a text.
func (c *Cmd) text() bool { return c.Text != "" || c.File != "" && !imageFile(c.File) }

func imageFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".txt", ".md", ".text":
		return false
	}
	return true
}

// vector makes the query's vector and names it for people.
func (c *Cmd) vector(ctx context.Context, w *workspace.Workspace, e configs.Embedding, l *workspace.Live) ([]float32, string, error) {
	if c.Asset != "" {
		found, err := l.Vectors(ctx, []string{c.Asset})
		if err != nil {
			return nil, "", err
		}
		if v := found[c.Asset]; v != nil {
			return v, fmt.Sprintf("asset %q", c.Asset), nil
		}
		why, err := w.WhyNoVector(ctx, c.Asset, e.Name)
		if err != nil {
			return nil, "", err
		}
		return nil, "", pipeline.Usagef("asset %q has no vector in embedding %s: %s", c.Asset, e.Name, why)
	}
	if c.text() && l.Space.Spec.Kind == models.Image {
		return c.throughTower(ctx, w, l)
	}
	m, err := w.Model(ctx, e.Name)
	if err != nil {
		return nil, "", err
	}
	defer m.Close()
	item, name := pipeline.Item{AssetID: "query", Text: c.Text}, fmt.Sprintf("text %q", c.Text)
	if c.File != "" {
		item, name = pipeline.Item{AssetID: "query", URI: c.File}, fmt.Sprintf("file %q", c.File)
	}
	out, err := embed.Run(ctx, []pipeline.Item{item}, m, localFile{}, embed.Options{})
	if err != nil {
		return nil, "", err
	}
	if len(out.Rejects) > 0 {
		return nil, "", pipeline.Usagef("%s: %s: %s", name, out.Rejects[0].Reason, out.Rejects[0].Error)
	}
	vec.Normalize(out.Vectors, out.Dim)
	return out.Vectors, name, nil
}

// throughTower is the vector of a text among pictures; see score.Tower.
func (c *Cmd) throughTower(ctx context.Context, w *workspace.Workspace, l *workspace.Live) ([]float32, string, error) {
	text, name := c.Text, fmt.Sprintf("text %q", c.Text)
	if c.File != "" {
		data, err := os.ReadFile(c.File)
		if err != nil {
			return nil, "", err
		}
		text, name = string(data), fmt.Sprintf("file %q", c.File)
	}
	st, err := score.LookStatistics(ctx, w, l)
	if err != nil {
		return nil, "", err
	}
	t, err := score.OpenTower(w, l, st)
	if err != nil {
		return nil, "", err
	}
	defer t.Close()
	v, err := t.Vector(ctx, text)
	return v, name, err
}

// localFile reads the file that the user named.
type localFile struct{}

func (localFile) Fetch(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }

// exact compares the query with every live vector. Equal scores are ordered by
// asset_id.
func exact(ctx context.Context, l *workspace.Live, q []float32, k int) ([]Hit, error) {
	var best []Hit
	err := l.Each(ctx, func(ids []string, vectors []float32) error {
		scores := make([]float32, len(ids))
		vec.MulABT(len(ids), 1, l.Dim, vectors, q, scores)
		for i, s := range scores {
			if len(best) == k && s < best[k-1].Score {
				continue
			}
			best = append(best, Hit{AssetID: strings.Clone(ids[i]), Score: s})
			sort.SliceStable(best, func(a, b int) bool {
				if best[a].Score != best[b].Score {
					return best[a].Score > best[b].Score
				}
				return best[a].AssetID < best[b].AssetID
			})
			best = best[:min(k, len(best))]
		}
		return nil
	})
	return best, err
}

// byIndex searches the newest index, and drops rows that are not live any more.
func byIndex(ctx context.Context, w *workspace.Workspace, l *workspace.Live, q []float32, k int) (string, []Hit, error) {
	m, err := indexjob.Newest(ctx, w, l.Embedding.Name, l.Fingerprint)
	if err != nil {
		return "", nil, err
	}
	if m == nil {
		hits, err := exact(ctx, l, q, k)
		return "exact: there is no index yet", hits, err
	}
	if m.ID != indexjob.ID(l) {
		w.App.Log.Sugar().Warnf("index %s of embedding %s is older than its rows; run: winnow index", m.ID, l.Embedding.Name)
	}
	f, err := index.OpenFolder(ctx, w.Store.Sub(workspace.IndexDir(l.Embedding.Name)+"/"+m.ID), w.Cache)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	found, err := f.Search(ctx, q, k)
	if err != nil {
		return "", nil, err
	}
	var ids []string
	for _, h := range found[0] {
		ids = append(ids, h.AssetID)
	}
	live, err := l.ContentHashes(ctx, ids)
	if err != nil {
		return "", nil, err
	}
	var hits []Hit
	for _, h := range found[0] {
		if _, ok := live[h.AssetID]; ok {
			hits = append(hits, Hit{AssetID: h.AssetID, Score: h.Score})
		}
	}
	return "index " + m.ID + ", " + m.Factory, hits, nil
}

// describe adds what the assets table says.
func describe(ctx context.Context, w *workspace.Workspace, hits []Hit) error {
	db, err := w.DB(ctx)
	if err != nil {
		return err
	}
	for i := range hits {
		err := db.Each(ctx, "SELECT coalesce(uri, ''), coalesce(nullif(caption, ''), text, '') FROM assets WHERE asset_id = ?", func(scan func(...any) error) error {
			return scan(&hits[i].URI, &hits[i].Caption)
		}, hits[i].AssetID)
		if err != nil {
			return err
		}
	}
	return nil
}
