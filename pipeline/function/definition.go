// Package function makes scores of saved similarity searches: it fits the
// functions of a workspace to their anchors, and scores blocks of vectors
// against all of them at once.
//
// Definition is what a team writes and reviews as a YAML file. Fit turns it,
// its anchors' vectors and the corpus' Statistics into a Scorer: a few rows of
// numbers and a small step after the product. A Pass lays the rows of all
// scorers under each other, so that one matrix product a block scores every
// function.
package function

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

// Combine says how a function's anchors make one score.
type Combine string

// The ways to combine. Lda is the default.
const (
	LDA        Combine = "lda"        // linear discriminant against the corpus; standard deviations above it
	Mean       Combine = "mean"       // cosine to 2·avg⁺ − avg⁻, or to avg⁺ without negatives; [-1, 1]
	Max        Combine = "max"        // the best positive, or −(best negative)² where a negative is nearer; [-1, 1]
	Sum        Combine = "sum"        // Σ⁺ − Σ⁻ of the weighted cosines; [-Σweights, Σweights]
	Classifier Combine = "classifier" // logistic regression against negatives and the corpus; [0, 1]
)

// Combines lists the words that `combine:` takes.
var Combines = []Combine{LDA, Mean, Max, Sum, Classifier}

// UsesStatistics reports whether the combination depends on the corpus, and so
// on the Statistics that the function is fitted with.
func (c Combine) UsesStatistics() bool { return c == LDA || c == Classifier }

// Definition is a function as its YAML file states it.
type Definition struct {
	Name      string `yaml:"name" json:"name"`                               // the column in `where:`
	Embedding string `yaml:"embedding,omitempty" json:"embedding,omitempty"` // the vector space that it searches
	// CombineOver are the spaces that it searches, instead of Embedding. Both are
	// set in a part of such a function; see Part.
	CombineOver Over      `yaml:"combine_over,omitempty" json:"combine_over,omitempty"`
	Like        string    `yaml:"like,omitempty" json:"like,omitempty"` // the function that it builds on; what that one gives is filled in on loading
	Anchors     Anchors   `yaml:"anchors" json:"anchors"`
	Combine     Combine   `yaml:"combine,omitempty" json:"combine,omitempty"` // "" is lda
	Threshold   Threshold `yaml:"threshold,omitempty" json:"threshold,omitzero"`
}

// Anchors are the examples of a function.
type Anchors struct {
	Positive []Anchor `yaml:"positive" json:"positive"`
	Negative []Anchor `yaml:"negative,omitempty" json:"negative,omitempty"`
}

// Anchor is one example: exactly one of Asset, Text, URI and Vector is set.
type Anchor struct {
	Asset  string  `yaml:"asset,omitempty" json:"asset,omitempty"`   // an asset_id of the workspace
	Text   string  `yaml:"text,omitempty" json:"text,omitempty"`     // embedded by the embedding's text model
	URI    string  `yaml:"uri,omitempty" json:"uri,omitempty"`       // an image, fetched and embedded
	Vector string  `yaml:"vector,omitempty" json:"vector,omitempty"` // a .npy file of one or more vectors
	Weight float64 `yaml:"weight,omitempty" json:"weight,omitempty"` // above 0; 0 stands for 1
}

// Kind is the anchor's key in YAML: asset, text, uri or vector; "" when none is set.
func (a Anchor) Kind() string {
	switch {
	case a.Asset != "":
		return "asset"
	case a.Text != "":
		return "text"
	case a.URI != "":
		return "uri"
	case a.Vector != "":
		return "vector"
	}
	return ""
}

// ID is what the anchor refers to: an asset_id, a text, a URI or a file.
func (a Anchor) ID() string {
	switch a.Kind() {
	case "asset":
		return a.Asset
	case "text":
		return a.Text
	case "uri":
		return a.URI
	}
	return a.Vector
}

func (a Anchor) String() string { return fmt.Sprintf("%s %q", a.Kind(), a.ID()) }

// How is the combination with its default filled in.
func (d *Definition) How() Combine {
	if d.Combine == "" {
		return LDA
	}
	return d.Combine
}

// UnmarshalYAML refuses a weight that is not above 0; it cannot tell an absent
// weight from a written 0 otherwise.
func (a *Anchor) UnmarshalYAML(unmarshal func(any) error) error {
	var w struct {
		Asset  string   `yaml:"asset"`
		Text   string   `yaml:"text"`
		URI    string   `yaml:"uri"`
		Vector string   `yaml:"vector"`
		Weight *float64 `yaml:"weight"`
	}
	if err := unmarshal(&w); err != nil {
		return err
	}
	*a = Anchor{Asset: w.Asset, Text: w.Text, URI: w.URI, Vector: w.Vector}
	if w.Weight != nil {
		if !validWeight(*w.Weight) {
			return fmt.Errorf("weight is %v; it must be a number above 0", *w.Weight)
		}
		a.Weight = *w.Weight
	}
	return nil
}

func validWeight(w float64) bool { return w > 0 && w <= math.MaxFloat32 }

// Fault is something wrong in a definition. Path points at it in the way of
// YAML paths, such as "$.anchors.positive[2].weight".
type Fault struct {
	Path string
	What string
	Fix  string
}

// Validate returns everything that is wrong with the definition on its own:
// names, anchors, combination, threshold. It cannot know whether the anchors
// exist.
func (d *Definition) Validate() []Fault {
	var fs []Fault
	add := func(path, fix, format string, args ...any) {
		fs = append(fs, Fault{Path: path, What: fmt.Sprintf(format, args...), Fix: fix})
	}
	if what, fix := CheckName(d.Name); what != "" {
		add("$.name", fix, "%s", what)
	}
	fs = append(fs, d.checkSpaces()...)
	if !d.How().known() {
		add("$.combine", "write one of "+joinCombines(), "combine is %q", string(d.Combine))
	}
	if len(d.Anchors.Positive) == 0 && d.Like == "" {
		add("$.anchors.positive", "name at least one example of what to find", "there is no positive anchor")
	}
	seen := map[string]string{}
	for _, l := range []struct {
		name string
		list []Anchor
	}{{"positive", d.Anchors.Positive}, {"negative", d.Anchors.Negative}} {
		for i, a := range l.list {
			path := fmt.Sprintf("$.anchors.%s[%d]", l.name, i)
			if n := a.set(); n != 1 {
				add(path, "write exactly one of asset, text, uri and vector", "an anchor has %d of asset, text, uri and vector", n)
				continue
			}
			if a.Vector != "" && len(d.CombineOver) > 0 {
				add(path+".vector", "write an asset, a text or a uri", "a vector lies in one space, and the function searches several")
			}
			if a.Weight != 0 && !validWeight(a.Weight) {
				add(path+".weight", "write a number above 0, at most 3.4e38", "weight is %v", a.Weight)
			}
			switch before := seen[a.String()]; before {
			case "":
				seen[a.String()] = l.name
			case l.name:
				add(path, "keep one, with a weight if it counts more", "%s is twice among the %s anchors", a, l.name)
			default:
				add(path, "remove it from one of the two", "%s is both a positive and a negative anchor", a)
			}
		}
	}
	if what, fix := d.Threshold.check(); what != "" {
		add("$.threshold", fix, "%s", what)
	} else if t := d.Threshold; t.Is(RuleNumber) {
		if lo, hi := d.How().bounds(); t.Value < lo || t.Value > hi {
			add("$.threshold", fmt.Sprintf("write a number from %v to %v", lo, hi), "threshold is %v, and scores of %s lie between %v and %v", t.Value, d.How(), lo, hi)
		}
	}
	return fs
}

func (a Anchor) set() (n int) {
	for _, s := range []string{a.Asset, a.Text, a.URI, a.Vector} {
		if s != "" {
			n++
		}
	}
	return n
}

// bounds is the range of a combination's scores: cosines for mean and max, shares
// for classifier, no limit for the others.
func (c Combine) bounds() (lo, hi float64) {
	switch c {
	case Mean, Max:
		return -1, 1
	case Classifier:
		return 0, 1
	}
	return math.Inf(-1), math.Inf(1)
}

func (c Combine) known() bool {
	for _, k := range Combines {
		if c == k {
			return true
		}
	}
	return false
}

func joinCombines() string {
	s := make([]string, len(Combines))
	for i, c := range Combines {
		s[i] = string(c)
	}
	return strings.Join(s, ", ")
}

// MaxName is the longest name of a function in bytes.
const MaxName = 64

var nameShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// CheckName says what keeps name from being a function's name, and how to mend
// it; two empty strings mean that nothing does. A name becomes three columns
// of `where:` (name, name_match, name_pct), which SQL compares without regard
// to case.
func CheckName(name string) (what, fix string) {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return "the function has no name", "give it a name such as ripe_apples"
	case !nameShape.MatchString(name):
		return fmt.Sprintf("the name %q is no column name", name), "use letters, digits and _, a letter first"
	case len(name) > MaxName:
		return fmt.Sprintf("the name %q is longer than %d characters", name, MaxName), "shorten it"
	case strings.HasSuffix(lower, "_match") || strings.HasSuffix(lower, "_pct"):
		return fmt.Sprintf("the name %q ends like the columns that winnow adds to a function", name), "choose a name without _match or _pct at its end"
	case ownColumns[lower]:
		return fmt.Sprintf("the name %q is a column of winnow's own", name), "choose another name"
	case sqlWords[lower]:
		return fmt.Sprintf("the name %q is a word of SQL", name), "choose another name"
	}
	return "", ""
}

// ownColumns are the names that `where:` and the tables give other meanings.
var ownColumns = words(`asset_id uri text caption media_type version content_hash metadata source labeled batched label
	prediction confidence vector row x y cluster add`)

// sqlWords are DuckDB's reserved words: unquoted, they cannot be columns.
var sqlWords = words(`all analyse analyze and anti any array as asc asof asymmetric at authorization between both
	case cast check collate collation column concurrently constraint create cross default deferrable desc describe
	distinct do else end except exists false fetch for foreign freeze from full generated glob grant group having
	ilike in initially inner intersect into is isnull join lambda lateral leading left like limit map natural not
	notnull null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional primary
	qualify references returning right select semi show similar some struct summarize symmetric table tablesample
	then to trailing true try_cast union unique unpivot using variadic verbose when where window with`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}
