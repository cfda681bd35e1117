package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// seen is what is remembered of a file whose hash was taken.
type seen struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	SHA256  string    `json:"sha256"`
}

// verify makes sure that a file has the hash that its spec names. The hash is
// remembered in the user's cache while size and time stay the same, so that a
// large model is not read twice at every start.
func verify(path, want string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	memo := memoPath(path)
	var m seen
	if raw, err := os.ReadFile(memo); err == nil && json.Unmarshal(raw, &m) == nil &&
		m.Size == st.Size() && m.ModTime.Equal(st.ModTime()) && m.SHA256 == want {
		return nil
	}
	got, err := hashFile(path)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s has sha256 %s, its spec says %s; it is damaged or another version: run make setup, or correct the spec", path, got, want)
	}
	if raw, err := json.Marshal(seen{st.Size(), st.ModTime(), got}); err == nil && memo != "" {
		_ = os.MkdirAll(filepath.Dir(memo), 0o700) // a cache: a failure costs time only
		tmp := memo + fmt.Sprint(".", os.Getpid())
		if os.WriteFile(tmp, raw, 0o600) == nil {
			_ = os.Rename(tmp, memo)
		}
	}
	return nil
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
