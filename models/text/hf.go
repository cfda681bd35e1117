package text

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// HuggingFace is a tokenizer that a tokenizer.json describes: a text is searched
// for added tokens, normalised, searched again, cut into words, which the model
// turns into ids, and these are framed by special tokens.
type HuggingFace struct {
	o               Options
	raw, normalized *finder
	steps           []step
	cutters         []cutter
	model           wordModel
	frame           *frame
	rooms           sync.Pool
}

// hfRoom is the space that encoding a text takes.
type hfRoom struct {
	text []byte
	n    normal
	c    cuts
}

// NewHuggingFace reads a tokenizer.json, as the tokenizers library writes it. It
// gives the ids of that library; its own truncation and padding are ignored, and
// so are Options.BOS and EOS, as the file's post-processor adds special tokens.
// What it has that is not supported is an error that names it.
func NewHuggingFace(tokenizerJSON []byte, o Options) (Tokenizer, error) {
	var v struct {
		Version       string
		Truncation    json.RawMessage
		Padding       json.RawMessage
		AddedTokens   []addedToken `json:"added_tokens"`
		Normalizer    component
		PreTokenizer  component `json:"pre_tokenizer"`
		PostProcessor component `json:"post_processor"`
		Decoder       json.RawMessage
		Model         component
	}
	if err := (component{tokenizerJSON}).into(&v); err != nil {
		return nil, fmt.Errorf("this is no tokenizer.json, or one that is not understood: %w", err)
	}
	if v.Version != "" && v.Version != "1.0" {
		return nil, fmt.Errorf("the version of this tokenizer.json is %q; winnow reads 1.0", v.Version)
	}
	h := &HuggingFace{o: o}
	var err error
	if h.steps, err = readSteps(v.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if h.cutters, err = readCutters(v.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	var vocab pieceIDs
	if h.model, vocab, err = readModel(v.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if h.frame, err = readFrame(v.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	tokens, err := number(v.AddedTokens, vocab)
	if err == nil {
		h.raw, h.normalized, err = newFinders(tokens, h.normalize)
	}
	if err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	if o.MaxTokens != 0 && o.MaxTokens <= h.Specials() {
		return nil, fmt.Errorf("max_tokens of %d leaves no room for the text", o.MaxTokens)
	}
	return h, nil
}

func readModel(raw component) (wordModel, pieceIDs, error) {
	kind, err := raw.kind()
	if err != nil {
		return nil, nil, err
	}
	switch kind {
	case "":
		return nil, nil, errors.New("there is none")
	case "WordPiece":
		return readWordPiece(raw)
	case "BPE":
		return readBPE(raw)
	case "Unigram":
		return readUnigram(raw)
	}
	return nil, nil, fmt.Errorf("the model %q is not supported", kind)
}

// Specials is the number of tokens that the post-processor adds.
func (h *HuggingFace) Specials() int { return h.frame.size() }

// normalize is what the normalizers make of a short text.
func (h *HuggingFace) normalize(text string) string {
	n := &normal{text: []byte(text)}
	for _, s := range h.steps {
		s.apply(n)
	}
	return string(n.text)
}

// Encode implements Tokenizer. With MaxTokens, a text of megabytes costs no more
// than its first one.
func (h *HuggingFace) Encode(text string, dst []int64) []int64 {
	text = within(text, h.o.MaxTokens)
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	room, _ := h.rooms.Get().(*hfRoom)
	if room == nil {
		room = new(hfRoom)
	}
	room.text = append(room.text[:0], text...)
	h.cut(room)
	dst = append(dst, h.frame.before...)
	from, most := len(dst), h.o.MaxTokens-h.Specials()
	for _, s := range room.c.spans {
		if s.id >= 0 {
			dst = append(dst, s.id)
		} else {
			dst = h.model.encode(room.c.text[s.start:s.end], dst)
		}
		if h.o.MaxTokens > 0 && len(dst)-from >= most {
			dst = dst[:from+most]
			break
		}
	}
	if cap(room.text) <= keep {
		h.rooms.Put(room)
	}
	return append(dst, h.frame.after...)
}

// cut fills the room's cuts with the words of its text.
func (h *HuggingFace) cut(room *hfRoom) {
	c := &room.c
	c.text, c.spans = c.text[:0], c.spans[:0]
	token := func(id int64) { c.spans = append(c.spans, span{id: id}) }
	h.raw.find(room.text, func(start, end int) {
		n := &room.n
		n.text, n.zero = append(n.text[:0], room.text[start:end]...), 0
		if start == 0 {
			_, n.zero = utf8.DecodeRune(n.text)
		}
		for _, s := range h.steps {
			s.apply(n)
		}
		base := len(c.text)
		c.text = append(c.text, n.text...)
		h.normalized.find(n.text, func(start, end int) {
			c.spans = append(c.spans, span{base + start, base + end, min(max(0, n.zero-start), end-start), -1})
		}, token)
	}, token)
	for _, p := range h.cutters {
		p.cut(c)
	}
}
