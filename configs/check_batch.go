package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// inherit hands the config's seed down to batches and random choices, and turns
// a selection_config into winnow's own words.
func (k *checker) inherit() {
	for i := range k.c.Batches {
		b := &k.c.Batches[i]
		path := index("$.batches", i)
		if !k.given(child(path, "seed")) {
			b.Seed = k.c.Seed
		}
		for j := range b.Select {
			if r := b.Select[j].Random; r != nil && !k.given(index(child(path, "select"), j)+".random.seed") {
				r.Seed = b.Seed
			}
		}
		if b.SelectionConfig != nil {
			k.lightly(path, b)
		}
	}
}

// forPeople are the formats that keep the assets' own URIs.
var forPeople = []string{"jsonl", "parquet", "arrow", "html"}

func (k *checker) batches() {
	for i := range k.c.Batches {
		b := &k.c.Batches[i]
		path := index("$.batches", i)
		k.where(child(path, "where"), b.Where)
		k.excludes(child(path, "exclude"), b.Exclude)
		k.dedupe(child(path, "dedupe"), b.Dedupe)
		k.howMany(path, b)
		if b.SelectionConfig == nil {
			for j, o := range b.Select {
				k.objective(index(child(path, "select"), j), o, j == len(b.Select)-1)
			}
		}
		k.quotas(child(path, "quotas"), b)
		k.stayAway(child(path, "stay_away"), b)
		if len(b.URIRewrite) > 0 && !slices.ContainsFunc(b.Emit, func(e string) bool { return !contains(forPeople, e) }) {
			k.add(path+".uri_rewrite", "add a labeling tool to emit, or delete the rules", "the batch rewrites URIs for labeling tools and emits for none")
		}
		if b.Labelbox != nil {
			k.labelbox(child(path, "labelbox"), b)
		}
	}
}

// howMany looks for select, and for a size or a proportion.
func (k *checker) howMany(path string, b *Batch) {
	if b.SelectionConfig != nil || k.given(child(path, "selection_config")) {
		return
	}
	if !k.given(child(path, "select")) {
		k.add(child(path, "select"), "add select: [{top: FUNCTION}], [{diversity: {embedding: NAME}}] or [{random: {}}]", "%s lacks select", label(path))
	}
	size, proportion := k.given(child(path, "size")), k.given(child(path, "proportion"))
	switch {
	case size && proportion:
		k.add(child(path, "proportion"), "keep one of the two", "size and proportion are both given")
	case !size && !proportion:
		k.add(child(path, "size"), "add size: how many assets to choose at most", "%s lacks size", label(path))
	}
}

func (k *checker) labelbox(path string, b *Batch) {
	for j, r := range b.Labelbox.URIRewrite {
		if strings.HasPrefix(r.To, "s3:/") {
			k.add(index(child(path, "uri_rewrite"), j)+".to", "write an https:// address", "Labelbox does not read s3:// addresses")
		}
	}
	if !contains(b.Emit, "labelbox") {
		k.add(path, "add labelbox to emit, or delete the options", "the batch has options for labelbox and does not emit it")
	}
}

// excludes makes the files of ids absolute, and looks whether local ones are there.
func (k *checker) excludes(path string, list []Exclude) {
	seen := map[Exclude]bool{}
	for j := range list {
		x, p := &list[j], index(path, j)
		if *x != (Exclude{}) && seen[*x] {
			k.add(p, "keep one of the two", "exclude names the same twice")
		}
		seen[*x] = true
		if x.IDs == "" {
			continue
		}
		k.resolve(p+".ids", &x.IDs, storeSchemes)
		if schemeOf(x.IDs) != "" || strings.ContainsAny(x.IDs, "*?[{") {
			continue
		}
		switch info, err := os.Stat(x.IDs); {
		case errors.Is(err, fs.ErrNotExist):
			k.add(p+".ids", "name a file of asset ids, relative to this file", "there is no file %s", shorten(x.IDs))
		case err == nil && info.IsDir():
			k.add(p+".ids", "name a file in it, or a glob such as ./done/*.txt", "%s is a folder", shorten(x.IDs))
		}
	}
}

func (k *checker) dedupe(path string, d *Dedupe) {
	if d == nil {
		return
	}
	k.embedding(child(path, "embedding"), d.Embedding)
	embedding, distance, phash := k.given(child(path, "embedding")), k.given(child(path, "distance")), k.given(child(path, "phash"))
	switch {
	case tells(k.told, path):
	case !embedding && !distance && !phash:
		k.add(path, "write {embedding: image, distance: 0.05}, {phash: 6} or both", "dedupe says nothing; equal content goes without it")
	case embedding != distance:
		k.add(path, "write {embedding: image, distance: 0.05}", "embedding and distance go together")
	case d.Keep == "typical" && !embedding:
		k.add(child(path, "keep"), "add an embedding and a distance", "what is typical is measured in an embedding")
	case phash && !k.anyImages():
		k.add(child(path, "phash"), "use an embedding and a distance", "perceptual hashes are of pictures, and the config embeds none")
	}
}

func (k *checker) anyImages() bool {
	for _, e := range k.c.Embeddings {
		if e.Of == "image" {
			return true
		}
	}
	return false
}

func (k *checker) quotas(path string, b *Batch) {
	first := map[string]int{}
	for j, q := range b.Quotas {
		p := index(path, j)
		if q.AtMost == 0 && q.Share == 0 && !tells(k.told, p) {
			k.add(p, "add at_most: 50 or share: 0.2", "a quota has no cap")
		}
		if before, twice := first[q.Per]; twice && q.Per != "" {
			k.add(p+".per", "join them: {per: …, at_most: 50, share: 0.2}", "entries %d and %d of quotas are both per %s", before+1, j+1, q.Per)
		}
		first[q.Per] = j
		k.value(p+".per", q.Per, anyValue)
		for i, o := range b.Select {
			if o.Balance == nil || o.Balance.By != q.Per || q.Share == 0 {
				continue
			}
			for kind, share := range o.Balance.Target.Shares {
				if share > q.Share+1e-9 {
					k.add(p+".share", "lower the one or raise the other", "entry %d of select wants %v of the batch to be %s, and this quota allows %v", i+1, share, kind, q.Share)
				}
			}
		}
	}
}

func (k *checker) stayAway(path string, b *Batch) {
	if b.StayAway != "batched" && b.StayAway != "labeled" {
		return
	}
	for _, o := range b.Select {
		if o.Diversity != nil {
			return
		}
	}
	if !k.partial && len(b.Select) > 0 {
		k.add(path, "add {diversity: {embedding: image}} to select, or delete the line", "to stay away is measured by a diversity, and select has none")
	}
}

// Spaces lists the embeddings in which picks stay away from rows that are known.
func (b Batch) Spaces() (names []string) {
	for _, o := range b.Select {
		if o.Diversity != nil && b.StayAway != "none" && !contains(names, o.Diversity.Embedding) {
			names = append(names, o.Diversity.Embedding)
		}
	}
	return names
}

func (k *checker) objective(path string, o Objective, last bool) {
	var set []string
	for _, kind := range objectives {
		if k.given(child(path, kind)) {
			set = append(set, kind)
		}
	}
	if len(set) > 1 {
		k.add(path, "write each as an entry of its own", "an objective has both %s", strings.Join(set, " and "))
	}
	if len(set) == 0 && !tells(k.told, path) {
		k.add(path, "write "+oneOf(objectives), "an objective is empty")
	}
	for _, kind := range set {
		k.strength(child(path, kind))
	}
	k.value(child(path, "top"), o.Top, numbers)
	if o.Diversity != nil {
		k.embedding(child(path, "diversity.embedding"), o.Diversity.Embedding)
	}
	if o.Typicality != nil {
		k.embedding(child(path, "typicality.embedding"), o.Typicality.Embedding)
	}
	if o.Similarity != nil {
		k.similar(child(path, "similarity.to"), o.Similarity.To)
	}
	if o.Weights != nil {
		p := child(path, "weights")
		if k.given(p + ".by") {
			p += ".by"
		}
		k.value(p, o.Weights.By, numbers)
	}
	if o.Balance != nil {
		k.value(child(path, "balance.by"), o.Balance.By, anyValue)
		k.sum(child(path, "balance.target"), o.Balance.Target.Shares)
	}
	if o.Ordered != nil {
		k.value(child(path, "ordered.by"), o.Ordered.By, anyValue)
		if !last {
			k.add(child(path, "ordered"), "move it to the end of select", "ordered decides among what the other objectives leave equal, so it stands last")
		}
	}
}

func (k *checker) strength(path string) {
	p := child(path, "strength")
	if k.given(p) && !tells(k.told, p) && k.zero(path) {
		k.add(p, "write another number, or delete the objective", "with strength 0 the objective has no effect")
	}
}

// zero reports whether the objective at path has strength 0.
func (k *checker) zero(path string) bool {
	for i, b := range k.c.Batches {
		for j, o := range b.Select {
			if within(path, index(index("$.batches", i)+".select", j)) {
				return o.strength() == 0
			}
		}
	}
	return false
}

func (o Objective) strength() float64 {
	switch {
	case o.Diversity != nil:
		return o.Diversity.Strength
	case o.Typicality != nil:
		return o.Typicality.Strength
	case o.Similarity != nil:
		return o.Similarity.Strength
	case o.Weights != nil:
		return o.Weights.Strength
	case o.Balance != nil:
		return o.Balance.Strength
	}
	return 1
}

// Exponent is the objective's strength: 1 unless it is given.
func (o Objective) Exponent() float64 {
	if s := o.strength(); s != 0 {
		return s
	}
	return 1
}

// sum checks that shares are not more than everything.
func (k *checker) sum(path string, shares map[string]float64) {
	total := 0.0
	for _, s := range shares {
		total += s
	}
	switch {
	case len(shares) == 0 || tells(k.told, path):
	case total > 1+1e-9:
		k.add(path, "lower them: together at most 1", "the shares add up to %.4g", total)
	case total <= 0:
		k.add(path, "write a share above 0", "all shares are 0")
	}
}

func (k *checker) similar(path string, t SimilarTo) {
	k.embedding(child(path, "embedding"), t.Embedding)
	if t.Function == "" || k.partial {
		return
	}
	if _, ok := k.c.Function(t.Function); !ok {
		k.add(path, meant(t.Function, k.functionNames(), "name a function, or write {embedding: image, assets: [ID]}"), "there is no function %q", t.Function)
	}
}

func (k *checker) functionNames() (names []string) {
	for _, fn := range k.c.Definitions {
		names = append(names, fn.Name)
	}
	return names
}

// Columns that values may name beside functions and metadata.
var (
	numbers  = []string{"confidence"}
	anyValue = []string{"label", "prediction", "source", "media_type", "labeled", "batched", "predicted", "caption", "text", "uri", "asset_id", "version", "confidence"}
)

var bareName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// value takes a function, its percentile, or a column. Any other SQL is for the
// database to say.
func (k *checker) value(path, name string, columns []string) {
	if !bareName.MatchString(name) || contains(columns, strings.ToLower(name)) {
		return
	}
	var names []string
	for _, fn := range k.c.Definitions {
		if strings.EqualFold(fn.Name, name) || strings.EqualFold(fn.Name+"_pct", name) || strings.EqualFold(fn.Name+"_match", name) && len(columns) > 1 {
			return
		}
		names = append(names, fn.Name)
	}
	if k.partial { // it may well be in the file that is reported already
		return
	}
	what, fix := "there is no function %q", "name a function, confidence or metadata.NAME"
	if len(columns) > 1 {
		what, fix = "there is no column %q", "name a column, a function or metadata.NAME"
	}
	if n := nearest(name, append(names, columns...)); n != "" {
		fix = "did you mean " + n + "?"
	}
	k.add(path, fix, what, name)
}

var (
	sqlText   = regexp.MustCompile(`(?s)'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|"(?:[^"]|"")*"`)
	sqlColumn = regexp.MustCompile(`(?:^|[^.\w])([A-Za-z]\w*)_(?:match|pct)\b`)
)

// where looks for columns of functions that do not exist. All else in a
// condition is for the database to say.
func (k *checker) where(path, expr string) {
	if k.partial {
		return
	}
	names, known := k.functionNames(), map[string]bool{}
	for _, name := range names {
		known[strings.ToLower(name)] = true
	}
	blank := sqlText.ReplaceAllStringFunc(expr, func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '\n' {
				return r
			}
			return ' '
		}, s)
	})
	for _, m := range sqlColumn.FindAllStringSubmatchIndex(blank, -1) {
		name := blank[m[2]:m[3]]
		if known[strings.ToLower(name)] {
			continue
		}
		line := 1 + strings.Count(blank[:m[2]], "\n")
		column := 1 + utf8.RuneCountInString(blank[strings.LastIndexByte(blank[:m[2]], '\n')+1:m[2]])
		k.problems = append(k.problems, k.c.ProblemWithin(path, line, column, fmt.Sprintf("there is no function %q", name),
			meant(name, names, "add it to functions, or take the column out")))
	}
}

func (k *checker) embedding(path, name string) {
	if name == "" {
		return
	}
	if _, ok := k.c.Embedding(name); !ok {
		k.add(path, meant(name, k.embeddings(), "add it to embeddings"), "there is no embedding %q", name)
	}
}
