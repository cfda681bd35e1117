package function

import (
	"encoding/json"
	"errors"
	"fmt"
)

const (
	scorersFormat = "winnow functions"
	// scorersVersion counts changes of the file format.
	//
	//	1: rows by name, the rest in the metadata
	scorersVersion = "1"
)

// scorerMeta is a Scorer without its rows.
type scorerMeta struct {
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Embedding   string    `json:"embedding"`
	Fingerprint string    `json:"fingerprint"`
	Statistics  string    `json:"statistics,omitempty"`
	Combine     Combine   `json:"combine"`
	Dim         int       `json:"dim"`
	Rows        int       `json:"rows"`
	Offset      float64   `json:"offset"`
	Positives   int       `json:"positives,omitempty"`
	Lambda      float64   `json:"lambda,omitempty"`
	Deviation   float64   `json:"deviation,omitempty"`
	Shares      []float64 `json:"shares,omitempty"` // a record: scoring needs the row alone
}

// EncodeScorers returns fitted functions as a safetensors file, one array
// each, so that tasks score with what plan has fitted. The same scorers in the
// same order have the same bytes.
func EncodeScorers(scorers []*Scorer) ([]byte, error) {
	var (
		metas = []scorerMeta{}
		ts    []tensor
		seen  = map[string]bool{}
	)
	for _, s := range scorers {
		if s.Dim <= 0 || len(s.Rows) == 0 || len(s.Rows)%s.Dim != 0 {
			return nil, fmt.Errorf("function %s is not fitted", s.Name)
		}
		if seen[s.Name] || s.Name == "" {
			return nil, fmt.Errorf("two functions have the name %q", s.Name)
		}
		seen[s.Name] = true
		n := len(s.Rows) / s.Dim
		metas = append(metas, scorerMeta{s.Name, s.Version, s.Embedding, s.Fingerprint, s.Statistics,
			s.Combine, s.Dim, n, s.Offset, s.Positives, s.Lambda, s.Deviation, s.Shares})
		ts = append(ts, tensor{name: s.Name, shape: []int{n, s.Dim}, f32: s.Rows})
	}
	list, err := json.Marshal(metas)
	if err != nil {
		return nil, err
	}
	data, _, err := encodeTensors(map[string]string{
		metaFormat: scorersFormat, metaVersion: scorersVersion, "functions": string(list),
	}, ts)
	return data, err
}

// DecodeScorers reads what EncodeScorers wrote, in the same order. A damaged
// file and one of an unknown version are refused.
func DecodeScorers(data []byte) ([]*Scorer, error) {
	meta, ts, _, err := decodeTensors(data, scorersFormat, scorersVersion)
	if err != nil {
		return nil, fmt.Errorf("read fitted functions: %w", err)
	}
	var metas []scorerMeta
	if err := json.Unmarshal([]byte(meta["functions"]), &metas); err != nil {
		return nil, fmt.Errorf("read fitted functions: %w", err)
	}
	scorers := make([]*Scorer, len(metas))
	for i, m := range metas {
		t, err := shaped(ts, m.Name, m.Rows, m.Dim)
		if err == nil && (len(t.f32) == 0 || !m.Combine.known()) {
			err = errors.New("it has no rows of numbers")
		}
		if err != nil {
			return nil, fmt.Errorf("read fitted functions: function %s: %w", m.Name, err)
		}
		scorers[i] = &Scorer{
			Name: m.Name, Version: m.Version, Embedding: m.Embedding, Fingerprint: m.Fingerprint,
			Statistics: m.Statistics, Combine: m.Combine, Dim: m.Dim, Rows: t.f32, Offset: m.Offset,
			Positives: m.Positives, Lambda: m.Lambda, Deviation: m.Deviation, Shares: m.Shares,
		}
	}
	return scorers, nil
}
