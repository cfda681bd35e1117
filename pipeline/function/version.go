package function

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"

	"lukechampine.com/blake3"
)

// The fitted numbers' parameters. They are part of a function's version: when
// one changes, functions of that kind are scored again.
var parameters = map[Combine]map[string]any{
	LDA: {
		"method": 2, "lambdas": lambdas, "usual_lambda": usualLambda, "few_positives": fewPositives, "few_lambda": fewLambda,
		"small_corpus": smallCorpus, "small_lambda": smallLambda, "max_left_out": maxLeftOut,
	},
	Mean: {"method": 1},
	Max:  {"method": 1},
	Sum:  {"method": 1},
	Classifier: {
		"method": 2, "lambdas": lambdas, "usual_lambda": usualLambda, "few_positives": fewPositives, "few_lambda": fewLambda,
		"small_corpus": smallCorpus, "small_lambda": smallLambda, "max_left_out": maxLeftOut, "l2": classifierL2,
	},
}

type versionAnchor struct {
	Kind   string  `json:"kind"`
	ID     string  `json:"id"`
	Weight float64 `json:"weight"`
	Hash   string  `json:"hash"`
}

// VersionOf is the version of a function: a hash of its combination and the
// parameters of that, the anchors' kinds, ids, weights and content hashes in
// any order, the embedding's fingerprint, and the statistics' id where the
// combination or, in a part of a function over several embeddings, its share uses
// them. Neither name nor threshold are in it. Of the anchors'
// vectors only those without a Hash are read; of st only ID and Fingerprint.
func VersionOf(def *Definition, positives, negatives []Vector, st *Statistics) string {
	v := struct {
		Combine     Combine         `json:"combine"`
		Parameters  map[string]any  `json:"parameters"`
		Positive    []versionAnchor `json:"positive"`
		Negative    []versionAnchor `json:"negative"`
		Fingerprint string          `json:"fingerprint"`
		Statistics  string          `json:"statistics,omitempty"`
	}{
		Combine: def.How(), Parameters: parameters[def.How()],
		Positive: versionAnchors(positives), Negative: versionAnchors(negatives),
		Fingerprint: st.Fingerprint,
	}
	if def.UsesStatistics() {
		v.Statistics = st.ID
	}
	data, err := json.Marshal(v)
	if err != nil { // a weight that is no number; Fit refuses it before
		data = []byte(err.Error())
	}
	sum := blake3.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

func versionAnchors(vs []Vector) []versionAnchor {
	as := make([]versionAnchor, len(vs))
	for i, v := range vs {
		as[i] = versionAnchor{Kind: cmp.Or(v.Kind, "asset"), ID: v.ID, Weight: v.weight(), Hash: v.Hash}
		if v.Hash == "" {
			as[i].Hash = hashValues(v.Values)
		}
	}
	slices.SortFunc(as, func(a, b versionAnchor) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Weight, b.Weight))
	})
	return as
}

func hashValues(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:])
}
