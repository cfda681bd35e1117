package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// writeTinyClip writes clip.yaml and clip-text.yaml into a folder: the shipped specs
// with the tiny random model of testdata/models.
func writeTinyClip(root, dir string) error {
	for name, as := range map[string]string{"clip-vit-b32": "clip.yaml", "clip-vit-b32-text": "clip-text.yaml"} {
		raw, err := os.ReadFile(filepath.Join(root, "models", "specs", name+".yaml"))
		if err != nil {
			return err
		}
		s := strings.Replace(string(raw), "dim: 512", "dim: 24", 1)
		s = strings.Replace(s, "text_tower: clip-vit-b32-text", "text_tower: ./clip-text.yaml", 1)
		s = regexp.MustCompile(`file: ([a-z.]+)`).ReplaceAllString(s, "file: "+filepath.Join(root, "testdata", "models", name)+"/$1")
		if err := os.WriteFile(filepath.Join(dir, as), []byte(s), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// towers is what numpy and the original CLIP make of the photos; see models/convert/tiny.py.
type towers struct {
	Functions []json.RawMessage
	Scores    map[string]map[string]float64 // function → asset
	Search    struct {
		Text  string
		Found []struct {
			AssetID string `json:"asset_id"`
			Score   float64
		}
	}
}

// TestTextAnchorsOfPictures runs functions whose anchors are texts over an embedding
// of pictures: every score is numpy's.
func TestTextAnchorsOfPictures(t *testing.T) {
	needModels(t)
	raw, err := os.ReadFile(filepath.Join(root(t), "testdata", "models", "towers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want towers
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir()}
	s.workspace = "file://" + s.dir + "/workspace"
	if err := writeTinyClip(root(t), s.dir); err != nil {
		t.Fatal(err)
	}
	s.file(t, "winnow.yaml", fmt.Sprintf(`workspace: %q
sources: [{name: photos, manifest: "file://%s/manifest.jsonl"}]
embeddings: [{name: clip, model: ./clip.yaml, of: image}]
functions: functions/*.yaml
batches: [{name: all, select: [{top: cats}], size: 44, emit: [jsonl]}]
`, s.workspace, photosDir(t)))
	for i, f := range want.Functions {
		s.file(t, fmt.Sprintf("functions/%d.yaml", i), string(f))
	}
	s.outcome(t)
	files, err := filepath.Glob(filepath.Join(s.folder(), "batches", "all", "*", "batch.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the batch's files: %v, %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); rows++ {
		var row struct {
			AssetID string             `json:"asset_id"`
			Scores  map[string]float64 `json:"scores"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		for name, scores := range want.Scores {
			if got, w := row.Scores[name], scores[row.AssetID]; !(math.Abs(got-w) <= 1e-5) {
				t.Errorf("%s of %s: %v, numpy %v", name, row.AssetID, got, w)
			}
		}
	}
	if rows != len(want.Scores["cats"]) {
		t.Errorf("the batch has %d rows", rows)
	}
	s.searchesByText(t, want)
	s.outcome(t).idle(t)
}

// searchesByText compares a search through the tower with numpy's.
func (s *site) searchesByText(t *testing.T, want towers) {
	t.Helper()
	var found struct {
		Embedding string
		Results   []struct {
			AssetID string `json:"asset_id"`
			Score   float64
		}
	}
	s.run(t, "search", "-t", want.Search.Text, "-k", "5", "--json").decode(&found)
	if found.Embedding != "clip" || len(found.Results) != len(want.Search.Found) {
		t.Fatalf("found %+v", found)
	}
	for i, w := range want.Search.Found {
		if got := found.Results[i]; got.AssetID != w.AssetID || math.Abs(got.Score-w.Score) > 1e-5 {
			t.Errorf("hit %d: %s at %v, numpy %s at %v", i, got.AssetID, got.Score, w.AssetID, w.Score)
		}
	}
}
