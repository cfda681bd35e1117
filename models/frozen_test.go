package models

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFrozenSpecsComeBack(t *testing.T) {
	var specs []*Spec
	for _, name := range Shipped() {
		s, err := Describe(name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Fingerprint() == "" {
			continue // its files are not here
		}
		specs = append(specs, s)
		if fast, err := s.WithDecode("fast"); err == nil {
			specs = append(specs, fast)
		}
	}
	own, err := parse("own.yaml", "/somewhere/own.yaml", []byte(`
name: own
kind: image
model: {file: ../a b.onnx, sha256: `+strings.Repeat("0a", 32)+`}
inputs: [{name: "x: y", role: image}]
output: out
dim: 4
image: {size: [10, 20], fit: letterbox, fill: [1, 2, 3], mean: [0.485, 0.456, 0.406], std: 0.0000001}
text_tower: ./text.yaml
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(specs, own) {
		f, err := s.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Thaw(f)
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.Name, err, f.Spec)
		}
		second, err := again.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint() != s.Fingerprint() || again.TextTower != s.TextTower || string(f.Spec) != string(second.Spec) || f.Path != second.Path {
			t.Errorf("%s came back as another spec:\n%s\n%s", s.Name, f.Spec, second.Spec)
		}
	}
}

func TestRecoverFindsFilesByHash(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	write := func(path, body string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := filepath.Join(dir, "own.yaml")
	write(filepath.Join(dir, "m.onnx"), "the first model")
	write(spec, "name: own\nkind: image\nmodel: {file: m.onnx}\ninputs: [{name: x, role: image}]\noutput: out\ndim: 4\nimage: {size: 8}\n")
	s, err := Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	// The user puts another model in its place, and moves the first away.
	write(filepath.Join(dir, "m.onnx"), "the second model")
	old, err := Thaw(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Recover(); err == nil || !strings.Contains(err.Error(), "there is no m.onnx with sha256 "+s.Model.SHA256) {
		t.Errorf("a file of another model was taken: %v", err)
	}
	write(filepath.Join(other, "before.onnx"), "the first model")
	found, err := old.Recover(other)
	if err != nil || found.Model.File != filepath.Join(other, "before.onnx") || found.Fingerprint() != s.Fingerprint() {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := found.CheckFiles(); err != nil {
		t.Error(err)
	}
}
