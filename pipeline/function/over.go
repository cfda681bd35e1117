package function

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"lukechampine.com/blake3"
)

// Over are the embeddings that a function searches, with their weights: each is
// above 0, and only their ratios count.
//
// The function is fitted within each embedding by itself, with the same Combine,
// so that its scores in all of them have one unit: standard deviations above the
// corpus (lda), cosines (mean, max, sum) or probabilities (classifier). The score
// of a row is their weighted mean; for cosines, which lie close together in one
// embedding and far apart in another, with the weights of Shares. A row that lacks one of the vectors has no
// score: the mean of what is there would spread wider than a mean of several (two
// z-scores that do not depend on each other have one of standard deviation 0.71),
// so rows with one vector would crowd the top whatever they show.
type Over map[string]float64

// Names are the embeddings, sorted.
func (o Over) Names() []string { return slices.Sorted(maps.Keys(o)) }

// Share is the weight of an embedding as a part of all: they sum to 1.
func (o Over) Share(embedding string) float64 {
	sum := 0.0
	for _, n := range o.Names() { // in order: the sum is the same to the bit
		sum += o[n]
	}
	return o[embedding] / sum
}

// Shares are the parts of all weights by embedding: they sum to 1. deviations are
// those of the parts' scores in the corpus (Scorer.Deviation); each weight is divided
// by its own. The mean so orders rows as a mean of standardised scores does, and stays
// in the unit of its parts. Without all of them the weights count as they are.
func (o Over) Shares(deviations map[string]float64) map[string]float64 {
	known := true
	for n := range o {
		known = known && deviations[n] > 0
	}
	out, sum := map[string]float64{}, 0.0
	for _, n := range o.Names() {
		if out[n] = o.Share(n); known {
			out[n] /= deviations[n]
		}
		sum += out[n]
	}
	for n := range out {
		out[n] /= sum
	}
	return out
}

// String is the weighted mean for people: "0.7 image + 0.3 text".
func (o Over) String() string {
	var parts []string
	for _, n := range o.Names() {
		parts = append(parts, fmt.Sprintf("%.4g %s", o.Share(n), n))
	}
	return strings.Join(parts, " + ")
}

// UsesStatistics reports whether the fit of d depends on the corpus: by its
// combination, or because the weights of its parts do.
func (d *Definition) UsesStatistics() bool { return d.How().UsesStatistics() || d.Partial() }

// leastDeviation bounds Scorer.Deviation from below, as a part of the longest row's
// length: where all rows are alike, the share of the part must not run to infinity.
const leastDeviation = 0.01

// measure sets Deviation to that of the scores of the corpus' sample.
func (s *Scorer) measure(st *Statistics) error {
	pass, err := NewPass(s.Dim, []*Scorer{s})
	if err != nil {
		return err
	}
	n := len(st.SampleIDs)
	scores := make([]float32, n)
	pass.Score(st.Sample, n, [][]float32{scores})
	mean, sum := 0.0, 0.0
	for _, x := range scores {
		mean += float64(x) / float64(n)
	}
	for _, x := range scores {
		sum += (float64(x) - mean) * (float64(x) - mean)
	}
	longest := 0.0
	for i := 0; i < len(s.Rows); i += s.Dim {
		longest = max(longest, norm2(s.Rows[i:i+s.Dim]))
	}
	s.Deviation = max(math.Sqrt(sum/float64(max(n, 1))), leastDeviation*math.Sqrt(longest))
	return nil
}

// Partial reports whether d is what Part returns of a function over several embeddings.
func (d *Definition) Partial() bool { return d.Embedding != "" && len(d.CombineOver) > 0 }

// Spaces are the embeddings that the function searches.
func (d *Definition) Spaces() []string {
	switch {
	case d.Embedding != "":
		return []string{d.Embedding}
	case len(d.CombineOver) > 0:
		return d.CombineOver.Names()
	}
	return nil
}

// Space names what the function searches: an embedding, or a weighted mean of several.
func (d *Definition) Space() string {
	if d.Embedding == "" && len(d.CombineOver) > 0 {
		return d.CombineOver.String()
	}
	return d.Embedding
}

// Part is the function within one of its embeddings: itself where it has no other.
func (d *Definition) Part(embedding string) *Definition {
	if d.Embedding == embedding {
		return d
	}
	p := *d
	p.Embedding = embedding
	return &p
}

// VersionOver is the version of a function over several embeddings: a hash of the
// shares and of the versions of its parts, by embedding.
func VersionOver(o Over, parts map[string]string) string {
	type part struct {
		Embedding string  `json:"embedding"`
		Share     float64 `json:"share"`
		Version   string  `json:"version"`
	}
	var list []part
	for _, n := range o.Names() {
		list = append(list, part{n, o.Share(n), parts[n]})
	}
	data, err := json.Marshal(list)
	if err != nil { // a share that is no number; Validate refuses it before
		data = []byte(err.Error())
	}
	sum := blake3.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// checkSpaces says what is wrong with embedding and combine_over.
func (d *Definition) checkSpaces() (fs []Fault) {
	switch {
	case d.CombineOver == nil && d.Embedding == "" && d.Like == "":
		fs = append(fs, Fault{"$.embedding", "no embedding is named", "name one of the config's embeddings"})
	case d.CombineOver != nil && d.Embedding != "":
		fs = append(fs, Fault{"$.combine_over", "the function has both embedding and combine_over", "keep one of the two"})
	case d.CombineOver != nil && len(d.CombineOver) < 2:
		fs = append(fs, Fault{"$.combine_over", "combine_over needs two embeddings at least", "name another one with its weight, or write embedding: NAME"})
	}
	for _, n := range d.CombineOver.Names() {
		if w := d.CombineOver[n]; !validWeight(w) {
			fs = append(fs, Fault{"$.combine_over." + n, fmt.Sprintf("the weight of %s is %v", n, w), "write a number above 0"})
		}
	}
	return fs
}
