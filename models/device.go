package models

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"winnow/models/onnx"
	"winnow/pipeline/embed"
)

// findDevices is a variable so that tests can play a machine whose GPU breaks later.
var findDevices = onnx.Devices

// open loads the model on the devices that o asks for. auto falls back to the
// processor where a GPU turns out not to work.
func (m *Model) open(path string, file onnx.Options, o Options) error {
	devices, why, err := findDevices(o.Device)
	if err != nil {
		return err
	}
	m.why = why
	err = m.openAll(path, file, devices, o.Sessions)
	if err != nil && devices[0].GPU() && onnx.KindOf(o.Device) == "auto" {
		m.why = err.Error()
		err = m.openAll(path, file, []onnx.Device{{}}, o.Sessions)
	}
	return err
}

// openAll makes a session of each device, and the slots of them all. A GPU is tried
// with one input: missing libraries and kernels show no earlier.
func (m *Model) openAll(path string, file onnx.Options, devices []onnx.Device, each int) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, m.closeSessions())
		}
	}()
	if each <= 0 {
		each = runtime.GOMAXPROCS(0) // a container's share of the machine
		if devices[0].GPU() {
			each = 2 // one copies its tensors while the other runs
		}
	}
	for _, d := range devices {
		file.Device = d
		s, err := onnx.Open(path, file)
		if err != nil {
			return err
		}
		m.sessions = append(m.sessions, s)
	}
	m.slots = make(chan *slot, each*len(devices))
	for range each {
		for _, s := range m.sessions {
			m.slots <- &slot{session: s}
		}
	}
	if !devices[0].GPU() {
		return nil
	}
	for range m.sessions { // the first slots are of different ones
		in, out := []embed.Input{m.example(1)}, make([]float32, m.spec.Dim)
		if err := m.Run(context.Background(), in, out); err != nil {
			return fmt.Errorf("device %s: a first run fails: %w; update the GPU's driver, CUDA and cuDNN, or write device: cpu", m.Device(), err)
		}
	}
	return nil
}

func (m *Model) closeSessions() error {
	var err error
	for _, s := range m.sessions {
		err = errors.Join(err, s.Close())
	}
	m.sessions = nil
	return err
}

// example is an input like any other: a black picture, or a text of as many tokens.
func (m *Model) example(length int) embed.Input {
	if m.spec.Kind == Text {
		return make(tokens, length)
	}
	return &pixels{make([]byte, m.decoder.Size()), m}
}

// Device is where the model runs: cpu, cuda:0, or several such with commas between.
// With Options.Device auto this says what was chosen.
func (m *Model) Device() string {
	names := make([]string, len(m.sessions))
	for i, s := range m.sessions {
		names[i] = s.Device().String()
	}
	return strings.Join(names, ",")
}

// Why says what kept Options.Device auto from a GPU; empty where nothing did.
func (m *Model) Why() string { return m.why }

// Kind is the kind of device: cpu, cuda or tensorrt. All are of one kind.
func (m *Model) Kind() string {
	if d := m.sessions[0].Device(); d.GPU() {
		return d.Kind
	}
	return onnx.CPU
}

// OnGPU reports whether the model runs on GPUs.
func (m *Model) OnGPU() bool { return m.sessions[0].Device().GPU() }
