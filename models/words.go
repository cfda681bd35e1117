package models

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"winnow/models/image"
	"winnow/models/text"
	"winnow/pipeline"
	"winnow/pipeline/embed"
)

// setText reads the tokenizer.
func (m *Model) setText(path string, l image.Limits) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	w := m.spec.Text
	o := text.Options{BOS: w.BOS, EOS: w.EOS, MaxTokens: w.MaxTokens}
	if m.fixedTokens > 0 {
		o.MaxTokens = min(o.MaxTokens, m.fixedTokens)
	}
	if m.maxBytes = l.Bytes; m.maxBytes <= 0 {
		m.maxBytes = 16 << 20
	}
	switch w.Tokenizer.Kind {
	case "huggingface":
		m.tok, err = text.NewHuggingFace(data, o)
	default:
		m.tok, err = text.NewSentencePiece(data, o)
	}
	if err != nil {
		return fmt.Errorf("tokenizer %s: %w", path, err)
	}
	return nil
}

// tokenize is Prepare of a text.
func (m *Model) tokenize(data []byte) (embed.Input, error) {
	switch {
	case len(data) == 0:
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text is empty")
	case int64(len(data)) > m.maxBytes:
		return nil, pipeline.Rowf(pipeline.ReasonTooLarge, "the text has %d bytes, the limit is %d", len(data), m.maxBytes)
	case !utf8.Valid(data):
		return nil, pipeline.Rowf(pipeline.ReasonInvalidUTF8, "the text is not valid UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text has nothing but spaces")
	}
	s := m.spec.Text.canonical(string(data))
	if s == "" {
		return nil, pipeline.Rowf(pipeline.ReasonEmpty, "the text has nothing but punctuation, which the model does not see")
	}
	return tokens(m.tok.Encode(m.spec.Text.Prefix+s, nil)), nil
}

// canonical is the text as the spec wants it to be tokenised.
func (w *Words) canonical(s string) string {
	if w.Lowercase {
		s = pythonLower(s)
	}
	if w.RemovePunctuation {
		s = strings.Map(func(r rune) rune {
			if r < utf8.RuneSelf && (unicode.IsPunct(r) || unicode.IsSymbol(r)) { // Python's string.punctuation
				return -1
			}
			return r
		}, s)
		s = strings.Join(strings.FieldsFunc(s, pythonSpace), " ")
	}
	return s
}

// pythonSpace is Python's str.isspace.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// pythonLower is Python's str.lower: Unicode's full mapping, where İ becomes two
// characters and a sigma that ends a word is ς.
func pythonLower(s string) string {
	if !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	var out strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case r == 'İ':
			out.WriteString("i\u0307")
		case r == 'Σ' && finalSigma(runes, i):
			out.WriteRune('ς')
		default:
			out.WriteRune(unicode.ToLower(r))
		}
	}
	return out.String()
}

// finalSigma is Unicode's condition Final_Sigma: a cased letter before, none after,
// over what case ignores.
func finalSigma(s []rune, i int) bool {
	cased := func(r rune) bool {
		return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) || unicode.Is(unicode.Other_Lowercase, r) || unicode.Is(unicode.Other_Uppercase, r)
	}
	ignored := func(r rune) bool {
		switch r {
		case '\'', '.', ':', '·', '\u2018', '\u2019', '\u2024', '\u2027', '\u0387', '\u055f', '\u05f4', '\ufe13', '\ufe52', '\ufe55', '\uff07', '\uff0e', '\uff1a':
			return true
		}
		return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
	}
	before, after := i-1, i+1
	for before >= 0 && ignored(s[before]) {
		before--
	}
	for after < len(s) && ignored(s[after]) {
		after++
	}
	return before >= 0 && cased(s[before]) && (after == len(s) || !cased(s[after]))
}
