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
)

// Mislabel is a label that is likely wrong.
type Mislabel struct {
	AssetID string   `json:"asset_id"`
	Object  string   `json:"object,omitempty"`
	Label   string   `json:"label"`   // as it is
	Likely  string   `json:"likely"`  // as it should be
	Quality float64  `json:"quality"` // of the label, in [0, 1]: the lowest that a way came to
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

// mislabels lists labels that are likely wrong, those that both ways find first.
func (d *diagnosis) mislabels(ctx context.Context, s *subject, v *embedding) error {
	found := map[[2]string]*Mislabel{}
	add := func(it *diagnose.Item, x diagnose.Doubt, by string) {
		k := [2]string{it.ID, it.Object}
		m := found[k]
		if m == nil {
			m = &Mislabel{AssetID: it.ID, Object: it.Object, Label: d.names[x.Given], Likely: d.names[x.Likely], Quality: x.Quality}
			found[k] = m
		}
		m.Quality = min(m.Quality, x.Quality)
		m.By = append(m.By, by)
	}
	if d.boxes || s.several {
		d.surest(s, add)
	} else {
		for _, x := range d.confident(s) {
			add(&s.items[x.Item], x, "confident learning")
		}
		if err := d.neighbours(ctx, s, v, add); err != nil {
			return err
		}
	}
	for _, m := range found {
		d.report.Mislabels = append(d.report.Mislabels, *m)
	}
	slices.SortFunc(d.report.Mislabels, func(a, b Mislabel) int {
		return cmp.Or(cmp.Compare(len(b.By), len(a.By)), cmp.Compare(a.Quality, b.Quality), cmp.Compare(a.AssetID, b.AssetID), cmp.Compare(a.Object, b.Object))
	})
	return nil
}

// confident is confident learning over the model's probabilities; where it gave
// none, over its confidence and an even spread of the rest.
func (d *diagnosis) confident(s *subject) []diagnose.Doubt {
	items := slices.Clone(s.items)
	if int64(len(items))*int64(len(d.names)) > mostClassCells {
		d.warn("%d items of %d classes are too many for confident learning; narrow them down with --where", len(items), len(d.names))
		return nil
	}
	for i := range items {
		it := &items[i]
		if it.Scores == nil && len(it.Guess) == 1 && !math.IsNaN(it.Guess[0].Confidence) {
			it.Scores = diagnose.Spread(it.Guess[0], len(d.names))
		}
	}
	return diagnose.Confident(items, len(d.names))
}

// surest lists confident wrong guesses, the most confident first, as Labelbox
// does: of boxes and several classes, what a label should be cannot be told
// otherwise.
func (d *diagnosis) surest(s *subject, add func(*diagnose.Item, diagnose.Doubt, string)) {
	for i := range s.items {
		it := &s.items[i]
		for _, p := range s.pairs[i] {
			if p.Guess < 0 || p.Truth < 0 || p.Right(it) || !(it.Guess[p.Guess].Confidence >= 0.9) {
				continue
			}
			g := it.Guess[p.Guess]
			add(it, diagnose.Doubt{Given: it.Truth[p.Truth].Class, Likely: g.Class, Quality: 1 - g.Confidence}, "confidence")
			break
		}
	}
}

// neighbours asks the nearest labeled rows. Of more items than mostRows the wrongly
// predicted ones and a seeded sample of the others take part.
func (d *diagnosis) neighbours(ctx context.Context, s *subject, v *embedding, add func(*diagnose.Item, diagnose.Doubt, string)) error {
	if v == nil || d.byObject {
		return nil
	}
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
	ids := make([]string, len(chosen))
	for i, c := range chosen {
		ids[i] = s.items[c].ID
	}
	vectors, err := v.live.Vectors(ctx, ids)
	if err != nil {
		return err
	}
	var rows []float32
	var label, item []int
	for i, c := range chosen {
		if x := vectors[ids[i]]; x != nil {
			rows = append(rows, x...)
			label, item = append(label, s.items[c].Truth[0].Class), append(item, c)
		}
	}
	for _, x := range diagnose.Neighbours(rows, v.live.Dim, label, len(label), nearest, len(d.names)) {
		add(&s.items[item[x.Item]], x, "neighbours")
	}
	return nil
}
