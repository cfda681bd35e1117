package ingest

import (
	"strings"
	"testing"
)

// TestCocoFilesNameAssets: pictures are found by id, by id without the extension
// and by address; results take the ground truth among the labels, and are read
// again when it changes.
func TestCocoFilesNameAssets(t *testing.T) {
	s := newSite(t)
	s.sources("{manifest: m.jsonl, name: main}", "labels: [{manifest: truth.json}, {manifest: more.jsonl}]", "predictions: [{model: v1, manifest: results.json}]")
	s.write("m.jsonl", `{"asset_id":"a.jpg","uri":"a.jpg"}`, `{"asset_id":"b","uri":"x/1.jpg"}`, `{"asset_id":"third","uri":"x/c.jpg"}`)
	truth := []string{`{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "x/c.jpg"}, {"id": 4, "file_name": "d.jpg"}],`,
		`"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1,2,3,4]}, {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1,2,3,4]}, {"id": 3, "image_id": 4, "category_id": 1, "bbox": [1,2,3,4]}],`,
		`"categories": [{"id": 1, "name": "cat"}]}`}
	s.write("truth.json", truth...)
	s.write("more.jsonl", `{"asset_id":"a.jpg","label":"Cat"}`)
	s.write("results.json", `[{"image_id":3,"category_id":1,"bbox":[1,2,3,4],"score":0.5}]`)
	sum := s.expect("first", 3, 0, 0, 0)
	s.table("labels", "asset_id, label, object", "a.jpg|Cat", "a.jpg|cat|1", "b|cat|2", "d.jpg|cat|3", "third")
	s.table("predictions", "asset_id, prediction, confidence, object, width", "third|cat|0.5|1|3.0")
	all := strings.Join(sum.Warnings, "\n")
	for _, want := range []string{`1 rows name 1 assets that are not in the workspace, first "d.jpg" in file://`, `truth.json:2;`, `"cat" (3 rows, first in file://`, `and "Cat" (1 rows, first in file://`, "more.jsonl:1)"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	truth[2] = `"categories": [{"id": 1, "name": "dog"}]}`
	s.write("truth.json", truth...)
	s.expect("another name", 0, 0, 0, 0)
	s.table("predictions", "asset_id, prediction", "third|dog")
}
