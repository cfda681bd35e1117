package workspace

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"path/filepath"
	"strings"
	"time"

	"winnow/configs"
	"winnow/io/manifest"
	"winnow/io/store"
	"winnow/models"
	modelimage "winnow/models/image"
	"winnow/pipeline"
)

// spec loads the model spec that the config names, once.
func (w *Workspace) spec(e configs.Embedding) (*models.Spec, error) {
	if v := e.Vectors; v != nil {
		return models.Imported(v.Space, v.Dim, v.Normalize), nil
	}
	key := e.Model + " " + e.Decode
	if sp := w.specs[key]; sp != nil {
		return sp, nil
	}
	sp, err := models.Load(e.Model)
	if err == nil && e.Decode != "" && sp.Kind == models.Image {
		sp, err = sp.WithDecode(e.Decode)
	}
	if err != nil {
		return nil, fmt.Errorf("embedding %s: %w", e.Name, err)
	}
	if w.specs == nil {
		w.specs = map[string]*models.Spec{}
	}
	w.specs[key] = sp
	return sp, nil
}

// Model loads the current model of an embedding. The caller closes it.
func (w *Workspace) Model(ctx context.Context, name string) (*models.Model, error) {
	e, err := w.Embedding(name)
	if err != nil {
		return nil, err
	}
	s, err := w.Current(ctx, e)
	if err != nil {
		return nil, err
	}
	return w.ModelOf(s)
}

// ModelOf loads the model of a space. The caller closes it.
func (w *Workspace) ModelOf(s *Space) (*models.Model, error) {
	if s.Vectors != nil {
		return nil, pipeline.Usagef("embedding %s has its vectors from files: there is no model that could embed something else", s.Name)
	}
	sp, err := w.located(s)
	if err != nil {
		return nil, err
	}
	m, err := w.OpenModel(sp)
	if err != nil {
		return nil, fmt.Errorf("embedding %s: %w", s.Name, err)
	}
	return m, nil
}

// OpenModel loads a model with the config's device and limits. The caller closes it.
func (w *Workspace) OpenModel(sp *models.Spec) (*models.Model, error) {
	begin := time.Now()
	m, err := models.New(sp, models.Options{Device: w.Config.Device, Limits: w.imageLimits(), Cache: filepath.Join(w.Cache, "tensorrt", sp.Fingerprint())})
	if err == nil {
		w.App.Log.Sugar().Debugf("loaded model %s in %v, %d sessions", sp.Name, time.Since(begin).Round(time.Millisecond), m.Sessions())
	}
	return m, err
}

// TowerSpec is the spec by which texts find the pictures of a space. A space
// without one is a usage error.
func (w *Workspace) TowerSpec(s *Space) (*models.Spec, error) {
	t, err := s.Spec.Tower()
	if err != nil {
		return nil, fmt.Errorf("embedding %s: %w", s.Name, err)
	}
	if t == nil {
		return nil, pipeline.Usagef("embedding %s has no text tower: a text finds pictures only where the image model's spec names a text_tower, a text model of the same space, as those of clip-vit-b32 and siglip-base-patch16-224 do", s.Name)
	}
	return t, nil
}

// CheckModel makes sure that the files of a kept model are there, before work is
// planned that needs them.
func (w *Workspace) CheckModel(s *Space) error {
	_, err := w.located(s)
	return err
}

// located is the space's spec, with its files found by their hashes where it is a
// kept one: another model may stand in their place now.
func (w *Workspace) located(s *Space) (*models.Spec, error) {
	if !s.Kept {
		return s.Spec, nil
	}
	e, err := w.Embedding(s.Name)
	if err != nil {
		return nil, err
	}
	wanted, err := w.Wanted(e)
	if err != nil {
		return nil, err
	}
	var beside []string
	if dir := wanted.Spec.Folder(); dir != "" {
		beside = append(beside, dir)
	}
	sp, err := s.Spec.Recover(beside...)
	if err != nil {
		return nil, s.gone(err, wanted)
	}
	return sp, nil
}

func (w *Workspace) imageLimits() modelimage.Limits {
	return modelimage.Limits{Bytes: int64(w.Config.Limits.Bytes), Pixels: w.Config.Limits.Pixels}
}

// Fetcher reads assets from the places that the sources allow. Several
// goroutines may ask for it.
func (w *Workspace) Fetcher() *store.Fetcher {
	w.fetcherOnce.Do(func() {
		var allow []string
		for _, s := range w.Config.Sources {
			allow = append(allow, s.Allow...)
		}
		w.fetcher = store.NewFetcher(store.FetchOptions{Allow: allow, MaxBytes: int64(w.Config.Limits.Bytes), Timeout: time.Duration(w.Config.Limits.Timeout)})
	})
	return w.fetcher
}

// Show is the address of an object of the workspace for people: a path in a
// folder, else a URL.
func (w *Workspace) Show(key string) string {
	if p, ok := w.Store.Path(key); ok {
		return p
	}
	url, _, _ := strings.Cut(w.Store.URL(), "?")
	return strings.TrimSuffix(url, "/") + "/" + key
}

// Size reads the width and height of a batch's row from its picture's header.
func (w *Workspace) Size(ctx context.Context, row *manifest.BatchRow) (width, height int, err error) {
	data, err := w.Fetcher().Fetch(ctx, row.URI)
	if err != nil {
		return 0, 0, err
	}
	return modelimage.Size(data, w.imageLimits())
}

// Thumb makes a thumbnail of a batch's row.
func (w *Workspace) Thumb(ctx context.Context, row *manifest.BatchRow) ([]byte, error) {
	return w.ThumbOf(ctx, row.URI)
}

// ThumbOf makes a JPEG of at most manifest.ThumbPixels a side of the picture at a
// URI, which a source allows. What is wrong with it is a *pipeline.RowError.
func (w *Workspace) ThumbOf(ctx context.Context, uri string) ([]byte, error) {
	data, err := w.Fetcher().Fetch(ctx, uri)
	if err != nil {
		return nil, err
	}
	return w.Thumbnail(ctx, data)
}

// Thumbnail is ThumbOf for the bytes of a picture.
func (w *Workspace) Thumbnail(ctx context.Context, data []byte) ([]byte, error) {
	width, height, err := modelimage.Size(data, w.imageLimits())
	if err != nil {
		return nil, err
	}
	const side = manifest.ThumbPixels
	scale := min(1, side/float64(max(width, height)))
	o := modelimage.Options{Width: max(1, int(float64(width)*scale)), Height: max(1, int(float64(height)*scale)), Filter: modelimage.Bicubic, Fast: true}
	d, err := modelimage.NewDecoder(o, w.imageLimits())
	if err != nil {
		return nil, err
	}
	rgb := make([]byte, d.Size())
	if err := d.Decode(ctx, data, rgb); err != nil {
		return nil, err
	}
	im := image.NewRGBA(image.Rect(0, 0, o.Width, o.Height))
	for i := range o.Width * o.Height {
		copy(im.Pix[4*i:], rgb[3*i:3*i+3])
		im.Pix[4*i+3] = 255
	}
	var out bytes.Buffer
	err = jpeg.Encode(&out, im, &jpeg.Options{Quality: 82})
	return out.Bytes(), err
}
