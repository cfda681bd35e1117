package configs

import (
	"strings"
	"testing"
	"time"

	"winnow/pipeline/function"
)

// seeds are inputs that have troubled YAML readers.
var seeds = []string{
	goodConfig, goodFunction, "", "\n", "# c", "---\n...\n", "- 1", "a", "a: b: c", "{", "[", "{a", "[[[[", "a: &a [*a]", "a: &a {<<: *a}",
	"<<: 1", "<<: [1]", "? a\n: b", "? {a: b}\n: c", "a: !!binary x", "!x y: z", "a: |\n", "a: >-\n\n", "\tx", "a:\n\tb", "a: *b", "&a a: b", "\ufeffworkspace: x",
	"workspace: \x00", "workspace: ${", "workspace: $${${", "workspace: ${A}${B}", "size: 1_000", "seed: 0x10", "seed: 99999999999999999999", "seed: 1e99999",
	"batches: [{select: [{random: ~}]}]", "batches: [~, [], {}, x]", "sources: {a: b}", "embeddings: [{name: [], model: {}, of: 1}]", "functions: [[]]", "functions: {a: b}",
	"limits: []", "threshold: {}", "threshold: [", "anchors: {positive: [{asset: 1}, {asset: ~}], negative: x}", "workspace: &w x\nworkspace: *w",
	"a: 'x", "a: \"\\x", "a: \"\\u12\"", "%YAML 9.9\n---\na: b", "'a': b", "1: 2", "~: 1", "{}: 1", "[]: 1", "a: !!str", "a: !!int {}", "- - - -", "?\n", "? ? ?", ":", ": :", "::", "-", "---", "a: # c\n# d",
}

// FuzzDecode reads anything as a config and as a function. It must neither panic
// nor stay silent about a file that it could not read, and every problem must
// point into the file.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	env := lookup(map[string]string{"A": "1", "B": "x: [", "C": ""})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ps := decodeConfig("f", "/nonexistent", data, env, false)
		if len(ps) == 0 && (c.Workspace == "" || len(c.Sources) == 0 || len(c.Embeddings) == 0) {
			t.Errorf("no problem, and yet %+v", c)
		}
		var def function.Definition
		d := decodeFile("f", data, env, functionSchema(), &def)
		if len(d.problems) == 0 && def.Name == "" {
			t.Errorf("no problem, and yet %+v", def)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, p := range append(ps, d.problems...) {
			if p.Line > lines+1 || p.Line < 0 || p.What == "" {
				t.Errorf("%d lines, and a problem at %+v", lines, p)
			}
		}
	})
}

// TestHostileFiles must be refused or read in a time and depth that a process
// survives.
func TestHostileFiles(t *testing.T) {
	n := 10_000
	for name, text := range map[string]string{
		"brackets": strings.Repeat("[", n), "braces": strings.Repeat("{a: ", n), "dashes": strings.Repeat("- ", n),
		"questions": strings.Repeat("? ", n), "anchors": strings.Repeat("&a ", n), "tags": strings.Repeat("!a ", n),
		"quotes": `"` + strings.Repeat("\\", n), "too large": strings.Repeat("#", maxFile+1), "colons": strings.Repeat("a: ", n),
		"bombs": "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: &d [*c, *c, *c, *c]\nworkspace: *d\nsources: *d\n",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, ps := decodeConfig("f", "/nonexistent", []byte(text), lookup(nil), false)
			if len(ps) == 0 {
				t.Error("no problem")
			}
			t.Logf("%d problems in %v, such as %v", len(ps), time.Since(began), ps[0])
		})
	}
}

// TestLargeFunction reads a function of many anchors, which is no attack.
func TestLargeFunction(t *testing.T) {
	const n = 5_000
	var b strings.Builder
	b.WriteString("name: many\nembedding: image\nanchors:\n  positive:\n")
	for i := range n {
		b.WriteString("    - {asset: pictures/")
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString(time.Duration(i).String())
		b.WriteString(", weight: 2}\n")
	}
	var def function.Definition
	began := time.Now()
	d := decodeFile("f", []byte(b.String()), lookup(nil), functionSchema(), &def)
	if len(d.problems) > 0 || len(def.Anchors.Positive) != n {
		t.Errorf("%d anchors, problems %v", len(def.Anchors.Positive), d.problems)
	}
	t.Logf("%d bytes in %v", b.Len(), time.Since(began))
}
