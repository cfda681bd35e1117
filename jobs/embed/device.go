package embed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"winnow/jobs/internal/workspace"
	"winnow/models"
	"winnow/models/onnx"
	"winnow/pipeline/task"
)

// batches is how a plan lets rows share a run of the model. The size is frozen, for
// it moves a vector by some 1e-7: a task keeps it on whatever device it runs.
type batches struct {
	Batch  int    `json:"batch,omitempty"`  // rows
	Tokens int    `json:"tokens,omitempty"` // of a batch of texts, padding included; 0: no limit
	Device string `json:"device,omitempty"` // kind for which it was chosen: cpu, cuda or tensorrt
}

// batchTokens is how many tokens a batch has on a processor. With more it is no
// faster, and texts of other lengths would come in, which all are padded to the
// longest.
const batchTokens = 512

func onProcessor(sp *models.Spec) batches {
	return batches{Batch: sp.Batch.CPU, Tokens: batchTokens, Device: onnx.CPU}
}

// planBatches is the spec's size on a processor, and the one that was found on GPUs.
// Where the plan is made on a machine without the GPUs that the config asks for, it is
// the spec's size for them.
func (s *Stage) planBatches(ctx context.Context, sp *workspace.Space) (batches, error) {
	device := s.W.Config.Device
	list, _, err := onnx.Devices(device)
	switch {
	case err != nil && onnx.KindOf(device) == "auto": // no such device
		return batches{}, err
	case err != nil:
		s.W.App.Log.Sugar().Infof("embedding %s: the plan is made without its GPU, so with the spec's batches of %d: %v", sp.Name, sp.Spec.Batch.GPU, err)
		return batches{Batch: sp.Spec.Batch.GPU, Device: onnx.KindOf(device)}, nil
	case !list[0].GPU():
		return onProcessor(sp.Spec), nil
	}
	b := batches{Device: list[0].Kind}
	file, about, err := s.tuned(sp, list)
	if err != nil {
		return b, err
	}
	if b.Batch = readTuned(file); b.Batch > 0 {
		return b, nil
	}
	m, err := s.model(ctx, sp.Name, sp.Fingerprint())
	if err != nil {
		return b, err
	}
	if !m.OnGPU() { // auto, and the model itself would not run there
		return onProcessor(sp.Spec), nil
	}
	size, rate, err := m.FindBatch(ctx)
	if err != nil {
		return b, fmt.Errorf("embedding %s: look for a batch size: %w", sp.Name, err)
	}
	s.W.App.Log.Sugar().Infof("embedding %s: batches of %d on %s, %.0f rows a second without reading", sp.Name, size, m.Device(), rate)
	b.Batch, about.Batch, about.Rate = size, size, rate
	return b, writeTuned(file, about)
}

// tuning is what is remembered of a search for a batch size.
type tuning struct {
	Fingerprint string  `json:"fingerprint"`
	Devices     string  `json:"devices"`
	Driver      int     `json:"driver"`  // the CUDA that it serves
	Runtime     string  `json:"runtime"` // version of ONNX Runtime
	Batch       int     `json:"batch"`
	Rate        float64 `json:"rows_a_second"`
}

// tuned names the file in the user's cache that remembers a model's batch size on
// these devices.
func (s *Stage) tuned(sp *workspace.Space, list []onnx.Device) (string, tuning, error) {
	d, err := onnx.ReadDriver()
	if err != nil {
		return "", tuning{}, err
	}
	about := tuning{Fingerprint: sp.Fingerprint(), Driver: d.Version}
	for _, x := range list {
		g := d.GPUs[x.Number]
		about.Devices += fmt.Sprintf("%s %s, %d bytes; ", x.Kind, g.Name, g.Memory)
	}
	if about.Runtime, _, err = onnx.Version(); err != nil {
		return "", about, err
	}
	name := task.NewHash().Add(about.Fingerprint).Add(about.Devices).Add(fmt.Sprint(about.Driver)).Add(about.Runtime).Sum()
	return filepath.Join(s.W.Cache, "batches", name+".json"), about, nil
}

// readTuned is the size that a file remembers, or 0: what cannot be read is found
// again.
func readTuned(file string) int {
	var t tuning
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &t) != nil || t.Batch < 1 || t.Batch > 4096 {
		return 0
	}
	return t.Batch
}

// writeTuned replaces a file as a whole: several plans may write it.
func writeTuned(file string, t tuning) (err error) {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".batch-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// decoders is how many decode beside a GPU: all cores, which have nothing else to do.
// On a processor the workers decode what they infer.
func decoders(m *models.Model) int {
	if m.OnGPU() {
		return runtime.GOMAXPROCS(0)
	}
	return 0
}

// Workers is how many tasks go on at once: two, so that the cores have work while
// one writes its shard, or has no more than a last batch. A model's gate keeps
// them from asking for more cores than there are.
func (*Stage) Workers() int { return 2 }

// gate is what the tasks of a model share.
func (s *Stage) gate(m *models.Model) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[m]
	if g == nil {
		g = make(chan struct{}, m.Sessions())
		if s.gates == nil {
			s.gates = map[*models.Model]chan struct{}{}
		}
		s.gates[m] = g
	}
	return g
}

// tell says once where a model runs: GPUs always, and a GPU that stands idle.
func (s *Stage) tell(name string, m *models.Model) {
	log := s.W.App.Log.Sugar()
	if m.OnGPU() {
		log.Infof("embedding %s runs on %s", name, m.Device())
		return
	}
	if m.Why() == "" {
		return // the config asks for the processor
	}
	if d, err := onnx.ReadDriver(); err == nil {
		log.Warnf("embedding %s runs on the processor though there is %s: %s", name, d.Names(), m.Why())
		return
	}
	log.Debugf("embedding %s runs on the processor: %s", name, m.Why())
}
