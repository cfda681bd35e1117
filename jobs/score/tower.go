package score

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/sbinet/npyio"

	"winnow/jobs/internal/workspace"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/function"
)

// captionFile are plain captions of all sorts of pictures, one a line. Their mean is
// what texts of a tower have in common whatever they say. A change of the file is a
// new version of every function with a text anchor.
//
//go:embed captions.txt
var captionFile string

// captions are the lines of captionFile and a hash of them.
var captions = sync.OnceValues(func() ([]string, string) {
	return strings.Split(strings.TrimSpace(captionFile), "\n"), hash([]byte(captionFile))[:16]
})

// Tower finds where texts stand among the pictures of an embedding, by the model
// that the embedding's spec names as its text_tower.
//
// Pictures and texts of a model such as CLIP lie in two narrow cones that are
// further apart than the meanings within each ("modality gap", Liang et al.,
// NeurIPS 2022): a text's vector t is no point among pictures. What it says is in
// how it differs from other texts. So with
//
//	m  the mean of the tower's unit vectors of the captions that winnow ships
//	μ  the mean of the embedding's unit rows, from its corpus statistics
//
// the text stands at
//
//	a = μ + s·(t − m),   s > 0 such that |a| = 1
//
// which is a unit vector as the rows are, and whose difference from the corpus'
// mean, all that lda reads, has exactly the direction of t − m. The length s
// gives a text the weight of a picture, however narrow the texts' cone is.
type Tower struct {
	w     *workspace.Workspace
	l     *workspace.Live // the pictures
	spec  *models.Spec
	st    *function.Statistics
	model *models.Model // nil until a vector is asked for
	mean  []float64     // m
}

// OpenTower returns the tower of an image embedding. An embedding without one is a
// *pipeline.UsageError. Nothing is loaded before Vector.
func OpenTower(w *workspace.Workspace, l *workspace.Live, st *function.Statistics) (*Tower, error) {
	spec, err := w.TowerSpec(l.Space)
	if err != nil {
		return nil, err
	}
	return &Tower{w: w, l: l, spec: spec, st: st}, nil
}

// CheckTowers makes sure that the towers of all functions with text anchors among
// pictures are there, before hours are spent on the pictures.
func CheckTowers(ctx context.Context, w *workspace.Workspace) error {
	for _, f := range w.Config.Definitions {
		if !slices.ContainsFunc(all(f), func(a function.Anchor) bool { return a.Text != "" }) {
			continue
		}
		if len(f.CombineOver) > 0 { // its texts go where they have a place
			continue
		}
		e, err := w.Embedding(f.Embedding)
		if err != nil {
			return err
		}
		s, err := w.Current(ctx, e)
		if err != nil {
			return err
		}
		if s.Spec.Kind != models.Image {
			continue
		}
		if _, err := w.TowerSpec(s); err != nil {
			return fmt.Errorf("function %s: %w", f.Name, err)
		}
	}
	return nil
}

// Close frees the model.
func (t *Tower) Close() error {
	if t.model == nil {
		return nil
	}
	err := t.model.Close()
	t.model = nil
	return err
}

// Hash changes with everything that decides where a text stands: the text, the
// tower, the captions and the statistics.
func (t *Tower) Hash(text string) string {
	_, sum := captions()
	return hash([]byte(strings.Join([]string{"text tower 1", t.spec.Fingerprint(), sum, t.st.ID, text}, "\x00")))
}

// Vector is where a text stands: a unit vector of the embedding's length.
func (t *Tower) Vector(ctx context.Context, text string) ([]float32, error) {
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	vectors, err := t.embed(ctx, []string{text})
	if err != nil {
		return nil, err
	}
	return stand(t.st.Mean, t.mean, vectors)
}

// stand puts a text's vector among pictures; see Tower.
func stand(mu, mean []float64, vector []float32) ([]float32, error) {
	t := make([]float64, len(vector))
	n := 0.0
	for _, x := range vector {
		n += float64(x) * float64(x)
	}
	var dd, md, mm float64
	for i, x := range vector {
		t[i] = float64(x)/math.Sqrt(n) - mean[i]
		dd += t[i] * t[i]
		md += mu[i] * t[i]
		mm += mu[i] * mu[i]
	}
	if !(dd > 1e-12) {
		return nil, fmt.Errorf("the text's vector does not differ from the mean of all texts")
	}
	// |μ + s·d| = 1: the positive root, as μ lies within the unit sphere.
	s := (-md + math.Sqrt(max(md*md+dd*(1-mm), 0))) / dd
	out := make([]float32, len(t))
	for i := range t {
		out[i] = float32(mu[i] + s*t[i])
	}
	return out, nil
}

// load opens the model, and reads or makes the captions' mean.
func (t *Tower) load(ctx context.Context) (err error) {
	if t.model != nil {
		return nil
	}
	if t.model, err = t.w.OpenModel(t.spec); err != nil {
		return fmt.Errorf("text tower of embedding %s: %w", t.l.Embedding.Name, err)
	}
	lines, sum := captions()
	key := workspace.StatsDir(t.l.Embedding.Name, t.l.Fingerprint) + "/captions-" + t.spec.Fingerprint() + "-" + sum + ".npy"
	if t.mean, err = t.kept(ctx, key); err == nil || !t.w.Objects().Missing(err) {
		return err
	}
	vectors, err := t.embed(ctx, lines)
	if err != nil {
		return fmt.Errorf("the captions that winnow ships: %w", err)
	}
	t.mean = meanOfUnits(vectors, t.spec.Dim)
	var b bytes.Buffer
	if err := npyio.Write(&b, t.mean); err != nil {
		return err
	}
	created, err := t.w.Store.CreateAll(ctx, key, b.Bytes())
	switch {
	case err != nil: // it saves the next one's time, no more
		t.w.App.Log.Sugar().Debugf("the mean of the captions was not kept: %v", err)
	case !created: // another run was faster: its numbers count
		t.mean, err = t.kept(ctx, key)
		return err
	}
	return nil
}

func (t *Tower) kept(ctx context.Context, key string) (mean []float64, err error) {
	data, err := t.w.Store.Read(ctx, key, maxFitted)
	if err != nil {
		return nil, err
	}
	if err = npyio.Read(bytes.NewReader(data), &mean); err == nil && len(mean) != t.spec.Dim {
		err = fmt.Errorf("has %d numbers, not %d", len(mean), t.spec.Dim)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; delete it", key, err)
	}
	return mean, nil
}

// embed runs texts through the tower.
func (t *Tower) embed(ctx context.Context, texts []string) ([]float32, error) {
	items := make([]pipeline.Item, len(texts))
	for i, s := range texts {
		items[i] = pipeline.Item{AssetID: fmt.Sprint(i), Text: s}
	}
	out, err := embed.Run(ctx, items, t.model, fetchFunc(nil), embed.Options{})
	if err != nil {
		return nil, err
	}
	if len(out.Rejects) > 0 {
		return nil, fmt.Errorf("%s: %s", out.Rejects[0].Reason, out.Rejects[0].Error)
	}
	return out.Vectors, nil
}

// meanOfUnits is the mean of rows of dim numbers, each scaled to length 1.
func meanOfUnits(rows []float32, dim int) []float64 {
	mean := make([]float64, dim)
	n := len(rows) / dim
	for r := range n {
		row := rows[r*dim : (r+1)*dim]
		s := 0.0
		for _, x := range row {
			s += float64(x) * float64(x)
		}
		for i, x := range row {
			mean[i] += float64(x) / math.Sqrt(s) / float64(n)
		}
	}
	return mean
}
