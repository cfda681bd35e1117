// Package text turns texts into the token ids that a model wants.
//
// The tokenizers are written anew in Go and give the ids of the originals, to the
// last odd character: a model was trained on those.
package text

// Tokenizer turns texts into ids. It is safe for concurrent use.
type Tokenizer interface {
	// Encode appends the ids of a text to dst and returns it. The text may be any
	// bytes; what is no UTF-8 is taken as U+FFFD. A text without content gives the
	// begin and end ids alone, or nothing.
	Encode(text string, dst []int64) []int64
	// Specials is the number of ids that Encode adds to those of the content.
	Specials() int
}

// Options of a tokenizer.
type Options struct {
	// MaxTokens cuts longer texts, so that at most so many ids come out, those of
	// begin and end included. 0 is no limit.
	MaxTokens int
	BOS, EOS  bool // add the ids of begin and end
}
