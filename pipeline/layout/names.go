package layout

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
)

const (
	mostTerms  = 4_000_000 // counts that are kept; beyond, terms seen once are forgotten
	leastLift  = 1.5       // how many times as frequent as elsewhere a name's word is
	leastShare = 0.03      // of a cluster's texts that have it
	mostSpread = 0.25      // of the clusters, but two at least, that have it in two texts or more
	leastTexts = 2         // that have it
	cover      = 0.6       // of two words' texts, at which they are the same thing said twice
)

// Captions counts the words of clusters' texts, to name the clusters by them.
type Captions struct {
	texts []int // of each cluster
	words map[string]*word
	most  int
	kept  int
}

// word is one term, however its letters are cased.
type word struct {
	shown string // the form that is most frequent, if one has the majority
	votes int
	in    map[int32]int32 // texts of each cluster that have it
	all   int
}

// NewCaptions starts without texts, for so many clusters.
func NewCaptions(clusters int) *Captions {
	return &Captions{texts: make([]int, clusters), words: map[string]*word{}, most: mostTerms}
}

// Add counts the text of a row of a cluster; −1, for rows of none, is passed over.
func (c *Captions) Add(cluster int32, text string) {
	if cluster < 0 || text == "" {
		return
	}
	c.texts[cluster]++
	seen := map[string]bool{}
	terms(text, func(term string) {
		key := strings.ToLower(term)
		if seen[key] {
			return
		}
		seen[key] = true
		w := c.words[key]
		if w == nil {
			w = &word{in: map[int32]int32{}}
			c.words[key] = w
		}
		switch { // Boyer & Moore's vote
		case w.shown == term:
			w.votes++
		case w.votes == 0:
			w.shown, w.votes = term, 1
		default:
			w.votes--
		}
		if w.in[cluster]++; w.in[cluster] == 1 {
			c.kept++
		}
		w.all++
	})
	if c.kept > c.most {
		c.forget()
	}
}

// forget drops words of one text, so that memory stays bounded.
func (c *Captions) forget() {
	maps.DeleteFunc(c.words, func(_ string, w *word) bool {
		if w.all > 1 {
			return false
		}
		c.kept--
		return true
	})
	c.most = max(c.most, 2*c.kept)
}

// scored is a word for a cluster.
type scored struct {
	key   string
	word  *word
	texts int32
	score float64
}

// Names returns up to count words for each cluster, the most distinctive first:
// those with the largest share of the cluster's texts times log(1 + A/f), where f
// is how many texts have the word and A how many words a cluster has on average
// (c-TF-IDF: Grootendorst 2022), if they are 1.5 times as frequent as elsewhere and
// not at home in a quarter of the clusters, as articles are in any language. A
// cluster without such words has none. Pieces of a word that is taken are left out.
func (c *Captions) Names(count int) [][]string {
	perCluster := make([][]scored, len(c.texts))
	var all, texts float64
	for _, w := range c.words {
		all += float64(w.all)
	}
	for _, n := range c.texts {
		texts += float64(n)
	}
	mean := all / float64(max(len(c.texts), 1))
	for key, w := range c.words {
		if w.homes() > max(2, int(mostSpread*float64(len(c.texts)))) {
			continue
		}
		for cluster, n := range w.in {
			size := float64(c.texts[cluster])
			share := float64(n) / size
			elsewhere := (float64(w.all) - float64(n) + 0.5) / (texts - size + 1)
			if share < leastShare || n < leastTexts && size > leastTexts || share < leastLift*elsewhere {
				continue
			}
			perCluster[cluster] = append(perCluster[cluster], scored{key, w, n, share * math.Log1p(mean/float64(w.all))})
		}
	}
	out := make([][]string, len(c.texts))
	for k, list := range perCluster {
		slices.SortFunc(list, func(a, b scored) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(b.key), len(a.key)), cmp.Compare(a.key, b.key))
		})
		out[k] = choose(list, count)
	}
	return out
}

// homes counts the clusters that have a word more than by chance.
func (w *word) homes() int {
	count := 0
	for _, n := range w.in {
		if n >= leastTexts {
			count++
		}
	}
	return count
}

// choose takes the best words, without pieces of one another.
func choose(list []scored, count int) []string {
	var taken []scored
next:
	for _, s := range list {
		if len(taken) == count {
			break
		}
		for i, t := range taken {
			same := float64(min(s.texts, t.texts)) >= cover*float64(max(s.texts, t.texts))
			switch {
			case strings.Contains(t.key, s.key):
				continue next
			case strings.Contains(s.key, t.key) && same: // the whole word says more
				taken[i] = s
				continue next
			case same && overlap(s.key, t.key) && script([]rune(s.key)[0]) != 0:
				continue next
			}
		}
		taken = append(taken, s)
	}
	var names []string
	for _, t := range taken {
		if !slices.Contains(names, t.word.shown) {
			names = append(names, t.word.shown)
		}
	}
	return names
}

// overlap reports whether one word ends as the other begins.
func overlap(a, b string) bool {
	for n := range len(a) {
		if n > 0 && strings.HasPrefix(b, a[n:]) {
			return true
		}
		if n > 0 && strings.HasSuffix(b, a[:n]) {
			return true
		}
	}
	return false
}

// leastScore is the mean score, in standard deviations, from which a function may
// name a cluster.
const leastScore = 1

// NamesByFunctions returns up to count functions for each cluster: those whose mean
// score there is largest and at least 1 standard deviation above the corpus'. means
// is clusters × functions: NaN for no score.
func NamesByFunctions(means []float64, functions []string, count int) [][]string {
	if len(functions) == 0 {
		return nil
	}
	out := make([][]string, len(means)/len(functions))
	for k := range out {
		row := means[k*len(functions) : (k+1)*len(functions)]
		var best []int
		for f, z := range row {
			if z >= leastScore {
				best = append(best, f)
			}
		}
		slices.SortStableFunc(best, func(a, b int) int {
			return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(functions[a], functions[b]))
		})
		for _, f := range best[:min(count, len(best))] {
			out[k] = append(out[k], functions[f])
		}
	}
	return out
}
