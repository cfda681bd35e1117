// Pixels decodes pictures as a model would see them, for testdata/interop/pixels.py.
//
// It reads requests from standard input, a JSON object a line, and answers each by
// a JSON object: {"pixels": base64 of height × width × 3 bytes} or {"reason": …,
// "error": …}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"winnow/models/image"
	"winnow/pipeline"
)

type request struct {
	File    string
	Options image.Options
}

type answer struct {
	Pixels []byte `json:"pixels,omitempty"`
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

func main() {
	in, out := json.NewDecoder(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fatal(err)
		}
		a, err := decode(r)
		if err != nil {
			fatal(fmt.Errorf("%s: %w", r.File, err))
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			fatal(err)
		}
		if err := out.Flush(); err != nil {
			fatal(err)
		}
	}
}

func decode(r request) (answer, error) {
	data, err := os.ReadFile(r.File)
	if err != nil {
		return answer{}, err
	}
	d, err := image.NewDecoder(r.Options, image.Limits{})
	if err != nil {
		return answer{}, err
	}
	out := make([]byte, d.Size())
	err = d.Decode(context.Background(), data, out)
	var row *pipeline.RowError
	switch {
	case err == nil:
		return answer{Pixels: out}, nil
	case errors.As(err, &row):
		return answer{Reason: row.Reason, Error: err.Error()}, nil
	}
	return answer{}, err
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "pixels:", err)
	os.Exit(1)
}
