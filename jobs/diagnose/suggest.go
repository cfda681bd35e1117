package diagnose

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"winnow/pipeline"
	"winnow/pipeline/diagnose"
	"winnow/pipeline/function"
	"winnow/pipeline/seeded"
)

const (
	mostErrors  = 1000 // mistakes of a class that are grouped
	leastErrors = 3    // that make a function
	mostAnchors = 50   // of a kind in a function

	// breadth is how many rows the functions match for each of the suggested batch,
	// which takes those that lie farthest from each other and from labeled rows.
	// Measured on 40 seeds of TestTheLoopCloses: 1.5 and 2 are best, at 3 too few
	// rows are of the class, and the best matches alone are too much alike.
	breadth = 1.5
)

// Suggestion is a function that finds rows like a group of mistakes.
type Suggestion struct {
	Name     string   `json:"name"`
	File     string   `json:"file"`
	Class    string   `json:"class"`
	Kind     string   `json:"kind"`     // missed: labels that were not found; wrong: guesses that are none
	Against  []string `json:"against"`  // the classes that it is confused with, the most frequent first
	Mistakes int      `json:"mistakes"` // in the group
	Positive int      `json:"positive"` // anchors
	Negative int      `json:"negative"`
	Kept     bool     `json:"kept,omitempty"` // a file of that name was there that somebody changed or wrote

	text string
	def  *function.Definition
}

// mistake is one asset where a class went wrong, and the class it went to (-1 is
// None).
type mistake struct {
	asset string
	other int
}

// suggest groups the mistakes of the low classes and writes functions.
func (d *diagnosis) suggest(ctx context.Context, s *subject, v *embedding) error {
	forced := map[int]bool{}
	for _, n := range d.Class {
		c, ok := d.number[n]
		if !ok {
			return pipeline.Usagef("--class %q: no label or prediction has this class; they are %s", n, strings.Join(d.names, ", "))
		}
		forced[c] = true
	}
	if v == nil {
		return nil
	}
	right := d.rightAssets(s)
	taken := map[string]bool{}
	for _, c := range d.report.Classes {
		if len(c.Low) == 0 && len(forced) == 0 || len(forced) > 0 && !forced[c.number] {
			continue
		}
		low := map[string]bool{"recall": forced[c.number], "precision": forced[c.number]}
		for _, l := range c.Low {
			low[l.Measure] = true
		}
		missed, wrong := d.mistakes(s, c.number)
		for _, k := range []struct {
			kind string
			list []mistake
			on   bool
		}{{"missed", missed, low["recall"] || low["f1"]}, {"wrong", wrong, low["precision"] || low["f1"]}} {
			if !k.on {
				continue
			}
			if err := d.group(ctx, v, c, k.kind, k.list, right, taken); err != nil {
				return err
			}
		}
	}
	return d.save(s.model)
}

// rightAssets lists, by class, the assets whose labels and guesses all are right,
// in a seeded order.
func (d *diagnosis) rightAssets(s *subject) [][]string {
	out := make([][]string, len(d.names))
	for i := range s.items {
		it := &s.items[i]
		st := stateOf(it, s.pairs[i])
		if st.missed+st.wrongGuess > 0 {
			continue
		}
		for _, t := range it.Truth {
			out[t.Class] = append(out[t.Class], it.ID)
		}
	}
	for c := range out {
		slices.Sort(out[c])
		out[c] = slices.Compact(out[c])
		d.shuffle(out[c])
	}
	return out
}

func (d *diagnosis) shuffle(ids []string) {
	seed := d.w.Config.Seed
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(seeded.Hash(seed, a), seeded.Hash(seed, b)) })
}

// mistakes lists the assets where labels of a class were missed, and where guesses
// of it are wrong, each once.
func (d *diagnosis) mistakes(s *subject, class int) (missed, wrong []mistake) {
	once := map[string]int{} // 1 missed, 2 wrong
	for i := range s.items {
		it := &s.items[i]
		for _, p := range s.pairs[i] {
			if p.Right(it) {
				continue
			}
			if p.Truth >= 0 && it.Truth[p.Truth].Class == class && once[it.ID]&1 == 0 {
				once[it.ID] |= 1
				other := -1
				if p.Guess >= 0 {
					other = it.Guess[p.Guess].Class
				}
				missed = append(missed, mistake{it.ID, other})
			}
			if p.Guess >= 0 && it.Guess[p.Guess].Class == class && once[it.ID]&2 == 0 {
				once[it.ID] |= 2
				other := -1
				if p.Truth >= 0 {
					other = it.Truth[p.Truth].Class
				}
				wrong = append(wrong, mistake{it.ID, other})
			}
		}
	}
	return missed, wrong
}

// group parts the mistakes of a class into groups of like ones, and makes a
// function of each.
func (d *diagnosis) group(ctx context.Context, v *embedding, c Class, kind string, list []mistake, right [][]string, taken map[string]bool) error {
	if len(list) > mostErrors {
		seed := d.w.Config.Seed
		slices.SortStableFunc(list, func(a, b mistake) int { return cmp.Compare(seeded.Hash(seed, a.asset), seeded.Hash(seed, b.asset)) })
		d.warn("class %s: %d of its %d %s rows are grouped, a seeded sample", c.Name, mostErrors, len(list), kind)
		list = list[:mostErrors]
	}
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.asset
	}
	vectors, err := v.live.Vectors(ctx, ids)
	if err != nil {
		return err
	}
	var rows []float32
	var have []mistake
	for _, m := range list {
		if x := vectors[m.asset]; x != nil {
			rows, have = append(rows, x...), append(have, m)
		}
	}
	n := 0
	for _, g := range diagnose.Cluster(rows, v.live.Dim) {
		if len(g) < leastErrors {
			continue
		}
		n++
		members := make([]mistake, len(g))
		for i, at := range g {
			members[i] = have[at]
		}
		if err := d.function(ctx, v, c, kind, n, members, right, taken); err != nil {
			return err
		}
	}
	return nil
}

// function makes a function of one group: its positives are the mistakes, the most
// typical first; its negatives are rows that the model has right, of the classes
// that the mistakes are confused with: of those that were guessed instead, or, for
// wrong guesses, of the guessed class.
func (d *diagnosis) function(ctx context.Context, v *embedding, c Class, kind string, n int, group []mistake, right [][]string, taken map[string]bool) error {
	count := map[int]int{}
	for _, m := range group {
		if m.other >= 0 {
			count[m.other]++
		}
	}
	var others []int
	for o := range count {
		others = append(others, o)
	}
	slices.SortFunc(others, func(a, b int) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	sg := Suggestion{Class: c.Name, Kind: kind, Mistakes: len(group), Against: []string{}}
	var pool []string
	for _, o := range others {
		sg.Against = append(sg.Against, d.names[o])
		if kind == "missed" {
			pool = append(pool, right[o]...)
		}
	}
	if kind == "wrong" {
		pool = slices.Clone(right[c.number])
	}
	d.shuffle(pool)
	def := &function.Definition{Embedding: v.name, Threshold: function.Threshold{Rule: function.RuleTop}}
	positive := map[string]bool{}
	for _, m := range group[:min(len(group), mostAnchors)] {
		positive[m.asset] = true
		def.Anchors.Positive = append(def.Anchors.Positive, function.Anchor{Asset: m.asset})
	}
	// Only rows that have a vector can be anchors.
	hashes, err := v.live.ContentHashes(ctx, pool[:min(len(pool), 4*mostAnchors)])
	if err != nil {
		return err
	}
	for _, id := range pool {
		if _, ok := hashes[id]; ok && !positive[id] && len(def.Anchors.Negative) < mostAnchors {
			positive[id] = true // once
			def.Anchors.Negative = append(def.Anchors.Negative, function.Anchor{Asset: id})
		}
	}
	def.Name = unique(fmt.Sprintf("%s_%s_%d", kind, slug(c.Name), n), taken)
	sg.Name, sg.def = def.Name, def
	sg.Positive, sg.Negative = len(def.Anchors.Positive), len(def.Anchors.Negative)
	d.report.Functions = append(d.report.Functions, sg)
	return nil
}

// slug is a part of a column name made of a class.
func slug(class string) string {
	s := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, class), "_")
	if s == "" {
		s = "class"
	}
	return s[:min(len(s), 40)]
}

// unique is the name, with a number behind it where it is taken.
func unique(name string, taken map[string]bool) string {
	out := name
	for i := 2; taken[out]; i++ {
		out = fmt.Sprintf("%s_%d", name, i)
	}
	taken[out] = true
	return out
}

// Batch is a suggested batch: the functions of one class and kind.
type Batch struct {
	Name  string `json:"name"`
	Class string `json:"class"`
	Kind  string `json:"kind"`
	Entry string `json:"entry"` // of batches: in the config, in YAML
}

// batches makes a batch of the functions of each class and kind, and sets how many
// rows they match.
func (d *diagnosis) batches() {
	r := d.report
	taken := map[string]bool{}
	for from := 0; from < len(r.Functions); {
		first, to := r.Functions[from], from
		var matches []string
		for ; to < len(r.Functions) && r.Functions[to].Class == first.Class && r.Functions[to].Kind == first.Kind; to++ {
			matches = append(matches, r.Functions[to].Name+"_match")
		}
		top := d.Top
		if top == 0 {
			top = int(math.Ceil(breadth * float64(d.Size) / float64(to-from)))
		}
		for ; from < to; from++ {
			r.Functions[from].def.Threshold.Value = float64(top)
		}
		name := unique(first.Kind+"_"+slug(first.Class), taken)
		r.Batches = append(r.Batches, Batch{name, first.Class, first.Kind, fmt.Sprintf(
			"{name: %s, where: %s, exclude: [batched, labeled], select: [{diversity: {embedding: %s}}], stay_away: labeled, size: %d}",
			name, strings.Join(matches, " OR "), first.def.Embedding, d.Size)})
	}
}

func (s *Suggestion) encode() error {
	body, err := yaml.Marshal(s.def)
	if err != nil {
		return err
	}
	against := strings.Join(s.Against, ", ")
	if against == "" {
		against = "nothing"
	}
	what := fmt.Sprintf("%d rows labeled %q that the model took for: %s", s.Mistakes, s.Class, against)
	if s.Kind == "wrong" {
		what = fmt.Sprintf("%d rows that the model took for %q and that are: %s", s.Mistakes, s.Class, against)
	}
	// A class is a user's text: it stays one line of a comment.
	s.text = "# " + strings.Join(strings.Fields(what), " ") + "\n" + string(body)
	return nil
}
