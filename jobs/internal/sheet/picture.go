package sheet

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"html/template"
	"image/jpeg"
	"strings"
	"sync"

	"winnow/pipeline"
)

// Picture is a thumbnail, or why there is none.
type Picture struct {
	URL   template.URL // a data URI
	W, H  int
	Why   string
	Meant bool // nothing failed: there was to be none
}

// pictures32 makes the thumbnails of a few cards at the same time.
func (s *writer) pictures32(ctx context.Context, cards []Card) ([]Picture, error) {
	out := make([]Picture, len(cards))
	raw := make([][]byte, len(cards))
	free := make(chan struct{}, s.o.Workers)
	var wg sync.WaitGroup
	for i, c := range cards {
		switch {
		case c.URI == "":
			out[i] = Picture{Meant: true}
			continue
		case strings.HasPrefix(strings.ToLower(c.MediaType), "text"):
			out[i] = Picture{Why: "a text file", Meant: true}
			continue
		case s.thumb == nil || s.pictures >= s.o.Pictures || s.bytes >= s.o.Bytes:
			out[i] = Picture{Why: "left out: the page has its fill of pictures", Meant: true}
			continue
		}
		s.pictures++
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			raw[i], out[i] = one(ctx, s.thumb, c.URI)
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err // pictures may be missing only because of this
	}
	for _, b := range raw {
		s.bytes += int64(len(b))
	}
	return out, nil
}

// one makes a thumbnail and checks that it is a JPEG of a sane size.
func one(ctx context.Context, thumb ThumbFunc, uri string) (raw []byte, p Picture) {
	raw, err := safe(ctx, thumb, uri)
	if err != nil {
		return nil, Picture{Why: reason(err)}
	}
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	if err != nil || cfg.Width == 0 || cfg.Height == 0 || len(raw) > maxPicture {
		return nil, Picture{Why: "the preview is not usable"}
	}
	return raw, Picture{URL: template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(raw)), W: cfg.Width, H: cfg.Height} //nolint:gosec // checked to be a JPEG
}

// safe turns a panic of a decoder into a missing picture.
func safe(ctx context.Context, thumb ThumbFunc, uri string) (raw []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = pipeline.Rowf(pipeline.ReasonCorrupt, "thumbnail: %v", p)
		}
	}()
	return thumb(ctx, uri)
}

// reason is why a picture is missing, in a few words.
func reason(err error) string {
	var row *pipeline.RowError
	if errors.As(err, &row) {
		return short(strings.ReplaceAll(row.Reason, "_", " "), 80)
	}
	return "not available"
}
