package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ModelsEnv names a folder of models: <folder>/<spec's name>/<file>, or
// <folder>/<file>.
const ModelsEnv = "WINNOW_MODELS"

// sharedModels is where packages and images put models.
const sharedModels = "/usr/local/share/winnow/models"

// find returns the path of one of the spec's files. It looks beside a user's own
// spec, in $WINNOW_MODELS, in .deps/models/<name> of the working directory and
// those above it, the same from winnow's own directory, and in
// /usr/local/share/winnow/models.
func (s *Spec) find(file string) (string, error) {
	if filepath.IsAbs(file) {
		if isFile(file) {
			return file, nil
		}
		return "", fmt.Errorf("model %s: there is no file %s%s", s.Name, file, s.howToGet("; "))
	}
	dirs := s.folders()
	for _, dir := range dirs {
		if path := filepath.Join(dir, file); isFile(path) {
			return path, nil
		}
	}
	fix := "run make setup, or set " + ModelsEnv + " to the folder of the models"
	if s.path != "" {
		fix = "put it beside the spec " + s.path
	}
	if s.Get != "" {
		fix = s.howToGet("")
	}
	return "", fmt.Errorf("model %s: its file %s is not there; %s. Looked in %s", s.Name, file, fix, strings.Join(dirs, ", "))
}

// howToGet is what the spec says of getting its files, after some words.
func (s *Spec) howToGet(before string) string {
	if s.Get == "" {
		return ""
	}
	return before + "to get it: " + s.Get
}

func (s *Spec) folders() []string {
	var dirs []string
	if s.path != "" {
		dirs = append(dirs, filepath.Dir(s.path))
	}
	if v := os.Getenv(ModelsEnv); v != "" {
		dirs = append(dirs, filepath.Join(v, s.Name), v)
	}
	upwards := func(dir string) {
		for {
			if deps := filepath.Join(dir, ".deps", "models"); isDir(deps) {
				dirs = append(dirs, filepath.Join(deps, s.Name))
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				return
			}
			dir = parent
		}
	}
	if wd, err := os.Getwd(); err == nil {
		upwards(wd)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			upwards(filepath.Dir(exe))
		}
	}
	return append(dirs, filepath.Join(sharedModels, s.Name))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// files are the spec's files with their hashes: the model, then the tokenizer.
func (s *Spec) files() []File {
	list := []File{s.Model}
	if s.Text != nil {
		list = append(list, File{s.Text.Tokenizer.File, s.Text.Tokenizer.SHA256})
	}
	return list
}

// pin takes the hashes of the files that the spec states none of, and with them
// the fingerprint. All that is missing is in the error, at its place in the spec.
func (s *Spec) pin() error {
	var errs []error
	for i := range s.unpinned {
		p, file, sum := &s.unpinned[i], s.Model.File, &s.Model.SHA256
		if p.Field != "model" {
			file, sum = s.Text.Tokenizer.File, &s.Text.Tokenizer.SHA256
		}
		path, err := s.find(file)
		if err == nil {
			*sum, err = hashOf(path, false)
		}
		p.SHA256 = *sum
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.fingerprint = s.hash()
	return nil
}

// Installed reports whether all files of the spec are there. Their hashes are not
// looked at.
func (s *Spec) Installed() bool {
	for _, f := range s.files() {
		if _, err := s.find(f.File); err != nil {
			return false
		}
	}
	return true
}

// locate finds all files and makes sure that they have their hashes. anew takes
// the hashes again where they are remembered. All that is wrong is in the error.
func (s *Spec) locate(anew bool) (paths []string, err error) {
	for _, f := range s.files() {
		path, ferr := s.find(f.File)
		if ferr == nil {
			if ferr = verify(path, f.SHA256, anew); ferr != nil {
				ferr = fmt.Errorf("model %s: %w", s.Name, ferr)
			}
		}
		paths, err = append(paths, path), errors.Join(err, ferr)
	}
	return paths, err
}

// CheckFiles finds the files of the spec and takes their hashes anew, also where
// New would trust what it remembers of them. It returns their paths.
func (s *Spec) CheckFiles() ([]string, error) { return s.locate(true) }

// remembered is what is kept of a file whose hash was taken.
type remembered struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Changed int64     `json:"changed"` // the file, its name or mode: nanoseconds, and the inode
	Inode   uint64    `json:"inode"`
	SHA256  string    `json:"sha256"`
}

// verify makes sure that a file has the hash that its spec names.
func verify(path, want string, anew bool) error {
	got, err := hashOf(path, anew)
	if err != nil || got == want {
		return err
	}
	if !anew { // what is remembered may be of a file that was changed and dated back
		if got, err = hashOf(path, true); err != nil || got == want {
			return err
		}
	}
	return fmt.Errorf("%s has sha256 %s, its spec says %s; it is damaged or another version: run make setup, or correct the spec", path, got, want)
}

// hashOf takes a file's hash. It is remembered in the user's cache while size and
// times stay the same, so that a large model is not read at every start; anew takes
// it again all the same. The weights of two trainings have one size, and copies,
// archives and images set the time of the content, so the time of the last change,
// which no program can set, must be the same, too.
func hashOf(path string, anew bool) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	changed, inode := changeOf(info)
	memo := memoPath(path)
	var m remembered
	if raw, err := os.ReadFile(memo); err == nil && !anew && json.Unmarshal(raw, &m) == nil &&
		m.Size == info.Size() && m.ModTime.Equal(info.ModTime()) && m.Changed == changed && m.Inode == inode && sha256Form.MatchString(m.SHA256) {
		return m.SHA256, nil
	}
	got, err := hashFile(path)
	if err != nil {
		return "", err
	}
	// A file that has just been written may change again within the clock's tick.
	if time.Since(info.ModTime()) > 2*time.Second && time.Since(time.Unix(0, changed)) > 2*time.Second {
		remember(memo, remembered{info.Size(), info.ModTime(), changed, inode, got})
	}
	return got, nil
}

// remember writes a memo. It is a cache: a failure costs time only.
func remember(memo string, m any) {
	raw, err := json.Marshal(m)
	if err != nil || memo == "" || os.MkdirAll(filepath.Dir(memo), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(memo), "new-*")
	if err != nil {
		return
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), memo)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

func memoPath(path string) string {
	base, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(base, "winnow", "models", hex.EncodeToString(sum[:8])+".json")
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
