package configs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"winnow/pipeline"
	"winnow/pipeline/function"
)

// checker looks at a decoded config as a whole. A value that the decoder found
// wrong is empty here, and passed over.
type checker struct {
	c        *Config
	dir      string // of the config file
	problems []pipeline.Problem
	told     []string // paths that the decoder has reported
	added    []string // and that add has
	draft    bool     // a glob of functions may find none
	partial  bool     // a function file is missing or cannot be read
}

func (k *checker) add(path, fix, format string, args ...any) {
	k.added = append(k.added, path)
	k.problems = append(k.problems, k.c.Problem(path, fmt.Sprintf(format, args...), fix))
}

func (k *checker) given(path string) bool { _, ok := k.c.marks[path]; return ok }

// addresses makes all addresses absolute and names the sources.
func (k *checker) addresses() {
	k.resolve("$.workspace", &k.c.Workspace, storeSchemes)
	names := map[string]bool{}
	for i := range k.c.Sources {
		s := &k.c.Sources[i]
		path := fmt.Sprintf("$.sources[%d]", i)
		if s.Name == "" {
			s.Name = s.Manifest
		}
		if s.Name != "" && names[s.Name] {
			k.add(path, "give one of them a name: of its own", "two sources are called %q", s.Name)
		}
		names[s.Name] = true
		k.resolve(path+".manifest", &s.Manifest, storeSchemes)
		for j := range s.Allow {
			k.resolve(fmt.Sprintf("%s.allow[%d]", path, j), &s.Allow[j], append(storeSchemes[:len(storeSchemes):len(storeSchemes)], "http", "https"))
		}
		if len(s.Allow) == 0 && s.Manifest != "" {
			s.Allow = []string{home(s.Manifest)}
		}
	}
	for i := range k.c.Labels {
		k.resolve(fmt.Sprintf("$.labels[%d].manifest", i), &k.c.Labels[i].Manifest, storeSchemes)
	}
	for i := range k.c.Predictions {
		k.resolve(fmt.Sprintf("$.predictions[%d].manifest", i), &k.c.Predictions[i].Manifest, storeSchemes)
		k.resolve(fmt.Sprintf("$.predictions[%d].coco", i), &k.c.Predictions[i].Coco, storeSchemes)
	}
	for i := range k.c.Embeddings {
		k.vectors(fmt.Sprintf("$.embeddings[%d]", i), &k.c.Embeddings[i])
		// A name is a model that winnow ships, anything like a path is a spec file.
		if m := &k.c.Embeddings[i].Model; strings.ContainsRune(*m, '/') || strings.HasSuffix(*m, ".yaml") || strings.HasSuffix(*m, ".yml") {
			k.resolve(fmt.Sprintf("$.embeddings[%d].model", i), m, []string{"file"})
		}
	}
}

// leastMemory is what training a small index takes.
const leastMemory Bytes = 50_000_000

// vectors checks where an embedding's vectors come from.
func (k *checker) vectors(path string, e *Embedding) {
	model, vectors := k.given(path+".model"), k.given(path+".vectors")
	switch {
	case model && vectors:
		k.add(path+".vectors", "keep one of them", "the vectors come from a model or from files, not from both")
	case !model && !vectors && !tells(k.told, path):
		k.add(path, "write model: efficientnet-lite0, or vectors: for files that another program made", "the embedding has no model")
	case e.Decode != "" && vectors:
		k.add(path+".decode", "take it out", "vectors from files are not decoded")
	case e.Decode != "" && e.Of != "" && e.Of != "image":
		k.add(path+".decode", "take it out", "texts are not decoded")
	}
	if m := e.Index.Memory; k.given(path+".index.memory") && m < leastMemory {
		k.add(path+".index.memory", "give it at least "+leastMemory.String(), "an index cannot be built in %s", m)
	}
	if v := e.Vectors; v != nil {
		k.resolve(path+".vectors.files", &v.Files, storeSchemes)
		k.resolve(path+".vectors.ids", &v.IDs, storeSchemes)
	}
}

func (k *checker) resolve(path string, address *string, schemes []string) {
	if strings.TrimSpace(*address) == "" {
		return
	}
	got, f := resolve(k.dir, *address, schemes)
	if f != nil {
		k.add(path, f.fix, "%s", f.what)
		return
	}
	*address = got
}

// functions reads the function files and checks them against the config.
func (k *checker) functions(env func(string) (string, bool)) {
	seen := map[string]bool{}
	for i, g := range k.c.Functions {
		path := "$.functions"
		if p := index(path, i); k.given(p) {
			path = p
		}
		if strings.TrimSpace(g) == "" {
			k.add(path, "write a path or glob, or delete the line", "functions is empty")
			continue
		}
		files, f := expandGlob(k.dir, g)
		if f != nil {
			k.partial = true
			if !k.draft || !strings.HasPrefix(f.what, noFile) || !strings.ContainsAny(g, "*?[") {
				k.add(path, f.fix, "%s", f.what)
			}
		}
		for _, file := range files {
			if seen[file] {
				continue
			}
			seen[file] = true
			fn, problems := readFunction(file, env)
			k.partial = k.partial || fn.Name == ""
			k.problems = append(k.problems, problems...)
			k.c.Definitions = append(k.c.Definitions, fn)
		}
	}
	k.problems = append(k.problems, twins(k.c.Definitions)...)
	k.problems = append(k.problems, derive(k.c.Definitions, nil, k.partial)...)
	for _, fn := range k.c.Definitions {
		k.function(fn)
	}
}

func (k *checker) function(fn *Function) {
	bad := func(path, fix, format string, args ...any) {
		k.problems = append(k.problems, fn.Problem(path, fmt.Sprintf(format, args...), fix))
	}
	for _, name := range fn.Spaces() {
		path := "$.embedding"
		if len(fn.CombineOver) > 0 {
			path = "$.combine_over." + name
		}
		e, ok := k.c.Embedding(name)
		switch {
		case !ok:
			bad(path, meant(name, k.embeddings(), "the config has no embeddings"), "the config has no embedding %q", name)
		case len(fn.CombineOver) > 0: // its anchors need a place in one of them: see CheckModels
		case e.Vectors != nil:
			k.noModel(fn, e)
		case e.Of != "" && e.Of != "image":
			k.uris(fn, e)
		}
	}
	if fn.Threshold.Is(function.RulePrecision) && len(k.c.Labels) == 0 {
		bad("$.threshold", "add labels: to the config, or write another threshold", "a threshold by precision needs labels, and the config names none")
	}
}

// uris refuses images as anchors of texts.
func (k *checker) uris(fn *Function, e Embedding) {
	eachAnchor(fn, func(path string, a function.Anchor) {
		if a.URI != "" {
			k.problems = append(k.problems, fn.Problem(path+".uri",
				fmt.Sprintf("a uri anchor is an image, and the embedding %s is of %s", e.Name, e.Of), "write a text or an asset"))
		}
	})
}

// noModel refuses anchors that a model would have to embed.
func (k *checker) noModel(fn *Function, e Embedding) {
	eachAnchor(fn, func(path string, a function.Anchor) {
		for kind, value := range map[string]string{"text": a.Text, "uri": a.URI} {
			if value != "" {
				k.problems = append(k.problems, fn.Problem(path+"."+kind,
					fmt.Sprintf("the embedding %s has its vectors from files, so there is no model for a %s", e.Name, kind), "write an asset or a vector"))
			}
		}
	})
}

func eachAnchor(fn *Function, do func(path string, a function.Anchor)) {
	for i, a := range fn.Anchors.Positive {
		do(fmt.Sprintf("$.anchors.positive[%d]", i), a)
	}
	for i, a := range fn.Anchors.Negative {
		do(fmt.Sprintf("$.anchors.negative[%d]", i), a)
	}
}

func (k *checker) embeddings() []string {
	var names []string
	for _, e := range k.c.Embeddings {
		if e.Name != "" {
			names = append(names, e.Name)
		}
	}
	return names
}

// names reports embeddings and batches of one name.
func (k *checker) names() {
	k.unique("embeddings", len(k.c.Embeddings), func(i int) string { return k.c.Embeddings[i].Name })
	k.unique("batches", len(k.c.Batches), func(i int) string { return k.c.Batches[i].Name })
}

func (k *checker) unique(list string, n int, name func(int) string) {
	first := map[string]int{}
	for i := range n {
		path := fmt.Sprintf("$.%s[%d].name", list, i)
		if before, twice := first[name(i)]; twice && name(i) != "" {
			k.add(path, "give one of them another name", "%s has %q twice, first in line %d", list, name(i), k.c.marks.find(fmt.Sprintf("$.%s[%d].name", list, before)).line)
			continue
		}
		first[name(i)] = i
	}
}

// Model is what a config check needs to know of a model.
type Model struct {
	Image bool // embeds images
	Text  bool // embeds texts
	Tower bool // an image model with a text tower: functions over it may have text anchors
}

// CheckModels checks the models of the embeddings, and that functions have
// text anchors only where the model embeds texts. look finds a model by what
// the config says of it: a name, or an absolute path of a spec; its error says
// what is wrong and what to do, parted by "; ".
func CheckModels(look func(model string) (Model, error)) Check {
	return func(c *Config) (problems []pipeline.Problem) {
		texts, specs := map[string]bool{}, map[string]bool{}
		for i, e := range c.Embeddings {
			texts[e.Name] = true // what is unknown is not complained about
			if e.Model == "" {
				continue
			}
			path := fmt.Sprintf("$.embeddings[%d]", i)
			m, err := look(e.Model)
			var inSpec *pipeline.UsageError
			if errors.As(err, &inSpec) && len(inSpec.Problems) > 0 && inSpec.Problems[0].File != "" {
				if !specs[e.Model] {
					specs[e.Model] = true
					problems = append(problems, inSpec.Problems...)
				}
				continue
			}
			if err != nil {
				what, fix := parts(err)
				problems = append(problems, c.Problem(path+".model", what, fix))
				continue
			}
			texts[e.Name] = m.Text || m.Tower
			switch {
			case e.Of == "image" && !m.Image:
				problems = append(problems, c.Problem(path+".of", fmt.Sprintf("the model %s embeds texts, not images", filepath.Base(e.Model)), "write of: text or of: caption, or name an image model"))
			case e.Of != "" && e.Of != "image" && !m.Text:
				problems = append(problems, c.Problem(path+".of", fmt.Sprintf("the model %s embeds images, not texts", filepath.Base(e.Model)), "write of: image, or name a text model"))
			}
		}
		for _, f := range c.Definitions {
			if len(f.CombineOver) > 0 {
				problems = append(problems, homeless(c, f, texts)...)
				continue
			}
			if able, known := texts[f.Embedding]; able || !known {
				continue
			}
			eachAnchor(f, func(path string, a function.Anchor) {
				if a.Text != "" {
					problems = append(problems, f.Problem(path+".text",
						fmt.Sprintf("the model of the embedding %s embeds no texts", f.Embedding), "write an asset or a uri, or choose an image model whose spec names a text_tower"))
				}
			})
		}
		return problems
	}
}

// homeless reports anchors of a function over several embeddings that none of them
// takes, and embeddings that take no positive anchor. texts tells the embeddings
// that take texts.
func homeless(c *Config, f *Function, texts map[string]bool) (problems []pipeline.Problem) {
	takes := func(a function.Anchor, name string) bool {
		e, ok := c.Embedding(name)
		switch {
		case !ok || a.Asset != "" || a.Vector != "": // told elsewhere, or later
			return true
		case e.Vectors != nil:
			return false
		case a.Text != "":
			able, known := texts[name]
			return able || !known
		}
		return e.Of == "image" || e.Of == ""
	}
	eachAnchor(f, func(path string, a function.Anchor) {
		if !slices.ContainsFunc(f.Spaces(), func(e string) bool { return takes(a, e) }) {
			problems = append(problems, f.Problem(path, fmt.Sprintf("no embedding of %s takes the anchor %s", f.Space(), a), "write an asset, or add an embedding to combine_over that embeds such anchors"))
		}
	})
	for _, e := range f.Spaces() {
		if !slices.ContainsFunc(f.Anchors.Positive, func(a function.Anchor) bool { return takes(a, e) }) && len(f.Anchors.Positive) > 0 {
			problems = append(problems, f.Problem("$.combine_over."+e, fmt.Sprintf("function %s: no positive anchor has a place in the embedding %s", f.Name, e), "name an anchor that it can embed, or an asset; or leave it out of combine_over"))
		}
	}
	return problems
}
