package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Vectors is the kind of a spec that has no model: another program made the
// vectors.
const Vectors Kind = "vectors"

// Imported is the spec of vectors that another program made: dim numbers each,
// scaled to length 1 where normalize is l2. space says what made them; it and the
// rest are the fingerprint, so that vectors of two models are never compared.
func Imported(space string, dim int, normalize string) *Spec {
	s := &Spec{Name: "vectors", Kind: Vectors, Dim: dim, Normalize: normalize}
	b, err := json.Marshal(map[string]any{"format": 1, "kind": Vectors, "space": space, "dim": dim, "normalize": normalize})
	if err != nil {
		panic(err) // texts and a number
	}
	sum := sha256.Sum256(b)
	s.fingerprint = hex.EncodeToString(sum[:8])
	return s
}
