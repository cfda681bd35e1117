package models

import (
	"fmt"
)

// CheckFiles finds the files of the spec and takes their hashes anew, also where
// New would trust what it remembers of them. It returns their paths.
func (s *Spec) CheckFiles() ([]string, error) {
	files := []File{s.File}
	if s.Text != nil {
		files = append(files, File{s.Text.Tokenizer.Path, s.Text.Tokenizer.SHA256})
	}
	var paths []string
	for _, f := range files {
		path, err := s.find(f.Path)
		if err != nil {
			return paths, err
		}
		got, err := hashFile(path)
		if err != nil {
			return paths, fmt.Errorf("model %s: %w", s.Name, err)
		}
		if got != f.SHA256 {
			return paths, fmt.Errorf("model %s: %s has sha256 %s, its spec says %s; it is damaged or another version: run make setup, or correct the spec", s.Name, path, got, f.SHA256)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
