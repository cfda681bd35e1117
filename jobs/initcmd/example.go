package initcmd

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// plainText is text that YAML takes for itself without quotes.
var plainText = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9_./*-]*$`)

// scalar writes a text so that YAML takes it for nothing else.
func scalar(s string) string {
	if plainText.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// sizes of the two batches: a tenth each, so that neither runs short.
func (s *survey) sizes() (overview, example int) {
	n := min(100, max(1, s.rows/10))
	if s.rows < 2 {
		return 0, n
	}
	return n, n
}

// embedding is the one that functions and batches use.
func (s *survey) embedding() string {
	if s.pictures {
		return "image"
	}
	return "text"
}

func exampleConfig(s *survey, from, workspace, function, globs string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if !plainText.MatchString(from) {
		from = "…"
	}
	p("# Made by `winnow init %s`. `winnow lint` checks it, `winnow run` runs it, and", from)
	p("# `winnow schema` prints what else it may say.")
	p("workspace: %s # all that winnow makes; a bucket does as well: s3://bucket/prefix", scalar("./"+workspace))
	p("")
	p("sources:")
	p("  - manifest: %s", scalar(s.manifest))
	if len(s.fields) > 0 {
		words := make([]string, 0, len(s.fields))
		for w, c := range s.fields {
			words = append(words, w+": "+scalar(c))
		}
		slices.Sort(words)
		p("    fields: {%s}", strings.Join(words, ", "))
	}
	if len(s.allow) > 0 {
		list := make([]string, len(s.allow))
		for i, a := range s.allow {
			list[i] = scalar(a)
		}
		p("    allow: [%s] # assets are read from nowhere else", strings.Join(list, ", "))
	}
	p("")
	p("embeddings:")
	if s.pictures {
		p("  - {name: image, model: efficientnet-lite0, of: image}")
	}
	switch {
	case s.texts:
		p("  - {name: text, model: use-multilingual-v3, of: text}")
	case s.captions:
		p("  - {name: text, model: use-multilingual-v3, of: caption}")
	}
	p("")
	p("functions: %s", globs)
	p("")
	p("batches:")
	overview, example := s.sizes()
	if overview > 0 {
		p("  # A first look: no two alike.")
		p("  - name: overview")
		p("    dedupe: {embedding: %s, distance: 0.05}", s.embedding())
		p("    select: [{diversity: {embedding: %s}}]", s.embedding())
		p("    size: %d", overview)
		p("")
	}
	p("  # What is most like the examples in functions/%s.yaml.", function)
	p("  - name: example")
	p("    select: [{top: %s}]", function)
	p("    size: %d", example)
	return b.String()
}

func exampleFunction(s *survey, name string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# A function is a saved search: it scores every row by its likeness to examples.")
	p("# Replace these by your own, and rename it: the name is a column in where:.")
	p("name: %s", name)
	p("embedding: %s", s.embedding())
	p("anchors:")
	p("  positive: # what to find; three to twenty examples find far more than one")
	p("    - {asset: %s}", scalar(s.first))
	if s.pictures {
		p("    # - {uri: ../another/picture.jpg}")
	} else {
		p("    # - {text: words of your own, in any of 16 languages}")
	}
	p("  # negative: # what not to find")
	p("  #   - {asset: …}")
	p("combine: lda # or mean, max, sum, classifier")
	p("threshold: auto # or a number, {percentile: 99.5}, {top: 500}")
	return b.String()
}
