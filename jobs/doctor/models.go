package doctor

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"time"

	"winnow/configs"
	"winnow/models"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

const modelGroup = "models"

// modelChecks tries every model of the config, or those that winnow brings.
func modelChecks(ctx context.Context, cfg *configs.Config) []Check {
	var names []string
	device := "auto"
	for _, name := range models.Shipped() {
		// Weights that make setup does not bring need not be here.
		if s, err := models.Describe(name); err != nil || s.Get == "" || s.Installed() {
			names = append(names, name)
		}
	}
	if cfg != nil {
		names, device = nil, cfg.Device
		seen := map[string]bool{}
		for _, e := range cfg.Embeddings {
			if e.Vectors == nil && !seen[e.Model] {
				names = append(names, e.Model)
			}
			seen[e.Model] = true
		}
	}
	var out []Check
	for _, name := range names {
		out = append(out, modelCheck(ctx, name, device))
	}
	return out
}

// modelCheck runs one tiny example through a model, by the way that embed goes.
func modelCheck(ctx context.Context, name, device string) Check {
	shown := name
	if filepath.Ext(name) != "" {
		shown = filepath.Base(name)
	}
	spec, err := models.Load(name)
	if err != nil {
		return failed(modelGroup, shown, err, "correct the spec, or name another model in the config")
	}
	if _, err := spec.CheckFiles(); err != nil {
		return failed(modelGroup, shown, err, setupFix)
	}
	begin := time.Now()
	m, err := models.New(spec, models.Options{Device: device, Sessions: 1})
	if err != nil {
		return failed(modelGroup, shown, err, setupFix)
	}
	defer m.Close()
	loaded := time.Since(begin)
	begin = time.Now()
	v, err := example(ctx, m)
	if err == nil {
		err = checkVector(v, spec.Dim, spec.Normalized())
	}
	if err != nil {
		return fail(modelGroup, shown, "is the spec right about the inputs, the output and dim?", "a tiny example fails: %v", err)
	}
	return ok(modelGroup, shown, "%s → %d numbers on %s, %s, fingerprint %s; loaded in %v, one example in %v", spec.Kind, spec.Dim, m.Device(), licence(spec), spec.Fingerprint(),
		loaded.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
}

func licence(s *models.Spec) string {
	if s.Licence == "" {
		return "licence not stated"
	}
	return s.Licence
}

// example embeds a picture of one colour, or a short text.
func example(ctx context.Context, m *models.Model) ([]float32, error) {
	item := pipeline.Item{AssetID: "doctor", Text: "winnow doctor"}
	var picture []byte
	if m.Spec().Kind == models.Image {
		var err error
		if picture, err = plainJPEG(64, color.RGBA{R: 180, G: 60, B: 40, A: 255}); err != nil {
			return nil, err
		}
		item = pipeline.Item{AssetID: "doctor", URI: "mem://doctor/picture.jpg"}
	}
	out, err := embed.Run(ctx, []pipeline.Item{item}, m, fixed(picture), embed.Options{})
	if err != nil {
		return nil, err
	}
	if len(out.Rejects) > 0 {
		return nil, errors.New(out.Rejects[0].Error)
	}
	return out.Vectors, nil
}

// fixed is a fetcher of the same bytes for every address.
type fixed []byte

func (f fixed) Fetch(context.Context, string) ([]byte, error) { return f, nil }

// checkVector says what is wrong with a vector.
func checkVector(v []float32, dim int, normalized bool) error {
	if len(v) != dim {
		return fmt.Errorf("the vector has %d numbers, the spec says %d", len(v), dim)
	}
	var sum float64
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("number %d of the vector is %v", i, x)
		}
		sum += float64(x) * float64(x)
	}
	switch norm := math.Sqrt(sum); {
	case norm == 0:
		return errors.New("the vector is all zeros")
	case normalized && math.Abs(norm-1) > 1e-3:
		return fmt.Errorf("the vector has length %v, not 1", norm)
	}
	return nil
}
