package diagnose

import (
	"cmp"
	"context"
	"math"
	"slices"

	"winnow/configs"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline/diagnose"
	"winnow/pipeline/seeded"
)

const (
	mostRows       = 20_000 // vectors that are compared with each other
	nearest        = 10     // neighbours that are asked
	mostClassCells = 50_000_000
	// mostQuality is that of a label in doubt: another class is ahead of its own by
	// half on average. Either way alone is wrong of most labels in doubt where labels
	// are few (BENCHMARKS.md).
	mostQuality = 0.25
)

// Mislabel is a label that is likely wrong.
type Mislabel struct {
	AssetID string   `json:"asset_id"`
	Object  string   `json:"object,omitempty"`
	Label   string   `json:"label"`   // as it is
	Likely  string   `json:"likely"`  // as it should be
	Quality float64  `json:"quality"` // of the label, in [0, 1]: the mean of the margins of both ways
	By      []string `json:"by"`      // confident learning, neighbours, confidence
}

// embedding is a vector space with vectors, of which those of the items are read.
type embedding struct {
	name string
	live *workspace.Live
}

// vectors chooses the embedding. Without one, nil.
func (d *diagnosis) vectors(ctx context.Context) (*embedding, error) {
	list := d.w.Config.Embeddings
	if d.Embedding != "" {
		e, err := d.w.Embedding(d.Embedding)
		if err != nil {
			return nil, err
		}
		list = []configs.Embedding{e}
	}
	for _, e := range list {
		l, err := d.w.Live(ctx, e)
		if err != nil {
			return nil, err
		}
		if l.Rows > 0 {
			return &embedding{e.Name, l}, nil
		}
	}
	d.warn("no embedding has vectors yet, so mistakes are not grouped and labels not compared with their neighbours'; run: winnow run")
	return nil, nil
}

// mislabels lists labels that are likely wrong, the most doubtful first: those that
// a way finds and that both together leave little of. Quality is the mean of the
// model's margin and the neighbours', or the one there is.
func (d *diagnosis) mislabels(ctx context.Context, s *subject, v *embedding) error {
	if d.boxes || s.several {
		d.surest(s)
	} else if err := d.doubts(ctx, s, v); err != nil {
		return err
	}
	slices.SortFunc(d.report.Mislabels, func(a, b Mislabel) int {
		return cmp.Or(cmp.Compare(a.Quality, b.Quality), cmp.Compare(a.AssetID, b.AssetID), cmp.Compare(a.Object, b.Object))
	})
	return nil
}

// doubts asks both ways.
func (d *diagnosis) doubts(ctx context.Context, s *subject, v *embedding) error {
	sure, margins := d.confident(s)
	near, polls, err := d.neighbours(ctx, s, v)
	if err != nil {
		return err
	}
	found := map[int]*Mislabel{}
	add := func(x diagnose.Doubt, by string) {
		m := found[x.Item]
		if m == nil {
			it := &s.items[x.Item]
			m = &Mislabel{AssetID: it.ID, Object: it.Object, Label: d.names[x.Given], Likely: d.names[x.Likely], Quality: quality(margins, polls, x.Item)}
			found[x.Item] = m
		}
		m.By = append(m.By, by)
	}
	for _, x := range sure {
		add(x, "confident learning")
	}
	for _, x := range near {
		add(x, "neighbours")
	}
	for _, m := range found {
		if m.Quality <= mostQuality {
			d.report.Mislabels = append(d.report.Mislabels, *m)
		}
	}
	return nil
}

// quality is the mean of the margins that an item has.
func quality(margins []float64, polls map[int]diagnose.Poll, item int) float64 {
	p, asked := polls[item]
	switch {
	case margins == nil || math.IsNaN(margins[item]):
		return p.Margin()
	case !asked:
		return margins[item]
	}
	return (margins[item] + p.Margin()) / 2
}

// confident is confident learning over the model's probabilities; where it gave
// none, over its confidence and an even spread of the rest. Margins are by item.
func (d *diagnosis) confident(s *subject) (list []diagnose.Doubt, margins []float64) {
	items := slices.Clone(s.items)
	if int64(len(items))*int64(len(d.names)) > mostClassCells {
		d.warn("%d items of %d classes are too many for confident learning; narrow them down with --where", len(items), len(d.names))
		return nil, nil
	}
	for i := range items {
		it := &items[i]
		if it.Scores == nil && len(it.Guess) == 1 && !math.IsNaN(it.Guess[0].Confidence) {
			it.Scores = diagnose.Spread(it.Guess[0], len(d.names))
		}
	}
	return diagnose.Confident(items, len(d.names)), diagnose.Margins(items, len(d.names))
}

// surest lists confident wrong guesses, the most confident first, as Labelbox
// does: of boxes and several classes, what a label should be cannot be told
// otherwise.
func (d *diagnosis) surest(s *subject) {
	for i := range s.items {
		it := &s.items[i]
		for _, p := range s.pairs[i] {
			if p.Guess < 0 || p.Truth < 0 || p.Right(it) || !(it.Guess[p.Guess].Confidence >= 0.9) {
				continue
			}
			g := it.Guess[p.Guess]
			d.report.Mislabels = append(d.report.Mislabels, Mislabel{AssetID: it.ID, Object: it.Object,
				Label: d.names[it.Truth[p.Truth].Class], Likely: d.names[g.Class], Quality: 1 - g.Confidence, By: []string{"confidence"}})
			break
		}
	}
}

// neighbours asks the nearest labeled rows; polls are by item. Of more items than
// mostRows the wrongly predicted ones and a seeded sample of the others take part.
func (d *diagnosis) neighbours(ctx context.Context, s *subject, v *embedding) (list []diagnose.Doubt, polls map[int]diagnose.Poll, err error) {
	if v == nil || d.byObject {
		return nil, nil, nil
	}
	chosen := d.compared(s)
	ids := make([]string, len(chosen))
	for i, c := range chosen {
		ids[i] = s.items[c].ID
	}
	vectors, err := v.live.Vectors(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	var rows []float32
	var label, item []int
	for i, c := range chosen {
		if x := vectors[ids[i]]; x != nil {
			rows = append(rows, x...)
			label, item = append(label, s.items[c].Truth[0].Class), append(item, c)
		}
	}
	list, all := diagnose.Neighbours(rows, v.live.Dim, label, len(label), nearest, len(d.names))
	for i := range list {
		list[i].Item = item[list[i].Item]
	}
	polls = make(map[int]diagnose.Poll, len(all))
	for i, p := range all {
		polls[item[i]] = p
	}
	return list, polls, nil
}

// compared chooses the items whose vectors are compared.
func (d *diagnosis) compared(s *subject) []int {
	var wrong, right []int
	for i := range s.items {
		switch it := &s.items[i]; {
		case len(it.Truth) != 1:
		case len(s.pairs[i]) == 1 && s.pairs[i][0].Right(it):
			right = append(right, i)
		default:
			wrong = append(wrong, i)
		}
	}
	seed := d.w.Config.Seed
	order := func(list []int) {
		slices.SortFunc(list, func(a, b int) int {
			return cmp.Compare(seeded.Hash(seed, s.items[a].ID), seeded.Hash(seed, s.items[b].ID))
		})
	}
	order(wrong)
	order(right)
	chosen := append(wrong, right...)
	if len(chosen) > mostRows {
		d.warn("neighbours' labels are compared among %d of %d items: wrong ones first, then a seeded sample", mostRows, len(chosen))
		chosen = chosen[:mostRows]
	}
	return chosen
}
