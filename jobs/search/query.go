package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"winnow/io/manifest"
	"winnow/jobs/internal/workspace"
	"winnow/jobs/score"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/embed"
	"winnow/pipeline/vec"
)

// Query is what to look for; one of Asset, Text, File and Vector is set.
type Query struct {
	Asset  string    `json:"asset,omitempty"`
	Text   string    `json:"text,omitempty"`
	File   string    `json:"file,omitempty"` // a picture or a text: a path, or a URI that a source allows
	Vector []float32 `json:"-"`
	From   string    `json:"vector,omitempty"` // the vector's file
	Not    bool      `json:"not,omitempty"`    // an example of what is not meant
}

// String names the query for people.
func (q Query) String() string {
	s := ""
	switch {
	case q.Asset != "":
		s = fmt.Sprintf("asset %q", q.Asset)
	case q.File != "":
		s = fmt.Sprintf("file %q", q.File)
	case q.Vector != nil:
		s = "a vector"
		if q.From != "" {
			s = fmt.Sprintf("vector %q", q.From)
		}
	default:
		s = fmt.Sprintf("text %q", q.Text)
	}
	if q.Not {
		s = "not " + s
	}
	return s
}

// isText reports whether a text model is needed.
func (q Query) isText() bool { return q.Text != "" || q.File != "" && textFile(q.File) }

func textFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".txt", ".md", ".text":
		return true
	}
	return false
}

// fits reports whether an embedding can take the query.
func (q Query) fits(sp *workspace.Space) bool {
	image, model := sp.Spec.Kind == models.Image, sp.Vectors == nil
	switch {
	case q.Asset != "":
		return true
	case q.Vector != nil:
		return len(q.Vector) == sp.Spec.Dim
	case q.isText():
		return model && (!image || sp.Spec.TextTower != "")
	}
	return model && image
}

// noVectorError says that an asset has no vector in an embedding; another may have.
type noVectorError struct{ *pipeline.UsageError }

func (e noVectorError) Unwrap() error { return e.UsageError }

// resolver finds the vectors of queries. Models are loaded when they are needed first.
type resolver struct {
	w     *workspace.Workspace
	l     *workspace.Live
	model *models.Model
	tower *score.Tower
}

// Close frees the models.
func (r *resolver) Close() error {
	var err error
	if r.model != nil {
		err = r.model.Close()
	}
	if r.tower != nil {
		err = errors.Join(err, r.tower.Close())
	}
	r.model, r.tower = nil, nil
	return err
}

// resolve returns the unit vector of each query, or what is wrong with it.
func (r *resolver) resolve(ctx context.Context, queries []Query) (vectors [][]float32, faults []error, err error) {
	vectors, faults = make([][]float32, len(queries)), make([]error, len(queries))
	var assets, models []int
	for i, q := range queries {
		switch {
		case q.Asset != "":
			assets = append(assets, i)
		case q.Vector != nil:
			vectors[i] = append([]float32(nil), q.Vector...)
		case q.isText() && r.overPictures():
			if vectors[i], err = r.throughTower(ctx, q); err != nil {
				if faults[i] = usage(err); faults[i] == nil {
					return nil, nil, err
				}
			}
		default:
			models = append(models, i)
		}
	}
	if err := r.assets(ctx, queries, assets, vectors, faults); err != nil {
		return nil, nil, err
	}
	if err := r.embed(ctx, queries, models, vectors, faults); err != nil {
		return nil, nil, err
	}
	for i, v := range vectors {
		if faults[i] == nil {
			if err := unit(v, r.l.Dim, r.l.Embedding.Name); err != nil {
				faults[i] = pipeline.Usagef("%s: %v", queries[i], err)
			}
		}
	}
	return vectors, faults, nil
}

func (r *resolver) overPictures() bool {
	return r.l.Space.Spec.Kind == models.Image
}

// unit checks a vector and scales it to length 1.
func unit(v []float32, dim int, embedding string) error {
	if len(v) != dim {
		return fmt.Errorf("it has %d numbers, embedding %s has %d", len(v), embedding, dim)
	}
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("number %d of it is %v", i+1, x)
		}
	}
	n := vec.Norm(v)
	if n == 0 {
		return errors.New("it holds nothing but zeros")
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / n)
	}
	return nil
}

// assets looks up the vectors of assets.
func (r *resolver) assets(ctx context.Context, queries []Query, which []int, vectors [][]float32, faults []error) error {
	if len(which) == 0 {
		return nil
	}
	var ids []string
	for _, i := range which {
		ids = append(ids, queries[i].Asset)
	}
	found, err := r.l.Vectors(ctx, unique(ids))
	if err != nil {
		return err
	}
	for _, i := range which {
		id := queries[i].Asset
		if v := found[id]; v != nil {
			vectors[i] = append([]float32(nil), v...)
			continue
		}
		why, err := r.w.WhyNoVector(ctx, id, r.l.Embedding.Name)
		if err != nil {
			return err
		}
		faults[i] = noVectorError{pipeline.Usagef("asset %q has no vector in embedding %s: %s", id, r.l.Embedding.Name, why)}
	}
	return nil
}

// embed runs texts and pictures through the embedding's own model.
func (r *resolver) embed(ctx context.Context, queries []Query, which []int, vectors [][]float32, faults []error) error {
	if len(which) == 0 {
		return nil
	}
	if r.model == nil {
		m, err := r.w.ModelOf(r.l.Space)
		if u := usage(err); u != nil {
			for _, i := range which {
				faults[i] = u
			}
			return nil
		}
		if err != nil {
			return err
		}
		r.model = m
	}
	items := make([]pipeline.Item, len(which))
	for k, i := range which {
		items[k] = pipeline.Item{AssetID: strconv.Itoa(i), Text: queries[i].Text, URI: queries[i].File}
	}
	out, err := embed.Run(ctx, items, r.model, fetcher{r.w}, embed.Options{})
	if err != nil {
		return err
	}
	for k, id := range out.AssetID {
		i, err := strconv.Atoi(id)
		if err != nil {
			return err
		}
		vectors[i] = append([]float32(nil), out.Vectors[k*out.Dim:(k+1)*out.Dim]...)
	}
	for _, x := range out.Rejects {
		i, err := strconv.Atoi(x.AssetID)
		if err != nil {
			return err
		}
		faults[i] = pipeline.Usagef("%s: %s: %s", queries[i], x.Reason, x.Error)
	}
	return nil
}

// throughTower is the vector of a text among pictures; see score.Tower.
func (r *resolver) throughTower(ctx context.Context, q Query) ([]float32, error) {
	text := q.Text
	if q.File != "" {
		data, err := read(ctx, r.w, q.File)
		if err != nil {
			return nil, pipeline.Usagef("%s: %v", q, err)
		}
		text = string(data)
	}
	if r.tower == nil {
		st, err := score.LookStatistics(ctx, r.w, r.l)
		if err != nil {
			return nil, err
		}
		if r.tower, err = score.OpenTower(r.w, r.l, st); err != nil {
			return nil, err
		}
	}
	return r.tower.Vector(ctx, text)
}

// usage is err where it is the user's to mend, else nil.
func usage(err error) error {
	var u *pipeline.UsageError
	if errors.As(err, &u) {
		return u
	}
	return nil
}

// fetcher reads what users name on the command line.
type fetcher struct{ w *workspace.Workspace }

// Fetch reads a file; a fault of it is a *pipeline.RowError.
func (f fetcher) Fetch(ctx context.Context, path string) ([]byte, error) { return read(ctx, f.w, path) }

// read reads a local file within the config's limit of bytes, or a URI that a source
// allows.
func read(ctx context.Context, w *workspace.Workspace, path string) ([]byte, error) {
	local, is := strings.CutPrefix(path, "file://")
	if !is && strings.Contains(path, "://") {
		return w.Fetcher().Fetch(ctx, path)
	}
	st, err := os.Stat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, pipeline.Rowf(pipeline.ReasonNotFound, "there is no such file")
	case err != nil:
		return nil, pipeline.Rowf(pipeline.ReasonUnavailable, "%w", err)
	case !st.Mode().IsRegular():
		return nil, pipeline.Rowf(pipeline.ReasonUnsupported, "it is no file")
	case st.Size() > int64(w.Config.Limits.Bytes):
		return nil, pipeline.Rowf(pipeline.ReasonTooLarge, "it has %d bytes, the config's limit is %d", st.Size(), int64(w.Config.Limits.Bytes))
	}
	data, err := os.ReadFile(local)
	if err != nil {
		return nil, pipeline.Rowf(pipeline.ReasonUnavailable, "%w", err)
	}
	if len(data) == 0 {
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "it has 0 bytes")
	}
	return data, nil
}

// maxVector bounds a file of one vector.
const maxVector = 16 << 20

// readVector reads one vector: a .npy file, or JSON: a list of numbers, or an object
// with a list "vector".
func readVector(path string) ([]float32, error) {
	bad := func(what, fix string) error {
		return &pipeline.UsageError{Problems: []pipeline.Problem{{File: path, What: what, Fix: fix}}}
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, bad("there is no such file", "")
	}
	if err != nil {
		return nil, err
	}
	if st.Size() > maxVector {
		return nil, bad(fmt.Sprintf("it has %d bytes, too many for one vector", st.Size()), "search for many vectors with --queries")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte("\x93NUMPY")) {
		m, err := manifest.OpenMatrix(bytes.NewReader(data), true)
		if err != nil {
			return nil, bad(err.Error(), "")
		}
		if m.Rows != 1 {
			return nil, bad(fmt.Sprintf("it holds %d vectors", m.Rows), "search for each of them with --queries")
		}
		v := make([]float32, m.Dim)
		if err := m.Next(v); err != nil {
			return nil, bad(err.Error(), "")
		}
		return v, nil
	}
	v, err := jsonVector(data)
	if err != nil {
		return nil, bad("it is no vector: "+err.Error(), `write a .npy file, a JSON list of numbers, or {"vector": [numbers]}`)
	}
	return v, nil
}

// jsonVector reads a list of numbers, or an object with one.
func jsonVector(data []byte) ([]float32, error) {
	data = bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\ufeff"))
	var list []float64
	if bytes.HasPrefix(data, []byte("{")) {
		var v struct{ Vector []float64 }
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, err
		}
		list = v.Vector
	} else if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it holds no numbers")
	}
	v := make([]float32, len(list))
	for i, x := range list {
		v[i] = float32(x)
	}
	return v, nil
}

// mean joins examples of what is meant and what is not into one direction, as a
// function with combine: mean does: 2·avg⁺ − avg⁻, or avg⁺ alone.
func mean(queries []Query, vectors [][]float32) ([]float32, error) {
	if len(queries) == 1 {
		return vectors[0], nil
	}
	pos, neg := 0.0, 0.0
	for _, q := range queries {
		if q.Not {
			neg++
		} else {
			pos++
		}
	}
	sum := make([]float64, len(vectors[0]))
	for i, q := range queries {
		weight := 1 / pos
		if neg > 0 {
			weight *= 2
		}
		if q.Not {
			weight = -1 / neg
		}
		for k, x := range vectors[i] {
			sum[k] += weight * float64(x)
		}
	}
	n := 0.0
	for _, x := range sum {
		n += x * x
	}
	if n = math.Sqrt(n); n < 1e-6 {
		return nil, pipeline.Usagef("the examples cancel each other out, so their mean points nowhere; give fewer")
	}
	out := make([]float32, len(sum))
	for k, x := range sum {
		out[k] = float32(x / n)
	}
	return out, nil
}
