package text

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// readUnigram reads a model of the type Unigram, which lattice.go describes.
func readUnigram(raw component) (wordModel, pieceIDs, error) {
	var v struct {
		Type         string
		UnkID        *int  `json:"unk_id"`
		ByteFallback *bool `json:"byte_fallback"`
		Vocab        []scored
	}
	if err := raw.into(&v); err != nil {
		return nil, nil, err
	}
	if v.UnkID == nil {
		return nil, nil, raw.lacks("unk_id")
	}
	l, err := newHFLattice(v.Vocab, *v.UnkID, v.ByteFallback != nil && *v.ByteFallback)
	if err != nil {
		return nil, nil, fmt.Errorf("model Unigram: %w", err)
	}
	vocab := make(pieceIDs, len(v.Vocab))
	for i, p := range v.Vocab {
		vocab[p.text] = int64(i)
	}
	return l, vocab, nil
}

// UnmarshalJSON reads ["piece", score].
func (s *scored) UnmarshalJSON(b []byte) error {
	var score json.Number
	list := []any{&s.text, &score}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != 2 {
		return fmt.Errorf("%s is not a piece and its score", short(b))
	}
	var err error
	s.score, err = quickFloat(string(score))
	return err
}

// quickFloat reads a number as serde_json does, which rounds twice: the digits, as
// many as 64 bits hold, and the power of ten. The last bit of a score can decide
// between equally good cuts.
func quickFloat(number string) (float64, error) {
	exact, err := strconv.ParseFloat(number, 64)
	if err != nil || exact == 0 {
		return exact, err
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(number), "e")
	exponent := 0
	if power != "" {
		if exponent, err = strconv.Atoi(power); err != nil {
			return 0, err
		}
	}
	digits, full, fraction := uint64(0), false, false
	for _, c := range []byte(strings.TrimPrefix(mantissa, "-")) {
		if c == '.' {
			fraction = true
			continue
		}
		d := uint64(c - '0')
		full = full || digits > (math.MaxUint64-d)/10
		switch {
		case !full:
			digits = digits*10 + d
			if fraction {
				exponent--
			}
		case !fraction:
			exponent++
		}
	}
	f := float64(digits)
	for ; exponent < -308 && f != 0; exponent += 308 {
		f /= 1e308
	}
	if f != 0 && exponent > 308 {
		return 0, fmt.Errorf("the score %s is too large", number)
	}
	ten, err := strconv.ParseFloat("1e"+strconv.Itoa(max(exponent, -exponent)), 64)
	if err != nil {
		return 0, err
	}
	if exponent >= 0 {
		f *= ten
	} else {
		f /= ten
	}
	if strings.HasPrefix(mantissa, "-") {
		f = -f
	}
	return f, nil
}
