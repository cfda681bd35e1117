package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Frozen is a spec as it is kept beside the vectors that its model made, so that
// the same model can go on when the spec's own file says something else.
type Frozen struct {
	// Spec holds all fields that are not at their zero value, hashes of all files
	// included, by the keys of a spec's YAML.
	Spec json.RawMessage `json:"spec"`
	// Path is where the spec's file was; "" for a spec that winnow ships.
	Path string `json:"path,omitempty"`
}

// Freeze returns what Thaw makes the same spec of.
func (s *Spec) Freeze() (Frozen, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plain(reflect.ValueOf(s).Elem())); err != nil {
		return Frozen{}, fmt.Errorf("model %s: %w", s.Name, err)
	}
	f := Frozen{Spec: bytes.TrimSpace(b.Bytes()), Path: s.path}
	again, err := Thaw(f)
	if err != nil {
		return Frozen{}, fmt.Errorf("model %s: its spec cannot be kept: %w", s.Name, err)
	}
	if again.fingerprint != s.fingerprint {
		return Frozen{}, fmt.Errorf("model %s: its spec cannot be kept: it came back as %s, not as %s", s.Name, again.fingerprint, s.fingerprint)
	}
	return f, nil
}

// Thaw reads a frozen spec. The model's files are not touched.
func Thaw(f Frozen) (*Spec, error) {
	return parse("the kept spec", f.Path, f.Spec)
}

// plain turns a part of a spec into what JSON, and so YAML, writes as the decoder
// reads it. Fields at their zero value are left out: they mean the default.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Size:
		return []int{x.Height, x.Width}
	case Channels:
		return []any{number64(x[0]), number64(x[1]), number64(x[2])}
	case float64:
		return number64(x)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plain(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" && !v.Field(i).IsZero() {
				m[tag] = plain(v.Field(i))
			}
		}
		return m
	}
	return v.Interface()
}

// number64 writes a number without an exponent: YAML wants a point before it.
func number64(x float64) json.Number { return json.Number(strconv.FormatFloat(x, 'f', -1, 64)) }

// Recover returns the spec with its files found by their hashes: where a file of
// the right name has another one, or there is none, every file of the same kind in
// the folders of models, and in the given ones, is tried. What is not found is in
// the error.
func (s *Spec) Recover(folders ...string) (*Spec, error) {
	c := *s
	folders = append(folders, s.folders()...)
	var err error
	if c.Model.File, err = s.recover(s.Model.File, s.Model.SHA256, folders); s.Text == nil {
		return &c, err
	}
	words, tokenizer := *s.Text, &s.Text.Tokenizer
	file, err2 := s.recover(tokenizer.File, tokenizer.SHA256, folders)
	words.Tokenizer.File = file
	c.Text = &words
	return &c, errors.Join(err, err2)
}

func (s *Spec) recover(file, sum string, folders []string) (string, error) {
	if path, err := s.find(file); err == nil {
		if got, err := hashOf(path, false); err == nil && got == sum {
			return path, nil
		}
	}
	for _, dir := range folders {
		list, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range list {
			path := filepath.Join(dir, e.Name())
			if !strings.EqualFold(filepath.Ext(path), filepath.Ext(file)) || !isFile(path) {
				continue
			}
			if got, err := hashOf(path, false); err == nil && got == sum {
				return path, nil
			}
		}
	}
	return file, &MissingError{s.Name, filepath.Base(file), sum, folders}
}

// MissingError says that no file has the hash that a spec names.
type MissingError struct {
	Model, File, SHA256 string
	Folders             []string // where it was looked for
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("model %s: there is no %s with sha256 %s; looked in %s", e.Model, e.File, e.SHA256, strings.Join(e.Folders, ", "))
}

// Folder is where the spec's own file is; "" for a spec that winnow ships.
func (s *Spec) Folder() string {
	if s.path == "" {
		return ""
	}
	return filepath.Dir(s.path)
}
