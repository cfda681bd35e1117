// Command tokenize times winnow's tokenizers in one thread, for embed.py.
//
//	tokenize sentencepiece|huggingface FILE LIST
//
// Each line of its input is a round over the texts of LIST, one a line; each is
// answered with a line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"winnow/models/text"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tokenize:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want KIND FILE LIST, got %q", args)
	}
	runtime.GOMAXPROCS(1)
	file, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	list, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	var tok text.Tokenizer
	switch args[0] {
	case "sentencepiece":
		tok, err = text.NewSentencePiece(file, text.Options{BOS: true, EOS: true})
	case "huggingface":
		tok, err = text.NewHuggingFace(file, text.Options{})
	default:
		err = fmt.Errorf("no kind %q", args[0])
	}
	if err != nil {
		return err
	}
	texts := strings.Split(string(list), "\n")
	out := json.NewEncoder(os.Stdout)
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		begin, tokens := time.Now(), 0
		ids := make([][]int64, len(texts)) // kept, as the others keep theirs
		for i, t := range texts {
			ids[i] = tok.Encode(t, nil)
			tokens += len(ids[i])
		}
		seconds := time.Since(begin).Seconds()
		if err := out.Encode(map[string]any{"texts": len(texts), "tokens": tokens, "seconds": seconds, "per_second": float64(len(texts)) / seconds}); err != nil {
			return err
		}
	}
	return nil
}
