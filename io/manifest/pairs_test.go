package manifest

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPairs(t *testing.T) {
	l := newLab(t)
	parquet := filepath.Join(l.dir, "l.parquet")
	_, err := l.db.Copy(t.Context(), "SELECT 'p' AS asset_id, ['cat', '', 'dog'] AS labels, 0.5 AS score UNION ALL SELECT 'q', NULL, 0.1 UNION ALL SELECT 'r', ['x'], 7", parquet)
	ok(t, err)
	for name, c := range map[string]struct {
		file, data string
		kind       PairKind
		fields     Fields
		want       []string
		faults     int64
	}{
		"labels":       {"l.jsonl", "{\"asset_id\":\"a\",\"label\":\"cat\"}\n{\"asset_id\":\"a\",\"label\":[\"cat\",\"dog\"]}\n{\"asset_id\":\"b\"}\n{\"label\":\"x\"}\n{\"asset_id\":\"c\",\"label\":true}", Labels, nil, []string{"a|cat", "a|dog", "c|true"}, 2},
		"csv":          {"l.csv", "id,class\n1,cat\n2,\n", Labels, Fields{"label": "class"}, []string{"1|cat"}, 1},
		"predictions":  {"p.jsonl", "{\"asset_id\":\"a\",\"prediction\":\"cat\",\"confidence\":0.25}\n{\"asset_id\":\"a\",\"prediction\":\"cat\",\"confidence\":0.75}\n{\"asset_id\":\"b\",\"label\":\"dog\"}\n{\"asset_id\":\"c\",\"prediction\":\"x\",\"confidence\":2}\n{\"asset_id\":\"d\",\"prediction\":\"x\",\"confidence\":\"high\"}", Predictions, nil, []string{"a|cat|0.75", "b|dog"}, 3},
		"parquet":      {"", parquet, Predictions, nil, []string{"p|cat|0.5", "p|dog|0.5"}, 2},
		"labelbox":     {"x.ndjson", `{"data_row":{"global_key":"g"},"projects":{"p":{"labels":[{"annotations":{"objects":[{"name":"box","classifications":[]}],"classifications":[{"name":"kind","radio_answer":{"name":"ripe","value":"r"}},{"name":"more","checklist_answers":[{"name":"red"},{"name":"round"}]}]}}]}}}`, Labels, nil, []string{"g|box", "g|red", "g|ripe", "g|round"}, 0},
		"label studio": {"x.json", `[{"id":1,"data":{"image":"x"},"annotations":[{"result":[{"type":"choices","value":{"choices":["cat"]}},{"type":"rectanglelabels","value":{"x":1,"rectanglelabels":["eye"]}}]},{"was_cancelled":true,"result":[{"value":{"choices":["no"]}}]}]}]`, Labels, nil, []string{"1|cat", "1|eye"}, 0},
		"ground truth": {"x.manifest", `{"source-ref":"s3://b/x.jpg","animal":1,"animal-metadata":{"class-name":"cat","job-name":"j"},"boxes":{},"boxes-metadata":{"class-map":{"0":"eye"}}}`, Labels, nil, []string{"s3://b/x.jpg|cat", "s3://b/x.jpg|eye"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.data
			if c.file != "" {
				path = l.write(c.file, c.data)
			}
			res, err := l.r.ReadPairs(t.Context(), Source{Manifest: path, Fields: c.fields}, c.kind, "m", ReadOptions{})
			ok(t, err)
			l.expect("SELECT asset_id, value, confidence FROM m ORDER BY asset_id, value", c.want...)
			if res.Rejected != c.faults {
				t.Error(l.rows("SELECT * FROM m_rejects"))
			}
		})
	}
}

const cocoTruth = `{"info": {"a": [1, {"b": "}]"}]}, "licenses": [],
 "annotations": [
  {"id": 7, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40], "iscrowd": 0, "segmentation": [[1,2,3]]},
  {"id": 8, "image_id": 1, "category_id": 4, "bbox": [5, 5, 10, 10], "iscrowd": 1},
  {"id": 9, "image_id": 2, "category_id": 99, "bbox": [5, 5, 10, 10]},
  {"id": 10, "image_id": 77, "category_id": 3, "bbox": [5, 5, 10, 10]},
  {"id": 11, "image_id": 1, "category_id": 3, "bbox": [5, 5, 0, 10]}
 ],
 "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}],
 "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog \"x\""}]
}
`

// TestCoco reads ground truth, in one pass and with its annotations first, and
// results that refer to it.
func TestCoco(t *testing.T) {
	l := newLab(t)
	truth := l.write("truth.json", cocoTruth)
	res, err := l.r.ReadPairs(t.Context(), Source{Manifest: truth}, Labels, "m", ReadOptions{})
	ok(t, err)
	l.expect("SELECT asset_id, value, object, x, y, width, height, crowd, line FROM m ORDER BY asset_id, object",
		"a.jpg|cat|7|1.0|2.0|30.0|40.0|false|3", "a.jpg|dog \"x\"|8|5.0|5.0|10.0|10.0|true|4", "c.jpg|9")
	l.expect("SELECT line, error FROM m_rejects ORDER BY line",
		"5|annotation 9: category_id 99 is none of the categories of the COCO ground truth", "6|annotation 10: image_id 77 is none of the images of the COCO ground truth",
		"7|annotation 11: bbox: its width is 0 and its height 10; both must be above 0 (a box is [x, y, width, height])")
	if res.Rows != 3 || res.Rejected != 3 {
		t.Errorf("%+v", res)
	}
	results := l.write("results.json", `[{"image_id":1,"category_id":3,"bbox":[1,2,30,40],"score":0.5},
		{"image_id":1,"category_id":3,"bbox":[1,2,30,40],"score":0.25},{"image_id":1,"category_id":5,"bbox":[1,2,30,40],"score":0.25},{"image_id":1,"category_id":3,"bbox":[1,2,30,40],"score":1.25}]`)
	_, err = l.r.ReadPairs(t.Context(), Source{Manifest: results, Coco: []string{truth}}, Predictions, "m", ReadOptions{})
	ok(t, err)
	l.expect("SELECT asset_id, value, confidence, x, width FROM m ORDER BY confidence", "a.jpg|cat|0.25|1.0|30.0", "a.jpg|cat|0.5|1.0|30.0")
	l.expect("SELECT line, error FROM m_rejects ORDER BY error", `2|category_id 5 is none of the categories of the COCO ground truth`, `2|score: "1.25" is no number from 0 to 1`)
	_, err = l.r.ReadPairs(t.Context(), Source{Manifest: results}, Predictions, "m", ReadOptions{})
	if err == nil || !strings.Contains(err.Error(), "coco:") {
		t.Error(err)
	}
	for cut, want := range map[int]string{40: "too early", 300: "too early", len(cocoTruth) - 3: "too early"} {
		path := l.write("cut.json", cocoTruth[:cut])
		_, err := l.r.ReadPairs(t.Context(), Source{Manifest: path}, Labels, "m", ReadOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "cut.json: line ") {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestCocoRefused: a picture whose annotations cannot be read is not known to be empty.
func TestCocoRefused(t *testing.T) {
	l := newLab(t)
	truth := l.write("truth.json", `{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}, {"id": 3, "file_name": "c"}],
"categories": [{"id": 1, "name": "cat"}],
"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [NaN, 1, 2, 3]},
{"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 1, -2, 3]}]}`)
	_, err := l.r.ReadPairs(t.Context(), Source{Manifest: truth}, Labels, "m", ReadOptions{})
	ok(t, err)
	l.expect("SELECT asset_id, value FROM m", "c")
	l.expect("SELECT line, error FROM m_rejects ORDER BY line", "3|annotation: character 53: NaN is no JSON; write null, or a number",
		"4|annotation 2: bbox: its width is -2 and its height 3; both must be above 0 (a box is [x, y, width, height])")
}

func TestPairsOfObjects(t *testing.T) {
	l := newLab(t)
	parquet := filepath.Join(l.dir, "p.parquet")
	_, err := l.db.Copy(t.Context(), `SELECT 'a' AS asset_id, NULL AS prediction, MAP {'cat': 0.2, 'dog': 0.8} AS probabilities, NULL::DOUBLE[] AS bbox
		UNION ALL SELECT 'b', 'cat', NULL, [1, 2, 3, 4] UNION ALL SELECT 'c', 'cat', NULL, [1, 2, 3] UNION ALL SELECT 'd', 'cat', MAP {'cat': 7}, NULL`, parquet)
	ok(t, err)
	structs := filepath.Join(l.dir, "s.parquet")
	_, err = l.db.Copy(t.Context(), `SELECT 'a' AS asset_id, {'cat': 0.7, 'dog': 0.3, 'cow': NULL::DOUBLE} AS probabilities`, structs)
	ok(t, err)
	for name, c := range map[string]struct {
		file, data string
		kind       PairKind
		want       []string
		faults     []string
	}{
		"boxes": {"l.jsonl", `{"asset_id":"a","label":"cat","bbox":[1,2,3,4]}
{"asset_id":"a","label":"cat","bbox":{"left":5,"top":2,"width":3,"height":4},"object":7}
{"asset_id":"b","label":"cat","bbox":[1,2,3]}
{"asset_id":"c","label":"cat","bbox":[1,2,3,-4]}`, Labels, []string{"a|cat|1.0|2.0|3.0|4.0", "a|cat|7|5.0|2.0|3.0|4.0"},
			[]string{"3|bbox: it has 3 numbers; a box is [x, y, width, height]", "4|bbox: its width is 3 and its height -4; both must be above 0 (a box is [x, y, width, height])"}},
		"csv": {"l.csv", "asset_id,prediction,confidence,bbox,probabilities\na,cat,0.5,\"[1,2,3,4]\",\nb,,,,\"{\"\"cat\"\": 0.1, \"\"dog\"\": 0.9}\"\n", Predictions,
			[]string{"a|cat|0.5|1.0|2.0|3.0|4.0", `b|dog|0.9|[{'class': cat, 'p': 0.1}, {'class': dog, 'p': 0.9}]`}, nil},
		"probabilities": {"p.jsonl", `{"asset_id":"a","probabilities":{"cat":0.25,"dog":0.75}}
{"asset_id":"b","prediction":"cat","confidence":1,"probabilities":{"cat":2}}
{"asset_id":"c","prediction":"cat","probabilities":[1]}`, Predictions, []string{`a|dog|0.75|[{'class': cat, 'p': 0.25}, {'class': dog, 'p': 0.75}]`},
			[]string{`2|probabilities: class "cat": "2" is no number from 0 to 1`, `3|probabilities: this is no JSON object; write {"cat": 0.9, "dog": 0.1}`}},
		"maps":    {"", parquet, Predictions, []string{`a|dog|0.8|[{'class': cat, 'p': 0.2}, {'class': dog, 'p': 0.8}]`, "b|cat|1.0|2.0|3.0|4.0"}, []string{"3|bbox has 3 numbers; a box is [x, y, width, height]", "4|the confidence 7.0 is no number from 0 to 1"}},
		"structs": {"", structs, Predictions, []string{`a|cat|0.7|[{'class': cat, 'p': 0.7}, {'class': dog, 'p': 0.3}]`}, nil},
		"twice": {"t.jsonl", `{"asset_id":"a","prediction":"cat","confidence":0.5}
{"asset_id":"a","prediction":"cat","confidence":0.9}
{"asset_id":"a","prediction":"cat","confidence":0.9}
{"asset_id":"a","prediction":"dog","confidence":0.1}`, Predictions, []string{"a|cat|0.9", "a|dog|0.1"},
			[]string{`1|the prediction "cat" stands here with confidence 0.5, and with 0.9 in line 2, which counts; keep one`}},
		"labelbox": {"x.ndjson", `{"data_row":{"global_key":"g"},"projects":{"p":{"labels":[{"annotations":{"objects":[{"feature_id":"f1","name":"eye","bounding_box":{"top":2,"left":1,"height":4,"width":3}},{"feature_id":"f2","name":"eye","bounding_box":{"top":9,"left":1,"height":4,"width":3}}]}}]}}}`, Labels,
			[]string{"g|eye|f1|1.0|2.0|3.0|4.0", "g|eye|f2|1.0|9.0|3.0|4.0"}, nil},
		"labelbox's surprises": {"y.ndjson", `{"data_row":{"global_key":"none"},"projects":{}}
{"data_row":{"global_key":"empty"},"projects":{"p":{"labels":[{"annotations":{"objects":[],"classifications":[]}}]}}}
{"data_row":{"global_key":"skipped"},"projects":{"p":{"labels":[{"performance_details":{"skipped":true},"annotations":{"objects":[{"name":"eye"}]}}]}}}
{"data_row":{"global_key":"two"},"projects":{"p":{"labels":[{"annotations":{"classifications":[{"radio_answer":{"name":"cat"}}]}},{"annotations":{"classifications":[{"radio_answer":{"name":"dog"}}]}}]}}}
{"data_row":{"global_key":"text"},"projects":{"p":{"labels":[{"annotations":{"classifications":[{"name":"q","text_answer":{"content":"x"}}]}}]}}}
{"data_row":{"global_key":"flat"},"projects":{"p":{"labels":[{"annotations":{"objects":[{"name":"eye","bounding_box":{"top":2,"left":1,"height":0,"width":3}},{"name":"ear"}]}}]}}}
{"data_row":{"global_key":"cut"},"projects":{"p":{"lab`, Labels, []string{"empty", "flat|ear", "two|cat", "two|dog"},
			[]string{"5|its annotations name no class: winnow reads choices, labels and boxes, and these are of the type text_answer",
				`6|the box of "eye": its width is 3 and its height 0; both must be above 0 (a box is [x, y, width, height])`, "7|character 55: a string does not end"}},
		"label studio's surprises": {"y.json", `[{"id":1,"data":{"image":"x"},"annotations":[]},
{"id":2,"data":{"image":"x"},"annotations":[{"was_cancelled":true,"result":[{"value":{"choices":["no"]}}]}]},
{"id":3,"data":{"image":"x"},"annotations":[{"result":[]}]},
{"id":4,"data":{"image":"x"},"annotations":[{"result":[{"type":"textarea","value":{"text":["words"]}}]}]},
{"id":5,"data":{"image":"x"},"annotations":[{"result":[{"value":{"choices":["cat"]}}]},{"result":[{"value":{"choices":["dog"]}}]}]},
{"id":6,"data":{"image":"x"},"total_annotations":0}]`, Labels, []string{"3", "5|cat", "5|dog"},
			[]string{"4|its annotations name no class: winnow reads choices, labels and boxes, and these are of the type textarea"}},
		"ground truth's surprises": {"y.manifest", `{"source-ref":"a"}
{"source-ref":"b","j":0,"j-metadata":{"failure-reason":"ClientError"}}
{"source-ref":"c","j":{"annotations":[]},"j-metadata":{"class-map":{"0":"eye"}}}
{"source-ref":"d","j":{"annotations":[{"class_id":7,"left":1,"top":2,"width":3,"height":4}]},"j-metadata":{"class-map":{"0":"eye"}}}
{"source-ref":"e","j":["0","2"],"j-metadata":{"class-map":{"0":"eye","2":"ear"}}}`, Labels, []string{"c", "e|ear", "e|eye"},
			[]string{`4|box 1: class_id "7" is not in class-map`}},
		"label studio": {"x.json", `[{"id":1,"data":{"image":"x"},"predictions":[{"score":0.5,"result":[{"id":"r","original_width":200,"original_height":50,"type":"rectanglelabels","value":{"x":10,"y":10,"width":50,"height":20,"rectanglelabels":["eye"]}},{"score":0.25,"value":{"choices":["cat"]}}]}]}]`, Predictions,
			[]string{"1|cat|0.25", "1|eye|0.5|r|20.0|5.0|100.0|10.0"}, nil},
		"ground truth": {"x.manifest", `{"source-ref":"s3://b/x.jpg","boxes":{"annotations":[{"class_id":0,"left":1,"top":2,"width":3,"height":4},{"class_id":1,"left":1,"top":2,"width":3,"height":4}]},"boxes-metadata":{"class-map":{"0":"eye","1":"nose"}}}`, Labels,
			[]string{"s3://b/x.jpg|eye|1|1.0|2.0|3.0|4.0", "s3://b/x.jpg|nose|2|1.0|2.0|3.0|4.0"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.data
			if c.file != "" {
				path = l.write(c.file, c.data)
			}
			_, err := l.r.ReadPairs(t.Context(), Source{Manifest: path}, c.kind, "m", ReadOptions{})
			ok(t, err)
			l.expect("SELECT asset_id, value, confidence, object, x, y, width, height, probabilities::VARCHAR FROM m ORDER BY asset_id, value, object NULLS FIRST", c.want...)
			l.expect("SELECT line, error FROM m_rejects ORDER BY line", c.faults...)
		})
	}
}
