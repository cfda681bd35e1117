package index

import (
	"fmt"
	"math"
)

// Kinds of indexes. All but flat are inverted lists: a search reads the rows near
// the NProbe centroids that are nearest to the query.
const (
	Flat    = "flat"     // exact search over all rows
	IVFFlat = "ivf_flat" // the rows as they are: 4·dim bytes each
	IVFSQ8  = "ivf_sq8"  // a byte a number: dim bytes
	IVFPQ   = "ivf_pq"   // product quantisation after a rotation: 16 to 128 bytes
	Auto    = "auto"     // of the four, the first that fits the memory
)

// InnerProduct is the only metric: of unit vectors it is the cosine.
const InnerProduct = "inner_product"

const (
	flatBelow       = 10_000  // rows; exact search is faster than an index is useful
	hnswFrom        = 16_384  // lists; below, comparing with all centroids is faster than a graph of them
	pointsPerList   = 256     // training rows a centroid: more do not raise the recall
	minPerList      = 39      // fewer, and FAISS warns of poor clusters
	minPQTrain      = 39 << 8 // training rows of a product quantiser of 256 centroids
	recallAt        = 10      // neighbours that recall is measured over
	maxQueries      = 1000
	queriesPerRows  = 10 // at most one query in so many rows
	maxDim          = 65536
	maxRows         = math.MaxInt64 / maxDim / 8
	maxSearchResult = 1 << 20 // k
	maxRefine       = 128
	idBytes         = 8 // of a row in a list
)

// Defaults of a Wish, and the least memory that a build can keep to.
const (
	DefaultMemory = 1_000_000_000
	DefaultRecall = 0.95
	MinMemory     = 50_000_000
)

// Wish is what a user asks of an index. The zero value of each field means its
// default.
type Wish struct {
	Kind   string  // one of the kinds; "" is auto
	Memory int64   // bytes: of the finished index, and of a process that builds it
	Recall float64 // (0, 1], of the ten nearest rows
	Seed   uint64  // of the training rows and the queries
}

// Params describe an index. Choose makes a plan; a build adds what it measured.
type Params struct {
	Kind         string  `json:"kind"`    // flat, ivf_flat, ivf_sq8 or ivf_pq
	Factory      string  `json:"factory"` // FAISS's name for it
	Metric       string  `json:"metric"`  // inner_product
	Dim          int     `json:"dim"`
	Rows         int64   `json:"rows"`
	NList        int     `json:"nlist,omitempty"`      // lists
	HNSW         bool    `json:"hnsw,omitempty"`       // the centroids are found by a graph, not by comparing with all
	PQ           int     `json:"pq,omitempty"`         // bytes of a row of a product quantiser
	PQDim        int     `json:"pq_dim,omitempty"`     // numbers that are left after the rotation before it
	NProbe       int     `json:"nprobe,omitempty"`     // lists that a search reads
	Refine       int     `json:"refine,omitempty"`     // of codes: candidates for each result, whose cosines are then computed from the vectors
	TrainRows    int     `json:"train_rows,omitempty"` // rows that the centroids come from
	Seed         uint64  `json:"seed"`                 // of the training rows and the queries
	Memory       int64   `json:"memory"`               // bytes that were allowed
	RecallTarget float64 `json:"recall_target"`        // (0, 1]
	Recall10     float64 `json:"recall_at_10"`         // measured against exact search; 1 for flat
	Queries      int     `json:"queries,omitempty"`    // rows that recall was measured with, none of them trained on
}

// Choose plans an index of rows vectors of dim numbers. Auto is flat below 10,000
// rows; else rows as they are, at a byte a number, or product quantised, whichever
// of these comes first within the memory. There are about 4·√rows lists, fewer
// where that would leave a list less than 39 training rows, which together take at
// most a third of the memory.
func Choose(rows int64, dim int, w Wish) (Params, error) {
	p := Params{
		Kind: w.Kind, Metric: InnerProduct, Dim: dim, Rows: rows, Seed: w.Seed, Memory: w.Memory, RecallTarget: w.Recall,
	}
	if p.Memory == 0 {
		p.Memory = DefaultMemory
	}
	if p.RecallTarget == 0 {
		p.RecallTarget = DefaultRecall
	}
	if p.Kind == "" || p.Kind == Auto {
		p.Kind = pick(rows, dim, p.Memory)
	}
	if p.Kind != Flat && rows < 2*minPerList {
		p.Kind = Flat // there is nothing to train with
	}
	if p.Kind == IVFPQ && rows-int64(queryCount(rows)) < minPQTrain {
		p.Kind = IVFSQ8 // nor to train a product quantiser with
	}
	if p.Kind != Flat {
		p.lists()
	}
	if p.Kind == IVFPQ {
		p.PQ, p.PQDim = product(rows, dim, p.Memory)
		if p.PQ == 0 {
			return p, fmt.Errorf("%d numbers are too few for a product quantiser; choose kind ivf_sq8", dim)
		}
	}
	if p.Kind == IVFPQ || p.Kind == IVFSQ8 {
		p.Refine = 2 // more if the recall asks for it
	}
	p.Factory = p.factory()
	return p, p.check()
}

func pick(rows int64, dim int, memory int64) string {
	switch {
	case rows < flatBelow:
		return Flat
	case fits(rows, 4*dim, memory):
		return IVFFlat
	case fits(rows, dim, memory) || dim < minPQ:
		return IVFSQ8
	}
	return IVFPQ
}

// fits tells whether rows of so many bytes, with their ids, fit.
func fits(rows int64, size int, memory int64) bool { return rows <= memory/int64(size+idBytes) }

// lists plans the lists and the rows to train them with.
func (p *Params) lists() {
	p.Queries = queryCount(p.Rows)
	usable := min(p.Rows-int64(p.Queries), max(p.Memory/3/int64(4*p.Dim), minPerList))
	p.NList = int(max(1, min(int64(4*math.Sqrt(float64(p.Rows))), usable/minPerList)))
	p.HNSW = p.NList >= hnswFrom
	want := pointsPerList * p.NList
	if p.Kind == IVFPQ {
		want = max(want, 4*minPQTrain)
	}
	p.TrainRows = int(min(usable, int64(want)))
}

const minPQ, maxPQ = 16, 128 // bytes a row

// product chooses how many bytes a row has: as many as fit the memory, of 4
// numbers each or more.
func product(rows int64, dim int, memory int64) (m, to int) {
	for _, m = range []int{maxPQ, 96, 64, 48, 32, 24, minPQ, 8, 4, 2, 1} {
		if 4*m > dim || m < minPQ && dim >= 4*minPQ {
			continue
		}
		if to = dim / m * m; fits(rows, m, memory) {
			return m, to
		}
	}
	if dim < 4 {
		return 0, 0
	}
	m = min(minPQ, dim/4) // nothing fits: the smallest, which is mapped
	return m, dim / m * m
}

func (p *Params) factory() string {
	if p.Kind == Flat {
		return "Flat"
	}
	lists := fmt.Sprintf("IVF%d", p.NList)
	if p.HNSW {
		lists += "_HNSW32"
	}
	switch p.Kind {
	case IVFSQ8:
		return lists + ",SQ8"
	case IVFPQ:
		return fmt.Sprintf("OPQ%d_%d,%s,PQ%dnp", p.PQ, p.PQDim, lists, p.PQ)
	}
	return lists + ",Flat"
}

// codeSize is the bytes of a row in a list.
func (p *Params) codeSize() int {
	switch p.Kind {
	case IVFSQ8:
		return p.Dim
	case IVFPQ:
		return p.PQ
	}
	return 4 * p.Dim
}

// listDim is the dimension of what stands in the lists.
func (p *Params) listDim() int {
	if p.Kind == IVFPQ {
		return p.PQDim
	}
	return p.Dim
}

// coded tells whether scores from the lists are approximate.
func (p *Params) coded() bool { return p.Kind == IVFSQ8 || p.Kind == IVFPQ }

// TaskRows is how many rows one task should build lists of: their codes take at most
// a sixteenth of the memory, since FAISS's lists grow by doubling.
func (p *Params) TaskRows() int64 {
	const least, most = 10_000, 1 << 20
	return min(max(p.Memory/16/int64(p.codeSize()+idBytes), least), most)
}

func queryCount(rows int64) int { return int(max(1, min(maxQueries, rows/queriesPerRows))) }

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
	case p.Memory < MinMemory:
		return fmt.Errorf("memory of %d bytes is too little; at least %d MB", p.Memory, MinMemory/1_000_000)
	}
	switch p.Kind {
	case Flat, IVFFlat, IVFSQ8, IVFPQ:
	default:
		return fmt.Errorf("kind %q is unknown; it is %s, %s, %s or %s", p.Kind, Flat, IVFFlat, IVFSQ8, IVFPQ)
	}
	if p.Kind != Flat {
		if err := p.checkLists(); err != nil {
			return err
		}
	}
	if p.Factory != p.factory() {
		return fmt.Errorf("factory %q does not belong to these parameters; it would be %s", p.Factory, p.factory())
	}
	return nil
}

func (p *Params) checkLists() error {
	const most = 1 << 26
	switch {
	case p.NList < 1 || p.NList > most:
		return fmt.Errorf("%d lists are not within 1 to %d", p.NList, most)
	case p.NProbe < 0 || p.NProbe > p.NList:
		return fmt.Errorf("nprobe %d is not within the %d lists", p.NProbe, p.NList)
	case p.Refine < 0 || p.Refine > maxRefine:
		return fmt.Errorf("refine %d is not within 0 to %d", p.Refine, maxRefine)
	case p.Kind == IVFPQ && (p.PQ < 1 || p.PQDim < p.PQ || p.PQDim > p.Dim || p.PQDim%p.PQ != 0):
		return fmt.Errorf("%d bytes for %d of %d numbers", p.PQ, p.PQDim, p.Dim)
	}
	return nil
}
