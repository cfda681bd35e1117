// Command diagnose computes what pipeline/diagnose does, for Python to check: a
// JSON object of named problems on stdin, their answers on stdout.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"

	"winnow/pipeline/diagnose"
	"winnow/pipeline/vec"
)

// problem holds the inputs of all kinds of problems; each uses some.
type problem struct {
	Kind    string
	Classes int
	Items   []item
	IoU     float64
	Bins    int
	K, N    int64
	Paired  diagnose.Paired
	Rows    [][]float32
	Labels  []int
	Near    int
	Cut     int
}

// item is a diagnose.Item; class, confidence, x, y, w, h, crowd of each object.
type item struct {
	Truth, Guess [][]float64
	Scores       []float64 // by class
}

func object(f []float64) diagnose.Object {
	o := diagnose.Object{Class: int(f[0]), Confidence: math.NaN()}
	if len(f) > 1 && f[1] >= 0 {
		o.Confidence = f[1]
	}
	if len(f) > 5 {
		o.Box = diagnose.Box{X: f[2], Y: f[3], W: f[4], H: f[5]}
	}
	o.Crowd = len(f) > 6 && f[6] > 0
	return o
}

func (p *problem) items() []diagnose.Item {
	out := make([]diagnose.Item, len(p.Items))
	for i, in := range p.Items {
		for _, f := range in.Truth {
			out[i].Truth = append(out[i].Truth, object(f))
		}
		for _, f := range in.Guess {
			out[i].Guess = append(out[i].Guess, object(f))
		}
		for c, x := range in.Scores {
			out[i].Scores = append(out[i].Scores, diagnose.Score{Class: c, P: x})
		}
	}
	return out
}

func (p *problem) flat() ([]float32, int) {
	var rows []float32
	for _, r := range p.Rows {
		rows = append(rows, r...)
	}
	dim := len(p.Rows[0])
	vec.Normalize(rows, dim)
	return rows, dim
}

func (p *problem) solve() any {
	items := p.items()
	switch p.Kind {
	case "counts":
		boxes := p.IoU > 0
		t := diagnose.NewTally(p.Classes, boxes)
		for i := range items {
			t.Add(&items[i], diagnose.Match(&items[i], boxes, p.IoU))
		}
		e := t.Result()
		return map[string]any{"classes": e.Classes, "matrix": e.Matrix()}
	case "ap":
		return finite(diagnose.AveragePrecision(items, p.Classes))
	case "coco":
		return finite(diagnose.BoxPrecision(items, p.Classes, p.IoU))
	case "calibration":
		r := diagnose.NewReliability(p.Bins)
		for i := range items {
			for _, pair := range diagnose.Match(&items[i], false, 0) {
				if pair.Guess >= 0 {
					r.Add(items[i].Guess[pair.Guess].Confidence, pair.Right(&items[i]))
				}
			}
		}
		return r.Result()
	case "wilson":
		return diagnose.NewRate(p.K, p.N)
	case "mcnemar":
		return p.Paired.P()
	case "confident":
		return diagnose.Confident(items, p.Classes)
	case "neighbours":
		rows, dim := p.flat()
		doubts, _ := diagnose.Neighbours(rows, dim, p.Labels, len(p.Labels), p.Near, p.Classes)
		return doubts
	case "linkage":
		rows, dim := p.flat()
		d := diagnose.Distances(rows, dim)
		cut := diagnose.AverageLinkage(d, len(p.Rows)).Cut(p.Cut)
		return map[string]any{"cut": cut, "silhouette": diagnose.Silhouette(d, cut)}
	}
	return fmt.Sprintf("no problem is of kind %q", p.Kind)
}

// finite writes unknown numbers as null.
func finite(list []float64) []*float64 {
	out := make([]*float64, len(list))
	for i, x := range list {
		if !math.IsNaN(x) {
			out[i] = &x
		}
	}
	return out
}

func main() {
	var problems map[string]problem
	answers := map[string]any{}
	err := json.NewDecoder(os.Stdin).Decode(&problems)
	if err == nil {
		for name, p := range problems {
			answers[name] = p.solve()
		}
		err = json.NewEncoder(os.Stdout).Encode(answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
