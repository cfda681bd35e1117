package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Defaults of the corpus statistics.
const (
	StatisticsRows = 50_000 // rows that mean and covariance come from
	SampleRows     = 2_000  // rows kept for choosing λ and as the classifiers' background
)

// Statistics describe the corpus of one embedding: the mean and covariance of
// a seeded sample of its rows, scaled to unit length, and some of these rows.
// They never change; what was fitted with them names their ID.
type Statistics struct {
	ID          string // hash of the content, 32 hexadecimal digits; set by Finish and Decode
	Embedding   string
	Fingerprint string // of the embedding
	Dim         int
	Seed        uint64
	Total       int64     // rows of the corpus
	Rows        int64     // rows that Mean and Cov come from
	Mean        []float64 // Dim
	Cov         []float64 // Dim × Dim, symmetric; divided by Rows
	SampleIDs   []string  // the asset ids of Sample
	Sample      []float32 // len(SampleIDs) × Dim, unit rows in seeded order

	once  sync.Once
	basis *basis
	err   error
}

const (
	statisticsFormat = "winnow statistics"
	// statisticsVersion counts changes of the file format.
	//
	//	1: mean, covariance, sample
	statisticsVersion = "1"
)

// Encode returns the statistics as a safetensors file: arrays mean,
// covariance and sample. It sets ID.
func (s *Statistics) Encode() ([]byte, error) {
	for _, id := range s.SampleIDs {
		if !utf8.ValidString(id) {
			return nil, fmt.Errorf("statistics of %s: asset id %q is no UTF-8", s.Embedding, id)
		}
	}
	ids, err := json.Marshal(s.SampleIDs)
	if err != nil {
		return nil, err
	}
	data, sum, err := encodeTensors(map[string]string{
		metaFormat:    statisticsFormat,
		metaVersion:   statisticsVersion,
		"embedding":   s.Embedding,
		"fingerprint": s.Fingerprint,
		"seed":        strconv.FormatUint(s.Seed, 10),
		"total":       strconv.FormatInt(s.Total, 10),
		"rows":        strconv.FormatInt(s.Rows, 10),
		"sample_ids":  string(ids),
	}, []tensor{
		{name: "mean", shape: []int{s.Dim}, f64: s.Mean},
		{name: "covariance", shape: []int{s.Dim, s.Dim}, f64: s.Cov},
		{name: "sample", shape: []int{len(s.SampleIDs), s.Dim}, f32: s.Sample},
	})
	if err != nil {
		return nil, fmt.Errorf("statistics of %s: %w", s.Embedding, err)
	}
	s.ID = sum[:32]
	return data, nil
}

// DecodeStatistics reads what Encode wrote. A damaged file and one of an
// unknown version are refused.
func DecodeStatistics(data []byte) (*Statistics, error) {
	s, err := decodeStatistics(data)
	if err != nil {
		return nil, fmt.Errorf("read corpus statistics: %w", err)
	}
	return s, nil
}

func decodeStatistics(data []byte) (*Statistics, error) {
	meta, ts, sum, err := decodeTensors(data, statisticsFormat, statisticsVersion)
	if err != nil {
		return nil, err
	}
	s := &Statistics{ID: sum[:32], Embedding: meta["embedding"], Fingerprint: meta["fingerprint"]}
	var e1, e2, e3 error
	s.Seed, e1 = strconv.ParseUint(meta["seed"], 10, 64)
	s.Total, e2 = strconv.ParseInt(meta["total"], 10, 64)
	s.Rows, e3 = strconv.ParseInt(meta["rows"], 10, 64)
	if err := errors.Join(e1, e2, e3, json.Unmarshal([]byte(meta["sample_ids"]), &s.SampleIDs)); err != nil {
		return nil, err
	}
	s.Dim = len(ts["mean"].f64)
	mean, e1 := shaped(ts, "mean", s.Dim)
	cov, e2 := shaped(ts, "covariance", s.Dim, s.Dim)
	sample, e3 := shaped(ts, "sample", len(s.SampleIDs), s.Dim)
	if err := errors.Join(e1, e2, e3); err != nil {
		return nil, err
	}
	s.Mean, s.Cov, s.Sample = mean.f64, cov.f64, sample.f32
	if len(s.Cov) != s.Dim*s.Dim || len(s.Sample) != len(s.SampleIDs)*s.Dim || s.Dim == 0 {
		return nil, errors.New("its arrays are empty or of the wrong type")
	}
	return s, nil
}

// spread is tr Σ/d, the mean variance of a coordinate.
func (s *Statistics) spread() float64 {
	t := 0.0
	for i := 0; i < s.Dim; i++ {
		t += s.Cov[i*s.Dim+i]
	}
	return t / float64(s.Dim)
}

// unitNorm2 says whether a squared length is 1 up to the rounding of float32.
func unitNorm2(n2 float64) bool { return math.Abs(n2-1) < 1e-5 }

func norm2(v []float32) float64 {
	s := 0.0
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}
