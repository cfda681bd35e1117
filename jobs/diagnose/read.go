package diagnose

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"winnow/io/query"
	"winnow/jobs/internal/workspace"
	"winnow/pipeline"
	"winnow/pipeline/diagnose"
)

// labels are what is known to be true of one item.
type labels struct {
	asset, object string
	truth         []diagnose.Object
}

// subject is what a model made of the labeled items.
type subject struct {
	model   string
	items   []diagnose.Item
	pairs   [][]diagnose.Pair // of guesses that are confident enough
	silent  int64             // labeled items without a prediction, left out
	several bool              // an item has several labels or guesses
	eval    *diagnose.Evaluation
	ap      []float64 // by class
}

// models finds the models to look at, all of which have predictions.
func (d *diagnosis) models(ctx context.Context) ([]string, error) {
	for _, root := range []string{workspace.AssetsRoot, workspace.LabelsRoot, workspace.PredictionsRoot} {
		if _, err := d.w.LoadTable(ctx, root); err != nil {
			return nil, err
		}
	}
	db, err := d.w.DB(ctx)
	if err != nil {
		return nil, err
	}
	if n, err := db.Int(ctx, "SELECT count(*) FROM labels"); err != nil || n == 0 {
		if err == nil {
			err = pipeline.Usagef("there are no labels to hold predictions against; name their manifest in the config (labels: [{manifest: …}]) and run: winnow ingest")
		}
		return nil, err
	}
	have, err := query.Column[string](ctx, db, "SELECT DISTINCT model FROM predictions WHERE model IS NOT NULL ORDER BY 1")
	if err != nil {
		return nil, err
	}
	if len(have) == 0 {
		return nil, pipeline.Usagef("there are no predictions; name their manifest in the config (predictions: [{model: …, manifest: …}]) and run: winnow ingest")
	}
	want := d.Compare
	switch {
	case len(want) == 0 && d.Model != "":
		want = []string{d.Model}
	case len(want) == 0 && len(have) == 1:
		want = have
	case len(want) == 0:
		return nil, pipeline.Usagef("there are predictions of %d models; choose one with --model: %s", len(have), strings.Join(have, ", "))
	}
	for _, m := range want {
		if !slices.Contains(have, m) {
			return nil, pipeline.Usagef("model %q has no predictions; those with some: %s", m, strings.Join(have, ", "))
		}
	}
	return want, nil
}

// prepare chooses the labeled assets, decides what an item is, numbers the classes
// and reads the labels.
func (d *diagnosis) prepare(ctx context.Context, models []string) error {
	db, err := d.w.DB(ctx)
	if err != nil {
		return err
	}
	meta, err := d.w.MetadataStruct(ctx, "a")
	if err != nil {
		return err
	}
	from := fmt.Sprintf("SELECT a.* EXCLUDE (asset_id), a.asset_id, %s AS metadata FROM assets a WHERE a.asset_id IN (SELECT asset_id FROM labels)", meta)
	where := "true"
	if d.Where != "" {
		if err := db.CheckWhere(ctx, d.Where); err != nil {
			return fmt.Errorf("--where: %w", err)
		}
		where = query.Parens(d.Where)
	}
	list := query.Literals(models)
	if err := db.Exec(ctx, "CREATE OR REPLACE TABLE diagnosed_all AS "+from); err != nil {
		return err
	}
	if d.Where != "" {
		if err := db.BindWhere(ctx, "diagnosed_all", d.Where); err != nil {
			return fmt.Errorf("--where: %w", err)
		}
	}
	err = db.Exec(ctx, fmt.Sprintf(`CREATE OR REPLACE TABLE diagnosed AS SELECT * FROM diagnosed_all WHERE %s;
		CREATE OR REPLACE TABLE diagnosed_said AS SELECT p.* FROM predictions p SEMI JOIN diagnosed USING (asset_id) WHERE model IN %s`, where, list))
	if err != nil {
		return err
	}
	var boxes, boxed, objects, named, unknown int64
	err = db.Row(ctx, `SELECT (SELECT count(*) FROM labels SEMI JOIN diagnosed USING (asset_id) WHERE width IS NOT NULL), (SELECT count(*) FROM diagnosed_said WHERE width IS NOT NULL),
		(SELECT count(*) FROM labels SEMI JOIN diagnosed USING (asset_id) WHERE object IS NOT NULL AND width IS NULL), (SELECT count(*) FROM diagnosed_said WHERE object IS NOT NULL AND width IS NULL),
		(SELECT count(DISTINCT asset_id) FROM labels ANTI JOIN assets USING (asset_id))`, []any{&boxes, &boxed, &objects, &named, &unknown})
	if err != nil {
		return err
	}
	d.boxes, d.byObject = boxes > 0 && boxed > 0, objects > 0 && named > 0 && boxed == 0
	d.threshold = 0
	if d.boxes {
		d.threshold = 0.5
	}
	if d.Confidence != nil {
		d.threshold = *d.Confidence
	}
	if unknown > 0 {
		d.warn("%d labeled assets are not in the workspace and are left out; winnow ingest names the first when it reads the labels", unknown)
	}
	if err := d.classes(ctx, db); err != nil {
		return err
	}
	return d.readLabels(ctx, db)
}

// rowsSQL is the condition of rows that this kind of item takes.
func (d *diagnosis) rowsSQL() string {
	if d.boxes {
		return "width IS NOT NULL"
	}
	return "true"
}

// classes numbers the classes of labels and predictions, by name.
func (d *diagnosis) classes(ctx context.Context, db *query.DB) error {
	type spelling struct {
		name          string
		labeled, said int64
	}
	var all []spelling
	err := db.Each(ctx, `SELECT name, sum(l)::BIGINT, sum(p)::BIGINT FROM (
			SELECT label AS name, 1 AS l, 0 AS p FROM labels SEMI JOIN diagnosed USING (asset_id) WHERE label IS NOT NULL
			UNION ALL SELECT prediction, 0, 1 FROM diagnosed_said WHERE prediction IS NOT NULL
			UNION ALL SELECT unnest(probabilities)."class", 0, 0 FROM diagnosed_said)
		GROUP BY name ORDER BY sum(l) DESC, sum(p) DESC, name`, func(scan func(...any) error) error {
		var s spelling
		if err := scan(&s.name, &s.labeled, &s.said); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		return err
	}
	d.alike = map[string]string{}
	for _, s := range all {
		fold := strings.ToLower(strings.TrimSpace(s.name))
		first, twin := d.alike[fold]
		switch {
		case !twin:
			d.alike[fold] = s.name // the most frequent comes first
		case d.IgnoreCase:
			continue
		default:
			d.warn("the classes %q and %q (%d labels, %d predictions) differ by case or blanks alone and count as different; pass --ignore-case, or write them alike", first, s.name, s.labeled, s.said)
		}
		d.names = append(d.names, s.name)
	}
	sort.Strings(d.names)
	d.number = map[string]int{}
	for i, n := range d.names {
		d.number[n] = i
	}
	return nil
}

func (d *diagnosis) class(name string) int {
	if d.IgnoreCase {
		name = d.alike[strings.ToLower(strings.TrimSpace(name))]
	}
	return d.number[name]
}

func (d *diagnosis) key(asset, object string) string {
	if d.byObject {
		return asset + "\x00" + object
	}
	return asset
}

func boxIn(x, y, w, h sql.NullFloat64) diagnose.Box {
	return diagnose.Box{X: x.Float64, Y: y.Float64, W: w.Float64, H: h.Float64}
}

// readLabels reads what is true of every item, by asset and object.
func (d *diagnosis) readLabels(ctx context.Context, db *query.DB) error {
	d.labeled = map[string]*labels{}
	return db.Each(ctx, fmt.Sprintf(`SELECT asset_id, coalesce(object, ''), label, x, y, width, height, coalesce(crowd, false) FROM labels SEMI JOIN diagnosed USING (asset_id)
		WHERE %s OR label IS NULL ORDER BY asset_id, object NULLS FIRST, label, x, y, width, height`, d.rowsSQL()), func(scan func(...any) error) error {
		var asset, object string
		var label sql.NullString
		var x, y, w, h sql.NullFloat64
		var crowd bool
		if err := scan(&asset, &object, &label, &x, &y, &w, &h, &crowd); err != nil {
			return err
		}
		k := d.key(asset, object)
		l := d.labeled[k]
		if l == nil {
			l = &labels{asset: asset}
			if d.byObject {
				l.object = object
			}
			d.labeled[k] = l
			d.order = append(d.order, k)
		}
		if !label.Valid {
			return nil
		}
		o := diagnose.Object{Class: d.class(label.String), Confidence: math.NaN()}
		if d.boxes {
			o.Box, o.Crowd = boxIn(x, y, w, h), crowd
		} else if slices.ContainsFunc(l.truth, func(t diagnose.Object) bool { return t.Class == o.Class }) {
			return nil // several objects of one class: the asset shows it
		}
		l.truth = append(l.truth, o)
		return nil
	})
}

// read joins a model's predictions with the labels.
func (d *diagnosis) read(ctx context.Context, model string) (*subject, error) {
	s := &subject{model: model, items: make([]diagnose.Item, len(d.order))}
	at := make(map[string]int, len(d.order))
	for i, k := range d.order {
		l := d.labeled[k]
		at[k] = i
		s.items[i] = diagnose.Item{ID: l.asset, Object: l.object, Truth: l.truth}
	}
	if err := d.readGuesses(ctx, s, at); err != nil {
		return nil, err
	}
	kept := s.items[:0]
	for _, it := range s.items {
		if len(it.Guess) == 0 && !d.boxes && !d.All {
			s.silent++
			continue
		}
		kept = append(kept, it)
	}
	s.items = kept
	if len(s.items) == 0 {
		return nil, pipeline.Usagef("model %q predicted none of the %d labeled assets; give it the labeled assets to predict, or check the asset ids of its predictions", model, len(d.order))
	}
	d.rank(s)
	if d.boxes {
		s.ap = diagnose.BoxPrecision(s.items, len(d.names), d.IoU)
	} else {
		s.ap = diagnose.AveragePrecision(s.items, len(d.names))
	}
	for i := range s.items {
		it := &s.items[i]
		it.Guess = slices.DeleteFunc(it.Guess, func(g diagnose.Object) bool { return g.Confidence < d.threshold })
		s.several = s.several || len(it.Truth) > 1 || len(it.Guess) > 1
		s.pairs = append(s.pairs, diagnose.Match(it, d.boxes, d.IoU))
	}
	return s, nil
}

func (d *diagnosis) readGuesses(ctx context.Context, s *subject, at map[string]int) error {
	db, err := d.w.DB(ctx)
	if err != nil {
		return err
	}
	sql1 := fmt.Sprintf(`SELECT asset_id, coalesce(object, ''), prediction, confidence, x, y, width, height,
			list_transform(probabilities, lambda c: c."class"), list_transform(probabilities, lambda c: c.p) FROM diagnosed_said
		WHERE model = ? AND (%s) AND prediction IS NOT NULL ORDER BY asset_id, object NULLS FIRST, confidence DESC NULLS LAST, prediction, x, y, width, height`, d.rowsSQL())
	return db.Each(ctx, sql1, func(scan func(...any) error) error {
		var asset, object, class string
		var confidence, x, y, w, h sql.NullFloat64
		var names, ps any
		if err := scan(&asset, &object, &class, &confidence, &x, &y, &w, &h, &names, &ps); err != nil {
			return err
		}
		i, ok := at[d.key(asset, object)]
		if !ok {
			return nil // an object that has no label
		}
		it := &s.items[i]
		g := diagnose.Object{Class: d.class(class), Confidence: math.NaN()}
		if confidence.Valid {
			g.Confidence = confidence.Float64
		}
		if d.boxes {
			g.Box = boxIn(x, y, w, h)
		} else if slices.ContainsFunc(it.Guess, func(o diagnose.Object) bool { return o.Class == g.Class }) {
			return nil
		}
		it.Guess = append(it.Guess, g)
		list, _ := names.([]any)
		probs, _ := ps.([]any)
		if it.Scores == nil && !d.boxes {
			for k := range list {
				if p, ok := probs[k].(float64); ok {
					it.Scores = append(it.Scores, diagnose.Score{Class: d.class(fmt.Sprint(list[k])), P: p})
				}
			}
		}
		return nil
	}, s.model)
}

// rank takes several guesses an item for a distribution over classes where each
// item has one label and the confidences add up to at most 1: the most confident
// guess counts then.
func (d *diagnosis) rank(s *subject) {
	if d.boxes {
		return
	}
	more := false
	for i := range s.items {
		it := &s.items[i]
		sum := 0.0
		for _, g := range it.Guess {
			sum += g.Confidence // NaN fails the comparison
		}
		if len(it.Truth) > 1 || len(it.Guess) > 1 && !(sum <= 1.0001) {
			return
		}
		more = more || len(it.Guess) > 1
	}
	if !more {
		return
	}
	for i := range s.items {
		it := &s.items[i]
		if len(it.Guess) == 0 {
			continue
		}
		if it.Scores == nil {
			for _, g := range it.Guess {
				if !math.IsNaN(g.Confidence) {
					it.Scores = append(it.Scores, diagnose.Score{Class: g.Class, P: g.Confidence})
				}
			}
		}
		it.Guess = it.Guess[:1] // they are sorted
	}
}
