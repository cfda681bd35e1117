package models

import (
	"context"
	"math"
	"strings"
	"testing"
)

// TestJudgePixels: scales and orders that look wrong, and some that are right.
func TestJudgePixels(t *testing.T) {
	for _, c := range []struct{ image, want string }{
		{"mean: 127\n  std: 128", ""},
		{"divide: 255\n  mean: [0.485, 0.456, 0.406]\n  std: [0.229, 0.224, 0.225]", ""},
		{"divide: 127.5\n  mean: 1", ""},
		{"mean: [123.68, 116.78, 103.94]\n  channels: bgr", ""},
		{"divide: 1", "note pixels go in as 0 to 255"},
		{"mean: [0.485, 0.456, 0.406]\n  std: [0.229, 0.224, 0.225]", "looks like one of pixels from 0 to 1"},
		{"divide: 255\n  mean: 127", "divided by 255 before"},
		{"divide: 255\n  mean: [0.406, 0.456, 0.485]", "in the order blue, green, red"},
		{"mean: [103.94, 116.78, 123.68]\n  channels: bgr", "in the order blue, green, red"},
		{"mean: 100\n  std: 0.2", "more than models are trained on"},
		{"divide: 65025", "sees hardly anything"},
	} {
		s := parsed(t, imageYAML[:strings.Index(imageYAML, "  fit:")]+"  "+c.image+"\n")
		m := &Model{spec: s}
		for ch := range m.table {
			for v := range m.table[ch] {
				m.table[ch][v] = float32((float64(v)/s.Image.Divide - s.Image.Mean[ch]) / s.Image.Std[ch])
			}
		}
		e := &Examination{}
		m.judgePixels(e, s.Image)
		got := ""
		for _, f := range e.Findings {
			if f.Note {
				got += "note "
			}
			got += f.What + "\n"
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.image, got, c.want)
		}
	}
}

func TestJudgeVectors(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		vectors [][]float32
		want    string
	}{
		{[][]float32{{1, 0}, {0, 1}}, ""},
		{[][]float32{{1, 0}, {1, 0.01}}, "nearly equal"},
		{[][]float32{{1, 0}, {nan, 0}}, "example 2: the model returned NaN"},
		{[][]float32{{0, 0}, {1, 0}}, "vector of zeros"},
		{[][]float32{{2, 0}, {0, 2}}, "length 2, not 1"},
	} {
		e := &Examination{}
		(&Model{spec: &Spec{Normalize: "l2"}}).judgeVectors(e, c.vectors)
		got := ""
		for _, f := range e.Findings {
			got += f.What + "\n"
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.vectors, got, c.want)
		}
	}
}

// TestExamineShipped: nothing is wrong with the models that winnow brings.
func TestExamineShipped(t *testing.T) {
	for _, name := range []string{"efficientnet-lite0", "use-multilingual-v3"} {
		e, err := sharedModel(t, name).Examine(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if e.Faults() > 0 || e.Unknown > 0 || e.Examples < 4 || e.Alike > 0.9 || e.Moves > mostMove {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
