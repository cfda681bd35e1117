package function

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"golang.org/x/term"
)

// Bin counts the scores from From up to To; the last bin holds its end, too.
type Bin struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Rows int64   `json:"rows"`
}

// canvas says how a histogram is drawn: in block characters of a terminal's
// width, or in plain lines for files and pipes.
type canvas struct {
	blocks bool
	width  int // columns
}

const (
	chartHeight = 7   // lines of a drawn histogram
	chartWidest = 120 // columns that are of use
)

// canvasOf looks at where the output goes. style is auto, blocks or plain.
func canvasOf(out io.Writer, style string) canvas {
	c := canvas{blocks: style == "blocks", width: 80}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return c
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		c.width = min(w, chartWidest)
	}
	c.blocks = style != "plain"
	return c
}

// bins is into how many parts the range of scores is cut.
func (c canvas) bins() int {
	if c.blocks {
		return max(10, c.width-12)
	}
	return 20
}

// draw shows a histogram and where the threshold is in it. threshold is nil where
// no row can match.
func (c canvas) draw(w io.Writer, bins []Bin, threshold *float64) {
	var most int64
	for _, b := range bins {
		most = max(most, b.Rows)
	}
	if most == 0 {
		return
	}
	if c.blocks {
		c.drawBlocks(w, bins, most, threshold)
		return
	}
	for _, b := range bins {
		mark := ""
		if threshold != nil && *threshold >= b.From && (*threshold < b.To || b == bins[len(bins)-1] && *threshold <= b.To) {
			mark = fmt.Sprintf("  <- threshold %.4g", *threshold)
		}
		n := int(math.Round(30 * share(b.Rows, most)))
		fmt.Fprintf(w, "  %10.3f … %-10.3f %10d  %s%s\n", b.From, b.To, b.Rows, strings.Repeat("#", n), mark)
	}
}

// share is the height of a bar: by logarithm, since matches are few beside the
// corpus. One row shows.
func share(rows, most int64) float64 {
	if rows == 0 {
		return 0
	}
	return math.Log1p(float64(rows)) / math.Log1p(float64(most))
}

var eighths = []rune(" ▁▂▃▄▅▆▇█")

func (c canvas) drawBlocks(w io.Writer, bins []Bin, most int64, threshold *float64) {
	for line := chartHeight - 1; line >= 0; line-- {
		label := ""
		switch line {
		case chartHeight - 1:
			label = fmt.Sprint(most)
		case 0:
			label = "0"
		}
		row := make([]rune, len(bins))
		for i, b := range bins {
			h := share(b.Rows, most)*chartHeight*8 - float64(8*line)
			if line == 0 && b.Rows > 0 {
				h = max(h, 1)
			}
			row[i] = eighths[int(math.Round(min(max(h, 0), 8)))]
		}
		fmt.Fprintf(w, "%9s │%s\n", label, strings.TrimRight(string(row), " "))
	}
	lo, hi := bins[0].From, bins[len(bins)-1].To
	axis := []rune(strings.Repeat("─", len(bins)))
	under := fmt.Sprintf("%.3g", lo)
	end := fmt.Sprintf("%.3g", hi)
	if threshold != nil && *threshold >= lo && *threshold <= hi {
		at := min(int(float64(len(bins))*(*threshold-lo)/(hi-lo)), len(bins)-1)
		axis[at] = '▲'
		mark := fmt.Sprintf("%.4g", *threshold)
		if from := at - len(mark)/2; from > len(under) && from+len(mark) < len(bins)-len(end) {
			under += strings.Repeat(" ", from-len(under)) + mark
		}
	}
	under += strings.Repeat(" ", max(1, len(bins)-len(under)-len(end))) + end
	fmt.Fprintf(w, "%9s └%s\n%9s  %s\n", "", string(axis), "", under)
}
