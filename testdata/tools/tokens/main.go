// Tokens writes the ids that winnow's tokenizers give to texts, for checks against
// other libraries.
//
//	tokens [-max N] [-bos] [-eos] FILE < lines.jsonl > ids.jsonl
//
// FILE is a tokenizer.json or a SentencePiece .model. A line in is a JSON string, a
// line out a JSON list of numbers.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"winnow/models/text"
)

func main() {
	var o text.Options
	flag.IntVar(&o.MaxTokens, "max", 0, "cut texts to `N` tokens")
	flag.BoolVar(&o.BOS, "bos", false, "add the id of begin (.model)")
	flag.BoolVar(&o.EOS, "eos", false, "add the id of end (.model)")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tokens:", err)
		os.Exit(1)
	}
}

func run(path string, o text.Options, in io.Reader, out io.Writer) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var tok text.Tokenizer
	if strings.HasSuffix(path, ".json") {
		tok, err = text.NewHuggingFace(data, o)
	} else {
		tok, err = text.NewSentencePiece(data, o)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	w := bufio.NewWriter(out)
	e := json.NewEncoder(w)
	d := json.NewDecoder(bufio.NewReader(in))
	for n := 1; ; n++ {
		var line string
		if err := d.Decode(&line); err == io.EOF {
			return w.Flush()
		} else if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := e.Encode(tok.Encode(line, []int64{})); err != nil {
			return err
		}
	}
}
