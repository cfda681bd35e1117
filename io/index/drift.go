package index

import (
	"fmt"
	"os"
)

// Drift says how well what was trained still fits the rows.
type Drift struct {
	TrainedRows int64   `json:"trained_rows,omitempty"`  // rows when the index was trained
	Trained     float64 `json:"trained,omitempty"`       // imbalance of the lists then
	Imbalance   float64 `json:"imbalance,omitempty"`     // and now: lists·Σn²/(Σn)², 1 when all lists are as long
	NewRows     int64   `json:"new_rows,omitempty"`      // rows of the newest segment
	NewRecall   float64 `json:"new_recall_10,omitempty"` // share of their ten nearest rows that a search finds; 0 when they were too few to tell
	Retrain     string  `json:"retrain,omitempty"`       // why the next run should train anew
}

// Drift that asks for training anew.
const (
	moreImbalance = 1.5  // times the trained one: searches read so many more rows
	lessRecall    = 0.05 // below the recall asked for, among new rows
	moreRows      = 3    // times the rows trained on: the lists are too few
)

// drift measures the lists of all parts and decides.
func (x *extension) drift() error {
	d := &x.m.Drift
	d.Retrain = ""
	if x.m.Kind == Flat {
		return nil
	}
	sizes := make([]int64, x.m.NList)
	add := func(path string, rows int64) error {
		p := x.m.Params
		p.Rows = rows
		return addSizes(sizes, path, &p)
	}
	if x.base != "" {
		if err := add(x.base, x.m.Rows); err != nil {
			return err
		}
	} else {
		for _, p := range x.f.parts {
			if err := add(p.path, p.ix.p.Rows); err != nil {
				return err
			}
		}
		if x.path != "" {
			if err := add(x.path, x.g.Rows); err != nil {
				return err
			}
		}
	}
	d.Imbalance = imbalance(sizes)
	switch {
	case d.Imbalance > moreImbalance*d.Trained:
		d.Retrain = fmt.Sprintf("the lists' imbalance grew from %.2f to %.2f", d.Trained, d.Imbalance)
	case d.NewRecall > 0 && d.NewRecall < x.m.RecallTarget-lessRecall:
		d.Retrain = fmt.Sprintf("searches find %.3f of the new rows' neighbours, %.2f were asked for", d.NewRecall, x.m.RecallTarget)
	case x.m.Rows > moreRows*d.TrainedRows:
		d.Retrain = fmt.Sprintf("there are %d rows, %d when it was trained", x.m.Rows, d.TrainedRows)
	}
	return nil
}

func addSizes(sizes []int64, path string, p *Params) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := layoutOf(f, p)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i, n := range l.sizes {
		sizes[i] += n
	}
	return nil
}

// imbalance is how many times more rows a search reads than if all lists were as long
// (FAISS's imbalance factor).
func imbalance(sizes []int64) float64 {
	var sum, squares float64
	for _, n := range sizes {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	if sum == 0 {
		return 1
	}
	return float64(len(sizes)) * squares / (sum * sum)
}
