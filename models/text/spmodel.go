package text

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"winnow/models/internal/proto"
)

// Types of pieces in a SentencePiece model.
const (
	pieceNormal      = 1
	pieceUnknown     = 2
	pieceControl     = 3
	pieceUserDefined = 4
	pieceUnused      = 5
	pieceByte        = 6
)

// Kinds of models.
const (
	kindUnigram = 1
	kindBPE     = 2
)

type piece struct {
	text  string
	score float32
	kind  uint64
}

// spModel is what encoding needs of a SentencePiece .model file.
type spModel struct {
	pieces       []piece
	kind         uint64 // of the model
	byteFallback bool
	bos, eos     string
	norm         normalizer
}

// readSentencePiece reads a .model file.
func readSentencePiece(data []byte) (*spModel, error) {
	m := &spModel{kind: kindUnigram, bos: "<s>", eos: "</s>"}
	m.norm.addDummyPrefix, m.norm.removeExtra, m.norm.escape = true, true, true
	err := proto.Walk(data, func(num protowire.Number, _ uint64, b []byte) error {
		switch num {
		case 1:
			return m.readPiece(b)
		case 2:
			return m.readTrainer(b)
		case 3:
			return m.readNormalizer(b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("this is no SentencePiece model, or it is damaged: %w", err)
	}
	if len(m.pieces) == 0 {
		return nil, errors.New("this is no SentencePiece model: it has no pieces")
	}
	if m.kind != kindUnigram && m.kind != kindBPE {
		name := map[uint64]string{3: "WORD", 4: "CHAR"}[m.kind]
		return nil, fmt.Errorf("this is a SentencePiece model of the kind %d (%s); winnow reads the kinds Unigram and BPE", m.kind, name)
	}
	return m, nil
}

func (m *spModel) readPiece(msg []byte) error {
	p := piece{kind: pieceNormal}
	err := proto.Walk(msg, func(num protowire.Number, v uint64, b []byte) error {
		switch num {
		case 1:
			p.text = string(b)
		case 2:
			p.score = math.Float32frombits(uint32(v))
		case 3:
			p.kind = v
		}
		return nil
	})
	m.pieces = append(m.pieces, p)
	return err
}

func (m *spModel) readTrainer(msg []byte) error {
	return proto.Walk(msg, func(num protowire.Number, v uint64, b []byte) error {
		switch num {
		case 3:
			m.kind = v
		case 24:
			m.norm.whitespaceSuffix = v != 0
		case 35:
			m.byteFallback = v != 0
		case 46:
			m.bos = string(b)
		case 47:
			m.eos = string(b)
		}
		return nil
	})
}

func (m *spModel) readNormalizer(msg []byte) error {
	return proto.Walk(msg, func(num protowire.Number, v uint64, b []byte) error {
		switch num {
		case 2:
			if len(b) > 0 {
				var err error
				m.norm.chars, err = newCharMap(b)
				return err
			}
		case 3:
			m.norm.addDummyPrefix = v != 0
		case 4:
			m.norm.removeExtra = v != 0
		case 5:
			m.norm.escape = v != 0
		}
		return nil
	})
}
