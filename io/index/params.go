package index

import (
	"fmt"
	"math"
)

// Kinds of indexes.
const (
	Flat = "flat" // exact search over all rows
	IVF  = "ivf"  // inverted lists: the rows near the NProbe centroids that are nearest to the query
)

// InnerProduct is the only metric: of unit vectors it is the cosine.
const InnerProduct = "inner_product"

const (
	flatBelow       = 10_000 // rows; exact search is faster than an index is useful
	pointsPerList   = 100    // training rows a centroid: more do not raise the recall
	minPerList      = 39     // fewer, and FAISS warns of poor clusters
	maxTrainBytes   = 512 << 20
	recallAt        = 10 // neighbours that recall is measured over
	defaultTarget   = 0.95
	maxQueries      = 1000
	queriesPerRows  = 10 // at most one query in so many rows
	maxDim          = 65536
	maxRows         = math.MaxInt64 / maxDim / 8
	defaultSeed     = 1
	maxSearchResult = 1 << 20 // k
)

// Params describe an index. Choose makes a plan; Build returns it with what it
// measured.
type Params struct {
	Kind         string  `json:"kind"`    // flat or ivf
	Factory      string  `json:"factory"` // FAISS's name for it
	Metric       string  `json:"metric"`  // inner_product
	Dim          int     `json:"dim"`
	Rows         int64   `json:"rows"`
	NList        int     `json:"nlist,omitempty"`      // lists
	NProbe       int     `json:"nprobe,omitempty"`     // lists that a search reads
	TrainRows    int     `json:"train_rows,omitempty"` // rows that the centroids come from
	Seed         uint64  `json:"seed"`                 // of the training rows and the queries
	RecallTarget float64 `json:"recall_target"`        // (0, 1]
	Recall10     float64 `json:"recall_at_10"`         // measured against exact search; 1 for flat
	Queries      int     `json:"queries,omitempty"`    // rows that recall was measured with, none of them trained on
}

// Choose plans an index of rows vectors of dim numbers: flat below 10,000 rows,
// else IVF with about 4·√rows lists, fewer where that would leave a list less
// than 39 training rows, and training rows of at most 512 MiB.
func Choose(rows int64, dim int) Params {
	p := Params{
		Kind: Flat, Factory: "Flat", Metric: InnerProduct, Dim: dim, Rows: rows,
		Seed: defaultSeed, RecallTarget: defaultTarget,
	}
	if rows < flatBelow || dim < 1 {
		return p
	}
	p.Queries = queryCount(rows)
	usable := min(rows-int64(p.Queries), int64(max(maxTrainBytes/(4*dim), minPerList)))
	p.Kind = IVF
	p.NList = int(max(1, min(int64(4*math.Sqrt(float64(rows))), usable/minPerList)))
	p.TrainRows = int(min(usable, int64(pointsPerList*p.NList)))
	p.Factory = fmt.Sprintf("IVF%d,Flat", p.NList)
	return p
}

func queryCount(rows int64) int { return int(min(maxQueries, rows/queriesPerRows)) }

// check says what is wrong with a plan.
func (p *Params) check() error {
	switch {
	case p.Dim < 1 || p.Dim > maxDim:
		return fmt.Errorf("dimension %d is not within 1 to %d", p.Dim, maxDim)
	case p.Rows < 0 || p.Rows > maxRows:
		return fmt.Errorf("%d rows are out of range", p.Rows)
	case p.Metric != InnerProduct:
		return fmt.Errorf("metric %q is unknown; it must be %s", p.Metric, InnerProduct)
	case !(p.RecallTarget > 0 && p.RecallTarget <= 1):
		return fmt.Errorf("recall target %v is not above 0 and up to 1", p.RecallTarget)
	}
	switch p.Kind {
	case Flat:
		return nil
	case IVF:
	default:
		return fmt.Errorf("kind %q is unknown; it is %s or %s", p.Kind, Flat, IVF)
	}
	switch {
	case p.NList < 1 || int64(p.NList) > p.Rows:
		return fmt.Errorf("%d lists for %d rows", p.NList, p.Rows)
	case p.Factory != fmt.Sprintf("IVF%d,Flat", p.NList):
		return fmt.Errorf("factory %q is not supported; with %d lists it is IVF%d,Flat", p.Factory, p.NList, p.NList)
	case p.NProbe < 0 || p.NProbe > p.NList:
		return fmt.Errorf("nprobe %d is not within the %d lists", p.NProbe, p.NList)
	}
	return nil
}
