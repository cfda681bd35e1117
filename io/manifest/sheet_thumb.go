package manifest

import (
	"bytes"
	"context"
	"encoding/base64"
	"html/template"
	"image/jpeg"
	"iter"
	"strings"
	"sync"

	"winnow/pipeline"
)

// ThumbPixels is the longer side of a thumbnail that a ThumbFunc should make.
const ThumbPixels = 240

// ThumbFunc makes a thumbnail of a row's picture: a JPEG whose longer side is
// about ThumbPixels. An error puts a placeholder in its place. It is called from
// several goroutines at once, only for rows that have a URI.
type ThumbFunc func(ctx context.Context, row *BatchRow) ([]byte, error)

// maxThumbBytes keeps one odd picture from filling the page.
const maxThumbBytes = 256 << 10

// picture is a thumbnail as the page shows it.
type picture struct {
	url           template.URL // data URI; empty: show why instead
	width, height int
	why           string
	missing       bool // there should have been one
}

// thumbs gives the rows with ranks in (from, to] to fn, in order, each with its
// picture. Pictures are made by a few workers ahead of fn; at most two rows a
// worker are in memory.
func (s *sheet) thumbs(ctx context.Context, from, to int64, fn func(*BatchRow, picture) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait() // no call of Thumb outlives this one
	defer cancel()

	type job struct {
		row *BatchRow
		pic chan picture
	}
	free := make(chan struct{}, s.o.Workers)
	var queue []job
	drain := func(keep int) error {
		for len(queue) > keep {
			j := queue[0]
			queue = queue[1:]
			select {
			case pic := <-j.pic:
				if err := context.Cause(ctx); err != nil {
					return err // the picture may be missing only because of this
				}
				if err := fn(j.row, pic); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	for r, err := range s.pageRows(ctx, from, to) {
		if err != nil {
			return err
		}
		j := job{r, make(chan picture, 1)}
		queue = append(queue, j)
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-free }()
			j.pic <- makePicture(ctx, s.b.Thumb, j.row)
		})
		if err := drain(2*s.o.Workers - 1); err != nil {
			return err
		}
	}
	return drain(0)
}

// pageRows gives the rows with ranks in (from, to].
func (s *sheet) pageRows(ctx context.Context, from, to int64) iter.Seq2[*BatchRow, error] {
	return func(yield func(*BatchRow, error) bool) {
		for r, err := range s.b.Rows {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if r.Rank <= from {
				continue
			}
			if r.Rank > to {
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// makePicture asks for a thumbnail and checks that it is a JPEG of a sane size.
func makePicture(ctx context.Context, thumb ThumbFunc, r *BatchRow) picture {
	switch {
	case r.URI == "":
		return picture{}
	case strings.HasPrefix(strings.ToLower(r.MediaType), "text"):
		return picture{why: "a text file"}
	case thumb == nil:
		return picture{why: "no preview"}
	}
	raw, err := safeThumb(ctx, thumb, r)
	if err != nil {
		return picture{why: "picture not available", missing: true}
	}
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	if err != nil || cfg.Width == 0 || cfg.Height == 0 || len(raw) > maxThumbBytes {
		return picture{why: "preview not usable", missing: true}
	}
	return picture{
		url:   template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(raw)),
		width: cfg.Width, height: cfg.Height,
	}
}

// safeThumb turns a panic of a decoder into a missing picture: one broken file
// must not cost the batch.
func safeThumb(ctx context.Context, thumb ThumbFunc, r *BatchRow) (raw []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = pipeline.Rowf(pipeline.ReasonCorrupt, "thumbnail: %v", p)
		}
	}()
	return thumb(ctx, r)
}
