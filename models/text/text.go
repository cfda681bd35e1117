// Package text turns texts into token ids as the reference tokenizers do, id for
// id.
package text

// Tokenizer turns texts into ids. It is safe for concurrent use.
type Tokenizer interface {
	// Encode appends the ids of a text to dst, with the special tokens that its
	// model wants around them. text is valid UTF-8.
	Encode(text string, dst []int64) []int64
}

// Truncate shortens ids to at most n: the tail goes, the last id stays, so that
// an end-of-sentence token is kept.
func Truncate(ids []int64, n int) []int64 {
	if n <= 0 || len(ids) <= n {
		return ids
	}
	ids[n-1] = ids[len(ids)-1]
	return ids[:n]
}
