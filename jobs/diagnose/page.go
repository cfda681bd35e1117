package diagnose

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"

	"winnow/pipeline/diagnose"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"rate":   show,
	"number": number,
	"low":    lowText,
	"first":  func(list []Mislabel) []Mislabel { return list[:min(len(list), 200)] },
}).Parse(pageText))

// mostMatrix is the number of classes that the page's confusion matrix shows: those
// with the most mistakes. All cells stand in diagnosis.json.
const mostMatrix = 40

// cell is a cell of the page's matrix.
type cell struct {
	N     int64
	Right bool
	Shade float64 // 0 to 1, of the row's labels
	Title string
}

// matrix is the page's confusion matrix.
type matrix struct {
	Names []string // of the columns, None last
	Rows  []struct {
		Name  string
		Cells []cell
	}
	Left int // classes that are left out
}

// page writes the report as one HTML file that needs no other.
func (r *Report) page(w io.Writer) error {
	return pageTemplate.Execute(w, struct {
		*Report
		Matrix matrix
		Curve  template.HTML
	}{r, r.matrix(), curve(r.Calibration)})
}

func (r *Report) matrix() matrix {
	wrong := map[string]int64{}
	for _, c := range r.Classes {
		wrong[c.Name] = c.FP + c.FN
	}
	names := make([]string, len(r.Classes))
	for i, c := range r.Classes {
		names[i] = c.Name
	}
	m := matrix{}
	if len(names) > mostMatrix {
		slices.SortStableFunc(names, func(a, b string) int { return int(wrong[b] - wrong[a]) })
		m.Left = len(names) - mostMatrix
		names = names[:mostMatrix]
		slices.Sort(names)
	}
	at := map[string]int{}
	for i, n := range names {
		at[n] = i
	}
	none := len(names)
	counts := make([][]int64, none+1)
	for i := range counts {
		counts[i] = make([]int64, none+1)
	}
	place := func(n *string) (int, bool) {
		if n == nil {
			return none, true
		}
		i, ok := at[*n]
		return i, ok
	}
	for _, c := range r.Confusion {
		t, tok := place(c.Truth)
		g, gok := place(c.Guess)
		if tok && gok {
			counts[t][g] += c.N
		}
	}
	m.Names = append(slices.Clone(names), "None")
	for t, row := range counts {
		var sum int64
		for _, n := range row {
			sum += n
		}
		line := struct {
			Name  string
			Cells []cell
		}{Name: m.Names[t]}
		for g, n := range row {
			line.Cells = append(line.Cells, cell{N: n, Right: t == g && t != none, Shade: math.Sqrt(float64(n) / float64(max(sum, 1))),
				Title: fmt.Sprintf("labeled %s, predicted %s: %d of %d", m.Names[t], m.Names[g], n, sum)})
		}
		m.Rows = append(m.Rows, line)
	}
	return m
}

// curve draws the reliability diagram. It is made of numbers alone.
func curve(c *diagnose.Calibration) template.HTML {
	if c == nil {
		return ""
	}
	const size = 260.0
	s := fmt.Sprintf(`<svg viewBox="-34 -8 %v %v" width="320" role="img" aria-label="reliability diagram"><rect width="%v" height="%v" class="frame"/><path d="M0 %v L%v 0" class="ideal"/>`,
		size+44, size+44, size, size, size, size)
	var most int64
	for _, b := range c.Bins {
		most = max(most, b.N)
	}
	for _, b := range c.Bins {
		x, y := size*b.Confidence, size*(1-b.Right.Value)
		s += fmt.Sprintf(`<path d="M%.1f %.1f V%.1f" class="whisker"/><circle cx="%.1f" cy="%.1f" r="%.1f"><title>%d predictions of mean confidence %.3f: %.3f right</title></circle>`,
			x, size*(1-b.Right.High), size*(1-b.Right.Low), x, y, 3+7*math.Sqrt(float64(b.N)/float64(most)), b.N, b.Confidence, b.Right.Value)
	}
	for _, t := range []float64{0, 0.5, 1} {
		s += fmt.Sprintf(`<text x="%v" y="%v" text-anchor="middle">%v</text><text x="-8" y="%v" text-anchor="end">%v</text>`, size*t, size+16, t, size*(1-t)+4, t)
	}
	return template.HTML(s + fmt.Sprintf(`<text x="%v" y="%v" text-anchor="middle">confidence</text></svg>`, size/2, size+32)) //nolint:gosec // numbers only
}
