package configs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"winnow/pipeline"
	"winnow/pipeline/function"
)

// origin is where an anchor stands that a function takes over from another.
type origin struct {
	fn   *Function
	path string
}

// deriver fills in what functions take over from those that they are like.
type deriver struct {
	byName   map[string]*Function
	names    []string
	partial  bool // some function could not be read, so an unknown name may be its
	done     map[*Function]bool
	open     []*Function // being resolved, each like the next one
	problems []pipeline.Problem
}

// derive resolves `like:` in every function of all; bases are known to them, and
// resolved already. What a function does not say itself is the other one's:
// embedding or combine_over, combine, threshold, and anchors beside its own.
func derive(all, bases []*Function, partial bool) []pipeline.Problem {
	d := &deriver{byName: map[string]*Function{}, partial: partial, done: map[*Function]bool{}}
	for _, f := range append(slices.Clone(all), bases...) {
		if f.Name != "" && d.byName[f.Name] == nil {
			d.byName[f.Name] = f
			d.names = append(d.names, f.Name)
		}
	}
	for _, f := range bases {
		d.done[f] = true
	}
	for _, f := range all {
		d.resolve(f)
	}
	return d.problems
}

func (d *deriver) bad(f *Function, what, fix string) {
	d.problems = append(d.problems, f.Problem("$.like", fmt.Sprintf("function %s: %s", f.Name, what), fix))
}

func (d *deriver) resolve(f *Function) {
	if d.done[f] || f.Like == "" {
		return
	}
	d.done[f] = true
	base := d.byName[f.Like]
	if base == nil {
		if !d.partial {
			others := slices.DeleteFunc(slices.Clone(d.names), func(n string) bool { return n == f.Name })
			d.bad(f, fmt.Sprintf("there is no function %q to be like", f.Like), meant(f.Like, others, "name another function of the config"))
		}
		return
	}
	if f.said("$.embedding") && f.said("$.combine_over") {
		return // Validate has told
	}
	d.open = append(d.open, f)
	if i := slices.Index(d.open, base); i >= 0 {
		var ring []string
		for _, x := range d.open[i:] {
			ring = append(ring, x.Name)
		}
		d.bad(f, "it is like itself: "+strings.Join(append(ring, base.Name), " → "), "let one of them state its anchors without like")
	} else {
		d.resolve(base)
	}
	d.open = d.open[:len(d.open)-1]
	if len(base.Spaces()) == 0 { // it is broken, and that is told
		return
	}
	f.takeOver(base)
	if len(f.Anchors.Positive) == 0 {
		d.bad(f, fmt.Sprintf("its negative anchors leave no positive one of %s", base.Name), "name a positive anchor")
	}
	if len(f.CombineOver) > 0 && len(base.CombineOver) == 0 {
		eachAnchor(base, func(_ string, a function.Anchor) {
			if a.Vector != "" {
				d.problems = append(d.problems, f.Problem("$.combine_over",
					fmt.Sprintf("function %s takes over the anchor %s of %s, and a vector lies in one space", f.Name, a, base.Name), "write embedding: NAME"))
			}
		})
	}
}

// said reports whether the file has a value at path.
func (f *Function) said(path string) bool {
	_, ok := f.marks[path]
	return ok
}

// takeOver fills in what f does not say itself. An anchor that f names, too, on
// either side, is f's own.
func (f *Function) takeOver(base *Function) {
	if f.Embedding == "" && len(f.CombineOver) == 0 {
		f.Embedding, f.CombineOver = base.Embedding, base.CombineOver
	}
	if !f.said("$.combine") {
		f.Combine = base.Combine
	}
	if !f.said("$.threshold") {
		f.Threshold = base.Threshold
		if f.Threshold.Is(function.RulePrecision) && f.Threshold.Label == "" {
			f.Threshold.Label = base.Name // the rule stays about the same rows
		}
	}
	own := map[string]bool{}
	eachAnchor(f, func(_ string, a function.Anchor) { own[a.String()] = true })
	f.inherited = map[string]origin{}
	take := func(side string, mine, theirs []function.Anchor) []function.Anchor {
		for i, a := range theirs {
			a.URI, a.Vector = f.beside(base, a.URI), f.beside(base, a.Vector)
			if own[a.String()] {
				continue
			}
			path := fmt.Sprintf("$.anchors.%s[%d]", side, i)
			f.inherited[fmt.Sprintf("$.anchors.%s[%d]", side, len(mine))] = origin{base, path}
			mine = append(mine, a)
		}
		return mine
	}
	f.Anchors.Positive = take("positive", slices.Clip(f.Anchors.Positive), base.Anchors.Positive)
	f.Anchors.Negative = take("negative", slices.Clip(f.Anchors.Negative), base.Anchors.Negative)
}

// beside makes a path that is relative to the folder of base relative to f's.
func (f *Function) beside(base *Function, path string) string {
	if path == "" || strings.Contains(path, "://") || filepath.IsAbs(path) || f.Dir() == base.Dir() {
		return path
	}
	path = filepath.Join(base.Dir(), path)
	if rel, err := filepath.Rel(f.Dir(), path); err == nil {
		return rel
	}
	return path
}

// placed follows an anchor that was taken over to the file that states it.
func (f *Function) placed(path string) (*Function, string) {
	for to, from := range f.inherited {
		if rest, ok := strings.CutPrefix(path, to); ok {
			return from.fn.placed(from.path + rest)
		}
	}
	return f, path
}

// Parts are the function within each of its embeddings, by their names: itself
// where it has one.
func (f *Function) Parts() []*Function {
	var parts []*Function
	for _, e := range f.Spaces() {
		parts = append(parts, f.Part(e))
	}
	return parts
}

// Part is the function within one of its embeddings.
func (f *Function) Part(embedding string) *Function {
	if f.Embedding == embedding {
		return f
	}
	p := *f
	p.Definition = f.Definition.Part(embedding)
	return &p
}

// Within are the parts of the functions that search an embedding.
func Within(fns []*Function, embedding string) (parts []*Function) {
	for _, f := range fns {
		if slices.Contains(f.Spaces(), embedding) {
			parts = append(parts, f.Part(embedding))
		}
	}
	return parts
}
