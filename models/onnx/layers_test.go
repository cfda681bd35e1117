package onnx

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLayers(t *testing.T) {
	library(t)
	for name, want := range map[string][]string{
		"towers.onnx": {
			"one side of a similarity: image_embeds float32[pictures,6] Gemm none 6",
			"one side of a similarity: text_embeds float32[texts,6] MatMul none 6",
			"pooled: /visual/flat float32[batch,5] Flatten none 5",
			"pooled: pooled float32[batch,4] ReduceMean none 4",
		},
		"words.onnx": {"hidden states: one vector a token: hidden float32[batch,tokens,4] Mul mean 4"},
		"half.onnx":  {"output: means float16[batch,3] Flatten none 3"},
		"means.onnx": {"output: means float32[batch,3,1,1] GlobalAveragePool none 3"},
	} {
		layers, why := inspect(t, name).Layers(context.Background())
		if why != nil {
			t.Errorf("%s: %v", name, why)
		}
		var got []string
		for _, l := range layers {
			got = append(got, fmt.Sprintf("%s: %v %s %s %d", l.What, l.Value, l.Op, l.Pooling, l.Dim))
		}
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s:\n%s", name, strings.Join(got, "\n"))
		}
	}
}
