package diagnose

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"

	"winnow/pipeline/diagnose"
)

// row is a line of rows.jsonl.
type row struct {
	AssetID    string   `json:"asset_id"`
	Object     string   `json:"object,omitempty"`
	Labels     []object `json:"labels"`
	Prediction []object `json:"predictions"`
	Slices     []string `json:"slices"`
}

type object struct {
	Class      string    `json:"class"`
	Confidence *float64  `json:"confidence,omitempty"`
	BBox       []float64 `json:"bbox,omitempty"`
	Crowd      bool      `json:"crowd,omitempty"`
	Right      bool      `json:"right"`         // found, or right
	IoU        float64   `json:"iou,omitempty"` // with what it was matched with
}

func (d *diagnosis) object(o diagnose.Object) object {
	out := object{Class: d.names[o.Class], Crowd: o.Crowd}
	if !math.IsNaN(o.Confidence) {
		out.Confidence = &o.Confidence
	}
	if !o.Box.None() {
		out.BBox = []float64{o.Box.X, o.Box.Y, o.Box.W, o.Box.H}
	}
	return out
}

// write puts the page, the report and the rows into the workspace.
func (d *diagnosis) write(ctx context.Context, s *subject) error {
	r := d.report
	dir := "reports/" + d.w.App.Run + "/"
	at := func(name string) string {
		if p, ok := d.w.Store.Path(dir + name); ok {
			return p
		}
		return d.w.Store.URL() + "/" + dir + name
	}
	r.Page, r.Rows = at("diagnosis.html"), at("rows.jsonl")
	doubtful := map[[2]string]bool{}
	for _, m := range r.Mislabels {
		doubtful[[2]string{m.AssetID, m.Object}] = true
	}
	err := d.w.Store.Write(ctx, dir+"rows.jsonl", func(w io.Writer) error {
		out := bufio.NewWriter(w)
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for i := range s.items {
			if err := enc.Encode(d.row(&s.items[i], s.pairs[i], doubtful)); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := d.w.Store.WriteAll(ctx, dir+"diagnosis.json", append(data, '\n')); err != nil {
		return err
	}
	var page bytes.Buffer
	if err := r.page(&page); err != nil {
		return err
	}
	return d.w.Store.WriteAll(ctx, dir+"diagnosis.html", page.Bytes())
}

func (d *diagnosis) row(it *diagnose.Item, pairs []diagnose.Pair, doubtful map[[2]string]bool) row {
	out := row{AssetID: it.ID, Object: it.Object, Labels: []object{}, Prediction: []object{}, Slices: slicesOf(it, pairs)}
	for _, t := range it.Truth {
		out.Labels = append(out.Labels, d.object(t))
	}
	for _, g := range it.Guess {
		out.Prediction = append(out.Prediction, d.object(g))
	}
	for _, p := range pairs {
		if p.Right(it) {
			out.Labels[p.Truth].Right, out.Prediction[p.Guess].Right = true, true
		}
		if p.Truth >= 0 && p.Guess >= 0 {
			out.Labels[p.Truth].IoU, out.Prediction[p.Guess].IoU = p.IoU, p.IoU
		}
	}
	if doubtful[[2]string{it.ID, it.Object}] {
		out.Slices = append(out.Slices, mislabelSlice)
	}
	return out
}
