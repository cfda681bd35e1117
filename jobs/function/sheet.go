package function

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"winnow/io/manifest"
	"winnow/jobs/score"
)

// sheet writes a page with the pictures of what function show lists: the anchors,
// the nearest rows, and those around the threshold. It is the contact sheet of a
// batch with other words; marked ids can be copied from it into new anchors.
func (s *subject) sheet(ctx context.Context, r *Shown, cut score.Cut, file string) error {
	list, err := s.cards(ctx, r, cut)
	if err != nil {
		return err
	}
	info := &manifest.BatchInfo{Name: r.Name, Slot: r.Version[:min(12, len(r.Version))], Program: "winnow " + s.w.App.Version,
		Models:    r.models(),
		Functions: []manifest.FunctionInfo{{Name: r.Name, Version: r.Version, Embedding: r.Embedding, Combine: string(r.Definition.How()), Threshold: r.Threshold}},
		Funnel:    manifest.Funnel{{Step: "rows", Rows: r.Rows}, {Step: "match", Rows: r.Matches}},
	}
	info.Settings = append(info.Settings, manifest.Setting{Name: "combine", Value: string(r.Definition.How()) + ": " + words[r.Definition.How()]})
	for _, a := range r.Anchors {
		info.Settings = append(info.Settings, manifest.Setting{Name: "anchor " + a.Sign, Value: a.ID})
	}
	for _, t := range r.Thresholds {
		value := t.Problem
		if t.Threshold != nil {
			value = fmt.Sprintf("%.4g, %d matches", *t.Threshold, t.Matches)
		}
		info.Settings = append(info.Settings, manifest.Setting{Name: "threshold " + t.Rule, Value: value})
	}
	var page bytes.Buffer // a few hundred rows at most
	e := manifest.Emission{Info: info, Thumb: s.w.Thumb,
		Sheet: manifest.SheetOptions{Kind: "function", Lead: "around its anchors and its threshold"},
		Rows: func(yield func(*manifest.BatchRow, error) bool) {
			for _, x := range list {
				if !yield(x, nil) {
					return
				}
			}
		},
		Write: func(key string, fn func(io.Writer) error) error {
			if key != "batch.html" {
				return fn(io.Discard)
			}
			page.Reset()
			return fn(&page)
		},
	}
	if _, err := manifest.Emit(ctx, e, []string{"html"}); err != nil {
		return err
	}
	return os.WriteFile(file, page.Bytes(), 0o644)
}

// cards are the rows of the page, each once: a nearest row that is next to the
// threshold is shown there.
func (s *subject) cards(ctx context.Context, r *Shown, cut score.Cut) ([]*manifest.BatchRow, error) {
	var anchors []Row
	if where := s.notAnchors(); where != "true" {
		var err error
		if anchors, err = s.rows(ctx, cut, "NOT ("+where+")", "p.x DESC", 500); err != nil {
			return nil, err
		}
	}
	var out []*manifest.BatchRow
	seen, border := map[string]bool{}, map[string]bool{}
	for _, x := range append(r.Above[:len(r.Above):len(r.Above)], r.Below...) {
		border[x.AssetID] = true
	}
	for _, part := range []struct {
		name, reason string
		rows         []Row
	}{
		{"anchor", "", anchors}, {"nearest", "one of the highest scores", r.Nearest},
		{"just above", "one of the lowest matches", r.Above}, {"just below", "one of the highest rows that do not match", r.Below},
	} {
		for _, x := range part.rows {
			if seen[x.AssetID] || part.name == "nearest" && border[x.AssetID] {
				continue
			}
			seen[x.AssetID] = true
			reason := part.reason
			if x.Anchor != "" {
				reason = "a " + x.Anchor + " anchor"
			}
			if x.Label != "" {
				reason += "; labeled " + x.Label
			}
			out = append(out, &manifest.BatchRow{Rank: int64(len(out) + 1), AssetID: x.AssetID, URI: x.URI, Text: x.Text, Caption: x.Caption,
				MediaType: x.mediaType, Version: x.version, Objective: part.name, Reason: reason,
				Scores: []manifest.FunctionScore{{Score: float32(x.Score), Percentile: float32(x.Percentile), Match: x.Match}}})
		}
	}
	return out, nil
}

// models are those that the function searches with.
func (r *Shown) models() (list []manifest.ModelInfo) {
	for _, p := range r.Parts {
		list = append(list, manifest.ModelInfo{Embedding: p.Embedding, Model: p.Model, Fingerprint: p.Fingerprint})
	}
	if r.Parts == nil {
		list = append(list, manifest.ModelInfo{Embedding: r.Embedding, Model: r.Model, Fingerprint: r.Fingerprint})
	}
	return list
}
