package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVectorsFromFiles(t *testing.T) {
	config := strings.NewReplacer("of: caption}", "of: caption}\n  - {name: none, of: image}\n  - {name: both, of: image, model: efficientnet-lite0, vectors: {files: a.npy, dim: 2}}\n  - {name: fast, of: image, decode: fast, vectors: {files: 'b*.npy', dim: 0}}",
		"model: efficientnet-lite0, of: image}", "vectors: {files: clip/*.npy, ids: ./ids.txt, dim: 4}, of: image}").Replace(goodConfig)
	tree(t, good("winnow.yaml", config, "functions/ripe_apples.yaml", strings.Replace(goodFunction, "{uri: ./ref.jpg}", "{text: an apple}", 1)))
	want := []string{
		`winnow.yaml:11:5: the embedding has no model; write model: efficientnet-lite0, or vectors: for files that another program made`,
		`winnow.yaml:12:65: the vectors come from a model or from files, not from both; keep one of them`,
		`winnow.yaml:13:37: vectors from files are not decoded; take it out`,
		`winnow.yaml:13:75: dim is 0; write a whole number from 1 up to 65536`,
		`functions/ripe_apples.yaml:8:14: the embedding image has its vectors from files, so there is no model for a text; write an asset or a vector`,
	}
	if d := cmp.Diff(want, problems(t, "winnow.yaml", nil)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
